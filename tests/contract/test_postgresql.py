"""The contract on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from healthstore.abc import Backend
from healthstore.testing.contract import ContractTests
from healthstore.testing.plugin import EmptyBackend


class TestPostgresql(ContractTests):
    @pytest.fixture
    async def backend(self, healthstore_empty: EmptyBackend) -> AsyncIterator[Backend]:
        """Lend an opened, empty backend."""
        async with healthstore_empty("postgresql") as backend:
            yield backend

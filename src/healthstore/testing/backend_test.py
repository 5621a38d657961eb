"""The contract on the backend of ``--healthstore-backend=URL``; the plugin runs this file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from healthstore.abc import Backend
from healthstore.testing.contract import ContractTests
from healthstore.testing.plugin import EmptyBackend

__all__ = ("TestBackend",)


class TestBackend(ContractTests):
    """The contract on one backend."""

    @pytest_asyncio.fixture
    async def backend(self, healthstore_empty: EmptyBackend) -> AsyncIterator[Backend]:
        """Lend the backend of the URL, opened and empty."""
        async with healthstore_empty("given") as backend:
            yield backend

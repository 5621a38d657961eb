"""The contract through the guard layer, over memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from healthstore.abc import Backend
from healthstore.layers.guard import GuardLayer
from healthstore.testing.contract import ContractTests
from healthstore.testing.plugin import EmptyBackend


@pytest.mark.slow
class TestGuardLayer(ContractTests):
    @pytest.fixture
    async def backend(self, healthstore_empty: EmptyBackend) -> AsyncIterator[Backend]:
        """Lend an empty memory backend under the layer."""
        async with healthstore_empty("memory") as backend:
            yield GuardLayer(backend)

"""The contract on a backend that declares every optional capability absent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

import pytest

from healthstore.abc import Backend, Capabilities
from healthstore.adapters.memory import MemoryAdapter
from healthstore.testing.contract import ContractTests

NARROW = Capabilities(
    durable=False,
    transactions=False,
    references=False,
    serializable=False,
    alters=False,
    stops_cancelled=False,
)


class NarrowAdapter(MemoryAdapter):
    capabilities: ClassVar[Capabilities] = NARROW  # type: ignore[misc] - an adapter may set it once for all


@pytest.mark.slow
class TestNarrow(ContractTests):
    @pytest.fixture
    async def backend(self) -> AsyncIterator[Backend]:
        """Lend an opened, empty backend that refuses units and references."""
        backend = NarrowAdapter("narrow")
        await backend.open()
        yield backend
        await backend.close()

"""The contract on a failover of two members: a group of stores is a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from healthstore.abc import Backend, BackendURL
from healthstore.abc.registry import connect
from healthstore.events import Event
from healthstore.layers.catalog import CatalogLayer
from healthstore.routing.failover import Failover
from healthstore.routing.policy import FailoverMode, FailoverPolicy
from healthstore.testing.contract import ContractTests


@pytest.mark.slow
class TestFailover(ContractTests):
    @pytest.fixture
    async def backend(self, tmp_path: Path) -> AsyncIterator[Backend]:
        """Lend an opened, empty failover over two SQLite files."""
        members = {
            name: CatalogLayer(connect(BackendURL.parse(f"sqlite:///{tmp_path / name}.db"), name))
            for name in ("primary", "standby")
        }
        events: list[Event] = []
        policy = FailoverPolicy(mode=FailoverMode.STANDBY_READONLY)
        backend = Failover(members, policy, events.append)
        await backend.open()
        yield backend
        await backend.close()
        assert events == [], "nothing in the contract is an outage"

"""A prober for adapters that have none of their own: it looks through the adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from healthstore.abc.prober import Figures, Vitals
from healthstore.model.catalog import CATALOG, from_definition
from healthstore.model.filling import collections_only
from healthstore.model.ops import CountDocuments, Effect, Find

if TYPE_CHECKING:  # an adapter makes one
    from healthstore.abc.adapter import Adapter

__all__ = ("PingProber",)

_MOST = 1_000  # rows of a catalog


class PingProber:
    """A prober without a connection of its own; it opens nothing and closes nothing."""

    def __init__(self, adapter: Adapter[Any]) -> None:
        self._adapter = adapter

    async def connect(self) -> None:
        """Open the adapter if it is not open."""
        await self._adapter.open()

    async def check(self) -> Vitals:
        """Ping."""
        await self._adapter.ping()
        return Vitals()

    async def write(self) -> None:
        """Ping: what it may write to is not known here."""
        await self._adapter.ping()

    async def measure(self) -> Figures:
        """Count the collections of the catalog."""
        adapter = self._adapter
        async with adapter.session(Effect.READ) as session:
            there = await adapter.existing(session)
            rows = (
                await adapter.find(session, Find(CATALOG, limit=_MOST))
                if CATALOG.name in there
                else ()
            )
            known = [from_definition(row["definition"]) for row in collections_only(rows)]
            counts = {
                each.name: await adapter.count(session, CountDocuments(each))
                for each in known
                if each.name in there
            }
        return Figures(type(adapter).__name__, documents=counts)

    async def close(self) -> None:
        """Do nothing: the adapter is closed by whoever opened it."""

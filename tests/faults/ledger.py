"""What callers were told about each note that they added, held against what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

from tests.faults.stores import Note, Pair

from healthstore.errors import HealthstoreError, Outcome

__all__ = ("Ledger",)


@dataclass(slots=True)
class Ledger:
    """What callers were told about each note that they added."""

    store: Pair
    acknowledged: set[UUID] = field(default_factory=set[UUID])
    unknown: set[UUID] = field(default_factory=set[UUID])
    refused: set[UUID] = field(default_factory=set[UUID])
    numbers: Iterator[int] = field(default_factory=count)
    _wanted: int = 0
    _reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def add(self) -> None:
        """Add a note."""
        made = Note(text=f"note {next(self.numbers)}")
        try:
            await self.store.notes.add(made)
        except HealthstoreError as error:
            (self.unknown if error.outcome is Outcome.UNKNOWN else self.refused).add(made.id)
            raise
        self.acknowledged.add(made.id)
        if len(self.acknowledged) >= self._wanted:
            self._reached.set()

    async def more(self, number: int) -> None:
        """Wait until so many more are acknowledged."""
        self._wanted = len(self.acknowledged) + number
        self._reached.clear()
        await self._reached.wait()

    async def require_kept(self) -> None:
        """Fail unless what is there is what was told."""
        there = [each.id async for each in self.store.notes.stream()]
        found = set(there) - {self.store.known}
        assert len(there) == len(set(there))
        assert self.acknowledged <= found, "an acknowledged write is lost"
        assert not self.refused & found, "a refused write was made"
        assert found <= self.acknowledged | self.unknown

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
    changes: dict[UUID, list[int]] = field(default_factory=dict[UUID, list[int]])
    """For each note that is changed, how often that was acknowledged, and unknown."""
    _told: int = 0
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
        self._count()

    def _count(self) -> None:
        self._told += 1
        if self._told >= self._wanted:
            self._reached.set()

    async def more(self, number: int) -> None:
        """Wait until so many more writes are acknowledged."""
        self._wanted = self._told + number
        self._reached.clear()
        await self._reached.wait()

    async def prepare(self, number: int) -> None:
        """Add notes that are to be changed."""
        made = [Note(text=f"changing {place}") for place in range(number)]
        await self.store.notes.add_many(made)
        self.changes = {each.id: [0, 0] for each in made}

    async def change(self) -> None:
        """Change the next one of these notes."""
        number = next(self.numbers)
        identity = [*self.changes][number % len(self.changes)]
        try:
            await self.store.notes.update(identity, {"text": f"change {number}"})
        except HealthstoreError as error:
            self.changes[identity][1] += error.outcome is Outcome.UNKNOWN
            raise
        self.changes[identity][0] += 1
        self._count()

    async def require_changed(self) -> None:
        """Fail unless each note was changed as often as was told."""
        there = {each.id: each.version - 1 async for each in self.store.notes.stream()}
        for identity, (told, unknown) in self.changes.items():
            assert told <= there[identity] <= told + unknown

    async def require_kept(self) -> None:
        """Fail unless what is there is what was told."""
        there = [each.id async for each in self.store.notes.stream()]
        found = set(there) - {self.store.known}
        assert len(there) == len(set(there))
        assert self.acknowledged <= found, "an acknowledged write is lost"
        assert not self.refused & found, "a refused write was made"
        assert found <= self.acknowledged | self.unknown

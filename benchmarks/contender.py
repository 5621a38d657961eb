"""What a contender is: a library that keeps readings, used as its documentation shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from benchmarks.reading import Reading
from healthstore.abc import BackendURL

__all__ = ("BATCH", "POOL", "Cannot", "Contender", "Open", "Own")

Own: TypeAlias = Any  # what a library's user has in hand: an object of the library's own kind
POOL = 10  # connections, for each contender that has a pool
BATCH = 1_000  # rows that a stream reads at a time, where that can be said


class Cannot(Exception):  # noqa: N818 - it is an answer, not an error
    """A contender cannot do this, and the message says why."""


class Contender(Protocol):
    """A library on an empty database of its own.

    It starts from what its user has in hand, an object of the library's own kind that is ready
    to be stored, and ends with one that can be used: ``returns`` says what that is, and ``uses``
    how the library is used. Each write is committed when the call returns.
    """

    uses: str
    returns: str

    def ready(self, reading: Reading) -> Own:
        """Return a reading as this library's user has it in hand; not timed."""
        ...

    def reading(self, own: Own) -> Reading:
        """Return what was read as a reading, without mending a value; not timed."""
        ...

    async def insert(self, own: Own) -> None:
        """Store one, committed."""
        ...

    async def insert_many(self, own: Sequence[Own]) -> None:
        """Store many."""
        ...

    async def get(self, identity: UUID) -> Own | None:
        """Return the one with this id."""
        ...

    async def find(self, owner: UUID, limit: int) -> Sequence[Own]:
        """Return the latest of an owner, by ``taken_at``; there is an index."""
        ...

    async def update(self, identity: UUID, value: float, note: str) -> None:
        """Set two fields and ``updated_at``, and raise the version."""
        ...

    async def delete(self, identity: UUID) -> None:
        """Delete the one with this id."""
        ...

    def stream(self) -> AsyncIterator[Own]:
        """Yield all, in any order."""
        ...

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        """Return the number and the mean value of the readings of each kind."""
        ...


Open: TypeAlias = Callable[[BackendURL], AbstractAsyncContextManager[Contender]]
"""Opens a contender on the empty database of a URL: its tables, its index, its pool."""

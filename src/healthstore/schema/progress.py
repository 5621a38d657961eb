"""How far the functions of a migration are, and how fast they may go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Self
from uuid import UUID

from healthstore.abc.backend import Backend
from healthstore.events import Event
from healthstore.model.ledger import UnderWay
from healthstore.model.ops import CountDocuments
from healthstore.model.query import Operator, Test
from healthstore.model.schema import Collection
from healthstore.transfer.progress import told

__all__ = ("Pace", "PageTransformed", "Pages")


@dataclass(frozen=True, slots=True)
class PageTransformed(Event):
    """A Transform's function has been given a page of documents, and what it made is kept.

    So it is told where a ``ChangeField`` replaces what does not fit (``otherwise=``).

    ``step`` is the number of the migration's step, from 1; ``done`` of the ``total`` documents
    that there were when it began or went on have been given to it, ``earlier`` of them by a call
    that was cut short. ``seconds`` is how long this call is at the step.
    """

    migration: str
    step: int
    collection: str
    done: int
    total: int
    earlier: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How many seconds are waited between two pages, and who is told of each."""

    pause: float = 0.0
    on_event: Callable[[PageTransformed], None] | None = None


class Pages:
    """The pages of one step, which are counted for whoever is told of them."""

    def __init__(self, pace: Pace, rows: Collection, at: UnderWay, total: int, done: int) -> None:
        self._pace = pace
        self._rows = rows
        self._at = at
        self._total = total
        self._done = self._earlier = done
        self._started = perf_counter()
        self.pause = pace.pause

    @classmethod
    async def begun(cls, pace: Pace, store: Backend, rows: Collection, at: UnderWay) -> Self:
        """Count a collection's documents, if somebody is to be told, and those that were done."""
        if pace.on_event is None:
            return cls(pace, rows, at, 0, 0)
        total, left = await store.execute(CountDocuments(rows)), None
        if at.cursor is not None:
            left = await store.execute(
                CountDocuments(rows, Test("id", Operator.GT, UUID(at.cursor)))
            )
        return cls(pace, rows, at, total, 0 if left is None else total - left)

    async def passed(self, rows: int) -> None:
        """Tell that a page is done, and wait as long as the next one is to."""
        self._done += rows
        told(
            self._pace.on_event,
            PageTransformed(
                self._at.id,
                self._at.step + 1,
                self._rows.name,
                self._done,
                max(self._total, self._done),  # others may add some meanwhile
                self._earlier,
                perf_counter() - self._started,
            ),
        )
        # Also without a pause: a long file of memory's documents holds up nobody.
        await asyncio.sleep(self.pause)

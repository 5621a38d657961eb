"""The workload: operations, each the same for every contender, timed and then held to account.

An operation knows what must come out, from the readings that it made. So a contender that loses
a row or changes a value is found, however fast it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from time import perf_counter
from typing import TypeAlias, TypeVar
from uuid import UUID

from benchmarks.contender import Contender
from benchmarks.reading import Digest, Reading, digest, digest_of_sums, make, owner

__all__ = ("OPERATIONS", "Operation", "Readings", "Sample", "Turn", "load", "timed")

T = TypeVar("T")
R = TypeVar("R")

FOUND = 50  # readings that one call of `find` returns
_WARMING = 4  # calls of each task before the clock runs: connections, statements, caches


class Readings:
    """The readings that each contender keeps when a round begins."""

    def __init__(self, rows: int) -> None:
        self.all = [make(number) for number in range(rows)]

    @cached_property
    def latest(self) -> Mapping[UUID, Sequence[Reading]]:
        """What `find` must return for each owner."""
        owned: dict[UUID, list[Reading]] = {}
        for one in self.all:
            owned.setdefault(one.owner, []).append(one)
        for found in owned.values():
            found.sort(key=lambda one: one.taken_at, reverse=True)
            del found[FOUND:]
        return owned


@dataclass(slots=True)
class Turn:
    """One contender's turn at one operation.

    ``kept`` is what it must hold, which an operation brings up to date. ``number`` is the first
    number of the readings that are this operation's own.
    """

    contender: Contender
    readings: Readings
    kept: dict[UUID, Reading]
    calls: int
    tasks: int
    number: int

    @property
    def warming(self) -> int:
        """How many calls come before the clock runs."""
        return min(self.calls, _WARMING * self.tasks)

    @property
    def owner(self) -> UUID:
        """The owner of this operation's own readings."""
        return owner(self.number)

    def make(self, count: int) -> list[Reading]:
        """Return this operation's own readings."""
        numbers = range(self.number, self.number + count)
        return [make(number, owned_by=self.owner) for number in numbers]

    def spread(self, items: Sequence[T]) -> list[T]:
        """Return one item for each call, warming included, from all parts of a sequence."""
        return [items[call * 7919 % len(items)] for call in range(self.warming + self.calls)]


@dataclass(frozen=True, slots=True)
class Sample:
    """What a turn gave: how many calls or rows in how many seconds, what was found and wanted."""

    count: int
    seconds: float
    found: Digest
    wanted: Digest


Run: TypeAlias = Callable[[Turn], Awaitable[Sample]]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation; with ``many`` it is also measured with many tasks at once.

    ``part``: one of that many calls is made, since each takes longer than others.
    """

    run: Run = field(repr=False)
    unit: str = "calls"
    many: bool = True
    part: int = 1


async def timed(
    call: Callable[[T], Awaitable[R]], items: Sequence[T], tasks: int, warming: int = 0
) -> tuple[float, list[R]]:
    """Call for each item, in some tasks, and return the seconds and all results in order.

    The first ``warming`` calls come before the clock runs.
    """
    results: dict[int, R] = {}

    async def work(first: int, behind: int) -> float:
        waiting = iter(range(first, behind))

        async def one_by_one() -> None:
            for index in waiting:  # shared: each task takes the next
                results[index] = await call(items[index])

        started = perf_counter()
        if tasks == 1:
            await one_by_one()
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(tasks):
                    group.create_task(one_by_one())
        return perf_counter() - started

    await work(0, warming)
    seconds = await work(warming, len(items))
    return seconds, [results[index] for index in range(len(items))]


async def load(turn: Turn) -> Sample:
    """Store all readings of a round at once, as objects that are ready."""
    contender = turn.contender
    ready = [contender.ready(one) for one in turn.readings.all]
    started = perf_counter()
    await contender.insert_many(ready)
    seconds = perf_counter() - started
    turn.kept.update((one.id, one) for one in turn.readings.all)
    found = digest([contender.reading(own) async for own in contender.stream()])
    return Sample(len(ready), seconds, found, digest(turn.kept.values()))


async def get(turn: Turn) -> Sample:
    """Read one by its id."""
    wanted = turn.spread(turn.readings.all)
    ids = [one.id for one in wanted]
    seconds, found = await timed(turn.contender.get, ids, turn.tasks, turn.warming)
    there = [turn.contender.reading(own) for own in found if own is not None]
    return Sample(turn.calls, seconds, digest(there, ordered=True), digest(wanted, ordered=True))


async def find(turn: Turn) -> Sample:
    """Read the latest 50 of an owner, by an index."""
    owners = turn.spread(list(turn.readings.latest))
    seconds, pages = await timed(
        lambda one: turn.contender.find(one, FOUND), owners, turn.tasks, turn.warming
    )
    found = [turn.contender.reading(own) for page in pages for own in page]
    wanted = [reading for one in owners for reading in turn.readings.latest[one]]
    return Sample(turn.calls, seconds, digest(found, ordered=True), digest(wanted, ordered=True))


async def insert(turn: Turn) -> Sample:
    """Store one, with its own commit."""
    new = turn.make(turn.warming + turn.calls)
    ready = [turn.contender.ready(one) for one in new]
    seconds, _ = await timed(turn.contender.insert, ready, turn.tasks, turn.warming)
    return await _accounted(turn, seconds, new)


async def update(turn: Turn) -> Sample:
    """Set two fields of one."""
    old = turn.make(turn.warming + turn.calls)
    await turn.contender.insert_many([turn.contender.ready(one) for one in old])
    new = [
        one.model_copy(update={"value": one.value + 1, "note": "measured again", "version": 2})
        for one in old
    ]
    seconds, _ = await timed(
        lambda one: turn.contender.update(one.id, one.value, "measured again"),
        new,
        turn.tasks,
        turn.warming,
    )
    return await _accounted(turn, seconds, new)


async def delete(turn: Turn) -> Sample:
    """Delete one; as many others of the same owner must stay."""
    calls = turn.warming + turn.calls
    old = turn.make(2 * calls)
    await turn.contender.insert_many([turn.contender.ready(one) for one in old])
    ids = [one.id for one in old[::2]]
    seconds, _ = await timed(turn.contender.delete, ids, turn.tasks, turn.warming)
    return await _accounted(turn, seconds, old[1::2])


async def _accounted(turn: Turn, seconds: float, wanted: Sequence[Reading]) -> Sample:
    """Return a sample with what is stored now of an operation's own readings."""
    stored = await turn.contender.find(turn.owner, len(wanted) + 1)
    found = digest([turn.contender.reading(own) for own in stored])
    turn.kept.update((one.id, one) for one in wanted)
    return Sample(turn.calls, seconds, found, digest(wanted))


async def aggregate(turn: Turn) -> Sample:
    """Count and average all readings by their kind."""
    calls = range(1 + turn.calls)
    seconds, sums = await timed(lambda _: turn.contender.aggregate(), calls, turn.tasks, 1)
    values: dict[str, list[float]] = {}
    for one in turn.kept.values():
        values.setdefault(one.kind, []).append(one.value)
    wanted = {kind: (len(each), fmean(each)) for kind, each in values.items()}
    return Sample(turn.calls, seconds, digest_of_sums(sums[-1]), digest_of_sums(wanted))


async def stream(turn: Turn) -> Sample:
    """Read all; it comes last, and so finds what any operation before it lost."""
    started = perf_counter()
    found = [own async for own in turn.contender.stream()]
    seconds = perf_counter() - started
    there = digest(turn.contender.reading(own) for own in found)
    return Sample(len(found), seconds, there, digest(turn.kept.values()))


# In the order in which they run.
OPERATIONS: Mapping[str, Operation] = {
    "bulk insert": Operation(load, "rows", many=False),
    "get": Operation(get),
    "find 50": Operation(find, part=4),
    "insert": Operation(insert),
    "update": Operation(update),
    "delete": Operation(delete),
    "aggregate": Operation(aggregate, many=False, part=20),
    "stream all": Operation(stream, "rows", many=False),
}

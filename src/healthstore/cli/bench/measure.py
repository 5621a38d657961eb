"""Measuring: the same calls by healthstore and by the driver alone, in turns, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle, islice
from math import ceil
from statistics import median
from time import perf_counter, process_time
from typing import Any, TypeAlias

from healthstore import F, Repository
from healthstore.abc.bench import Bench, Call
from healthstore.cli.bench.scratch import PER_OWNER, Reading
from healthstore.errors import DeadlineExceededError
from healthstore.model.ops import Op

__all__ = ("MOST_TASKS", "Figures", "Measurement")

MOST_TASKS = 1_000
_KEPT = 1_000  # readings that are there all the time
_CALLS = 50  # of one task, in one turn
_EACH = 4  # of each of several tasks
_TURNS = 3  # at least; the first one warms up, and does not count
_TURN_SECONDS = 60.0  # then the server is too slow to be measured

Step: TypeAlias = Callable[[Repository[Reading], Reading], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Figures:
    """An operation with some tasks at once: how often per second, and the times of a call.

    The driver's figures are those of the same calls by the driver alone, with one task:
    ``overhead_us`` is the CPU of this process, in microseconds, that one call takes more.
    """

    operation: str
    tasks: int
    calls: int
    per_second: float
    p50_ms: float
    p99_ms: float
    driver_per_second: float | None = None
    overhead_us: float | None = None


@dataclass(slots=True)
class _Turns:
    """What the turns of one contender took: seconds of each call, and CPU of a call by turn."""

    seconds: float = 0.0
    calls: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])

    async def run(self, calls: Sequence[Call], tasks: int) -> None:
        """Make calls, in some tasks."""
        waiting = iter(calls)
        started, cpu = perf_counter(), process_time()
        if tasks == 1:
            await self._one_by_one(waiting)
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(tasks):
                    group.create_task(self._one_by_one(waiting))
        self.cpu.append((process_time() - cpu) / len(calls))
        self.seconds += perf_counter() - started

    async def _one_by_one(self, waiting: Iterator[Call]) -> None:
        for call in waiting:  # shared: each task takes the next
            started = perf_counter()
            await call()
            self.calls.append(perf_counter() - started)

    @property
    def per_second(self) -> float:
        return len(self.calls) / self.seconds

    def percentile(self, percent: int) -> float:
        """Return the least milliseconds that so many of a hundred calls did not exceed."""
        return sorted(self.calls)[ceil(len(self.calls) * percent / 100) - 1] * 1000


class Measurement:
    """Measures one member through a repository of its own collection.

    ``make`` returns so many new readings. ``sent`` holds what the repository's calls became at the adapter: that is what the driver
    sends again, with the same values.
    """

    def __init__(
        self,
        readings: Repository[Reading],
        make: Callable[[int], list[Reading]],
        sent: list[Op[Any]],
        bench: Bench[Any],
        seconds: float,
    ) -> None:
        self._readings = readings
        self._make = make
        self._sent = sent
        self._bench = bench
        self._seconds = seconds
        self._kept: list[Reading] = []

    async def run(self, tasks: int) -> AsyncGenerator[Figures, None]:
        """Yield the figures of each operation, with one task and with some at once.

        Raises what the store raises, and DeadlineExceededError if it is too slow.
        """
        self._kept = self._make(_KEPT)
        added = await self._readings.add_many(self._kept, mode="best_effort")
        for each in added.errors:
            raise each.error
        for steps in _STEPS:
            for together in dict.fromkeys((1, tasks)):
                for figures in await self._measured(steps, together):
                    yield figures

    async def _measured(self, steps: Mapping[str, Step], tasks: int) -> list[Figures]:
        """Return the figures of steps that follow each other: what one adds, the next one deletes."""
        ours = {name: _Turns() for name in steps}
        alone = {name: _Turns() for name in steps}
        kept = cycle(self._kept)
        number = 0
        while number < _TURNS or min(each.seconds for each in ours.values()) < self._seconds:
            count = _CALLS if tasks == 1 else _EACH * tasks
            rows = self._make(count) if len(steps) > 1 else [*islice(kept, count)]
            sent = await self._by_us(steps, rows, tasks, ours)
            if tasks == 1:
                await self._by_the_driver(sent, alone)
            if not number:  # connections, statements and caches are warm
                ours = {name: _Turns() for name in steps}
                alone = {name: _Turns() for name in steps}
            number += 1
        return [_figures(name, tasks, ours[name], alone[name]) for name in steps]

    async def _by_us(
        self,
        steps: Mapping[str, Step],
        rows: Sequence[Reading],
        tasks: int,
        turns: Mapping[str, _Turns],
    ) -> Mapping[str, Sequence[Op[Any]]]:
        """Take each step with each row, and return what was sent to the adapter."""
        sent: dict[str, Sequence[Op[Any]]] = {}
        for name, step in steps.items():
            self._sent.clear()
            async with _bounded(name):
                await turns[name].run([partial(step, self._readings, row) for row in rows], tasks)
            sent[name] = tuple(self._sent)
        return sent

    async def _by_the_driver(
        self, sent: Mapping[str, Sequence[Op[Any]]], turns: Mapping[str, _Turns]
    ) -> None:
        """Send the same again by the driver alone."""
        for name, operations in sent.items():
            async with _bounded(name), self._bench.driver() as driver:
                await turns[name].run([await driver(op) for op in operations], 1)


def _figures(name: str, tasks: int, ours: _Turns, alone: _Turns) -> Figures:
    figures = Figures(
        name, tasks, len(ours.calls), ours.per_second, ours.percentile(50), ours.percentile(99)
    )
    if not alone.calls:
        return figures
    overhead = median(a - b for a, b in zip(ours.cpu, alone.cpu, strict=True))
    return replace(figures, driver_per_second=alone.per_second, overhead_us=overhead * 1e6)


@asynccontextmanager
async def _bounded(name: str) -> AsyncGenerator[None, None]:
    try:
        async with asyncio.timeout(_TURN_SECONDS):
            yield
    except TimeoutError:
        raise DeadlineExceededError(
            f"{name}: a few calls took more than {_TURN_SECONDS:g} s",
            hint="look at the load of the server and the way to it",
        ) from None


async def _find(readings: Repository[Reading], row: Reading) -> None:
    await readings.find(F.owner == row.owner, order=["-taken_at"], limit=PER_OWNER)


async def _update(readings: Repository[Reading], row: Reading) -> None:
    await readings.update(row.id, {"value": row.value + 1, "note": "measured again"})


# Measured one after the other; the steps of one mapping follow each other on the same rows.
_STEPS: Sequence[Mapping[str, Step]] = (
    {"get": lambda readings, row: readings.get(row.id)},
    {f"find {PER_OWNER}": _find},
    {"update": _update},
    {
        "insert": lambda readings, row: readings.add(row),
        "delete": lambda readings, row: readings.delete(row.id),
    },
)

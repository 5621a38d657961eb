"""Our own CPU of one single-row call: a whole DatabaseManager on the memory backend."""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from time import process_time

from benchmarks.contender import Contender
from benchmarks.contenders.own import opened
from benchmarks.reading import make
from healthstore.abc import BackendURL

__all__ = ("main",)

BUDGET = 12.0  # microseconds of CPU for one call, the memory adapter's own included


async def _cpu(call: Callable[[int], Awaitable[object]], numbers: Sequence[int]) -> float:
    """Return microseconds of CPU per call."""
    gc.collect()
    started = process_time()
    for number in numbers:
        await call(number)
    return (process_time() - started) / len(numbers) * 1e6


async def _measure(calls: int, rounds: int) -> dict[str, list[float]]:
    """Return the figures of each round, for each operation."""
    found: dict[str, list[float]] = {"get": [], "insert": [], "update": [], "delete": []}
    async with opened(BackendURL.parse("memory://")) as contender:
        for turn in range(rounds):
            await _turn(contender, range(turn * calls, (turn + 1) * calls), found)
    return found


async def _turn(contender: Contender, numbers: range, found: dict[str, list[float]]) -> None:
    ready = [contender.ready(make(number)) for number in numbers]
    ids, first = [one.id for one in ready], numbers[0]
    calls: dict[str, Callable[[int], Awaitable[object]]] = {
        "insert": lambda number: contender.insert(ready[number - first]),
        "get": lambda number: contender.get(ids[number - first]),
        "update": lambda number: contender.update(ids[number - first], 1.5, "again"),
        "delete": lambda number: contender.delete(ids[number - first]),
    }
    for name, call in calls.items():
        found[name].append(await _cpu(call, numbers))


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks memory", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--calls", type=int, default=2_000, help="calls of a round (2000)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds (15)")
    options = parser.parse_args(arguments)
    print(f"microseconds of CPU per call (wanted: at most {BUDGET:.0f})")
    for name, values in asyncio.run(_measure(options.calls, options.rounds)).items():
        print(f"{name:8}{median(values):6.1f}  ({min(values):.1f}..{max(values):.1f})")
    return 0

"""What the manager, failover and monitoring add to a single-row call on the memory backend.

    python -m benchmarks overhead [--calls 2000]

Prints microseconds per call of `get` and `add` through a repository: on the bare adapter under
the guard, with each part laid over it, and through a whole DatabaseManager; and the time of
`await db.health()`. The variants run in many short turns, and the best turn of each counts: on
a shared machine the least disturbed one is nearest to the cost.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Annotated

from healthstore import DatabaseManager, Entity, MaxLength, Repository
from healthstore.abc import Backend
from healthstore.adapters.memory import MemoryAdapter
from healthstore.build import build_guard
from healthstore.entity import collection_of
from healthstore.events import EventBus
from healthstore.layers.monitor import MonitorLayer
from healthstore.layers.retry import RetryLayer
from healthstore.layers.timeout import TimeoutLayer
from healthstore.model.ops import Ensure
from healthstore.routing.failover import Failover
from healthstore.routing.policy import FailoverMode, FailoverPolicy
from healthstore.statistics import Statistics

__all__ = ("main",)

TURNS = 40
BUDGET = 8.0  # microseconds that manager, failover and monitor may add together


class Reading(Entity, collection="overhead_readings"):
    """A row of six columns."""

    device: Annotated[str, MaxLength(40)]
    pulse: int


def monitored(backend: Backend) -> Backend:
    """Lay the monitor over a backend."""
    return MonitorLayer(backend, bus=EventBus(), statistics=Statistics(), slow_seconds=0.5)


def bounded(backend: Backend) -> Backend:
    """Lay retry and deadline over a backend: every member has them, with or without a manager."""
    return RetryLayer(TimeoutLayer(backend))


def routed(backend: Backend) -> Backend:
    """Make a backend the one member of a failover."""
    policy = FailoverPolicy(mode=FailoverMode.NONE)
    return Failover({backend.name: backend}, policy, EventBus().emit)


async def add(readings: Repository[Reading]) -> None:
    """Add one row."""
    await readings.add(Reading(device="d", pulse=60))


async def timed(call: Callable[[], Awaitable[object]], calls: int) -> float:
    """Return microseconds per call."""
    started = perf_counter()
    for _ in range(calls):
        await call()
    return (perf_counter() - started) / calls * 1e6


async def _measure(calls: int) -> None:
    """Measure and print."""
    stacks: dict[str, Backend] = {
        "adapter": MemoryAdapter(),
        "+ retry and deadline": bounded(MemoryAdapter()),
        "+ monitor": bounded(monitored(MemoryAdapter())),
        "+ failover": routed(RetryLayer(monitored(MemoryAdapter()))),  # its deadline is its own
    }
    repositories: dict[str, Repository[Reading]] = {}
    for name, backend in stacks.items():
        await backend.open()
        await backend.execute(Ensure((collection_of(Reading),)))
        repositories[name] = Repository(Reading, build_guard(backend))
    async with DatabaseManager("memory://") as db:
        await db.initialize(Reading)
        repositories["DatabaseManager"] = db.repository(Reading)
        rows = {
            name: await each.add(Reading(device="d", pulse=60))
            for name, each in repositories.items()
        }
        best: dict[tuple[str, str], float] = {}
        for _ in range(TURNS):
            for name, each in repositories.items():
                found = await timed(partial(each.get, rows[name].id), calls)
                added = await timed(partial(add, each), calls // 10)
                best[name, "get"] = min(found, best.get((name, "get"), found))
                best[name, "add"] = min(added, best.get((name, "add"), added))
        health = min([await timed(db.health, calls // 10) for _ in range(TURNS)])
    for backend in stacks.values():
        await backend.close()
    print(f"{'microseconds per call':24}{'get':>8}{'add':>8}")
    for name in repositories:
        print(f"{name:24}{best[name, 'get']:8.1f}{best[name, 'add']:8.1f}")
    plain = "+ retry and deadline"
    for verb in ("get", "add"):
        with_manager, without = best["DatabaseManager", verb], best[plain, verb]
        print(
            f"{verb}: manager, failover and monitor add {with_manager - without:.1f} us "
            f"(budget {BUDGET:.0f}), ratio {with_manager / without:.2f}"
        )
    print(f"await db.health(): {health / 1000:.4f} ms (budget 1)")


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks overhead", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--calls", type=int, default=2_000, help="calls per turn (2000)")
    asyncio.run(_measure(parser.parse_args(arguments).calls))
    return 0

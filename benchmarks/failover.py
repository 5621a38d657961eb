"""How long readers wait when their server is lost.

    python -m benchmarks failover [--server postgresql] [--runs 20] [--hangs 5] [--json FILE]

Starts a server of its own with `scripts/test-servers`, copies a small table to a SQLite
standby, and reads without pause in several tasks while the server is killed (`kill -9` of all
its processes) or stopped (SIGSTOP: it hangs). The figure of a run is the longest time that any
reader went without an answer. Prints p50, p99 and the worst over the runs, with the default
policy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Annotated
from uuid import UUID

from tests.faults.servers import KINDS, PrivateServer

from healthstore import DatabaseManager, Entity, MaxLength
from healthstore.errors import HealthstoreError
from healthstore.events import FailedOver

__all__ = ("main",)

READERS = 4
BEFORE, AFTER = 0.5, 0.5  # seconds of reading before the fault, and after the failover
PATIENCE = 15.0


class Reading(Entity, collection="failover_readings"):
    """A row."""

    device: Annotated[str, MaxLength(40)]


async def outage(urls: tuple[str, str], fault: Callable[[], None]) -> float:
    """Return the longest time, in seconds, that a reader went without an answer."""
    async with DatabaseManager(members={"primary": urls[0], "standby": urls[1]}) as db:
        readings = db.repository(Reading)
        identity = (await readings.find(limit=1)).items[0].id
        longest = 0.0
        going = True

        async def read(identity: UUID) -> None:
            nonlocal longest
            last = perf_counter()
            while going:
                try:
                    found = await readings.get(identity)
                    assert found is not None, "a reader got a wrong answer"
                except HealthstoreError:
                    await asyncio.sleep(0.01)
                    continue
                now = perf_counter()
                longest = max(longest, now - last)
                last = now
                await asyncio.sleep(0.005)

        carried_over = asyncio.Event()
        db.on(FailedOver, lambda _: carried_over.set())
        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(read(identity))
            await asyncio.sleep(BEFORE)
            fault()
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await carried_over.wait()
            await asyncio.sleep(AFTER)
            going = False
        if db.reads != "standby":
            raise SystemExit("the readers were never carried over")
        return longest


async def prepare(server: PrivateServer, standby: str) -> tuple[str, str]:
    """Make a database on the server and its copy; return both URLs."""
    primary = await server.database()
    async with DatabaseManager(members={"primary": primary, "standby": standby}) as db:
        await db.initialize(Reading)
        await db.repository(Reading).add_many([Reading(device=f"d{n}") for n in range(100)])
        await db.migrate("primary", "standby")
    return primary, standby


async def measure(
    urls: tuple[str, str],
    runs: int,
    fault: Callable[[], None],
    mend: Callable[[], Awaitable[object]],
) -> list[float]:
    """Return the longest silence of each run, sorted."""
    found: list[float] = []
    for _ in range(runs):
        found.append(await outage(urls, fault))
        await mend()
    return sorted(found)


def told(name: str, found: list[float], bound: str) -> dict[str, object]:
    """Print the figures of a fault and return them."""
    p50, worst = statistics.median(found), found[-1]
    p99 = found[min(len(found) - 1, round(0.99 * (len(found) - 1)))]
    print(
        f"{name}: p50 {p50:.2f} s, p99 {p99:.2f} s, worst {worst:.2f} s ({len(found)} runs; {bound})"
    )
    return {"fault": name, "p50": p50, "p99": p99, "worst": worst, "runs": len(found)}


async def _measure_both(kind: str, runs: int, hangs: int) -> list[dict[str, object]]:
    """Measure both faults and print the figures."""
    server = PrivateServer(kind)
    server.up()
    try:
        with tempfile.TemporaryDirectory() as folder:
            urls = await prepare(server, f"sqlite:///{folder}/standby.db")
            killed = await measure(urls, runs, server.kill, server.restart)
            stopped = await measure(
                urls, hangs, server.stop, lambda: asyncio.to_thread(server.cont)
            )
    finally:
        server.close()
    return [
        told(f"{kind}, kill -9", killed, "wanted: p50 < 1 s, p99 < 2 s"),
        told(f"{kind}, SIGSTOP", stopped, "wanted: < 6 s"),
    ]


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks failover", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--server", choices=sorted(KINDS), default="postgresql")
    parser.add_argument("--runs", type=int, default=20, help="kills (20)")
    parser.add_argument("--hangs", type=int, default=5, help="stops (5)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args(arguments)
    figures = asyncio.run(_measure_both(options.server, options.runs, options.hangs))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), "utf-8")
    return 0

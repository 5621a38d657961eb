"""How fast sixteen workers share out the jobs of a queue, and whether each is of one.

    python -m benchmarks claim [BACKEND ...] [--jobs 20000]

Each worker claims ten jobs at a time, until none is left. What a store does for a claim is in
docs/how-to/a-job-queue.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from time import perf_counter
from typing import Annotated
from uuid import UUID

from benchmarks.servers import BACKENDS, describe, located, measured
from healthstore import DatabaseManager, Entity, F, Index, MaxLength, Repository
from healthstore.errors import ConflictError
from healthstore.testing.provision import disposable, text_of

__all__ = ("main",)

WORKERS = 16
AT_ONCE = 10
PART = 5_000  # jobs that are added together
LEASE = timedelta(minutes=30)
WANTED: Mapping[str, int] = {
    "postgresql": 10_000,
    "sqlite": 10_000,
    "mysql": 2_000,
    "mariadb": 2_000,
}
"""Jobs a second."""


class Job(Entity, collection="jobs", claimable=True, indexes=[Index("state", "created_at")]):
    """What is to be done."""

    state: Annotated[str, MaxLength(10)] = "new"


async def _work(jobs: Repository[Job], handed: Counter[UUID]) -> None:
    empty = 0
    while empty < 3:  # rivals may have had what a claim saw
        try:
            mine = await jobs.claim(F.state == "new", n=AT_ONCE, lease=LEASE)
        except ConflictError:
            continue
        empty = 0 if mine else empty + 1
        handed.update(each.id for each in mine)


async def _backend(name: str, count: int) -> None:
    url = located(name, os.environ)
    print(f"{name}: {(await describe(url))[0]}, {count:,} jobs, {WORKERS} workers", flush=True)
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(disposable(url))
        db = await stack.enter_async_context(DatabaseManager(text_of(own)))
        await db.initialize(Job)
        jobs = db.repository(Job)
        for start in range(0, count, PART):
            made = [Job() for _ in range(min(PART, count - start))]
            await jobs.add_many(made, mode="best_effort")
        handed = Counter[UUID]()
        began = perf_counter()
        await asyncio.gather(*(_work(jobs, handed) for _ in range(WORKERS)))
        seconds = perf_counter() - began
    twice = sum(1 for times in handed.values() if times > 1)
    if twice or len(handed) != count:
        raise SystemExit(f"{name}: {twice} jobs were handed out twice, {len(handed)} of {count}")
    wanted = f" (wanted: {WANTED[name]:,})" if name in WANTED else ""
    print(f"  {count / seconds:,.0f} jobs/s{wanted}, none twice", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks claim", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("backends", nargs="*", metavar="BACKEND", help=", ".join(BACKENDS))
    parser.add_argument("--jobs", type=int, default=20_000, help="how many (20000)")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.backends) - set(BACKENDS))
    if unknown:
        parser.error(f"{', '.join(unknown)} is none of {', '.join(BACKENDS)}")
    names = options.backends or BACKENDS
    return asyncio.run(measured(names, partial(_backend, count=options.jobs)))

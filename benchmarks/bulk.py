"""What it costs to change and delete many rows by a condition, beside the SQL that one would write.

    python -m benchmarks bulk [BACKEND ...] [--rows 100000] [--batch 5000]

Each is done to a fifth more rows than are found: by the statement that is printed and the raw
driver, by the library as one statement, and by the library in batches. All three leave the same.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Annotated, Any

from benchmarks.servers import Fetch, describe, located, measured, raw
from healthstore import DatabaseManager, Entity, F, MaxLength, Repository
from healthstore.testing.provision import disposable, text_of

__all__ = ("main",)

TIMES = 3  # each way has so many turns
PART = 10_000  # rows that are added together
WHOLE, BATCHED = 1.2, 2.0  # as long as the statement


class Mood(Entity, collection="moods"):
    """A row."""

    score: int
    context: Annotated[str, MaxLength(40)]
    note: str


@dataclass(frozen=True)
class Change:
    """What is done, as the library is asked for it and as a statement."""

    name: str
    ask: Callable[[Repository[Mood], int, int | None], Awaitable[int]]
    statement: str
    left: str
    """What is true of as many rows as were not found."""


async def _update(moods: Repository[Mood], found: int, batch: int | None) -> int:
    return await moods.update_where(F.score < found, {"context": "archived"}, batch=batch)


async def _delete(moods: Repository[Mood], found: int, batch: int | None) -> int:
    return await moods.delete_where(F.score < found, batch=batch)


CHANGES = (
    Change(
        "update_where",
        _update,
        "UPDATE moods SET context = 'archived', updated_at = {now}, version = version + 1 "
        "WHERE score < {found}",
        "context <> 'archived'",
    ),
    Change("delete_where", _delete, "DELETE FROM moods WHERE score < {found}", "score >= 0"),
)
NOW: Mapping[str, str] = {
    "sqlite": "1790000000000000",
    "postgresql": "'2026-09-21 00:00:00+00'",
    "mysql": "'2026-09-21 00:00:00'",
    "mariadb": "'2026-09-21 00:00:00'",
}


def _made(rows: int) -> list[Mood]:
    return [
        Mood(score=(at * 7919) % rows, context=f"context {at % 40}", note="n" * (at % 90))
        for at in range(rows)
    ]


async def _committed(fetch: Fetch, *statements: str) -> Sequence[Sequence[Any]]:
    """Run statements in one transaction, and return the rows of the last one."""
    rows: Sequence[Sequence[Any]] = ()
    await fetch("BEGIN")
    for each in statements:
        rows = await fetch(each)
    await fetch("COMMIT")
    return rows


async def _compare(
    change: Change, moods: Repository[Mood], fetch: Fetch, now: str, options: argparse.Namespace
) -> None:
    """Print what each way takes; all must leave the same number of rows as they were."""
    found, extra = options.rows, options.rows // 5
    statement = change.statement.format(now=now, found=found)
    ways: Mapping[str, Callable[[], Awaitable[object]]] = {
        "the statement": lambda: _committed(fetch, statement),
        "whole": lambda: change.ask(moods, found, None),
        f"in batches of {options.batch:,}": lambda: change.ask(moods, found, options.batch),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TIMES):
        for name, run in ways.items():
            await _committed(fetch, "DELETE FROM moods", "INSERT INTO moods SELECT * FROM spare")
            began = perf_counter()
            await run()
            taken[name].append(perf_counter() - began)
            rows = await _committed(fetch, f"SELECT count(*) FROM moods WHERE {change.left}")  # noqa: S608 - our own
            left = rows[0][0]
            if left != extra:
                raise SystemExit(f"{change.name}, {name}: {left} rows are left, not {extra}")
    print(f"  {statement}")
    theirs, *ours = taken
    for name, wanted in zip(ours, (WHOLE, BATCHED), strict=True):
        ratio = median(taken[name]) / median(taken[theirs])
        print(
            f"  {change.name} of {found:,} rows {name}: {median(taken[name]) * 1e3:,.0f} ms, "
            f"the statement {median(taken[theirs]) * 1e3:,.0f} ms: x{ratio:.2f} (wanted: {wanted})",
            flush=True,
        )


async def _backend(name: str, options: argparse.Namespace) -> None:
    url = located(name, os.environ)
    print(f"{name}: {(await describe(url))[0]}", flush=True)
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(disposable(url))
        db = await stack.enter_async_context(DatabaseManager(text_of(own)))
        fetch = await stack.enter_async_context(raw(own))
        await db.initialize(Mood)
        moods = db.repository(Mood)
        made = _made(options.rows + options.rows // 5)
        for start in range(0, len(made), PART):
            await moods.add_many(made[start : start + PART], mode="best_effort")
        del made
        await _committed(fetch, "CREATE TABLE spare AS SELECT * FROM moods")
        for each in CHANGES:
            await _compare(each, moods, fetch, NOW[name], options)


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks bulk", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("backends", nargs="*", metavar="BACKEND", help=", ".join(NOW))
    parser.add_argument("--rows", type=int, default=100_000, help="how many are found (100000)")
    parser.add_argument("--batch", type=int, default=5_000, help="documents of a batch (5000)")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.backends) - set(NOW))
    if unknown:
        parser.error(f"{', '.join(unknown)} is none of {', '.join(NOW)}")
    return asyncio.run(measured(options.backends or tuple(NOW), partial(_backend, options=options)))

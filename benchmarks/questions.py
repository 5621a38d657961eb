"""What questions cost that the database answers, beside the SQL that one would write for them.

    python -m benchmarks questions [BACKEND ...] [--rows 1000000]

Days in Berlin, the latest of each patient and code, the ten of these with most rows, and a
percentile of one table of observations. The peer is the statement that is printed, by the raw driver; both are asked in
turn, and what they find is compared.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from time import perf_counter
from typing import Annotated, Any

from benchmarks.servers import Fetch, describe, located, measured, raw
from healthstore import (
    Bucket,
    Count,
    DatabaseManager,
    Entity,
    Index,
    Max,
    MaxLength,
    Percentile,
    Repository,
)
from healthstore.testing.provision import disposable, text_of

__all__ = ("main",)

TIMES = 5  # each question is asked, by both in turn
PART = 10_000  # rows that are added together
PATIENTS, CODES = 200, 40
MOST = 1.5  # as long as the statement
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


class Observation(
    Entity, collection="observations", indexes=[Index("patient", "code", "at"), Index("code")]
):
    """A row."""

    patient: int
    code: Annotated[str, MaxLength(20)]
    at: datetime
    value: float


@dataclass(frozen=True)
class Question:
    """A question as it is asked of the library, and what tells that both found the same."""

    name: str
    ask: Callable[[Repository[Observation]], Awaitable[Sequence[Any]]]
    told: Callable[[Any], tuple[Any, ...]]


async def _days(observations: Repository[Observation]) -> Sequence[Any]:
    return await observations.aggregate(
        group=[Bucket("at", "day", tz="Europe/Berlin")], n=Count(), most=Max("value")
    )


async def _latest(observations: Repository[Observation]) -> Sequence[Any]:
    return await observations.latest(per=["patient", "code"], by="at")


async def _top(observations: Repository[Observation]) -> Sequence[Any]:
    return await observations.aggregate(
        group=["patient", "code"], order=["-n"], limit=10, n=Count()
    )


async def _percentile(observations: Repository[Observation]) -> Sequence[Any]:
    return await observations.aggregate(group=["code"], p95=Percentile("value", 0.95))


QUESTIONS = (
    Question("days in Berlin", _days, lambda row: (row["n"], row["most"])),
    Question("latest of each", _latest, lambda row: (row.patient, row.code, row.value)),
    Question("ten most of each", _top, lambda row: (row["patient"], row["code"], row["n"])),
    Question("95th percentile", _percentile, lambda row: (row["code"], row["p95"])),
)

_LATEST = (
    "SELECT patient, code, value, id, version, created_at, updated_at, {at} FROM (SELECT *, "
    "row_number() OVER (PARTITION BY patient, code ORDER BY {at} DESC, id DESC) AS place "
    "FROM observations) AS ranked WHERE place = 1 ORDER BY patient, code"
)
_TOP = (
    "SELECT patient, code, count(*) AS n FROM observations GROUP BY patient, code "
    "ORDER BY n DESC, patient, code LIMIT 10"
)
_RANKED = (
    "SELECT code, max(value) FROM (SELECT code, value, "
    "row_number() OVER (PARTITION BY code ORDER BY value) AS place, "
    "count(*) OVER (PARTITION BY code) AS n FROM observations) AS ranked "
    "WHERE place <= ceil(0.95 * n) GROUP BY code ORDER BY code"
)
# The offsets of that year, as who has no tables of zones writes them.
_MYSQL_DAYS = (
    "SELECT count(*), max(value), date(`at` + INTERVAL CASE WHEN `at` >= '2024-03-31 01:00:00' "
    "AND `at` < '2024-10-27 01:00:00' THEN 2 ELSE 1 END HOUR) AS day "
    "FROM observations GROUP BY day ORDER BY day"
)
_MYSQL: Mapping[str, str] = {
    "days in Berlin": _MYSQL_DAYS,
    "latest of each": _LATEST.format(at="`at`"),
    "ten most of each": _TOP,
    "95th percentile": _RANKED,
}
_SQLITE_DAYS = (
    'SELECT count(*), max(value), ("at" + CASE WHEN "at" >= 1711846800000000 '
    'AND "at" < 1729990800000000 THEN 7200000000 ELSE 3600000000 END) / 86400000000 AS day '
    "FROM observations GROUP BY day ORDER BY day"
)
STATEMENTS: Mapping[str, Mapping[str, str]] = {
    "postgresql": {
        "days in Berlin": "SELECT count(*), max(value), date_trunc('day', \"at\", 'Europe/Berlin') "
        "AS day FROM observations GROUP BY day ORDER BY day",
        "latest of each": _LATEST.format(at='"at"'),
        "ten most of each": _TOP,
        "95th percentile": "SELECT code, percentile_disc(0.95) WITHIN GROUP (ORDER BY value) "
        "FROM observations GROUP BY code ORDER BY code",
    },
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "sqlite": {
        "days in Berlin": _SQLITE_DAYS,
        "latest of each": _LATEST.format(at='"at"'),
        "ten most of each": _TOP,
        "95th percentile": _RANKED.replace("ceil(0.95 * n)", "(95 * n + 99) / 100"),
    },
}


def _made(rows: int) -> Sequence[Observation]:
    chance = random.Random(12)
    step = timedelta(days=365) / rows
    return [
        Observation(
            patient=chance.randrange(PATIENTS),
            code=f"code-{int(CODES * chance.random() ** 2):02}",
            at=BEGIN + at * step,
            value=chance.randrange(10**9) / 1000,
        )
        for at in range(rows)
    ]


async def _ask(
    question: Question, observations: Repository[Observation], fetch: Fetch, sql: str
) -> None:
    """Print what a question takes, beside its statement; both must find the same."""
    ours, theirs = list[float](), list[float]()
    for _ in range(TIMES):
        began = perf_counter()
        found = await question.ask(observations)
        ours.append(perf_counter() - began)
        began = perf_counter()
        rows = await fetch(sql)
        theirs.append(perf_counter() - began)
        width = len(question.told(found[0]))
        if [question.told(each) for each in found] != [tuple(each)[:width] for each in rows]:
            raise SystemExit(f"{question.name}: the answers differ")
    ratio = median(ours) / median(theirs)
    print(f"  {sql}")
    print(
        f"  {question.name}: {median(ours) * 1e3:,.0f} ms for {len(found):,} rows, the statement "
        f"{median(theirs) * 1e3:,.0f} ms: x{ratio:.2f} (wanted: {MOST})",
        flush=True,
    )


async def _backend(name: str, rows: int) -> None:
    url = located(name, os.environ)
    print(f"{name}: {(await describe(url))[0]}, {rows:,} rows", flush=True)
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(disposable(url))
        db = await stack.enter_async_context(DatabaseManager(text_of(own)))
        fetch = await stack.enter_async_context(raw(own))
        await db.initialize(Observation)
        observations = db.repository(Observation)
        made = _made(rows)
        for start in range(0, rows, PART):
            await observations.add_many(made[start : start + PART], mode="best_effort")
        del made
        for each in QUESTIONS:
            await _ask(each, observations, fetch, STATEMENTS[name][each.name])


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks questions", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("backends", nargs="*", metavar="BACKEND", help=", ".join(STATEMENTS))
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many (1000000)")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.backends) - set(STATEMENTS))
    if unknown:
        parser.error(f"{', '.join(unknown)} is none of {', '.join(STATEMENTS)}")
    names = options.backends or tuple(STATEMENTS)
    return asyncio.run(measured(names, partial(_backend, rows=options.rows)))

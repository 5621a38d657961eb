"""What a change of the schema costs: a nullable field, a function over every document, and `schema check`.

    python -m benchmarks evolution [BACKEND ...] [--rows 100000]

A nullable field is added to a collection with rows by `evolve`, and to an empty one beside it: as
many times as long as that is what the rows cost. A function changes each document by a
`Transform`, and the peer is `migrate`, which copies all of them to another database of the same
server and reads them back. `schema check` is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from types import new_class
from typing import Annotated, cast

from benchmarks.servers import BACKENDS, describe, located, measured
from healthstore import DatabaseManager, Entity, MaxLength
from healthstore.testing.provision import disposable, text_of

__all__ = ("main",)

TIMES = 5  # a field is added, to a collection with rows and to an empty one, in turn
PART = 5_000  # rows that are added together
MANY = 8  # migration files that `schema check` reads
FIRST = """
from healthstore.schema import CreateCollection, Instant, Integer, Migration, Text, collection

fields = {"created_at": Instant(), "updated_at": Instant(), "name": Text(100), "visits": Integer()}
migration = Migration(operations=[
    CreateCollection(collection("people", fields)),
    CreateCollection(collection("nobody", fields)),
])
"""
SECOND = """
from healthstore.schema import Migration, Transform

def up(row):
    return row | {"name": row["name"].title(), "visits": row["visits"] + 1}

migration = Migration(after="0001_people", operations=[
    Transform("people", up=up, down=lambda row: row, idempotent=True),
])
"""
MODELS = """
from typing import Annotated
from healthstore import Entity, MaxLength

class Person(Entity, collection="people"):
    name: Annotated[str, MaxLength(100)]
    visits: int

class Nobody(Person, collection="nobody"):
    note_3: Annotated[str, MaxLength(40)] | None = None
    note_4: Annotated[str, MaxLength(40)] | None = None
    note_5: Annotated[str, MaxLength(40)] | None = None
    note_6: Annotated[str, MaxLength(40)] | None = None
    note_7: Annotated[str, MaxLength(40)] | None = None
    note_8: Annotated[str, MaxLength(40)] | None = None
"""
NEXT = """
from healthstore.schema import AddField, Migration, Text

migration = Migration(after="{after}", operations=[
    AddField("nobody", "note_{number}", Text(40, nullable=True)),
])
"""


class Person(Entity, collection="people"):
    """A row."""

    name: Annotated[str, MaxLength(100)]
    visits: int


def grown(collection: str, fields: int) -> type[Entity]:
    """Return the entity with that many more fields that may be null."""
    names = {f"extra_{number}": (int | None) for number in range(fields)}
    body = {
        "__annotations__": {"name": Annotated[str, MaxLength(100)], "visits": int, **names},
        "__module__": __name__,
        **dict.fromkeys(names),
    }
    made = new_class("Grown", (Entity,), {"collection": collection}, lambda it: it.update(body))
    return cast("type[Entity]", made)


async def _seconds(work: Awaitable[object]) -> float:
    began = perf_counter()
    await work
    return perf_counter() - began


async def _field(db: DatabaseManager, rows: int) -> None:
    """Print what a nullable field costs, beside one of an empty collection."""
    full: list[float] = []
    empty: list[float] = []
    for turn in range(1, TIMES + 1):
        full.append(await _seconds(db.schema.evolve(grown("people", turn))))
        empty.append(await _seconds(db.schema.evolve(grown("nobody", turn))))
    ratio = median(full) / median(empty)
    print(
        f"  a nullable field: {median(full) * 1e3:.1f} ms with {rows:,} rows, "
        f"{median(empty) * 1e3:.1f} ms with none: x{ratio:.2f}",
        flush=True,
    )


async def _function(db: DatabaseManager, folder: Path, rows: int) -> None:
    """Print the rate of a function over every document, beside that of a copy."""
    copied = rows / await _seconds(db.migrate("store", "copy"))
    changed = rows / await _seconds(db.schema.upgrade(2, folder))
    print(
        f"  a Transform: {changed:,.0f} rows/s; migrate: {copied:,.0f} rows/s: "
        f"x{changed / copied:.2f} (wanted: 0.5)",
        flush=True,
    )


def write(folder: Path) -> None:
    """Write the migrations."""
    names = ["0001_people", "0002_title"]
    texts = [FIRST, SECOND]
    for number in range(3, MANY + 1):
        texts.append(NEXT.format(after=names[-1], number=number))
        names.append(f"{number:04}_note")
    for name, text in zip(names, texts, strict=True):
        (folder / f"{name}.py").write_text(text.lstrip(), "utf-8")


async def _backend(name: str, rows: int) -> None:
    url = located(name, os.environ)
    print(f"{name}: {(await describe(url))[0]}", flush=True)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="healthstore-")))
        write(folder)
        members = {
            each: text_of(await stack.enter_async_context(disposable(url)))
            for each in ("store", "copy")
        }
        db = await stack.enter_async_context(DatabaseManager(members=members))
        await db.schema.upgrade(1, folder)
        people = db.repository(Person)
        for start in range(0, rows, PART):
            part = range(start, min(start + PART, rows))
            await people.add_many(
                [Person(name=f"ann {at}", visits=at) for at in part], mode="best_effort"
            )
        await _function(db, folder, rows)
        await _field(db, rows)


async def _check(folder: Path) -> None:
    """Print how long `schema check` takes, as a process."""
    (folder / "migrations").mkdir()
    write(folder / "migrations")
    (folder / "models.py").write_text(MODELS, "utf-8")
    command = (sys.executable, "-m", "healthstore", "schema", "check", "--entity", "models")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    found: list[float] = []
    for _ in range(TIMES):
        began = perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await process.communicate()
        if process.returncode:
            raise SystemExit(f"schema check ends with {process.returncode}: {told.decode()}")
        found.append(perf_counter() - began)
    print(f"schema check: {median(found):.2f} s, {MANY} files (wanted: 0.5)")


async def _run(backends: Sequence[str], rows: int) -> int:
    missing = await measured(backends, partial(_backend, rows=rows))
    with tempfile.TemporaryDirectory(prefix="healthstore-") as folder:
        await _check(Path(folder))
    return missing


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks evolution", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("backends", nargs="*", metavar="BACKEND", help=", ".join(BACKENDS))
    parser.add_argument("--rows", type=int, default=100_000, help="how many (100000)")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.backends) - set(BACKENDS))
    if unknown:
        parser.error(f"{', '.join(unknown)} is none of {', '.join(BACKENDS)}")
    return asyncio.run(_run(options.backends or BACKENDS, options.rows))

"""A definition is being changed, and that is cut short: asked again, it is as if nothing had been."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from uuid import UUID

import pytest
from tests.faults.breaking import Breaks, lent, watched
from tests.faults.conftest import NewDatabase

from healthstore.abc import Backend
from healthstore.adapters.sql.adapter import SqlAdapter
from healthstore.build import build_guard
from healthstore.errors import HealthstoreError, Outcome, SchemaMismatchError
from healthstore.model.catalog import CATALOG, catalog_id, from_definition
from healthstore.model.change import changes_between
from healthstore.model.ops import Alter, CountDocuments, Ensure, Find, Get, Insert
from healthstore.model.query import F
from healthstore.model.schema import Check, Collection, Field, Index, Reference, Unique
from healthstore.model.values import Document, FieldType, Kind

STORES = ("sqlite", "postgresql", "mysql", "mariadb", "mongodb", "mongodb-rs")
ROWS = 5
_KEY = (Field("id", FieldType(Kind.UUID)), Field("version", FieldType(Kind.INTEGER)))
_NUMBER = FieldType(Kind.INTEGER)
_KILLS = int(os.environ.get("HEALTHSTORE_KILLS", "1"))  # of each store
# One of each way to change a definition; HEALTHSTORE_KILLED=all takes the others, too.
KILLED = STORES if os.environ.get("HEALTHSTORE_KILLED") == "all" else STORES[:3] + STORES[-1:]


def _text(length: int) -> FieldType:
    return FieldType(Kind.TEXT, max_length=length)


def _enum(*choices: str) -> FieldType:
    return FieldType(Kind.ENUM, choices=choices)


def _decimal(digits: int) -> FieldType:
    return FieldType(Kind.DECIMAL, digits=digits, places=2)


def before(name: str, *, referring: bool) -> Collection:
    """Return a definition of which every kind of part is going to change."""
    boss = Field("boss", FieldType(Kind.UUID), nullable=True)
    return Collection(
        name,
        (
            *_KEY,
            Field("name", _text(40)),
            Field("level", _enum("low", "high")),
            Field("price", _decimal(18)),
            boss,
        ),
        uniques=(Unique("name"), Unique("level", "name")),
        indexes=(Index("level"), Index("boss")),
        references=(Reference("boss", name),) if referring else (),
        checks=(Check("dear", F.price > 0), Check("named", F.name != "nobody")),
        entity="Thing",
    )


def after(made: Collection) -> Collection:
    """Return what that definition becomes."""
    boss = made.field("boss")
    return replace(
        made,
        fields=(
            *_KEY,
            Field("name", _text(300), nullable=True),
            Field("level", _enum("low", "high", "highest")),
            Field("price", _decimal(20)),
            boss,
            Field("phone", _text(20), nullable=True),
            Field("visits", _NUMBER, default=7),
            Field("mood", _enum("good", "bad"), default="good"),
        ),
        uniques=(Unique("name"),),
        indexes=(Index("visits", "-level"), Index("name")),
        checks=(Check("named", F.name != "nobody"),),
    )


def rows() -> list[Document]:
    """Return documents of the definition of before."""
    return [
        {
            "id": UUID(int=number),
            "version": 1,
            "name": f"n{number}",
            "level": "low",
            "price": Decimal("1234567890123456.00") - number,
            "boss": None,
        }
        for number in range(1, ROWS + 1)
    ]


@pytest.mark.parametrize("store", STORES)
async def test_what_is_broken_before_any_step_is_completed_by_asking_again(
    store: str, new_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the definition of before serves; afterwards the new one does, with every row."""
    async with lent(store, new_database, tmp_path) as backend:
        breaks = Breaks()
        watched(monkeypatch, backend, breaks)
        if isinstance(backend, SqlAdapter):
            await backend.writers.drop_idle()  # what was opened before breaks nowhere
        guarded = build_guard(backend)
        step = 0
        while await _broken_at(guarded, breaks, step):
            step += 1
        assert step > 3, "an alteration has several steps"


async def _broken_at(store: Backend, breaks: Breaks, step: int) -> bool:
    """Alter a collection of its own, broken at a step; return whether there was such a step."""
    made = before(f"things_{step}", referring=store.capabilities.references)
    wanted = after(made)
    await store.execute(Ensure((made,)))
    for row in rows():
        await store.execute(Insert(made, (row,)))
    breaks.left = step
    broken: HealthstoreError | None = None
    try:
        await store.execute(Alter(made, wanted))
    except HealthstoreError as error:
        broken = error
    breaks.left = None
    added = False
    if broken and await _is(store, wanted):  # the lock was not given back
        assert broken.outcome is Outcome.UNKNOWN
    elif broken:
        added = await _serves(store, made)
        assert await store.execute(Alter(made, wanted))
    await _is_altered(store, wanted, ROWS + added)
    assert not await store.execute(Alter(made, wanted))
    return broken is not None


async def _is(store: Backend, definition: Collection) -> bool:
    (row,) = await store.execute(Get(CATALOG, (catalog_id(definition.name),)))
    assert row is not None
    return not changes_between(from_definition(row["definition"]), definition)


async def _serves(store: Backend, made: Collection) -> bool:
    """Check that the definition of before is the store's, and reads and writes as it did.

    MongoDB refuses a new document of it when nothing but the catalog's row is to come; returns
    whether one was taken.
    """
    assert await _is(store, made)
    assert await store.execute(Find(made)) == tuple(rows())
    added = {**rows()[0], "id": UUID(int=99), "name": "added meanwhile"}
    try:
        await store.execute(Insert(made, (added,)))
    except SchemaMismatchError:
        assert store.name.startswith("mongodb")
        return False
    return True


async def _is_altered(store: Backend, wanted: Collection, count: int) -> None:
    found = await store.execute(Find(wanted))
    new: Document = {"phone": None, "visits": 7, "mood": "good"}
    assert found[:ROWS] == tuple({**row, **new} for row in rows())
    assert len(found) == count
    for where in (F.visits == 7, F.mood == "good", F.phone.is_null()):
        assert await store.execute(CountDocuments(wanted, where)) == count
    extreme: Document = {
        **rows()[0],
        **new,
        "id": UUID(int=100),
        "name": None,
        "level": "highest",
        "price": Decimal("-999999999999999999.99"),
    }
    await store.execute(Insert(wanted, (extreme,)))
    assert (await store.execute(Find(wanted, F.price < 0)))[0] == extreme
    with pytest.raises(HealthstoreError):
        await store.execute(Insert(wanted, ({**found[0], "id": UUID(int=101)},)))


# --- the program is killed -------------------------------------------------------------------

_PROGRAM = """
import asyncio, sys
from typing import Annotated
from healthstore import DatabaseManager, Entity, Index, MaxLength

url, name, release = sys.argv[1:]

class Thing(Entity, collection=name):
    title: Annotated[str, MaxLength(40)]
    number: int

if release == "2":
    class Thing(Entity, collection=name, indexes=[Index("number", "-visits")]):
        title: Annotated[str, MaxLength(600)] | None
        number: int
        visits: int = 7
        note: Annotated[str, MaxLength(20)] | None = None

async def main():
    async with DatabaseManager(url) as db:
        if release == "1":
            await db.initialize(Thing)
            things = [Thing(title=f"t{number}", number=number) for number in range(3000)]
            assert not (await db.repository(Thing).add_many(things, mode="best_effort")).errors
            return
        print("ready", flush=True)
        await db.schema.evolve(Thing)
        await db.initialize(Thing)
        things = db.repository(Thing)
        groups = await things.aggregate(n=Count(), sum=Sum("number"), group=["visits"])
        print([tuple(each.values()) for each in groups], flush=True)

from healthstore import Count, Sum
asyncio.run(main())
"""


async def _program(url: str, name: str, release: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM, url, name, release), stdout=asyncio.subprocess.PIPE
    )


async def _ready(program: asyncio.subprocess.Process) -> None:
    assert program.stdout is not None
    assert await program.stdout.readline() == b"ready\n"


@pytest.mark.slow
@pytest.mark.parametrize("store", KILLED)
async def test_a_program_that_is_killed_is_followed_by_one_that_completes_it(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Whenever it is killed, the next one ends with the same rows as one that was not."""
    url = f"sqlite:///{tmp_path}/things.db" if store == "sqlite" else await new_database(store)
    seconds, wanted = 0.0, b""
    drawn = random.Random(store)  # noqa: S311 - where it is killed
    for kill in range(_KILLS + 1):
        name = f"killed_{kill}"
        first = await _program(url, name, "1")
        assert await first.wait() == 0
        program = await _program(url, name, "2")
        await _ready(program)
        started = perf_counter()
        if kill:
            await asyncio.sleep(drawn.uniform(0, seconds))
            if program.returncode is None:
                os.kill(program.pid, signal.SIGKILL)
            await program.communicate()
            program = await _program(url, name, "2")
            await _ready(program)
        told, _ = await program.communicate()
        assert program.returncode == 0
        if not kill:
            seconds, wanted = perf_counter() - started, told
        assert told == wanted
    assert b"7, 3000" in wanted

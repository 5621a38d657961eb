"""Migrations that were cut short, called off, taken over or refused half-way, and what others may do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pytest

from healthstore import DatabaseManager, Entity, MaxLength
from healthstore.abc import Backend
from healthstore.errors import MigrationError, SchemaMismatchError
from healthstore.model.catalog import CATALOG
from healthstore.model.lease import Lease
from healthstore.model.ledger import Lock
from healthstore.model.ops import Find, Insert, Replace
from healthstore.schema import rewrite
from healthstore.transfer.ledger import read_ledger
from healthstore.transfer.selection import catalog

FIRST = """
from healthstore.schema import CreateCollection, Instant, Migration, Text, collection

migration = Migration(operations=[CreateCollection(collection(
    "people", {"created_at": Instant(), "updated_at": Instant(), "name": Text(100)}
))])
"""
SPLIT = """
from healthstore.schema import AddField, DropField, Migration, Text, Transform

def up(row):
    if row["name"] == "bad":
        raise ValueError
    return row | {"first": row["name"]}

def down(row): return row | {"name": row["first"]}

migration = Migration(after="0001_people", operations=[
    AddField("people", "first", Text(100, nullable=True)),
    Transform("people", up=up, down=down),
    DropField("people", "name"),
])
"""
DROP = """
from healthstore.schema import DropField, Migration

migration = Migration(after="0001_people", operations=[DropField("people", "name")])
"""


class Person(Entity, collection="people"):
    name: Annotated[str, MaxLength(100)]


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[DatabaseManager]:
    """Lend an opened manager of an empty store."""
    async with DatabaseManager(f"sqlite:///{tmp_path}/store.db") as manager:
        yield manager


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page of a Transform be two documents."""
    monkeypatch.setattr(rewrite, "_PAGE", 2)


def write(folder: Path, second: str) -> Path:
    """Write the migrations."""
    migrations = folder / "migrations"
    migrations.mkdir(exist_ok=True)
    (migrations / "0001_people.py").write_text(FIRST, "utf-8")
    (migrations / "0002_other.py").write_text(second, "utf-8")
    return migrations


async def _names(store: Backend) -> list[object]:
    people = (await catalog(store))["people"]
    return sorted(str(each["name"]) for each in await store.execute(Find(people)))


async def test_what_is_half_done_is_not_completed_by_who_wants_back(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """A downgrade says what is under way, and nothing more is done; nor does an upgrade, on the way back."""
    folder = write(tmp_path, SPLIT)
    await db.schema.upgrade(1, folder)
    people = db.repository(Person)
    for name in ("a", "b", "bad"):
        await people.add(Person(name=name))
    with pytest.raises(MigrationError, match="raised ValueError"):
        await db.schema.upgrade(directory=folder, allow_loss=True)
    first, second = await db.schema.history(folder)
    assert (first.under_way, second.under_way, second.applied) == (False, True, None)
    store = await db.member(db.active)
    for back in (db.schema.downgrade(directory=folder), db.schema.upgrade(1, folder)):
        with pytest.raises(MigrationError, match="'0002_other' is under way"):
            await back
    assert await _names(store) == ["a", "b", "bad"]
    write(tmp_path, SPLIT.replace('"bad"', '"none"'))
    assert await db.schema.upgrade(directory=folder, allow_loss=True) == ("0002_other",)
    assert not any(each.under_way for each in await db.schema.history(folder))


async def test_a_way_back_that_was_cut_short_is_completed_by_a_downgrade(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """It takes that one back and no other; an upgrade says so."""
    down = SPLIT.replace('{"name": row["first"]}', '{"name": {"a": "a"}[row["first"]]}')
    folder = write(tmp_path, down)
    await db.schema.upgrade(1, folder)
    people = db.repository(Person)
    for name in ("a", "a", "b"):
        await people.add(Person(name=name))
    await db.schema.upgrade(directory=folder, allow_loss=True)
    with pytest.raises(MigrationError, match="raised KeyError"):
        await db.schema.downgrade(directory=folder, allow_loss=True)
    with pytest.raises(MigrationError, match="'0002_other' is being taken back"):
        await db.schema.upgrade(directory=folder)
    store = await db.member(db.active)
    known = (await catalog(store))["people"]
    (last,) = [each for each in await store.execute(Find(known)) if each["first"] == "b"]
    await store.execute(Replace(known, ({**last, "first": "a", "version": 9},)))
    assert await db.schema.downgrade(directory=folder, allow_loss=True) == ("0002_other",)
    assert await db.schema.current() == "0001_people"
    assert await _names(store) == ["a", "a", "a"]


async def test_who_calls_it_off_while_it_waits_has_ended_nobody(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Nothing was changed: the programs of before are served as they were."""
    folder = write(tmp_path, DROP)
    await db.schema.upgrade(1, folder)
    people, store = db.repository(Person), await db.member(db.active)
    away = Lease("t", "elsewhere", 1, "", "2026-01-01T00:00:00+00:00")
    await store.execute(Insert(CATALOG, (away.as_row(1),)))
    waiting = asyncio.create_task(db.schema.upgrade(directory=folder, allow_loss=True))
    await asyncio.sleep(0.3)
    with pytest.raises(SchemaMismatchError, match="serves this definition no more"):
        await people.add(Person(name="a"))
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    await people.add(Person(name="b"))
    assert await _names(store) == ["b"]


async def test_who_was_overtaken_is_told_so(db: DatabaseManager, tmp_path: Path) -> None:
    """One that was not heard of for long writes nothing any more."""
    folder = write(tmp_path, SPLIT)
    await db.schema.upgrade(1, folder)
    people, store = db.repository(Person), await db.member(db.active)
    for at in range(9):
        await people.add(Person(name=f"n{at}"))
    moving = asyncio.create_task(db.schema.upgrade(directory=folder, allow_loss=True, pause=0.05))
    while True:
        book, version = await read_ledger(store)
        if book.under_way is not None and book.under_way.cursor is not None:
            break
        await asyncio.sleep(0.01)
    assert book.lock is not None
    taken = replace(book, lock=Lock("elsewhere", 1, "t", book.lock.until))
    await store.execute(Replace(CATALOG, (taken.as_row(version + 1),)))
    with pytest.raises(MigrationError, match="another process applies migrations by now"):
        await moving


async def test_a_document_without_a_field_is_named(db: DatabaseManager, tmp_path: Path) -> None:
    """By its id: its place in a page tells nobody which it is."""
    text = SPLIT.replace('row | {"first": row["name"]}', '{"id": row["id"], "version": 1}')
    folder = write(tmp_path, text)
    await db.schema.upgrade(1, folder)
    one = await db.repository(Person).add(Person(name="a"))
    with pytest.raises(MigrationError, match=f"the document {one.id} without created_at, "):
        await db.schema.upgrade(directory=folder, allow_loss=True)


async def test_who_finds_a_collection_gone_is_told_of_the_migration(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """It is not told to make it."""
    drop = DROP.replace('DropField("people", "name")', 'DropCollection("people")')
    folder = write(tmp_path, drop.replace("DropField", "DropCollection"))
    await db.schema.upgrade(directory=folder)
    with pytest.raises(SchemaMismatchError, match="dropped or renamed the collection 'people'"):
        await db.repository(Person).count()

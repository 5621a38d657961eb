"""What a SQL store says it would run, run by hand: the table is as if the store had done it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.faults import test_alter
from tests.faults.breaking import lent
from tests.faults.conftest import NewDatabase
from tests.faults.test_rename import renamed
from tests.unit.schema import releases

from healthstore.abc import Backend
from healthstore.adapters.sql.adapter import SqlAdapter
from healthstore.model.change import ChangeEffect
from healthstore.model.ops import Alter, Drop, Ensure, Explain, Explained, Find, Insert, Rename
from healthstore.model.query import F
from healthstore.model.schema import Check, Collection, Field, Index, Reference, Unique
from healthstore.model.values import Document, FieldType, Kind
from healthstore.schema.files import read_chain
from healthstore.schema.offline import asking
from healthstore.schema.script import script
from healthstore.schema.upgrade import move, stamp
from healthstore.transfer.selection import catalog

STORES = ("sqlite", "postgresql", "mysql", "mariadb")
# What a table is, and where its rows are: that is another place when they were written again.
LOOKS = {
    "sqlite": (
        (
            "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'things' AND sql IS NOT NULL "
            "ORDER BY name"
        ),
        "SELECT rootpage FROM sqlite_master WHERE name = 'things'",
    ),
    "postgresql": (
        (
            "SELECT attname, format_type(atttypid, atttypmod), attnotnull, attcollation::text "
            "FROM pg_attribute WHERE attrelid = 'things'::regclass AND attnum > 0 "
            "AND NOT attisdropped UNION ALL "
            "SELECT conname, pg_get_constraintdef(oid), true, '' FROM pg_constraint "
            "WHERE conrelid = 'things'::regclass UNION ALL "
            "SELECT '', indexdef, true, '' FROM pg_indexes WHERE tablename = 'things' ORDER BY 1, 2"
        ),
        "SELECT pg_relation_filenode('things')",
    ),
    "mysql": (
        "SHOW CREATE TABLE things",
        (
            "SELECT table_id FROM information_schema.innodb_tables "
            "WHERE name = CONCAT(DATABASE(), '/things')"
        ),
    ),
    "mariadb": (
        "SHOW CREATE TABLE things",
        (
            "SELECT table_id FROM information_schema.innodb_sys_tables "
            "WHERE name = CONCAT(DATABASE(), '/things')"
        ),
    ),
}


def text(length: int | None) -> FieldType:
    """Return a text's type."""
    return FieldType(Kind.TEXT, max_length=length)


def decimal(digits: int, places: int = 2) -> FieldType:
    """Return a number's type."""
    return FieldType(Kind.DECIMAL, digits=digits, places=places)


def enum(*choices: str) -> FieldType:
    """Return an enum's type."""
    return FieldType(Kind.ENUM, choices=choices)


NUMBER = FieldType(Kind.INTEGER)
STORED = Collection(
    "things",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", NUMBER),
        Field("short", text(40)),
        Field("long", text(100)),
        Field("endless", text(None), nullable=True),
        Field("price", decimal(12)),
        Field("mood", enum("bad", "good"), nullable=True),
        Field("rank", NUMBER),
        Field("boss", FieldType(Kind.UUID), nullable=True),
    ),
    uniques=(Unique("short"),),
    indexes=(Index("rank"),),
    references=(Reference("boss", "things"),),
    checks=(Check("small", F.rank < 1000),),
    entity="Thing",
)
ROWS: list[Document] = [
    {
        "id": UUID(int=number),
        "version": 1,
        "short": f"s{number}",
        "long": "l" * number,
        "endless": None,
        "price": Decimal("12.50"),
        "mood": "good",
        "rank": number,
        "boss": UUID(int=1) if number > 1 else None,
    }
    for number in range(1, 6)
]


def changed(**forms: Field | FieldType) -> Collection:
    """Return the definition with fields of other types, or that are new."""
    fields = {
        each.name: replace(each, type=forms.pop(each.name))
        if isinstance(forms.get(each.name), FieldType)
        else forms.pop(each.name, each)
        for each in STORED.fields
    }
    return replace(STORED, fields=(*fields.values(), *forms.values()))


CHANGES = {
    "a field": changed(phone=Field("phone", text(20), nullable=True)),
    "a default": changed(visits=Field("visits", NUMBER, default=7)),
    "a long default": changed(note=Field("note", text(None), default="none'\\ :x %s")),
    "an enum": changed(side=Field("side", enum("left", "right"), nullable=True)),
    "a flag": changed(flag=Field("flag", FieldType(Kind.BOOLEAN), default=True)),
    "a wider text": changed(short=text(60)),
    "a text of two bytes": changed(long=text(255)),
    "a text across": changed(short=text(70)),
    "a text to long": changed(long=text(300)),
    "a narrower text": changed(long=text(90)),
    "more digits": changed(price=decimal(15)),
    "other places": changed(price=decimal(14, 4)),
    "many digits": changed(price=decimal(22)),
    "another type": changed(endless=Field("endless", NUMBER, nullable=True)),
    "null allowed": changed(rank=Field("rank", NUMBER, nullable=True)),
    "null forbidden": changed(mood=Field("mood", enum("bad", "good"))),
    "a member": changed(mood=enum("bad", "good", "best")),
    "a field less": replace(
        STORED, fields=tuple(each for each in STORED.fields if each.name != "long")
    ),
    "an index": replace(STORED, indexes=(Index("rank"), Index("-price", "rank"))),
    "an index of a text": replace(STORED, indexes=(Index("rank"), Index("long"))),
    "an index less": replace(STORED, indexes=()),
    "a unique key": replace(STORED, uniques=(Unique("short"), Unique("rank", "price"))),
    "a unique key less": replace(STORED, uniques=()),
    "a check": replace(STORED, checks=(*STORED.checks, Check("dear", F.price > 0))),
    "a check less": replace(STORED, checks=()),
    "a reference less": replace(STORED, references=()),
    "an index on a reference": replace(STORED, indexes=(Index("rank"), Index("boss", "-rank"))),
}


async def looked(store: Backend, number: int) -> Any:
    """Return what the table is, or where its rows are."""
    assert isinstance(store, SqlAdapter)
    async with store.writers.lend() as connection:
        return [tuple(row) for row in await connection.fetch(LOOKS[store.name][number], ())]


async def run_by_hand(store: Backend, told: Explained) -> None:
    """Run what a store has told, on a connection of its own."""
    assert isinstance(store, SqlAdapter)
    connection = await store.dial()
    try:
        before, after = told.around
        alone, together = told.statements[: told.alone], told.statements[told.alone :]
        for statement in (*alone, *before, *together, *after):
            await connection.run(statement)
    finally:
        await connection.discard()


def statements_of(text: str) -> Explained:
    """Return the statements of a script."""
    lines = (each for each in text.splitlines() if not each.startswith("--"))
    return Explained(tuple(filter(str.strip, "\n".join(lines).split(";\n"))))


async def prepared(store: Backend, made: Collection, rows: list[Document]) -> None:
    """Make the collection, with its documents."""
    await store.execute(Ensure((made,)))
    await store.execute(Insert(made, tuple(rows)))


async def differing(store: Backend, change: Alter | Rename, rows: list[Document]) -> str | None:
    """Return what differs between a change that the store makes and one that is made by hand."""
    told = await store.execute(Explain(change))
    await prepared(store, change.before, rows)
    await store.execute(change)
    meant = await looked(store, 0), await store.execute(Find(change.after))
    await store.execute(Drop(change.after))
    await prepared(store, change.before, rows)
    place = await looked(store, 1)
    await run_by_hand(store, told)
    moved = await looked(store, 1) != place
    found = await looked(store, 0), await store.execute(Find(change.after))
    await run_by_hand(store, Explained(("DROP TABLE things", "DELETE FROM healthstore_catalog")))
    if found != meant:
        return f"{found} is not {meant}"
    if moved is not told.rewrites:
        return f"rewritten: {moved}; {told.statements}"
    return None


@pytest.mark.parametrize("store", STORES)
async def test_by_hand_it_is_the_same(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """The table's definition, its documents, and whether all of them were written again."""
    async with lent(store, new_database, tmp_path) as backend:
        for name, wanted in CHANGES.items():
            change = Alter(STORED, wanted, ChangeEffect.LOSES_DATA)
            assert (name, await differing(backend, change, ROWS)) == (name, None)


@pytest.mark.parametrize("store", STORES)
async def test_many_changes_at_once_and_renames_are_the_same(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Keys that go, come and are called something else, in one alteration or one rename."""
    made = test_alter.before("things", referring=True)
    async with lent(store, new_database, tmp_path) as backend:
        for change in (
            Alter(made, test_alter.after(made), ChangeEffect.LOSES_DATA),
            Rename(made, renamed(made, collection=False)),
        ):
            assert await differing(backend, change, test_alter.rows()) is None


@pytest.mark.parametrize("store", STORES)
async def test_a_script_is_what_upgrade_does(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Its statements, one after the other, make the tables and let the catalog know."""
    chain = read_chain(releases.write(tmp_path))
    async with lent(store, new_database, tmp_path) as backend:
        text = await script(chain, 0, 2, asking(store))
        await run_by_hand(backend, statements_of(text))
        await stamp(backend, chain, "0002", wait=5.0)
        await move(backend, chain, "head", allow_loss=False, wait=5.0)
        assert await catalog(backend) == chain.state
        for each in chain.state.values():
            assert await backend.execute(Find(each)) == ()
        text = await script(chain, 5, 4, asking(store))
        await run_by_hand(backend, statements_of(text))
        await stamp(backend, chain, "0004", wait=5.0)
        assert await move(backend, chain, "0005", allow_loss=False, wait=5.0)

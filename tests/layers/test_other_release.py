"""A standby of another release does not stand in: not for reads, and not by a switch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pytest

from healthstore import DatabaseManager, Entity, MaxLength
from healthstore.entity import collection_of
from healthstore.errors import UnavailableError
from healthstore.events import MemberDegraded
from healthstore.model.catalog import to_document
from healthstore.model.definition import Field
from healthstore.model.ledger import Applied, Book, UnderWay
from healthstore.model.release import Release
from healthstore.model.schema import Collection
from healthstore.model.values import FieldType, Kind
from healthstore.routing.machine import State
from healthstore.routing.policy import FailoverMode, FailoverPolicy, Probe

QUICK = Probe(interval=0.05, fast_interval=0.02, connect_timeout=0.5, query_timeout=0.5)
SLOW = Probe(interval=60, fast_interval=60)
FIRST = """
from healthstore.schema import *
migration = Migration(operations=[CreateCollection(collection('notes', {
    'created_at': Instant(), 'updated_at': Instant(), 'text': Text(40)}))])
"""
MOOD = """
from healthstore.schema import *
migration = Migration(after='0001_notes', operations=[
    AddField('notes', 'mood', Integer(nullable=True))])
"""
SHOUT = """
from healthstore.schema import *

def up(row):
    return row | {'text': row['text'].upper()}

migration = Migration(after='0002_mood', operations=[Transform('notes', up=up, down=up)])
"""


class Note(Entity, collection="notes"):
    text: Annotated[str, MaxLength(40)]
    mood: int | None = None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with three migrations, the last of which changes documents only."""
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    for name, text in (("0001_notes", FIRST), ("0002_mood", MOOD), ("0003_shout", SHOUT)):
        (migrations / f"{name}.py").write_text(text, "utf-8")
    return migrations


@asynccontextmanager
async def members(
    folder: Path, *names: str, probe: Probe = QUICK
) -> AsyncGenerator[DatabaseManager]:
    """Lend a manager of SQLite members."""
    urls = {name: f"sqlite:///{folder / name}.db" for name in names}
    policy = FailoverPolicy(mode=FailoverMode.STANDBY_READONLY, probe=probe)
    async with DatabaseManager(members=urls, policy=policy) as db:
        yield db


async def until(db: DatabaseManager, name: str, said: str) -> str:
    """Wait until a member is said to be of another release, in these words; "" is of the same."""
    async with asyncio.timeout(10):
        while True:
            found = (await db.health()).member(name).apart
            if said in found and bool(said) is bool(found):
                return found
            await asyncio.sleep(0.01)


async def lose(db: DatabaseManager, tmp_path: Path, name: str) -> None:
    """Take the file of a member away when all of it was seen, and wait until that is seen, too."""
    await db.health(probe=True)  # the last look may have been in the middle of an upgrade
    (tmp_path / f"{name}.db").rename(tmp_path / "away.db")
    async with asyncio.timeout(10):
        while (await db.health()).member(name).state is not State.DOWN:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)


async def test_a_standby_with_other_definitions_does_not_stand_in(
    tmp_path: Path, folder: Path
) -> None:
    """The next one of the active member's release does; health, an event and the error say why."""
    async with members(tmp_path, "primary", "old", "new") as db:
        degraded: list[MemberDegraded] = []
        db.on(MemberDegraded, degraded.append)
        for name in db.members:
            await db.schema.upgrade(1, folder, member=name)
        await db.schema.upgrade(2, folder)
        await db.schema.upgrade(2, folder, member="new")
        said = await until(db, "old", "its definition of notes is another one")
        await until(db, "new", "")
        told = [each.reason for each in degraded if each.backend == "old"]
        assert told[-1] == f"it does not stand in: {said}"
        health = await db.health()
        assert [each.status for each in health.members] == ["connected", "degraded", "connected"]
        connections: object = health.as_json()["database_status"]
        assert said in str(connections)
        notes = db.repository(Note)
        await lose(db, tmp_path, "primary")
        assert await notes.count() == 0
        assert db.reads == "new"


async def test_nobody_serves_rather_than_another_release(tmp_path: Path, folder: Path) -> None:
    """The error names what to do; once it is upgraded, the standby stands in at once."""
    async with members(tmp_path, "primary", "standby") as db:
        for name in db.members:
            await db.schema.upgrade(1, folder, member=name)
        await db.schema.upgrade(2, folder)
        await until(db, "standby", "its definition of notes")
        await lose(db, tmp_path, "primary")
        with pytest.raises(UnavailableError, match="no member serves reads") as error:
            await db.repository(Note).count()
        assert "standby does not stand in: its definition of notes" in error.value.hint
        with pytest.raises(UnavailableError, match="standby is of another release than primary"):
            await db.switch("standby", force=True)
        await db.schema.upgrade(2, folder, member="standby")
        await until(db, "standby", "")
        assert await db.repository(Note).count() == 0
        assert db.reads == "standby"
        assert (await db.switch("standby", force=True)).possible


async def test_a_standby_upgraded_first_does_not_stand_in_either(
    tmp_path: Path, folder: Path
) -> None:
    """A migration that changes documents only is known by the ledger."""
    async with members(tmp_path, "primary", "standby") as db:
        for name in db.members:
            await db.schema.upgrade(2, folder, member=name)
        await until(db, "standby", "")
        await db.schema.upgrade(3, folder, member="standby")
        said = await until(db, "standby", "it has the migrations up to")
        assert (
            said == "it has the migrations up to '0003_shout', the active member up to '0002_mood'"
        )
        report = await db.switch("standby", dry_run=True)
        assert not report.possible
        assert said in report.reasons[0]
        await db.schema.upgrade(3, folder)
        await until(db, "standby", "")
        await db.switch("standby")


async def test_a_switch_looks_at_the_active_member_again(tmp_path: Path, folder: Path) -> None:
    """Members that were upgraded one after the other can be switched at once."""
    async with members(tmp_path, "primary", "standby", probe=SLOW) as db:
        for name in db.members:
            await db.schema.upgrade(2, folder, member=name)
        await db.health(probe=True)
        for name in db.members:
            await db.schema.upgrade(3, folder, member=name)
        assert (await db.switch("standby")).possible


async def test_after_a_switch_members_are_compared_with_the_new_active_one(
    tmp_path: Path, folder: Path
) -> None:
    """Who was of another release may be of the same one then, and the other way round."""
    async with members(tmp_path, "primary", "standby") as db:
        for name in db.members:
            await db.schema.upgrade(2, folder, member=name)
        await until(db, "standby", "")
        await db.switch("standby")
        await db.schema.upgrade(3, folder, member="standby")
        await until(db, "primary", "up to '0002_mood', the active member up to '0003_shout'")
        assert not (await db.health()).member("standby").apart


# --- the rule --------------------------------------------------------------------------------

NOTES = collection_of(Note)
LONGER = replace(NOTES, fields=(*NOTES.fields, Field("n", FieldType(Kind.INTEGER))))
OTHER = replace(NOTES, name="others")
ONE = Applied("0001_a", "x", "2026-01-01T00:00:00.000+00:00")


def release(*collections: Collection, book: Book | None = None) -> Release:
    """Return the release of a store with these collections."""
    ledger = [] if book is None else [book.as_row(1)]
    return Release.of([*map(to_document, collections), *ledger])


@pytest.mark.parametrize(
    ("store", "active", "apart"),
    [
        (release(), release(NOTES), ""),
        (release(NOTES), release(NOTES, OTHER), ""),
        (release(LONGER), release(NOTES), "its definition of notes"),
        (release(NOTES), release(NOTES, book=Book((ONE,))), ""),
        (release(NOTES, book=Book((replace(ONE, at=""),))), release(book=Book((ONE,))), ""),
        (release(book=Book((replace(ONE, checksum="y"),))), release(book=Book((ONE,))), "up to"),
        (release(book=Book((), UnderWay("0001_a", "x", down=False))), release(), "under way"),
        (release(), release(book=Book((), UnderWay("0001_a", "x", down=False))), ""),
    ],
)
def test_what_sets_a_store_apart(store: Release, active: Release, apart: str) -> None:
    """Other definitions of one collection, other migrations, one under way; not what only one has."""
    said = store.against(active)
    assert apart in said
    assert bool(said) is bool(apart)


def test_a_definition_that_another_release_spelled_otherwise_is_the_same() -> None:
    """The fingerprint is looked at first, and the definition where it differs."""
    row = {**to_document(NOTES), "fingerprint": "of another release"}
    assert not Release.of([row]).against(release(NOTES))
    broken = {**row, "definition": {}}
    assert "definition of notes" in Release.of([broken]).against(release(NOTES))

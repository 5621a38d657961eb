"""A Transform beside others: what they wrote last is kept, and what it was told is done exactly."""

from __future__ import annotations

import asyncio
from ast import literal_eval
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from pydantic import JsonValue

from healthstore import DatabaseManager, Entity
from healthstore.errors import ConflictError, RefusedValueError
from healthstore.model.values import Json
from healthstore.schema import ledger, rewrite

FIRST = """
from healthstore.schema import CreateCollection, Instant, Integer, Json, Migration, collection

fields = {"created_at": Instant(), "updated_at": Instant(), "number": Integer(),
          "data": Json(nullable=True)}
migration = Migration(operations=[CreateCollection(collection("things", fields))])
"""
SECOND = """
from healthstore.schema import Migration, Transform

def up(row):
    {body}

migration = Migration(after="0001_things",
                      operations=[Transform("things", up=up, idempotent=True)])
"""
TEN_MORE = 'return row | {"number": row["number"] + 10}'


class Thing(Entity, collection="things"):
    """What is changed."""

    number: int
    data: JsonValue = None


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseManager]:
    """Lend an opened manager of an empty store."""
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"
    async with DatabaseManager(url) as manager:
        yield manager


def write(folder: Path, body: str) -> Path:
    """Write the migrations."""
    migrations = folder / "migrations"
    migrations.mkdir(exist_ok=True)
    (migrations / "0001_things.py").write_text(FIRST, "utf-8")
    (migrations / "0002_other.py").write_text(SECOND.format(body=body), "utf-8")
    return migrations


async def numbers(db: DatabaseManager) -> list[int]:
    """Return the numbers that are there, in the order of the ids."""
    return [each.number async for each in db.repository(Thing).stream()]


def disturbed(monkeypatch: pytest.MonkeyPatch, times: int, disturb: Any) -> list[int]:
    """Let somebody write between the reading and the writing of pages; return their sizes."""
    written, sizes = rewrite._Rewrite.written, list[int]()

    async def beside(self: Any, page: Any) -> Any:
        sizes.append(page.rows)
        if len(sizes) <= times:
            await disturb()
        return await written(self, page)

    monkeypatch.setattr(rewrite._Rewrite, "written", beside)
    return sizes


async def test_what_was_to_go_and_was_changed_is_looked_at_again(
    db: DatabaseManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function returned None for it as it was; as it is, it is kept."""
    folder = write(tmp_path, 'return None if row["number"] == 1 else row')
    await db.schema.upgrade(1, folder)
    things = db.repository(Thing)
    first, *_ = [await things.add(Thing(number=number)) for number in (1, 1, 2)]
    disturbed(monkeypatch, 1, lambda: things.update(first.id, {"number": 5}))
    await db.schema.upgrade(directory=folder, allow_loss=True)
    assert await numbers(db) == [5, 2]


async def test_what_was_deleted_and_added_anew_is_looked_at_again(
    db: DatabaseManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the id and the version of what the function got, and is another document."""
    folder = write(tmp_path, TEN_MORE)
    await db.schema.upgrade(1, folder)
    things = db.repository(Thing)
    first, *_ = [await things.add(Thing(number=number)) for number in (1, 2)]

    async def anew() -> None:
        assert await things.delete(first.id)
        await things.add(Thing(id=first.id, number=50))

    disturbed(monkeypatch, 1, anew)
    await db.schema.upgrade(directory=folder)
    assert sorted(await numbers(db)) == [12, 60]


async def test_a_busy_collection_is_changed_in_smaller_pages(
    db: DatabaseManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each page somebody changes a document first, again and again: pages shrink, none is lost."""
    monkeypatch.setattr(rewrite, "_PAGE", 64)
    monkeypatch.setattr(rewrite, "_PAUSE", 0.0)
    folder = write(tmp_path, TEN_MORE)
    await db.schema.upgrade(1, folder)
    things = db.repository(Thing)
    await things.add_many([Thing(number=number) for number in range(100)])
    first = await things.first()
    assert first is not None
    sizes = disturbed(monkeypatch, 12, lambda: things.increment(first.id, "number", 100))
    await db.schema.upgrade(directory=folder)
    assert sizes[:13] == [64, 32, 16, 8, 4, 2, 1, 1, 1, 1, 1, 1, 1]
    assert max(sizes[13:]) > 1
    assert await numbers(db) == [1_210, *range(11, 110)]


async def test_who_is_disturbed_for_ever_gives_up_and_says_what_to_do(
    db: DatabaseManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on where it was when it is called again."""
    monkeypatch.setattr(rewrite, "_PAUSE", 0.0)
    folder = write(tmp_path, TEN_MORE)
    await db.schema.upgrade(1, folder)
    things = db.repository(Thing)
    thing = await things.add(Thing(number=1))
    with monkeypatch.context() as patched:
        disturbed(patched, 1_000, lambda: things.increment(thing.id, "number", 100))
        with pytest.raises(ConflictError) as error:
            await db.schema.upgrade(directory=folder)
    assert "call it again" in error.value.hint
    await db.schema.upgrade(directory=folder)
    assert [each % 100 for each in await numbers(db)] == [11]


@pytest.mark.parametrize(
    ("before", "after"),
    [(True, "1"), (1, "True"), (1, "1.0"), (1.0, "1"), (0, "False"), ({"a": [1]}, "{'a': [True]}")],
)
async def test_json_of_another_kind_is_another_value(
    db: DatabaseManager, tmp_path: Path, before: Json, after: str
) -> None:
    """True, 1 and 1.0 are equal to Python, and differ in JSON: the change is stored."""
    folder = write(tmp_path, f'return row | {{"data": {after}}}')
    await db.schema.upgrade(1, folder)
    things = db.repository(Thing)
    thing = await things.add(Thing(number=1, data=before))
    same = await things.add(Thing(number=2, data=literal_eval(after)))
    await db.schema.upgrade(directory=folder)
    changed, kept = await things.get_many([thing.id, same.id])
    assert changed is not None
    assert repr(changed.data) == after
    assert changed.version == 2
    assert kept is not None
    assert kept.version == 1


async def test_a_value_that_is_refused_is_told_with_its_document(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """By its id, not by its place in a page; and never with the value."""
    folder = write(tmp_path, 'return row | {"number": "x" if row["number"] == 3 else 1}')
    await db.schema.upgrade(1, folder)
    things = db.repository(Thing)
    await things.add_many([Thing(id=UUID(int=each), number=each) for each in range(1, 6)])
    with pytest.raises(RefusedValueError) as error:
        await db.schema.upgrade(directory=folder)
    assert str(UUID(int=3)) in str(error.value)
    assert (error.value.field, error.value.index) == ("number", None)


async def test_who_is_called_off_while_a_page_is_kept_leaves_no_lock(
    db: DatabaseManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page may be kept, and its writer never know: the next call begins at once."""
    folder = write(tmp_path, TEN_MORE)
    await db.schema.upgrade(1, folder)
    await db.repository(Thing).add_many([Thing(number=each) for each in range(3)])
    with monkeypatch.context() as patched:
        written = rewrite._Rewrite.written

        def cut_short(self: ledger.Ledger, book: object) -> None:
            raise asyncio.CancelledError

        async def called_off(self: Any, page: Any) -> Any:
            patched.setattr(ledger.Ledger, "_kept", cut_short)
            return await written(self, page)

        patched.setattr(rewrite._Rewrite, "written", called_off)
        with pytest.raises(asyncio.CancelledError):
            await db.schema.upgrade(directory=folder)
        patched.undo()
    await db.schema.upgrade(directory=folder, wait=0)
    assert await numbers(db) == [10, 11, 12]

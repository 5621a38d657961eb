"""A SQLite database that is closed is one whole file, which only its owner can read."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from healthstore.adapters.sql.sqlite import SqliteAdapter
from healthstore.adapters.sql.sqlite.driver import replaced
from healthstore.model.ops import CountDocuments, Ensure, Find, Insert
from healthstore.model.query import F
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Document, FieldType, Kind

NOTES = Collection(
    "notes",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("text", FieldType(Kind.TEXT)),
    ),
)


def notes(first: int, last: int) -> tuple[Document, ...]:
    """Return documents."""
    return tuple(
        {"id": UUID(int=number), "version": 1, "text": f"note {number}" * 20}
        for number in range(first, last)
    )


async def written(path: Path, first: int, last: int) -> None:
    """Open a file, add documents, read them on several connections, and close it."""
    backend = SqliteAdapter("sqlite", path)
    await backend.open()
    try:
        await backend.execute(Ensure((NOTES,)))
        for number in range(first, last):
            await backend.execute(Insert(NOTES, notes(number, number + 1)))
        await asyncio.gather(*(backend.execute(CountDocuments(NOTES)) for _ in range(6)))
    finally:
        await backend.close()


def mode(path: Path) -> int:
    """Return the rights of a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def texts(path: Path) -> list[str]:
    """Return what a file holds, read through a backend of its own."""
    backend = SqliteAdapter("sqlite", path)
    await backend.open()
    try:
        return [str(each["text"]) for each in await backend.execute(Find(NOTES, limit=1_000))]
    finally:
        await backend.close()


def files(path: Path) -> list[str]:
    """Return the names of all files of a database."""
    return sorted(each.name for each in path.parent.glob(f"{path.name}*"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the file, in a folder of its own."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "app.db"


async def test_a_closed_database_is_one_whole_file(path: Path, tmp_path: Path) -> None:
    """No -wal and no -shm stay behind, and a copy of the file alone holds everything."""
    await written(path, 0, 30)
    assert files(path) == ["app.db"]
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    assert await texts(copy) == [each["text"] for each in notes(0, 30)]


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.01])
async def test_a_cancelled_statement_leaves_a_whole_file_behind(
    path: Path, tmp_path: Path, seconds: float
) -> None:
    """What is stopped half-way, reads and writes, keeps nothing from moving into the file."""
    backend = SqliteAdapter("sqlite", path)
    await backend.open()
    await backend.execute(Ensure((NOTES,)))
    await backend.execute(Insert(NOTES, notes(0, 30)))
    begun = [
        asyncio.ensure_future(backend.execute(work))
        for work in (
            Insert(NOTES, notes(1_000, 6_000)),
            *(CountDocuments(NOTES, F.text.contains(str(number))) for number in range(3)),
        )
    ]
    await asyncio.sleep(seconds)
    for each in begun:
        each.cancel()
    await asyncio.gather(*begun, return_exceptions=True)
    await backend.close()
    assert files(path) == ["app.db"]
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    assert len(await texts(copy)) in {30, 1_000}


async def test_a_unit_that_is_given_up_leaves_a_whole_file_behind(path: Path) -> None:
    """The write of a unit that nobody ends is undone, and the file is whole."""
    backend = SqliteAdapter("sqlite", path)
    await backend.open()
    await backend.execute(Ensure((NOTES,)))
    await backend.execute(Insert(NOTES, notes(0, 5)))
    unit = await backend.begin()
    await unit.execute(Insert(NOTES, notes(5, 500)))
    await backend.close()
    await unit.rollback()
    assert files(path) == ["app.db"]
    assert len(await texts(path)) == 5


async def test_a_prober_leaves_a_whole_file_behind(path: Path) -> None:
    """Closed after the backend, a prober's connection is the last one."""
    backend = SqliteAdapter("sqlite", path)
    await backend.open()
    await backend.execute(Ensure((NOTES,)))
    prober = backend.prober()
    await prober.connect()
    await prober.write()
    await backend.execute(Insert(NOTES, notes(0, 5)))
    await backend.close()
    await prober.close()
    assert files(path) == ["app.db"]
    assert len(await texts(path)) == 5


async def test_a_file_that_is_put_back_holds_what_it_held(path: Path, tmp_path: Path) -> None:
    """Monday's copy over Tuesday's file: nothing of Tuesday comes back out of an old log."""
    await written(path, 0, 10)
    monday = tmp_path / "monday.db"
    shutil.copy(path, monday)
    await written(path, 10, 40)
    shutil.copy(monday, path)
    assert await texts(path) == [each["text"] for each in notes(0, 10)]


async def test_a_file_that_another_process_has_open_stays_safe(path: Path) -> None:
    """Its log cannot be removed under a reader; nothing is lost, and nothing is raised."""
    await written(path, 0, 10)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (10,)
        await written(path, 10, 20)
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (10,)
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (20,)
    assert files(path) == ["app.db"]
    assert len(await texts(path)) == 20


def test_the_hint_of_a_replaced_file_removes_nothing() -> None:
    """The log that is left holds the last writes of the first file."""
    assert "remove" not in replaced().hint
    assert "keep" in replaced().hint


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the umask of the process for a test."""
    mask: int = request.param
    before = os.umask(mask)
    yield mask
    os.umask(before)


@pytest.mark.usefixtures("umask")
async def test_a_new_file_is_for_its_owner_only(path: Path) -> None:
    """The file, its -wal and its -shm have the mode 0600, whatever the umask."""
    backend = SqliteAdapter("sqlite", path)
    await backend.open()
    await backend.execute(Ensure((NOTES,)))
    await backend.execute(Insert(NOTES, notes(0, 3)))
    found = {name: mode(path.parent / name) for name in files(path)}
    await backend.close()
    assert found == dict.fromkeys(("app.db", "app.db-wal", "app.db-shm"), 0o600)


async def test_a_file_that_is_there_keeps_its_mode(path: Path) -> None:
    """Whoever shared a file on purpose finds it shared."""
    await written(path, 0, 3)
    os.chmod(path, 0o640)  # noqa: PTH101 - in a coroutine; it takes no time
    await written(path, 3, 6)
    assert mode(path) == 0o640


async def test_a_link_is_followed_to_a_file_for_its_owner_only(path: Path, tmp_path: Path) -> None:
    """A path that links to a file that is not there yet makes that one."""
    target = tmp_path / "elsewhere.db"
    os.symlink(target, path)  # noqa: PTH211 - as above
    await written(path, 0, 3)
    assert mode(target) == 0o600
    assert len(await texts(target)) == 3

"""A SQLite file that is removed, moved or replaced under the adapter: nothing is lost in silence."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, TypeVar
from uuid import UUID

import pytest

from healthstore.abc import Backend, BackendURL, Layer, Vitals
from healthstore.abc.registry import connect
from healthstore.adapters.sql.adapter import SqlSession
from healthstore.adapters.sql.pool import PoolOptions
from healthstore.adapters.sql.sqlite import SqliteAdapter
from healthstore.adapters.sql.sqlite import adapter as sqlite_adapter
from healthstore.adapters.sql.sqlite.dialect import SQLITE
from healthstore.errors import (
    Condition,
    ConfigurationError,
    DuplicateKeyError,
    HealthstoreError,
    Outcome,
    OutcomeUnknownError,
    SerializationError,
    UnavailableError,
)
from healthstore.layers.retry import RetryLayer
from healthstore.model.ops import CountDocuments, Ensure, Find, Insert, Op, Patch
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Document, FieldType, Kind

R = TypeVar("R")
NOTES = Collection(
    "notes",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("text", FieldType(Kind.TEXT, max_length=50)),
    ),
)


def note(number: int) -> Document:
    """Return a document."""
    return {"id": UUID(int=number), "version": 1, "text": f"note {number}"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the file."""
    return tmp_path / "with space & 100%.db"


@pytest.fixture
async def backend(path: Path) -> AsyncIterator[SqliteAdapter]:
    """Lend an opened backend with one document."""
    backend = SqliteAdapter("sqlite", path)
    await backend.open()
    await backend.execute(Ensure((NOTES,)))
    await backend.execute(Insert(NOTES, (note(1),)))
    yield backend
    await backend.close()


async def is_down(backend: Backend) -> None:
    """Check that the next call is refused, with nothing attempted."""
    with pytest.raises(UnavailableError) as error:
        await backend.execute(Insert(NOTES, (note(99),)))
    assert error.value.condition is Condition.DOWN
    assert error.value.outcome is Outcome.NOT_APPLIED
    assert error.value.hint
    assert error.value.backend == "sqlite"


async def count(backend: Backend) -> int:
    """Return how many documents are there."""
    return await backend.execute(CountDocuments(NOTES))


def move(path: Path, to: Path) -> None:
    """Move a file."""
    path.rename(to)


def is_there(path: Path) -> bool:
    """Tell whether there is a file."""
    return path.exists()


def held_files() -> list[str]:
    """Return the files that this process has open."""
    return [str(each.resolve()) for each in Path("/proc/self/fd").iterdir()]


def remove(path: Path) -> None:
    """Remove a database with its log."""
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


async def test_a_removed_file_is_noticed_before_the_write(
    backend: SqliteAdapter, path: Path
) -> None:
    """SQLite would report success; the file does not come back empty either."""
    remove(path)
    for _ in range(3):
        await is_down(backend)
    for call in (backend.ping, backend.begin):
        with pytest.raises(UnavailableError) as error:
            await call()
        assert error.value.condition is Condition.DOWN
    assert not is_there(path)


async def test_a_file_that_comes_back_is_served(backend: SqliteAdapter, path: Path) -> None:
    """The same file, moved away and back, needs no restart."""
    away = path.with_suffix(".away")
    move(path, away)
    await is_down(backend)
    move(away, path)
    assert await count(backend) == 1
    await backend.execute(Insert(NOTES, (note(2),)))
    assert await count(backend) == 2


async def test_another_file_is_served_only_when_the_backend_is_opened_anew(
    backend: SqliteAdapter, path: Path, tmp_path: Path
) -> None:
    """Nothing of the first file, its log above all, may be mixed with it: an operator decides."""
    copy = tmp_path / "copy.db"
    with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()
    await backend.execute(Insert(NOTES, (note(2),)))
    remove(path)
    shutil.move(copy, path)
    prober = backend.prober()
    for call in (backend.ping, backend.ping, prober.connect, backend.begin):
        with pytest.raises(UnavailableError, match="replaced") as error:
            await call()
        assert error.value.condition is Condition.DAMAGED
    await prober.close()
    await backend.close()
    await backend.open()
    assert await count(backend) == 1
    await backend.execute(Insert(NOTES, (note(3),)))
    assert await count(backend) == 2


async def test_connections_to_a_removed_file_are_closed(backend: SqliteAdapter, path: Path) -> None:
    """What is idle is dropped, so that the disk gets its space back."""
    await asyncio.gather(*(backend.execute(Find(NOTES)) for _ in range(8)))
    pool = backend.pool()
    assert pool is not None
    assert pool.open >= 2
    remove(path)
    await is_down(backend)
    pool = backend.pool()
    assert pool is not None
    assert (pool.open, pool.in_use, pool.waiting) == (0, 0, 0)
    assert not [each for each in held_files() if path.name in each]


async def test_a_write_into_a_removed_file_is_not_acknowledged(
    backend: SqliteAdapter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file goes between the check and the commit: the outcome is unknown."""
    insert = SqliteAdapter.insert

    async def late(self: SqliteAdapter, session: SqlSession, op: Insert) -> int:
        remove(path)
        return await insert(self, session, op)

    monkeypatch.setattr(SqliteAdapter, "insert", late)
    with pytest.raises(OutcomeUnknownError) as error:
        await backend.execute(Insert(NOTES, (note(2),)))
    assert error.value.outcome is Outcome.UNKNOWN
    assert error.value.condition is Condition.DOWN


async def test_a_unit_on_a_removed_file_is_not_acknowledged(
    backend: SqliteAdapter, path: Path
) -> None:
    """The commit reports success only if the file is still there."""
    unit = await backend.begin()
    await unit.execute(Insert(NOTES, (note(2),)))
    remove(path)
    with pytest.raises(OutcomeUnknownError):
        await unit.commit()
    await unit.rollback()
    await is_down(backend)


async def test_a_unit_on_a_replaced_file_is_not_acknowledged(
    backend: SqliteAdapter, path: Path
) -> None:
    """It began on a file that is gone, whatever is at its path now."""
    unit = await backend.begin()
    await unit.execute(Insert(NOTES, (note(2),)))
    remove(path)
    sqlite3.connect(path).close()
    with pytest.raises(UnavailableError):
        await backend.ping()
    with pytest.raises(OutcomeUnknownError):
        await unit.commit()
    await unit.rollback()


async def test_a_prober_sees_a_missing_file(backend: SqliteAdapter, path: Path) -> None:
    """The member is down until the file is back; looking does not make an empty one."""
    prober = backend.prober()
    away = path.with_suffix(".away")
    await prober.connect()
    move(path, away)
    for look in (prober.check, prober.connect, prober.connect):
        with pytest.raises(UnavailableError) as error:
            await look()
        assert error.value.condition is Condition.DOWN
        await prober.close()
    assert not is_there(path)
    move(away, path)
    await prober.connect()
    assert await prober.check() == Vitals()
    await prober.close()


async def test_a_full_disk_and_a_locked_file_are_told_apart(
    backend: SqliteAdapter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Little space means read-only; another writer means no capacity, and is soon reported."""
    prober = backend.prober()
    await prober.connect()
    monkeypatch.setattr(sqlite_adapter, "_RESERVE_BYTES", 1 << 62)
    seen = await prober.check()
    assert (seen.writable, bool(seen.reason)) == (False, True)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    await asyncio.sleep(0)
    with pytest.raises(HealthstoreError) as error:
        await prober.write()
    assert error.value.condition is Condition.OVERLOADED
    other.execute("ROLLBACK")
    other.close()
    await prober.write()
    await prober.close()


class CountingLayer(Layer):
    """Counts the attempts of a retry above it."""

    rank: ClassVar[int] = 90
    attempts = 0

    async def execute(self, op: Op[R]) -> R:
        """Count, and forward."""
        type(self).attempts += 1
        return await super().execute(op)


async def test_a_locked_file_is_waited_for_once(backend: SqliteAdapter, path: Path) -> None:
    """The wait is that of busy_timeout: whoever repeats it waits twice as long for the same."""
    await backend.close()
    patient = SqliteAdapter("sqlite", path, busy_seconds=0.2)
    await patient.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store, CountingLayer.attempts = RetryLayer(CountingLayer(patient)), 0
    with pytest.raises(SerializationError, match="lock was not free") as error:
        await store.execute(Insert(NOTES, (note(2),)))
    assert CountingLayer.attempts == 1
    assert error.value.outcome is Outcome.NOT_APPLIED
    assert error.value.transient
    other.execute("ROLLBACK")
    other.close()
    await store.execute(Insert(NOTES, (note(2),)))
    await patient.close()


@pytest.fixture
def foreign() -> Iterator[Path]:
    """Lend a folder of somebody else's: a file in it, and another folder, are for its owner only."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "there.db").touch(0o600)
        (folder / "closed").mkdir(0o700)
        own = os.geteuid() != 0
        if own:
            (folder / "there.db").chmod(0)
            (folder / "closed").chmod(0)
            folder.chmod(0o555)
        else:
            os.seteuid(65534)  # nobody: root may do everything
        try:
            yield folder
        finally:
            if own:
                folder.chmod(0o755)
                (folder / "closed").chmod(0o700)
            else:
                os.seteuid(0)


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("new.db", ConfigurationError, "cannot be made: Permission denied"),
        ("closed/new.db", ConfigurationError, "Permission denied"),
        ("closed/in/new.db", ConfigurationError, "can neither be opened nor made"),
        ("there.db", UnavailableError, "file cannot be opened"),
    ],
)
async def test_a_folder_or_file_of_somebody_else_is_told_as_that(
    foreign: Path, name: str, kind: type[HealthstoreError], says: str
) -> None:
    """Who may not write there hears of the user and the folder, not of a host and a port."""
    backend = connect(BackendURL.parse(f"sqlite:///{foreign / name}"))
    with pytest.raises(kind, match=says) as error:
        await backend.open()
    assert "the user of this program" in error.value.hint
    assert "folder" in error.value.hint
    assert error.value.outcome is Outcome.NOT_APPLIED


class AskingAdapter(SqliteAdapter):
    """Counts what comes as far as the writer."""

    asked = 0

    async def run(self, session: SqlSession, op: Op[R]) -> R:
        """Count, and run."""
        self.asked += 1
        return await super().run(session, op)


@pytest.mark.parametrize("acquire_seconds", [10.0, 0.1])
async def test_all_who_wait_behind_a_lock_hear_of_it(path: Path, acquire_seconds: float) -> None:
    """Who waits for the writer waits for the lock: it is waited for once, and each is told that.

    Also where nobody else would wait so long for a connection.
    """
    options = PoolOptions(4, acquire_seconds)
    store = AskingAdapter("sqlite", path, busy_seconds=0.5, pool=options)
    await store.open()
    await store.execute(Ensure((NOTES,)))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.asked = 0
    writes = (store.execute(Insert(NOTES, (note(number),))) for number in range(50))
    units = (store.begin() for _ in range(5))
    errors = await asyncio.gather(*writes, *units, return_exceptions=True)
    for error in errors:
        assert isinstance(error, SerializationError)
        assert (error.message, error.outcome) == (
            "a lock was not free in time (code 5)",
            Outcome.NOT_APPLIED,
        )
    assert {each.entity for each in errors[:50] if isinstance(each, HealthstoreError)} == {"notes"}
    assert store.asked < 10
    other.execute("ROLLBACK")
    other.close()
    await store.execute(Insert(NOTES, (note(2),)))
    await store.close()


async def test_another_error_is_that_of_one_writer(backend: SqliteAdapter) -> None:
    """A refused document is no reason to refuse those who wait."""
    writes = (backend.execute(Insert(NOTES, (note(number % 2 + 1),))) for number in range(20))
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(each, DuplicateKeyError) for each in results) == 19


async def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    """A file that is no database is for an operator to look at."""
    path = tmp_path / "text.db"
    path.write_bytes(b"this is no database, but long enough to be looked at" * 40)
    backend = connect(BackendURL.parse(f"sqlite:///{path}"))
    with pytest.raises(HealthstoreError) as error:
        await backend.open()
    assert error.value.condition is Condition.DAMAGED


async def test_a_directory_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    """A URL that names a folder says so, and which file to name."""
    backend = connect(BackendURL.parse(f"sqlite:///{tmp_path}"))
    with pytest.raises(ConfigurationError, match="a directory") as error:
        await backend.open()
    assert error.value.hint == f"name a file in it, such as sqlite:///{tmp_path}/app.db"
    assert error.value.condition is Condition.MISCONFIGURED


async def test_patches_and_batches_are_checked_too(backend: SqliteAdapter, path: Path) -> None:
    """Every kind of write is refused when the file is gone."""
    remove(path)
    with pytest.raises(UnavailableError):
        await backend.execute(Patch(NOTES, (UUID(int=1),), sets=(("text", "x"),)))
    with pytest.raises(UnavailableError):
        await backend.execute(Ensure((NOTES,)))


@pytest.mark.parametrize("log", [b"delete", b"wal"])
async def test_a_file_of_another_program_is_left_as_it_is_until_something_is_made(
    path: Path, log: bytes
) -> None:
    """To open it and to look changes no byte; the first collection brings the log."""
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA journal_mode={log.decode()}")
        other.execute("CREATE TABLE things (name TEXT)")
        other.commit()
    before = await asyncio.to_thread(path.read_bytes)
    adapter = SqliteAdapter("sqlite", path)
    await adapter.open()
    prober = adapter.prober()
    await prober.connect()
    await prober.check()
    await prober.close()
    with pytest.raises(ConfigurationError, match="is not there"):
        await adapter.execute(CountDocuments(NOTES))
    assert await asyncio.to_thread(path.read_bytes) == before
    await adapter.execute(Ensure((NOTES,)))
    await adapter.execute(Insert(NOTES, (note(1),)))
    await adapter.close()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert other.execute("SELECT count(*) FROM things").fetchone() == (0,)
    again = SqliteAdapter("sqlite", path)
    await again.open()
    assert await again.execute(CountDocuments(NOTES)) == 1
    await again.close()


async def test_a_place_without_a_log_is_refused_before_anything_is_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of another program is as it was; some file systems cannot hold the log."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE things (name TEXT)")
    before = await asyncio.to_thread(path.read_bytes)
    _, *rest = SQLITE.admin
    admin = (("BEGIN IMMEDIATE",), *rest)  # as SQLite then does: it stays as it is, and says so
    adapter = SqliteAdapter("sqlite", path)
    monkeypatch.setattr(adapter, "dialect", replace(SQLITE, admin=admin))
    await adapter.open()
    with pytest.raises(ConfigurationError, match="journal_mode"):
        await adapter.execute(Ensure((NOTES,)))
    await adapter.close()
    assert await asyncio.to_thread(path.read_bytes) == before

"""A request to SQLite is one trip to the thread of a connection, which can be cut short."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from healthstore.adapters.sql.adapter import SqlSession
from healthstore.adapters.sql.sqlite import SqliteAdapter
from healthstore.adapters.sql.sqlite.driver import in_one_trip
from healthstore.adapters.sql.sqlite.thread import CallThread, Turns
from healthstore.errors import DuplicateKeyError, HealthstoreError
from healthstore.model.limits import _MAX_FIELDS
from healthstore.model.ops import (
    Aggregate,
    Batch,
    CountDocuments,
    Delete,
    Effect,
    Ensure,
    Find,
    Function,
    Get,
    Insert,
    Measure,
    Op,
    Patch,
    Replace,
)
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


def notes(first: int, last: int, text: str = "slept well") -> tuple[Document, ...]:
    """Return documents."""
    return tuple({"id": UUID(int=each), "version": 1, "text": text} for each in range(first, last))


def ids(first: int, last: int) -> tuple[UUID, ...]:
    """Return their ids."""
    return tuple(UUID(int=each) for each in range(first, last))


async def opened(backend: SqliteAdapter) -> SqliteAdapter:
    """Open a backend on a new file, with ten documents."""
    await backend.open()
    await backend.execute(Ensure((NOTES,)))
    await backend.execute(Insert(NOTES, notes(0, 10)))
    await backend.execute(CountDocuments(NOTES))
    return backend


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the file."""
    return tmp_path / "app.db"


@pytest.fixture
async def backend(path: Path) -> AsyncIterator[SqliteAdapter]:
    """Lend an opened backend."""
    backend = await opened(SqliteAdapter("sqlite", path))
    yield backend
    await backend.close()


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return what is handed to the threads of connections, as it comes."""
    seen: list[object] = []
    real = CallThread.call

    def noted(self: CallThread, function: Callable[[], object]) -> asyncio.Future[object]:
        seen.append(function)
        return real(self, function)

    monkeypatch.setattr(CallThread, "call", noted)
    return seen


REQUESTS: dict[str, Op[Any]] = {
    "get one": Get(NOTES, ids(3, 4)),
    "get many": Get(NOTES, ids(0, 100)),
    "find": Find(NOTES, limit=50),
    "count": CountDocuments(NOTES),
    "aggregate": Aggregate(NOTES, measures=(Measure(Function.MAX, "version"),)),
    "insert one": Insert(NOTES, notes(20, 21)),
    "insert many": Insert(NOTES, notes(20, 90)),
    "replace one": Replace(NOTES, notes(1, 2, "new"), (1,)),
    "replace many": Replace(NOTES, notes(0, 10, "new")),
    "patch one": Patch(NOTES, ids(1, 2), sets=(("text", "new"),), versions=(1,)),
    "patch many": Patch(NOTES, ids(0, 20), increments=(("version", 1),)),
    "delete one": Delete(NOTES, ids(1, 2)),
    "delete many": Delete(NOTES, ids(0, 3), (1, 1, 1)),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_is_one_trip(
    backend: SqliteAdapter, trips: list[object], name: str
) -> None:
    """Whatever it asks for, with its transaction and its commit."""
    trips.clear()
    await backend.execute(REQUESTS[name])
    assert len(trips) == 1


async def test_a_request_of_a_unit_is_one_trip(backend: SqliteAdapter, trips: list[object]) -> None:
    """Its beginning and its commit are one each, and a batch is one, however long."""
    unit = await backend.begin()
    trips.clear()
    await unit.execute(Batch((Insert(NOTES, notes(20, 30)), Delete(NOTES, ids(0, 5)))))
    await unit.commit()
    assert len(trips) == 2
    assert await backend.execute(CountDocuments(NOTES)) == 15


async def test_a_failed_request_is_undone_in_its_trip(
    backend: SqliteAdapter, trips: list[object]
) -> None:
    """Its transaction does not wait for another one to be rolled back."""
    trips.clear()
    with pytest.raises(DuplicateKeyError):
        await backend.execute(Insert(NOTES, (*notes(20, 25), *notes(3, 4))))
    assert len(trips) == 1
    assert await backend.execute(CountDocuments(NOTES)) == 10


@pytest.mark.parametrize("count", [2, 19, 20, 21, 40, 57])
async def test_rows_that_go_together_are_all_stored(backend: SqliteAdapter, count: int) -> None:
    """Full statements of several rows and the rest, in order; or none, whichever row is refused."""
    written = tuple(
        {**note, "text": f"night {place}"} for place, note in enumerate(notes(100, 100 + count))
    )
    for place in {0, count // 2, count - 1}:
        refused = [*written]
        refused[place] = notes(3, 4)[0]
        with pytest.raises(DuplicateKeyError):
            await backend.execute(Insert(NOTES, tuple(refused)))
    assert await backend.execute(CountDocuments(NOTES)) == 10
    await backend.execute(Insert(NOTES, written))
    found = await backend.execute(Get(NOTES, ids(100, 100 + count)))
    assert found == written


async def test_rows_of_the_widest_collection_go_together(backend: SqliteAdapter) -> None:
    """SQLite limits how many values a statement has."""
    more = tuple(Field(f"f{number}", FieldType(Kind.BOOLEAN)) for number in range(_MAX_FIELDS - 3))
    wide = Collection("wide", (*NOTES.fields, *more))
    await backend.execute(Ensure((wide,)))
    values: Document = {each.name: True for each in more}
    written = tuple({**note, **values} for note in notes(0, 21))
    await backend.execute(Insert(wide, written))
    assert await backend.execute(Get(wide, ids(0, 21))) == written


class Waiting(SqliteAdapter):
    """Counts in two statements, and waits between them until it may go on."""

    def __init__(self, path: Path) -> None:
        super().__init__("sqlite", path)
        self.begun, self.may_go_on = threading.Event(), threading.Event()
        self.went_on = False
        self.waits = False

    async def count(self, session: SqlSession, op: CountDocuments) -> int:
        """Count."""
        if self.waits:
            await session.connection.fetch("SELECT 1", ())
            self.begun.set()
            assert self.may_go_on.wait(20)
            await session.connection.fetch("SELECT 2", ())
            self.went_on = True
        return await super().count(session, op)


@pytest.fixture
async def waiting(path: Path) -> AsyncIterator[Waiting]:
    """Lend a backend that waits between two statements."""
    backend = Waiting(path)
    await opened(backend)
    backend.waits = True
    yield backend
    await backend.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - a thread has no event
            await asyncio.sleep(0.001)


async def test_a_cancelled_request_ends_before_its_next_statement(waiting: Waiting) -> None:
    """A long request does not go on for nobody; its connection is replaced."""
    request = asyncio.create_task(waiting.execute(CountDocuments(NOTES)))
    await until(waiting.begun.is_set)
    request.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    waiting.may_go_on.set()
    await asyncio.wait({request})
    assert request.cancelled()
    waiting.waits = False
    assert not waiting.went_on
    assert await waiting.execute(CountDocuments(NOTES)) == 10


async def test_the_loop_goes_on_during_a_request(waiting: Waiting) -> None:
    """A request that takes long holds up nobody else."""
    request = asyncio.create_task(waiting.execute(CountDocuments(NOTES)))
    await until(waiting.begun.is_set)
    assert len(await waiting.execute(Find(NOTES))) == 10
    await waiting.execute(Insert(NOTES, notes(20, 25)))
    assert not request.done()
    waiting.may_go_on.set()
    assert await request == 15


async def test_a_wait_for_a_lock_can_be_cancelled(path: Path) -> None:
    """The thread ends too: a patient writer would wait for an hour."""
    backend = await opened(SqliteAdapter("sqlite", path, busy_seconds=3_600))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for documents in (notes(20, 21), notes(20, 40)):
            write = asyncio.create_task(backend.execute(Insert(NOTES, documents)))
            await asyncio.sleep(0.02)
            write.cancel()
            await asyncio.wait({write})
            assert write.cancelled()
        other.execute("ROLLBACK")
    await backend.execute(Insert(NOTES, notes(20, 21)))
    assert await backend.execute(CountDocuments(NOTES)) == 11
    await backend.close()


class Sleepy(SqliteAdapter):
    """Counts after a nap, which nobody in the thread of a connection can take."""

    async def count(self, session: SqlSession, op: CountDocuments) -> int:
        """Count."""
        async with self._atomic(session, op.collection):
            await asyncio.sleep(0)
            return await super().count(session, op)


async def test_a_request_that_waits_for_something_else_is_a_defect(path: Path) -> None:
    """It is told, and leaves no transaction open."""
    backend = Sleepy("sqlite", path)
    await backend.open()
    await backend.execute(Ensure((NOTES,)))
    for _ in range(2):
        with pytest.raises(HealthstoreError) as error:
            await backend.execute(CountDocuments(NOTES))
        assert "_finish (driver.py" in "".join(error.value.__notes__)
    assert await backend.execute(Find(NOTES)) == ()
    await backend.close()


class Secret:
    """What nobody should keep."""


async def test_a_closed_backend_has_no_thread(path: Path) -> None:
    """Each has ended when close() returns, not soon after."""
    before = set(threading.enumerate())
    for _ in range(20):
        backend = await opened(SqliteAdapter("sqlite", path.with_name(f"{uuid4()}.db")))
        await asyncio.gather(*(backend.execute(CountDocuments(NOTES)) for _ in range(6)))
        assert set(threading.enumerate()) > before
        await backend.close()
        assert set(threading.enumerate()) == before


async def test_a_thread_outlives_its_loop() -> None:
    """An answer that nobody waits for any more is dropped, and the next loop is served."""
    thread, may_end, ended = CallThread("healthstore-sqlite"), threading.Event(), threading.Event()

    def leave() -> None:
        loop = asyncio.new_event_loop()
        for answer in (may_end.wait, UUID):  # UUID() raises
            loop.call_soon(thread.call, answer)
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()

    await asyncio.to_thread(leave)
    may_end.set()
    assert await thread.call(lambda: thread.inside)
    assert not thread.inside
    with pytest.raises(ZeroDivisionError):
        await thread.call(lambda: 1 / 0)
    thread.end(ended.set)
    await until(ended.is_set)


async def test_a_thread_keeps_nothing_of_its_last_request(backend: SqliteAdapter) -> None:
    """An idle connection holds neither what was asked nor what was answered."""
    held = [Secret(), Secret()]
    left = [weakref.ref(each) for each in held]

    async def answer(_: Secret, found: Secret) -> Secret:
        return found

    async with backend.session(Effect.READ) as session:
        answered = await in_one_trip(session.connection, lambda: answer(*held))
        assert answered is held.pop()
    held.clear()
    del answered
    gc.collect()
    await until(lambda: [each() for each in left] == [None, None])


async def test_a_thread_holds_nothing_of_what_it_has_answered() -> None:
    """Whoever hears the answer may drop what was asked: it is gone then, health data or not."""
    thread = CallThread("healthstore-sqlite")

    def asked() -> tuple[asyncio.Future[int], weakref.ref[Any]]:
        def function() -> int:
            return 1

        return thread.call(function), weakref.ref(function)

    try:
        for _ in range(500):
            answer, function = asked()
            assert await answer == 1
            assert function() is None
    finally:
        thread.end(lambda: None)


async def test_who_reads_for_long_is_waited_for_no_more() -> None:
    """A short read begins, and ends, while a long one still has the turn."""
    turns, inside, may_end = Turns(), threading.Event(), threading.Event()

    def read_for_long() -> None:
        with turns.taken():
            inside.set()
            may_end.wait()

    def read() -> None:
        with turns.taken():
            pass

    long = asyncio.ensure_future(asyncio.to_thread(read_for_long))
    await asyncio.to_thread(inside.wait)
    try:
        for _ in range(3):
            await asyncio.to_thread(read)
        assert not long.done()
    finally:
        may_end.set()
        await long


async def test_a_turn_ends_with_what_had_it() -> None:
    """Whoever fails gives it to the next one, and nobody else is inside meanwhile."""
    turns = Turns()

    def fail() -> None:
        with turns.taken():
            assert turns._lock.locked()
            raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            fail()
        assert not turns._lock.locked()

"""What drivers do when a connection breaks, seen through our adapters.

Each test is a fact that was found by experiment: a driver that changes its mind is noticed here.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import cast
from uuid import UUID, uuid4

import pytest
from tests.faults.conftest import NewDatabase
from tests.faults.notes import (
    NOTES,
    add,
    count,
    direct,
    has,
    lent,
    note,
    options,
    prepared,
    within,
)
from tests.faults.proxy import Proxy, Way, proxy
from tests.faults.servers import PrivateServer

from healthstore.abc import Backend, BackendURL
from healthstore.abc.registry import connect
from healthstore.adapters.mongo.adapter import MongoAdapter
from healthstore.adapters.sql.adapter import SqlAdapter
from healthstore.adapters.sql.dialect import BulkInsert, Row
from healthstore.adapters.sql.mysql import connection
from healthstore.adapters.sql.mysql.literals import as_file
from healthstore.errors import (
    Condition,
    DeadlineExceededError,
    DuplicateKeyError,
    HealthstoreError,
    NotNullError,
    Outcome,
    OutcomeUnknownError,
    OutOfRangeError,
    SerializationError,
    UnavailableError,
)
from healthstore.layers.retry import RetryLayer
from healthstore.layers.timeout import TimeoutLayer
from healthstore.model.ops import (
    Batch,
    CountDocuments,
    Ensure,
    Find,
    Get,
    Insert,
    Op,
    Patch,
    Replace,
)
from healthstore.model.schema import Collection, Field, Index, Unique
from healthstore.model.values import Document, FieldType, Kind

SQL = ("postgresql", "mysql", "mariadb")
SERVERS = (*SQL, "mongodb")
ILL = {Condition.DOWN, Condition.SUSPECT}
sql = pytest.mark.parametrize("name", SQL)
servers = pytest.mark.parametrize("name", SERVERS)


def before(url: str) -> AbstractAsyncContextManager[Proxy]:
    """Return the context of a proxy before the server of a URL."""
    (host,) = BackendURL.parse(url).hosts
    assert host.port is not None
    return proxy(host.name, host.port)


@asynccontextmanager
async def broken(url: str, **more: object) -> AsyncGenerator[tuple[Proxy, Backend, Backend], None]:
    """Lend a proxy, a store behind it, and the same store without it; it has one note.

    The store has sent a request already: its statement is prepared, its connection trusted.
    """
    async with (
        before(url) as between,
        prepared(url) as untouched,
        lent(options(between.url(url), **more)) as store,
    ):
        await count(store)
        yield between, store, untouched


# --- lost while a write is under way -----------------------------------------------------------


@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
@sql
async def test_a_reset_around_the_commit_is_an_unknown_outcome(
    new_database: NewDatabase, name: str, *, committed: bool
) -> None:
    """The same error before the server got the insert and after it committed: 0 rows or 1."""
    url = await new_database(name)
    async with broken(url) as (between, store, untouched):
        await add(store, "warm")  # the statement is prepared, the connection trusted
        (between.reset_on_reply if committed else between.reset_on_request)()
        with pytest.raises(OutcomeUnknownError) as caught:
            await add(store, "lost")
        assert caught.value.outcome is Outcome.UNKNOWN
        assert caught.value.condition is Condition.SUSPECT
        assert caught.value.backend == store.name
        assert await count(untouched) == 2 + committed


@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
@sql
async def test_a_reset_around_the_commit_of_a_unit_is_an_unknown_outcome(
    new_database: NewDatabase, name: str, *, committed: bool
) -> None:
    """The same at the end of a unit: nobody can tell from the error whether it was kept."""
    url = await new_database(name)
    async with broken(url) as (between, store, untouched):
        unit = await store.begin()
        await unit.execute(Insert(NOTES, (note("lost"),)))
        (between.reset_on_reply if committed else between.reset_on_request)(b"COMMIT")
        with pytest.raises(OutcomeUnknownError) as caught:
            await unit.commit()
        await unit.rollback()
        assert caught.value.outcome is Outcome.UNKNOWN
        assert caught.value.condition is Condition.SUSPECT
        assert await count(untouched) == 1 + committed
        await add(store, "next")  # on another connection


TRANSACTIONAL = (*SQL, "mongodb-rs")
transactional = pytest.mark.parametrize("name", TRANSACTIONAL)


def not_applied(error: HealthstoreError, store: Backend) -> None:
    """Check that an error says: the connection was lost, nothing was kept, try again."""
    assert isinstance(error, UnavailableError)
    assert error.outcome is Outcome.NOT_APPLIED
    assert error.transient
    assert error.condition in ILL
    assert error.backend == store.name


@pytest.mark.parametrize("reached", [False, True], ids=["before", "after"])
@transactional
async def test_a_reset_inside_a_unit_is_not_applied(
    new_database: NewDatabase, name: str, *, reached: bool
) -> None:
    """Without a commit nothing is kept, whether or not the server got the statement."""
    async with broken(direct(await new_database(name))) as (between, store, untouched):
        unit = await store.begin()
        await unit.execute(Insert(NOTES, (note("kept"),)))
        (between.reset_on_reply if reached else between.reset_on_request)(b"lost")
        with pytest.raises(HealthstoreError) as caught:
            await unit.execute(Insert(NOTES, (note("lost"),)))
        await unit.rollback()
        not_applied(caught.value, store)
        assert await count(untouched) == 1


def several(verb: str, rows: Sequence[Document]) -> Op[object]:
    """Return an operation of several documents; each that it writes says that it is lost."""
    lost = tuple({**row, "version": 2, "text": f"lost {row['text']}"} for row in rows)
    work: dict[str, Op[object]] = {
        "insert": Insert(NOTES, tuple(note(f"lost {number}") for number in range(3))),
        "replace": Replace(NOTES, lost),
        "batch": Batch((Insert(NOTES, (note("one"),)), Insert(NOTES, (note("lost"),)))),
    }
    return work[verb]


@pytest.mark.parametrize("reached", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("name", "verb"),
    [
        *((name, "batch") for name in TRANSACTIONAL),
        *((name, verb) for name in ("postgresql", "mongodb-rs") for verb in ("insert", "replace")),
    ],
)
async def test_a_reset_before_the_commit_of_one_operation_is_not_applied(
    new_database: NewDatabase, name: str, verb: str, *, reached: bool
) -> None:
    """An operation of several documents is a transaction: only its commit is in doubt."""
    async with broken(direct(await new_database(name))) as (between, store, untouched):
        rows = tuple(note(f"kept {number}") for number in range(3))
        await store.execute(Insert(NOTES, rows))
        (between.reset_on_reply if reached else between.reset_on_request)(b"lost")
        with pytest.raises(HealthstoreError) as caught:
            await store.execute(several(verb, rows))
        not_applied(caught.value, store)
        assert await count(untouched) == 4
        stored = await untouched.execute(Find(NOTES))
        assert not [each for each in stored if "lost" in str(each["text"])]


@pytest.mark.parametrize("reached", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("verb", ["insert", "replace"])
@pytest.mark.parametrize("name", ["mysql", "mariadb"])
async def test_a_reset_around_a_last_write_that_commits_is_an_unknown_outcome(
    new_database: NewDatabase, name: str, verb: str, *, reached: bool
) -> None:
    """The commit travels with the last write, so that it is whole or nothing, and nobody was told.

    Once the write is answered, the commit is still to come.
    """
    async with broken(await new_database(name)) as (between, store, untouched):
        rows = tuple(note(f"kept {number}") for number in range(3))
        await store.execute(Insert(NOTES, rows))
        (between.reset_on_reply if reached else between.reset_on_request)(b"lost")
        with pytest.raises(OutcomeUnknownError) as caught:
            await store.execute(several(verb, rows))
        assert caught.value.outcome is Outcome.UNKNOWN
        assert caught.value.condition is Condition.SUSPECT
        stored = await untouched.execute(Find(NOTES))
        lost = [each for each in stored if "lost" in str(each["text"])]
        assert len(lost) in ({0, 3} if reached else {0})


@pytest.mark.parametrize("reached", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", ["mysql", "mariadb"])
async def test_a_reset_around_a_long_write_is_not_applied(
    new_database: NewDatabase, name: str, *, reached: bool
) -> None:
    """What takes a while does not commit by itself, so that its loss is a clear one."""
    async with broken(await new_database(name)) as (between, store, untouched):
        rows = tuple(note(f"lost {'x' * 50_000}{number}") for number in range(4))
        (between.reset_on_reply if reached else between.reset_on_request)(b"lost")
        with pytest.raises(HealthstoreError) as caught:
            await store.execute(Insert(NOTES, rows))
        not_applied(caught.value, store)
        assert await count(untouched) == 1


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
@pytest.mark.parametrize("step", ["write", "read", "commit"])
async def test_a_unit_whose_session_is_ended_is_not_applied(
    request: pytest.FixtureRequest, name: str, step: str
) -> None:
    """An administrator ends the session between two steps: the unit can be repeated."""
    server: PrivateServer = request.getfixturevalue(f"private_{name}")
    async with prepared(await server.database()) as store:
        unit = await store.begin()
        await unit.execute(Insert(NOTES, (note("one"),)))
        await server.terminate_sessions()
        await asyncio.sleep(0.05)  # the loop sees the end, so that no commit is sent
        steps = {
            "write": lambda: unit.execute(Insert(NOTES, (note("two"),))),
            "read": lambda: unit.execute(Find(NOTES)),
            "commit": unit.commit,
        }
        with pytest.raises(HealthstoreError) as caught:
            await steps[step]()
        await unit.rollback()
        not_applied(caught.value, store)
        assert await count(RetryLayer(store)) == 1


async def test_a_standalone_mongodb_cannot_tell_whether_a_lost_write_was_kept(
    new_database: NewDatabase,
) -> None:
    """Without transactions the driver repeats nothing: the outcome is unknown, the row there."""
    url = await new_database("mongodb")
    async with broken(url) as (between, store, untouched):
        await add(store, "warm")
        between.reset_on_reply(b"lost")
        with pytest.raises(OutcomeUnknownError) as caught:
            await add(store, "lost")
        assert caught.value.condition in ILL
        assert await count(untouched) == 3


async def test_a_replica_set_applies_a_repeated_write_once(new_database: NewDatabase) -> None:
    """The driver repeats a write whose reply was lost, under the same number: one row."""
    url = direct(await new_database("mongodb-rs"))
    async with broken(url) as (between, store, untouched):
        await add(store, "warm")
        between.reset_on_reply(b"lost")
        identity = await add(store, "lost")
        await between.struck()
        assert await has(untouched, identity)
        assert await count(untouched) == 3


@servers
async def test_a_reply_cut_short_is_an_unknown_outcome(
    new_database: NewDatabase, name: str
) -> None:
    """Some bytes of an answer are no answer."""
    url = await new_database(name)
    async with broken(url) as (between, store, untouched):
        await add(store, "warm")
        between.cut_reply(3, b"" if name == "postgresql" else b"lost")
        with pytest.raises(OutcomeUnknownError) as caught:
            await add(store, "lost")
        assert caught.value.condition in ILL
        assert await count(untouched) == 3


@servers
async def test_a_write_whose_reply_is_swallowed_ends_at_its_deadline(
    new_database: NewDatabase, name: str
) -> None:
    """Nobody waits for an answer that does not come, and the outcome is unknown."""
    url = await new_database(name)
    async with broken(url) as (between, inner, untouched):
        store = TimeoutLayer(inner, seconds=0.5)
        await add(store, "warm")
        between.drop_reply(b"" if name == "postgresql" else b"lost")
        with within(0.5), pytest.raises(DeadlineExceededError) as caught:
            await add(store, "lost")
        assert caught.value.outcome is Outcome.UNKNOWN
        assert await count(untouched) == 3
        assert await count(store) == 3


@servers
async def test_a_read_whose_reply_is_lost_is_repeated(new_database: NewDatabase, name: str) -> None:
    """Reading twice harms nobody: the caller does not notice."""
    url = await new_database(name)
    async with broken(url) as (between, inner, _):
        store = RetryLayer(inner)
        assert await count(store) == 1
        between.reset_on_reply(b"" if name == "postgresql" else b"notes")
        assert await count(store) == 1
        await between.struck()


# --- the server goes ---------------------------------------------------------------------------


@asynccontextmanager
async def waiting_insert(store: Backend) -> AsyncGenerator[asyncio.Task[UUID], None]:
    """Lend a task that inserts what an open unit has inserted: it waits inside the server."""
    unit = await store.begin()
    try:
        await unit.execute(Insert(NOTES, (note("contested"),)))
        task = asyncio.create_task(add(store, "contested"))
        done, _ = await asyncio.wait({task}, timeout=0.3)
        assert not done
        yield task
    finally:
        await unit.rollback()


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
async def test_a_session_that_is_ended_during_a_write_is_never_safe_to_repeat(
    request: pytest.FixtureRequest, name: str
) -> None:
    """What the administrator ended may have been done, and tells that the member is ill."""
    server: PrivateServer = request.getfixturevalue(f"private_{name}")
    async with prepared(await server.database()) as store:
        async with waiting_insert(store) as task:
            await server.terminate_waiting()
            with within(1), pytest.raises(OutcomeUnknownError) as caught:
                await task
        assert caught.value.outcome is Outcome.UNKNOWN
        assert caught.value.condition in ILL
        assert await count(RetryLayer(store)) == 1


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
@pytest.mark.parametrize("how", ["shut_down", "kill"])
async def test_a_server_that_ends_during_a_write_leaves_an_unknown_outcome(
    request: pytest.FixtureRequest, name: str, how: str
) -> None:
    """Shut down or killed: the write in flight is in doubt, and the next one is refused."""
    server: PrivateServer = request.getfixturevalue(f"private_{name}")
    async with prepared(await server.database()) as store:
        async with waiting_insert(store) as task:
            await asyncio.to_thread(getattr(server, how))
            with within(1), pytest.raises(OutcomeUnknownError) as caught:
                await task
        assert caught.value.condition in ILL
        with within(1), pytest.raises(UnavailableError) as refused:
            await add(store, "refused")
        assert refused.value.condition is Condition.DOWN
        assert refused.value.outcome is Outcome.NOT_APPLIED


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
async def test_nothing_waits_for_a_frozen_server(request: pytest.FixtureRequest, name: str) -> None:
    """A call ends at its deadline and the next one too; closing takes a few seconds at most."""
    server: PrivateServer = request.getfixturevalue(f"private_{name}")
    url = options(await server.database(), connect_timeout=0.5)
    async with prepared(url) as store:
        bounded = TimeoutLayer(store, seconds=0.5)
        await count(bounded)
        server.stop()
        try:
            with within(0.5), pytest.raises(DeadlineExceededError) as read:
                await count(bounded)
            assert read.value.outcome is Outcome.NOT_APPLIED
            with within(0.5), pytest.raises((DeadlineExceededError, UnavailableError)) as write:
                await add(bounded, "frozen")
            assert write.value.condition is Condition.SUSPECT
            with within(2):
                await store.close()
        finally:
            server.cont()


# --- changes of the schema ---------------------------------------------------------------------


async def changed(url: str, *statements: str) -> None:
    """Run statements on a connection of their own, as somebody who changes tables would."""
    async with lent(url) as store:
        assert isinstance(store, SqlAdapter)
        connection = await store.dial()
        try:
            for statement in statements:
                await connection.run(statement)
        finally:
            await connection.discard()


CHANGES = {
    "postgresql": "ALTER TABLE notes ALTER COLUMN version TYPE integer",
    "mysql": "ALTER TABLE notes MODIFY version int NOT NULL",
    "mariadb": "ALTER TABLE notes MODIFY version int NOT NULL",
}


@sql
async def test_a_table_that_changes_under_a_unit_is_a_conflict(
    new_database: NewDatabase, name: str
) -> None:
    """A cached plan (0A000), a snapshot of the old definition (1412): repeat the whole unit."""
    url = await new_database(name)
    async with prepared(url) as store:
        async with asyncio.timeout(10):
            assert await store.execute(Find(NOTES))  # the statement is prepared
            unit = await store.begin()
            await changed(url, CHANGES[name])
        with pytest.raises(SerializationError) as caught:
            await unit.execute(Find(NOTES))
        await unit.rollback()
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert caught.value.transient
        assert await count(store) == 1


async def test_half_an_index_is_made_anew(new_database: NewDatabase) -> None:
    """CREATE INDEX CONCURRENTLY leaves an invalid one under its name when it fails."""
    url = await new_database("postgresql")
    indexed = Collection("notes", NOTES.fields, indexes=(Index("text"),), entity="Note")
    index = indexed.index_name(indexed.indexes[0])
    async with lent(url) as store:
        await store.execute(Ensure((indexed,)))
        await changed(url, f'DROP INDEX "{index}"')
        for version in (1, 1):
            await store.execute(Insert(indexed, ({**note("x"), "version": version},)))
        with suppress(Exception):
            await changed(url, f'CREATE UNIQUE INDEX CONCURRENTLY "{index}" ON notes (version)')
        valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = '{}'::regclass"
        assert await asked(url, valid.format(index)) == [(False,)]
        await store.execute(Ensure((indexed,)))
        assert await asked(url, valid.format(index)) == [(True,)]


async def asked(url: str, question: str) -> list[tuple[object, ...]]:
    """Return the rows of a question, asked on a connection as a pool's are."""
    async with lent(url) as store:
        assert isinstance(store, SqlAdapter)
        async with store.readers.lend() as connection:
            return [tuple(row) for row in await connection.fetch(question, ())]


@pytest.mark.parametrize("name", ["mysql", "mariadb"])
async def test_a_change_of_a_table_waits_no_longer_than_a_statement(
    new_database: NewDatabase, name: str
) -> None:
    """The server's own limit is a day, or a year."""
    url = options(await new_database(name), timeout=1.5)
    question = "SELECT @@session.lock_wait_timeout, @@session.innodb_lock_wait_timeout"
    assert await asked(url, question) == [(2, 10)]


async def test_postgresql_waits_for_a_lock_as_long_as_mysql(new_database: NewDatabase) -> None:
    """A row that another unit holds is waited for 10 s everywhere, a table as long as it takes."""
    url = await new_database("postgresql")
    assert await asked(url, "SHOW lock_timeout") == [("10s",)]


# --- idle connections --------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["read", "write"])
@servers
async def test_a_connection_that_died_idle_is_replaced(
    new_database: NewDatabase, name: str, verb: str
) -> None:
    """It is tried before use, so the first call after the pause simply works, also a write."""
    url = await new_database(name)
    async with broken(url) as (between, inner, untouched):
        store = RetryLayer(inner)
        await add(store, "warm")
        between.break_all()
        await asyncio.sleep(0.6)  # longer than a connection is trusted without a ping
        if verb == "write":
            await add(store, "after")
        assert await count(store) == await count(untouched) == 2 + (verb == "write")


@pytest.mark.parametrize("verb", ["read", "write"])
@servers
async def test_a_connection_that_is_known_to_be_closed_is_replaced(
    new_database: NewDatabase, name: str, verb: str
) -> None:
    """It is looked at before it is lent, so that nothing is sent on it: no call notices."""
    url = await new_database(name)
    async with broken(url) as (between, store, untouched):
        await add(store, "warm")
        between.break_all()
        await asyncio.sleep(0.05)  # the loop sees the end; a ping is not due yet
        if verb == "write":
            await add(store, "after")
        assert await count(store) == await count(untouched) == 2 + (verb == "write")


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
async def test_sessions_that_the_server_has_just_ended_are_replaced(
    request: pytest.FixtureRequest, name: str
) -> None:
    """Its farewell is no answer to the next request, which goes over another connection."""
    server: PrivateServer = request.getfixturevalue(f"private_{name}")
    async with prepared(await server.database()) as store:
        await server.terminate_sessions()
        await asyncio.sleep(0.05)  # the loop sees the end; a ping is not due yet
        await add(store, "after")
        assert await count(store) == 2


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
async def test_sessions_that_the_server_ended_while_idle_are_replaced(
    request: pytest.FixtureRequest, name: str
) -> None:
    """An administrator, or a limit on idle time, costs no request."""
    server: PrivateServer = request.getfixturevalue(f"private_{name}")
    async with prepared(await server.database()) as inner:
        store = RetryLayer(inner)
        await server.terminate_sessions()
        await asyncio.sleep(0.6)  # longer than a connection is trusted without a ping
        await add(store, "after")
        assert await count(store) == 2


# --- connecting --------------------------------------------------------------------------------


@servers
async def test_a_server_that_accepts_and_says_nothing_is_given_up(
    new_database: NewDatabase, name: str
) -> None:
    """The limit on connecting covers the handshake: for three drivers of three makers."""
    url = await new_database(name)
    async with before(url) as between:
        between.silence()
        store = connect(BackendURL.parse(options(between.url(url), connect_timeout=0.5)))
        with within(0.5), pytest.raises(UnavailableError) as caught:
            await store.open()
        assert caught.value.condition is Condition.SUSPECT
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert between.accepted


@servers
async def test_a_refused_connection_is_a_clean_no(new_database: NewDatabase, name: str) -> None:
    """Nobody listens: the member is down, nothing was attempted."""
    url = await new_database(name)
    async with before(url) as between:
        await between.refuse()
        store = connect(BackendURL.parse(options(between.url(url), connect_timeout=0.5)))
        with within(0.5), pytest.raises(UnavailableError) as caught:
            await store.open()
        assert caught.value.condition is Condition.DOWN
        assert caught.value.outcome is Outcome.NOT_APPLIED


@servers
async def test_an_exhausted_pool_is_no_outage(new_database: NewDatabase, name: str) -> None:
    """Who waits too long for a connection learns that there is too much to do, and when."""
    url = await new_database(name)
    async with broken(url, pool_size=1, acquire_timeout=0.3) as (between, store, _):
        await count(store)
        between.blackhole(Way.REPLY)  # the one connection stays in use
        busy = asyncio.create_task(count(store))
        await asyncio.sleep(0.05)  # it has taken the connection
        started = perf_counter()
        with within(0.3), pytest.raises(UnavailableError) as caught:
            await add(store, "too much")
        # At least: a busy machine makes it longer, never shorter.
        assert perf_counter() - started >= 0.29
        assert caught.value.condition is Condition.OVERLOADED
        assert caught.value.outcome is Outcome.NOT_APPLIED
        busy.cancel()
        with pytest.raises(asyncio.CancelledError):
            await busy


# --- a change that is a transaction by itself ---------------------------------------------------


@sql
async def test_a_change_of_one_row_that_fails_leaves_its_connection_free(
    new_database: NewDatabase, name: str
) -> None:
    """On MySQL it is a transaction in one text, of which the server runs the part before an error."""
    async with prepared(options(await new_database(name), pool_size=1)) as store:
        assert isinstance(store, SqlAdapter)
        identity = await add(store, "second")
        with pytest.raises(DuplicateKeyError):
            await store.execute(Patch(NOTES, (identity,), (("text", "first"),)))
        with pytest.raises(OutOfRangeError):
            await store.execute(Patch(NOTES, (identity,), (), (("version", 2**63 - 1),)))
        pool = store.pool()
        assert pool is not None
        assert (pool.open, pool.in_use) == (1, 0)
        (changed,) = await store.execute(Patch(NOTES, (identity,), (), (("version", 1),)))
        assert changed == {"id": identity, "version": 2, "text": "second"}


@pytest.mark.parametrize("reached", [False, True], ids=["before", "after"])
@sql
async def test_a_reset_around_the_change_of_one_row_is_an_unknown_outcome(
    new_database: NewDatabase, name: str, *, reached: bool
) -> None:
    """Begin, change and commit travel together: any of them may have been the last."""
    async with broken(await new_database(name)) as (between, store, untouched):
        identity = await add(store, "kept")
        await store.execute(Patch(NOTES, (identity,), (), (("version", 1),)))
        (between.reset_on_reply if reached else between.reset_on_request)()
        with pytest.raises(OutcomeUnknownError):
            await store.execute(Patch(NOTES, (identity,), (), (("version", 1),)))
        (stored,) = await untouched.execute(Get(NOTES, (identity,)))
        assert stored is not None
        # MySQL's first answer is that to the beginning.
        assert stored["version"] in ({2, 3} if reached else {2})


# --- how MongoDB's answers are read -------------------------------------------------------------


async def test_a_read_is_woken_when_the_driver_gives_up_its_server(
    new_database: NewDatabase,
) -> None:
    """The driver's watch over servers interrupts who waits; that works where we read by ourselves."""
    async with broken(direct(await new_database("mongodb"))) as (between, store, _):
        assert isinstance(store, MongoAdapter)
        (pool,) = store._pools._made
        between.drop_reply(b"aggregate")
        reading = asyncio.create_task(count(store))
        await between.struck()
        assert len(pool.active_contexts) == 1
        await pool._reset(close=False, pause=False, interrupt_connections=True)
        with within(1):
            assert await reading == 1  # the driver reads once more, on another connection
        assert not pool.active_contexts


# --- rows that go as a file ----------------------------------------------------------------------

ROWS = Collection(
    "rows",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("text", FieldType(Kind.TEXT, max_length=100)),
        Field("blob", FieldType(Kind.BYTES), nullable=True),
        Field("amount", FieldType(Kind.DECIMAL, digits=28, places=10), nullable=True),
        Field("ratio", FieldType(Kind.FLOAT), nullable=True),
        Field("at", FieldType(Kind.DATETIME), nullable=True),
        Field("data", FieldType(Kind.JSON), nullable=True),
    ),
    uniques=(Unique("text"),),
    entity="Row",
)
WORDS = (
    "",
    "\\N",
    "a\\tb\\",
    "tab\tline\nreturn\rend",
    "'quoted' \"text\" `x` %s",
    "Ärzte 🩺",
    " ",
    "NULL",
)
each_way = pytest.mark.parametrize("least", [1, 10**9], ids=["file", "statements"])


def _row(number: int) -> Document:
    """Return a row; every other one has nulls."""
    word = WORDS[number % len(WORDS)]
    given: Document = {
        "blob": bytes(range(256)) + b"\\\t\n" if number % 4 else b"",
        "amount": Decimal("-999999999999999999.9999999999"),
        "ratio": 5e-324 if number % 3 else 0.1,
        "at": datetime(1, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        "data": {"a": [word, 1.5e300, 2**62], "b": {"c": None}},
    }
    row = given if number % 2 else dict.fromkeys(given)
    return {"id": uuid4(), "version": 1, "text": f"{number}{word}", **row}


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch, least: int) -> list[int]:
    """Let bulk inserts of that many rows go as a file, and note the rows of those that did."""
    made: list[int] = []

    def counted(insert: BulkInsert, rows: Iterable[Row]) -> tuple[str, Iterator[bytes]]:
        listed = list(rows)
        made.append(len(listed))
        return as_file(insert, listed)

    monkeypatch.setattr(connection, "_LOADED_ROWS", least)
    monkeypatch.setattr(connection, "as_file", counted)
    return made


@each_way
@pytest.mark.parametrize("name", ["mysql", "mariadb"])
async def test_rows_are_stored_the_same_as_a_file_and_as_statements(
    new_database: NewDatabase, name: str, loads: list[int], least: int
) -> None:
    """What separates fields and lines in a file may stand in the values."""
    async with lent(await new_database(name)) as store:
        await store.execute(Ensure((ROWS,)))
        rows = tuple(map(_row, range(64)))
        assert await store.execute(Insert(ROWS, rows)) == 64
        found = await store.execute(Get(ROWS, tuple(cast(UUID, row["id"]) for row in rows)))
        assert list(found) == list(rows)
    assert bool(loads) == (least == 1)


@each_way
@pytest.mark.parametrize("name", ["mysql", "mariadb"])
@pytest.mark.parametrize("wrong", ["key", "id", "null"])
async def test_a_file_with_a_row_that_is_refused_leaves_nothing(
    new_database: NewDatabase, name: str, loads: list[int], least: int, wrong: str
) -> None:
    """A load only warns, and leaves such a row out or changes it; the error is that of an insert."""
    async with lent(await new_database(name)) as store:
        await store.execute(Ensure((ROWS,)))
        rows = [_row(number) for number in range(20)]
        bad: dict[str, tuple[Document, type[HealthstoreError]]] = {
            "key": ({**_row(30), "text": rows[7]["text"]}, DuplicateKeyError),
            "id": ({**_row(30), "id": rows[7]["id"]}, DuplicateKeyError),
            "null": ({**_row(30), "text": None}, NotNullError),
        }
        row, error = bad[wrong]
        with pytest.raises(error) as caught:
            await store.execute(Insert(ROWS, (*rows, row)))
        assert caught.value.outcome is Outcome.NOT_APPLIED
        if isinstance(caught.value, DuplicateKeyError):
            assert caught.value.fields == ({"key": "text"}.get(wrong, "id"),)
        assert await store.execute(CountDocuments(ROWS)) == 0
        unit = await store.begin()
        await unit.execute(Insert(ROWS, (_row(40),)))
        await unit.execute(Insert(ROWS, tuple(rows)))
        await unit.commit()
        assert await store.execute(CountDocuments(ROWS)) == 21
    assert bool(loads) == (least == 1)


# --- SQLite ------------------------------------------------------------------------------------


async def _locked(path: Path) -> None:
    """Wait until somebody holds the lock of a file's writer."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        while True:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return
            other.execute("ROLLBACK")
            await asyncio.sleep(0.001)


async def test_a_cancelled_insert_is_not_made_permanent_by_the_next(tmp_path: Path) -> None:
    """The thread goes on after the caller has left; what it did there is rolled back."""
    path = tmp_path / "notes.db"
    async with prepared(f"sqlite:///{path}") as store:
        many = tuple(note(f"cancelled {number}") for number in range(20_000))
        task = asyncio.create_task(store.execute(Insert(NOTES, many)))
        await _locked(path)  # it has begun, and is far from its commit
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await add(store, "next")
        assert await count(store) == 2


async def test_a_call_that_waits_for_a_locked_file_ends_at_its_deadline(tmp_path: Path) -> None:
    """Another process holds the file: the caller waits as long as it said, no longer."""
    path = tmp_path / "notes.db"
    async with prepared(f"sqlite:///{path}") as inner:
        store = TimeoutLayer(inner, seconds=0.5)
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with within(0.5), pytest.raises(DeadlineExceededError):
                await add(store, "late")
            assert await count(store) == 1
        finally:
            other.close()


async def test_a_cancelled_insert_that_waited_for_a_lock_is_not_made_later(tmp_path: Path) -> None:
    """It must not happen once the lock is free, when its caller is gone."""
    path = tmp_path / "notes.db"
    async with prepared(f"sqlite:///{path}") as store:
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            task = asyncio.create_task(add(store, "cancelled"))
            done, _ = await asyncio.wait({task}, timeout=0.1)
            assert not done
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            other.execute("ROLLBACK")
        finally:
            other.close()
        await add(store, "next")
        assert await count(store) == 2


async def test_a_write_to_a_file_that_was_removed_is_not_acknowledged(tmp_path: Path) -> None:
    """SQLite would write on to the old file, which nobody finds any more."""
    path = tmp_path / "notes.db"
    async with prepared(f"sqlite:///{path}") as store:
        path.unlink()
        for write in (lambda: add(store, "to nobody"), lambda: unit_of_one(store)):
            with pytest.raises(UnavailableError) as caught:
                await write()
            assert caught.value.condition is Condition.DOWN
        assert not path.exists()


async def test_nothing_is_written_where_another_file_took_the_place(tmp_path: Path) -> None:
    """Neither the old file nor the new one gets a write: an operator decides."""
    path, other = tmp_path / "notes.db", tmp_path / "other.db"
    async with prepared(f"sqlite:///{other}"):
        pass
    async with prepared(f"sqlite:///{path}") as store:
        before = await count(store)
        other.replace(path)
        for _ in range(2):
            with pytest.raises(UnavailableError) as caught:
                await add(store, "to nobody")
            assert caught.value.condition is Condition.DAMAGED
        with pytest.raises(UnavailableError):
            await unit_of_one(store)
        await store.close()
        await store.open()
        assert await count(store) == before


async def unit_of_one(store: Backend) -> None:
    """Add a note in a unit of its own."""
    unit = await store.begin()
    try:
        await unit.execute(Insert(NOTES, (note("to nobody"),)))
        await unit.commit()
    finally:
        await unit.rollback()


# --- rows that match, and keys that wait -------------------------------------------------------


@servers
async def test_an_update_to_equal_values_finds_its_document(
    new_database: NewDatabase, name: str
) -> None:
    """MySQL counts changed rows by default, and would call an unchanged one missing."""
    async with prepared(await new_database(name)) as store:
        made = note("same")
        await store.execute(Insert(NOTES, (made,)))
        assert await store.execute(Replace(NOTES, (made,))) == (True,)
        assert await store.execute(Replace(NOTES, (made,), (1,))) == (True,)
        identity = made["id"]
        (patched,) = await store.execute(Patch(NOTES, (identity,), (("text", "same"),)))  # type: ignore[arg-type] - a row's id is any value to the checker
        assert patched is not None
        assert patched["text"] == "same"


@pytest.mark.parametrize("kept", [True, False], ids=["committed", "rolled-back"])
@sql
async def test_a_second_insert_of_a_key_waits_for_the_first(
    new_database: NewDatabase, name: str, *, kept: bool
) -> None:
    """It is a duplicate when the first is committed, and succeeds when it is rolled back."""
    async with prepared(await new_database(name)) as store:
        unit = await store.begin()
        await unit.execute(Insert(NOTES, (note("contested"),)))
        second = asyncio.create_task(add(store, "contested"))
        done, _ = await asyncio.wait({second}, timeout=0.3)
        assert not done
        await (unit.commit if kept else unit.rollback)()
        if kept:
            with within(1), pytest.raises(DuplicateKeyError) as caught:
                await second
            assert caught.value.fields == ("text",)
            assert caught.value.condition is Condition.OK
        else:
            with within(1):
                await second
        assert await count(store) == 2

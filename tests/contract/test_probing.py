"""Probing on real servers: what only a server can show, beyond the contract."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import aiomysql
import asyncpg
import pytest

from healthstore.abc import Backend, BackendURL, UnitOptions, Vitals
from healthstore.abc.registry import connect
from healthstore.adapters.sql.adapter import SqlAdapter
from healthstore.errors import (
    Condition,
    HealthstoreError,
    LifecycleError,
    Outcome,
    ReadOnlyError,
    UnavailableError,
)
from healthstore.layers.guard import GuardLayer
from healthstore.model.catalog import CATALOG
from healthstore.model.ops import CountDocuments, Effect, Ensure, Find, Insert, Patch
from healthstore.testing.contract._samples import PEOPLE, add, ids, person
from healthstore.testing.plugin import EmptyBackend
from healthstore.testing.provision import PROVISIONS, SERVERS, server_url
from healthstore.transfer import migrate

SQL = ("postgresql", "mysql", "mariadb")


@dataclass(frozen=True)
class Made:
    """A database of one's own, and a way to run statements beside healthstore."""

    url: BackendURL
    run: Callable[[str], Awaitable[Any]]


async def run_postgresql(url: BackendURL, sql: str) -> Any:
    """Run a statement as the owner of the database."""
    host = url.hosts[0]
    connection = await asyncpg.connect(
        host=host.name,
        port=host.port or 5432,
        user=url.user,
        password=url.password or "",
        database=url.database,
        ssl=False,
    )
    try:
        return await connection.fetch(sql)
    finally:
        await connection.close()


async def run_mysql(url: BackendURL, sql: str) -> Any:
    """Run a statement as the owner of the database."""
    host = url.hosts[0]
    connection = await aiomysql.connect(
        host=host.name,
        port=host.port or 3306,
        user=url.user,
        password=url.password or "",
        db=url.database,
        autocommit=True,
    )
    try:
        async with connection.cursor() as cursor:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", aiomysql.Warning)  # of what MySQL will drop one day
                await cursor.execute(sql)
            return await cursor.fetchall()
    finally:
        await connection.ensure_closed()


RUN = {"postgresql": run_postgresql, "mysql": run_mysql, "mariadb": run_mysql}


@asynccontextmanager
async def made(name: str) -> AsyncGenerator[Made]:
    """Make a database on a server, and drop it; an absent server skips the test."""
    server = server_url(name, os.environ)
    if server is None:
        pytest.skip(f"{name} is absent: set {SERVERS[name]} to the URL of a server")
    provision = PROVISIONS[server.scheme]
    url = await provision.create(server, f"healthstore_test_{uuid4().hex[:12]}")
    try:
        yield Made(url, lambda sql: RUN[name](url, sql))
    finally:
        await provision.drop(url)


@pytest.fixture
async def postgresql() -> AsyncIterator[Made]:
    """Lend a database of PostgreSQL."""
    async with made("postgresql") as one:
        yield one


@pytest.fixture(params=SQL)
async def sql(request: pytest.FixtureRequest) -> AsyncIterator[Made]:
    """Lend a database of each SQL server."""
    async with made(request.param) as one:
        yield one


async def test_a_read_only_server_is_seen(postgresql: Made) -> None:
    """A check says why it takes no writes, and a write says so by its condition."""
    adapter = connect(postgresql.url)
    await adapter.open()
    await adapter.execute(Ensure((PEOPLE,)))
    await adapter.close()
    database = postgresql.url.database
    await postgresql.run(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
    prober = adapter.prober()
    await prober.connect()
    seen = await prober.check()
    assert not seen.writable
    assert seen.reason
    with pytest.raises(ReadOnlyError) as error:
        await prober.write()
    assert error.value.condition is Condition.READ_ONLY
    assert (await prober.measure()).documents == {PEOPLE.name: 0}
    await prober.close()
    await adapter.open()
    with pytest.raises(ReadOnlyError) as error:
        await adapter.execute(Insert(PEOPLE, (person(1),)))
    assert error.value.condition is Condition.READ_ONLY
    assert error.value.outcome is Outcome.NOT_APPLIED
    await adapter.close()


async def kill_idle_sessions(one: Made) -> None:
    """End every session on the database that waits for its client."""
    if one.url.scheme == "postgresql":
        await one.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle'"
        )
        return
    for number, _, _, database, command, *_ in await one.run("SHOW PROCESSLIST"):
        if (database, command) == (one.url.database, "Sleep"):
            await one.run(f"KILL {number}")


@pytest.mark.parametrize("name", SQL)
async def test_a_killed_session_is_a_finding_and_the_next_connection_works(name: str) -> None:
    """A check on a dead connection fails with an error of ours; connecting anew mends it."""
    async with made(name) as one:
        adapter = connect(one.url)
        prober = adapter.prober()
        await prober.connect()
        await kill_idle_sessions(one)
        await asyncio.sleep(0.1)
        with pytest.raises(HealthstoreError) as error:
            await prober.check()
        assert error.value.condition in {Condition.SUSPECT, Condition.DOWN}
        await prober.close()
        await prober.connect()
        assert await prober.check() == Vitals()
        await prober.close()


async def test_a_write_whose_session_is_killed_names_the_shutdown(postgresql: Made) -> None:
    """The server said goodbye while a statement ran: it counts as a clean no."""
    adapter = GuardLayer(connect(postgresql.url))
    await adapter.open()
    await add(adapter, PEOPLE, person(1))
    holder = await adapter.begin()
    rows = await holder.execute(Find(PEOPLE))
    patch = Patch(PEOPLE, ids(rows), increments=(("visits", 1),))
    await holder.execute(patch)
    waiting = asyncio.create_task(adapter.execute(patch))
    found: list[Any] = []
    async with asyncio.timeout(10):
        while not found:
            found = await postgresql.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
    with pytest.raises(HealthstoreError) as error:
        await waiting
    assert error.value.condition is Condition.DOWN
    assert error.value.outcome is Outcome.UNKNOWN
    await holder.rollback()
    await adapter.close()


async def test_a_server_gives_all_figures(sql: Made) -> None:
    """Size, connections and waiting requests are numbers; of the rows of a table, as many."""
    adapter = connect(sql.url)
    await adapter.open()
    await adapter.execute(Ensure((PEOPLE,)))
    await adapter.execute(Insert(PEOPLE, tuple(map(person, range(30)))))
    prober = adapter.prober()
    await prober.connect()
    figures = await prober.measure()
    assert figures.documents == {PEOPLE.name: 30}
    assert figures.bytes is not None
    assert figures.bytes > 10_000
    assert figures.connections is not None
    assert figures.connections >= 2
    assert figures.waiting is not None
    await prober.close()
    await adapter.close()


async def test_the_figures_need_no_superuser(postgresql: Made) -> None:
    """The tests' user of PostgreSQL is an ordinary one."""
    ((superuser,),) = await postgresql.run(
        "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    )
    assert not superuser
    await test_a_server_gives_all_figures(postgresql)


async def test_an_exhausted_pool_does_not_look_like_death(sql: Made) -> None:
    """The prober answers while every connection is lent, and the error says what is wrong."""
    options = {**sql.url.options, "pool_size": "2", "acquire_timeout": "0.1"}
    adapter = connect(replace(sql.url, options=options))
    await adapter.open()
    units = [await adapter.begin(UnitOptions()) for _ in range(2)]
    with pytest.raises(UnavailableError) as error:
        await adapter.execute(CountDocuments(CATALOG))
    assert error.value.condition is Condition.OVERLOADED
    pool = adapter.pool()
    assert pool is not None
    assert (pool.size, pool.open, pool.in_use) == (2, 2, 2)
    prober = adapter.prober()
    await prober.connect()
    assert await prober.check() == Vitals()
    await prober.write()
    await prober.close()
    for unit in units:
        await unit.rollback()
    await adapter.close()


async def test_units_of_mongodb_wait_as_for_a_connection() -> None:
    """They hold none of the driver's: who waits too long is refused as by an exhausted pool.

    What needs a transaction inside of a unit uses that one, and reads need no place.
    """
    async with made("mongodb-rs") as mongodb:
        options = {**mongodb.url.options, "pool_size": "2", "acquire_timeout": "0.1"}
        adapter = connect(replace(mongodb.url, options=options))
        await adapter.open()
        await adapter.execute(Ensure((PEOPLE,)))
        units = [await adapter.begin() for _ in range(2)]
        assert await units[0].execute(Insert(PEOPLE, (person(1), person(2)))) == 2
        assert await adapter.execute(CountDocuments(PEOPLE)) == 0
        two = Insert(PEOPLE, (person(3), person(4)))
        for refused in (adapter.begin(), adapter.execute(two)):
            with pytest.raises(UnavailableError) as error:
                await refused
            assert error.value.condition is Condition.OVERLOADED
            assert error.value.outcome is Outcome.NOT_APPLIED
        waiting = [asyncio.create_task(adapter.execute(two)) for _ in range(2)]
        await asyncio.sleep(0)
        pool = adapter.pool()
        assert pool is not None
        assert (pool.size, pool.waiting) == (2, 2)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        await units[0].commit()
        assert await waiting[1] == 2
        await units[1].rollback()
        units = [await adapter.begin() for _ in range(2)]
        late = asyncio.create_task(adapter.begin())
        await asyncio.sleep(0)
        await adapter.close()
        with pytest.raises(LifecycleError):
            await late
        await adapter.open()
        for unit in units:
            await unit.rollback()
        units = [await adapter.begin() for _ in range(2)]
        with pytest.raises(UnavailableError):
            await adapter.begin()
        await adapter.close()


@pytest.mark.parametrize("name", ["sqlite", *SQL, "mongodb", "mongodb-rs"])
async def test_transfers_do_not_see_the_canary(name: str, healthstore_empty: EmptyBackend) -> None:
    """A store in which checks have written is copied, and copied into, as if they had not."""
    async with healthstore_empty(name) as store, healthstore_empty("memory") as memory:
        backend: Backend = GuardLayer(store)
        other: Backend = GuardLayer(memory)
        prober = backend.prober()
        await prober.connect()
        await prober.write()
        await add(other, PEOPLE, person(1), person(2))
        report = await migrate(other, backend, (PEOPLE.name,))
        assert (report.rows, report.verified) == (2, True)
        await prober.write()
        async with healthstore_empty("sqlite") as target:
            copied = await migrate(backend, GuardLayer(target), (PEOPLE.name,))
            assert [each.collection for each in copied.collections] == [PEOPLE.name]
        await prober.close()


SILENT = ("postgresql://u@127.0.0.1:{}/d", "mysql://u@127.0.0.1:{}/d", "mongodb://127.0.0.1:{}/d")


@pytest.mark.parametrize("url", SILENT)
async def test_a_server_that_accepts_and_says_nothing_is_not_waited_for(url: str) -> None:
    """Connecting is bounded by ``connect_timeout``; cancelled, it leaves no socket open."""
    writers: list[asyncio.StreamWriter] = []

    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read()

    server = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    adapter = connect(BackendURL.parse(f"{url.format(port)}?connect_timeout=0.3"))
    prober = adapter.prober()
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(UnavailableError) as error:
        await prober.connect()
    assert error.value.condition is Condition.SUSPECT
    await prober.close()
    assert loop.time() - started < 1.5
    task = asyncio.create_task(prober.connect())
    await asyncio.sleep(0.05)
    started = loop.time()
    task.cancel()
    await asyncio.wait({task})
    await prober.close()
    assert loop.time() - started < 0.5
    server.close()
    for writer in writers:
        writer.close()
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - a driver's tasks set no event
            await asyncio.sleep(0.02)
    gc.collect()  # a socket that is still open is a ResourceWarning, which fails the test


REFUSED = (*SILENT, "mongodb://127.0.0.1:{0},127.0.0.1:{0}/d")


@pytest.mark.parametrize("url", REFUSED)
async def test_a_port_where_nobody_listens_is_a_clean_no_at_once(url: str) -> None:
    """It is known long before any timeout."""
    prober = connect(BackendURL.parse(url.format(1))).prober()
    async with asyncio.timeout(0.9):
        with pytest.raises(UnavailableError) as error:
            await prober.connect()
    assert error.value.condition is Condition.DOWN
    await prober.close()


async def test_a_real_server_is_encrypted_or_refused() -> None:
    """MySQL makes a certificate for itself: ``encrypt`` takes it, ``verify`` does not."""
    async with made("mysql") as one:
        adapter = connect(replace(one.url, options={**one.url.options, "tls": "encrypt"}))
        assert isinstance(adapter, SqlAdapter)
        await adapter.open()
        async with adapter.session(Effect.READ) as session:
            rows = await session.connection.fetch("SHOW SESSION STATUS LIKE 'Ssl_version'", ())
        assert [value.startswith("TLSv1.") for _, value in rows] == [True]
        await adapter.close()
        strict = connect(replace(one.url, options={**one.url.options, "tls": "verify"}))
        for attempt in (strict.open, strict.prober().connect):
            with pytest.raises(HealthstoreError) as error:
                await attempt()
            assert error.value.condition is Condition.MISCONFIGURED

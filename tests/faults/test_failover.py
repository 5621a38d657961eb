"""A real server is killed, frozen, cut off and misconfigured: what callers of the manager see."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from time import perf_counter

import pytest
from pydantic import SecretStr
from tests.at_once import at_once
from tests.faults.conftest import NewDatabase
from tests.faults.notes import direct, within
from tests.faults.proxy import proxy
from tests.faults.servers import PrivateServer
from tests.faults.stores import FAST, Note, callers, pair

from healthstore import DatabaseManager
from healthstore.abc import BackendURL
from healthstore.errors import (
    Condition,
    DeadlineExceededError,
    Outcome,
    OutcomeUnknownError,
    ReadOnlyError,
    UnavailableError,
)
from healthstore.events import (
    ConnectionLost,
    FailedBack,
    FailedOver,
    MemberDegraded,
    Recovered,
)
from healthstore.routing.machine import State
from healthstore.routing.policy import Probe
from healthstore.routing.report import Mode

ROUND_TRIP = ["ConnectionLost", "FailedOver", "Recovered", "FailedBack"]


# --- the server is gone ------------------------------------------------------------------------


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> PrivateServer:
    """Return a server of each kind that a test may kill."""
    found: PrivateServer = request.getfixturevalue(f"private_{request.param}")
    return found


async def test_reads_survive_a_killed_server_and_come_back(
    server: PrivateServer, tmp_path: Path
) -> None:
    """No reader notices; writers are told why and when they may come again."""
    url = await server.database()
    async with pair(url, tmp_path) as store:
        async with callers(store.read) as reads:
            server.kill()
            await store.happened(FailedOver)
            assert store.db.reads == "standby"
            with within(store.timeout), pytest.raises(ReadOnlyError, match="primary is down"):
                await store.notes.add(Note(text="refused"))
            health = await store.db.health()
            assert health.mode is Mode.READ_ONLY
            assert health.member("primary").state is State.DOWN
            await server.restart()
            await store.happened(FailedBack)
            assert store.db.reads == store.db.writes == "primary"
            await store.notes.add(Note(text="kept"))
        reads.require_bounded(store.timeout)
        reads.require_good()
        assert store.kinds == ROUND_TRIP
        assert (await store.db.health()).mode is Mode.NORMAL
        assert [each.text async for each in store.notes.stream()] == ["known", "kept"]


async def test_a_stream_never_mixes_members(server: PrivateServer, tmp_path: Path) -> None:
    """Killed half-way, its server ends it; what was written since the copy is not passed over."""
    url = await server.database()
    async with pair(url, tmp_path) as store:
        await store.notes.add_many([Note(text=f"{number:02}") for number in range(30)])
        fresh, stale = (store.notes.stream(page_size=10, stale=each) for each in (False, True))
        seen = [(await anext(fresh)).text for _ in range(10)]
        before = [(await anext(stale)).text for _ in range(10)]
        server.kill()
        with pytest.raises(UnavailableError, match="the page before came from primary") as caught:
            await anext(fresh)
        assert "begin again" in caught.value.hint
        assert seen == before == ["known", *(f"{number:02}" for number in range(9))]
        assert [each.text async for each in stale] == [], "the copy has nothing behind that"
        assert [each.text async for each in store.notes.stream()] == ["known"]
        assert (await store.notes.find()).source == store.db.reads == "standby"


async def test_a_killed_server_is_noticed_within_two_seconds(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """With the default checks, while requests come in."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path, probe=Probe()) as store:
        async with callers(store.read) as reads:
            private_postgresql.kill()
            assert await store.happened(FailedOver) <= 2
            await store.read()
        reads.require_bounded(store.timeout)
        reads.require_good()


async def test_an_idle_manager_notices_a_killed_server(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """The checks alone find it, before anybody asks."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path, probe=Probe()) as store:
        private_postgresql.kill()
        assert await store.happened(FailedOver) <= 4
        with within(0):
            await store.read()


async def test_an_orderly_shutdown_costs_no_read(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """A server that says goodbye is left like one that does not."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path) as store:
        async with callers(store.read) as reads:
            await asyncio.to_thread(private_postgresql.shut_down)
            await store.happened(FailedOver)
            await private_postgresql.restart()
            await store.happened(FailedBack)
        reads.require_bounded(store.timeout)
        reads.require_good()
        assert store.kinds == ROUND_TRIP


async def test_reads_survive_refused_connections(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """The server runs, but nobody reaches it."""
    url = await private_postgresql.database()
    async with (
        proxy("127.0.0.1", private_postgresql.port) as between,
        pair(between.url(url), tmp_path) as store,
    ):
        async with callers(store.read) as reads:
            await between.refuse()
            between.break_all()
            await store.happened(FailedOver)
            with pytest.raises(ReadOnlyError, match="primary is down"):
                await store.notes.add(Note(text="refused"))
            await between.heal()
            await store.happened(FailedBack)
        reads.require_bounded(store.timeout)
        reads.require_good()
        assert store.kinds == ROUND_TRIP


async def test_reads_survive_a_black_hole(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """Connections stay open, and nothing comes back: callers wait for their deadline at most."""
    url = await private_postgresql.database()
    async with (
        proxy("127.0.0.1", private_postgresql.port) as between,
        pair(between.url(url), tmp_path, connect_timeout=0.5) as store,
    ):
        async with callers(store.read) as reads:
            between.blackhole()
            await store.happened(FailedOver)
            over = perf_counter()
            await asyncio.sleep(0.3)
            await between.heal()
            between.break_all()
            await store.happened(FailedBack)
        reads.require_bounded(store.timeout)
        reads.require_good(since=over)
        reads.require_understood()


# --- the server hangs --------------------------------------------------------------------------


async def test_reads_go_on_within_six_seconds_of_a_hang(
    server: PrivateServer, tmp_path: Path
) -> None:
    """The kernel still takes connections for a frozen server; the default checks see through."""
    url = await server.database()
    async with pair(url, tmp_path, probe=Probe()) as store:
        async with callers(store.read) as reads, callers(_adding(store.db), 2) as writes:
            server.stop()
            assert await store.happened(FailedOver) <= 6
            over = perf_counter()
            await asyncio.sleep(0.3)
            with within(0), pytest.raises(ReadOnlyError):
                await store.notes.add(Note(text="refused"))
            server.cont()
            await store.happened(FailedBack)
        reads.require_bounded(store.timeout)
        reads.require_good(since=over)
        reads.require_understood()
        writes.require_bounded(store.timeout)
        assert store.kinds == ROUND_TRIP


async def test_calls_keep_their_deadline_while_connecting_hangs(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """Repeated attempts to connect are paid from the deadline of the call, too."""
    short = Probe(connect_timeout=0.6)
    url = await private_postgresql.database()
    async with (
        proxy("127.0.0.1", private_postgresql.port) as between,
        pair(between.url(url), tmp_path, probe=short, connect_timeout=0.6) as store,
    ):
        async with callers(store.read) as reads:
            between.silence()
            between.break_all()
            await store.happened(FailedOver)
        reads.require_bounded(store.timeout)


async def test_a_short_pause_is_no_outage(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """A server that stands still for 1.5 seconds costs time, and nothing else."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path, probe=Probe(), timeout=3) as store:
        async with callers(store.read) as reads, callers(_adding(store.db), 2) as writes:
            private_postgresql.stop()
            await asyncio.sleep(1.5)
            private_postgresql.cont()
            await asyncio.sleep(2.5)  # more than one check
        reads.require_good()
        writes.require_good()
        assert store.kinds == []


async def test_a_slow_network_is_no_outage(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """A fifth of a second for each round trip: slow is not down."""
    url = await private_postgresql.database()
    async with (
        proxy("127.0.0.1", private_postgresql.port) as between,
        pair(between.url(url), tmp_path, probe=Probe(), timeout=5) as store,
    ):
        between.delay(0.1)
        async with callers(store.read) as reads, callers(_adding(store.db), 2) as writes:
            await asyncio.sleep(2.5)  # more than one check
        reads.require_good()
        writes.require_good()
        assert store.kinds == []


async def test_a_stalled_event_loop_is_no_outage(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """When this process itself stood still, a check that seemed to fail says nothing."""
    url = await private_postgresql.database()
    async with (
        proxy("127.0.0.1", private_postgresql.port) as between,
        pair(between.url(url), tmp_path) as store,
    ):
        between.break_all()  # the next check must connect, which takes several turns of the loop
        for _ in range(12):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            time.sleep(0.7)  # noqa: ASYNC251 - the stall
        await store.read()
        await asyncio.sleep(0.5)  # more than one check
        assert store.kinds == []


async def test_a_server_that_goes_too_often_waits_for_an_operator(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """Back from its third outage it gets no requests by itself: `switch` lets it serve again."""
    url = await private_postgresql.database()
    flappy = replace(FAST, flap_limit=2)
    async with pair(url, tmp_path, probe=flappy) as store:
        async with callers(store.read) as reads:
            for outage in range(3):
                store.events.clear()
                private_postgresql.kill()
                await store.happened(FailedOver)
                await private_postgresql.restart()
                await store.happened(Recovered)
                if outage < 2:
                    await store.happened(FailedBack)
            await asyncio.sleep(2 * FAST.hold_down)
            assert (store.db.reads, store.db.writes) == ("standby", None)
            with pytest.raises(ReadOnlyError, match="primary"):
                await store.notes.add(Note(text="refused"))
            await store.db.switch("primary")
            await store.notes.add(Note(text="kept"))
        reads.require_bounded(store.timeout)
        reads.require_good()


# --- it is there, but ------------------------------------------------------------------------------


async def test_rotated_credentials_raise_an_alarm(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """It refuses this process only: reads go on at the standby, and it is not called down."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path) as store:
        try:
            await private_postgresql.ask("ALTER ROLE hs PASSWORD 'rotated'")
            await private_postgresql.terminate_sessions()
            await store.happened(FailedOver)
            assert (await store.db.health()).member("primary").state is State.MISCONFIGURED
            await store.read()
            with pytest.raises(ReadOnlyError, match="primary is refusing this process"):
                await store.notes.add(Note(text="refused"))
        finally:
            await private_postgresql.ask("ALTER ROLE hs PASSWORD 'healthstore'")
        await store.happened(FailedBack)
        await store.notes.add(Note(text="kept"))
        assert store.kinds == ["MemberDegraded", "FailedOver", "Recovered", "FailedBack"]
        alarm = store.events[0]
        assert isinstance(alarm, MemberDegraded)
        assert (alarm.backend, alarm.state) == ("primary", State.MISCONFIGURED)
        for event in store.events:
            assert "rotated" not in repr(event)
            assert BackendURL.parse(url).password not in repr(event).split("'")


async def test_a_reloaded_password_ends_the_alarm(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """After a rotation the service goes on with the new password, without a restart."""
    url = await private_postgresql.database()
    rotated = SecretStr(url.replace(f":{BackendURL.parse(url).password}@", ":rotated@"))
    async with pair(url, tmp_path) as store:
        primary, standby = store.settings.members
        new = primary.model_copy(update={"url": rotated})
        settings = store.settings.model_copy(update={"members": (new, standby)})
        try:
            async with callers(store.read) as reads:
                await private_postgresql.ask("ALTER ROLE hs PASSWORD 'rotated'")
                await private_postgresql.terminate_sessions()
                await store.happened(FailedOver)
                assert (await store.db.reload(settings)).changed == ("primary",)
                await store.happened(FailedBack)
                await store.notes.add(Note(text="kept"))
            reads.require_good()
            reads.require_bounded(store.timeout)
        finally:
            await private_postgresql.ask("ALTER ROLE hs PASSWORD 'healthstore'")


async def test_a_server_that_becomes_read_only_keeps_its_reads(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """Its own data is fresher than any copy; writes are refused until it takes them again."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path) as store:
        try:
            await private_postgresql.ask(
                "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"
            )
            await store.happened(MemberDegraded)
            async with callers(store.read) as reads:
                assert store.db.reads == "primary"
                assert store.db.writes is None
                with within(store.timeout), pytest.raises(ReadOnlyError, match="primary"):
                    await store.notes.add(Note(text="refused"))
        finally:
            await private_postgresql.ask(
                "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"
            )
        await store.happened(Recovered)
        await store.notes.add(Note(text="kept"))
        reads.require_good()
        assert store.kinds == ["MemberDegraded", "Recovered"]


async def test_a_server_in_recovery_serves_reads_until_it_is_promoted(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """A PostgreSQL that comes back as a standby takes no writes, and takes them when promoted."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path) as store:
        async with callers(store.read) as reads:
            await asyncio.to_thread(private_postgresql.shut_down)
            await store.happened(FailedOver)
            private_postgresql.stand_by()
            await private_postgresql.restart()
            await store.happened(MemberDegraded)
            while store.db.reads != "primary":  # noqa: ASYNC110 - a value, not an event
                await asyncio.sleep(0.02)
            assert store.db.writes is None
            with within(store.timeout), pytest.raises(ReadOnlyError, match="primary"):
                await store.notes.add(Note(text="refused"))
            await private_postgresql.ask("SELECT pg_promote()")
            await store.happened(Recovered)
            await store.notes.add(Note(text="kept"))
        reads.require_bounded(store.timeout)
        reads.require_good()
        assert [each.text async for each in store.notes.stream()] == ["known", "kept"]


async def test_a_mariadb_server_that_becomes_read_only_keeps_its_reads(
    private_mariadb: PrivateServer, tmp_path: Path
) -> None:
    """The same for a user without the right to write all the same."""
    url = await private_mariadb.database()
    database = BackendURL.parse(url).database
    await private_mariadb.ask(
        f"GRANT ALL ON {database}.* TO {database}@'127.0.0.1' IDENTIFIED BY 'healthstore'"
    )
    async with pair(url.replace("//hs:", f"//{database}:"), tmp_path) as store:
        try:
            await private_mariadb.ask("SET GLOBAL read_only = 1")
            with within(store.timeout), pytest.raises(ReadOnlyError):
                await store.notes.add(Note(text="refused"))
            await store.happened(MemberDegraded)
            assert (store.db.reads, store.db.writes) == ("primary", None)
            await store.read()
        finally:
            await private_mariadb.ask("SET GLOBAL read_only = 0")
        await store.happened(Recovered)
        await store.notes.add(Note(text="kept"))
        assert store.kinds == ["MemberDegraded", "Recovered"]


async def test_an_ended_session_is_no_outage(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """One connection fewer: readers do not notice, and nothing fails over."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path) as store:
        async with callers(store.read) as reads:
            for _ in range(5):
                await private_postgresql.ask(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE usename = 'hs' ORDER BY random() LIMIT 1"
                )
                await asyncio.sleep(0.4)  # more than one check
        reads.require_good()
        reads.require_bounded(store.timeout)
        assert store.kinds == []
        assert store.db.reads == "primary"


async def test_ending_every_session_at_once_is_no_outage(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """An administrator cleans up: the server answers whoever connects anew."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path) as store:
        async with callers(store.read) as reads:
            await private_postgresql.terminate_sessions()
            await asyncio.sleep(1)  # several checks
        reads.require_good()
        assert store.kinds == []


async def test_a_full_pool_is_no_outage(private_postgresql: PrivateServer, tmp_path: Path) -> None:
    """Who finds no free connection is told so: moving the load would only move the trouble."""
    url = await private_postgresql.database()
    async with (
        pair(url, tmp_path, pool_size=2, acquire_timeout=0.2) as store,
        store.db.transaction() as one,
        store.db.transaction() as two,
    ):
        assert await one.repository(Note).get(store.known)
        assert await two.repository(Note).get(store.known)
        for _ in range(3):
            with within(store.timeout), pytest.raises(UnavailableError) as caught:
                await store.read()
            assert caught.value.condition is Condition.OVERLOADED
            assert caught.value.outcome is Outcome.NOT_APPLIED
        health = await store.db.health()
        assert health.member("primary").state is State.UP
        assert store.db.reads == "primary"
        assert store.kinds == []


async def test_with_every_member_gone_calls_fail_at_once(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """Nobody waits for what cannot come; the error names who is missing and what to do."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path) as store:
        (tmp_path / "standby.db").unlink()
        await store.happened(ConnectionLost, "standby")
        private_postgresql.kill()
        await store.happened(ConnectionLost, "primary")
        assert (store.db.reads, store.db.writes) == (None, None)
        assert not store.db.ready()
        assert (await store.db.health()).mode is Mode.DOWN
        for call in (store.read, _adding(store.db)):
            with pytest.raises(UnavailableError, match="primary is down") as caught:
                at_once(call())
            assert caught.value.hint
            assert caught.value.outcome is Outcome.NOT_APPLIED
        await private_postgresql.restart()
        await store.happened(Recovered, "primary")
        await store.read()


async def test_the_timeout_of_a_url_bounds_a_call(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """It holds on a server that hangs, which cannot end a statement by itself."""
    url = await private_postgresql.database()
    async with DatabaseManager(f"{url}?timeout=1") as db:
        await db.initialize(Note)
        known = await db.repository(Note).add(Note(text="known"))
        private_postgresql.stop()
        try:
            with within(1), pytest.raises((DeadlineExceededError, UnavailableError)):
                await db.repository(Note).get(known.id)
        finally:
            private_postgresql.cont()


@pytest.mark.parametrize("name", ["postgresql", "mariadb", "mysql", "mongodb-rs"])
@pytest.mark.parametrize("step", ["write", "commit"])
async def test_a_unit_keeps_its_deadline_on_a_server_that_hangs(
    name: str, step: str, new_database: NewDatabase
) -> None:
    """The whole block ends in time, its rollback included; nothing of it is kept."""
    url = await new_database(name)
    server = BackendURL.parse(url)
    (host,) = server.hosts
    assert host.port is not None
    async with (
        proxy(host.name, host.port) as between,
        DatabaseManager(direct(between.url(url))) as db,
    ):
        await db.initialize(Note)

        async def add_two() -> None:
            async with db.transaction(deadline=1) as unit:
                await unit.repository(Note).add(Note(text="one"))
                between.blackhole()
                if step == "write":
                    await unit.repository(Note).add(Note(text="two"))

        with within(1), pytest.raises((DeadlineExceededError, UnavailableError)) as caught:
            await add_two()
        assert (caught.value.outcome is Outcome.UNKNOWN) == (step == "commit")
        await between.heal()
        between.break_all()
        if step == "commit":
            return  # it is whole or nothing, and nobody knows which
        kept: int | None = None
        while kept is None:
            with suppress(DeadlineExceededError, UnavailableError):
                kept = await db.repository(Note).count()
            await asyncio.sleep(0.1)
        assert kept == 0


async def test_a_unit_dies_with_its_server(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """It is never continued elsewhere: it fails at once, and nothing of it is kept."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path) as store:

        async def add_two() -> None:
            async with store.db.transaction() as unit:
                notes = unit.repository(Note)
                await notes.add(Note(text="one"))
                private_postgresql.kill()
                await store.happened(FailedOver)
                await notes.add(Note(text="two"))

        with within(2), pytest.raises((UnavailableError, OutcomeUnknownError)) as caught:
            await add_two()
        assert caught.value.backend == "primary"
        await private_postgresql.restart()
        await store.happened(FailedBack)
        assert [each.text async for each in store.notes.stream()] == ["known"]


@pytest.mark.parametrize("back", [True, False], ids=["after-an-outage", "in-an-outage"])
async def test_closing_leaves_nothing_behind(
    private_postgresql: PrivateServer, tmp_path: Path, *, back: bool
) -> None:
    """No task, no thread, no file and no session on the server."""
    url = await private_postgresql.database()
    before, threads = _open_files(), set(threading.enumerate())
    async with pair(url, tmp_path) as store, callers(store.read):
        private_postgresql.kill()
        await store.happened(FailedOver)
        if back:
            await private_postgresql.restart()
            await store.happened(FailedBack)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    for each in set(threading.enumerate()) - threads:
        if "worker" in each.name:  # it ends a moment after its connection
            await asyncio.to_thread(each.join, 60)
            assert not each.is_alive()
    assert _open_files() <= before
    if back:
        theirs = f"datname = '{BackendURL.parse(url).database}' AND usename = 'hs'"
        left = f"EXISTS (SELECT FROM pg_stat_activity WHERE {theirs})"
        await private_postgresql.ask(
            f"DO $$ BEGIN FOR i IN 1..100 LOOP EXIT WHEN NOT {left}; "
            "PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot(); END LOOP; "
            f"ASSERT NOT {left}, 'sessions are left'; END $$"
        )


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _adding(db: DatabaseManager) -> Callable[[], Coroutine[object, object, object]]:
    """Return a function that adds a note, another one each time."""
    numbers = count()
    return lambda: db.repository(Note).add(Note(text=f"added {next(numbers)}"))

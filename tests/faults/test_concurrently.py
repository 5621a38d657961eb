"""An index is built on PostgreSQL while others write; whatever cuts that short is gone on with."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import pytest
from tests.faults.breaking import Breaks, watched
from tests.faults.conftest import NewDatabase

from healthstore import DatabaseManager, Entity, MaxLength
from healthstore.abc import Backend, BackendURL
from healthstore.abc.registry import connect
from healthstore.adapters.sql.postgres import PostgresAdapter
from healthstore.build import build_guard
from healthstore.errors import DeadlineExceededError, HealthstoreError, Outcome, SchemaMismatchError
from healthstore.model.change import ChangeEffect
from healthstore.model.ops import Alter, CountDocuments, Drop, Ensure, Explain, Insert, Rename
from healthstore.model.query import F
from healthstore.model.schema import Check, Collection, Field, Index
from healthstore.model.values import Document, FieldType, Kind
from healthstore.schema.evolve import alter_patiently

ROWS = 100_000
_TEXT, _NUMBER = FieldType(Kind.TEXT, max_length=60), FieldType(Kind.INTEGER)
STORED = Collection(
    "things",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", _NUMBER),
        *(Field(name, FieldType(Kind.DATETIME)) for name in ("created_at", "updated_at")),
        Field("title", _TEXT),
        Field("rank", _NUMBER, nullable=True),
    ),
    entity="Thing",
)
*OWN, TITLE, RANK = STORED.fields
INDEX = Index("title", "-rank")
WANTED = replace(STORED, indexes=(INDEX,))
NAME = STORED.index_name(INDEX)
_FILLED = (
    "INSERT INTO things SELECT gen_random_uuid(), 1, now(), now(), md5(number::text), number % 9 "
    "FROM generate_series(1, $1::int) AS number"
)
_INDEXES = (
    "SELECT relname::text, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
    "WHERE NOT indisprimary AND relname LIKE '%\\_\\_%'"
)
_BUILDING = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database()"


class Server:
    """A store, and another client's connections to its database."""

    def __init__(self, store: PostgresAdapter, url: str) -> None:
        self.store, self.url = store, url
        self.guarded = build_guard(store)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Any]:
        """Lend a connection that healthstore does not know."""
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[None]:
        """Hold a snapshot, for which every build waits; it has nothing to do with the table."""
        async with self.client() as other, other.transaction(isolation="repeatable_read"):
            await other.fetch("SELECT 1")
            yield

    async def indexes(self) -> dict[str, bool]:
        """Return the indexes but those of ids, and whether each one is whole."""
        async with self.client() as other:
            return dict(await other.fetch(_INDEXES))

    async def ask(self, statement: str, *values: object) -> None:
        """Let the other client run something."""
        async with self.client() as other:
            await other.execute(statement, *values)

    async def builds(self) -> int:
        """Return how many indexes are being built."""
        async with self.client() as other:
            return int(await other.fetchval(_BUILDING))

    async def half_built(self) -> None:
        """Leave half an index, as a server that dies does."""
        async with self.snapshot():
            text = (await self.store.execute(Explain(Alter(STORED, WANTED)))).statements[0]
            async with self.client() as other:
                await other.execute("SET statement_timeout = 300")
                with pytest.raises(asyncpg.QueryCanceledError):
                    await other.execute(text)
        assert await self.indexes() == {NAME: False}

    async def altered(self) -> bool:
        """Alter the collection; return whether that was to be done."""
        return await self.guarded.execute(Alter(STORED, WANTED))


def _row(number: int) -> Document:
    times = dict.fromkeys(("created_at", "updated_at"), datetime(2024, 1, 1, tzinfo=UTC))
    return {"id": UUID(int=number), "version": 1, **times, "title": f"t{number}", "rank": None}


async def _until(true: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(20):
        while not await true():  # noqa: ASYNC110 - it is on the server
            await asyncio.sleep(0.02)


@pytest.fixture
async def server(new_database: NewDatabase) -> AsyncIterator[Server]:
    """Lend a store with a collection and documents."""
    url = await new_database("postgresql")
    store = connect(BackendURL.parse(url), "postgresql")
    assert isinstance(store, PostgresAdapter)
    await store.open()
    try:
        lent = Server(store, url)
        await lent.guarded.execute(Ensure((STORED,)))
        await lent.ask(_FILLED, 1000)
        yield lent
    finally:
        await store.close()


async def _written(store: Backend, number: int) -> None:
    """Add one document."""
    await store.execute(Insert(STORED, (_row(number),)))


async def test_nobody_who_writes_waits_for_a_build(server: Server) -> None:
    """Nor for what the build waits for; what is written meanwhile is in the index."""
    async with server.snapshot():
        building = asyncio.create_task(server.altered())
        await _until(server.builds)
        for number in range(20):
            await _written(server.store, number)
        assert not building.done()
    assert await building
    assert await server.indexes() == {NAME: True}
    async with server.client() as other:
        await other.execute("SET enable_seqscan = off")
        found = "SELECT count(*) FROM things WHERE title BETWEEN 't' AND 'u'"
        assert "Index" in str(await other.fetch(f"EXPLAIN {found}"))
        assert await other.fetchval(found) == 20


# --- it has to wait --------------------------------------------------------------------------


@pytest.mark.parametrize("waits_for", ["a snapshot", "its turn", "the table"])
async def test_a_build_that_waits_ends_by_its_deadline(server: Server, waits_for: str) -> None:
    """The store is as it was, and the same call completes it when nobody is in the way."""
    async with server.client() as other, server.client() as third:
        transaction = other.transaction(isolation="repeatable_read")
        if waits_for == "its turn":
            await third.execute("SELECT pg_advisory_lock(7521390172531)")
        else:
            await transaction.start()
            table = "things" if waits_for == "the table" else "pg_class"
            await other.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE")
            await other.execute("SELECT 1")
            if waits_for == "the table":
                await other.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DeadlineExceededError, match="not built in time") as error:
            await server.guarded.execute(Alter(STORED, WANTED, deadline=0.5))
        assert (error.value.backend, error.value.entity) == ("postgresql", "Thing")
        assert error.value.outcome is Outcome.NOT_APPLIED
        await _until(lambda: _none(server))
        assert await server.store.execute(Ensure((STORED,)))
        with pytest.raises(SchemaMismatchError):
            await server.store.execute(Ensure((WANTED,)))
        if waits_for == "the table":
            await transaction.rollback()
        assert await server.store.execute(CountDocuments(STORED)) == 1000
    assert await server.altered()
    assert await server.indexes() == {NAME: True}


async def _none(server: Server) -> bool:
    return not await server.indexes() and not await server.builds()


async def test_a_program_is_told_what_its_deadline_was_spent_on(server: Server) -> None:
    """The time of the whole call is as long as that of the build, and must not end before it."""

    class Thing(Entity, collection="things", indexes=[INDEX]):
        title: Annotated[str, MaxLength(60)]
        rank: int | None = None

    async with DatabaseManager(server.url) as db:
        async with server.snapshot():
            with pytest.raises(DeadlineExceededError, match="not built in time"):
                await db.schema.evolve(Thing, deadline=1)
        await db.schema.evolve(Thing)
    assert await server.indexes() == {NAME: True}


async def test_the_server_ends_a_build_that_nobody_waits_for(server: Server) -> None:
    """The task is cancelled: no half of an index stays, and no session."""
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    async with server.snapshot():
        building = asyncio.create_task(server.altered())
        await _until(server.builds)
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        await _until(lambda: _none(server))
        await server.store.ended()
        async with server.client() as other:
            # Of the pool, of the snapshot, and the one that asks.
            assert await other.fetchval(sessions) <= 3


async def test_a_build_that_the_server_ends_for_a_deadlock_is_tried_again(server: Server) -> None:
    """Somebody with a snapshot waits for the table: each waits for the other."""
    async with server.client() as other:
        await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await other.execute("SELECT 1")
        building = asyncio.create_task(server.altered())
        await _until(server.builds)
        # After a second the server ends the build, which has waited for longer.
        await other.execute("LOCK TABLE things IN SHARE MODE")
        assert await server.indexes() == {NAME: False}
        assert not building.done()
        await other.execute("COMMIT")
        assert await building
    assert await server.indexes() == {NAME: True}


# --- several at once -------------------------------------------------------------------------

_PROGRAM = """
import asyncio, sys
from typing import Annotated
from healthstore import DatabaseManager, Entity, Index, MaxLength

class Thing(Entity, collection="things", indexes=[Index("title", "-rank")]):
    title: Annotated[str, MaxLength(60)]
    rank: int | None = None

async def main():
    async with DatabaseManager(sys.argv[1]) as db:
        print("ready", flush=True)
        await db.schema.evolve(Thing)
        await db.initialize(Thing)

asyncio.run(main())
"""


async def _program(url: str) -> asyncio.subprocess.Process:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM, url), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    assert await program.stdout.readline() == b"ready\n"
    return program


async def test_programs_that_build_at_once_build_one_index(server: Server) -> None:
    """One builds, the others wait for it and find it: nobody drops what is being built."""
    made = "SELECT oid FROM pg_class WHERE relname = $1"
    async with server.snapshot(), server.client() as other:
        programs = [await _program(server.url) for _ in range(3)]
        await _until(server.builds)
        before = await other.fetchval(made, NAME)
        await asyncio.sleep(1)  # so long the others look at it
    assert [await each.wait() for each in programs] == [0, 0, 0]
    async with server.client() as other:
        assert await other.fetchval(made, NAME) == before
    assert await server.indexes() == {NAME: True}


# --- it is cut short -------------------------------------------------------------------------


@pytest.mark.parametrize("waiting", [True, False])
async def test_a_program_that_is_killed_while_it_builds_is_followed_by_one_that_completes_it(
    server: Server, *, waiting: bool
) -> None:
    """Half of the index is dropped and built again, also when the snapshot is still there."""
    if not waiting:
        await server.ask(_FILLED, ROWS)
    async with server.snapshot() if waiting else server.client():
        program = await _program(server.url)
        if waiting:
            await _until(server.builds)
        else:
            await asyncio.sleep(0.1)
        os.kill(program.pid, signal.SIGKILL)
        await program.wait()
        following = await _program(server.url)
    assert await following.wait() == 0
    assert await server.indexes() == {NAME: True}
    assert not await server.altered()


async def test_half_an_index_that_was_left_is_built_again(server: Server) -> None:
    """It is not taken for one that is there, and nobody waits for the other one either."""
    await server.half_built()
    async with server.snapshot():
        building = asyncio.create_task(server.altered())
        await _until(server.builds)
        await _written(server.store, 1)
        assert not building.done()
    assert await building
    assert await server.indexes() == {NAME: True}


async def test_what_is_broken_before_any_step_is_completed_by_asking_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the definition of before serves."""
    breaks = Breaks()
    watched(monkeypatch, server.store, breaks)
    await server.store.writers.drop_idle()
    step = 0
    while await _broken_at(server, breaks, step):
        step += 1
    assert step > 7, "a build has steps of its own"


async def _broken_at(server: Server, breaks: Breaks, step: int) -> bool:
    """Alter the collection, broken at a step, and back; return whether there was such a step."""
    breaks.left = step
    broken = False
    try:
        await server.altered()
    except HealthstoreError:
        broken = True
    breaks.left = None
    if broken:
        await server.store.ended()
        await _written(server.store, step)
        assert await server.altered()
    assert await server.indexes() == {NAME: True}
    assert await server.guarded.execute(Alter(WANTED, STORED))
    return broken


CHECKED = replace(WANTED, checks=(Check("low", F.rank < 5),))  # which rows break


async def _built_in_vain(server: Server) -> None:
    """Leave an index of a change that never comes."""
    with pytest.raises(HealthstoreError):
        await server.guarded.execute(Alter(STORED, CHECKED, ChangeEffect.NEEDS_DATA))
    assert await server.indexes() == {NAME: True}


@pytest.mark.parametrize("half", [True, False])
async def test_an_index_that_no_change_came_for_goes_with_the_next_one(
    server: Server, *, half: bool
) -> None:
    """Not what others have made. Until then it is in nobody's way."""
    await (server.half_built() if half else _built_in_vain(server))
    await server.ask("CREATE INDEX mine ON things (title)")
    await server.ask("CREATE INDEX things__mine ON things (rank)")
    await server.guarded.execute(Ensure((STORED,)))
    wider = replace(STORED, fields=(*STORED.fields, Field("more", _NUMBER, nullable=True)))
    assert await server.guarded.execute(Alter(STORED, wider))
    assert await server.indexes() == {"things__mine": True}
    async with server.client() as other:
        assert await other.fetchval("SELECT to_regclass('mine')")


async def test_an_index_that_no_change_came_for_keeps_no_name(server: Server) -> None:
    """Neither that of a column or table that is called something else, nor of one that is dropped."""
    await _built_in_vain(server)
    renamed = replace(
        STORED,
        fields=(*OWN, replace(TITLE, name="label"), RANK),
    )
    assert await server.guarded.execute(Rename(STORED, renamed))
    assert await server.indexes() == {}
    assert await server.guarded.execute(Rename(renamed, STORED))
    await _built_in_vain(server)
    moved = replace(STORED, name="others")
    assert await server.guarded.execute(Rename(STORED, moved))
    await server.guarded.execute(Ensure((WANTED,)))
    assert await server.indexes() == {NAME: True}
    assert await server.guarded.execute(Drop(WANTED))
    await server.guarded.execute(Ensure((STORED,)))
    await server.ask(_FILLED, 1000)
    await _built_in_vain(server)
    assert await server.guarded.execute(Drop(STORED))
    await server.guarded.execute(Ensure((WANTED,)))
    assert await server.indexes() == {NAME: True}


async def test_an_index_that_is_there_already_is_used(server: Server) -> None:
    """The same change is asked for again, or another one with the same index."""
    made = "SELECT oid FROM pg_class WHERE relname = $1"
    await _built_in_vain(server)
    async with server.client() as other:
        before = await other.fetchval(made, NAME)
        assert await server.altered()
        assert await other.fetchval(made, NAME) == before


async def test_an_index_built_in_vain_is_built_again_for_a_field_of_another_form(
    server: Server,
) -> None:
    """Where null comes first is a part of the index, and no part of its name."""
    await _built_in_vain(server)
    await server.ask("UPDATE things SET rank = 0 WHERE rank IS NULL")
    fields = (*OWN, TITLE, replace(RANK, nullable=False))
    await server.guarded.execute(
        Alter(STORED, replace(WANTED, fields=fields), ChangeEffect.NEEDS_DATA)
    )
    async with server.client() as other:
        text = await other.fetchval("SELECT indexdef FROM pg_indexes WHERE indexname = $1", NAME)
    assert "NULLS LAST" not in text
    assert "rank DESC" in text


# --- which ones, and how it is told ----------------------------------------------------------


async def test_what_needs_the_alteration_is_a_part_of_it(server: Server) -> None:
    """An index over a field that comes or changes; the others are told and built before."""
    wider = replace(TITLE, type=FieldType(Kind.TEXT, max_length=90))
    fields = (*OWN, wider, RANK, Field("more", _NUMBER, nullable=True))
    indexes = (Index("rank"), Index("title"), Index("more"))
    wanted = replace(STORED, fields=fields, indexes=indexes)
    told = await server.store.execute(Explain(Alter(STORED, wanted)))
    assert told.alone == 1
    assert ["CONCURRENTLY" in each for each in told.statements] == [
        True,
        *[False] * (len(told.statements) - 1),
    ]
    assert await server.guarded.execute(Alter(STORED, wanted))
    assert await server.indexes() == {STORED.index_name(each): True for each in indexes}


async def test_a_table_that_others_have_parted_gets_its_index_all_the_same(
    server: Server,
) -> None:
    """The server builds none of it CONCURRENTLY."""
    for statement in (
        "ALTER TABLE things RENAME TO whole",
        "CREATE TABLE things (LIKE whole INCLUDING ALL) PARTITION BY HASH (id)",
        "CREATE TABLE part PARTITION OF things FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    ):
        await server.ask(statement)
    assert await server.altered()
    assert (await server.indexes())[NAME]


async def test_behind_a_pooler_it_is_a_part_of_the_alteration(server: Server) -> None:
    """A pooler of transactions would give the turn to somebody else."""
    store = connect(BackendURL.parse(f"{server.url}?pgbouncer=true"), "postgresql")
    async with server.snapshot():
        await store.open()
        try:
            told = await store.execute(Explain(Alter(STORED, WANTED)))
            assert (told.alone, len(told.statements)) == (0, 1)
            assert await build_guard(store).execute(Alter(STORED, WANTED))
        finally:
            await store.close()
    assert await server.indexes() == {NAME: True}


async def test_what_is_another_definition_by_now_is_refused_before_anything_is_built(
    server: Server,
) -> None:
    """Of two that change it differently the second one leaves nothing."""
    other = replace(STORED, indexes=(Index("rank"),))
    assert await server.guarded.execute(Alter(STORED, other))
    with pytest.raises(SchemaMismatchError, match="another one by now") as error:
        await server.altered()
    assert (error.value.backend, error.value.entity) == ("postgresql", "Thing")
    assert await server.indexes() == {STORED.index_name(Index("rank")): True}


async def test_a_lock_that_others_hold_is_waited_for(server: Server) -> None:
    """Those who read and write meanwhile do not wait behind it."""
    async with server.client() as other:
        await other.execute("BEGIN")
        await other.execute("LOCK TABLE things IN SHARE UPDATE EXCLUSIVE MODE")
        waiting = asyncio.create_task(alter_patiently(server.guarded, Alter(STORED, WANTED)))
        await asyncio.sleep(0.5)
        await _written(server.store, 1)
        assert not waiting.done()
        await other.execute("COMMIT")
        await waiting
    assert await server.indexes() == {NAME: True}

"""A real server fails in the middle of a joint request: each caller gets the truth about its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.faults.conftest import NewDatabase
from tests.faults.ledger import Ledger
from tests.faults.notes import NOTES, has, lent, note, prepared
from tests.faults.proxy import Proxy, proxy
from tests.faults.servers import PrivateServer
from tests.faults.stores import callers, pair

from healthstore.abc import Backend, BackendURL
from healthstore.errors import (
    HealthstoreError,
    Outcome,
    OutcomeUnknownError,
    UnavailableError,
)
from healthstore.events import FailedBack, FailedOver
from healthstore.layers.coalesce import CoalesceLayer
from healthstore.model.ops import Get, Insert, Patch
from healthstore.model.values import Document

CALLERS = 64
SERVERS = ("postgresql", "mysql", "mariadb")
# What the request holds by which joint changes are committed, and no single one does: somewhere
# in it are the values of a caller who came late.
CHANGED_TOGETHER = b"changed 40"
# What may have become of a write whose reply is lost when its first bytes come: on MySQL and
# MariaDB those answer the statement, and the commit is still to come in the same trip.
ONCE_ANSWERED = [
    ("postgresql", [{True}]),
    ("mysql", [{True}, {False}]),
    ("mariadb", [{True}, {False}]),
]


@asynccontextmanager
async def behind(url: str) -> AsyncIterator[tuple[Backend, CoalesceLayer, Proxy]]:
    """Lend a store, and the layer over another way to it, which leads through a proxy."""
    server = BackendURL.parse(url).hosts[0]
    async with (
        prepared(url) as store,
        proxy(server.name, server.port or 0) as between,
        lent(between.url(url)) as proxied,
    ):
        yield store, CoalesceLayer(proxied), between


async def added(store: Backend, number: int) -> tuple[list[UUID], list[Any]]:
    """Add notes, each in a task of its own; return their ids and the answers and errors."""
    made = [note(f"note {place}") for place in range(number)]
    ops = [Insert(NOTES, (each,)) for each in made]
    answers = await asyncio.gather(*map(store.execute, ops), return_exceptions=True)
    return [each["id"] for each in made if isinstance(each["id"], UUID)], answers


async def unchanged(store: Backend) -> list[Document]:
    """Add notes together, and return them."""
    made = [note(f"note {place}") for place in range(CALLERS)]
    await store.execute(Insert(NOTES, tuple(made)))
    return made


async def changed(store: Backend, made: Sequence[Document]) -> tuple[list[UUID], list[Any]]:
    """Change notes, each in a task of its own; return their ids and the answers and errors."""
    ids = [each["id"] for each in made if isinstance(each["id"], UUID)]
    ops = [
        Patch(NOTES, (identity,), (("text", f"changed {place}"),), (("version", 1),))
        for place, identity in enumerate(ids)
    ]
    return ids, await asyncio.gather(*map(store.execute, ops), return_exceptions=True)


async def are_changed(store: Backend, ids: Sequence[UUID]) -> list[bool]:
    """Tell for each note whether it was changed, once and in all of its fields."""
    found = [each for each in await store.execute(Get(NOTES, tuple(ids))) if each is not None]
    told = [str(each["text"]).startswith("changed") for each in found]
    assert [each["version"] for each in found] == [2 if each else 1 for each in told]
    return told


def together(ids: Sequence[UUID], answers: Sequence[Any]) -> dict[UUID, HealthstoreError]:
    """Return the errors of those that failed, each of them another object."""
    failed = {
        identity: answer
        for identity, answer in zip(ids, answers, strict=True)
        if isinstance(answer, BaseException)
    }
    assert len({id(each) for each in failed.values()}) == len(failed)
    assert len(failed) > 10, "a joint request must have been struck"
    return failed


@pytest.mark.parametrize(("name", "whole"), ONCE_ANSWERED)
async def test_a_commit_whose_answer_is_lost_is_unknown_to_each(
    name: str, whole: Sequence[set[bool]], new_database: NewDatabase
) -> None:
    """The connection is reset behind the commit: all of it is there or none, and nobody was told."""
    async with behind(await new_database(name)) as (store, joint, between):
        between.reset_on_reply(b"COMMIT")
        ids, answers = await added(joint, CALLERS)
        await between.struck()
        failed = together(ids, answers)
        for error in failed.values():
            assert isinstance(error, OutcomeUnknownError)
            assert error.outcome is Outcome.UNKNOWN
        stored = await store.execute(Get(NOTES, tuple(failed)))
        assert {each is not None for each in stored} in whole
        others = await store.execute(Get(NOTES, tuple(each for each in ids if each not in failed)))
        assert None not in others


@pytest.mark.parametrize("name", SERVERS)
async def test_a_commit_that_never_arrives_is_unknown_to_each(
    name: str, new_database: NewDatabase
) -> None:
    """The connection is reset before the commit: nothing of it is there, which nobody can know."""
    async with behind(await new_database(name)) as (store, joint, between):
        between.reset_on_request(b"COMMIT")
        ids, answers = await added(joint, CALLERS)
        await between.struck()
        failed = together(ids, answers)
        for identity, answer in zip(ids, answers, strict=True):
            assert await has(store, identity) is (answer == 1)
        assert all(type(each) is OutcomeUnknownError for each in failed.values())


async def test_what_is_lost_before_the_commit_is_not_applied(new_database: NewDatabase) -> None:
    """The connection is reset when the transaction begins: each caller may repeat its write."""
    async with behind(await new_database("postgresql")) as (store, joint, between):
        between.reset_on_request(b"BEGIN")
        ids, answers = await added(joint, CALLERS)
        await between.struck()
        for identity, error in together(ids, answers).items():
            assert isinstance(error, UnavailableError)
            assert error.outcome is Outcome.NOT_APPLIED
            assert not await has(store, identity)


@pytest.mark.parametrize(("name", "whole"), ONCE_ANSWERED)
async def test_changes_whose_answer_is_lost_are_unknown_to_each(
    name: str, whole: Sequence[set[bool]], new_database: NewDatabase
) -> None:
    """The connection is reset behind the commit: all is changed or nothing, and nobody was told."""
    async with behind(await new_database(name)) as (store, joint, between):
        made = await unchanged(store)
        between.reset_on_reply(CHANGED_TOGETHER)
        ids, answers = await changed(joint, made)
        await between.struck()
        failed = together(ids, answers)
        for error in failed.values():
            assert isinstance(error, OutcomeUnknownError)
            assert error.outcome is Outcome.UNKNOWN
        assert set(await are_changed(store, tuple(failed))) in whole
        assert all(await are_changed(store, [each for each in ids if each not in failed]))


@pytest.mark.parametrize("name", SERVERS)
async def test_changes_that_never_arrive_are_unknown_to_each(
    name: str, new_database: NewDatabase
) -> None:
    """The connection is reset before the commit: nothing is changed, which nobody can know."""
    async with behind(await new_database(name)) as (store, joint, between):
        made = await unchanged(store)
        between.reset_on_request(CHANGED_TOGETHER)
        ids, answers = await changed(joint, made)
        await between.struck()
        failed = together(ids, answers)
        assert await are_changed(store, ids) == [identity not in failed for identity in ids]
        assert all(type(each) is OutcomeUnknownError for each in failed.values())


@pytest.mark.parametrize("name", ["mysql", "mariadb"])
async def test_changes_that_are_lost_before_the_commit_are_not_applied(
    name: str, new_database: NewDatabase
) -> None:
    """The connection is reset when documents are locked: each caller may repeat its write."""
    async with behind(await new_database(name)) as (store, joint, between):
        made = await unchanged(store)
        between.reset_on_request(b"SKIP LOCKED")
        ids, answers = await changed(joint, made)
        await between.struck()
        failed = together(ids, answers)
        assert await are_changed(store, ids) == [identity not in failed for identity in ids]
        for error in failed.values():
            assert isinstance(error, UnavailableError)
            assert error.outcome is Outcome.NOT_APPLIED


async def test_joint_writes_survive_a_kill(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """64 callers add while the server is killed: what was acknowledged is there, once."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path) as store:
        ledger = Ledger(store)
        async with callers(ledger.add, CALLERS):
            await ledger.more(1_000)
            private_postgresql.kill()
            await store.happened(FailedOver)
            await private_postgresql.restart()
            await store.happened(FailedBack)
            await ledger.more(500)
        assert ledger.refused, "writes must have been refused while the server was away"
        await ledger.require_kept()


async def test_joint_changes_survive_a_kill(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """64 callers change notes while the server is killed: each change was made once, if told so."""
    url = await private_postgresql.database()
    async with asyncio.timeout(50), pair(url, tmp_path) as store:
        ledger = Ledger(store)
        await ledger.prepare(CALLERS)
        async with callers(ledger.change, CALLERS):
            await ledger.more(1_000)
            private_postgresql.kill()
            await store.happened(FailedOver)
            await private_postgresql.restart()
            await store.happened(FailedBack)
            await ledger.more(500)
        await ledger.require_changed()


async def test_joint_writes_survive_lost_replies(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """64 callers add while connections are reset around the commit: no double, and no loss."""
    url = await private_postgresql.database()
    async with (
        proxy("127.0.0.1", private_postgresql.port) as between,
        pair(between.url(url), tmp_path) as store,
    ):
        ledger = Ledger(store)
        async with callers(ledger.add, CALLERS):
            for strike in (between.reset_on_reply, between.reset_on_request) * 3:
                await ledger.more(100)
                strike(b"COMMIT")
                await between.struck()
            await ledger.more(100)
        assert len(ledger.unknown) > 10, "joint requests must have been struck"
        await ledger.require_kept()

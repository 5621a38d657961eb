"""Leases: a program that uses a store is known there, and goes by what the catalog says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import SecretStr

from healthstore import DatabaseManager, Entity, MaxLength
from healthstore.abc import Backend
from healthstore.config import MemberSettings, Settings
from healthstore.errors import ConfigurationError, SchemaMismatchError
from healthstore.layers.catalog import layer as catalog_layer
from healthstore.layers.catalog import leasing
from healthstore.model.catalog import CATALOG, catalog_id, to_closing
from healthstore.model.lease import Lease, leases_of
from healthstore.model.ledger import Book
from healthstore.model.ops import Find, Get, Insert, Replace
from healthstore.routing.policy import FailoverPolicy, Probe

NEVER = FailoverPolicy(probe=Probe(interval=3_600.0))
OFTEN = FailoverPolicy(probe=Probe(interval=0.02))


class Note(Entity, collection="notes"):
    text: Annotated[str, MaxLength(40)]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(5):
        while not await holds():  # noqa: ASYNC110 - what is looked for has no event of its own
            await asyncio.sleep(0.01)


async def leases(store: Backend) -> list[Lease]:
    """Return the leases on a store."""
    return [each for each, _ in leases_of(await store.execute(Find(CATALOG, limit=1_000)))]


async def test_a_program_has_a_lease_until_it_closes(tmp_path: Path) -> None:
    """It is taken with the first use, and given back; of two programs each has its own."""
    url = f"sqlite:///{tmp_path}/store.db"
    async with DatabaseManager(url) as first:
        await first.initialize(Note)
        store = await first.member(first.active)
        await until(lambda: _count(store, 1))
        async with DatabaseManager(url) as second:
            await second.repository(Note).add(Note(text="x"))
            await until(lambda: _count(store, 2))
            assert len({each.token for each in await leases(store)}) == 2
        assert len(await leases(store)) == 1
    async with DatabaseManager(url) as again:
        store = await again.member(again.active)
        await until(lambda: _count(store, 1))


async def _count(store: Backend, count: int) -> bool:
    return len(await leases(store)) == count


async def test_a_reader_has_no_lease(tmp_path: Path) -> None:
    """A member that is read only is written to by nothing, also not by this."""
    url = f"sqlite:///{tmp_path}/store.db"
    async with DatabaseManager(url) as db:
        await db.initialize(Note)
    member = MemberSettings(name="main", url=SecretStr(url), read_only=True)
    async with DatabaseManager.from_settings(Settings(members=(member,), policy=OFTEN)) as db:
        assert await db.repository(Note).count() == 0
        await asyncio.sleep(0.1)
        assert await leases(await db.member("main")) == []


async def test_a_lease_says_what_has_been_seen(tmp_path: Path) -> None:
    """Another epoch of the ledger is in it with the next check."""
    async with DatabaseManager(f"sqlite:///{tmp_path}/store.db", policy=OFTEN) as db:
        await db.initialize(Note)
        store = await db.member(db.active)
        await until(lambda: _count(store, 1))
        await store.execute(Insert(CATALOG, (Book(epoch="e1").as_row(1),)))

        async def seen() -> bool:
            return [each.epoch for each in await leases(store)] == ["e1"]

        await until(seen)


async def test_who_has_not_looked_for_a_lease_looks_before_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused program wakes to a collection that serves it no more."""
    for module in (catalog_layer, leasing):
        monkeypatch.setattr(module, "LEASE_SECONDS", 0.5)
    url = f"sqlite:///{tmp_path}/store.db"
    async with DatabaseManager(url, policy=NEVER) as paused, DatabaseManager(url) as other:
        await paused.initialize(Note)
        notes = paused.repository(Note)
        store = await other.member(other.active)
        await until(lambda: _count(store, 1))
        (row,) = await store.execute(Get(CATALOG, (catalog_id("notes"),)))
        assert row is not None
        await store.execute(Replace(CATALOG, (to_closing(row, None),)))
        await notes.add(Note(text="not seen yet"))
        await asyncio.sleep(0.6)
        with pytest.raises(SchemaMismatchError, match="serves this definition no more"):
            await notes.add(Note(text="x"))


@pytest.mark.parametrize("said", [{}, {"token": 1}, []])
def test_a_lease_of_another_release_is_told(said: object) -> None:
    """It is no row that is read in another way."""
    row: dict[str, Any] = {
        **Lease("t", "h", 1, "", "2026-01-01T00:00:00+00:00").as_row(1),
        "definition": said,
    }
    with pytest.raises(ConfigurationError, match="malformed"):
        leases_of([row])

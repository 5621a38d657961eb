"""Migration files on real servers: up, down, and after the program was killed at any moment."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import UUID

import pytest
from tests.faults.conftest import NewDatabase
from tests.unit.schema import narrowed
from tests.unit.schema.releases import FILES, write

from healthstore import DatabaseManager
from healthstore.errors import BackendError, SchemaChangeError
from healthstore.model.ops import Delete, Find, Insert
from healthstore.testing.faults import Faults
from healthstore.transfer.selection import catalog

STORES = ("sqlite", "postgresql", "mysql", "mariadb", "mongodb", "mongodb-rs")
IDS = tuple(FILES)
ROWS = 2_200  # more than two pages of a Transform
_KILLS = int(os.environ.get("HEALTHSTORE_KILLS", "1"))  # of each store
# One of each way to change a definition; HEALTHSTORE_KILLED=all takes the others, too.
_KILLED = STORES if os.environ.get("HEALTHSTORE_KILLED") == "all" else STORES[:3] + STORES[-1:]


def files(folder: Path, store: str) -> Path:
    """Write the migrations; without references for a store that has none."""
    return write(folder, references=store != "mongodb")


async def rows(db: DatabaseManager) -> list[dict[str, Any]]:
    """Return the patients, without their versions."""
    store = await db.member(db.active)
    definition = (await catalog(store))["patients"]
    found = await store.execute(Find(definition, limit=10_000))
    return [{**each, "version": 0} for each in found]


async def add(db: DatabaseManager) -> None:
    """Add patients of the first release."""
    store = await db.member(db.active)
    definition = (await catalog(store))["patients"]
    patients = tuple(
        {"id": UUID(int=at), "version": 1, "name": f"Ann{at} Lee{at}", "code": None, "visits": at}
        for at in range(1, ROWS + 1)
    )
    await store.execute(Insert(definition, patients, atomic=False))


async def url_of(store: str, new_database: NewDatabase, folder: Path) -> str:
    """Return the URL of a new database."""
    return f"sqlite:///{folder}/store.db" if store == "sqlite" else await new_database(store)


@pytest.mark.parametrize("store", STORES)
async def test_a_store_goes_up_and_down_by_the_files(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Rows are those of each release; taken back, they are what they were."""
    folder = files(tmp_path, store)
    async with DatabaseManager(await url_of(store, new_database, tmp_path)) as db:
        await db.schema.upgrade(1, folder)
        await add(db)
        before = await rows(db)
        assert await db.schema.upgrade(directory=folder, allow_loss=True) == IDS[1:]
        for at, each in enumerate(await rows(db), 1):
            assert (each["first_name"], each["last_name"]) == (f"Ann{at}", f"Lee{at}")
            assert (each["ward"], each["phone"], each["number"]) == ("east", None, f"PAnn{at}")
        down = await db.schema.downgrade(1, folder, allow_loss=True)
        assert down == tuple(reversed(IDS[1:]))
        assert [{**each, "code": None} for each in await rows(db)] == before
        assert await db.schema.downgrade("zero", folder, allow_loss=True) == IDS[:1]
        assert not await catalog(await db.member(db.active))


@pytest.mark.parametrize("store", STORES)
async def test_what_does_not_fit_is_replaced_also_when_that_is_cut_short(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """With the word only; broken in the middle, it ends with the same rows as undisturbed."""
    folder, faults = narrowed.write(tmp_path), Faults()
    url = await url_of(store, new_database, tmp_path)
    async with DatabaseManager(url, layers=[faults.layer]) as db:
        await db.schema.upgrade(1, folder)
        member = await db.member(db.active)
        await narrowed.add(member, narrowed.people(ROWS))
        wanted = narrowed.expected(ROWS)
        long = sum(not each["name"] for each in wanted)
        with pytest.raises(SchemaChangeError, match=f"another value to {long} documents"):
            await db.schema.upgrade(directory=folder)
        # In a page and the change of the first migration, then in each part of the second one.
        first, second = (("replace", 1), ("alter", 0)), (("alter", 1), ("replace", 0), ("alter", 0))
        for kind, after in (*first, *second):
            broken = BackendError("broken by the test")
            faults.fail(kind, collection="people", after=after, times=1, error=broken)
            with pytest.raises(BackendError, match="broken by the test"):
                await db.schema.upgrade(directory=folder, allow_loss=True)
            faults.clear()
        assert await db.schema.upgrade(directory=folder, allow_loss=True)
        assert await db.schema.current() == narrowed.IDS[-1]
        assert await narrowed.rows(member) == wanted
        late = sum(each["note"] is None for each in wanted)
        with pytest.raises(SchemaChangeError, match=f"the field note: text: {late} documents"):
            await db.schema.downgrade(directory=folder, allow_loss=True)
        definition = (await catalog(member))["people"]
        gone = [each["id"] for each in wanted if each["note"] is None]
        for each in gone:
            await member.execute(Delete(definition, (each,)))
        assert await db.schema.downgrade(1, folder) == narrowed.IDS[:0:-1]
        left = [each for each in wanted if each["note"] is not None]
        assert await narrowed.rows(member) == left


_PROGRAM = """
import asyncio, sys
from healthstore import DatabaseManager

url, folder, target = sys.argv[1:]

async def main():
    async with DatabaseManager(url) as db:
        print("ready", flush=True)
        await db.schema.upgrade(target, folder, allow_loss=True)

asyncio.run(main())
"""


async def _program(url: str, folder: Path, target: str) -> asyncio.subprocess.Process:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM, url, str(folder), target), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    assert await program.stdout.readline() == b"ready\n"
    return program


@pytest.mark.slow
@pytest.mark.parametrize("store", _KILLED)
async def test_a_program_that_is_killed_is_followed_by_one_that_goes_on(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Up and down: whenever it is killed, the rows end as those of one that was not."""
    folder = files(tmp_path, store)
    drawn = random.Random(store)  # noqa: S311 - where it is killed
    url = await url_of(store, new_database, tmp_path)
    async with DatabaseManager(url) as db:
        await db.schema.upgrade(1, folder)
        await add(db)
        before = await rows(db)
        started = perf_counter()
        await db.schema.upgrade(directory=folder, allow_loss=True)
        seconds, wanted = perf_counter() - started, await rows(db)
        for kill in range(2 * _KILLS):
            target = "head" if kill % 2 else "1"
            program = await _program(url, folder, target)
            await asyncio.sleep(drawn.uniform(0, seconds))
            if program.returncode is None:
                os.kill(program.pid, signal.SIGKILL)
            await program.wait()
            await db.schema.upgrade(target, folder, allow_loss=True, wait=60)
            found = await rows(db)
            if kill % 2:
                assert found == wanted
            else:
                assert [{**each, "code": None} for each in found] == before


@pytest.mark.slow
@pytest.mark.parametrize("store", _KILLED)
async def test_a_program_that_is_killed_while_it_replaces_is_followed_by_one_that_goes_on(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Each document that did not fit has its value once, and one version more."""
    folder = narrowed.write(tmp_path)
    drawn = random.Random(store)  # noqa: S311 - where it is killed
    url = await url_of(store, new_database, tmp_path)
    async with DatabaseManager(url) as db:
        for _ in range(_KILLS):
            await db.schema.upgrade(1, folder)
            member = await db.member(db.active)
            await narrowed.add(member, narrowed.people(ROWS))
            program = await _program(url, folder, "head")
            await asyncio.sleep(drawn.uniform(0, 1))
            if program.returncode is None:
                os.kill(program.pid, signal.SIGKILL)
            await program.wait()
            await db.schema.upgrade("head", folder, allow_loss=True, wait=60)
            assert await narrowed.rows(member) == narrowed.expected(ROWS)
            await db.schema.reset(db.active, folder)
            await db.schema.downgrade("zero", folder)

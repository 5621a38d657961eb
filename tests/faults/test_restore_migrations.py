"""Backups of each release restored on real servers at the head, and after the program was killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path
from time import perf_counter

import pytest
from tests.faults.conftest import NewDatabase
from tests.faults.test_upgrade import IDS, add, files, url_of

from healthstore import DatabaseManager
from healthstore.transfer.filling import mark_of
from healthstore.transfer.selection import catalog

# Whence and whither: each is restored from another one's backup.
ROUTES = {
    "sqlite": "mongodb-rs",
    "postgresql": "sqlite",
    "mysql": "postgresql",
    "mariadb": "mysql",
    "mongodb-rs": "mariadb",
}
_KILLS = int(os.environ.get("HEALTHSTORE_KILLS", "1"))  # of each store


@pytest.mark.parametrize(("source", "target"), ROUTES.items())
async def test_a_backup_of_each_release_is_restored_as_the_upgraded_original(
    source: str, target: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Document by document, versions included, whatever made it and whatever it is restored into."""
    folder = files(tmp_path, source)
    urls = {"source": await url_of(source, new_database, tmp_path)}
    for place in range(1, len(IDS) + 1):
        (tmp_path / str(place)).mkdir()
        urls[f"of-{place}"] = await url_of(target, new_database, tmp_path / str(place))
    async with DatabaseManager(members=urls) as db:
        for place in range(1, len(IDS) + 1):
            await db.schema.upgrade(place, folder, allow_loss=True)
            if place == 1:
                await add(db)
            await db.backup(tmp_path / f"{place}.json")
        for place in range(1, len(IDS) + 1):
            into, path = f"of-{place}", tmp_path / f"{place}.json"
            report = await db.restore(path, into=into, migrations=folder, allow_loss=True)
            assert report.migrated == IDS[place:]
            assert await db.schema.current(member=into) == IDS[-1]
            (await db.verify("source", into)).require()


_PROGRAM = """
import asyncio, sys
from healthstore import DatabaseManager

url, path, folder = sys.argv[1:]

async def main():
    async with DatabaseManager(url) as db:
        print("ready", flush=True)
        await db.restore(path, migrations=folder, allow_loss=True)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("target", ROUTES.values())
async def test_a_restore_that_is_killed_is_completed(
    target: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Half a copy says that it is one, and is restored again; what is whole is upgraded."""
    folder, path = files(tmp_path, target), tmp_path / "backup.json"
    drawn = random.Random(target)  # noqa: S311 - when it is killed
    async with DatabaseManager(f"sqlite:///{tmp_path}/source.db") as db:
        await db.schema.upgrade(1, folder)
        await add(db)
        await db.backup(path)
        await db.schema.upgrade(directory=folder, allow_loss=True)
    seconds = 0.0
    for kill in range(_KILLS + 1):
        (tmp_path / str(kill)).mkdir()
        url = await url_of(target, new_database, tmp_path / str(kill))
        members = {"source": f"sqlite:///{tmp_path}/source.db", "target": url}
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _PROGRAM, url, str(path), str(folder)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert program.stdout is not None
        assert await program.stdout.readline() == b"ready\n"
        started = perf_counter()
        if seconds:
            await asyncio.sleep(drawn.uniform(0, seconds))
            if program.returncode is None:
                os.kill(program.pid, signal.SIGKILL)
        await program.wait()
        seconds = seconds or perf_counter() - started  # the first one is not killed
        async with DatabaseManager(members=members) as db:
            store = await db.member("target")
            if await mark_of(store):
                await db.clear("target")
            if not await catalog(store) or not await _is_filled(db):
                await db.restore(path, into="target", migrations=folder, allow_loss=True)
            else:
                await db.schema.upgrade(directory=folder, member="target", allow_loss=True)
            (await db.verify("source", "target")).require()


async def _is_filled(db: DatabaseManager) -> bool:
    return await db.schema.current(member="target") is not None

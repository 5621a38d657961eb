"""A transfer that is killed half-way: every other process can tell, and nobody is served."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import pytest

from healthstore import DatabaseManager, Entity, MaxLength
from healthstore.errors import IncompleteStoreError, UnavailableError, VerificationError
from healthstore.routing.machine import State
from healthstore.routing.policy import FailoverPolicy, Probe
from healthstore.routing.report import Mode
from healthstore.testing.plugin import EmptyBackend
from healthstore.testing.provision import PROVISIONS, clear, disposable, server_url, text_of

pytestmark = pytest.mark.slow  # tests/layers/test_catalog.py keeps the promise within a process

ROWS = 3_000
NAMES = ("sqlite", "postgresql", "mysql", "mariadb", "mongodb", "mongodb-rs")
POLICY = FailoverPolicy(
    probe=Probe(interval=0.1, fast_interval=0.05, canary_every=0, figures_every=0, jitter=0),
)


class Walk(Entity, collection="walks"):
    place: Annotated[str, MaxLength(40)]
    steps: int


# Says that it is half-way, and stays there until it is killed.
CHILD = """
import asyncio, sys, time
from healthstore import DatabaseManager
from healthstore.entity import collection_of, to_document
from healthstore.transfer import PageMoved, Stage, load
from tests.transfer.test_killed import Walk

def halfway(event):
    if isinstance(event, PageMoved) and event.stage is Stage.COPY and event.done >= 100:
        print("half-way", flush=True)
        time.sleep(600)

async def main(operation, source, target):
    async with DatabaseManager(members={"source": source, "target": target}) as db:
        if operation == "migrate":
            await db.migrate("source", "target", on_event=halfway)
        elif operation.endswith(".jsonl"):
            store = await db.member("target")
            convert = lambda row: to_document(Walk(**row))
            await load(operation, collection_of(Walk), store, convert, on_event=halfway)
        else:
            await db.restore(operation, into="target", on_event=halfway)

asyncio.run(main(*sys.argv[1:]))
"""


async def killed(operation: str, source: str, target: str) -> None:
    """Run a transfer in a process of its own, and kill that when it is half-way."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHILD, operation, source, target),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    try:
        assert await child.stdout.readline() == b"half-way\n"
    finally:
        child.send_signal(signal.SIGKILL)
        await child.wait()


async def output_of(*arguments: str) -> str:
    """Return what a process writes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out.decode()


@pytest.fixture(params=NAMES)
async def target(
    request: pytest.FixtureRequest, healthstore_empty: EmptyBackend
) -> AsyncIterator[str]:
    """Return the URL of an empty database of each kind."""
    name: str = request.param
    async with healthstore_empty(name):  # skips, or fails, where there is no server
        url = server_url(name, os.environ)
    assert url is not None
    async with disposable(url, PROVISIONS[url.scheme]) as made:
        yield text_of(made)


@pytest.fixture
async def source(tmp_path: Path) -> str:
    """Return the URL of a store with rows."""
    url = f"sqlite:///{tmp_path}/source.db"
    async with DatabaseManager(url) as db:
        await db.initialize(Walk)
        walks = db.repository(Walk)
        await walks.add_many([Walk(place=f"place {n}", steps=n) for n in range(ROWS)])
        await db.backup(tmp_path / "backup.json")
    return url


@asynccontextmanager
async def managed(source: str, target: str) -> AsyncIterator[DatabaseManager]:
    """Lend a manager whose standby is the target, opened and checked."""
    members = {"source": source, "target": target}
    async with DatabaseManager(members=members, policy=POLICY) as db:
        await until(db, "target", State.INCOMPLETE)
        yield db


async def until(db: DatabaseManager, name: str, state: State) -> None:
    """Wait until a member is in a state."""
    while (await db.health()).member(name).state is not state:  # noqa: ASYNC110 - a value
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("operation", ["migrate", "restore"])
async def test_half_a_copy_is_told_by_every_process(
    operation: str, source: str, target: str, tmp_path: Path
) -> None:
    """Nothing serves it or takes it for a copy; emptied and filled again it is whole."""
    what = operation if operation == "migrate" else str(tmp_path / "backup.json")
    await killed(what, source, target)

    async with DatabaseManager(target, policy=POLICY) as db:
        walks = db.repository(Walk)
        half = await db.health()
        assert (half.mode, half.members[0].state) == (Mode.DOWN, State.INCOMPLETE)
        assert f"the {operation} from" in str(half.members[0].last_error)
        for asked in (
            lambda: db.initialize(Walk),
            walks.count,
            lambda: walks.add(Walk(place="here", steps=1)),
            lambda: db.backup(tmp_path / "half.json"),
        ):
            with pytest.raises(IncompleteStoreError) as refused:
                await asked()
            assert f"the {operation} from" in str(refused.value)
            assert refused.value.hint
        assert not (tmp_path / "half.json").exists()
    said = await output_of("-m", "healthstore", "doctor", target)
    assert f"the {operation} from" in said

    async with managed(source, target) as db:
        report = await db.verify("source", "target")
        assert not report.equal
        assert operation in report.unfinished[0]
        assert report.collections[0].right_rows in range(1, ROWS)
        with pytest.raises(VerificationError, match="not whole"):
            report.require()
        with pytest.raises(UnavailableError, match="not fit"):
            await db.switch("target")
        with pytest.raises(IncompleteStoreError) as refused:
            await db.migrate("source", "target")
        assert refused.value.hint
        await clear(await db.member("target"))
        await until(db, "target", State.UP)
        assert (await db.migrate("source", "target")).rows == ROWS
        assert (await db.verify("source", "target")).equal
        await db.switch("target")
        assert await db.repository(Walk).count() == ROWS


async def test_a_load_that_was_killed_leaves_all_or_tells(
    source: str, target: str, tmp_path: Path
) -> None:
    """In one unit nothing of it stays; without transactions the store says what happened."""
    file = tmp_path / "walks.jsonl"
    file.write_text("".join(f'{{"place": "p{n}", "steps": {n}}}\n' for n in range(6_000)))
    await killed(str(file), source, target)
    async with DatabaseManager(target, policy=POLICY) as db:
        walks, store = db.repository(Walk), await db.member(db.active)
        if store.capabilities.transactions:
            assert await walks.count() == 0
            return
        with pytest.raises(IncompleteStoreError, match=r"the load from walks\.jsonl") as refused:
            await walks.count()
        assert "load again" in refused.value.hint
        await clear(store)
        await until(db, db.active, State.UP)
        assert await walks.count() == 0

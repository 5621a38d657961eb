"""``bench``: figures of a member, in a collection that is gone afterwards, whatever happened."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from tests.cli.commands import Ended, Run

from healthstore.abc import BackendURL
from healthstore.abc.bench import Bench, Benched
from healthstore.abc.registry import connect
from healthstore.adapters.memory import MemoryAdapter
from healthstore.adapters.sql.bench import SqlBench
from healthstore.cli.bench.measure import Figures, Measurement
from healthstore.cli.bench.scratch import ScratchLayer, make_readings, new_entity
from healthstore.cli.exits import Exit
from healthstore.entity import collection_of, to_document
from healthstore.errors import InvalidRequestError, UnavailableError
from healthstore.model.ops import Effect, Get, Insert, Op
from healthstore.testing import provision
from healthstore.testing.provision import PROVISIONS, text_of

SECRET = "canary-5ecret"
STORE = "sqlite:///store.db"
QUICK = ("--seconds", "0.001", "--tasks", "2")
POSTGRESQL = os.environ.get("HEALTHSTORE_TEST_POSTGRESQL_URL", "")
OPERATIONS = ("get", "find 50", "update", "insert", "delete")


def tables(folder: Path) -> list[str]:
    """Return the names of all tables of the SQLite file."""
    connection = sqlite3.connect(folder / "store.db")
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    connection.close()
    return sorted(name for (name,) in rows)


def contents(folder: Path) -> list[str]:
    """Return the SQLite file as text, its catalog too."""
    connection = sqlite3.connect(folder / "store.db")
    lines = list(connection.iterdump())
    connection.close()
    return lines


@pytest.fixture
def stored(run: Run, folder: Path) -> Run:
    """Return the function that runs commands, with a SQLite file that holds a document."""
    (folder / "p.jsonl").write_text(f'{{"email": "{SECRET}@example.org"}}\n', "utf-8")
    assert run("load", "p.jsonl", "--entity", "clinic:Patient", "--url", STORE).code == Exit.OK
    return run


def test_a_file_is_measured_and_left_as_it_was(stored: Run, folder: Path) -> None:
    """Each operation has its figures, by one task against the driver too; the file is the same."""
    before = contents(folder)
    ended = stored("bench", STORE, *QUICK, "--json")
    assert ended.code == Exit.OK, ended.err
    assert (ended.data["command"], ended.data["tasks"]) == ("bench", 2)
    (member,) = ended.data["members"]
    assert (member["name"], member["url"]) == ("sqlite", STORE)
    found = {(each["operation"], each["tasks"]): each for each in member["operations"]}
    assert set(found) == {(name, tasks) for name in OPERATIONS for tasks in (1, 2)}
    for (_, tasks), each in found.items():
        assert each["calls"] > 0
        assert each["per_second"] > 0
        assert 0 < each["p50_ms"] <= each["p99_ms"]
        assert (each["driver_per_second"] is None) is (tasks > 1)
        assert (each["overhead_us"] is None) is (tasks > 1)
    assert contents(folder) == before
    assert f"sqlite: in a collection of its own, {member['collection']}" in ended.err
    assert SECRET not in ended.out + ended.err


def test_people_get_a_table(stored: Run) -> None:
    """Without ``--json`` there is a row for each operation, and what the overhead means."""
    ended = stored("bench", "--url", STORE, "--seconds", "0.001", "--tasks", "1")
    assert ended.code == Exit.OK, ended.err
    for part in (*OPERATIONS, "p99 ms", "overhead: CPU of this process"):
        assert part in ended.out


def test_a_member_is_chosen_by_name(stored: Run, folder: Path) -> None:
    """The first member is measured, or those that ``--member`` names."""
    (folder / "own.toml").write_text(
        f'[[members]]\nname = "down"\nurl = "postgresql://127.0.0.1:1/d"\n'
        f'password = "{SECRET}"\n'
        f'[[members]]\nname = "main"\nurl = "{STORE}"\n',
        "utf-8",
    )
    ended = stored("bench", "--config", "own.toml", "--member", "main", *QUICK, "--json")
    assert [each["name"] for each in ended.data["members"]] == ["main"]
    assert stored("bench", "--config", "own.toml", *QUICK).code == Exit.UNAVAILABLE
    unknown = stored("bench", "--config", "own.toml", "--member", "maim")
    assert unknown.code == Exit.CONFIGURATION
    assert "did you mean 'main'" in unknown.err
    assert SECRET not in ended.out + ended.err + unknown.err


def test_an_unreachable_server_ends_with_5(run: Run) -> None:
    """A closed port is told as by every command, without the password."""
    ended = run("bench", f"postgresql://me:{SECRET}@127.0.0.1:1/data", "--json")
    assert ended.code == Exit.UNAVAILABLE
    assert not ended.data["ok"]
    assert SECRET not in ended.out + ended.err


def test_a_file_that_is_not_there_is_not_made(run: Run, folder: Path) -> None:
    """A SQLite file that is missing is wrong use, and stays missing."""
    ended = run("bench", "sqlite:///absent.db")
    assert ended.code == Exit.USAGE
    assert not (folder / "absent.db").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--seconds", "0"), "--seconds"),
        (("--seconds", "nan"), "--seconds"),
        (("--tasks", "0"), "--tasks"),
        (("--tasks", "1001"), "--tasks"),
    ],
)
def test_options_that_cannot_be_meant_are_wrong_use(
    run: Run, options: tuple[str, ...], named: str
) -> None:
    """No time to measure, or no number of tasks: exit 2, naming the option."""
    ended = run("bench", "memory://", *options)
    assert ended.code == Exit.USAGE
    assert named in ended.err


def test_a_store_without_a_driver_is_refused(run: Run) -> None:
    """Memory has nothing to be measured against."""
    ended = run("bench", "memory://")
    assert ended.code == Exit.REFUSED
    assert "no driver" in ended.err


def test_a_read_only_member_is_refused(stored: Run, folder: Path) -> None:
    """A member that is configured read-only is not written to."""
    (folder / "own.toml").write_text(
        f'[[members]]\nname = "first"\nurl = "sqlite:///other.db"\n'
        f'[[members]]\nname = "main"\nurl = "{STORE}"\nread_only = true\n',
        "utf-8",
    )
    before = contents(folder)
    ended = stored("bench", "--config", "own.toml", "--member", "main")
    assert ended.code == Exit.REFUSED
    assert "read-only" in ended.err
    assert contents(folder) == before


@pytest.mark.parametrize("profile", ["option", "variable"])
def test_production_is_measured_only_if_it_is_meant(
    stored: Run, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In production the database is to be named; nothing is sent before."""
    if profile == "variable":
        monkeypatch.setenv("HEALTHSTORE_PROFILE", "production")
    options = ("--profile", "production") if profile == "option" else ()
    ended = stored("bench", STORE, *options, *QUICK)
    assert ended.code == Exit.REFUSED
    assert "--confirm store.db" in ended.err
    assert "collection of its own" not in ended.err
    assert stored("bench", STORE, *options, *QUICK, "--confirm", "other").code == Exit.REFUSED
    assert stored("bench", STORE, *options, *QUICK, "--confirm", "store.db").code == Exit.OK


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(
    stored: Run, folder: Path, interruptible: None, end: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM in the midst of it end it with 130, and the collection is gone."""
    del interruptible
    before = contents(folder)
    assert stored("schema", "show", STORE).code == Exit.OK
    with subprocess.Popen(
        [sys.executable, "-m", "healthstore", "bench", STORE, "--seconds", "600"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        name = said.partition(", ")[2].partition(",")[0]
        assert name.startswith("healthstore_bench_")
        while name not in tables(folder):
            assert process.poll() is None
        process.send_signal(end)
        _, err = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED, err
    assert "interrupted" in err
    assert contents(folder) == before


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the measurement fail when the collection is there."""

    async def run(_: Measurement, tasks: int) -> AsyncGenerator[Figures, None]:
        raise UnavailableError(f"the server went away under {tasks} tasks", hint="")
        yield

    monkeypatch.setattr(Measurement, "run", run)


def test_an_error_leaves_nothing(stored: Run, folder: Path, failing: None) -> None:
    """A measurement that fails ends as its error says, and the collection is gone."""
    del failing
    before = contents(folder)
    ended = stored("bench", STORE, "--json")
    assert ended.code == Exit.UNAVAILABLE
    assert "went away under 64 tasks" in ended.data["error"]["message"]
    assert contents(folder) == before


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the removal fail."""

    async def drop(*_: object) -> None:
        raise UnavailableError("the server went away", hint="")

    monkeypatch.setattr(SqlBench, "drop", drop)


def test_what_cannot_be_removed_is_named(stored: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the collection cannot be removed, its name is told, and the command fails."""
    refuse(monkeypatch)
    ended = stored("bench", STORE, *QUICK, "--json")
    assert ended.code == Exit.UNAVAILABLE
    assert "error: the collection healthstore_bench_" in ended.err
    assert "remove it by hand" in ended.err


def test_what_cannot_be_removed_is_named_beside_an_error(
    stored: Run, failing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error, too, and the first error is the one that ends the command."""
    del failing
    refuse(monkeypatch)
    ended = stored("bench", STORE, "--json")
    assert "went away under 64 tasks" in ended.data["error"]["message"]
    assert "error: the collection healthstore_bench_" in ended.err


SERVERS = {
    name: (variable, os.environ.get(variable, ""))
    for name, variable in provision.SERVERS.items()
    if variable is not None
}


async def benched(url: str, use: Callable[[Bench[Any]], Awaitable[object]]) -> None:
    """Open the adapter of a store for a while."""
    adapter = connect(BackendURL.parse(url), "member")
    assert isinstance(adapter, Benched)
    await adapter.open()
    try:
        await use(adapter.bench())
    finally:
        await adapter.close()


def there(url: str) -> frozenset[str]:
    """Return the names of all collections of a store."""
    found: list[frozenset[str]] = []

    async def look(bench: Bench[Any]) -> None:
        async with bench.adapter.session(Effect.READ) as session:
            found.append(await bench.adapter.existing(session))

    asyncio.run(benched(url, look))
    return found[0]


@pytest.mark.parametrize("name", SERVERS)
def test_a_real_server_is_measured_and_left_as_it_was(run: Run, name: str) -> None:
    """On each server every operation is measured against its driver, and no collection is left."""
    variable, url = SERVERS[name]
    if not url:
        pytest.skip(f"{name} is absent: set {variable} to the URL of a server")
    ended = run("bench", url, *QUICK, "--json")
    assert ended.code == Exit.OK, ended.err
    (member,) = ended.data["members"]
    alone = {each["operation"] for each in member["operations"] if each["driver_per_second"]}
    assert alone == set(OPERATIONS)
    assert member["collection"] not in there(url)
    assert url not in ended.out + ended.err or "@" not in url


@pytest.mark.parametrize("name", ["sqlite", *SERVERS])
def test_the_driver_alone_does_the_same(name: str, folder: Path) -> None:
    """What the driver sends for an operation is what the adapter would: the row is there, once."""
    del folder
    url = "sqlite:///driver.db" if name == "sqlite" else SERVERS[name][1]
    if not url:
        pytest.skip(f"{name} is absent: set {SERVERS[name][0]} to the URL of a server")
    entity = new_entity()
    collection = collection_of(entity)
    (reading,) = make_readings(entity, 1)
    document = to_document(reading)

    async def use(bench: Bench[Any]) -> None:
        await bench.make(collection)
        try:
            async with bench.driver() as driver:
                await (await driver(Insert(collection, (document,))))()
                await (await driver(Get(collection, (reading.id,))))()
            async with bench.adapter.session(Effect.READ) as session:
                found = await bench.adapter.get(session, Get(collection, (reading.id,)))
            assert found[0] is not None
            assert found[0]["steps"] == reading.steps
        finally:
            await bench.remove(collection)

    asyncio.run(benched(url, use))


async def test_a_benchmark_touches_no_other_collection() -> None:
    """What a manager sends to another collection, or to several, does not pass."""
    own, other = collection_of(new_entity()), collection_of(new_entity())
    sent: list[Op[Any]] = []
    layer = ScratchLayer(MemoryAdapter(), collection=own, sent=sent)
    await layer.open()
    try:
        with pytest.raises(InvalidRequestError, match="no collection but its own"):
            await layer.execute(Get(other, (uuid4(),)))
        assert not sent
    finally:
        await layer.close()


@pytest.fixture
def standby() -> Iterator[str]:
    """Lend a PostgreSQL database whose transactions are read-only, and drop it."""
    name = f"healthstore_test_{uuid4().hex[:12]}"
    provided = PROVISIONS["postgresql"]

    async def make() -> BackendURL:
        made = await provided.create(BackendURL.parse(POSTGRESQL), name)
        connection = await asyncpg.connect(POSTGRESQL, timeout=10)
        try:
            await connection.execute(
                f"ALTER DATABASE {name} SET default_transaction_read_only = on"
            )
        finally:
            await connection.close(timeout=10)
        return made

    async def drop() -> None:
        await provided.drop(made)

    made = asyncio.run(make())
    try:
        yield text_of(made)
    finally:
        asyncio.run(drop())


@pytest.mark.skipif(not POSTGRESQL, reason="postgresql is absent: set its variable to a URL")
def test_a_server_that_takes_no_writes_is_refused(run: Run, standby: str) -> None:
    """A standby is not measured: exit 7, and the server's own reason."""
    ended: Ended = run("bench", standby, "--json")
    assert ended.code == Exit.REFUSED
    assert "takes no writes" in ended.data["error"]["message"]

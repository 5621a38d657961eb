"""``demo``: passes as it is, and fails as soon as one thing that it claims is not so."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from tests.cli.commands import Run

from healthstore.adapters.memory import MemoryAdapter
from healthstore.adapters.sql.adapter import SqlAdapter
from healthstore.cli.demo import cluster, outage, primary, stages
from healthstore.cli.demo.card import Card
from healthstore.cli.demo.cluster import postgresql
from healthstore.cli.demo.primary import Primary, sqlite_file
from healthstore.cli.demo.stores import servers
from healthstore.cli.exits import Exit
from healthstore.cli.output import Manners, Output
from healthstore.errors import UnavailableError
from healthstore.model.catalog import CATALOG
from healthstore.transfer.reader import BackupReader

pytestmark = pytest.mark.slow

CLAIMS = 11  # without PostgreSQL's programs
OF_POSTGRESQL = 4
DEMO = (sys.executable, "-W", "error", "-m", "healthstore", "demo")


def _absent() -> str:
    """Say why no PostgreSQL can be run here, or nothing."""
    try:
        cluster._programs()
        cluster._account()
    except UnavailableError as error:
        return error.message
    return ""


ABSENT = _absent()
needs_postgresql = pytest.mark.skipif(bool(ABSENT), reason=ABSENT)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide PostgreSQL's programs, as on a machine that has none."""
    monkeypatch.setattr(cluster, "_INSTALLED", "nothing/here")
    monkeypatch.setattr(shutil, "which", lambda _: None)


@pytest.fixture
def temporary(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Lend a folder for temporary files that other accounts may enter; nothing stays in it."""
    # Made now, or pytest's own folder would be in this one if no test has asked for it before,
    # and go with it: tests run in any order.
    tmp_path_factory.getbasetemp()
    folder = Path(tempfile.mkdtemp(prefix="healthstore-tests-", dir="/var/tmp"))
    folder.chmod(0o711)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    try:
        assert _left(folder) == []
    finally:
        for each in _processes(folder):
            os.kill(each, signal.SIGKILL)
        shutil.rmtree(folder)


def _processes(folder: Path) -> list[int]:
    """Return the processes that work in a folder, or did until it was removed."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(int(process.name))
    return found


def _left(folder: Path) -> list[object]:
    """Return the processes and the files that are left in a folder."""
    return [*_processes(folder), *folder.iterdir()]


def _environment(temporary: Path) -> dict[str, str]:
    kept = {name: each for name, each in os.environ.items() if not name.startswith("HEALTHSTORE")}
    return kept | {"TMPDIR": str(temporary)}


def test_the_demo_holds_on_this_machine(folder: Path, temporary: Path) -> None:
    """As a user runs it: every line of the score card holds, within 20 seconds, exit code 0."""
    done = subprocess.run(
        DEMO,
        cwd=folder,
        env=_environment(temporary),
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == Exit.OK, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("✔") == CLAIMS + (0 if ABSENT else OF_POSTGRESQL)
    assert "✘" not in done.stdout
    assert ("Skipped: no PostgreSQL is killed" in done.stdout) is bool(ABSENT)
    assert "async def program" in done.stdout
    assert "Every line held" in done.stdout


@pytest.mark.usefixtures("bare")
def test_a_machine_without_postgresql_is_told_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says that no server is killed and why, also in the JSON; that is no failure."""
    monkeypatch.setattr(stages, "_READINGS", 4_000)
    ended = run("demo")
    assert ended.code == Exit.OK, ended.err
    (line,) = [each for each in ended.out.splitlines() if each.startswith("Skipped")]
    assert "no PostgreSQL is killed" in line
    assert "neither on PATH nor in" in line
    assert ended.err == ""
    data = run("demo", "--json").data
    assert list(data["skipped"]) == ["PostgreSQL is killed"]
    assert len(data["claims"]) == CLAIMS


@pytest.mark.usefixtures("bare")
def test_the_demo_keeps_its_files_on_request(run: Run, folder: Path) -> None:
    """``--keep`` leaves the stores and the backup, and never writes into a folder in use."""
    ended = run("demo", "--keep", "kept", "--json")
    assert ended.code == Exit.OK, ended.err
    assert len(ended.data["claims"]) == CLAIMS
    assert all(each["held"] for each in ended.data["claims"])
    assert ended.data["stores"] == ["sqlite", "memory"]
    names = {each.name for each in (folder / "kept").iterdir()}
    assert {"backup.json", "changed.json", "cut.json", "demo.db", "restored.db"} <= names
    assert {"primary.db", "standby.db"} <= names
    again = run("demo", "--keep", "kept")
    assert again.code == Exit.USAGE
    assert "not empty" in again.err


def _count_one_more(patch: pytest.MonkeyPatch) -> None:
    count = MemoryAdapter.count

    async def wrong(self: MemoryAdapter, session: Any, op: Any) -> int:
        return await count(self, session, op) + 1

    patch.setattr(MemoryAdapter, "count", wrong)


def _forget_one(patch: pytest.MonkeyPatch) -> None:
    insert = MemoryAdapter.insert

    async def wrong(self: MemoryAdapter, session: Any, op: Any) -> int:
        added = await insert(self, session, op)
        if len(op.documents) > 1_000:
            session.put(op.collection, op.documents[-1]["id"], None)
        return added

    patch.setattr(MemoryAdapter, "insert", wrong)


def _accept_duplicates(patch: pytest.MonkeyPatch) -> None:
    insert = MemoryAdapter.insert

    async def wrong(self: MemoryAdapter, session: Any, op: Any) -> int:
        if len(op.documents) > 1 or op.collection is CATALOG:
            return await insert(self, session, op)
        return 1

    patch.setattr(MemoryAdapter, "insert", wrong)


def _damage_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stages, "_change_digit", lambda whole: whole)


def _trust_every_file(patch: pytest.MonkeyPatch) -> None:
    def unchecked(self: BackupReader) -> Any:
        self.collections = ()
        yield None

    patch.setattr(BackupReader, "check", unchecked)


def _take_nothing_away(patch: pytest.MonkeyPatch) -> None:
    async def as_it_is(_: object) -> str:
        return ""

    patch.setattr(primary, "_move", lambda _, __: None)
    patch.setattr(cluster._Cluster, "lose", lambda _: "")
    patch.setattr(cluster._Cluster, "come_back", as_it_is)


def _lose_some_writes(patch: pytest.MonkeyPatch) -> None:
    insert = SqlAdapter.insert
    lost = itertools.count()

    async def wrong(self: SqlAdapter, session: Any, op: Any) -> int:
        single = op.collection.name == "demo_readings" and len(op.documents) == 1
        if self.name == "primary" and single and next(lost) % 20 == 0:
            return 1
        return await insert(self, session, op)

    patch.setattr(SqlAdapter, "insert", wrong)


def _stop_reading(patch: pytest.MonkeyPatch) -> None:
    find = SqlAdapter.get

    async def wrong(self: SqlAdapter, session: Any, op: Any) -> Any:
        if self.name == "standby" and op.collection.name == "demo_patients":
            raise UnavailableError("no")
        return await find(self, session, op)

    patch.setattr(SqlAdapter, "get", wrong)


SABOTAGES: list[tuple[Callable[[pytest.MonkeyPatch], None], str]] = [
    (_count_one_more, "same answers on every store"),
    (_forget_one, "a migration moves every row and changes none"),
    (_accept_duplicates, "mistakes end with the same typed error"),
    (_damage_nothing, "with one changed digit is refused"),
    (_trust_every_file, "a backup"),
]


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(("sabotage", "promise"), SABOTAGES)
def test_a_claim_that_is_not_so_ends_with_6(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    sabotage: Callable[[pytest.MonkeyPatch], None],
    promise: str,
) -> None:
    """A store that lies, a migration that loses a row, a damaged file that is accepted: seen."""
    monkeypatch.setattr(stages, "_READINGS", 4_000)
    sabotage(monkeypatch)
    ended = run("demo", "--json")
    assert ended.code == Exit.MISMATCH
    broken = [each["promise"] for each in ended.data["claims"] if not each["held"]]
    assert any(promise in each for each in broken)
    assert all(each in ended.err for each in broken)


OUTAGES: list[tuple[Callable[[pytest.MonkeyPatch], None], set[str]]] = [
    (lambda _: None, set()),
    (_take_nothing_away, {"reads go on", "write is refused", "return to it by themselves"}),
    (_lose_some_writes, {"every acknowledged write is there"}),
    (_stop_reading, {"reads go on"}),
]


def _file(folder: Path) -> AbstractAsyncContextManager[Primary]:
    return nullcontext(sqlite_file(folder / "primary.db"))


def _server(_: Path) -> AbstractAsyncContextManager[Primary]:
    return postgresql()


PRIMARIES = [
    pytest.param(_file, id="sqlite"),
    pytest.param(_server, id="postgresql", marks=needs_postgresql),
]


@pytest.mark.usefixtures("temporary")
@pytest.mark.parametrize("lent", PRIMARIES)
@pytest.mark.parametrize(("sabotage", "broken"), OUTAGES)
async def test_an_outage_is_measured(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lent: Callable[[Path], AbstractAsyncContextManager[Primary]],
    sabotage: Callable[[pytest.MonkeyPatch], None],
    broken: set[str],
) -> None:
    """Of the outage each line holds only if it was so: nothing taken away, a write that is lost.

    The server is really killed, and really recovers.
    """
    monkeypatch.setattr(outage, "_PATIENCE", 2.0)
    sabotage(monkeypatch)
    card = Card()
    async with lent(tmp_path) as lost:
        await outage.Outage(Output(Manners(quiet=True)), card, lost, tmp_path / "standby.db").run()
    assert len(card.claims) == 4
    failed = [each.promise for each in card.claims if not each.held]
    assert len(failed) == len(broken)
    assert all(any(part in each for each in failed) for part in broken)


# Runs the server as the demo does, and tells how far it is.
PROGRAM = dedent(
    """
    import asyncio
    from healthstore.cli.command import perform
    from healthstore.cli.demo.cluster import postgresql
    from healthstore.cli.output import Manners

    async def job(_):
        print("begun", flush=True)
        async with postgresql() as primary:
            print("serves", flush=True)
            await asyncio.sleep(0.2)
            print(primary.lose(), flush=True)
            await asyncio.sleep(60)

    raise SystemExit(perform(Manners(), job))
    """
)
ALONE = (sys.executable, "-W", "error", "-c", PROGRAM)


def _segments(folder: Path) -> set[str]:
    """Return the ids of the shared memory that the clusters in a folder use."""
    found: set[str] = set()
    for status in folder.glob("*/data/postmaster.pid"):
        with suppress(OSError, IndexError):
            found.add(status.read_text("utf-8").splitlines()[6].split()[1])
    return found


@needs_postgresql
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("command", "moment", "numbers"),
    [
        (ALONE, "begun", [signal.SIGINT]),
        (ALONE, "serves", [signal.SIGINT]),
        (ALONE, "serves", [signal.SIGTERM]),
        (ALONE, "serves", [signal.SIGHUP]),
        (ALONE, "serves", [signal.SIGINT] * 2),
        (ALONE, "killed", [signal.SIGINT]),
        (DEMO, "(PostgreSQL)", [signal.SIGINT]),
    ],
)
def test_an_interrupt_leaves_no_process(
    folder: Path,
    temporary: Path,
    command: tuple[str, ...],
    moment: str,
    numbers: list[signal.Signals],
) -> None:
    """Ctrl-C, also twice, SIGTERM, a closed terminal: at any moment all is stopped and removed."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(temporary),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            if not any(moment in line for line in process.stdout):
                pytest.fail(process.stderr.read())
            until = time.monotonic() + 10
            while not _processes(temporary) and moment == "begun":  # initdb is at work
                assert time.monotonic() < until
                time.sleep(0.001)
            assert _processes(temporary) or moment not in {"begun", "serves"}
            segments = _segments(temporary)
            for number in numbers:
                process.send_signal(number)
                time.sleep(0.02)
            _, said = process.communicate(timeout=40)
        finally:
            process.kill()
    assert process.returncode == Exit.INTERRUPTED, said
    assert "interrupted" in said
    assert "Traceback" not in said
    assert _left(temporary) == []
    used = Path("/proc/sysvipc/shm").read_text("utf-8").split()
    assert segments.isdisjoint(used[1::16])


async def _fail(temporary: Path, *, lost: bool) -> None:
    async with postgresql() as primary:
        assert len(_processes(temporary)) > 1
        if lost:
            primary.lose()
            assert _processes(temporary) == []
        raise ZeroDivisionError


@needs_postgresql
@pytest.mark.parametrize("lost", [False, True])
async def test_an_error_leaves_no_process(temporary: Path, *, lost: bool) -> None:
    """An error while the server is there, or is killed, stops and removes it."""
    with pytest.raises(ZeroDivisionError):
        await _fail(temporary, lost=lost)
    assert _left(temporary) == []


@needs_postgresql
@pytest.mark.usefixtures("temporary")
@pytest.mark.parametrize(
    ("setting", "text", "reason"),
    [("listen_addresses", "192.0.2.1", "does not start"), ("nonsense", "1", "nonsense")],
)
async def test_a_postgresql_that_does_not_start_is_skipped(
    monkeypatch: pytest.MonkeyPatch, setting: str, text: str, reason: str
) -> None:
    """Where its programs are but cannot serve, the reason is told, and nothing is left."""
    monkeypatch.setitem(cluster._SETTINGS, setting, text)
    with pytest.raises(UnavailableError, match=reason):
        async with postgresql():
            pytest.fail("it serves")


def test_root_without_the_account_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL refuses root; without its own account it is not run."""

    def unknown(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    with pytest.raises(UnavailableError, match="no account postgres"):
        cluster._account()


@pytest.mark.usefixtures("bare")
def test_a_server_that_cannot_join_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is down or unknown does not join, with a reason and without its URL."""
    monkeypatch.setenv("HEALTHSTORE_DEMO_URLS", "postgresql://me:canary@127.0.0.1:1/x other://h")
    ended = run("demo", "--json")
    assert ended.code == Exit.OK, ended.err
    assert sorted(ended.data["absent"]) == ["url-1", "url-2"]
    assert "url-1 does not join" in ended.err
    assert "canary" not in ended.out + ended.err


def test_servers_come_from_the_environment() -> None:
    """The variables of the tests and the demo's list name the servers; empty ones do not."""
    found = servers(
        {
            "HEALTHSTORE_TEST_MONGODB_RS_URL": "mongodb://a/b",
            "HEALTHSTORE_TEST_MYSQL_URL": "",
            "HEALTHSTORE_DEMO_URLS": "mongodb://a,b/c  sqlite:///x.db",
            "DATABASE_URL": "postgresql://h/d",
        }
    )
    assert found == {
        "mongodb-rs": "mongodb://a/b",
        "url-1": "mongodb://a,b/c",
        "url-2": "sqlite:///x.db",
    }


def test_an_empty_card_does_not_hold() -> None:
    """A run that measured nothing proves nothing."""
    assert not Card().held

"""``doctor``: what is installed, and how each member is reached and set up."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from tests.cli.commands import Ended, Run

from healthstore.abc import BackendURL
from healthstore.abc.examination import Examination, Setting
from healthstore.abc.prober import Figures, PoolFigures
from healthstore.adapters.sql import examination
from healthstore.cli.doctor import machine
from healthstore.cli.doctor import member as member_module
from healthstore.cli.exits import Exit
from healthstore.testing import provision
from healthstore.testing.provision import PROVISIONS, text_of

SECRET = "canary-5ecret"
CLOSED = f"postgresql://me:{SECRET}@127.0.0.1:1/data"
STORE = "sqlite:///store.db"
VARIABLE = "HEALTHSTORE_TEST_POSTGRESQL_URL"
POSTGRESQL = os.environ.get(VARIABLE, "")


def graded(ended: Ended, member: int = 0) -> dict[str, str]:
    """Return the grade of each check of a member."""
    checks: list[dict[str, Any]] = ended.data["members"][member]["checks"]
    return {each["check"]: each["grade"] for each in checks}


@pytest.fixture
def stored(run: Run) -> Run:
    """Return the function that runs commands, with a SQLite file that is a store."""
    assert run("initialize", "clinic:Patient", "--url", STORE).code == Exit.OK
    return run


def test_a_file_is_examined(stored: Run) -> None:
    """Of a SQLite file the library's version, the role and what makes it durable are told."""
    ended = stored("doctor", STORE, "--json")
    assert ended.code == Exit.OK, ended.err
    assert graded(ended) == {
        "DNS": "SKIP",
        "TCP": "SKIP",
        "log in": "OK",
        "server": "OK",
        "role": "OK",
        "contents": "OK",
        "synchronous": "OK",
        "journal_mode": "OK",
    }
    here = {each["check"]: each["seen"] for each in ended.data["machine"]}
    assert {"Python", "healthstore", "platform", "driver asyncpg", "library of sqlite"} <= set(here)
    assert all(here.values())


def test_people_get_a_line_for_each_check(stored: Run) -> None:
    """Without ``--json`` each check is a line, and all is said on standard output."""
    ended = stored("doctor", STORE)
    assert (ended.code, ended.err) == (Exit.OK, "")
    for part in ("this machine", "OK    synchronous", "sqlite  sqlite:///store.db"):
        assert part in ended.out


def test_a_memory_store_is_well(run: Run) -> None:
    """A store that has no server and no file has nothing that could fail."""
    ended = run("doctor", "memory://", "--json")
    assert ended.code == Exit.OK
    assert "FAIL" not in graded(ended).values()


def test_a_closed_port_skips_what_follows(stored: Run) -> None:
    """A server that is not there: exit 5, a remedy, and the other member is looked at."""
    ended = stored("doctor", CLOSED, STORE, "--json")
    assert ended.code == Exit.UNAVAILABLE
    found = graded(ended)
    assert (found["DNS"], found["TCP"]) == ("OK", "FAIL")
    assert {found[each] for each in ("log in", "server", "role", "settings")} == {"SKIP"}
    tcp = ended.data["members"][0]["checks"][1]
    assert "refuses" in tcp["seen"]
    assert "start the server" in tcp["remedy"]
    assert graded(ended, 1)["log in"] == "OK"
    assert SECRET not in ended.out + ended.err


def test_members_are_named_as_every_command_names_them(stored: Run) -> None:
    """Several URLs of one kind get numbers, also beside a URL that cannot be read."""
    other = CLOSED.replace("/data", "/other")
    ended = stored("doctor", CLOSED, "nonsense", other, STORE, "--json")
    names = [each["name"] for each in ended.data["members"]]
    assert names == ["postgresql", "?", "postgresql-2", "sqlite"]


def test_quiet_leaves_what_failed(run: Run) -> None:
    """``--quiet`` shows only what failed, as errors."""
    ended = run("doctor", CLOSED, "--quiet")
    assert (ended.code, ended.out) == (Exit.UNAVAILABLE, "")
    assert ended.err.startswith("error: TCP: port 1")
    assert SECRET not in ended.err


def test_a_name_without_address_is_told(run: Run) -> None:
    """A host that DNS does not know fails there."""
    ended = run("doctor", f"mysql://me:{SECRET}@nowhere.invalid/d", "--json")
    assert ended.code == Exit.UNAVAILABLE
    assert graded(ended)["DNS"] == "FAIL"
    assert SECRET not in ended.out + ended.err


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"postgrsql://me:{SECRET}@h/d", "did you mean 'postgresql'"),
        (f"mysql://me:{SECRET}@h/d?chraset=x", "chraset"),
        (SECRET, "scheme://"),
    ],
)
def test_a_bad_url_does_not_hide_the_others(stored: Run, url: str, says: str) -> None:
    """One URL that cannot be used fails with its reason; the next member is looked at."""
    ended = stored("doctor", url, STORE, "--json")
    assert ended.code == Exit.FAILURE
    (check,) = ended.data["members"][0]["checks"]
    assert (check["check"], check["grade"]) == ("URL", "FAIL")
    assert says in check["seen"] + check["remedy"]
    assert graded(ended, 1)["log in"] == "OK"
    assert SECRET not in ended.out + ended.err


def test_a_folder_is_no_store(run: Run, folder: Path) -> None:
    """Where a URL names a folder, nothing can be made: that is a failure, with what to write."""
    (folder / "data").mkdir()
    ended = run("doctor", "sqlite:///data", "--json")
    assert ended.code == Exit.FAILURE
    assert graded(ended)["log in"] == "FAIL"
    assert "that of a directory" in ended.out


def test_a_file_that_is_not_there_is_not_made(run: Run, folder: Path) -> None:
    """Looking at a store changes nothing: a file that is missing is told, and stays missing."""
    ended = run("doctor", "sqlite:///absent.db", "--json")
    assert ended.code == Exit.OK
    assert graded(ended) == {"file": "WARN"}
    assert not (folder / "absent.db").exists()


@pytest.fixture
def silent() -> Iterator[int]:
    """Lend the port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_every_step_is_bounded(run: Run, silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers nothing fails at its step: the driver would wait for an hour."""
    monkeypatch.setattr(member_module, "STEP_SECONDS", 0.5)
    url = f"postgresql://me:{SECRET}@127.0.0.1:{silent}/d?connect_timeout=3600"
    ended = run("doctor", url, "--json")
    assert ended.code == Exit.UNAVAILABLE
    seen = {each["check"]: each["seen"] for each in ended.data["members"][0]["checks"]}
    assert seen["log in"] == "no answer within 0.5 s"
    found = graded(ended)
    assert (found["TCP"], found["log in"], found["role"]) == ("OK", "FAIL", "SKIP")


def test_a_missing_driver_comes_with_its_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that is not installed is a warning with the line that installs it."""
    monkeypatch.setattr(
        machine, "find_spec", lambda name: None if name == "asyncpg" else find_spec(name)
    )
    ended = run("doctor", "memory://")
    assert ended.code == Exit.OK
    assert "WARN  driver asyncpg" in ended.out
    assert "python -m pip install asyncpg" in ended.out


def test_members_come_from_the_environment(stored: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL the members are those that the environment names."""
    monkeypatch.setenv("HEALTHSTORE_PRIMARY", STORE)
    monkeypatch.setenv("HEALTHSTORE_SECONDARIES", CLOSED)
    ended = stored("doctor", "--json")
    assert ended.code == Exit.UNAVAILABLE
    assert [each["name"] for each in ended.data["members"]] == ["sqlite", "postgresql"]
    assert SECRET not in ended.out + ended.err


def test_members_come_from_a_file(stored: Run, folder: Path) -> None:
    """``--config`` names a file with the members; a mistake in it does not hide this machine."""
    (folder / "own.toml").write_text(
        f'[[members]]\nname = "main"\nurl = "{STORE}"\n'
        f'[[members]]\nname = "other"\nurl = "postgresql://127.0.0.1:1/d"\n'
        f'password = "{SECRET}"\n',
        "utf-8",
    )
    ended = stored("doctor", "--config", "own.toml", "--json")
    assert [each["name"] for each in ended.data["members"]] == ["main", "other"]
    assert SECRET not in ended.out + ended.err
    ended = stored("doctor", "--config", "absent.toml", "--json")
    assert ended.code == Exit.FAILURE
    assert graded(ended) == {"settings": "FAIL"}
    assert ended.data["machine"]
    assert stored("doctor", STORE, "--config", "own.toml").code == Exit.USAGE


def lines(examined: Examination, url: str = "remote") -> dict[str, tuple[str, str]]:
    """Return grade and remedy of what is told of an examination, for a server elsewhere or here."""
    told = [
        *map(member_module.of_setting, examined.settings),
        *member_module.of_encryption(examined, local=url == "local"),
        *member_module.of_clock(examined),
        *member_module.of_connections(
            examined, Figures("x", connections=95), PoolFigures(10, 1, 0, 0)
        ),
    ]
    return {line.check: (str(line.grade), line.remedy) for line in told}


def test_what_could_do_harm_is_a_warning() -> None:
    """Plain text to another machine, a wrong clock and too many connections come with a remedy."""
    found = lines(
        Examination(
            (Setting("fsync", "off", "lost", "set fsync = on", fatal=True),),
            encryption="",
            skew=-7.5,
            zone="UTC",
            connections=100,
        )
    )
    assert found["fsync"] == ("FAIL", "set fsync = on")
    assert {found[each][0] for each in ("TLS", "clock", "connections")} == {"WARN"}
    assert all(found[each][1] for each in ("TLS", "clock", "connections"))


def test_a_server_that_need_not_prove_its_name_is_a_warning() -> None:
    """Encryption without verification warns for another machine, not for this one."""
    unverified = Examination(encryption="TLSv1.3", verified=False)
    assert lines(unverified)["TLS"][0] == "WARN"
    assert lines(unverified, "local")["TLS"][0] == "OK"
    assert lines(Examination(encryption="TLSv1.3", verified=True))["TLS"][0] == "OK"


SERVERS = {
    name: (variable, os.environ.get(variable, ""))
    for name, variable in provision.SERVERS.items()
    if variable is not None
}
MYSQL = {"innodb_flush_log_at_trx_commit", "sync_binlog", "innodb_doublewrite", "connections"}
MONGODB = {"topology", "write concern"}
SETTINGS = {
    "postgresql": {"fsync", "synchronous_commit", "full_page_writes", "connections"},
    "mysql": MYSQL,
    "mariadb": MYSQL,
    "mongodb": MONGODB,
    "mongodb-rs": MONGODB,
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_real_server_is_examined(run: Run, name: str) -> None:
    """Of each server its version, role, clock and durability are told, and nothing fails."""
    variable, url = SERVERS[name]
    if not url:
        pytest.skip(f"{name} is absent: set {variable} to the URL of a server")
    ended = run("doctor", url, "--json")
    found = graded(ended)
    assert SETTINGS[name] | {"DNS", "TCP", "log in", "server", "role", "TLS", "clock"} <= set(found)
    lost = SETTINGS[name] & {each for each, grade in found.items() if grade == "FAIL"}
    assert ended.code == (Exit.FAILURE if lost else Exit.OK), ended.out
    assert (found["log in"], found["server"], found["clock"]) == ("OK", "OK", "OK")
    assert (name == "mongodb") is (found.get("topology") == "WARN")


def sql(statement: str) -> None:
    """Run a statement on the PostgreSQL server."""

    async def run_it() -> None:
        connection = await asyncpg.connect(POSTGRESQL, timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close(timeout=10)

    asyncio.run(run_it())


@pytest.fixture
def database() -> Iterator[str]:
    """Lend a new database whose sessions do not wait for the disk, and drop it."""
    name = f"healthstore_test_{uuid4().hex[:12]}"
    databases = PROVISIONS["postgresql"]

    async def make() -> BackendURL:
        return await databases.create(BackendURL.parse(POSTGRESQL), name)

    async def drop() -> None:
        await databases.drop(made)

    made = asyncio.run(make())
    try:
        sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
        yield text_of(made)
    finally:
        asyncio.run(drop())


@pytest.mark.skipif(not POSTGRESQL, reason=f"postgresql is absent: set {VARIABLE} to its URL")
def test_a_real_server_that_loses_commits_fails(
    run: Run, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PostgreSQL database with ``synchronous_commit = off`` fails; a wrong clock is seen."""
    monkeypatch.setattr(examination, "time", lambda: time.time() + 5)
    ended = run("doctor", database, "--json")
    assert ended.code == Exit.FAILURE
    found = graded(ended)
    assert (found["synchronous_commit"], found["clock"]) == ("FAIL", "WARN")
    assert {found[each] for each in ("DNS", "TCP", "log in", "server", "role")} == {"OK"}
    assert "PostgreSQL" in ended.data["members"][0]["checks"][3]["seen"]

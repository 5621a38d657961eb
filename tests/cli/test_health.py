"""``health`` and ``stats``: how the members are, and what they hold."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.commands import Run, Terminal

from healthstore.cli.exits import Exit
from healthstore.cli.health import size_of, watch_health
from healthstore.cli.output import Manners, Output
from healthstore.cli.store import Store

SECRET = "canary-5ecret"
DOWN = f"postgresql://me:{SECRET}@127.0.0.1:1/data"
VARIABLE = "HEALTHSTORE_TEST_POSTGRESQL_URL"
POSTGRESQL = os.environ.get(VARIABLE, "")
ONE, TWO = "sqlite:///one.db", "sqlite:///two.db"


@pytest.fixture
def filled(run: Run, folder: Path) -> Run:
    """Return the function that runs commands, with two stores of 40 documents and none."""
    rows = "".join(f'{{"email": "{SECRET}{number}@example.org"}}\n' for number in range(40))
    (folder / "p.jsonl").write_text(rows, "utf-8")
    assert run("load", "p.jsonl", "--entity", "clinic:Patient", "--url", ONE).code == Exit.OK
    assert run("initialize", "clinic:Patient", "clinic:Weight", "--url", TWO).code == Exit.OK
    return run


def test_all_is_well(filled: Run) -> None:
    """Two members that are up: exit 0, who serves, and a row for each with its figures."""
    ended = filled("health", "--url", ONE, "--url", TWO, "--json")
    assert ended.code == Exit.OK, ended.err
    data = ended.data
    assert (data["mode"], data["reads"], data["writes"]) == ("normal", "sqlite", "sqlite")
    members = data["database_status"]["connections"]
    assert {members[each]["status"] for each in ("sqlite", "sqlite-2")} == {"connected"}
    assert members["sqlite"]["documents"] == {"patients": 40}
    shown = filled("health", "--url", ONE, "--url", TWO)
    assert (shown.code, shown.err) == (Exit.OK, "")
    for part in ("sqlite-2", "SQLite 3", "KiB", "normal: reads at sqlite, writes at sqlite"):
        assert part in shown.out


def test_reads_alone_are_degraded(filled: Run) -> None:
    """The first member is down: the second serves reads, nobody writes, exit 1."""
    ended = filled("health", "--url", DOWN, "--url", ONE)
    assert ended.code == Exit.FAILURE
    assert "read_only: reads at sqlite, writes at nobody" in ended.out
    assert "last error of postgresql: HS-6000" in ended.out
    assert SECRET not in ended.out + ended.err
    told = filled("health", "--url", DOWN, "--url", ONE, "--json").data
    assert told["database_status"]["overall_status"] == "degraded"


@pytest.mark.parametrize("wait", [(), ("--wait", "0.5")])
def test_nothing_that_serves_ends_with_5(run: Run, wait: tuple[str, ...]) -> None:
    """A member that cannot be reached: exit 5, also after waiting, which ends with its time."""
    ended = run("health", "--url", DOWN, *wait, "--json")
    assert (ended.code, ended.data["mode"]) == (Exit.UNAVAILABLE, "down")
    assert ("not ready after 0.5 s" in ended.err) is bool(wait)
    assert SECRET not in ended.out + ended.err


def test_waiting_ends_when_it_is_ready(filled: Run) -> None:
    """``--wait`` does not wait when requests are served: here it would take a month."""
    ended = filled("health", "--url", ONE, "--wait", "2592000")
    assert (ended.code, ended.err) == (Exit.OK, "")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--wait", "-1"), "--wait"),
        (("--wait", "nan"), "--wait"),
        (("--watch", "--every", "0"), "--every"),
        (("--watch", "--every", "-2"), "--every"),
        (("--every", "inf"), "--every"),
        (("--wait", "1", "--watch"), "--watch"),
    ],
)
def test_times_that_cannot_be_meant_are_wrong_use(
    run: Run, options: tuple[str, ...], named: str
) -> None:
    """No time to wait, none between looks, or waiting while watching: exit 2, naming the option."""
    ended = run("health", "--url", "memory://", *options)
    assert ended.code == Exit.USAGE
    assert named in ended.err


def test_a_file_is_not_made_by_looking(run: Run, folder: Path) -> None:
    """A SQLite file that is not there is wrong use, and stays absent."""
    for command in (["health"], ["stats"], ["switch", "sqlite", "--dry-run"]):
        ended = run(*command, "--url", "sqlite:///absent.db")
        assert ended.code == Exit.USAGE
        assert "absent.db" in ended.err
    assert not (folder / "absent.db").exists()


def test_watching_tells_each_change_once(filled: Run, folder: Path) -> None:
    """Without a terminal there is a line for each change, and Ctrl-C ends it with 130."""
    del filled
    script = (
        "import signal, sys\n"
        # A shell starts what runs in the background with SIGINT ignored, and we inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from healthstore.cli import main\n"
        "sys.exit(main(['health', '--watch', '--config', 'two.toml']))\n"
    )
    (folder / "two.toml").write_text(
        f'[[members]]\nname = "first"\nurl = "{ONE}"\n'
        f'[[members]]\nname = "second"\nurl = "{TWO}"\n'
        "[probe]\ninterval = 0.1\nfast_interval = 0.1\nrise = 1\n",
        "utf-8",
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        (folder / "one.db").rename(folder / "away.db")
        second = process.stdout.readline()
        (folder / "away.db").rename(folder / "one.db")
        third = process.stdout.readline()
        time.sleep(0.5)  # nothing changes any more
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert "normal: reads first, writes first (first up, second up)" in first
    assert "read_only: reads second, writes nobody (first down" in second
    assert "normal: reads first, writes first" in third
    assert out == ""
    assert err == "error: interrupted\n  code: interrupted\n"
    assert process.returncode == Exit.INTERRUPTED


async def test_a_terminal_is_redrawn(folder: Path) -> None:
    """A person who watches gets the whole table again and again, and the store is let go."""
    (folder / "one.db").touch()
    screen = Terminal()
    output = Output(Manners(no_color=True), stdout=screen)
    watching = asyncio.create_task(watch_health(output, Store((ONE,)), 0.05))
    async with asyncio.timeout(10):
        while screen.getvalue().count("\x1b[H") < 3:  # noqa: ASYNC110 - a screen has no event
            await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.wait({watching})
    assert watching.cancelled()
    assert "normal: reads at sqlite" in screen.getvalue()


def test_statistics_are_counted(filled: Run) -> None:
    """``stats`` counts each collection of each member exactly, with sizes."""
    ended = filled("stats", "--url", ONE, "--url", TWO, "--json")
    assert ended.code == Exit.OK, ended.err
    members = ended.data["members"]
    assert members["sqlite"]["documents"] == {"patients": 40}
    assert members["sqlite-2"]["documents"] == {"patients": 0, "weights": 0}
    assert members["sqlite"]["bytes"] > 0
    shown = filled("stats", "--url", ONE)
    assert "patients" in shown.out
    assert "40" in shown.out
    assert SECRET not in shown.out


def test_a_member_that_cannot_be_counted_ends_with_5(filled: Run) -> None:
    """One member is down: the other is counted all the same, and the exit code tells."""
    ended = filled("stats", "--url", DOWN, "--url", ONE, "--json")
    assert ended.code == Exit.UNAVAILABLE
    members = ended.data["members"]
    assert members["sqlite"]["documents"] == {"patients": 40}
    assert members["postgresql"]["documents"] is None
    assert "error: " in ended.err
    assert SECRET not in ended.out + ended.err


def test_counting_writes_nothing(filled: Run, folder: Path) -> None:
    """``stats`` leaves no table of its own behind."""
    assert filled("stats", "--url", ONE).code == Exit.OK
    connection = sqlite3.connect(folder / "one.db")
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    connection.close()
    assert sorted(name for (name,) in rows) == ["healthstore_catalog", "patients"]


def test_members_come_from_the_environment(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no flag at all the environment says where the store is."""
    monkeypatch.setenv("HEALTHSTORE_PRIMARY", ONE)
    assert filled("health", "--json").data["active_database"] == "sqlite"
    assert filled("stats", "--json").data["members"]["sqlite"]["documents"] == {"patients": 40}


def test_nothing_configured_says_what_to_do(run: Run) -> None:
    """Without any member the error names the variable to set."""
    ended = run("health", "--json")
    assert ended.code == Exit.CONFIGURATION
    assert "HEALTHSTORE_PRIMARY" in ended.err


@pytest.mark.skipif(not POSTGRESQL, reason=f"postgresql is absent: set {VARIABLE} to its URL")
def test_a_real_server_is_up(run: Run) -> None:
    """A server that runs is up, with its version and connections, and without its URL."""
    ended = run("health", "--url", POSTGRESQL, "--json")
    assert ended.code == Exit.OK, ended.err
    member = ended.data["database_status"]["connections"]["postgresql"]
    assert member["server"].startswith("PostgreSQL")
    assert member["connections"] > 0
    assert json.dumps(ended.data).count(POSTGRESQL) == 0


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, ""), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")],
)
def test_sizes_read_well(count: int | None, text: str) -> None:
    """A number of bytes is shown in a unit that a person reads."""
    assert size_of(count) == text

"""``demo``: passes as it is, and fails as soon as one thing that it claims is not so."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands import Run

from healthstore.adapters.memory import MemoryAdapter
from healthstore.adapters.sql.adapter import SqlAdapter
from healthstore.cli.demo import outage, stages
from healthstore.cli.demo.card import Card
from healthstore.cli.demo.stores import servers
from healthstore.cli.exits import Exit
from healthstore.cli.output import Manners, Output
from healthstore.errors import UnavailableError
from healthstore.transfer.reader import BackupReader

CLAIMS = 11


def test_the_demo_holds_on_this_machine(folder: Path) -> None:
    """As a user runs it: every line of the score card holds, within 20 seconds, exit code 0."""
    kept = {name: each for name, each in os.environ.items() if not name.startswith("HEALTHSTORE")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "healthstore", "demo"],
        cwd=folder,
        env=kept,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == Exit.OK, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("✔") == CLAIMS
    assert "✘" not in done.stdout
    assert "async def program" in done.stdout
    assert "Every line held" in done.stdout


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
        if len(op.documents) > 1:
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
    patch.setattr(outage, "_move", lambda _, __: None)


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


@pytest.mark.parametrize(("sabotage", "broken"), OUTAGES)
async def test_an_outage_is_measured(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sabotage: Callable[[pytest.MonkeyPatch], None],
    broken: set[str],
) -> None:
    """Of the outage each line holds only if it was so: nothing taken away, a write that is lost."""
    monkeypatch.setattr(outage, "_PATIENCE", 0.5)
    sabotage(monkeypatch)
    card = Card()
    await outage.Outage(Output(Manners(quiet=True)), tmp_path, card).run()
    assert len(card.claims) == 4
    failed = [each.promise for each in card.claims if not each.held]
    assert len(failed) == len(broken)
    assert all(any(part in each for each in failed) for part in broken)


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

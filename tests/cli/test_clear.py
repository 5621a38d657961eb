"""``clear``, ``migrate --replace``, and what an interrupted transfer says it left."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.cli.commands import Run
from tests.unit.transfer.samples import PEOPLE, opened, person

from healthstore.cli.exits import Exit
from healthstore.cli.failures import failure_of
from healthstore.transfer import PageMoved, TransferEvent, migrate

ONE, TWO = "sqlite:///one.db", "sqlite:///two.db"


@pytest.fixture
def filled(run: Run, folder: Path) -> Run:
    """Return the function that runs commands, with documents in the first store."""
    rows = "".join(f'{{"email": "p{number}@example.org"}}\n' for number in range(40))
    (folder / "p.jsonl").write_text(rows, "utf-8")
    assert run("load", "p.jsonl", "--entity", "clinic:Patient", "--url", ONE).code == Exit.OK
    (folder / "w.jsonl").write_text('{"kg": 70.5}\n{"kg": null}\n', "utf-8")
    assert run("load", "w.jsonl", "--entity", "clinic:Weight", "--url", ONE).code == Exit.OK
    return run


def test_a_store_is_emptied(filled: Run) -> None:
    """All of it, or one entity; the definitions stay."""
    some = filled("clear", ONE, "--entity", "clinic:Weight", "--json")
    assert (some.code, some.data["collections"]) == (Exit.OK, {"weights": 2})
    ended = filled("clear", ONE)
    assert ended.code == Exit.OK
    assert "patients" in ended.out
    assert "40" in ended.out
    assert filled("clear", ONE, "--json").data["collections"] == {"patients": 0, "weights": 0}
    assert filled("clear", "sqlite:///no.db").code == Exit.USAGE


def test_production_wants_the_word(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By option or by environment; without it nothing is removed, and the hint says it."""
    refused = filled("clear", ONE, "--profile", "production")
    assert refused.code == Exit.REFUSED
    assert "--confirm one.db" in refused.err
    assert filled("clear", ONE, "--confirm", "two.db").code == Exit.REFUSED
    assert filled("clear", ONE, "--profile", "prod").code == Exit.USAGE
    monkeypatch.setenv("HEALTHSTORE_PROFILE", "production")
    assert filled("clear", ONE).code == Exit.REFUSED
    assert filled("clear", ONE, "--confirm", "one.db", "--json").data["rows"] == 42


def test_a_migration_replaces_in_one_command(filled: Run) -> None:
    """The target may hold documents, and in production it must be named."""
    assert filled("migrate", ONE, TWO).code == Exit.OK
    again = filled("migrate", ONE, TWO)
    assert again.code == Exit.FAILURE
    assert "healthstore clear" in again.err
    assert filled("migrate", ONE, TWO, "--replace", "--json").data["rows"] == 42
    refused = filled("migrate", ONE, TWO, "--replace", "--profile", "production")
    assert refused.code == Exit.REFUSED
    assert "--confirm two.db" in refused.err
    named = ("--profile", "production", "--confirm", "two.db")
    assert filled("migrate", ONE, TWO, "--replace", *named).code == Exit.OK


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_transfer_says_what_it_left_and_what_to_do() -> None:
    """Ctrl-C while documents are written."""

    def interrupt(event: TransferEvent) -> None:
        if isinstance(event, PageMoved):
            os.kill(os.getpid(), signal.SIGINT)

    async def copy() -> None:
        source = await opened("source", (PEOPLE, [person(number) for number in range(100)]))
        await migrate(source, await opened("target"), page_rows=10, on_event=interrupt)

    with pytest.raises(KeyboardInterrupt) as caught:
        asyncio.run(copy())
    failure = failure_of(caught.value)
    assert (failure.message, failure.exit) == ("interrupted", Exit.INTERRUPTED)
    assert "documents of this transfer are in target" in failure.hint
    assert "healthstore migrate --replace" in failure.hint

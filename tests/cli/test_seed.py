"""``schema seed``, which calls a function of the program."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.commands import Run

from healthstore.cli.exits import Exit

ONE = ("--url", "sqlite:///one.db")
SECRET = "canary-5ecret"
SEEDS = """
from pathlib import Path

from clinic import Patient
from healthstore import DatabaseManager, sync

async def run(db):
    assert isinstance(db, DatabaseManager)
    print("filling", db.active)
    await db.initialize(Patient)
    await db.repository(Patient).add(Patient(email="ann@example.org"))

def plain(db):
    assert isinstance(db, sync.DatabaseManager)
    db.initialize(Patient)
    db.repository(Patient).add(Patient(email="bo@example.org"))

def late(db):
    return run(db)

async def wrong(db):
    await db.initialize(Patient)
    Patient(email=Path("secret").read_text())  # the error quotes it

async def twice(db):
    await run(db)
    await run(db)

def ends(db):
    raise SystemExit(0)

number = 1
"""


@pytest.fixture
def seeded(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Return the function that runs commands, with functions that fill a store."""
    (folder / "seeds.py").write_text(SEEDS, "utf-8")
    monkeypatch.setenv("HEALTHSTORE_SEED", "seeds:run")
    yield run
    sys.modules.pop("seeds", None)


def patients(run: Run) -> int:
    """Return how many patients there are."""
    (shown,) = run("schema", "show", *ONE, "--json").data["collections"]
    return int(shown["documents"])


def test_the_function_of_the_setting_is_called_with_an_opened_manager(
    seeded: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An async one with a manager that is awaited, a plain one with one that is not."""
    ended = seeded("schema", "seed", *ONE)
    assert (ended.code, ended.out) == (
        Exit.OK,
        "filling sqlite\nsqlite was filled by seeds:run.\n",
    )
    monkeypatch.setenv("HEALTHSTORE_SEED", "seeds:plain")
    told = seeded("schema", "seed", *ONE, "--json").data
    assert (told["member"], told["seed"]) == ("sqlite", "seeds:plain")
    assert patients(seeded) == 2


def test_what_it_prints_is_no_part_of_the_object(seeded: Run) -> None:
    """With --json it goes to standard error."""
    ended = seeded("schema", "seed", *ONE, "--json")
    assert ended.data["ok"]
    assert "filling sqlite" in ended.err


def test_a_file_names_the_function_of_a_profile(
    seeded: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And holds for a URL, too, as its members do not."""
    monkeypatch.delenv("HEALTHSTORE_SEED")
    (folder / "healthstore.toml").write_text(
        '[[members]]\nname = "main"\nurl = "sqlite:///two.db"\n'
        '[profiles.test]\nseed = "seeds:run"\n',
        "utf-8",
    )
    assert seeded("schema", "seed").code == Exit.CONFIGURATION
    ended = seeded("schema", "seed", "--profile", "test")
    assert "main was filled by seeds:run." in ended.out
    assert seeded("schema", "seed", *ONE, "--profile", "test").code == Exit.OK
    assert patients(seeded) == 1


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("", "no seed is set"),
        ("seeds", "seed names no function"),
        ("sead:run", "there is no module 'sead'"),
        ("seeds:rum", "did you mean run?"),
        ("seeds:number", "'seeds' has no function 'number'"),
        ("seeds:late", "seeds:late returned a coroutine, which was not run"),
    ],
)
def test_a_setting_that_names_no_function_is_told(
    seeded: Run, monkeypatch: pytest.MonkeyPatch, named: str, says: str
) -> None:
    """The configuration is wrong, and nothing is called."""
    monkeypatch.setenv("HEALTHSTORE_SEED", named)
    ended = seeded("schema", "seed", *ONE)
    assert (ended.code, says in ended.err) == (Exit.CONFIGURATION, True), ended.err


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("seeds:wrong", "seeds:wrong raised ValidationError\n"),
        ("seeds:twice", "seeds:twice raised DuplicateKeyError: "),
        ("seeds:ends", "seeds:ends raised SystemExit\n"),
    ],
)
def test_a_function_that_raises_is_told_with_its_lines(
    seeded: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, named: str, says: str
) -> None:
    """The type of the exception and the lines are shown; of others' messages nothing."""
    monkeypatch.setenv("HEALTHSTORE_SEED", named)
    (folder / "secret").write_text(SECRET, "utf-8")
    ended = seeded("schema", "seed", *ONE)
    assert (ended.code, says in ended.err) == (Exit.FAILURE, True), ended.err
    assert f"in {named.partition(':')[2]}\n" in ended.err
    assert "where: seeds.py:" in ended.err
    told = seeded("schema", "seed", *ONE, "--json")
    assert told.data["error"]["message"].startswith(says.strip())
    assert SECRET not in ended.out + ended.err + told.out + told.err


def test_in_production_the_name_of_the_member_is_asked_for(seeded: Run) -> None:
    """Reference data belongs there, too, and nothing else by mistake."""
    production = (*ONE, "--profile", "production")
    refused = seeded("schema", "seed", *production)
    assert (refused.code, "say --yes sqlite" in refused.err) == (Exit.REFUSED, True)
    assert seeded("schema", "seed", "--yes", "main", *production).code == Exit.REFUSED
    assert not Path("one.db").exists()
    assert seeded("schema", "seed", "--yes", "sqlite", *production).code == Exit.OK
    assert patients(seeded) == 1

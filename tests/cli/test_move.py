"""``migrate``, ``verify``, ``backup``, ``restore`` and ``schema``, as scripts use them."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import pytest
from tests.cli.commands import Run

from healthstore.cli.exits import Exit

ONE, TWO, THREE = "sqlite:///one.db", "sqlite:///two.db", "sqlite:///three.db"
SECRET = "canary-5ecret"


@pytest.fixture
def filled(run: Run, folder: Path) -> Run:
    """Return the function that runs commands, with documents in the first store."""
    patients = "".join(
        f'{{"email": "{SECRET}{number}@example.org", "notes": [{number}]}}\n'
        for number in range(40)
    )
    (folder / "p.jsonl").write_text(patients, "utf-8")
    assert run("load", "p.jsonl", "--entity", "clinic:Patient", "--url", ONE).code == Exit.OK
    (folder / "w.jsonl").write_text('{"kg": 70.5}\n{"kg": null}\n', "utf-8")
    assert run("load", "w.jsonl", "--entity", "clinic:Weight", "--url", ONE).code == Exit.OK
    return run


def change(file: str, statement: str) -> None:
    """Write to a store behind the library's back."""
    connection = sqlite3.connect(file)
    try:
        with connection:
            connection.execute(statement)
    finally:
        connection.close()


def test_stores_move_whole_and_compare_equal(filled: Run) -> None:
    """Migrate, verify, backup and restore need no entity, and every copy is equal."""
    moved = filled("migrate", ONE, TWO, "--json")
    assert moved.code == Exit.OK, moved.err
    assert (moved.data["rows"], moved.data["verified"]) == (42, True)
    assert filled("verify", ONE, TWO, "--json").data["rows"] == 42
    assert filled("backup", TWO, "b.json", "--json").data["rows"] == 42
    assert filled("restore", "b.json", THREE, "--json").data["rows"] == 42
    digests = [
        {each["collection"]: each["left_digest"] for each in ended.data["collections"]}
        for ended in (filled("verify", ONE, THREE, "--json"), filled("verify", TWO, ONE, "--json"))
    ]
    assert digests[0] == digests[1]


def test_a_backup_never_replaces_its_own_source(filled: Run, folder: Path) -> None:
    """Nor another database: the command fails and names the way out, and every byte stays."""
    assert filled("migrate", ONE, TWO).code == Exit.OK
    for name in ("one.db", "two.db"):
        before = (folder / name).read_bytes()
        ended = filled("backup", ONE, name)
        assert ended.code == Exit.FAILURE
        assert "another path" in ended.err
        assert (folder / name).read_bytes() == before


def test_people_get_a_table(filled: Run) -> None:
    """Without ``--json`` the result is a table on standard output, and nothing else is said."""
    ended = filled("migrate", ONE, TWO)
    assert (ended.code, ended.err) == (Exit.OK, "")
    assert "patients" in ended.out
    assert "weights" in ended.out
    assert "\x1b" not in ended.out


def test_quiet_says_nothing(filled: Run) -> None:
    """``--quiet`` leaves both streams empty when all is well."""
    ended = filled("migrate", ONE, TWO, "--quiet")
    assert (ended.code, ended.out, ended.err) == (Exit.OK, "", "")


def test_one_entity_moves_alone(filled: Run) -> None:
    """``--entity`` restricts a transfer to that entity's collection."""
    ended = filled("migrate", ONE, TWO, "--entity", "clinic:Patient", "--json")
    assert [each["collection"] for each in ended.data["collections"]] == ["patients"]


def test_a_difference_is_told_and_ends_with_6(filled: Run) -> None:
    """Stores that differ: which documents and fields, never a value, and exit code 6."""
    assert filled("migrate", ONE, TWO).code == Exit.OK
    change("two.db", f"UPDATE patients SET email = email || '{SECRET}' WHERE email LIKE '%7@%'")
    change("two.db", "DELETE FROM patients WHERE email LIKE '%18@%'")
    ended = filled("verify", ONE, TWO)
    assert ended.code == Exit.MISMATCH
    assert ": email" in ended.out
    assert "only in A" in ended.out
    assert "error: the stores differ" in ended.err
    assert SECRET not in ended.out + ended.err
    told = filled("verify", ONE, TWO, "--json")
    (patients,) = [each for each in told.data["collections"] if each["collection"] == "patients"]
    assert (patients["missing_count"], patients["changed_count"]) == (1, 4)
    assert SECRET not in told.out


def test_a_filled_target_is_left_alone(filled: Run) -> None:
    """A migration into a store that holds documents is refused; they stay as they are."""
    assert filled("migrate", ONE, TWO).code == Exit.OK
    ended = filled("migrate", ONE, TWO)
    assert ended.code == Exit.FAILURE
    assert "already holds documents" in ended.err
    assert filled("verify", ONE, TWO).code == Exit.OK


@pytest.mark.parametrize("how", ["changed", "cut", "foreign"])
def test_a_damaged_backup_is_refused(filled: Run, folder: Path, how: str) -> None:
    """A backup with one other byte, cut off, or of another kind: exit code 6, nothing written."""
    assert filled("backup", ONE, "b.json").code == Exit.OK
    whole = (folder / "b.json").read_bytes()
    damaged = {
        "changed": whole.replace(b"70.50", b"70.51"),
        "cut": whole[: len(whole) // 2],
        "foreign": b'{"users": []}\n',
    }[how]
    (folder / "b.json").write_bytes(damaged)
    ended = filled("restore", "b.json", TWO, "--json")
    assert ended.code == Exit.MISMATCH
    assert ended.data["error"]["code"] == "HS-7002"
    assert SECRET not in ended.out + ended.err
    shown = filled("schema", "show", TWO, "--json")
    assert shown.data["collections"] == []


def test_a_file_that_is_not_there_makes_no_store(run: Run, folder: Path) -> None:
    """A mistyped name of a file leaves nothing behind."""
    for command in (
        ("restore", "nowhere.json", "sqlite:///new.db"),
        ("load", "nowhere.jsonl", "--entity", "clinic:Patient", "--url", "sqlite:///new.db"),
    ):
        ended = run(*command)
        assert (ended.code, "nowhere" in ended.err) == (Exit.USAGE, True)
        assert not (folder / "new.db").exists()


def test_an_unknown_collection_is_refused(filled: Run) -> None:
    """Restoring an entity that the backup does not hold says what it holds."""
    assert filled("backup", ONE, "b.json", "--entity", "clinic:Patient").code == Exit.OK
    ended = filled("restore", "b.json", TWO, "--entity", "clinic:Weight")
    assert ended.code == Exit.CONFIGURATION
    assert "'weights'" in ended.err
    assert "patients" in ended.err


def test_the_schema_is_told_without_the_entities(filled: Run) -> None:
    """``schema show`` shows fields, keys and counts from the store's own catalog."""
    ended = filled("schema", "show", ONE)
    assert ended.code == Exit.OK
    for part in ("patients: 40 documents", "decimal(6, 2)", "unique", "refers to patients"):
        assert part in ended.out
    shown = filled("schema", "show", ONE, "--json").data
    assert {each["name"]: each["documents"] for each in shown["collections"]} == {
        "patients": 40,
        "weights": 2,
    }
    assert json.dumps(shown).count(SECRET) == 0


def test_the_schema_shows_what_a_check_demands(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule, not only its name."""
    (folder / "measured.py").write_text(
        "from healthstore import Check, Entity, F\n"
        "class Pulse(Entity, collection='pulses', checks=[\n"
        "    Check('human', (F.rate >= 0) & (F.rate <= 400) & ~(F.note == 'x')),\n"
        "    Check('kept', F.created_at <= F.updated_at)]):\n"
        "    rate: int\n"
        "    note: str | None = None\n",
        "utf-8",
    )
    assert run("initialize", "measured:Pulse", "--url", ONE).code == Exit.OK
    monkeypatch.delitem(sys.modules, "measured")
    shown = run("schema", "show", ONE).out
    assert "check human: " in shown
    assert "check kept: created_at <= updated_at" in shown
    for part in ("rate >= 0", "rate <= 400", " and ", "note", "'x'"):
        assert part in shown


def test_a_look_at_an_empty_store_changes_nothing(run: Run, folder: Path) -> None:
    """``schema show`` of a store without collections says so, and makes no table."""
    sqlite3.connect(folder / "empty.db").close()
    change("empty.db", "CREATE TABLE other (x)")
    ended = run("schema", "show", "sqlite:///empty.db", "--json")
    assert (ended.code, ended.data["collections"]) == (Exit.OK, [])
    connection = sqlite3.connect("empty.db")
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    connection.close()
    assert names == [("other",)]


def test_a_backup_of_an_earlier_release_is_restored_through_migrations(
    run: Run, folder: Path
) -> None:
    """The migrations that it lacks are named; loss wants the word, and without any it is as it was."""
    files = folder / "migrations"
    files.mkdir()
    (files / "0001_walks.py").write_text(
        "from healthstore.schema import *\n"
        "migration = Migration(operations=[CreateCollection(collection('walks', {\n"
        "    'place': Text(9), 'steps': Integer(nullable=True)}))])\n",
        "utf-8",
    )
    assert run("schema", "upgrade", "--url", ONE).code == Exit.OK
    key = "x'00000000000040008000000000000001'"
    change("one.db", f"INSERT INTO walks (id, version, place, steps) VALUES ({key}, 1, 'a', 5)")
    assert run("backup", ONE, "b.json").code == Exit.OK
    (files / "0002_no_steps.py").write_text(
        "from healthstore.schema import *\n"
        "migration = Migration(after='0001_walks', operations=[DropField('walks', 'steps')])\n",
        "utf-8",
    )
    refused = run("restore", "b.json", TWO, "--migrations", "migrations")
    assert refused.code != Exit.OK
    assert "--allow-loss" in refused.err
    ended = run("restore", "b.json", THREE, "--migrations", "migrations", "--allow-loss", "--json")
    assert (ended.code, ended.data["rows"]) == (Exit.OK, 1)
    assert ended.data["migrated"] == ["0002_no_steps"]
    told = run(
        "restore", "b.json", "sqlite:///four.db", "--migrations", "migrations", "--allow-loss"
    )
    assert "applied 0002_no_steps" in told.out
    assert run("restore", "b.json", "sqlite:///five.db").code == Exit.OK
    assert "0001_walks" in run("schema", "current", "--url", "sqlite:///five.db").out

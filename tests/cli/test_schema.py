"""``schema show`` and ``schema diff``, as who changes an entity uses them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.cli.commands import Run, Terminal
from tests.unit.schema import releases

from healthstore.cli.exits import Exit

ONE = "sqlite:///one.db"
SECRET = "canary-5ecret"

FIRST = """
from typing import Annotated
from uuid import UUID
from healthstore import Entity, MaxLength

class Patient(Entity, collection="patients"):
    name: Annotated[str, MaxLength(40)]
    ward: str | None = None
"""
SECOND = """
from typing import Annotated
from uuid import UUID
from healthstore import Check, Entity, F, Index, MaxLength, Ref, Unique

class Patient(Entity, collection="patients", indexes=[Index("rank")],
              checks=[Check("ranked", F.rank != 4711)]):
    phone: Annotated[str, MaxLength(20)] | None = None
    rank: int = 4711
    name: Annotated[str, Unique(), MaxLength(50)]
    insurer: str

class Visit(Entity, collection="visits"):
    patient: Annotated[UUID, Ref(Patient)]
"""


@pytest.fixture
def released(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return the function that runs commands, after a second release of the entities."""
    (folder / "ward.py").write_text(FIRST, "utf-8")
    (folder / "rows.jsonl").write_text('{"name": "Ann"}\n{"name": "Bo"}\n', "utf-8")
    assert run("initialize", "ward:Patient", "--url", ONE).code == Exit.OK
    assert run("load", "rows.jsonl", "--entity", "ward:Patient", "--url", ONE).code == Exit.OK
    monkeypatch.delitem(sys.modules, "ward")
    (folder / "ward2.py").write_text(SECOND, "utf-8")
    return run


def test_what_changed_is_shown_with_its_effect_and_the_rows(released: Run) -> None:
    """Each change has a line, and the worst of them is told; the store stays as it was."""
    ended = released("schema", "diff", ONE, "--entity", "ward2", "--json")
    assert ended.code == Exit.BEHIND
    told = [
        (each["collection"], each["operation"], each["effect"], each["against"], each["rows"])
        for each in ended.data["operations"]
    ]
    assert told == [
        ("patients", "DropField", "loses data", 0, 2),
        ("patients", "ChangeField", "additive", 0, 2),
        ("patients", "AddField", "additive", 0, 2),
        ("patients", "AddField", "additive", 0, 2),
        ("patients", "AddField", "needs data", 2, 2),
        ("patients", "AddUnique", "needs data", 0, 2),
        ("patients", "AddIndex", "additive", 0, 2),
        ("patients", "AddCheck", "needs data", 2, 2),
        ("visits", "CreateCollection", "additive", 0, 0),
    ]
    assert ended.data["effect"] == "loses data"
    assert ended.data["store"] == "sqlite"
    shown = released("schema", "diff", ONE, "--entity", "ward2:Patient")
    assert shown.code == Exit.BEHIND
    for part in (
        "add the field phone",
        "drop the field ward",
        "loses data",
        "add the unique key",
    ):
        assert part in shown.out
    assert "visits" not in shown.out
    assert "4711" not in ended.out + shown.out  # values of a program are nobody else's
    assert released("schema", "show", ONE).out.count("ward") == 1


def test_what_it_would_run_is_shown_when_asked_for(released: Run) -> None:
    """Each change's statements, and whether the table is copied; without --sql no constant is told."""
    arguments = ("schema", "diff", ONE, "--entity", "ward2")
    ended = released(*arguments, "--sql", "--json")
    changes = [(each["change"].partition(":")[0], each) for each in ended.data["operations"]]
    rewriting = [name for name, each in changes if each["rewrites"]]
    assert rewriting == [
        "drop the field ward",
        "add the field insurer",
        "add the unique key (name)",
        "add the check ranked",
    ]
    assert all(each["seconds"] > 0 for _, each in changes if each["rewrites"])
    told = {name: each["statements"] for name, each in changes}
    assert told["change the field name"] == []  # a text is a text
    (added,) = told["add the field rank"]
    assert added == 'ALTER TABLE "patients" ADD COLUMN "rank" INTEGER DEFAULT 4711 NOT NULL'
    assert f"{added};" in released(*arguments, "--sql").out
    assert "ADD COLUMN" not in released(*arguments).out
    assert "statements" not in released(*arguments, "--json").data["operations"][0]


def test_equal_definitions_end_with_0(released: Run) -> None:
    """An entity that the store was made for needs nothing; beside it there may be others."""
    ended = released("schema", "diff", "--url", ONE, "--entity", "ward:Patient")
    assert (ended.code, ended.out) == (Exit.OK, "sqlite is as the entities say\n")
    told = released("schema", "diff", ONE, "--entity", "ward", "--json").data
    assert (told["operations"], told["effect"]) == ([], "additive")


def test_a_module_that_ends_the_program_is_an_error(released: Run, folder: Path) -> None:
    """With whatever code it does so: a gate must not take that for the answer."""
    (folder / "leaves.py").write_text("import sys\nsys.exit()\n", "utf-8")
    ended = released("schema", "diff", ONE, "--entity", "leaves")
    assert (ended.code, "SystemExit" in ended.err) == (Exit.USAGE, True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["schema", "diff", ONE], Exit.USAGE, "--entity"),
        (["schema", "diff", ONE, "--entity", "wrad"], Exit.USAGE, "wrad"),
        (["schema", "diff", ONE, "--entity", "typing"], Exit.USAGE, "has no entity"),
        (["schema", "diff", ONE, "--entity", "ward:Patent"], Exit.USAGE, "did you mean Patient?"),
        (["schema", "diff", "sqlite:///no.db", "--entity", "ward"], Exit.USAGE, "no.db"),
        (["schema", f"postgresql://me:{SECRET}@h/d"], Exit.USAGE, "schema --help"),
        (["schema", "dif"], Exit.USAGE, "diff"),
    ],
)
def test_wrong_use_is_told(released: Run, arguments: list[str], code: Exit, says: str) -> None:
    """Each message says what to change, and no file is made."""
    ended = released(*arguments)
    assert (ended.code, says in ended.err) == (code, True), ended.err
    assert SECRET not in ended.out + ended.err
    assert not Path("no.db").exists()


# --- migration files -----------------------------------------------------------------------------


@pytest.fixture
def revised(released: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return the function that runs commands, with a migration of the first release."""
    monkeypatch.delitem(sys.modules, "ward2", raising=False)
    ended = released("schema", "revise", "-m", "First release", "--entity", "ward")
    assert ended.code == Exit.OK
    assert (folder / "migrations" / "0001_first_release.py").is_file()
    return released


def test_files_are_written_from_entities_and_lead_a_store_to_them(
    revised: Run, folder: Path
) -> None:
    """Nothing is to be written twice; the store goes up, tells where it is, and comes back."""
    assert revised("schema", "check", "--entity", "ward").code == Exit.OK
    again = revised("schema", "revise", "-m", "again", "--entity", "ward")
    assert (again.code, "nothing is to be written" in again.out) == (Exit.OK, True)
    other = f"sqlite:///{folder}/other.db"
    wrong = revised("schema", "upgrade", "--url", other, "--dir", "migratoins")
    assert (wrong.code, "there is no folder migratoins" in wrong.err) == (Exit.CONFIGURATION, True)
    up = revised("schema", "upgrade", "--url", other)
    assert (up.code, up.out) == (
        Exit.OK,
        "applied: 0001_first_release\nThe store is at 0001_first_release.\n",
    )
    assert revised("schema", "diff", other, "--entity", "ward").code == Exit.OK
    assert revised("schema", "current", "--url", other).out == "0001_first_release\n"
    history = revised("schema", "history", "--url", other, "--json").data["migrations"]
    assert [each["id"] for each in history] == ["0001_first_release"]
    assert history[0]["applied"]
    down = revised("schema", "downgrade", "--url", other, "--json")
    assert (down.data["done"], down.data["current"]) == (["0001_first_release"], None)
    assert revised("schema", "current", "--url", other).out == "no migration\n"
    stamped = revised("schema", "stamp", "--url", ONE)
    assert (stamped.code, stamped.out) == (Exit.OK, "The store is at 0001_first_release.\n")


def test_a_missing_migration_and_a_possible_rename_are_told(revised: Run, folder: Path) -> None:
    """The check of CI ends with 9; a field that may have been renamed is asked for by name."""
    missing = revised("schema", "check", "--entity", "ward2:Patient", "--json")
    assert missing.code == Exit.BEHIND
    assert "drop the field ward" in [each["change"] for each in missing.data["operations"]]
    asked = revised("schema", "revise", "-m", "second", "--entity", "ward2:Patient")
    assert asked.code == Exit.UNANSWERED
    assert "--rename patients.ward=patients.phone" in asked.err
    assert "patients.ward goes: was it renamed to insurer or phone?" in asked.err
    assert "--drop patients.ward" in asked.err
    said = ("--drop", "patients.ward")
    wrote = revised("schema", "revise", "-m", "second", "--entity", "ward2:Patient", *said)
    assert wrote.code == Exit.OK
    assert "required-field: rows that are there have no value for it" in wrote.out
    text = (folder / "migrations" / "0002_second.py").read_text("utf-8")
    assert "after='0001_first_release'" in text
    assert "import ward" not in text
    assert revised("schema", "check", "--entity", "ward2:Patient").code == Exit.OK
    assert revised("schema", "stamp", "1", "--url", ONE).code == Exit.OK
    refused = revised("schema", "upgrade", "--url", ONE)
    assert refused.code == Exit.BEHIND
    assert "stand against changes" in refused.err
    wrong = revised("schema", "upgrade", "17", "--url", ONE)
    assert (wrong.code, "there is no migration '17'" in wrong.err) == (Exit.CONFIGURATION, True)


@pytest.mark.parametrize("said", ["option", "terminal"])
def test_a_rename_that_is_said_keeps_what_is_stored(
    revised: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """As an option, or as an answer at the terminal, it is written as a rename."""
    other = f"sqlite:///{folder}/other.db"
    assert revised("schema", "upgrade", "--url", other).code == Exit.OK
    options = ("--rename", "patients.ward=patients.phone") if said == "option" else ()
    if not options:
        monkeypatch.setattr(sys, "stdin", Terminal("n\ny\n"))  # insurer is more alike
    wrote = revised("schema", "revise", "-m", "second", "--entity", "ward2:Patient", *options)
    assert wrote.code == Exit.OK
    assert ("Was patients.ward renamed to phone?" in wrote.err) is not bool(options)
    text = (folder / "migrations" / "0002_second.py").read_text("utf-8")
    assert "RenameField('patients', 'ward', 'phone')" in text
    assert "DropField" not in text
    assert revised("schema", "check", "--entity", "ward2:Patient").code == Exit.OK
    assert revised("schema", "upgrade", "--url", other).code == Exit.OK
    assert revised("schema", "downgrade", "--url", other).code == Exit.OK


def test_an_answer_that_is_no_is_a_drop(
    revised: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who ends the questions without an answer has written nothing."""
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    ended = revised("schema", "revise", "-m", "second", "--entity", "ward2:Patient")
    assert ended.code == Exit.UNANSWERED
    assert not (folder / "migrations" / "0002_second.py").exists()
    monkeypatch.setattr(sys, "stdin", Terminal("n\n" * 2))
    assert revised("schema", "revise", "-m", "second", "--entity", "ward2:Patient").code == Exit.OK
    text = (folder / "migrations" / "0002_second.py").read_text("utf-8")
    assert "DropField('patients', 'ward')" in text
    assert "RenameField" not in text


@pytest.mark.parametrize(
    "rename",
    [
        *("patients", "patients.ward=", "patients.ward=notes.ward", "a=b=c"),
        *("patients.ward=x", "patients=people", "nope=patients"),
    ],
)
def test_a_rename_that_is_none_is_refused(revised: Run, folder: Path, rename: str) -> None:
    """Nothing is written."""
    options = ("--rename", rename, "--entity", "ward2:Patient")
    ended = revised("schema", "revise", "-m", "second", *options)
    assert ended.code not in {Exit.OK, Exit.INTERRUPTED}
    assert not (folder / "migrations" / "0002_second.py").exists()


def test_lint_tells_what_is_unsafe(run: Run, folder: Path) -> None:
    """Where, why and what to do instead; it exits with 1, and with 0 where nothing is known."""
    releases.write(folder, "0001_patients", "0002_add_phone")
    ended = run("schema", "lint", "--json")
    assert (ended.code, ended.data["ok"]) == (Exit.FAILURE, False)
    rules = {each["rule"]: each["backends"] for each in ended.data["findings"]}
    assert rules["blocking-index"] == ["postgresql", "sqlite"]
    shown = run("schema", "lint").out
    assert "0002_add_phone: patients: add the index" in shown
    assert "instead: " in shown
    quiet = run("schema", "lint", "--from", "0002")
    assert (quiet.code, "Nothing unsafe" in quiet.out) == (Exit.OK, True)
    assert run("schema", "lint", "--from", "0009").code == Exit.CONFIGURATION


def test_sql_prints_a_script(run: Run, folder: Path) -> None:
    """From where the store is, or of a range without any store; what it says is all that is there."""
    releases.write(folder, "0001_patients", "0002_add_phone")
    offline = run("schema", "sql", "--dialect", "postgresql", "--from", "1")
    assert offline.code == Exit.OK
    assert 'ALTER TABLE "patients" ADD COLUMN "phone" VARCHAR(20)' in offline.out
    assert "CREATE TABLE" not in offline.out
    by_url = run("schema", "sql", "--url", "mariadb://nobody@nowhere/none", "--from", "zero")
    assert (by_url.code, "utf8mb4_nopad_bin" in by_url.out) == (Exit.OK, True)
    assert run("schema", "upgrade", "1", "--url", ONE).code == Exit.OK
    told = run("schema", "sql", "--url", ONE, "--json").data
    assert "-- 0002_add_phone" in told["script"]
    assert "-- 0001_patients" not in told["script"]
    refused = run("schema", "sql", "--url", "mongodb://h/d", "--from", "zero")
    assert (refused.code, "by a script" in refused.err) == (Exit.CONFIGURATION, True)
    assert run("schema", "sql", "--dialect", "oracle").code == Exit.CONFIGURATION

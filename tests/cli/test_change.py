"""``initialize``, ``switch`` and the commands of ``config``, as they are given on a line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.commands import Run

from healthstore.cli.exits import Exit

SECRET = "canary-5ecret"
DOWN = f"postgresql://me:{SECRET}@127.0.0.1:1/data"
ONE, TWO = "sqlite:///one.db", "sqlite:///two.db"
PAIR = ("--url", ONE, "--url", TWO)


@pytest.fixture
def filled(run: Run, folder: Path) -> Run:
    """Return the function that runs commands, with two stores that are equal."""
    (folder / "w.jsonl").write_text('{"kg": 70.5}\n{"kg": null}\n', "utf-8")
    assert run("initialize", "clinic:Patient", "clinic:Weight", "--url", ONE).code == Exit.OK
    assert run("load", "w.jsonl", "--entity", "clinic:Weight", "--url", ONE).code == Exit.OK
    assert run("migrate", ONE, TWO).code == Exit.OK
    return run


def test_collections_are_made_once(run: Run) -> None:
    """The first time they are created, the second time they are found."""
    first = run("initialize", "clinic:Patient", "clinic:Weight", "--url", ONE, "--json")
    assert first.code == Exit.OK, first.err
    assert first.data["created"] == ["patients", "weights"]
    second = run("initialize", "clinic:Patient", "--url", ONE, "--json")
    assert (second.data["created"], second.data["present"]) == ([], ["patients"])
    assert "was there" in run("initialize", "clinic:Patient", "--url", ONE).out


def test_another_definition_is_refused(run: Run, folder: Path) -> None:
    """A collection that was made from another definition ends with 4 and is left alone."""
    assert run("initialize", "clinic:Patient", "--url", ONE).code == Exit.OK
    (folder / "broken.py").write_text(
        "from healthstore import Entity\n"
        'class Patient(Entity, collection="patients"):\n    age: int\n',
        "utf-8",
    )
    ended = run("initialize", "broken:Patient", "--url", ONE, "--json")
    assert ended.code == Exit.CONFIGURATION
    assert ended.data["error"]["code"] == "HS-1003"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["initialize", "clinic:Patient", "--url", DOWN], Exit.UNAVAILABLE, "refuses"),
        (["initialize", "clinic:Patent", "--url", ONE], Exit.USAGE, "did you mean Patient?"),
        (["initialize", "--url", ONE], Exit.USAGE, "MODULE:CLASS"),
        (["health", "--wacth"], Exit.USAGE, "--watch"),
        (["doctor", "--jsn"], Exit.USAGE, "--json"),
        (["stats", "--ulr", ONE], Exit.USAGE, "--url"),
        (["switch", "--url", ONE], Exit.USAGE, "NAME"),
        (["health", "--url", f"mysq://me:{SECRET}@h/d"], Exit.CONFIGURATION, "mysql"),
        (["stats", "--url", ONE, "--config", "x.toml"], Exit.USAGE, "exclude"),
        (["stats", "--config", "absent.toml"], Exit.CONFIGURATION, "absent.toml"),
        (["config", "shw"], Exit.USAGE, "show"),
    ],
)
def test_a_mistake_ends_with_its_code(
    run: Run, arguments: list[str], code: Exit, says: str
) -> None:
    """Wrong use and wrong configuration: one block with what to do, and no secret in it."""
    ended = run(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("error: ")
    assert says in ended.err
    assert "hint: " in ended.err
    assert SECRET not in ended.err


def test_an_equal_member_could_take_over(filled: Run) -> None:
    """``switch --dry-run`` to a member that holds the same: exit 0, with counts."""
    ended = filled("switch", "sqlite-2", *PAIR, "--dry-run", "--json")
    assert ended.code == Exit.OK, ended.err
    assert (ended.data["source"], ended.data["target"]) == ("sqlite", "sqlite-2")
    assert ended.data["documents"]["sqlite"] == ended.data["documents"]["sqlite-2"]
    assert "sqlite → sqlite-2 is possible" in filled("switch", "sqlite-2", *PAIR, "--dry-run").out


def test_a_member_that_is_behind_could_not(filled: Run) -> None:
    """A member that lacks documents: exit 7, with the reason and both counts."""
    assert filled("load", "w.jsonl", "--entity", "clinic:Weight", "--url", ONE).code == Exit.OK
    ended = filled("switch", "sqlite-2", *PAIR, "--dry-run", "--json")
    assert ended.code == Exit.REFUSED
    assert ended.data["reasons"]
    documents = ended.data["documents"]
    assert (documents["sqlite"]["weights"], documents["sqlite-2"]["weights"]) == (4, 2)
    shown = filled("switch", "sqlite-2", *PAIR, "--dry-run")
    assert "is not possible now" in shown.out
    assert "behind" in shown.out


def test_a_member_that_is_down_could_not(filled: Run) -> None:
    """A member that cannot be reached: exit 7, and nothing of its URL is shown."""
    ended = filled("switch", "postgresql", "--url", ONE, "--url", DOWN, "--dry-run", "--json")
    assert ended.code == Exit.REFUSED
    assert ended.data["reasons"]
    assert SECRET not in ended.out + ended.err


def test_an_unknown_member_comes_with_a_suggestion(filled: Run) -> None:
    """A name that is no member's names the nearest one."""
    ended = filled("switch", "sqlite-3", *PAIR, "--dry-run")
    assert ended.code == Exit.CONFIGURATION
    assert "did you mean" in ended.err


def test_a_command_switches_nothing(filled: Run) -> None:
    """Without ``--dry-run`` it says what to do instead, and exits with 7."""
    ended = filled("switch", "sqlite-2", *PAIR)
    assert (ended.code, ended.out) == (Exit.REFUSED, "")
    for part in ("db.switch('sqlite-2')", "--dry-run"):
        assert part in ended.err


def test_the_commands_of_config_are_there(run: Run) -> None:
    """A new file is written, checked and shown, with the options of every command."""
    assert run("config", "init").code == Exit.OK
    assert run("config", "check", "--json").data["members"]
    assert run("--json", "config", "show", "--origin").data["origins"]
    assert run("config", "schema", "--json").data["schema"]
    assert "show" in run("config").out + run("config").err

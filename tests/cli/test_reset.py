"""``schema reset``, as a developer uses it on a database that may be lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.commands import Run

from healthstore.cli.exits import Exit

ONE = ("--url", "sqlite:///one.db")
ROWS = '{"email": "ann@example.org"}\n{"email": "bo@example.org"}\n'


@pytest.fixture
def clinic(run: Run, folder: Path) -> Run:
    """Return the function that runs commands, with a migration that is applied and two patients."""
    (folder / "rows.jsonl").write_text(ROWS, "utf-8")
    assert run("schema", "revise", "-m", "first", "--entity", "clinic").code == Exit.OK
    assert run("schema", "upgrade", *ONE).code == Exit.OK
    assert run("load", "rows.jsonl", "--entity", "clinic:Patient", *ONE).code == Exit.OK
    return run


def patients(run: Run) -> int:
    """Return how many patients there are."""
    shown = run("schema", "show", *ONE, "--json").data["collections"]
    return next(int(each["documents"]) for each in shown if each["name"] == "patients")


def test_a_store_is_reset_by_the_name_of_its_member(clinic: Run) -> None:
    """What goes is counted before; then the files are applied anew."""
    ended = clinic("schema", "reset", "--yes", "sqlite", *ONE)
    assert ended.code == Exit.OK
    lines = ended.out.splitlines()
    assert any("patients" in line and " 2 " in line for line in lines)
    assert lines[-2:] == ["applied: 0001_first", "sqlite was reset, and is at 0001_first."]
    assert patients(clinic) == 0
    again = clinic("schema", "reset", "--yes", "sqlite", *ONE, "--json").data
    assert (again["rows"], again["done"], again["current"]) == (0, ["0001_first"], "0001_first")
    assert again["collections"] == {"patients": 0, "weights": 0}
    empty = clinic("schema", "reset", "--yes", "sqlite", "--dir", "none", *ONE)
    assert empty.out.endswith("sqlite was reset, and is at zero.\n")
    assert clinic("schema", "show", *ONE, "--json").data["collections"] == []


@pytest.mark.parametrize("said", [(), ("--yes", "main"), ("--yes", "SQLITE")])
def test_without_the_name_nothing_is_removed(clinic: Run, said: tuple[str, ...]) -> None:
    """The refusal counts what would go, and says what to say."""
    ended = clinic("schema", "reset", *said, *ONE)
    assert ended.code == Exit.REFUSED
    assert "that everything in sqlite is to be removed is not confirmed" in ended.err
    assert "nothing was changed; if it is meant, say --yes sqlite\n" in ended.err
    assert any("patients" in line and " 2 " in line for line in ended.out.splitlines())
    assert patients(clinic) == 2
    absent = clinic("schema", "reset", *said, "--url", "sqlite:///no.db")
    assert (absent.code, Path("no.db").exists()) == (Exit.USAGE, False)


def test_in_production_it_is_refused(
    clinic: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever says that it is: the option, the environment, a file; also of a URL."""
    asked = ("schema", "reset", "--yes", "sqlite")
    refused = [clinic(*asked, *ONE, "--profile", "production")]
    monkeypatch.setenv("HEALTHSTORE_PROFILE", "production")
    refused.append(clinic(*asked, *ONE))
    monkeypatch.delenv("HEALTHSTORE_PROFILE")
    text = 'profile = "production"\n[[members]]\nurl = "sqlite:///one.db"\n'
    (folder / "healthstore.toml").write_text(text, "utf-8")
    refused += [clinic(*asked), clinic(*asked, *ONE)]
    for each in refused:
        assert each.code == Exit.REFUSED
        assert "sqlite is in production" in each.err
    assert clinic(*asked, *ONE, "--profile", "test").code == Exit.OK

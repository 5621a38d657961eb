"""``schema squash``, as a team uses it that has too many files."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.commands import Run
from tests.unit.schema.releases import FILES, write

from healthstore.cli.exits import Exit
from healthstore.schema.files import read_chain

ONE = ("--url", "sqlite:///one.db")
IDS = tuple(FILES)
NAME = f"{IDS[-1][:4]}_the_first_year"


@pytest.fixture
def released(run: Run, folder: Path) -> Run:
    """Return the function that runs commands, with the migrations of several releases."""
    write(folder)
    return run


def names() -> list[str]:
    """Return the names of the files."""
    return sorted(each.stem for each in Path("migrations").glob("*.py"))


def test_one_file_takes_the_place_of_all(released: Run) -> None:
    """They are removed; stores that have them and new ones go on with it."""
    assert released("schema", "upgrade", *ONE).code == Exit.OK
    ended = released("schema", "squash", "-m", "The first year")
    assert ended.code == Exit.OK
    path = Path("migrations", f"{NAME}.py")
    assert f"Wrote {path}, which takes their place.\n" in ended.out
    assert f"Removed {Path('migrations', IDS[0])}.py\n" in ended.out
    assert names() == [NAME]
    up = released("schema", "upgrade", *ONE, "--json").data
    assert (up["done"], up["current"]) == ([], NAME)
    other = released("schema", "upgrade", "--url", "sqlite:///other.db", "--json").data
    assert other["done"] == [NAME]
    assert released("schema", "downgrade", *ONE, "--json").data["current"] is None


def test_a_range_is_named_by_its_ends(released: Run) -> None:
    """By numbers or ids; a store that has a part of it is refused with 4."""
    assert released("schema", "upgrade", "1", *ONE).code == Exit.OK
    told = released("schema", "squash", "--to", "2", "-m", "both", "--json").data
    assert told["removed"] == told["replaces"] == list(IDS[:2])
    assert names() == ["0002_both", *IDS[2:]]
    ended = released("schema", "upgrade", *ONE)
    assert ended.code == Exit.CONFIGURATION
    assert "has a part of the migrations that '0002_both' replaces" in ended.err
    assert f"take it to '{IDS[1]}' by a release that has their files" in ended.err


@pytest.mark.parametrize(
    ("said", "code", "says"),
    [
        (("--from", "2", "-m", "x"), Exit.CONFIGURATION, "has a function"),
        (("--to", "1", "-m", "x"), Exit.CONFIGURATION, "fewer than two migrations"),
        (("--to", "17", "-m", "x"), Exit.CONFIGURATION, "there is no migration '17'"),
        (("-m", "-"), Exit.USAGE, "the message has no word"),
        (("--to", "2", "-m", "add phone"), Exit.FAILURE, "File exists"),
        ((), Exit.USAGE, "--message"),
    ],
)
def test_what_cannot_be_one_file_stays_as_it_was(
    released: Run, said: tuple[str, ...], code: Exit, says: str
) -> None:
    """Nothing is written, and nothing is removed."""
    before = read_chain("migrations")
    ended = released("schema", "squash", *said)
    assert (ended.code, says in ended.err) == (code, True), ended.err
    assert names() == list(IDS)
    assert read_chain("migrations").ids == before.ids


def test_a_file_that_would_lead_elsewhere_removes_nothing(
    released: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read back before those go that it replaces."""
    from healthstore.cli.schema import squash
    from healthstore.schema.written import written

    def less(message: str, after: str | None, operations: object, replaces: object) -> str:
        del operations
        assert isinstance(replaces, tuple)
        return written(message, after, (), replaces)

    monkeypatch.setattr(squash, "written", less)
    ended = released("schema", "squash", "-m", "less")
    assert (ended.code, "would not lead where" in ended.err) == (Exit.CONFIGURATION, True)
    assert names() == list(IDS)

"""``lint``: what is unsafe in migration files is found by reading them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.schema import releases

from healthstore.errors import MigrationError
from healthstore.schema import Finding, lint
from healthstore.schema.lint import RULES

FIRST = """
from healthstore.schema import *
migration = Migration(operations=[
    CreateCollection(collection("users", {"name": Text(100), "team": Uuid(nullable=True), "tags": Json()})),
    CreateCollection(collection("teams", {"name": Text(100)})),
])
"""
SECOND = """
from healthstore.schema import *

def up(row):
    return row

async def fill(documents):
    await documents.count("users")

migration = Migration(after="0001_first", operations=[OPERATIONS])
"""


def found(folder: Path, operations: str, comment: str = "") -> list[tuple[str, tuple[str, ...]]]:
    """Return the rules that a second migration of these operations breaks, and where."""
    (folder / "0001_first.py").write_text(FIRST.lstrip(), "utf-8")
    text = comment + SECOND.replace("OPERATIONS", operations).lstrip()
    (folder / "0002_second.py").write_text(text, "utf-8")
    return [(each.rule.name, each.backends) for each in lint(folder)]


BUILT = ("blocking-index", ("postgresql", "sqlite"))
BESIDE = ("blocking-index", ("sqlite",))
ALONE = ("not-idempotent", ("mongodb",))
FILLED = ("table-rewritten", ("mongodb",))
COPIED = ("table-rewritten", ("mariadb", "mongodb", "mysql", "sqlite"))
CASES = {
    'AddField("users", "age", Integer(nullable=True))': [],
    'AddField("users", "age", Integer(default=7))': [FILLED],
    'AddField("users", "age", Integer(nullable=True, default=7))': [FILLED],
    'AddField("users", "age", Integer())': [("required-field", ()), COPIED],
    'RenameField("users", "name", "label")': [("rename-at-once", ())],
    'RenameCollection("users", "people")': [("rename-at-once", ())],
    'ChangeField("users", "name", Text(90))': [
        ("narrower-field", ()),
        ("table-rewritten", ("mariadb", "mysql", "postgresql")),
    ],
    'ChangeField("users", "name", Text(120))': [],
    'AddUnique("users", Unique("name"))': [
        ("unprepared-key", ()),
        BUILT,
        ("table-rewritten", ("sqlite",)),
    ],
    'AddCheck("users", Check("named", F.name != ""))': [
        ("unprepared-key", ()),
        ("table-rewritten", ("mariadb", "mysql", "sqlite")),
    ],
    'AddReference("users", Reference("team", "teams"))': [
        ("unprepared-key", ()),
        ("table-rewritten", ("mariadb", "mysql", "sqlite")),
    ],
    'AddIndex("users", Index("name"))': [BESIDE],
    'AddIndex("users", Index("tags"))': [BESIDE],
    'AddIndex("users", Index(F.tags["x"].as_(float)))': [BUILT],
    'AddField("users", "age", Integer(nullable=True)), AddIndex("users", Index("age"))': [BUILT],
    'ChangeField("users", "name", Text(120)), AddIndex("users", Index("name"))': [BUILT],
    'AddField("users", "age", Integer(nullable=True)), AddIndex("users", Index("team"))': [BESIDE],
    'Transform("users", up=up)': [("no-way-back", ()), ALONE],
    'Transform("users", up=up, down=up)': [ALONE],
    "Run(fill, idempotent=True)": [("no-way-back", ())],
    'Transform("users", up=up, down=up, idempotent=True), AddUnique("users", Unique("name"))': [
        BUILT,
        ("table-rewritten", ("sqlite",)),
    ],
    'Transform("users", up=up, down=up, idempotent=True), DropField("users", "name")': [
        ("drop-with-transform", ()),
        ("table-rewritten", ("mongodb", "sqlite")),
    ],
    'Run(fill, fill, idempotent=True), DropCollection("teams")': [("drop-with-transform", ())],
    'DropCollection("teams")': [],
    'CreateCollection(collection("new", {"a": Text(9)})), AddUnique("new", Unique("a"))': [],
}


@pytest.mark.parametrize("operations", CASES)
def test_each_rule_speaks_of_what_it_is_about(operations: str, tmp_path: Path) -> None:
    """Of that and of nothing else; what costs is told of the backends where it does."""
    assert found(tmp_path, operations) == CASES[operations]


def test_every_rule_has_a_case_and_a_place_in_the_documentation() -> None:
    """A name that a finding shows is found there as a row."""
    named = {each.name for each in RULES}
    assert named == {name for found in CASES.values() for name, _ in found}
    page = Path(__file__).parents[3] / "docs/how-to/change-with-migration-files.md"
    assert named == set(re.findall(r"^\| `([\w-]+)` \|", page.read_text("utf-8"), re.MULTILINE))


def test_a_comment_accepts_a_rule(tmp_path: Path) -> None:
    """It is for the whole file, names one or several, and leaves the others."""
    operations = 'AddUnique("users", Unique("name"))'
    assert found(tmp_path, operations, "# lint: accept unprepared-key\n")[0] == BUILT
    accepted = "# lint: accept unprepared-key, blocking-index,table-rewritten: it is small\n"
    assert found(tmp_path, operations, accepted) == []


def test_it_begins_after_a_migration(tmp_path: Path) -> None:
    """What was applied long ago is not told again; a migration that is not there is an error."""
    folder = releases.write(tmp_path)

    def migrations(told: tuple[Finding, ...]) -> set[str]:
        return {each.migration for each in told}

    assert migrations(lint(folder)) == set(releases.FILES) - {"0001_patients"}
    assert migrations(lint(folder, "0004_codes_are_unique")) == {"0005_other_names"}
    assert migrations(lint(folder, "head")) == set()
    assert lint(tmp_path / "nothing") == ()
    with pytest.raises(MigrationError, match="there is no migration"):
        lint(folder, "0009")

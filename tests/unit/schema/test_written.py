"""What is written as a file is read back as the same operations."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from tests.unit.model.test_change import definitions

from healthstore.errors import MigrationError
from healthstore.model.change import AddField, ChangeField, FieldForm, changed, changes
from healthstore.model.definition import Check
from healthstore.model.query import F
from healthstore.model.schema import Collection
from healthstore.schema import Boolean, CreateCollection, Date, Number, Text, Uuid, collection
from healthstore.schema.files import read_chain
from healthstore.schema.migration import Migration, Transform
from healthstore.schema.written import written
from healthstore.testing.contract._samples import EVERYTHING
from healthstore.testing.edges import EDGES


def _read(text: str) -> Migration:
    namespace: dict[str, object] = {}
    exec(compile(text, "migration", "exec"), namespace)  # noqa: S102 - our own text
    migration = namespace["migration"]
    assert isinstance(migration, Migration)
    return migration


@settings(deadline=None, max_examples=200)
@given(definitions(), definitions())
def test_operations_are_read_back_as_they_were_written(
    stored: Collection, wanted: Collection
) -> None:
    """A new collection, and each change of one, with every key and check."""
    first = changes({}, [stored])
    second = changes({"notes": stored}, [wanted])
    assert list(_read(written("first", None, first)).operations) == list(first)
    read = _read(written("second", "0001_first", second))
    assert read.after == "0001_first"
    operations = [each for each in read.operations if not isinstance(each, Transform)]
    assert changed({"notes": stored}, operations)["notes"] == wanted


@pytest.mark.parametrize("kind", sorted(EDGES))
def test_every_default_is_read_back(kind: str) -> None:
    """Also those at the edges of its type."""
    form = EVERYTHING.field(kind).type
    added = [
        AddField("things", f"f{place}", FieldForm(form, nullable=bool(place % 2), default=value))
        for place, value in enumerate(EDGES[kind])
    ]
    read = _read(written('A "quoted" \\ message', None, added))
    assert [(each, each.form.default) for each in added] == [
        (each, each.form.default) for each in read.operations if isinstance(each, AddField)
    ]


@pytest.mark.parametrize("kind", sorted(EDGES))
def test_every_value_for_what_does_not_fit_is_read_back(kind: str) -> None:
    """None is one, too; where nothing is said, nothing is read."""
    form = FieldForm(EVERYTHING.field(kind).type, nullable=True)
    given = [ChangeField("things", "f", form, otherwise=value) for value in (None, *EDGES[kind])]
    read = _read(written("other", None, [*given, ChangeField("things", "f", form)])).operations
    assert list(read[:-1]) == given
    assert [each.instead for each in read if isinstance(each, ChangeField) and each.replaces] == [
        None,
        *EDGES[kind],
    ]
    last = read[-1]
    assert isinstance(last, ChangeField)
    assert not last.replaces


def test_rules_are_read_back() -> None:
    """Every test that a check may hold."""
    made = collection(
        "things",
        {
            "name": Text(40, nullable=True),
            "born": Date(),
            "price": Number(8, 2),
            "owner": Uuid(),
            "fine": Boolean(),
            "from": Text(9),
        },
        checks=[
            Check("a", F.name.contains("x") & ~F.name.startswith("y") | F.name.endswith("'z\"")),
            Check("b", ~F.name.contains("x") & F.name.in_(["a", "b"]) & ~F.name.in_(["c", None])),
            Check("c", (F.born >= date(1900, 1, 1)) & (F.price < Decimal("9.50"))),
            Check("d", (F.owner != UUID(int=1)) & (F.fine == True)),  # noqa: E712 - a filter
            Check("e", F["from"] > "a"),
            Check("f", ~(F["from"] >= F.name) | (F.name != F["from"])),
        ],
    )
    (read,) = _read(written("all", None, [CreateCollection(made)])).operations
    assert read == CreateCollection(made)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"first.py": "migration = Migration()"}, "is no name of a migration"),
        ({"0001_a.py": "x = 1"}, "defines no migration"),
        ({"0001_a.py": "x ="}, "SyntaxError in line 1"),
        ({"0001_a.py": "\n1 / 0"}, "ZeroDivisionError in line 2"),
        ({"0001_a.py": "import sys; sys.exit()"}, "SystemExit"),
        ({"0001_a.py": "M(after='0000_z')"}, "is after '0000_z', which is not in"),
        ({"0001_a.py": "M()", "0002_b.py": "M()"}, "'0001_a' and '0002_b' are the first"),
        (
            {
                "0001_a.py": "M()",
                "0002_b.py": "M(after='0001_a')",
                "0002_c.py": "M(after='0001_a')",
            },
            "'0002_b' and '0002_c' are after '0001_a'",
        ),
        ({"0001_a.py": "M(after='0002_b')", "0002_b.py": "M(after='0001_a')"}, "in a circle"),
        ({"0002_a.py": "M()", "0001_b.py": "M(after='0002_a')"}, "numbered 0001 is after"),
        ({"0001_a.py": "M(operations=[DropField('a', 'b')])"}, "there is no collection 'a'"),
        ({"0001_a.py": "M(operations=[Transform('a', up=None)])"}, "no collection 'a'"),
        ({"0001_a.py": "M(operations=[AddField('a', 'b', Integer(default='x'))])"}, "a default"),
    ],
)
def test_a_folder_that_is_wrong_is_refused(
    files: dict[str, str], says: str, tmp_path: Path
) -> None:
    """The error names the file, and what to do."""
    for name, text in files.items():
        made = text.replace("M(", "from healthstore.schema import *; migration = Migration(", 1)
        (tmp_path / name).write_text(made, "utf-8")
    with pytest.raises(MigrationError) as error:
        read_chain(tmp_path)
    assert says in error.value.message
    assert error.value.hint


def test_no_folder_is_no_migration(tmp_path: Path) -> None:
    """Neither is a module that begins with an underscore."""
    assert read_chain(tmp_path / "absent").links == ()
    (tmp_path / "__init__.py").write_text("", "utf-8")
    assert read_chain(tmp_path).state == {}

"""Values as text, and the drivers that a URL can name."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import BackendURL
from healthstore.abc.registry import connect
from healthstore.adapters.sql.dialect import BulkInsert
from healthstore.adapters.sql.mysql.literals import as_file, inserts
from healthstore.errors import ConfigurationError, MissingDriverError
from healthstore.model.values import Kind

TABLE = BulkInsert(
    "t",
    ("a", "b", "c"),
    (Kind.TEXT, Kind.BYTES, Kind.FLOAT),
    "INSERT INTO `t` (`a`, `b`, `c`) VALUES ",
    "",
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
ROW = st.tuples(
    st.none() | TEXT,
    st.none() | st.binary(),
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
)


def read_field(text: str) -> str | None:
    """Return a field as a server reads it: see its manual on LOAD DATA."""
    if text == "\\N":
        return None
    return re.sub(r"\\(.)", lambda found: {"t": "\t", "n": "\n"}.get(found[1], found[1]), text)


@given(st.lists(ROW, min_size=1))
def test_a_file_gives_back_every_value(rows: list[tuple[Any, ...]]) -> None:
    """Tabs, line ends and backslashes in a text end neither a field nor a line."""
    statement, pieces = as_file(TABLE, rows)
    lines = b"".join(pieces).decode().split("\n")
    assert lines.pop() == ""
    found = [tuple(map(read_field, line.split("\t"))) for line in lines]
    assert statement.endswith("(`a`, @b, `c`) SET `b` = UNHEX(@b)")
    wanted = [
        (
            text,
            None if data is None else data.hex(),
            None if number is None else repr(number),
        )
        for text, data, number in rows
    ]
    assert found == wanted


def test_a_file_is_made_while_it_is_sent() -> None:
    """A piece is made of rows that are asked for then: the server reads while the next is made."""
    asked: list[int] = []

    def rows() -> Iterator[tuple[Any, ...]]:
        for number in range(2_000):
            asked.append(number)
            yield f"{number}", b"", number

    _, pieces = as_file(TABLE, rows())
    assert not asked
    assert next(pieces).startswith(b"0\t\t0\n1\t")
    assert len(asked) < 1_000
    assert sum(piece.count(b"\n") for piece in pieces) == 2_000 - len(asked[:500])


@given(st.lists(ROW, min_size=1))
def test_a_text_never_leaves_its_quotes(rows: list[tuple[Any, ...]]) -> None:
    """Outside of quoted texts a statement holds only what numbers and bytes are written with."""
    (statement,) = inserts(TABLE.head, rows)
    outside = re.sub(r"'(?:[^'\\]|\\.)*'", "", statement.removeprefix(TABLE.head), flags=re.DOTALL)
    assert re.fullmatch(r"[-+0-9a-fx.,()NUL]*", outside), outside


def test_statements_are_as_few_as_their_size_allows() -> None:
    """A row that is larger than a statement should be goes alone."""
    rows = [(text, None, Decimal("1.50")) for text in ("a", "b" * (1 << 20), "c", "d")]
    sizes = [statement.count("1.50") for statement in inserts(TABLE.head, rows)]
    assert sizes == [1, 1, 2]


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_a_driver_that_is_not_installed_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """The extra is optional."""
    monkeypatch.setitem(sys.modules, "asyncmy", None)
    monkeypatch.delitem(sys.modules, "healthstore.adapters.sql.mysql.asyncmy", raising=False)
    with pytest.raises(MissingDriverError, match=r"pip install 'healthstore\[asyncmy\]'"):
        connect(BackendURL.parse(f"{scheme}+asyncmy://u@localhost/d"))


def test_a_driver_that_is_not_known_is_refused() -> None:
    """The hint names those that are."""
    with pytest.raises(ConfigurationError, match=r"mysql\+asyncmy://"):
        connect(BackendURL.parse("mysql+mysqlclient://u@localhost/d"))

"""Groups whose index is declared are found along it, and others by a window."""

from __future__ import annotations

import pytest

from healthstore.adapters.sql.compile import Statements
from healthstore.adapters.sql.dialect import Dialect
from healthstore.adapters.sql.mysql.dialect import MARIADB, MYSQL
from healthstore.adapters.sql.postgres.dialect import POSTGRESQL
from healthstore.adapters.sql.sqlite.dialect import SQLITE
from healthstore.adapters.sql.tables import table_of
from healthstore.model.ops import Leading
from healthstore.model.query import ALL, F, Filter, Order
from healthstore.model.schema import Collection, Field, Index
from healthstore.model.values import FieldType, Kind

NUMBER = FieldType(Kind.INTEGER)
THINGS = Collection(
    "things",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", NUMBER),
        *(Field(name, NUMBER) for name in ("a", "b", "at")),
        Field("none", NUMBER, nullable=True),
    ),
    indexes=(
        Index("a", "b", "-at", "none"),
        Index("none", "at"),
        Index("b", "at", where=F.a > 1),
        Index("-at", "b"),
    ),
)


def _is_walked(
    dialect: Dialect, per: tuple[str, ...], first: int = 1, where: Filter = ALL, by: str = "at"
) -> bool:
    order = (Order(by, descending=True), Order("id", descending=True))
    op = Leading(THINGS, per, first, where, order, 100)
    compiled, _ = Statements(THINGS, table_of(THINGS, dialect), dialect).leading(op)
    return "row_number" not in compiled.sql.lower()


@pytest.mark.parametrize("dialect", [POSTGRESQL, MYSQL, MARIADB])
def test_an_index_of_the_groups_and_their_order_is_walked(dialect: Dialect) -> None:
    """With any filter of the groups' own fields."""
    for where in (ALL, F.a == 1, (F.a > 1) & F.b.in_([1, 2])):
        assert _is_walked(dialect, ("a", "b"), where=where)


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL, MYSQL, MARIADB])
def test_other_groups_are_numbered(dialect: Dialect) -> None:
    """Without such an index, in another order, with nulls, of a part, or by what rows hold."""
    for per in (("a",), ("b", "a"), ("none",), ("b",), ("at",)):
        assert not _is_walked(dialect, per)
    assert not _is_walked(dialect, ("a", "b"), by="none")
    assert not _is_walked(dialect, ("a", "b"), where=F.at > 1)


@pytest.mark.parametrize(("dialect", "most"), [(POSTGRESQL, 9), (MYSQL, 1), (MARIADB, 1)])
def test_several_of_each_group_are_walked_where_a_database_can(dialect: Dialect, most: int) -> None:
    """MySQL and MariaDB find one of each only."""
    assert [_is_walked(dialect, ("a", "b"), first=first) for first in (1, 9)] == [True, most > 1]


def test_sqlite_takes_no_less_time_for_a_walk() -> None:
    """It numbers rows always."""
    assert not _is_walked(SQLITE, ("a", "b"))

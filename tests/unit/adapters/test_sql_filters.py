"""Filters become few statements, however many values they hold."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from healthstore.adapters.sql.compile import Statements
from healthstore.adapters.sql.dialect import Dialect
from healthstore.adapters.sql.mysql.dialect import MARIADB, MYSQL
from healthstore.adapters.sql.postgres.dialect import POSTGRESQL
from healthstore.adapters.sql.sqlite.dialect import SQLITE
from healthstore.adapters.sql.tables import table_of
from healthstore.model.query import And, F, Lookup, Or
from healthstore.model.schema import Collection, Field
from healthstore.model.values import FieldType, Kind

THINGS = Collection(
    "things",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("n", FieldType(Kind.INTEGER)),
        Field("code", FieldType(Kind.TEXT, max_length=40)),
    ),
)


def _statements(dialect: Dialect) -> Statements:
    return Statements(THINGS, table_of(THINGS, dialect), dialect)


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL, MYSQL, MARIADB])
def test_long_lists_share_one_statement(dialect: Dialect) -> None:
    """The text does not grow with a list, and binds it as one parameter."""
    statements = _statements(dialect)
    made: list[tuple[str, Sequence[object]]] = []
    for size in (65, 1_000, 70_000):
        compiled, values = statements.count(F.n.in_(range(size)))
        made.append((compiled.sql, values))
    assert len({sql for sql, _ in made}) == 1
    assert {len(values) for _, values in made} == {1}


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL, MYSQL, MARIADB])
def test_short_lists_share_a_few_statements(dialect: Dialect) -> None:
    """Lists of one to 64 values have the sizes of the powers of two, the last value repeated."""
    statements = _statements(dialect)
    made = {statements.count(F.n.in_(range(size)))[0].sql for size in range(1, 65)}
    assert len(made) == 7
    assert list(statements.count(F.n.in_([3, 1, 2]))[1]) == [3, 1, 2, 2]


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL, MYSQL, MARIADB])
def test_no_filter_has_more_parameters_than_the_database_takes(dialect: Dialect) -> None:
    """Of thousands of short lists each one is a parameter."""
    where = Or(tuple(F.n.in_(range(at, at + 33)) for at in range(2_000)))
    _, values = _statements(dialect).count(where)
    assert len(values) <= dialect.max_parameters


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL, MYSQL, MARIADB])
def test_two_fields_are_a_statement_of_their_own(dialect: Dialect) -> None:
    """Nothing is bound, and another field makes another statement."""
    statements = _statements(dialect)
    made = {where.operand: statements.count(where) for where in (F.n < F.version, F.n < F.n)}
    assert len({compiled.sql for compiled, _ in made.values()}) == 2
    assert not any(values for _, values in made.values())


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL, MYSQL, MARIADB])
def test_a_lookup_is_one_statement_for_all_values(dialect: Dialect) -> None:
    """IN with a SELECT, of no null; its negation as the database reads it once."""
    statements = _statements(dialect)
    made: set[str] = set()
    for value in (1, 2):
        where = And((F.n > value, F.n.in_(Lookup(THINGS, F.version == value, "n"))))
        compiled, values = statements.count(where)
        assert list(values) == [value, value]
        made.add(compiled.sql)
    (found,) = made
    assert "IN (SELECT" in found
    compiled, values = statements.count(F.n.not_in(Lookup(THINGS, F.version == 1, "n")))
    assert ("NOT IN (SELECT" in compiled.sql) is dialect.lists_lookups
    assert ("NOT (EXISTS (SELECT" in compiled.sql) is not dialect.lists_lookups
    assert list(values) == [1]
    other, _ = statements.count(F.n.not_in(Lookup(THINGS, F.version == 1, "version")))
    assert other.sql != compiled.sql


@pytest.mark.parametrize(
    ("dialect", "pattern"),
    [
        (SQLITE, "a+"),
        (POSTGRESQL, r"\A(?:a+)\Z"),
        (MYSQL, r"\A(?:a+)\z"),
        (MARIADB, r"\A(?:a+)\z"),
    ],
)
def test_a_pattern_is_a_parameter(dialect: Dialect, pattern: str) -> None:
    """Patterns share one statement, which holds none; the end of a text is the database's own."""
    statements = _statements(dialect)
    first, values = statements.count(F.code.matches("a+"))
    assert list(values) == [pattern]
    assert "a+" not in first.sql
    assert statements.count(F.code.matches("b|cd"))[0] is first

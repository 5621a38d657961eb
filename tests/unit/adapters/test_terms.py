"""Terms as expressions: one text for one term, with no parameter in it."""

from __future__ import annotations

from typing import Any, cast

import pytest
from sqlalchemy import select

from healthstore.adapters.mongo.paths import term_expression as mongo_expression
from healthstore.adapters.sql.dialect import Dialect
from healthstore.adapters.sql.mysql.dialect import MARIADB, MYSQL
from healthstore.adapters.sql.paths import term_expression
from healthstore.adapters.sql.postgres.dialect import POSTGRESQL
from healthstore.adapters.sql.sqlite.dialect import SQLITE
from healthstore.adapters.sql.tables import table_of
from healthstore.model.query import F, FieldTerm
from healthstore.model.schema import Collection, Field
from healthstore.model.values import FieldType, Kind

THINGS = Collection(
    "things",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("data", FieldType(Kind.JSON), nullable=True),
    ),
)
DIALECTS = [SQLITE, POSTGRESQL, MYSQL, MARIADB]


def _text(term: FieldTerm, dialect: Dialect) -> str:
    table = table_of(THINGS, dialect)
    found = term_expression(term.term, table.c.data, dialect.paths)
    compiled = select(found).compile(dialect=dialect.compiler)
    assert not compiled.params
    return str(compiled)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("type_", [int, float, str, bool])
def test_a_term_is_one_text_without_parameters(
    dialect: Dialect, type_: type[int | float | str | bool]
) -> None:
    """It is the same each time, another one for another path or type."""
    term = F.data["weight"][0].as_(type_)
    assert _text(term, dialect) == _text(term, dialect)
    assert "weight" in _text(term, dialect)
    assert _text(term, dialect) != _text(F.data["weight"][1].as_(type_), dialect)
    others = {_text(F.data["weight"][0].as_(each), dialect) for each in (int, float, str, bool)}
    assert len(others) == 4


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_hostile_key_stays_inside_its_literal(dialect: Dialect) -> None:
    """Quotes are doubled, backslashes and percent signs are written as the driver takes them."""
    text = _text(F.data["x' OR 1=1 --"].as_(str), dialect)
    assert "x'' OR 1=1 --" in text
    percent = "%%" if dialect in (MYSQL, MARIADB) else "%"
    assert f"a{percent}b" in _text(F.data["a%b"].as_(str), dialect)
    assert "%%%" not in _text(F.data["a%b"].as_(str), dialect)


def test_mongodb_reads_a_term_with_an_expression() -> None:
    """The key is a literal in it, escaped as it is stored."""
    found = cast(Any, mongo_expression(F.data["$where"].as_(float).term))
    assert found["$let"]["in"]["$cond"][1:] == [{"$toDouble": "$$it"}, None]
    assert "%24where" in str(found)
    assert "'$where'" not in str(found)

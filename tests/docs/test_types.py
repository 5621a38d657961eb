"""The page of types: each of its rows is what the code does, and no annotation is missing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import create_model

from healthstore.adapters.mongo.definition import _bson_type
from healthstore.adapters.sql.dialect import Dialect
from healthstore.adapters.sql.mysql.dialect import MARIADB, MYSQL
from healthstore.adapters.sql.postgres.dialect import POSTGRESQL
from healthstore.adapters.sql.sqlite.dialect import SQLITE
from healthstore.entity import Entity, collection_of
from healthstore.entity.annotations import JSON, SCALARS, TEXTS
from healthstore.entity.refusals import REFUSED
from healthstore.errors import ConfigurationError
from healthstore.model.values import FieldType, Kind

PAGE = (Path(__file__).parents[2] / "docs/reference/types.md").read_text("utf-8")
# How a column compares and which characters it has is said once, below the table.
COLLATION = re.compile(r" (CHARACTER SET|COLLATE) .*")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    below = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


COLUMNS, DOCUMENTS = rows("What has a column"), rows("What is kept as JSON")
REFUSALS = rows("What is refused")


def annotation(cell: str) -> Any:
    """Return the annotation of a table's first cell."""
    names: dict[str, Any] = {}
    block = PAGE.partition("```python\n")[2].partition("```")[0]
    exec(compile(block, "types.md", "exec", dont_inherit=True), names)  # noqa: S102 - our own page
    return eval(cell.strip("`").replace("\\|", "|"), names)  # noqa: S307 - our own page


def declared(cell: str) -> FieldType:
    """Return the type of a field with this annotation."""
    keywords = {"collection": "shown"}
    entity = create_model(
        "Shown", __base__=Entity, __cls_kwargs__=keywords, value=(annotation(cell), ...)
    )
    return collection_of(entity).field("value").type


def column(dialect: Dialect, kind: FieldType) -> str:
    """Return the column's type on one database."""
    compiled = dialect.column_type(kind, False).compile(dialect=dialect.ddl_compiler)  # noqa: FBT003 - the dialect's shape
    return COLLATION.sub("", str(compiled))


@pytest.mark.parametrize("row", COLUMNS, ids=lambda row: row[0])
def test_a_column_is_what_the_page_says(row: list[str]) -> None:
    """The kind, and the column's type on every backend, come from the code."""
    kind = declared(row[0])
    columns = [column(dialect, kind) for dialect in (POSTGRESQL, MYSQL, SQLITE)]
    assert row[1:] == [str(kind.kind), *(f"`{each}`" for each in [*columns, _bson_type(kind)])]
    assert column(MARIADB, kind) == column(MYSQL, kind)


@pytest.mark.parametrize("row", DOCUMENTS, ids=lambda row: row[0])
def test_json_is_what_the_page_says(row: list[str]) -> None:
    """What the page lists there is kept as JSON."""
    assert declared(row[0]).kind is Kind.JSON


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: row[0])
def test_a_refusal_is_what_the_page_says(row: list[str]) -> None:
    """The definition is refused, with the hint that the page prints."""
    with pytest.raises(ConfigurationError) as error:
        declared(row[0])
    assert row[1] == error.value.hint.replace("|", "\\|")


def test_no_annotation_is_missing() -> None:
    """Each type of the code's own tables is on the page."""
    shown = " ".join(row[0] for row in (*COLUMNS, *DOCUMENTS, *REFUSALS))
    words = {
        *re.findall(r"\w+", shown),
        *re.findall(r"\w+", PAGE.partition("## What is no data")[0]),
    }
    known = {*SCALARS, *TEXTS, *JSON, *REFUSED}
    names = {getattr(each, "__name__", str(each).rpartition(".")[2]) for each in known}
    assert names - {"Union", "UnionType"} <= words


def test_every_kind_has_its_row() -> None:
    """The page shows a column of each kind but JSON, and the JSON column in words."""
    assert {row[1] for row in COLUMNS} == set(map(str, Kind)) - {"json"}
    kind = FieldType(Kind.JSON)
    for dialect in (POSTGRESQL, MYSQL, MARIADB, SQLITE):
        assert f"`{column(dialect, kind)}`" in PAGE

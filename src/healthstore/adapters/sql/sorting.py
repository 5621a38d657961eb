"""Columns of a statement, fields and terms alike, and the keys by which it sorts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

from sqlalchemy import ColumnElement, Select, Table, asc, desc, func, literal_column, select
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from healthstore.adapters.sql.dialect import Dialect
from healthstore.adapters.sql.paths import term_column
from healthstore.model.parts import column_type
from healthstore.model.query import FieldOrTerm, Order
from healthstore.model.schema import Collection
from healthstore.model.values import SORTED_TEXT

__all__ = ("Chosen", "columns_of", "sort_keys", "told_apart")

Chosen: TypeAlias = Mapping[FieldOrTerm, ColumnElement[Any]]


def columns_of(
    wanted: tuple[FieldOrTerm, ...],
    rows: ReadOnlyColumnCollection[str, Any],
    dialect: Dialect,
) -> Chosen:
    """Return the column of each field, or a term as one, of rows that have all fields.

    A term does not tell from which table it is.
    """
    return {
        each: cast("ColumnElement[Any]", rows[each])
        if isinstance(each, str)
        else term_column(each, rows[each.field], dialect.paths)
        for each in wanted
    }


def told_apart(
    columns: Chosen, table: Table, clause: ColumnElement[bool]
) -> tuple[Chosen, Select[Any]]:
    """Return columns, and the statement for each row of them once; terms have names in it.

    MySQL and MariaDB take no expression for another of the same text. Not DISTINCT: with that,
    some sort by no part of a column.
    """
    rows: Any
    if all(isinstance(each, str) for each in columns):
        rows = select(*columns.values()).where(clause)
    else:
        named = [each.label(f"_c{place}") for place, each in enumerate(columns.values())]
        inner = select(*named).select_from(table).where(clause).subquery("_rows")
        columns = {each: inner.c[f"_c{place}"] for place, each in enumerate(columns)}
        rows = select(*columns.values())
    return columns, rows.group_by(*columns.values())


def sort_keys(
    order: Order,
    column: ColumnElement[Any],
    collection: Collection,
    dialect: Dialect,
    *,
    whole: bool,
) -> Iterator[ColumnElement[Any]]:
    """Yield what ORDER BY says of a key whose column this is."""
    if order.nulls is not None:
        yield column.is_not(None) if order.nulls_first else column.is_(None)
    if not whole and column_type(collection, order.column).sorted_by_head:
        column = func.substr(column, literal_column("1"), literal_column(str(SORTED_TEXT)))
    key: ColumnElement[Any] = desc(column) if order.descending else asc(column)
    if dialect.rank_nulls and (order.part is not None or collection.nullable(order.field)):
        key = key.nulls_last() if order.descending else key.nulls_first()
    yield key

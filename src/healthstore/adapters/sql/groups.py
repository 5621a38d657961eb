"""Aggregates as statements, and their rows as groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, cast

from sqlalchemy import ColumnElement, Select, Table, func, literal_column, select

from healthstore.adapters.sql.buckets import bucket_column
from healthstore.adapters.sql.dialect import Dialect, Row
from healthstore.adapters.sql.filters import FIELD_TYPE
from healthstore.model.evaluate import out_of_range
from healthstore.model.ops import Aggregate, Bucket, Function, Group, Measure
from healthstore.model.values import Value
from healthstore.model.zones import Unit

__all__ = ("exact", "grouped", "groups_of")

# From a field's name and a driver's value to the canonical one.
Decode: TypeAlias = Callable[[str, Any], Value]


def exact(op: Aggregate, dialect: Dialect) -> bool:
    """Tell whether the database computes each measure exactly."""
    return all(
        each.function is not Function.SUM
        or dialect.sums(op.collection.field(cast(str, each.field)).type)
        for each in op.measures
    )


def grouped(
    op: Aggregate, table: Table, dialect: Dialect, clause: ColumnElement[bool]
) -> Select[Any]:
    """Return the statement for each group's key and the columns of its measures."""
    keys = [_key(each, place, table, dialect) for place, each in enumerate(op.group)]
    columns = [column for each in op.measures for column in _columns(each, table, dialect)]
    statement = select(*(each for each, _ in keys), *columns).select_from(table).where(clause)
    return statement.group_by(*(by for _, by in keys)) if keys else statement


def groups_of(
    op: Aggregate, rows: Iterable[Row], table: Table, dialect: Dialect, decode: Decode
) -> tuple[Group, ...]:
    """Return the rows of :func:`grouped` as groups.

    Raises OutOfRangeError for a sum that leaves the range of its type.
    """
    widths = [len(_columns(each, table, dialect)) for each in op.measures]
    return tuple([_group(op, row, widths, dialect, decode) for row in rows])


def _key(
    key: str | Bucket, place: int, table: Table, dialect: Dialect
) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return the column of a key, and what the statement groups by."""
    if isinstance(key, str):
        return table.c[key], table.c[key]
    column = table.c[key.field]
    found = bucket_column(key, column, column.info[FIELD_TYPE], dialect.buckets)
    # By its name, which no field has: the text of a bucket is long.
    name = f"_k{place}"
    return found.label(name), literal_column(name)


def _columns(measure: Measure, table: Table, dialect: Dialect) -> tuple[ColumnElement[Any], ...]:
    """Return the columns from which a measure is computed."""
    if measure.field is None:
        return (func.count(),)
    column = table.c[measure.field]
    if measure.function is Function.SUM:
        return dialect.sum_columns(column, column.info[FIELD_TYPE])
    return (_FUNCTIONS[measure.function](column),)


_FUNCTIONS: dict[Function, Callable[[ColumnElement[Any]], ColumnElement[Any]]] = {
    Function.COUNT: func.count,
    Function.COUNT_DISTINCT: lambda column: func.count(column.distinct()),
    Function.MIN: func.min,
    Function.MAX: func.max,
}


def _group(
    op: Aggregate, row: Row, widths: Sequence[int], dialect: Dialect, decode: Decode
) -> Group:
    key = tuple(
        decode(each, value) if isinstance(each, str) else _begin(each, value, dialect)
        for each, value in zip(op.group, row, strict=False)
    )
    values: list[Value] = []
    start = len(op.group)
    for measure, width in zip(op.measures, widths, strict=True):
        columns = row[start : start + width]
        start += width
        try:
            values.append(_measured(op, measure, columns, dialect, decode))
        except OverflowError:
            raise out_of_range(op.collection, measure.field, "a sum") from None
    return Group(key, tuple(values))


def _begin(bucket: Bucket, value: Any, dialect: Dialect) -> Value:
    return None if value is None else dialect.buckets.read(value, Unit(bucket.unit))


def _measured(
    op: Aggregate, measure: Measure, columns: Sequence[Any], dialect: Dialect, decode: Decode
) -> Value:
    if measure.field is None or measure.function.counts:
        return int(columns[0])
    if measure.function is Function.SUM:
        kind = op.collection.field(measure.field).type
        return cast(Value, dialect.sum_value(kind, columns))
    return decode(measure.field, columns[0])

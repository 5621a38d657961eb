"""Aggregates as statements, and their rows as groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TypeAlias, cast

from sqlalchemy import ColumnElement, FromClause, Select, func, literal_column, select
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from healthstore.adapters.sql.buckets import bucket_column
from healthstore.adapters.sql.dialect import Dialect, Row
from healthstore.adapters.sql.filters import Operand
from healthstore.adapters.sql.ranks import numbered, ordered_measure, ranked_measure
from healthstore.adapters.sql.taken import asked, cuts_time
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
        each.function is not Function.SUM or dialect.sums(op.rows.field(cast(str, each.field)).type)
        for each in op.measures
    )


def grouped(
    op: Aggregate,
    table: FromClause,
    dialect: Dialect,
    clause: ColumnElement[bool],
    operand: Operand,
) -> Select[Any]:
    """Return the statement for each group's key and the columns of its measures.

    ``operand`` is asked for what HAVING binds.
    """
    ranked = [each for each in op.measures if _is_ranked(each, table, dialect)]
    if ranked or cuts_time(op):
        return _of_numbered(op, table, dialect, clause, ranked, operand=operand)
    keys = [_key(op, place, table, dialect) for place in range(len(op.group))]
    columns = [_columns(op, each, table.c, dialect) for each in op.measures]
    statement = select(*(each for each, _ in keys), *chain(*columns)).select_from(table)
    return _finished(
        op,
        statement.where(clause),
        [by for _, by in keys],
        columns,
        dialect=dialect,
        operand=operand,
    )


def _finished(  # noqa: PLR0913 - the parts of one statement
    op: Aggregate,
    statement: Select[Any],
    keys: Sequence[ColumnElement[Any]],
    columns: Sequence[tuple[ColumnElement[Any], ...]],
    *,
    dialect: Dialect,
    operand: Operand,
) -> Select[Any]:
    """Return the statement with its groups, which of them are rows, and their order."""
    if not keys:
        return statement
    sorting: dict[str, tuple[ColumnElement[Any], ...]] = {
        f"k{place}": (key,) for place, key in enumerate(keys)
    }
    for place, (measure, each) in enumerate(zip(op.measures, columns, strict=True)):
        summed = measure.function is Function.SUM
        sorting[f"m{place}"] = dialect.sum_keys(each) if summed else each
    return asked(statement.group_by(*keys), op, sorting, dialect, operand)


def _is_ranked(measure: Measure, table: FromClause, dialect: Dialect) -> bool:
    """Tell whether rows are numbered for a measure."""
    if measure.function not in _ORDERED:
        return False
    return ordered_measure(measure, table.c.__getitem__, dialect.ranks) is None


def _of_numbered(  # noqa: PLR0913 - the parts of one statement
    op: Aggregate,
    table: FromClause,
    dialect: Dialect,
    clause: ColumnElement[bool],
    ranked: Sequence[Measure],
    *,
    operand: Operand,
) -> Select[Any]:
    """Return the statement over rows that are numbered for these measures, if there are any.

    Keys are computed once, in the innermost query, and have names in the others: the text of a
    bucket is long.
    """
    names = dict.fromkeys(
        name for each in op.measures for name in (each.field, each.by) if name is not None
    )
    own = ["id"] if ranked and "id" not in names else []
    keys = [_key(op, place, table, dialect)[0] for place in range(len(op.group))]
    labels = [f"_k{place}" for place in range(len(keys))]
    rows = (
        select(
            *(key.label(label) for key, label in zip(keys, labels, strict=True)),
            *(table.c[name] for name in (*names, *own)),
        )
        .where(clause)
        .subquery("_rows")
    )
    by = [rows.c[label] for label in labels]
    numbers = [
        column
        for place, each in enumerate(ranked)
        for column in numbered(each, f"_r{place}", by, rows.c.__getitem__)
    ]
    counted = select(*rows.c, *numbers).subquery("_numbered") if ranked else rows
    columns: list[tuple[ColumnElement[Any], ...]] = []
    for each in op.measures:
        if each in ranked:
            name = f"_r{ranked.index(each)}"
            columns.append((ranked_measure(each, name, counted.c.__getitem__, dialect.ranks),))
        else:
            columns.append(_columns(op, each, counted.c, dialect))
    statement = select(*(counted.c[label] for label in labels), *chain(*columns))
    # By their names: MySQL holds a key of the inner query against a value as it is in any row.
    grouping: list[ColumnElement[Any]] = [literal_column(label) for label in labels]
    statement = statement.select_from(counted)
    return _finished(op, statement, grouping, columns, dialect=dialect, operand=operand)


def groups_of(
    op: Aggregate, rows: Iterable[Row], table: FromClause, dialect: Dialect, decode: Decode
) -> tuple[Group, ...]:
    """Return the rows of :func:`grouped` as groups.

    Raises OutOfRangeError for a sum that leaves the range of its type.
    """
    widths = [_width(op, each, table, dialect) for each in op.measures]
    return tuple([_group(op, row, widths, dialect, decode) for row in rows])


def _key(
    op: Aggregate, place: int, table: FromClause, dialect: Dialect
) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return the column of a key, and what the statement groups by."""
    key = op.group[place]
    if isinstance(key, str):
        return table.c[key], table.c[key]
    kind = op.rows.field(key.field).type
    found = bucket_column(key, table.c[key.field], kind, dialect.buckets)
    # By its name, which no field has: the text of a bucket is long.
    name = f"_k{place}"
    return found.label(name), literal_column(name)


def _columns(
    op: Aggregate,
    measure: Measure,
    columns: ReadOnlyColumnCollection[str, Any],
    dialect: Dialect,
) -> tuple[ColumnElement[Any], ...]:
    """Return the columns from which a measure is computed."""
    if measure.field is None:
        return (func.count(),)
    column = columns[measure.field]
    if measure.function is Function.SUM:
        return dialect.sum_columns(column, op.rows.field(measure.field).type)
    if measure.function in _ORDERED:
        found = ordered_measure(measure, columns.__getitem__, dialect.ranks)
        assert found is not None
        return (found,)
    return (_FUNCTIONS[measure.function](column),)


def _width(op: Aggregate, measure: Measure, table: FromClause, dialect: Dialect) -> int:
    """Return from how many columns a measure is computed."""
    summed = measure.function is Function.SUM
    return len(_columns(op, measure, table.c, dialect)) if summed else 1


_ORDERED = frozenset({Function.PERCENTILE, Function.FIRST, Function.LAST})
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
            raise out_of_range(op.collection, op.told(measure.field), "a sum") from None
    return Group(key, tuple(values))


def _begin(bucket: Bucket, value: Any, dialect: Dialect) -> Value:
    return None if value is None else dialect.buckets.read(value, Unit(bucket.unit))


def _measured(
    op: Aggregate, measure: Measure, columns: Sequence[Any], dialect: Dialect, decode: Decode
) -> Value:
    if measure.field is None or measure.function.counts:
        return int(columns[0])
    if measure.function is Function.SUM:
        kind = op.rows.field(measure.field).type
        return cast(Value, dialect.sum_value(kind, columns))
    return decode(measure.field, columns[0])

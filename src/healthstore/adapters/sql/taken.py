"""Which groups of a planned aggregate are rows, and in which order: HAVING and ORDER BY."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, TypeAlias, cast

from sqlalchemy import BigInteger, ColumnElement, Select, and_, asc, desc, false, or_, true
from sqlalchemy.types import TypeEngine

from healthstore.adapters.sql.clauses import combined
from healthstore.adapters.sql.dialect import Dialect
from healthstore.adapters.sql.filters import Operand, column_clause, test_operands
from healthstore.adapters.sql.paths import Bound
from healthstore.model.evaluate import ordered
from healthstore.model.measures import Bucket, Measure, grouped_field
from healthstore.model.ops import Aggregate
from healthstore.model.query import ALL, And, Filter, Not, Order, Test, walk
from healthstore.model.values import Value
from healthstore.model.zones import Unit

__all__ = ("Columns", "asked", "cuts_time", "having_type", "having_values")

Columns: TypeAlias = Mapping[str, Sequence[ColumnElement[Any]]]
"""What sorts as a column of the rows does, one after the other; the first one compares so, too."""
_COUNTED: TypeEngine[Any] = BigInteger()


def asked(
    statement: Select[Any], op: Aggregate, columns: Columns, dialect: Dialect, operand: Operand
) -> Select[Any]:
    """Return the statement with what a planned aggregate has of having and order.

    ``operand`` is asked for each value in the order of :func:`having_values`, with the name of a
    column.
    """
    if op.having != ALL:
        statement = statement.having(_clause(op.having, columns, dialect, operand))
    keys = [key for each in ordered(op) for key in _keys(op, each, columns, dialect)]
    return statement.order_by(*keys) if keys else statement


def having_values(
    op: Aggregate, dialect: Dialect, encode: Callable[[str, Value], Any]
) -> Iterator[Any]:
    """Yield the values that HAVING binds, as the driver takes them."""
    for test in walk(op.having):
        name, key = _field(op, test.field), _column(op, test.field)
        for _, value in test_operands(test):
            assert not isinstance(value, tuple), "a list of values is short here"
            if isinstance(key, Bucket):
                yield None if value is None else _begun(op, key, value, dialect).value
            else:
                yield value if name is None else encode(name, value)


def having_type(
    op: Aggregate,
    name: str,
    value: object,
    dialect: Dialect,
    types: Callable[[str], TypeEngine[Any]],
) -> TypeEngine[Any]:
    """Return the type of a value with which a column of the rows is compared."""
    key = _column(op, name)
    if isinstance(key, Bucket) and value is not None:
        return _begun(op, key, value, dialect).type
    field = _field(op, name)
    return _COUNTED if field is None else types(field)


def _begun(op: Aggregate, key: Bucket, value: object, dialect: Dialect) -> Bound:
    kind = op.rows.field(key.field).type.kind
    return dialect.buckets.bound(cast("date | int", value), Unit(key.unit), kind)


def cuts_time(op: Aggregate) -> bool:
    """Tell whether groups are held against the beginning of a bucket."""
    return any(isinstance(_column(op, test.field), Bucket) for test in walk(op.having))


def _field(op: Aggregate, name: str) -> str | None:
    """Return the field whose values a column of the rows has; None for a number of them."""
    found = _column(op, name)
    if not isinstance(found, Measure):
        return grouped_field(found)
    return None if found.function.counts else found.field


def _column(op: Aggregate, name: str) -> Any:
    """Return the key or the measure of a column, which is named by its place."""
    return (op.group if name[0] == "k" else op.measures)[int(name[1:])]


def _clause(
    having: Filter, columns: Columns, dialect: Dialect, operand: Operand
) -> ColumnElement[bool]:
    if isinstance(having, Test):
        return column_clause(having, columns[having.field][0], dialect, operand)
    assert not isinstance(having, Not), "the normal form negates parts only"
    parts = [_clause(item, columns, dialect, operand) for item in having.items]
    combine, empty = (and_, true()) if isinstance(having, And) else (or_, false())
    return combined(combine, empty, parts)


def _keys(
    op: Aggregate, order: Order, columns: Columns, dialect: Dialect
) -> Iterator[ColumnElement[Any]]:
    field = _field(op, order.field)
    nullable = field is not None and (
        isinstance(_column(op, order.field), Measure) or op.rows.nullable(field)
    )
    for column in columns[order.field]:
        key: ColumnElement[Any] = desc(column) if order.descending else asc(column)
        if dialect.rank_nulls and nullable:
            key = key.nulls_first() if order.nulls_first else key.nulls_last()
        elif order.nulls is not None and nullable:
            yield column.is_not(None) if order.nulls_first else column.is_(None)
        yield key

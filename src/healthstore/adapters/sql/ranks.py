"""Measures that look at the order of rows: percentiles, and the first and last value by a field.

A database that has an aggregate for one uses it, if it is exact. Elsewhere rows are numbered in a
subquery, within their group, and the outer query takes the value of a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, cast

from sqlalchemy import ColumnElement, asc, case, desc, func, literal_column
from sqlalchemy.sql.functions import FunctionElement

from healthstore.adapters.sql.buckets import written
from healthstore.adapters.sql.dialect import Ranks
from healthstore.model.measures import PARTS
from healthstore.model.ops import Function, Measure

__all__ = ("numbered", "ordered_measure", "ranked_measure")

Columns: TypeAlias = Callable[[str], ColumnElement[Any]]


def ordered_measure(measure: Measure, columns: Columns, ranks: Ranks) -> ColumnElement[Any] | None:
    """Return the database's own aggregate for a measure; None where rows must be numbered.

    ``columns`` gives a field's column.
    """
    value = columns(cast(str, measure.field))
    if measure.function is Function.PERCENTILE:
        return None if ranks.percentile is None else ranks.percentile(value, measure.parts)
    if measure.by is None or ranks.picked is None:
        return None
    return ranks.picked(value, _order(measure, columns))


def _order(measure: Measure, columns: Columns) -> tuple[ColumnElement[Any], ...]:
    """Return the order in which the document comes first; null is smallest, and the id decides."""
    by = cast(str, measure.by)
    direction = asc if measure.function is Function.FIRST else desc
    return tuple(direction(columns(each)) for each in dict.fromkeys((by, "id")))


def numbered(
    measure: Measure, name: str, keys: Sequence[ColumnElement[Any]], columns: Columns
) -> Iterator[ColumnElement[Any]]:
    """Yield the columns that number rows for a measure, for :func:`ranked_measure`."""
    number: FunctionElement[Any] = func.row_number()
    if measure.by is not None:
        order = _order(measure, columns)
        yield number.over(partition_by=keys, order_by=order).label(name)
        return
    value = columns(cast(str, measure.field))
    # Null comes last, so that the others have the numbers from 1 on.
    yield number.over(partition_by=keys, order_by=(value.is_(None), value)).label(name)
    yield func.count(value).over(partition_by=keys).label(f"{name}n")


def ranked_measure(
    measure: Measure, name: str, columns: Columns, ranks: Ranks
) -> ColumnElement[Any]:
    """Return the value of the numbered row that a measure is of."""
    number: ColumnElement[Any] = literal_column(name)
    wanted: ColumnElement[Any] = literal_column("1")
    if measure.by is None:
        up = f"({{0}} * {measure.parts} + {PARTS - 1})"
        wanted = written(ranks.nearest.format(up, PARTS), literal_column(f"{name}n"))
    return func.max(case((number == wanted, columns(cast(str, measure.field)))))

"""Sums of floats as sums of integers: exact, whatever the order in which a database adds.

A float between 2**-72 and 2**62 is cut, without a rest, into three integers: its whole part,
and twice 62 bits of what follows the point. A database adds integers exactly; the sum is put
together here, and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, case, func, literal_column

__all__ = ("LIMIT", "UnevenError", "float_parts", "float_total")

_PARTS, _BITS = 3, 62
LIMIT = 1 << _BITS
# A float has 53 significant bits: the last one of a number from here on is in the last part.
_SMALLEST = 2.0 ** (52 - _BITS * (_PARTS - 1))


class UnevenError(ArithmeticError):
    """A value is too large or too small for the parts: the sum must be computed of the values."""


def float_parts(
    column: ColumnElement[Any],
    limit: ColumnElement[Any],
    cut: Callable[[ColumnElement[Any]], ColumnElement[Any]],
    total: Callable[[ColumnElement[Any]], tuple[ColumnElement[Any], ...]],
) -> tuple[ColumnElement[Any], ...]:
    """Return the columns from which :func:`float_total` computes the sum of a column.

    ``limit`` is LIMIT as a float, ``cut`` takes away what follows the point, and ``total`` sums
    what is left as integers.
    """
    size = func.abs(column)
    smallest = func.min(func.nullif(size, literal_column("0")))
    columns: list[ColumnElement[Any]] = [func.max(size), smallest]
    rest: ColumnElement[Any] = case((size < limit, column))
    for _ in range(_PARTS):
        whole = cut(rest)
        columns.extend(total(whole))
        rest = (rest - whole) * limit
    return tuple(columns)


def float_total(
    largest: float | None, smallest: float | None, parts: Sequence[int]
) -> float | None:
    """Return the sum, None of nothing; raise UnevenError if the parts do not hold all of it."""
    if largest is None:
        return None
    if not largest < LIMIT or (smallest is not None and smallest < _SMALLEST):
        raise UnevenError
    total = 0
    for part in parts:
        total = (total << _BITS) + int(part)
    return total / (1 << _BITS * (_PARTS - 1))

"""What an aggregate computes, and by what it groups: measures, and the rows of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from healthstore.model.values import Value

__all__ = (
    "Avg",
    "Count",
    "CountDistinct",
    "Function",
    "Group",
    "Max",
    "Measure",
    "Min",
    "Sum",
)


class Function(StrEnum):
    """What a measure computes over the documents of a group."""

    COUNT = "count"
    COUNT_DISTINCT = "count_distinct"
    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"

    @property
    def counts(self) -> bool:
        """Whether it gives a number of documents or values, whatever the field's type."""
        return self in _COUNTING


_COUNTING = frozenset({Function.COUNT, Function.COUNT_DISTINCT})


@dataclass(frozen=True, slots=True)
class Measure:
    """One computed column. ``field`` is None only for a count of documents.

    A count of a field counts the values that are not null; a sum of nothing is 0; an average,
    minimum or maximum of nothing is None.
    """

    function: Function
    field: str | None = None


def Count(field: str | None = None) -> Measure:  # noqa: N802 - reads as part of the query, as Avg
    """Count documents, or the values of a field that are not null."""
    return Measure(Function.COUNT, field)


def CountDistinct(field: str) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Count the different values of a field; None is not counted."""
    return Measure(Function.COUNT_DISTINCT, field)


def Sum(field: str) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Sum a field exactly; a sum of integers beyond 64 bits raises OutOfRangeError."""
    return Measure(Function.SUM, field)


def Avg(field: str) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Average a field: a float for integers and floats, a Decimal with 6 more places."""
    return Measure(Function.AVG, field)


def Min(field: str) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Return the smallest value of a field."""
    return Measure(Function.MIN, field)


def Max(field: str) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Return the greatest value of a field."""
    return Measure(Function.MAX, field)


@dataclass(frozen=True, slots=True)
class Group:
    """One row of an aggregate: the values of the group's fields, and of its measures."""

    key: tuple[Value, ...]
    values: tuple[Value, ...]

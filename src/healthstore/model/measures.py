"""What an aggregate computes, and by what it groups: measures, and the rows of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as attribute
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import TypeAlias
from zoneinfo import ZoneInfo

from healthstore.errors import InvalidRequestError
from healthstore.model.query.names import FieldTerm
from healthstore.model.values import FieldType, Value

__all__ = (
    "PARTS",
    "Avg",
    "Bucket",
    "Column",
    "Count",
    "CountDistinct",
    "First",
    "Function",
    "Group",
    "GroupKey",
    "Last",
    "Max",
    "Measure",
    "Min",
    "Offsets",
    "Percentile",
    "Sum",
    "Unwind",
    "columns_of",
    "grouped_field",
    "nearest_rank",
)

PARTS = 10_000
"""Of so many parts the share of a percentile is a whole number: it has at most four places."""

Offsets: TypeAlias = tuple[tuple[int, int | None], ...]
"""The offsets of a zone, in seconds to the east of UTC, each with the second since 1970 from which
on it holds; the first one holds before, too. None where it is not known, or of no use."""


class Function(StrEnum):
    """What a measure computes over the documents of a group."""

    COUNT = "count"
    COUNT_DISTINCT = "count_distinct"
    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    PERCENTILE = "percentile"
    FIRST = "first"
    LAST = "last"

    @property
    def counts(self) -> bool:
        """Whether it gives a number of documents or values, whatever the field's type."""
        return self in _COUNTING


_COUNTING = frozenset({Function.COUNT, Function.COUNT_DISTINCT})


@dataclass(frozen=True, slots=True)
class Measure:
    """One computed column. ``field`` is None only for a count of documents.

    A count of a field counts the values that are not null; a sum of nothing is 0; an average,
    minimum, maximum or percentile of nothing is None.
    """

    function: Function
    field: str | None = None
    by: str | None = None
    """The field whose smallest or greatest value tells the first or the last document."""
    share: Decimal | float | None = None
    """The share of a percentile; a Decimal of at most four places behind the guard."""
    terms: tuple[FieldTerm, ...] = attribute(default=(), compare=False, repr=False)
    """The parts of JSON that are named above by their paths, until an aggregate has them."""

    def renamed(self, names: Mapping[str, str]) -> Measure:
        """Return the measure of the fields that these ones are called."""
        field, by = self.field, self.by
        return replace(self, field=names.get(field or "", field), by=names.get(by or "", by))

    @property
    def parts(self) -> int:
        """The share of a checked percentile in parts of 10,000."""
        return int(Fraction(self.share or 0) * PARTS)  # exact in any decimal context


Column: TypeAlias = str | FieldTerm
"""What is measured: a field by its name, or a part of JSON, ``F.data["weight"].as_(float)``."""


def _measure(
    function: Function, of: Column, by: Column | None = None, share: Decimal | float | None = None
) -> Measure:
    terms = tuple(each for each in (of, by) if isinstance(each, FieldTerm))
    return Measure(function, _named(of), None if by is None else _named(by), share, terms)


def _named(of: object) -> str:
    if isinstance(of, FieldTerm):
        return str(of.term)
    if isinstance(of, str):
        return of
    raise InvalidRequestError(
        f"a {type(of).__name__} is measured",
        hint='name a field, or give a part of JSON a type: Avg("ms"), Avg(F.data["ms"].as_(float))',
    )


def Count(field: Column | None = None) -> Measure:  # noqa: N802 - reads as part of the query, as Avg
    """Count documents, or the values of a field that are not null."""
    return Measure(Function.COUNT) if field is None else _measure(Function.COUNT, field)


def CountDistinct(field: Column) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Count the different values of a field; None is not counted."""
    return _measure(Function.COUNT_DISTINCT, field)


def Sum(field: Column) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Sum a field exactly; a sum of integers beyond 64 bits raises OutOfRangeError."""
    return _measure(Function.SUM, field)


def Avg(field: Column) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Average a field: a float for integers and floats, a Decimal with 6 more places."""
    return _measure(Function.AVG, field)


def Min(field: Column) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Return the smallest value of a field."""
    return _measure(Function.MIN, field)


def Max(field: Column) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Return the greatest value of a field."""
    return _measure(Function.MAX, field)


def Percentile(field: Column, share: Decimal | float) -> Measure:  # noqa: N802 - as Count
    """Return the value of a field that a share of the values, 0 to 1, does not exceed.

    It is the nearest rank: of n values in order that of number ``max(1, ceil(share * n))``, so a
    stored value of the field's own type, never one between two. None does not count. The share
    is the decimal that is written, of at most four places: 0.07 of 100 values is the seventh.
    """
    return _measure(Function.PERCENTILE, field, share=share)


def First(field: Column, by: Column) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Return the value of a field, or its None, in the document whose ``by`` is smallest.

    Of documents with an equal ``by`` the one with the smallest id counts; None is smallest.
    """
    return _measure(Function.FIRST, field, by)


def Last(field: Column, by: Column) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Return the value of a field, or its None, in the document whose ``by`` is greatest.

    Of documents with an equal ``by`` the one with the greatest id counts; None is smallest.
    """
    return _measure(Function.LAST, field, by)


def nearest_rank(parts: int, count: int) -> int:
    """Return the number of the value, from 1 on, that so many parts of 10,000 do not exceed."""
    return max(1, -(-parts * count // PARTS))


@dataclass(frozen=True, slots=True)
class Bucket:
    """A key of a group: the bucket of time that the value of a field is in.

    Of an instant that is the local minute, hour, day, week, month, quarter or year in a zone, and
    its value the aware datetime at which it begins there; see :mod:`healthstore.series`. Of a
    date it is a day or longer, its value is the first day, and no zone is taken. None is a bucket
    of its own.
    """

    field: str
    unit: str
    """``"minute"``, ``"hour"``, ``"day"``, ``"week"``, ``"month"``, ``"quarter"`` or ``"year"``."""
    tz: str | ZoneInfo | None = None
    """The zone, such as ``"Europe/Berlin"``: of an instant one must be given."""
    week_start: int = attribute(default=0, kw_only=True)
    """The day on which weeks begin, from 0 for Monday to 6 for Sunday."""
    name: str | None = attribute(default=None, kw_only=True)
    """What the column is named, if not as the field."""
    offsets: Offsets = attribute(default=(), kw_only=True, repr=False)
    """What the core gives to a database in place of the zone; empty for a date."""

    @property
    def column(self) -> str:
        """What the column is named."""
        return self.name or self.field


GroupKey: TypeAlias = str | Bucket | FieldTerm
"""What is grouped by: a field by its name, a bucket of time, or a part of JSON of one type."""


@dataclass(frozen=True, slots=True)
class Unwind:
    """A list of which each element is a row; in it the field is the element, of this type.

    What a list holds of other types is no row.
    """

    field: str
    type: FieldType


def grouped_field(key: str | Bucket) -> str:
    """Return the name of the field by which a key of a group groups."""
    return key.field if isinstance(key, Bucket) else key


def columns_of(group: tuple[str | Bucket, ...]) -> tuple[str, ...]:
    """Return what the columns of a group are named."""
    return tuple(each.column if isinstance(each, Bucket) else each for each in group)


@dataclass(frozen=True, slots=True)
class Group:
    """One row of an aggregate: the values of the group's keys, and of its measures.

    What an adapter returns holds for a bucket of instants the first local day or, of a unit below
    a day, the second since 1970 at which it begins; the core makes the aware datetime of it.
    """

    key: tuple[Value, ...]
    values: tuple[Value, ...]

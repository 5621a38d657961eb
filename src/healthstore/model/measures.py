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
from healthstore.model.query.names import FieldName, FieldTerm, name_of
from healthstore.model.values import FieldType, Value

__all__ = (
    "PARTS",
    "Avg",
    "Bucket",
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
    given: tuple[FieldName | FieldTerm, ...] = attribute(default=(), compare=False, repr=False)
    """The fields and the parts of JSON of which the names are above, until an aggregate has them."""

    def renamed(self, names: Mapping[str, str]) -> Measure:
        """Return the measure of the fields that these ones are called."""
        field, by = self.field, self.by
        return replace(self, field=names.get(field or "", field), by=names.get(by or "", by))

    @property
    def parts(self) -> int:
        """The share of a checked percentile in parts of 10,000."""
        return int(Fraction(self.share or 0) * PARTS)  # exact in any decimal context


def _measure(
    function: Function, of: object, by: object = None, share: Decimal | float | None = None
) -> Measure:
    given = tuple(each for each in (of, by) if isinstance(each, FieldName | FieldTerm))
    return Measure(function, _named(of), None if by is None else _named(by), share, given)


def _named(of: object) -> str:
    if isinstance(of, FieldTerm):
        return str(of.term)
    name = name_of(of)
    if name is None:
        raise InvalidRequestError(
            f"what is measured is named by an object of the type {type(of).__name__}",
            hint='name a field, as in Avg("ms") or Avg(F.ms), '
            'or give a part of JSON a type: Avg(F.data["ms"].as_(float))',
        )
    return name


def Count(field: object = None) -> Measure:  # noqa: N802 - reads as part of the query, as Avg
    """Count documents, or the values of a field that are not null.

    What is measured is a field by its name, as ``F.ms`` or as ``Log.ms``, or a part of JSON as a
    value of a type: ``F.data["weight"].as_(float)``.
    """
    return Measure(Function.COUNT) if field is None else _measure(Function.COUNT, field)


def CountDistinct(field: object) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Count the different values of a field; None is not counted."""
    return _measure(Function.COUNT_DISTINCT, field)


def Sum(field: object) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Sum a field exactly; a sum of integers beyond 64 bits raises OutOfRangeError."""
    return _measure(Function.SUM, field)


def Avg(field: object) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Average a field: a float for integers and floats, a Decimal with 6 more places."""
    return _measure(Function.AVG, field)


def Min(field: object) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Return the smallest value of a field."""
    return _measure(Function.MIN, field)


def Max(field: object) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Return the greatest value of a field."""
    return _measure(Function.MAX, field)


def Percentile(field: object, share: Decimal | float) -> Measure:  # noqa: N802 - as Count
    """Return the value of a field that a share of the values, 0 to 1, does not exceed.

    It is the nearest rank: of n values in order that of number ``max(1, ceil(share * n))``, so a
    stored value of the field's own type, never one between two. None does not count. The share
    is the decimal that is written, of at most four places: 0.07 of 100 values is the seventh.
    """
    return _measure(Function.PERCENTILE, field, share=share)


def First(field: object, by: object) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Return the value of a field, or its None, in the document whose ``by`` is smallest.

    Of documents with an equal ``by`` the one with the smallest id counts; None is smallest.
    """
    return _measure(Function.FIRST, field, by)


def Last(field: object, by: object) -> Measure:  # noqa: N802 - reads as part of the query, as Count
    """Return the value of a field, or its None, in the document whose ``by`` is greatest.

    Of documents with an equal ``by`` the one with the greatest id counts; None is smallest.
    """
    return _measure(Function.LAST, field, by)


def nearest_rank(parts: int, count: int) -> int:
    """Return the number of the value, from 1 on, that so many parts of 10,000 do not exceed."""
    return max(1, -(-parts * count // PARTS))


@dataclass(frozen=True, slots=True, init=False)
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
    owner: type | None = attribute(default=None, kw_only=True, compare=False, repr=False)
    """The class of which an attribute named the field, until an aggregate has looked at it."""

    def __init__(  # noqa: PLR0913 - each has a name where it is called
        self,
        field: object,
        unit: str,
        tz: str | ZoneInfo | None = None,
        *,
        week_start: int = 0,
        name: str | None = None,
        offsets: Offsets = (),
        owner: type | None = None,
    ) -> None:
        if isinstance(field, FieldName):
            owner = field.owner
            field = field.name
        values: Mapping[str, object] = {
            "field": field,
            "unit": unit,
            "tz": tz,
            "week_start": week_start,
            "name": name,
            "offsets": offsets,
            "owner": owner,
        }
        for attribute_name, value in values.items():
            object.__setattr__(self, attribute_name, value)

    @property
    def column(self) -> str:
        """What the column is named."""
        return self.name or self.field


GroupKey: TypeAlias = str | Bucket | FieldName | FieldTerm
"""What is grouped by: a field, a bucket of time, or a part of JSON of one type."""


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

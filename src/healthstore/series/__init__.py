"""Rows over time: missing buckets, rolling means, gaps and changes.

A row is a mapping from names to values, as an aggregate returns it or a program makes it; one of
its fields, ``at``, says which bucket of time it is of. Where ``tz`` is given, these are instants,
and a bucket is the local calendar's of that zone: a day has 23, 24 or 25 hours, the hour that
clocks repeat is two buckets, and a day that the zone skips is none. Without ``tz`` they are dates.

Rows are in order. With ``by`` a list holds several series, such as one for each patient: the rows
that have equal values in these fields are a series, and each is in order by itself.

The functions return new lists of new rows, and change none that they are given. What is refused
is told with the index of the row and the field, never with a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias, TypeVar, cast
from zoneinfo import ZoneInfo

from healthstore.errors import (
    HealthstoreError,
    InvalidRequestError,
    RefusedValueError,
    UnknownFieldError,
)
from healthstore.model.arguments import listed
from healthstore.model.zones import Unit
from healthstore.series.calendars import Calendar, calendar_of, day_of, expected
from healthstore.series.numbers import Number, is_finite, kind_of

__all__ = ("Number", "Row", "bucket_of", "change", "fill", "gaps", "rolling_mean")

V = TypeVar("V")
T = TypeVar("T", bound=date)

Row: TypeAlias = Mapping[str, V]
"""A row: what its fields are named, and their values."""


def bucket_of(value: T, *, every: str, tz: str | ZoneInfo | None = None, week_start: int = 0) -> T:
    """Return the start of the bucket that an instant or a date is in.

    ``every`` is ``"minute"``, ``"hour"``, ``"day"``, ``"week"``, ``"month"``, ``"quarter"`` or
    ``"year"``; ``week_start`` the day on which weeks begin, 0 for Monday. With ``tz`` the value
    is an aware datetime, and so is the start: the local date and time, with its offset. Without,
    both are dates, and the unit is a day or longer.

    Raises InvalidRequestError for an unknown zone or unit, RefusedValueError for another value.
    """
    return cast(T, calendar_of(every, tz, week_start).bucket(value))


def fill(  # noqa: PLR0913 - what a bucket is takes four words
    rows: Iterable[Row[V]],
    *,
    at: str,
    every: str,
    tz: str | ZoneInfo | None = None,
    start: date | None = None,
    end: date | None = None,
    by: str | Sequence[str] = (),
    week_start: int = 0,
) -> list[dict[str, V | date | None]]:
    """Return the rows, and one for each missing bucket, with None for every other field.

    The buckets are those from the one of ``start`` on that begin before ``end``: a date is the
    beginning of its day. Where one is left out, the first row of all begins, and the last row of
    all ends. Each series has them all, one series after the other, as they first appear; where
    there is no row, no other field is known, and with ``by`` no series. Every ``at`` is written
    as :func:`bucket_of` does.

    Raises InvalidRequestError for an unknown zone or unit and for rows that are not in order,
    UnknownFieldError for a name that is no field of each row, RefusedValueError for an ``at``
    that is no start of a bucket, or outside of ``start`` and ``end``.
    """
    calendar = calendar_of(every, tz, week_start)
    _require_texts(at)
    given, keys = _rows(rows), _names(by, at)
    series = _series(given, keys)
    starts = _starts(given, at, calendar)
    _require_order(starts, series.values(), at)
    buckets = expected(calendar, starts, start, end)
    known = frozenset(buckets)
    fields = given[0] if given else {at: None}
    for index, row in enumerate(given):
        for name in fields.keys() ^ row.keys():
            raise _unknown(name, index, fields if name in row else row)
        if starts[index] not in known:
            raise RefusedValueError(
                "lies outside of the start and the end", hint="ask for more time, or fewer rows"
            ).at(index=index, field=at)
    filled: list[dict[str, V | date | None]] = []
    for key, indexes in (series or ({} if keys else {(): []})).items():
        there = {starts[index]: given[index] for index in indexes}
        nothing: dict[str, V | None] = {
            **dict.fromkeys(fields),
            **dict(zip(keys, key, strict=True)),
        }
        filled += [{**there.get(each, nothing), at: each} for each in buckets]
    return filled


def gaps(  # noqa: PLR0913 - what a bucket is takes four words
    rows: Iterable[Row[object]],
    *,
    at: str,
    every: str,
    tz: str | ZoneInfo | None = None,
    start: date | None = None,
    end: date | None = None,
    week_start: int = 0,
) -> list[tuple[date, date]]:
    """Return the first and the last missing bucket of each time without a row, in order.

    The rows are one series: of several, give one after the other. A row counts whatever it holds,
    so rows of :func:`fill` have no gap. The arguments and errors are those of :func:`fill`; with
    ``tz`` the starts are datetimes.
    """
    calendar = calendar_of(every, tz, week_start)
    _require_texts(at)
    given = _rows(rows)
    starts = _starts(given, at, calendar)
    _require_order(starts, [range(len(given))], at)
    there = frozenset(starts)
    found: list[tuple[date, date]] = []
    first: date | None = None
    last: date | None = None
    for each in expected(calendar, starts, start, end):
        if each not in there:
            first, last = first or each, each
        elif first is not None and last is not None:
            found.append((first, last))
            first = None
    return found if first is None or last is None else [*found, (first, last)]


def rolling_mean(  # noqa: PLR0913 - a window, a zone, a series and a name
    rows: Iterable[Row[V]],
    field: str,
    *,
    at: str,
    days: int = 7,
    tz: str | ZoneInfo | None = None,
    by: str | Sequence[str] = (),
    name: str | None = None,
) -> list[dict[str, V | Number | None]]:
    """Return the rows, each with the mean of a field over the last local days.

    The new field is ``name``, by default the field and the days: ``mean_7d``. The window is the
    row's own local date and the ``days - 1`` dates before it, up to the row itself. None is left
    out; the mean of nothing is None. A mean of integers or floats is the exact one, rounded once
    to a float; one of Decimals has six places more than the field; one of timedeltas is rounded
    to a microsecond. Rounding is half-even.

    Raises InvalidRequestError for an unknown zone, for rows that are not in order and for a name
    that is a field already, UnknownFieldError for one that is no field of each row,
    RefusedValueError for values that are not finite numbers of one kind.
    """
    if type(days) is not int or days < 1:
        raise InvalidRequestError("no window has so many days", hint="give days of 1 or more")
    calendar = calendar_of(Unit.DAY, tz, 0)
    given = _rows(rows)
    _require_texts(at, field, "" if name is None else name)
    name = name or f"{field}_{days}d"
    keys = _names(by, at)
    values = _values(given, field, name)
    kind = kind_of(values, field)
    moments = _moments(given, at, calendar)
    series = _series(given, keys)
    _require_order(moments, series.values(), at)
    today = [day_of(each).toordinal() for each in moments]
    means: list[Number | None] = [None] * len(given)
    for indexes in series.values():
        total, count, first = Fraction(), 0, 0
        for index in indexes:
            if (value := values[index]) is not None:
                total, count = total + kind.exact(value), count + 1
            while today[indexes[first]] <= today[index] - days:
                if (gone := values[indexes[first]]) is not None:
                    total, count = total - kind.exact(gone), count - 1
                first += 1
            if count:
                means[index] = _computed(kind.mean, index, field, total / count)
    return [{**row, name: mean} for row, mean in zip(given, means, strict=True)]


def change(
    rows: Iterable[Row[V]],
    field: str,
    *,
    by: str | Sequence[str] = (),
    name: str | None = None,
) -> list[dict[str, V | Number | None]]:
    """Return the rows, each with the difference of a field to the row before.

    The new field is ``name``, by default ``mean_change`` for a field ``mean``. It is None for the
    first row of a series, and where one of both values is None. The row before is the one before
    in the list, however long ago: :func:`fill` the rows first, and a missing bucket has no change.
    Differences of integers, Decimals and timedeltas are exact.

    Raises InvalidRequestError for a name that is a field already, UnknownFieldError for one that
    is no field of each row, RefusedValueError for values that are not finite numbers of one kind,
    and for a difference that is none.
    """
    given = _rows(rows)
    _require_texts(field, "" if name is None else name)
    name = name or f"{field}_change"
    values = _values(given, field, name)
    kind = kind_of(values, field)
    changes: list[Number | None] = [None] * len(given)
    for indexes in _series(given, _names(by)).values():
        for before, index in pairwise(indexes):
            old, new = values[before], values[index]
            if old is not None and new is not None:
                changes[index] = _computed(kind.difference, index, field, new, old)
    return [{**row, name: each} for row, each in zip(given, changes, strict=True)]


def _rows(rows: Iterable[Row[V]]) -> tuple[Row[V], ...]:
    given = listed(rows, "the rows", '[{"day": date(2025, 3, 30), "mean": 70.5}]')
    for index, row in enumerate(given):
        if not isinstance(cast(object, row), Mapping):
            raise InvalidRequestError("is no row", hint="give a mapping").at(index=index)
    return given


def _names(by: str | Sequence[str], at: str | None = None) -> tuple[str, ...]:
    """Return the fields that tell series apart, none of which is that of the buckets."""
    names = (by,) if isinstance(by, str) else listed(by, "by", 'by=["patient"]')
    _require_texts(*names)
    if at is not None and at in names:
        raise InvalidRequestError(
            "each bucket would be a series of its own",
            hint="name in by what tells several series apart, such as the patient",
            field=at,
        )
    return names


def _require_texts(*names: object) -> None:
    for each in names:
        if not isinstance(each, str):
            raise InvalidRequestError(
                f"a field is named by a text, not by a {type(each).__name__}",
                hint='write its name, as in "mean"',
            )


def _field(row: Row[V], name: str, index: int) -> V:
    try:
        return row[name]
    except KeyError:
        raise _unknown(name, index, row) from None


def _unknown(name: str, index: int, row: Row[object]) -> UnknownFieldError:
    names = ", ".join(map(str, row))
    error = UnknownFieldError("is no field of each row", hint=f"the fields are {names}")
    return error.at(index=index, field=f"{name}")  # a row may have keys that are no texts


def _series(rows: Sequence[Row[V]], keys: Sequence[str]) -> dict[tuple[V, ...], list[int]]:
    """Return the indexes of each series' rows, as the series first appear."""
    found: dict[tuple[V, ...], list[int]] = {}
    for index, row in enumerate(rows):
        key = tuple(_field(row, name, index) for name in keys)
        try:
            found.setdefault(key, []).append(index)
        except TypeError:
            raise RefusedValueError(
                "rows cannot be grouped by such a value", hint="give by a field of plain values"
            ).at(index=index, field=", ".join(keys)) from None
    return found


def _moments(rows: Sequence[Row[object]], at: str, calendar: Calendar) -> list[date]:
    found: list[date] = []
    for index, row in enumerate(rows):
        value = _field(row, at, index)
        try:
            found.append(calendar.read(value))
        except HealthstoreError as error:
            raise error.at(index=index, field=at) from None
    return found


def _starts(rows: Sequence[Row[object]], at: str, calendar: Calendar) -> list[date]:
    found = _moments(rows, at, calendar)
    for index, each in enumerate(found):
        try:
            begins = calendar.begins(each)
        except HealthstoreError as error:
            raise error.at(index=index, field=at) from None
        if not begins:
            raise RefusedValueError(
                "is no start of a bucket", hint="give what bucket_of returns for every and tz"
            ).at(index=index, field=at)
    return found


def _require_order(moments: Sequence[date], series: Iterable[Sequence[int]], at: str) -> None:
    for indexes in series:
        for before, index in pairwise(indexes):
            if not moments[before] < moments[index]:
                raise InvalidRequestError(
                    "does not come after the row before",
                    hint="sort the rows, and name in by what tells several series apart",
                ).at(index=index, field=at)


def _values(rows: Sequence[Row[object]], field: str, name: str) -> list[Number | None]:
    """Return the values of a field, and see to it that the new field's name is free."""
    found: list[Number | None] = []
    for index, row in enumerate(rows):
        value = _field(row, field, index)
        if name in row:
            raise InvalidRequestError(
                "is a field already", hint="give the new field another name="
            ).at(index=index, field=name)
        if value is not None and not is_finite(value):
            raise RefusedValueError(
                "is no finite number", hint="give an int, float, Decimal, timedelta or None"
            ).at(index=index, field=field)
        found.append(cast("Number | None", value))
    return found


def _computed(compute: Callable[..., Number], index: int, field: str, *numbers: object) -> Number:
    try:
        return compute(*numbers)
    except OverflowError:
        raise RefusedValueError(
            "the result is beyond what its type holds", hint="give smaller numbers"
        ).at(index=index, field=field) from None

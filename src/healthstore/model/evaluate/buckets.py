"""Buckets of time as keys of groups: which one a value is in, and what a database is told of it.

A database knows no zone. It is given the zone's offsets of the years in which there may be rows,
adds the one of a row to its instant, and cuts the local time off. What begins there, as an
instant, the core computes from the answer: an adapter returns the first local day or, of a unit
below a day, the second since 1970.

A bucket is null where no offset is known. Beside it the values of its field are counted, so that
one can be told from the bucket of None: then the core asks for the years in which there are rows,
and once more for the groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TypeAlias, cast
from zoneinfo import ZoneInfo

from healthstore.errors import RefusedValueError
from healthstore.model.definition import Definition
from healthstore.model.measures import Bucket, Group, Offsets
from healthstore.model.ops import Aggregate, Count
from healthstore.model.query import And, Filter, Operator, Or, Test
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Kind, Value
from healthstore.model.zones import (
    Unit,
    bucket_of,
    first_day,
    local_start,
    local_time,
    next_first_day,
    offsets,
    zone_of,
)

__all__ = (
    "BELOW_A_DAY",
    "Years",
    "asked_years",
    "beyond_time",
    "first_covered_day",
    "halfway",
    "is_kept_as_key",
    "key_reader",
    "key_test",
    "key_writer",
    "partial",
    "planned_bucket",
    "unknown_buckets",
    "years_between",
)

_Changes: TypeAlias = list[tuple[int, int | None]]
Years: TypeAlias = tuple[tuple[int, int], ...]
"""Spans of years of UTC, rising, each with its first and its last year."""

BELOW_A_DAY = frozenset({Unit.MINUTE, Unit.HOUR})
# Where a filter names no bound, rows are looked for in these years.
_USUAL = (1900, 2100)
# Of a wider range not all offsets are listed: there may be two changes in each year.
_WIDEST = 400
_FIRST, _LAST = date.min.year, date.max.year
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_DAY = 86_400
_YEAR = 365 * _DAY
# Most rows are of about this year; only the time that a bucket takes depends on it.
_LIKELY = (2025 - 1970) * _YEAR


# --- what a bucket is ----------------------------------------------------------------------------


def key_reader(collection: Definition, key: str | Bucket) -> Callable[[Document], Value]:
    """Return what computes a planned key of a document; it raises RefusedValueError as zones do."""
    if isinstance(key, str):
        return lambda document: document[key]
    name, cut = key.field, _cut(collection, key)

    def read(document: Document) -> Value:
        value = document[name]
        try:
            return None if value is None else cut(value)
        except RefusedValueError as error:
            raise error.at(entity=collection.entity, field=name) from None

    return read


def _cut(collection: Definition, key: Bucket) -> Callable[[Value], Value]:
    """Return what makes a planned key of a value that is not None."""
    unit, start = Unit(key.unit), key.week_start
    if collection.field(key.field).type.kind is Kind.DATE:
        return lambda value: first_day(cast(date, value), unit, start)
    zone = zone_of(cast(str, key.tz))
    if unit in BELOW_A_DAY:
        return lambda value: (bucket_of(cast(datetime, value), unit, zone) - _EPOCH) // _SECOND
    return lambda value: first_day(local_time(cast(datetime, value), zone).date(), unit, start)


def key_writer(collection: Definition, key: str | Bucket) -> Callable[[Value], Value]:
    """Return what makes the value of a column from a planned key."""
    if isinstance(key, str) or collection.field(key.field).type.kind is Kind.DATE:
        return lambda value: value
    zone, below = zone_of(cast(str, key.tz)), key.unit in BELOW_A_DAY

    def write(value: Value) -> Value:
        if value is None:
            return None
        if below:
            return local_time(_EPOCH + cast(int, value) * _SECOND, zone)
        return local_start(cast(date, value), zone)

    return write


def key_test(collection: Definition, key: Bucket, test: Test) -> Filter:
    """Return what a planned key satisfies where a bucket satisfies a test, in normal form.

    A bucket is told by where it begins. Of those that begin no later than an instant one is the
    last: an instant is as good as its beginning, and equal to it, or to no bucket's.
    """
    if test.operator in _OF_NULL or collection.field(key.field).type.kind is Kind.DATE:
        return test
    if test.operator in _LISTS:
        given = cast("tuple[datetime | None, ...]", test.operand)
        lasts = [None if each is None else _last_begun(key, each) for each in given]
        kept = tuple(each if each is None else each[0] for each in lasts if each is None or each[1])
        if kept:
            return test.held(test.operator, kept)
        return Or(()) if test.operator is Operator.IN else test.held(Operator.NOT_NULL, None)
    if test.operand is None:
        return test
    last, begins = _last_begun(key, cast(datetime, test.operand))
    if not begins and test.operator in _EXACT:
        return Or(()) if test.operator is Operator.EQ else test.held(Operator.NOT_NULL, None)
    operator = test.operator if begins else _BETWEEN.get(test.operator, test.operator)
    return test.held(operator, last)


_OF_NULL = frozenset({Operator.IS_NULL, Operator.NOT_NULL})
_LISTS = frozenset({Operator.IN, Operator.NOT_IN})
_EXACT = frozenset({Operator.EQ, Operator.NE})
_BETWEEN = {Operator.LT: Operator.LE, Operator.GE: Operator.GT}
# In the first and the last year there may be no local time, and no bucket.
_SURE = range(date.min.year + 1, date.max.year)


def is_kept_as_key(test: Test) -> bool:
    """Tell whether :func:`key_test` makes a test of a key of what an instant is held against."""
    given = test.operand if isinstance(test.operand, tuple) else (test.operand,)
    return all(each.year in _SURE for each in given if isinstance(each, datetime))


def _last_begun(key: Bucket, at: datetime) -> tuple[date | int, bool]:
    """Return the key of the last bucket that has begun at an instant, and whether it begins there.

    Local time may run back over a midnight: then a day has begun before the end of the last one.
    """
    unit, zone = Unit(key.unit), zone_of(cast(str, key.tz))
    if unit in BELOW_A_DAY:
        second = (at - _EPOCH) // _SECOND
        return second, _EPOCH + second * _SECOND == at
    first = first_day(local_time(at, zone).date(), unit, key.week_start)
    following = next_first_day(first, unit)
    if following is not None and local_start(following, zone) <= at:
        first = following
    begin = local_start(first, zone).astimezone(UTC)
    return first, begin == at


# --- what a database is told ---------------------------------------------------------------------


def planned_bucket(
    collection: Collection, bucket: Bucket, where: Filter, years: Mapping[str, Years]
) -> Bucket:
    """Return the bucket with the offsets of its zone in the years that a filter leaves.

    ``years`` has those in which there are rows, for the fields of which it is known.
    """
    if collection.field(bucket.field).type.kind is Kind.DATE:
        return bucket
    zone = zone_of(cast(str, bucket.tz))
    spans, first_known, last_known = years.get(bucket.field), False, False
    if not spans:
        spans, first_known, last_known = _usual(*_bounds(where, bucket.field))
    early = not first_known or spans[0][0] == _FIRST
    covered = first_covered_day(bucket) if early else date.min
    listed = _listed(zone, spans, covered, first_known, last_known)
    return replace(bucket, offsets=listed)


def partial(collection: Collection, bucket: Bucket) -> bool:
    """Tell whether a planned bucket may be null for a value that is not."""
    if collection.field(bucket.field).type.kind is Kind.DATE:
        return first_covered_day(bucket) > date.min
    return any(offset is None for _, offset in bucket.offsets)


def first_covered_day(bucket: Bucket) -> date:
    """Return the first local day whose bucket does not begin before the year 1."""
    late = bucket.unit == Unit.WEEK
    return date(1, 1, 1 + bucket.week_start) if late else date.min  # the first one is a Monday


def halfway(listed: Offsets, low: int, high: int) -> int:
    """Return the place that parts the offsets from ``low`` to before ``high``, of which are two.

    A row is as likely on one side as on the other, so that a choice by halves takes few steps.
    """
    shares = [1 / (1 + abs(at - _LIKELY) / _YEAR) for at, _ in listed[low:high]]
    before = list(accumulate(shares))
    return (
        min(range(1, high - low), key=lambda place: abs(before[-1] - 2 * before[place - 1])) + low
    )


def _usual(first: int | None, last: int | None) -> tuple[Years, bool, bool]:
    """Return the years in which a filter lets rows be, and whether none are before and after."""
    start, end = _USUAL
    low = start if first is None else first
    high = end if last is None else last
    if last is None:
        high = max(high, low)
    elif first is None:
        low = min(low, high)
    if high - low > _WIDEST:
        low, high = max(low, start), min(high, end)
    low = min(low, high)  # or no row is there
    return (
        ((low, high),),
        first is not None and low <= first,
        last is not None and high >= last,
    )


@lru_cache(maxsize=256)
def _listed(
    zone: ZoneInfo,
    spans: Years,
    covered: date,
    first_known: bool,  # noqa: FBT001 - a part of what is cached
    last_known: bool,  # noqa: FBT001 - a part of what is cached
) -> Offsets:
    """Return the offsets of spans of years, and None around them and where no bucket begins."""
    always = zone.utcoffset(None)
    if always is not None:  # a zone that never changes its clocks
        return tuple(_from_day(covered, [(_seconds(_begin(_FIRST)), always // _SECOND)]))
    found: _Changes = []
    for first, last in spans:
        end = datetime.max.replace(tzinfo=UTC) if last == _LAST else _begin(last + 1)
        changes: _Changes = [(_seconds(at), by) for at, by in offsets(_begin(first), end, zone)]
        before = not first_known or bool(found)
        if before and first > _FIRST:
            found.append((_seconds(_begin(first - 1)), None))
        if first == _FIRST:
            changes = _from_day(covered, changes)
        found.extend(changes)
        if last < _LAST and not (last_known and (first, last) == spans[-1]):
            found.append((_seconds(end), None))
    return tuple(_merged(found))


def _merged(found: Sequence[tuple[int, int | None]]) -> Iterator[tuple[int, int | None]]:
    """Yield what is not as it was before."""
    yield found[0]
    for (_, before), (at, offset) in pairwise(found):
        if offset != before:
            yield at, offset


def _begin(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


def _seconds(at: datetime) -> int:
    return (at - _EPOCH) // _SECOND


def _from_day(day: date, changes: _Changes) -> _Changes:
    """Return the offsets from a local day on, which is one of the first of the year 1."""
    (begin, offset), *rest = changes
    local = (day.toordinal() - _EPOCH.toordinal()) * _DAY  # no clock changes in these days
    if offset is None or day == date.min:
        return changes
    return [(begin, None), (local - offset, offset), *rest]


# --- in which years there may be rows ------------------------------------------------------------


def _bounds(where: Filter, field: str) -> tuple[int | None, int | None]:
    """Return the first and the last year in which a filter lets an instant be, None for any."""
    if isinstance(where, And | Or):
        null = Test(field, Operator.IS_NULL)  # in no year
        found = [_bounds(item, field) for item in where.items if item != null]
        lows = [low for low, _ in found if low is not None]
        highs = [high for _, high in found if high is not None]
        if isinstance(where, And):
            return max(lows, default=None), min(highs, default=None)
        low = min(lows) if lows and len(lows) == len(found) else None
        return low, max(highs) if highs and len(highs) == len(found) else None
    if not isinstance(where, Test) or where.field != field:
        return None, None
    limits = _LIMITS.get(where.operator)
    given = where.operand if isinstance(where.operand, tuple) else (where.operand,)
    values = [each for each in given if isinstance(each, datetime)]
    if limits is None or len(values) < len(given):
        return None, None
    below, above = limits
    return min(values).year if below else None, max(values).year if above else None


# Whether a test names a lower and an upper bound.
_LIMITS: Mapping[Operator, tuple[bool, bool]] = {
    Operator.EQ: (True, True),
    Operator.IN: (True, True),
    Operator.GT: (True, False),
    Operator.GE: (True, False),
    Operator.LT: (False, True),
    Operator.LE: (False, True),
}


def unknown_buckets(planned: Aggregate, rows: Sequence[Group]) -> tuple[str, ...]:
    """Return the fields of buckets that are null for a value, of which no offset was known."""
    found: list[str] = []
    for place, key in enumerate(planned.group):
        if not isinstance(key, Bucket) or not partial(planned.collection, key):
            continue
        counted = planned.measures.index(Count(key.field))
        if any(row.key[place] is None and row.values[counted] for row in rows):
            found.append(key.field)
    return tuple(dict.fromkeys(found))


def asked_years(op: Aggregate, field: str) -> Aggregate:
    """Return the planned request for the years of UTC in which there are values of a field."""
    year = Bucket(field, Unit.YEAR, "UTC", offsets=((_seconds(_begin(_FIRST)), 0),))
    return Aggregate(op.collection, (Count(),), op.where, (year,), limit=_LAST, planned=True)


def years_between(rows: Sequence[Group]) -> Years:
    """Return the answer to :func:`asked_years` as spans of years."""
    years = sorted(cast(date, row.key[0]).year for row in rows if row.key[0] is not None)
    spans: list[tuple[int, int]] = []
    for year in years:
        if spans and spans[-1][1] == year - 1:
            spans[-1] = (spans[-1][0], year)
        else:
            spans.append((year, year))
    return tuple(spans)


def beyond_time(op: Aggregate, field: str) -> RefusedValueError:
    """Return the error for a value whose week begins before the year 1."""
    return RefusedValueError(
        "is in a week that begins before the year 1",
        hint="leave out what is so far away, by a filter",
        entity=op.collection.entity,
        field=field,
    )

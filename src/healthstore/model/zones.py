"""Local time: where a bucket of minutes, hours, days and longer begins in a zone.

The bucket of an instant is its *local* date and time, cut off below the unit; weeks begin on
Monday unless it is said otherwise. The key of a bucket is an aware instant. For minutes and hours
it is the local time that was cut, less the offset at the instant, so the hour that clocks repeat
gives two buckets. For days and longer it is the local midnight of the first day, the earlier one
if it comes twice, so a day has 23, 24 or 25 hours. A day that a zone skips does not exist.

A key is written with the local time and offset of its zone, and carries that offset alone: two
datetimes with one ``ZoneInfo`` are equal in the repeated hour, and equal to no other there.

All offsets are those of Python's ``zoneinfo``, in this process; no server is asked for any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from healthstore.errors import InvalidRequestError, RefusedValueError

__all__ = (
    "Unit",
    "bucket_of",
    "buckets",
    "first_day",
    "first_days",
    "instant_of",
    "is_start",
    "local_start",
    "local_time",
    "next_bucket",
    "next_first_day",
    "offsets",
    "unit_of",
    "week_start_of",
    "zone_of",
)


class Unit(StrEnum):
    """How long a bucket is, by the local calendar."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


# Moments are timedeltas since this instant: they go beyond what a datetime can hold, as the first
# day of the year 1 does in a zone that is ahead of UTC.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN = _EPOCH.replace(tzinfo=None)
_FIRST = datetime.min.replace(tzinfo=UTC) - _EPOCH
_LAST = datetime.max.replace(tzinfo=UTC) - _EPOCH
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_WIDTHS = {Unit.MINUTE: timedelta(minutes=1), Unit.HOUR: timedelta(hours=1)}
_MONTHS = {Unit.MONTH: 1, Unit.QUARTER: 3, Unit.YEAR: 12}

# No zone has changed its offset twice within 95 hours.
_STEP = 2 * 86_400
# Zone data lists changes from 1844 to 2087 at most; what comes later follows a rule of the
# Gregorian calendar, which repeats itself after 400 years.
_LISTED, _RULED, _CYCLE = 1_800, 2_500, 400


# What a system calls the zone that it is set to; the rules of another one.
_MACHINE = frozenset({"localtime", "posixrules"})


def zone_of(name: str | ZoneInfo) -> ZoneInfo:
    """Return the zone with an IANA name, such as ``Europe/Berlin``.

    Raises InvalidRequestError if there is none, and for the zone of the machine, which may be
    another one elsewhere.
    """
    if isinstance(name, ZoneInfo):
        return name
    found: ZoneInfo | None = None
    with suppress(KeyError, OSError, TypeError, ValueError):
        found = ZoneInfo(name)
    if found is None or name in _MACHINE:
        raise InvalidRequestError(
            "there is no such time zone", hint='give an IANA name, such as "Europe/Berlin"'
        )
    return found


def unit_of(name: str) -> Unit:
    """Return the unit with this name. Raises InvalidRequestError if there is none."""
    try:
        return Unit(name)
    except ValueError:
        raise InvalidRequestError(
            "there is no such unit of time", hint=f"give one of {', '.join(Unit)}"
        ) from None


def week_start_of(day: int) -> int:
    """Return the day on which weeks begin, from 0 for Monday to 6 for Sunday.

    Raises InvalidRequestError for anything else.
    """
    if type(day) is int and 0 <= day <= 6:
        return day
    raise InvalidRequestError(
        "no week begins on such a day", hint="give week_start from 0 for Monday to 6 for Sunday"
    )


def instant_of(value: object) -> datetime:
    """Return the value, if it is an aware datetime; raise RefusedValueError if not."""
    if not isinstance(value, datetime):
        raise RefusedValueError("is no instant", hint="give an aware datetime")
    if value.utcoffset() is None:
        raise RefusedValueError("is naive", hint="give it a time zone")
    return value


def bucket_of(instant: datetime, unit: Unit, zone: ZoneInfo, week_start: int = 0) -> datetime:
    """Return the key of the bucket that an instant is in.

    Raises RefusedValueError for a naive datetime, and where a local time or the bucket's first
    day lies outside of the years 1 to 9999.
    """
    return _written(_key(_moment(instant), unit, zone, week_start), zone)


def next_bucket(start: datetime, unit: Unit, zone: ZoneInfo, week_start: int = 0) -> datetime:
    """Return the key that follows this one.

    A bucket ends where the next one begins, except where clocks are changed by a part of the
    unit, or from one side of a local midnight to the other. Raises RefusedValueError as
    :func:`bucket_of`, and after the last bucket of the year 9999.
    """
    moment = _moment(start)
    width = _WIDTHS.get(unit)
    end = _LAST + _DAY if width is None else moment + 3 * width
    for key in _keys(moment, end, unit, zone, week_start):
        if key > moment:
            return _written(key, zone)
    raise _beyond(zone)


def buckets(
    start: datetime, end: datetime, unit: Unit, zone: ZoneInfo, week_start: int = 0
) -> Iterator[datetime]:
    """Yield the keys from that of ``start`` on, in order, which are before ``end``.

    If ``start`` is a key, it is the first. Raises RefusedValueError as :func:`bucket_of`.
    """
    before = _moment(end)
    for key in _keys(_moment(start), before, unit, zone, week_start):
        yield _written(key, zone)


def is_start(instant: datetime, unit: Unit, zone: ZoneInfo, week_start: int = 0) -> bool:
    """Tell whether an instant is the key of a bucket.

    Raises RefusedValueError as :func:`bucket_of`.
    """
    moment = _moment(instant)
    width = _WIDTHS.get(unit)
    if width is None:
        return _key(moment, unit, zone, week_start) == moment
    return _is_cut(moment, width, zone)


def local_time(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return the same instant, written with the local time and offset of the zone.

    Raises RefusedValueError for a naive datetime, and where the local time lies outside of the
    years 1 to 9999.
    """
    return _written(_moment(instant), zone)


def local_start(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant at which a local day begins: its midnight, the earlier one of two.

    A day that the zone skips gives the beginning of the day after. Raises RefusedValueError where
    the local time there lies outside of the years 1 to 9999.
    """
    return _written(_midnight(day, zone), zone)


def first_day(day: date, unit: Unit, week_start: int = 0) -> date:
    """Return the first day of the bucket that a day is in.

    Raises InvalidRequestError for a unit below a day, and RefusedValueError for a week that
    begins before the year 1.
    """
    if unit in _WIDTHS:
        raise InvalidRequestError(
            "a date has no time of day", hint='give a unit of "day" or longer, or instants'
        )
    if unit is Unit.DAY:
        return day
    if unit is Unit.WEEK:
        ordinal = day.toordinal() - (day.weekday() - week_start) % 7
        if ordinal < 1:
            raise RefusedValueError(
                "is in a week that begins before the year 1", hint="leave out what is so far away"
            )
        return date.fromordinal(ordinal)
    return date(day.year, day.month - (day.month - 1) % _MONTHS[unit], 1)


def next_first_day(first: date, unit: Unit) -> date | None:
    """Return the first day of the bucket after the one with this first day.

    None after the last bucket of the year 9999.
    """
    if unit in _MONTHS:
        year, month = divmod(first.year * 12 + first.month - 1 + _MONTHS[unit], 12)
        return None if year > date.max.year else date(year, month + 1, 1)
    ordinal = first.toordinal() + (7 if unit is Unit.WEEK else 1)
    return None if ordinal > date.max.toordinal() else date.fromordinal(ordinal)


def first_days(start: date, end: date, unit: Unit, week_start: int = 0) -> Iterator[date]:
    """Yield the first days from that of ``start`` on, in order, which are before ``end``.

    Raises as :func:`first_day`.
    """
    day: date | None = first_day(start, unit, week_start)
    while day is not None and day < end:
        yield day
        day = next_first_day(day, unit)


def offsets(start: datetime, end: datetime, zone: ZoneInfo) -> tuple[tuple[datetime, int], ...]:
    """Return the zone's offsets from ``start`` to before ``end``, in seconds to the east of UTC.

    Each comes with the instant, in UTC, from which on it holds: the first with ``start``, the
    others with that of a change. Raises RefusedValueError for a naive datetime, and for one that
    lies outside of the years 1 to 9999 in UTC.
    """
    first, last = _moment(start), _moment(end)
    if first < _FIRST or max(first, last) > _LAST:
        raise RefusedValueError(
            "lies outside of the years 1 to 9999 in UTC", hint="ask for less time"
        )
    return tuple((_EPOCH + at, by // _SECOND) for at, by in _segments(first, last, zone))


def _moment(instant: datetime) -> timedelta:
    return instant_of(instant) - _EPOCH


def _beyond(zone: ZoneInfo) -> RefusedValueError:
    return RefusedValueError(
        f"lies outside of the years 1 to 9999 in {zone.key or 'its zone'}",
        hint="leave out what is so far away",
    )


def _written(moment: timedelta, zone: ZoneInfo) -> datetime:
    offset = _offset(moment, zone)
    return _local(moment + offset, zone).replace(tzinfo=timezone(offset))


def _local(local: timedelta, zone: ZoneInfo) -> datetime:
    try:
        return _PLAIN + local
    except OverflowError:
        raise _beyond(zone) from None


def _offset(moment: timedelta, zone: ZoneInfo) -> timedelta:
    # A day from either end of time no zone changes its clocks, and no local time overflows.
    moment = min(max(moment, _FIRST + _DAY), _LAST - _DAY)
    at = _PLAIN + moment
    return zone.fromutc(at.replace(tzinfo=zone)).replace(tzinfo=None) - at


def _midnight(day: date, zone: ZoneInfo) -> timedelta:
    offset = datetime.combine(day, time(), zone).utcoffset() or timedelta()
    return datetime.combine(day, time()) - _PLAIN - offset


def _key(moment: timedelta, unit: Unit, zone: ZoneInfo, week_start: int) -> timedelta:
    offset = _offset(moment, zone)
    local = _local(moment + offset, zone)
    width = _WIDTHS.get(unit)
    if width is not None:
        return moment - (moment + offset) % width
    return _midnight(first_day(local.date(), unit, week_start), zone)


def _keys(
    start: timedelta, end: timedelta, unit: Unit, zone: ZoneInfo, week_start: int
) -> Iterator[timedelta]:
    """Yield the moments of all keys from that of ``start`` on, rising, which are before ``end``."""
    local = _local(start + _offset(start, zone), zone)
    width = _WIDTHS.get(unit)
    if width is not None and not _is_cut(start, width, zone):
        start = _key(start, unit, zone, week_start)
    last: timedelta | None = None
    for key in (
        _midnights(first_day(local.date(), unit, week_start), unit, zone)
        if width is None
        else _cuts(start, end + width, width, zone)  # a key may be smaller than its instants
    ):
        if key >= end:
            return
        if last is None or key > last:  # not so for a day that is skipped
            last = key
            yield key


def _is_cut(moment: timedelta, width: timedelta, zone: ZoneInfo) -> bool:
    # Where clocks were changed by a part of an hour, a key may lie in the bucket before its own.
    return any(not (moment + by) % width for _, by in _segments(moment, moment + width, zone))


def _midnights(day: date | None, unit: Unit, zone: ZoneInfo) -> Iterator[timedelta]:
    while day is not None:
        yield _midnight(day, zone)
        day = next_first_day(day, unit)


def _cuts(
    start: timedelta, end: timedelta, width: timedelta, zone: ZoneInfo
) -> Iterator[timedelta]:
    """Yield the keys of minutes or hours from this one on, rising; one may come twice.

    Where clocks are changed within a unit, the first key of the new offset may be smaller than
    the last one of the old offset, and no other one: so one key is held back.
    """
    held: timedelta | None = None
    segments = [*_segments(start, end, zone), (end, timedelta())]
    for (since, offset), (until, _) in pairwise(segments):
        key = since - (since + offset) % width
        while key < min(until, _LAST - offset + timedelta.resolution):  # the last of local time
            if key >= start:
                if held is not None:
                    yield min(held, key)
                held = key if held is None else max(held, key)
            key += width
    if held is not None:
        yield held


def _segments(
    start: timedelta, end: timedelta, zone: ZoneInfo
) -> Iterator[tuple[timedelta, timedelta]]:
    """Yield each offset with the moment from which on it holds, the first with ``start``."""
    yield start, _offset(start, zone)
    for year in range(_year(start), _year(end) + 1):
        for seconds, offset in _changes(zone, year):
            at = timedelta(seconds=seconds)
            if start < at < end:
                yield at, timedelta(seconds=offset)


def _year(moment: timedelta) -> int:
    return (_PLAIN + min(max(moment, _FIRST), _LAST)).year


def _changes(zone: ZoneInfo, year: int) -> tuple[tuple[int, int], ...]:
    """Return the changes of a year of UTC: seconds since 1970, and the offset from then on."""
    if year < _LISTED:
        return ()
    if year < _RULED:
        return _searched(zone, year)
    like = _RULED - _CYCLE + (year - _RULED) % _CYCLE
    later = _begin(year) - _begin(like)
    return tuple((at + later, offset) for at, offset in _searched(zone, like))


def _begin(year: int) -> int:
    """Return the seconds from 1970 to the beginning of a year, in UTC."""
    return (date(year, 1, 1).toordinal() - _PLAIN.toordinal()) * 86_400


@lru_cache(maxsize=16_384)
def _searched(zone: ZoneInfo, year: int) -> tuple[tuple[int, int], ...]:
    def offset(at: int) -> int:
        return _offset(timedelta(seconds=at), zone) // _SECOND

    begin, end = _begin(year), _begin(year + 1)
    found: list[tuple[int, int]] = []
    low, before = begin - 1, offset(begin - 1)
    while low < end - 1:
        high = min(low + _STEP, end - 1)
        after = offset(high)
        if after != before:
            at = _bisected(offset, low, high)
            found.append((at, after))
        low, before = high, after
    return tuple(found)


def _bisected(offset: Callable[[int], int], low: int, high: int) -> int:
    """Return the first second at which the offset is that of ``high``, not that of ``low``."""
    before = offset(low)
    while high - low > 1:
        middle = (low + high) // 2
        if offset(middle) == before:
            low = middle
        else:
            high = middle
    return high

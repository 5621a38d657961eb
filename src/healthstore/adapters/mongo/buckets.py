"""Buckets of time as expressions: arithmetic of microseconds, since the server's own may be wrong.

An instant is a number of microseconds, or a Date if the field keeps milliseconds; a date is a
text. The server's ``$dateTrunc`` and its zones are not used: some servers give the wrong day, and
their zones are not those of this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from bson.int64 import Int64

from healthstore.adapters.mongo.codec import Codec
from healthstore.adapters.mongo.filters import path_of
from healthstore.model.evaluate import BELOW_A_DAY, first_covered_day, halfway
from healthstore.model.ops import Bucket
from healthstore.model.values import Kind, Value
from healthstore.model.zones import Unit

__all__ = ("bucket_key", "read_bucket", "write_bucket")

_SECOND = 1_000_000  # microseconds
_DAY = 86_400 * _SECOND
_WIDTHS = {
    Unit.MINUTE: 60 * _SECOND,
    Unit.HOUR: 3_600 * _SECOND,
    Unit.DAY: _DAY,
    Unit.WEEK: 7 * _DAY,
}
_MONTHS = {Unit.MONTH: 1, Unit.QUARTER: 3, Unit.YEAR: 12}
_EPOCH = date(1970, 1, 1)  # a Thursday: three days after a Monday


def bucket_key(bucket: Bucket, codec: Codec) -> Any:
    """Return the expression of a planned bucket, for :func:`read_bucket`; null where none is known."""
    kind = codec.collection.field(bucket.field).type
    path = path_of(bucket.field, codec)
    unit = Unit(bucket.unit)
    if kind.kind is Kind.DATE:
        return _of_date(path, unit, bucket.week_start, first_covered_day(bucket))
    if kind.milliseconds:
        path = {"$multiply": [{"$toLong": path}, Int64(1_000)]}
    local = {"$add": [path, _offset(bucket, path, 0, len(bucket.offsets))]}
    if unit in BELOW_A_DAY:
        return {"$subtract": [path, _beyond(local, _WIDTHS[unit])]}
    return _of_local(local, unit, bucket.week_start)


def read_bucket(bucket: Bucket, value: Any) -> Value:
    """Return the first day, or the second since 1970 at which a minute or an hour begins."""
    unit = Unit(bucket.unit)
    if value is None:
        return None
    if isinstance(value, str):
        return date.fromisoformat(value)
    if unit in BELOW_A_DAY:
        return int(value) // _SECOND
    if unit in _MONTHS:
        year, month = divmod(int(value), 12)
        return date(year, month + 1, 1)
    return _EPOCH + timedelta(int(value) // _DAY)


def write_bucket(bucket: Bucket, value: date | int, kind: Kind) -> Any:
    """Return what :func:`read_bucket` makes a beginning of, for a field of this kind."""
    unit = Unit(bucket.unit)
    if isinstance(value, int):
        return Int64(value * _SECOND)
    if kind is Kind.DATE and (unit is Unit.DAY or unit in _DATES):
        return value.isoformat()
    if unit in _MONTHS:
        return value.year * 12 + value.month - 1
    return Int64((value - _EPOCH).days * _DAY)


def _offset(bucket: Bucket, path: Any, low: int, high: int) -> Any:
    """Return the offset of an instant in microseconds: a choice by halves, of a few steps."""
    if high - low == 1:
        _, offset = bucket.offsets[low]
        return None if offset is None else Int64(offset * _SECOND)
    middle = halfway(bucket.offsets, low, high)
    at, _ = bucket.offsets[middle]
    before = {"$lt": [path, Int64(at * _SECOND)]}
    return {
        "$cond": [before, _offset(bucket, path, low, middle), _offset(bucket, path, middle, high)]
    }


def _beyond(number: Any, width: int, shift: int = 0) -> Any:
    """Return how far a number is beyond a multiple of a width, also of a negative number.

    Some servers compute ``$mod`` in doubles, which do not hold microseconds of all years. So most
    is taken away first: a quotient that is one too large or too small leaves a small number.
    """
    moved = {"$add": [number, Int64(shift)]} if shift else number
    times = {"$toLong": {"$floor": {"$divide": [moved, Int64(width)]}}}
    rest = {"$subtract": [moved, {"$multiply": [times, Int64(width)]}]}
    return {"$mod": [{"$add": [rest, Int64(width)]}, Int64(width)]}


def _of_local(local: Any, unit: Unit, week_start: int) -> Any:
    if unit in _MONTHS:
        # Not $divide alone, which rounds what a double cannot hold.
        whole = {"$subtract": [local, _beyond(local, 1_000)]}
        moment = {"$toDate": {"$toLong": {"$round": {"$divide": [whole, 1_000]}}}}
        return _month(moment, unit)
    shift = (3 - week_start) % 7 * _DAY if unit is Unit.WEEK else 0
    return {"$subtract": [local, _beyond(local, _WIDTHS[unit], shift)]}


def _month(moment: Any, unit: Unit) -> Any:
    """Return the number of the first month of a bucket, counted from the year 0."""
    months = {"$add": [{"$multiply": [{"$year": moment}, 12]}, {"$month": moment}, -1]}
    width = _MONTHS[unit]
    return months if width == 1 else {"$subtract": [months, {"$mod": [months, width]}]}


def _of_date(path: Any, unit: Unit, week_start: int, first: date) -> Any:
    if unit is Unit.DAY:
        return path
    cut = _DATES.get(unit)
    if cut is not None:
        return {"$cond": [{"$eq": [path, None]}, None, cut(path)]}
    moment = {"$dateFromString": {"dateString": path, "format": "%Y-%m-%d"}}
    if unit is Unit.QUARTER:
        return _month(moment, unit)
    local = {"$multiply": [{"$toLong": moment}, Int64(1_000)]}
    week = _of_local(local, unit, week_start)
    return week if first == date.min else {"$cond": [{"$lt": [path, f"{first}"]}, None, week]}


_DATES: Mapping[Unit, Callable[[Any], Any]] = {
    Unit.MONTH: lambda path: {"$concat": [{"$substrCP": [path, 0, 7]}, "-01"]},
    Unit.YEAR: lambda path: {"$concat": [{"$substrCP": [path, 0, 4]}, "-01-01"]},
}

"""Buckets of time on SQLite: arithmetic of microseconds, and dates as texts."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.types import NULLTYPE

from healthstore.adapters.sql.buckets import written
from healthstore.adapters.sql.dialect import Buckets
from healthstore.adapters.sql.paths import Bound
from healthstore.model.values import Kind
from healthstore.model.zones import Unit

__all__ = ("BUCKETS",)

_MICROSECONDS = 1_000_000
_WIDTHS = {Unit.MINUTE: 60, Unit.HOUR: 3_600}
_DAY = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
# Quotients are cut towards zero, so that days are counted from a Monday before the year 1; 1970
# began on a Thursday.
_BEFORE = _EPOCH // 7 * 7 + 10
_LONG_AGO = _BEFORE * _DAY


def _of_instant(
    column: ColumnElement[Any], offset: ColumnElement[Any], unit: Unit, week_start: int
) -> ColumnElement[Any]:
    """Return the bucket; the offset, whose text is long, stands in it once."""
    second = written(f"({{0}} + {_LONG_AGO * _MICROSECONDS}) / {_MICROSECONDS}", column)
    width = _WIDTHS.get(unit)
    if width is not None:
        return written(f"{{0}} - ({{0}} + {{1}}) % {width} - {_LONG_AGO}", second, offset)
    if unit is Unit.DAY:
        return written(f"({{0}} + {{1}}) / {_DAY} - {_BEFORE}", second, offset)
    if unit is Unit.WEEK:
        days = f"({{0}} + {{1}} - {week_start * _DAY}) / {7 * _DAY} * 7"
        return written(f"{days} - {_BEFORE - week_start}", second, offset)
    local = written(f"{{0}} + {{1}} - {_LONG_AGO}", second, offset)
    return _of_date(written("date({0}, 'unixepoch')", local), unit, week_start)


def _of_date(column: ColumnElement[Any], unit: Unit, week_start: int) -> ColumnElement[Any]:
    if unit is Unit.DAY:
        return column
    if unit is Unit.WEEK:
        days = f"(strftime('%w', {{0}}) + {13 - week_start}) % 7"
        return written(f"date({{0}}, '-' || ({days}) || ' days')", column)
    if unit is Unit.MONTH:
        return written("substr({0}, 1, 7) || '-01'", column)
    if unit is Unit.YEAR:
        return written("substr({0}, 1, 4) || '-01-01'", column)
    months = "(substr({0}, 6, 2) - 1) % 3"
    return written(f"date(substr({{0}}, 1, 7) || '-01', '-' || ({months}) || ' months')", column)


def _read(value: Any, unit: Unit) -> date | int:
    if isinstance(value, str):
        return date.fromisoformat(value)
    return int(value) if unit in _WIDTHS else date.fromordinal(_EPOCH + value)


def _bound(value: date | int, unit: Unit, kind: Kind) -> Bound:
    if isinstance(value, int):
        return Bound(value, NULLTYPE)
    counted = kind is not Kind.DATE and unit in {Unit.DAY, Unit.WEEK}
    return Bound(value.toordinal() - _EPOCH if counted else value.isoformat(), NULLTYPE)


BUCKETS = Buckets(
    instant=lambda second: str(second * _MICROSECONDS),
    offset=str,
    day=lambda day: f"'{day}'",
    of_instant=_of_instant,
    of_date=_of_date,
    read=_read,
    bound=_bound,
)

"""Buckets of time on SQLite: arithmetic of microseconds, and dates as texts."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import ColumnElement

from healthstore.adapters.sql.buckets import written
from healthstore.adapters.sql.dialect import Buckets
from healthstore.model.zones import Unit

__all__ = ("BUCKETS",)

_MICROSECONDS = 1_000_000
_WIDTHS = {Unit.MINUTE: 60, Unit.HOUR: 3_600}
_DAY = 86_400
_EPOCH = date(1970, 1, 1).toordinal()


def _of_instant(
    column: ColumnElement[Any], offset: ColumnElement[Any], unit: Unit, week_start: int
) -> ColumnElement[Any]:
    width = _WIDTHS.get(unit)
    second = _floor(column, _MICROSECONDS)
    if width is not None:
        local = written("{0} + {1}", second, offset)
        return written(f"{{0}} - (({{1}} % {width}) + {width}) % {width}", second, local)
    local = written("{0} + {1}", second, offset)
    day = _floor(local, _DAY)
    if unit is Unit.DAY:
        return day
    if unit is Unit.WEEK:  # 1970 began on a Thursday
        shift = 3 - week_start
        return written(f"{{0}} - ((({{0}} + {shift}) % 7) + 7) % 7", day)
    return _of_date(written("date({0}, 'unixepoch')", local), unit, week_start)


def _floor(column: ColumnElement[Any], width: int) -> ColumnElement[Any]:
    # A quotient is cut towards zero: before 1970 that is the future.
    return written(f"({{0}} - (({{0}} % {width}) + {width}) % {width}) / {width}", column)


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


BUCKETS = Buckets(
    instant=lambda second: str(second * _MICROSECONDS),
    offset=str,
    day=lambda day: f"'{day}'",
    of_instant=_of_instant,
    of_date=_of_date,
    read=_read,
)

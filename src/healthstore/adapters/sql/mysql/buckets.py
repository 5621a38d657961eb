"""Buckets of time on MySQL and MariaDB: arithmetic of dates, without a word of percent signs."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.types import NULLTYPE

from healthstore.adapters.sql.buckets import written
from healthstore.adapters.sql.dialect import Buckets
from healthstore.adapters.sql.paths import Bound
from healthstore.model.values import Kind
from healthstore.model.zones import Unit

__all__ = ("BUCKETS",)

_PLAIN = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_WIDTHS = {Unit.MINUTE: 60, Unit.HOUR: 3_600}
_YEAR_0 = 62_167_219_200  # seconds from the year 0, with which TO_SECONDS begins, to 1970


def _of_instant(
    column: ColumnElement[Any], offset: ColumnElement[Any], unit: Unit, week_start: int
) -> ColumnElement[Any]:
    width = _WIDTHS.get(unit)
    if width is not None:
        # TO_SECONDS leaves out what is less than a second.
        second = written("TO_SECONDS({0})", column)
        begin = f"{{0}} - MOD({{0}} + {{1}}, {width}) - {_YEAR_0}"
        return written(begin, second, offset)
    return _of_date(written("DATE({0} + INTERVAL {1} SECOND)", column, offset), unit, week_start)


def _of_date(column: ColumnElement[Any], unit: Unit, week_start: int) -> ColumnElement[Any]:
    if unit is Unit.DAY:
        return column
    if unit is Unit.WEEK:
        return written(f"{{0}} - INTERVAL MOD(WEEKDAY({{0}}) + {7 - week_start}, 7) DAY", column)
    if unit is Unit.MONTH:
        return written("{0} - INTERVAL DAYOFMONTH({0}) - 1 DAY", column)
    year = written("{0} - INTERVAL DAYOFYEAR({0}) - 1 DAY", column)
    if unit is Unit.YEAR:
        return year
    return written("{0} + INTERVAL QUARTER({1}) - 1 QUARTER", year, column)


def _read(value: Any, _: Unit) -> date | int:
    return date.fromisoformat(value[:10]) if isinstance(value, str) else int(value)


def _bound(value: date | int, _: Unit, __: Kind) -> Bound:
    return Bound(value if isinstance(value, int) else value.isoformat(), NULLTYPE)


BUCKETS = Buckets(
    instant=lambda second: f"TIMESTAMP '{_PLAIN + timedelta(seconds=second)}'",
    offset=str,
    day=lambda day: f"DATE '{day}'",
    of_instant=_of_instant,
    of_date=_of_date,
    read=_read,
    bound=_bound,
)

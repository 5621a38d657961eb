"""Buckets of time on PostgreSQL: ``date_trunc`` of local times, never of a zone's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.types import BigInteger, Date

from healthstore.adapters.sql.buckets import written
from healthstore.adapters.sql.dialect import Buckets
from healthstore.adapters.sql.paths import Bound
from healthstore.model.zones import Unit

__all__ = ("BUCKETS",)

_SECOND, _DAY = BigInteger(), Date()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _instant(second: int) -> str:
    return f"TIMESTAMPTZ '{_EPOCH + timedelta(seconds=second)}'"


def _of_instant(
    column: ColumnElement[Any], offset: ColumnElement[Any], unit: Unit, week_start: int
) -> ColumnElement[Any]:
    local = written("({0} AT TIME ZONE 'UTC') + {1}", column, offset)
    if unit in {Unit.MINUTE, Unit.HOUR}:
        begin = f"date_trunc('{unit}', {{0}}) - {{1}}"
        return written(f"CAST(EXTRACT(EPOCH FROM {begin}) AS BIGINT)", local, offset)
    return _of_date(written("CAST({0} AS DATE)", local), unit, week_start)


def _of_date(column: ColumnElement[Any], unit: Unit, week_start: int) -> ColumnElement[Any]:
    if unit is Unit.DAY:
        return column
    if unit is Unit.WEEK:
        weekday = f"(CAST(EXTRACT(ISODOW FROM {{0}}) AS INTEGER) + {6 - week_start}) % 7"
        return written(f"{{0}} - {weekday}", column)
    # Of a date it would be the midnight of the session's zone.
    return written(f"CAST(date_trunc('{unit}', CAST({{0}} AS TIMESTAMP)) AS DATE)", column)


BUCKETS = Buckets(
    instant=_instant,
    offset=lambda seconds: f"INTERVAL '{seconds} s'",
    day=lambda day: f"DATE '{day}'",
    of_instant=_of_instant,
    of_date=_of_date,
    read=lambda value, _: value,
    bound=lambda value, unit, _: Bound(
        value, _SECOND if unit in {Unit.MINUTE, Unit.HOUR} else _DAY
    ),
)

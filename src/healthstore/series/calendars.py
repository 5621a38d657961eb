"""Which buckets there are: of dates, or of instants in a zone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Protocol
from zoneinfo import ZoneInfo

from healthstore.errors import HealthstoreError, InvalidRequestError, RefusedValueError
from healthstore.model import zones
from healthstore.model.zones import Unit

__all__ = ("Calendar", "calendar_of", "day_of", "expected")

_MOST = 1_000_000  # buckets: what is more is a mistake in a unit or a year


class Calendar(Protocol):
    """Which buckets there are: of dates, or of instants in a zone. A datetime is a date here."""

    def read(self, value: object) -> date:
        """Return the value as this calendar writes it; raise RefusedValueError for another."""
        ...

    def limit(self, value: date) -> date:
        """Return what ``start`` or ``end`` stands for."""
        ...

    def bucket(self, value: date) -> date:
        """Return the start of the bucket that a value is in."""
        ...

    def begins(self, value: date) -> bool:
        """Tell whether a bucket begins here."""
        ...

    def between(self, start: date, end: date) -> Iterator[date]:
        """Yield the starts from that of ``start`` on, before ``end``."""
        ...


@dataclass(frozen=True, slots=True)
class _Dates:
    unit: Unit
    week_start: int

    def read(self, value: object) -> date:
        if isinstance(value, datetime):
            raise RefusedValueError("is an instant", hint="give tz, the zone of its local days")
        if not isinstance(value, date):
            raise RefusedValueError("is no date", hint="give a date, or an instant and tz")
        return value

    def limit(self, value: date) -> date:
        return self.read(value)

    def bucket(self, value: date) -> date:
        return zones.first_day(self.read(value), self.unit, self.week_start)

    def begins(self, value: date) -> bool:
        return self.bucket(value) == value

    def between(self, start: date, end: date) -> Iterator[date]:
        return zones.first_days(start, end, self.unit, self.week_start)


@dataclass(frozen=True, slots=True)
class _Instants:
    unit: Unit
    week_start: int
    zone: ZoneInfo

    def read(self, value: object) -> datetime:
        return zones.local_time(zones.instant_of(value), self.zone)

    def limit(self, value: date) -> date:
        if isinstance(value, datetime):
            return self.read(value)
        return zones.local_start(_DATES.read(value), self.zone)

    def bucket(self, value: date) -> datetime:
        return zones.bucket_of(zones.instant_of(value), self.unit, self.zone, self.week_start)

    def begins(self, value: date) -> bool:
        return zones.is_start(zones.instant_of(value), self.unit, self.zone, self.week_start)

    def between(self, start: date, end: date) -> Iterator[date]:
        first, last = zones.instant_of(start), zones.instant_of(end)
        return zones.buckets(first, last, self.unit, self.zone, self.week_start)


_DATES = _Dates(Unit.DAY, 0)


def calendar_of(every: str, tz: str | ZoneInfo | None, week_start: int) -> Calendar:
    """Return the buckets of a unit: in a zone, or of dates if there is none.

    Raises InvalidRequestError for an unknown zone, unit or day of the week.
    """
    unit, first = zones.unit_of(every), zones.week_start_of(week_start)
    if tz is not None:
        return _Instants(unit, first, zones.zone_of(tz))
    zones.first_day(date.max, unit)  # refuses a unit below a day, whether there are rows or not
    return _Dates(unit, first)


def day_of(moment: date) -> date:
    """Return the date of a date or an instant as it is written."""
    return moment.date() if isinstance(moment, datetime) else moment


def expected(
    calendar: Calendar, starts: Sequence[date], start: date | None, end: date | None
) -> list[date]:
    """Return the starts of all buckets from ``start`` to before ``end``.

    Where one is left out, the first or last of ``starts`` takes its place, the last included.
    Raises InvalidRequestError if there are too many, or ``end`` lies before ``start``.
    """
    since = _limit(calendar, start, "start") or min(starts, default=None)
    until = _limit(calendar, end, "end")
    last = None if until else max(starts, default=None)
    if since is None or (before := until or last) is None:
        return []
    if start is not None and until and until < since:
        raise InvalidRequestError("lies before the start", hint="exchange them").at(field="end")
    found = list(islice(calendar.between(since, before), _MOST))
    if len(found) == _MOST:
        raise InvalidRequestError(
            f"there are more than {_MOST - 1} buckets", hint="ask for less time, or a longer unit"
        )
    # The last row's bucket may be the last there is: nothing to end before.
    return [*found, last] if last is not None and calendar.bucket(since) <= last else found


def _limit(calendar: Calendar, value: date | None, name: str) -> date | None:
    if value is None:
        return None
    try:
        return calendar.limit(value)
    except HealthstoreError as error:
        raise error.at(field=name) from None

"""What comes after a key of an aggregate's groups: a filter of documents, by the group's fields.

A bucket of instants is told by its local time, and clocks may go back over its beginning. So it
is written piece by piece: between two changes of a zone's clocks, local time rises with the
instant. Most buckets are one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TypeAlias, cast
from zoneinfo import ZoneInfo

from healthstore.model.evaluate.buckets import BELOW_A_DAY
from healthstore.model.measures import Bucket
from healthstore.model.query import ALL, NONE, And, Filter, Operator, Or, Term, Test
from healthstore.model.schema import Collection
from healthstore.model.values import FIRST_INSTANT, LAST_INSTANT, Kind, Value
from healthstore.model.zones import Unit, local_time, next_first_day, offsets, zone_of

__all__ = ("groups_after",)

_Moments: TypeAlias = tuple[datetime, datetime | None]
"""From one instant on, to before another one, or to the end of time."""

_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)
_WIDTHS = {Unit.MINUTE: timedelta(minutes=1), Unit.HOUR: timedelta(hours=1)}
_BEGIN, _END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_MIDDLE = 5_000  # a year between both ends of time
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def groups_after(
    collection: Collection,
    group: Sequence[str | Bucket],
    position: Sequence[Value],
    terms: Sequence[Term] = (),
) -> Filter:
    """Return the filter for the documents of groups whose keys come after this one.

    Keys rise, whole texts among them, and None is smallest.
    """
    found = _after(collection, group, position)
    return _of_terms(found, {str(each): each for each in terms}) if terms else found


def _of_terms(filter_: Filter, terms: Mapping[str, Term]) -> Filter:
    """Return the filter with tests of parts of JSON for those of their paths as text."""
    if isinstance(filter_, And | Or):
        return type(filter_)(tuple(_of_terms(item, terms) for item in filter_.items))
    if isinstance(filter_, Test) and filter_.field in terms:
        term = terms[filter_.field]
        return replace(filter_, field=term.field, part=term.part)
    return filter_


def _after(
    collection: Collection, group: Sequence[str | Bucket], position: Sequence[Value]
) -> Filter:
    alternatives: list[Filter] = []
    equal: tuple[Filter, ...] = ()
    for key, value in zip(group, position, strict=True):
        alternatives.append(And((*equal, _beyond(collection, key, value))))
        equal = (*equal, _level(collection, key, value))
    if len(alternatives) == 1:
        return alternatives[0]
    # The bound on the first key is implied; it lets a database start in the middle of an index.
    return And((_from(collection, group[0], position[0]), Or(tuple(alternatives))))


def _level(collection: Collection, key: str | Bucket, value: Value) -> Filter:
    """Return the filter for the documents that have this key."""
    name = key if isinstance(key, str) else key.field
    if value is None:
        return Test(name, Operator.IS_NULL)
    if isinstance(key, str):
        return Test(name, Operator.EQ, value)
    if collection.field(name).type.kind is Kind.DATE:
        end = next_first_day(cast(date, value), Unit(key.unit))
        before = ALL if end is None else Test(name, Operator.LT, end)
        return And((Test(name, Operator.GE, value), before))
    own = _without(_pieces(key, value, beyond=False), _pieces(key, value, beyond=True))
    return _within(name, own)


def _beyond(collection: Collection, key: str | Bucket, value: Value) -> Filter:
    """Return the filter for the documents that have a greater key."""
    name = key if isinstance(key, str) else key.field
    if value is None:
        return Test(name, Operator.NOT_NULL)
    if isinstance(key, str):
        return Test(name, Operator.GT, value)
    if collection.field(name).type.kind is Kind.DATE:
        end = next_first_day(cast(date, value), Unit(key.unit))
        return NONE if end is None else Test(name, Operator.GE, end)
    return _within(name, _pieces(key, value, beyond=True))


def _from(collection: Collection, key: str | Bucket, value: Value) -> Filter:
    """Return the filter for the documents that have this key or a greater one."""
    name = key if isinstance(key, str) else key.field
    if value is None:
        return ALL
    if isinstance(key, str) or collection.field(name).type.kind is Kind.DATE:
        return Test(name, Operator.GE, value)
    return _within(name, _pieces(key, value, beyond=False))


# --- buckets of instants -------------------------------------------------------------------------


def _pieces(key: Bucket, value: Value, *, beyond: bool) -> list[_Moments]:
    """Return when the bucket is this one or a later one, or a later one alone."""
    begin, unit, zone = cast(datetime, value), Unit(key.unit), zone_of(cast(str, key.tz))
    if unit in BELOW_A_DAY:
        return _rising(zone, begin, _WIDTHS[unit], _next_cut(begin, _WIDTHS[unit], beyond=beyond))
    day = local_time(begin, zone).date()
    start = next_first_day(day, unit) if beyond else day
    if start is None:
        return []
    local = datetime.combine(start, time(), UTC)
    # No offset is as large as a day.
    return _rising(zone, _moved(local, -_DAY), 2 * _DAY, lambda offset: _moved(local, -offset))


def _next_cut(
    begin: datetime, width: timedelta, *, beyond: bool
) -> Callable[[timedelta], datetime]:
    """Return what tells, for an offset, where the first minute or hour from a key on begins."""

    def cut(offset: timedelta) -> datetime:
        over = (begin - _EPOCH + offset) % width
        return _moved(begin, width - over if over or beyond else timedelta())

    return cut


def _rising(
    zone: ZoneInfo, first: datetime, width: timedelta, cut: Callable[[timedelta], datetime]
) -> list[_Moments]:
    """Return the pieces from ``cut`` on, of which each offset has its own, near the first one."""
    start = min(max(_moved(first), FIRST_INSTANT), LAST_INSTANT)
    changes = offsets(start, min(_moved(start, width), LAST_INSTANT), zone)
    found: list[_Moments] = []
    for place, (since, seconds) in enumerate(changes):
        until = changes[place + 1][0] if place + 1 < len(changes) else None
        lowest = max(since, cut(seconds * _SECOND))
        if lowest <= LAST_INSTANT and (until is None or lowest < until):
            found.append((lowest, until))
    return found


def _moved(at: datetime, by: timedelta = timedelta()) -> datetime:
    """Return an instant in UTC so much later; one that no datetime holds is an end of time."""
    try:
        return at.astimezone(UTC) + by
    except OverflowError:
        return _BEGIN if at.year < _MIDDLE else _END


def _without(moments: Sequence[_Moments], others: Sequence[_Moments]) -> list[_Moments]:
    """Return the moments that are not among the others; both rise."""
    left = list(moments)
    for since, until in others:
        left = [piece for each in left for piece in _cut_out(each, since, until)]
    return left


def _cut_out(piece: _Moments, since: datetime, until: datetime | None) -> Iterator[_Moments]:
    begin, end = piece
    if begin < since:
        yield begin, since if end is None else min(end, since)
    if until is not None and (end is None or until < end):
        yield max(begin, until), end


def _within(name: str, moments: Sequence[_Moments]) -> Filter:
    """Return the filter for an instant in one of these pieces."""
    pieces = [
        And(
            (
                Test(name, Operator.GE, begin),
                *(() if end is None else (Test(name, Operator.LT, end),)),
            )
        )
        for begin, end in _joined(moments)
    ]
    return Or(tuple(pieces))


def _joined(moments: Sequence[_Moments]) -> Iterator[_Moments]:
    """Yield the pieces, those that touch as one."""
    held: _Moments | None = None
    for begin, end in moments:
        if held is not None and held[1] is not None and held[1] >= begin:
            held = held[0], end
            continue
        if held is not None:
            yield held
        held = begin, end
    if held is not None:
        yield held

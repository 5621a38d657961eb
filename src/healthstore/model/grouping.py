"""Aggregates made canonical: what may be grouped by, measured, and asked of the rows.

The guard holds every request against this, and who asks in several requests does before the first.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import cast
from zoneinfo import ZoneInfo

from healthstore.errors import InvalidRequestError
from healthstore.model.definition import Definition
from healthstore.model.evaluate import BELOW_A_DAY, row_definition
from healthstore.model.filters import checked_filter, checked_operand, plain_order
from healthstore.model.measures import PARTS, columns_of, grouped_field
from healthstore.model.ops import Aggregate, Bucket, Function, Measure
from healthstore.model.parts import checked_term
from healthstore.model.query import ALL, Term, lookups
from healthstore.model.refusals import invalid
from healthstore.model.values import SORTED_TEXT, Kind, Value
from healthstore.model.zones import Unit, unit_of, week_start_of, zone_of

__all__ = ("ELEMENTS", "checked_groups")


def checked_groups(op: Aggregate) -> Aggregate:
    """Return the aggregate with all but its filter in canonical form.

    Raises InvalidRequestError if it has no meaning.
    """
    op = replace(op, terms=_checked_terms(op))
    collection = _checked_source(op)
    if not op.measures:
        raise invalid(collection, "an aggregate computes nothing", "name a measure: n=Count()")
    group = tuple([_checked_key(collection, key) for key in op.group])
    columns = columns_of(group)
    for column, key in zip(columns, group, strict=True):
        if columns.count(column) > 1:
            raise invalid(
                collection,
                "is named twice in the group",
                "group by each field once, or give a bucket another name",
                grouped_field(key),
            )
    measures = tuple([_checked_measure(collection, measure) for measure in op.measures])
    _require_settled(op)
    after = None if op.after is None else _checked_position(op, group)
    return _checked_rows(replace(op, measures=measures, group=group, after=after))


def _checked_source(op: Aggregate) -> Definition:
    """Return the definition of what is grouped; refuse to unwind what is no list of scalars."""
    if op.unwind is not None:
        field = op.collection.field(op.unwind.field)
        if field.type.kind is not Kind.JSON or op.unwind.type.kind not in ELEMENTS:
            raise invalid(
                op.collection,
                "is no list of texts, numbers or bools",
                "unwind a list of one such type, as in tags: list[str]",
                field.name,
            )
        if op.after is not None:
            raise invalid(op.collection, "elements have no pages", "ask for all at once")
    return op.rows


def _checked_terms(op: Aggregate) -> tuple[Term, ...]:
    """Return the parts of JSON in canonical form; refuse one that is taken as of two types."""
    terms = tuple(dict.fromkeys(checked_term(op.collection, each) for each in op.terms))
    texts = [str(each) for each in terms]
    for text, each in zip(texts, terms, strict=True):
        if texts.count(text) > 1 or (op.unwind is not None and op.unwind.field == each.field):
            raise invalid(
                op.collection,
                f"{text} is taken as of two types, or is in a list that is unwound",
                "take it as of one type, and ask for the other in a request of its own",
                each.field,
            )
    return terms


def _require_settled(op: Aggregate) -> None:
    """Refuse the first and the last of elements: those of one document have no order."""
    for measure in op.measures:
        picked = op.unwind is not None and measure.by is not None
        if picked and op.unwind and op.unwind.field in {measure.field, measure.by}:
            raise invalid(
                op.collection,
                f"{measure.function} has no meaning for elements of a list",
                "measure another field, or take the minimum or the maximum",
                op.unwind.field,
            )


ELEMENTS = frozenset({Kind.TEXT, Kind.ENUM, Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN})
"""The kinds of elements that a list is unwound to."""


def _checked_position(op: Aggregate, group: tuple[str | Bucket, ...]) -> tuple[Value, ...]:
    """Return the key of a group in canonical form; it is one of those that were returned."""
    after = cast("tuple[Value, ...]", op.after)
    if len(after) != len(group) or not group:
        raise invalid(op.collection, "the position is no key of a group", "give that of a row")
    return tuple(
        [
            value if value is None else _checked_begin(op.rows, key, value)
            for key, value in zip(group, after, strict=True)
        ]
    )


def _checked_begin(collection: Definition, key: str | Bucket, value: object) -> Value:
    field = collection.field(grouped_field(key))
    if isinstance(key, str) or field.type.kind is Kind.DATE:
        return checked_operand(collection, field, value)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise invalid(collection, "is no beginning of a bucket", "give that of a row", field.name)
    return value


def _checked_rows(op: Aggregate) -> Aggregate:
    """Return the aggregate with what is asked of its rows in canonical form."""
    if op.names and len(op.names) != len(op.measures):
        raise invalid(op.collection, "not each measure has a name", "name all of them, or none")
    if op.take is not None and (type(op.take) is not int or not 1 <= op.take <= op.limit):
        raise invalid(
            op.collection,
            f"the limit must be from 1 to {op.limit}, or None",
            "leave it out for all groups",
        )
    if op.having == ALL and not op.order:
        return op
    row = row_definition(op)
    having = checked_filter(row, op.having)
    if next(lookups(having), None) is not None:
        raise invalid(
            op.collection,
            "a row of an aggregate is looked up in what another query finds",
            "look up in the filters of the aggregate",
        )
    return replace(op, having=having, order=plain_order(row, op.order))


def _checked_key(collection: Definition, key: object) -> str | Bucket:
    """Return a key of a group in canonical form."""
    if isinstance(key, Bucket):
        return _checked_bucket(collection, key)
    if not isinstance(key, str):
        raise invalid(
            collection,
            f"a group is by a {type(key).__name__}",
            'name a field, or give a bucket: group=["user_id", Bucket("at", "day", tz="UTC")]',
        )
    if not collection.field(key).type.ordered:
        raise invalid(collection, "cannot be grouped by", "group by no JSON or bytes", key)
    return key


def _checked_bucket(collection: Definition, bucket: Bucket) -> Bucket:
    """Return a bucket with its unit as such, and a beginning of weeks only where it counts."""
    name, kind = bucket.field, collection.field(bucket.field).type.kind
    try:
        unit = unit_of(bucket.unit)
        week_start = week_start_of(bucket.week_start)
        zone = None if bucket.tz is None else zone_of(bucket.tz)
    except InvalidRequestError as error:
        raise error.at(entity=collection.entity, field=name) from None
    if kind not in _TIMES:
        raise invalid(
            collection, f"{kind} is no time", "take buckets of an instant or of a date", name
        )
    if bucket.name is not None and (type(bucket.name) is not str or not bucket.name):
        raise invalid(collection, "the name of a bucket is no text", 'write name="day"', name)
    _require_zone(collection, name, kind, unit, zone)
    return Bucket(
        name,
        unit,
        bucket.tz,
        week_start=week_start if unit is Unit.WEEK else 0,
        name=bucket.name,
    )


def _require_zone(
    collection: Definition, name: str, kind: Kind, unit: Unit, zone: ZoneInfo | None
) -> None:
    if kind is Kind.DATETIME:
        if zone is None:
            raise invalid(
                collection,
                "the local time of an instant needs a zone",
                'give tz="Europe/Berlin", or tz="UTC"',
                name,
            )
        return
    if unit in BELOW_A_DAY:
        raise invalid(collection, f"a date has no {unit}", 'give a unit of "day" or longer', name)
    if zone is not None:
        raise invalid(collection, "a date is in no zone", "leave out tz", name)


_TIMES = frozenset({Kind.DATETIME, Kind.DATE})


def _checked_measure(collection: Definition, measure: Measure) -> Measure:
    """Return a measure in canonical form."""
    name, function = measure.field, measure.function
    if name is None:
        if function is not Function.COUNT:
            raise invalid(collection, f"{function} needs a field", "name the field to measure")
        return measure
    kind = collection.field(name).type
    meaningless = (
        (function in _SUMMING and not kind.numeric)
        or (function in _RANKING and kind.kind in _UNRANKED)
        or (function is Function.COUNT_DISTINCT and not kind.ordered)
    )
    if meaningless:
        raise invalid(
            collection, f"{function} has no meaning for {kind.kind}", "measure another field", name
        )
    if function in _PICKING:
        _require_order(collection, cast(str, measure.by))
    if function is not Function.PERCENTILE:
        return measure
    _require_order(collection, name)
    return replace(measure, share=_checked_share(collection, name, measure.share))


def _require_order(collection: Definition, name: str) -> None:
    """Raise InvalidRequestError for a field by whose whole values no database orders."""
    kind = collection.field(name).type
    if not kind.ordered or kind.sorted_by_head:
        raise invalid(
            collection,
            "has no order, or is a text that is not ordered by all of its length",
            f"take another field, or give the text a length of at most {SORTED_TEXT}",
            name,
        )


def _checked_share(collection: Definition, name: str, share: object) -> Decimal:
    """Return the share as the decimal that is written."""
    if isinstance(share, int | float | Decimal) and not isinstance(share, bool):
        written = Decimal(str(share))
        # As a fraction: a program's own decimal context may round, or refuse to.
        if written.is_finite() and 0 <= written <= 1 and not Fraction(written) * PARTS % 1:
            return written
    raise invalid(
        collection,
        "a percentile is of no share from 0 to 1 with at most four places",
        'write Percentile("ms", 0.95)',
        name,
    )


_SUMMING = frozenset({Function.SUM, Function.AVG})
_RANKING = frozenset({Function.MIN, Function.MAX, Function.PERCENTILE})
_PICKING = frozenset({Function.FIRST, Function.LAST})
# MySQL, PostgreSQL and MongoDB do not agree on the minimum of these.
_UNRANKED = frozenset({Kind.JSON, Kind.BYTES, Kind.BOOLEAN, Kind.UUID})

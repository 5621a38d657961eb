"""Aggregates by chance: measures of any fields, and groups by fields and by buckets of time."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from random import Random

from healthstore.model.measures import Bucket, Function, Measure
from healthstore.model.query import Nulls, Order
from healthstore.model.values import FieldType, Kind
from healthstore.model.zones import Unit
from healthstore.testing.differential.schemas import Attribute

__all__ = ("columns_of", "draw_keys", "draw_measures", "draw_order")

_UNRANKED = frozenset({Kind.JSON, Kind.BYTES, Kind.BOOLEAN, Kind.UUID})
_SHARES = (0, 0.05, 0.07, Decimal("0.29"), 0.5, 0.95, 0.9999, 1, 2)
_ZONES = (
    *("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"),
    *("Asia/Kathmandu", "America/Havana", "Africa/Monrovia"),
)
_UNITS = tuple(each.value for each in (*Unit, Unit.HOUR, Unit.DAY, Unit.WEEK))


def draw_measures(random: Random, attributes: Sequence[Attribute]) -> tuple[Measure, ...]:
    """Return a count of documents, and measures of some of these fields."""
    some = random.choices(attributes, k=3)
    measures = (Measure(Function.COUNT), *(_measure(random, each, attributes) for each in some))
    return tuple(dict.fromkeys(measures))


def _measure(random: Random, each: Attribute, others: Sequence[Attribute]) -> Measure:
    kinds = [Function.COUNT, Function.FIRST, Function.LAST]
    if each.type.ordered:
        kinds += [Function.COUNT_DISTINCT]
    if each.type.numeric:
        kinds += [Function.SUM, Function.AVG]
    if each.type.kind not in _UNRANKED:
        kinds += [Function.MIN, Function.MAX]
        kinds += [] if each.type.sorted_by_head else [Function.PERCENTILE]
    function = random.choice(kinds)
    if function is Function.PERCENTILE:
        return Measure(function, each.name, share=random.choice(_SHARES))
    if function in {Function.FIRST, Function.LAST}:
        return Measure(function, each.name, by=random.choice(others).name)
    return Measure(function, each.name)


def draw_keys(random: Random, attributes: Sequence[Attribute]) -> tuple[str | Bucket, ...]:
    """Return up to two keys: fields that have an order, or buckets of instants and dates."""
    known = [each for each in attributes if each.type.ordered]
    some = random.sample(known, min(len(known), random.randint(0, 2)))
    return tuple([_key(random, each.name, each.type) for each in some])


def columns_of(
    measures: Sequence[Measure], group: Sequence[str | Bucket], attributes: Sequence[Attribute]
) -> dict[str, Attribute | None]:
    """Return the columns of a row, each with the field whose values it has; None for a count."""
    known = {each.name: each for each in attributes}
    found: dict[str, Attribute | None] = {}
    for key in group:
        name = key.column if isinstance(key, Bucket) else key
        found[name] = known[key.field if isinstance(key, Bucket) else key]
    for place, measure in enumerate(measures):
        counted = measure.field is None or measure.function.counts
        found[f"m{place}"] = None if counted else known[str(measure.field)]
    return found


def draw_order(random: Random, columns: Sequence[str]) -> tuple[tuple[Order, ...], int | None]:
    """Return by which columns rows are sorted, and how many of them are asked for."""
    if random.random() < 0.3:
        return (), None
    some = random.sample(columns, min(len(columns), random.randint(0, 2)))
    places: tuple[Nulls | None, ...] = (None, None, "first", "last")
    order = tuple(Order(each, random.random() < 0.5, random.choice(places)) for each in some)
    return order, random.choice((None, 1, 2, 3, 5))


def _key(random: Random, name: str, kind: FieldType) -> str | Bucket:
    if kind.kind not in {Kind.DATE, Kind.DATETIME} or random.random() < 0.2:
        return name
    zone = random.choice(_ZONES) if kind.kind is Kind.DATETIME else None
    start = random.choice((0, 0, 6))
    named = random.choice((None, None, "bucket"))
    return Bucket(name, random.choice(_UNITS), zone, week_start=start, name=named)

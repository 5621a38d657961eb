"""Aggregates as pipelines, and their rows as groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from bson.decimal128 import Decimal128

from healthstore.adapters.mongo.codec import Codec, Stored, key_of
from healthstore.adapters.mongo.filters import path_of, query, require_order
from healthstore.model.ops import Aggregate, Function, Group, Measure
from healthstore.model.values import Kind, Value

__all__ = ("fields_of", "group_rows", "pipeline", "sums_floats")


def pipeline(op: Aggregate, codec: Codec) -> list[Stored]:
    """Return the aggregation pipeline of a planned aggregate, one row beyond its limit at most."""
    group: Stored = {
        "_id": {f"k{place}": path_of(name, codec) for place, name in enumerate(op.group)} or None
    }
    for place, measure in enumerate(op.measures):
        group[f"m{place}"] = _measure(measure, codec)
    return [{"$match": query(op.where, codec)}, {"$group": group}, {"$limit": op.limit + 1}]


def sums_floats(op: Aggregate) -> bool:
    """Tell whether an aggregate sums floats: how a server rounds depends on the order of rows."""
    return any(
        each.function is Function.SUM
        and op.collection.field(cast(str, each.field)).type.kind is Kind.FLOAT
        for each in op.measures
    )


def fields_of(op: Aggregate) -> tuple[str, ...]:
    """Return the names of the fields that an aggregate needs of a document."""
    measured = {each.field for each in op.measures if each.field is not None}
    return tuple(sorted({*op.group, *measured}))


def _measure(measure: Measure, codec: Codec) -> Stored:
    if measure.field is None:
        return {"$sum": 1}
    path = f"${key_of(measure.field)}"  # sums and extremes pass over null, and what is not there
    kind = codec.collection.field(measure.field).type
    if measure.function is Function.COUNT:
        return {"$sum": {"$cond": [{"$eq": [path_of(measure.field, codec), None]}, 0, 1]}}
    if measure.function is Function.SUM:
        # A sum of int64 turns into a double when it overflows; Decimal128 keeps 34 digits.
        exact = kind.kind in {Kind.INTEGER, Kind.DURATION}
        return {"$sum": {"$toDecimal": path} if exact else path}
    require_order(kind, codec, measure.field)
    return {f"${measure.function}": path}


def group_rows(op: Aggregate, rows: Sequence[Stored], codec: Codec) -> tuple[Group, ...]:
    """Return the rows of an aggregation as groups; without keys there is exactly one."""
    if not rows and not op.group:
        nothing = tuple(
            0 if measure.function is Function.COUNT else None for measure in op.measures
        )
        return (Group((), nothing),)
    return tuple(_group_row(op, row, codec) for row in rows)


def _group_row(op: Aggregate, row: Stored, codec: Codec) -> Group:
    keys = row["_id"]
    key = tuple(codec.read(name, keys[f"k{place}"]) for place, name in enumerate(op.group))
    values = tuple(
        _read_measure(measure, row[f"m{place}"], codec) for place, measure in enumerate(op.measures)
    )
    return Group(key, values)


def _read_measure(measure: Measure, value: Any, codec: Codec) -> Value:
    if measure.field is None or measure.function is Function.COUNT:
        return int(value)
    if measure.function is Function.SUM:
        kind = codec.collection.field(measure.field).type.kind
        if kind in {Kind.INTEGER, Kind.DURATION}:
            value = int(cast(Decimal128, value).to_decimal() if value else 0)
        if kind is Kind.INTEGER:
            return cast(int, value)
    return codec.read(measure.field, value)

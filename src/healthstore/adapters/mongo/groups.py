"""Aggregates as pipelines, and their rows as groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from bson.decimal128 import Decimal128

from healthstore.adapters.mongo.buckets import bucket_key, read_bucket
from healthstore.adapters.mongo.codec import Codec, Stored, key_of
from healthstore.adapters.mongo.filters import path_of, query, require_order
from healthstore.adapters.mongo.paths import term_expression
from healthstore.adapters.mongo.taken import taken
from healthstore.model.measures import PARTS
from healthstore.model.ops import Aggregate, Bucket, Function, Group, Measure, Unwind
from healthstore.model.schema import Collection
from healthstore.model.values import Kind, Value

__all__ = ("group_rows", "pipeline", "sums_floats")


def pipeline(op: Aggregate, codec: Codec) -> list[Stored]:
    """Return the pipeline of a planned aggregate: what it takes, or one row beyond its limit."""
    stages: list[Stored] = [{"$match": query(op.where, codec)}]
    if op.unwind is not None:
        stages += _elements(op.unwind)
    if op.terms:
        stages.append({"$set": {name: term_expression(each) for name, each in op.named_terms}})
    codec = _rows_codec(op, codec)
    keys = {
        f"k{place}": bucket_key(key, codec) if isinstance(key, Bucket) else path_of(key, codec)
        for place, key in enumerate(op.group)
    }
    group: Stored = {"_id": keys or None}
    for place, measure in enumerate(op.measures):
        rank = _RANKS.get(measure.function)
        if rank is None:
            group[f"m{place}"] = _measure(measure, codec)
        else:
            stage, group[f"m{place}"] = rank(measure, codec, keys, f"_r{place}")
            stages.append(stage)
    return [*stages, {"$group": group}, *taken(op, codec)]


def sums_floats(op: Aggregate) -> bool:
    """Tell whether an aggregate sums floats: how a server rounds depends on the order of rows."""
    return any(
        each.function is Function.SUM
        and op.rows.field(cast(str, each.field)).type.kind is Kind.FLOAT
        for each in op.measures
    )


def _rows_codec(op: Aggregate, codec: Codec) -> Codec:
    # It has the fields of no collection that is kept, and is asked for their names and types only.
    return codec if op.rows is op.collection else Codec(cast(Collection, op.rows))


# The names of BSON's types, as $type gives them, of an element of each kind.
_TYPES: Mapping[Kind, Sequence[str]] = {
    Kind.INTEGER: ("int", "long"),
    Kind.FLOAT: ("int", "long", "double"),
    Kind.BOOLEAN: ("bool",),
}


def _elements(unwind: Unwind) -> list[Stored]:
    """Return the stages that make each element of a list a document of its own."""
    path = key_of(unwind.field)
    types = list(_TYPES.get(unwind.type.kind, ("string",)))
    stages: list[Stored] = [
        {"$match": {"$expr": {"$isArray": f"${path}"}}},
        {"$unwind": f"${path}"},
        {"$match": {"$expr": {"$in": [{"$type": f"${path}"}, types]}}},
    ]
    if unwind.type.kind is Kind.FLOAT:
        stages.append({"$set": {path: {"$toDouble": f"${path}"}}})
    return stages


def _measure(measure: Measure, codec: Codec) -> Stored:
    if measure.field is None:
        return {"$sum": 1}
    if measure.by is not None:
        return _picked(measure, measure.by, codec)
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


def _picked(measure: Measure, by: str, codec: Codec) -> Stored:
    """Return what picks one document: null is smallest to the server, too."""
    direction = 1 if measure.function is Function.FIRST else -1
    order = {key_of(by): direction} | ({} if by == "id" else {"_id": direction})
    output = path_of(cast(str, measure.field), codec)
    return {"$topN": {"n": 1, "sortBy": order, "output": output}}


def _ranked(measure: Measure, codec: Codec, keys: Stored, name: str) -> tuple[Stored, Stored]:
    """Return the stage that numbers values in order, and what takes the one of nearest rank."""
    path = path_of(cast(str, measure.field), codec)
    count = f"{name}n"
    stage = {
        "$setWindowFields": {
            "partitionBy": {**keys, "null": {"$eq": [path, None]}},
            "sortBy": {key_of(cast(str, measure.field)): 1},
            "output": {
                name: {"$documentNumber": {}},
                count: {"$sum": 1, "window": {"documents": ["unbounded", "unbounded"]}},
            },
        }
    }
    share = {"$divide": [{"$multiply": [f"${count}", measure.parts]}, PARTS]}
    rank = {"$max": [1, {"$ceil": share}]}
    return stage, {"$max": {"$cond": [{"$eq": [f"${name}", rank]}, path, None]}}


def _distinct(measure: Measure, codec: Codec, keys: Stored, name: str) -> tuple[Stored, Stored]:
    """Return the stage that numbers the documents of each value, and what counts the first ones.

    No set of values is held in memory, and other measures are of the same pass.
    """
    path = path_of(cast(str, measure.field), codec)
    stage = {
        "$setWindowFields": {
            "partitionBy": {**keys, "value": path},
            "sortBy": {"_id": 1},
            "output": {name: {"$documentNumber": {}}},
        }
    }
    first = {"$and": [{"$eq": [f"${name}", 1]}, {"$ne": [path, None]}]}
    return stage, {"$sum": {"$cond": [first, 1, 0]}}


_RANKS: Mapping[Function, Callable[[Measure, Codec, Stored, str], tuple[Stored, Stored]]] = {
    Function.COUNT_DISTINCT: _distinct,
    Function.PERCENTILE: _ranked,
}


def group_rows(op: Aggregate, rows: Sequence[Stored], codec: Codec) -> tuple[Group, ...]:
    """Return the rows of an aggregation as groups; without keys there is exactly one."""
    codec = _rows_codec(op, codec)
    if not rows and not op.group:
        nothing = tuple(0 if measure.function.counts else None for measure in op.measures)
        return (Group((), nothing),)
    return tuple(_group_row(op, row, codec) for row in rows)


def _group_row(op: Aggregate, row: Stored, codec: Codec) -> Group:
    keys = row["_id"]
    key = tuple(
        read_bucket(each, keys[f"k{place}"])
        if isinstance(each, Bucket)
        else codec.read(each, keys[f"k{place}"])
        for place, each in enumerate(op.group)
    )
    values = tuple(
        _read_measure(measure, row[f"m{place}"], codec) for place, measure in enumerate(op.measures)
    )
    return Group(key, values)


def _read_measure(measure: Measure, value: Any, codec: Codec) -> Value:
    if measure.field is None or measure.function.counts:
        return int(value)
    if measure.by is not None:
        (value,) = value or (None,)
    if measure.function is Function.SUM:
        kind = codec.collection.field(measure.field).type.kind
        if kind in {Kind.INTEGER, Kind.DURATION}:
            value = int(cast(Decimal128, value).to_decimal() if value else 0)
        if kind is Kind.INTEGER:
            return cast(int, value)
    return codec.read(measure.field, value)

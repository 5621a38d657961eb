"""Which groups of a planned aggregate are rows, and in which order: the stages after its groups."""

from __future__ import annotations

from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from healthstore.adapters.mongo.buckets import write_bucket
from healthstore.adapters.mongo.codec import Codec, Stored
from healthstore.adapters.mongo.filters import NOTHING, compared
from healthstore.model.evaluate import ordered
from healthstore.model.measures import Bucket, Function, grouped_field
from healthstore.model.ops import Aggregate
from healthstore.model.query import ALL, And, Filter, Not, Test
from healthstore.model.values import Kind

__all__ = ("taken",)


def taken(op: Aggregate, codec: Codec) -> list[Stored]:
    """Return the stages that filter, sort and cut the groups of a planned aggregate."""
    stages: list[Stored] = []
    if op.having != ALL:
        stages.append({"$match": _query(op, op.having, codec)})
    if order := ordered(op):
        made: Stored = {}
        sort: Stored = {}
        for place, each in enumerate(order):
            path = _path(each.field)
            if each.nulls is not None:
                null = {"$eq": [f"${path}", None]}
                made[f"_null{place}"] = {
                    "$cond": [null, 0, 1] if each.nulls_first else [null, 1, 0]
                }
                sort[f"_null{place}"] = 1
            sort[path] = -1 if each.descending else 1
        stages += [{"$set": made}] if made else []
        stages.append({"$sort": sort})
    return [*stages, {"$limit": op.limit + 1 if op.take is None else op.take}]


def _path(column: str) -> str:
    return f"_id.{column}" if column[0] == "k" else column


def _query(op: Aggregate, having: Filter, codec: Codec) -> Stored:
    if isinstance(having, Test):
        given = having.operand
        written: Any = (
            [_written(op, having.field, each, codec) for each in given]
            if isinstance(given, tuple)
            else _written(op, having.field, given, codec)
        )
        return compared(_path(having.field), having.operator, written)
    assert not isinstance(having, Not), "the normal form negates parts only"
    parts = [_query(op, item, codec) for item in having.items]
    if isinstance(having, And):
        return {"$and": parts} if parts else {}
    return {"$or": parts} if parts else dict(NOTHING)


def _written(op: Aggregate, column: str, value: Any, codec: Codec) -> Any:
    """Return a value as the column's are: a sum of whole numbers is a decimal."""
    place = int(column[1:])
    if column[0] == "k":
        key = op.group[place]
        if isinstance(key, Bucket) and value is not None:
            return write_bucket(key, value, codec.collection.field(key.field).type.kind)
        return codec.write(grouped_field(key), value)
    measure = op.measures[place]
    if measure.field is None or measure.function.counts:
        return None if value is None else Int64(value)  # "not 0" is asked as "or null", too
    written = codec.write(measure.field, value)
    whole = codec.collection.field(measure.field).type.kind in {Kind.INTEGER, Kind.DURATION}
    summed = measure.function is Function.SUM and value is not None
    return Decimal128(str(int(written))) if summed and whole else written

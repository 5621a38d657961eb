"""A definition as the server has it: the validator of a collection, and its indexes.

A document may lack a field that may be null: that is null. So a field that is new is in no document
until somebody gives it a value, and nothing that reads may tell the one from the other.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo import IndexModel

from healthstore.adapters.mongo.codec import Codec, Stored, escaped_key, key_of
from healthstore.adapters.mongo.filters import query
from healthstore.adapters.mongo.references import LOCK
from healthstore.model.conditions import joined_tests
from healthstore.model.query import (
    ORDERED,
    And,
    Filter,
    Operator,
    OtherField,
    Term,
    Test,
    normalise,
)
from healthstore.model.schema import Collection, Field, Unique
from healthstore.model.values import FieldType, Kind

__all__ = (
    "beside",
    "condition",
    "index_models",
    "is_as",
    "required_after",
    "required_by",
    "required_of",
    "validator",
    "values_of_new",
)

_PARTIAL = "partialFilterExpression"
_JSON_TYPES = ("object", "array", "string", "int", "long", "double", "bool")
_BSON_TYPES: dict[Kind, str] = {
    Kind.TEXT: "string",
    Kind.INTEGER: "long",
    Kind.BOOLEAN: "bool",
    Kind.FLOAT: "double",
    Kind.DECIMAL: "decimal",
    Kind.DATETIME: "long",
    Kind.DATE: "string",
    Kind.TIME: "long",
    Kind.DURATION: "long",
    Kind.UUID: "binData",
    Kind.BYTES: "binData",
    Kind.ENUM: "string",
}
# The smallest value of each type: `>=` it holds for every value of the type, and not for null.
_SMALLEST: dict[str, Any] = {
    "string": "",
    "long": Int64(-(2**63)),
    "bool": False,
    "double": float("-inf"),
    "decimal": Decimal128("-Infinity"),
    "binData": Binary(b"", 0),
    "date": datetime(1, 1, 1, tzinfo=UTC),
}


def _bson_type(kind: FieldType) -> str:
    return "date" if kind.milliseconds else _BSON_TYPES[kind.kind]


def _property(each: Field) -> Stored:
    if each.type.kind is Kind.JSON:
        return {} if each.nullable else {"bsonType": list(_JSON_TYPES)}
    bson_type = _bson_type(each.type)
    described: Stored = {"bsonType": [bson_type, "null"] if each.nullable else bson_type}
    if each.type.choices:
        described["enum"] = [*each.type.choices, *([None] if each.nullable else [])]
    return described


def required_of(collection: Collection) -> frozenset[str]:
    """Return the fields that each document has: one that may be null may be lacking.

    But not one with a default: a program that does not know the field, and so does not write it,
    is refused, looks at the store's definition, and from then on gives it the default.
    """
    return frozenset(
        each.name for each in collection.fields if not each.nullable or each.default is not None
    )


def required_by(validator: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the fields that a validator requires, as far as it is one of these."""
    keys: list[str] = []
    for part in (validator or {}).get("$and", ()):
        keys += part.get("$jsonSchema", {}).get("required", ())
    return frozenset("id" if key == "_id" else key for key in keys)


def required_after(before: Collection, after: Collection, known: Container[str]) -> frozenset[str]:
    """Return the fields that each document has after an alteration; before it has the ``known``.

    Documents may lack one that may be null and is given a default, or another one, only now.
    """
    return frozenset(
        name
        for name in required_of(after)
        if name in known or name not in before.by_name or not after.nullable(name)
    )


def values_of_new(before: Collection, codec: Codec) -> Stored:
    """Return what documents that were there get in new fields: nothing where null is meant."""
    after = codec.collection
    required = required_of(after)
    return {
        key_of(each.name): codec.write(each.name, each.default)
        for each in after.fields
        if each.name not in before.by_name and each.name in required
    }


def validator(
    codec: Codec, required: Container[str] | None = None, leaving: Iterable[str] = ()
) -> Stored:
    """Return the validator of a collection: its fields and no others, types, and the checks.

    A document has the ``required`` fields, those of :func:`required_of` unless others are given,
    and may still have those that are ``leaving``.

    An expression keeps others out: not every server knows ``additionalProperties``.
    """
    collection = codec.collection
    needed = required_of(collection) if required is None else required
    types: Stored = {
        "bsonType": "object",
        "required": [key_of(name) for name in collection.names if name in needed],
        "properties": {
            key_of(each.name): described
            for each in collection.fields
            if (described := _property(each))
        },
    }
    there = {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.k"}}
    fields = {"$setIsSubset": [there, [*map(key_of, (*collection.names, *leaving)), LOCK]]}
    checks = [query(rule, codec) for rule in collection.rules.values()]
    return {"$and": [{"$jsonSchema": types}, {"$expr": fields}, *filter(None, checks)]}


def index_models(collection: Collection) -> list[IndexModel]:
    """Return the indexes to create; the one on ``_id`` is there from the start."""
    models: dict[str, IndexModel] = {}
    for unique in collection.uniques:
        if unique.fields != ("id",):
            name = collection.index_name(unique)
            keys = [(key_of(field), 1) for field in unique.fields]
            models[name] = IndexModel(keys, name=name, unique=True, **_partial(collection, unique))
    for index in collection.indexes:
        if index.fields != ("id",):
            name = collection.index_name(index)
            keys = list(map(_index_key, index.keys))
            part = {} if index.where is None else _part(collection, index.where)
            model = IndexModel(keys, name=name, **part)
            if not any(_hold_the_same(model, each) for each in models.values()):
                models[name] = model
    return list(models.values())


def _index_key(key: str | Term) -> tuple[str, int]:
    """Return a key of an index, and its direction: of a part of JSON its values of all types."""
    if isinstance(key, Term):
        return ".".join([key_of(key.field), *(escaped_key(str(step)) for step in key.steps)]), 1
    return key_of(key.removeprefix("-")), -1 if key.startswith("-") else 1


def _hold_the_same(one: IndexModel, other: IndexModel) -> bool:
    """Tell it of two indexes that a server takes for one: of the same keys and documents."""
    return all(one.document.get(each) == other.document.get(each) for each in ("key", _PARTIAL))


def _part(collection: Collection, where: Filter) -> Mapping[str, Any]:
    """Return what lets an index hold those documents only; nothing where MongoDB cannot say it.

    It says so by comparisons that are joined by ``and``, not by negations and alternatives
    (https://www.mongodb.com/docs/manual/core/index-partial/).
    """
    codec = Codec(collection)
    parts: list[Stored] = []
    rule = normalise(where, collection.nullable)
    for test in rule.items if isinstance(rule, And) else (rule,):
        if not isinstance(test, Test) or isinstance(test.operand, OtherField):
            return {}
        if collection.field(test.field).type.kind in _UNSAYABLE:
            return {}
        if test.operator is Operator.NOT_NULL:
            parts.append(_valued(collection, test.field))
        elif test.operator in _IN_PARTS:
            parts.append(query(test, codec))
        else:
            return {}
    return {_PARTIAL: parts[0] if len(parts) == 1 else {"$and": parts}}


_IN_PARTS = ORDERED | {Operator.EQ}
_UNSAYABLE = frozenset({Kind.JSON, Kind.BYTES})  # an expression, and no order


def _valued(collection: Collection, name: str) -> Stored:
    """Return what holds where a field is not null: a range, see :func:`_partial`."""
    return {key_of(name): {"$gte": _SMALLEST[_bson_type(collection.field(name).type)]}}


def _partial(collection: Collection, unique: Unique) -> Mapping[str, Any]:
    """Leave documents with a null in the key out of the index: they never collide.

    A range says so, not ``$type``: MongoDB's planner sees that ``email == "…"`` lies within the
    range and uses the index for it.
    """
    values: Stored = {}
    for name in unique.fields:
        if collection.nullable(name):
            values |= _valued(collection, name)
    parts = [{key: each} for key, each in values.items()]
    if unique.where is not None:
        parts += [_said(test, collection) for test in joined_tests(unique.where, collection)]
        return {_PARTIAL: parts[0] if len(parts) == 1 else {"$and": parts}}
    return {_PARTIAL: values} if values else {}


def condition(collection: Collection, where: Filter) -> Stored:
    """Return the condition of a unique key, as its index says it."""
    return {"$and": [_said(test, collection) for test in joined_tests(where, collection)]}


def _said(test: Test, collection: Collection) -> Stored:
    """Return a test as a part of an index says it, of documents that may lack what is null."""
    if test.operator is Operator.NOT_NULL:
        return _valued(collection, test.field)
    codec, key = Codec(collection), key_of(test.field)
    if test.operator is Operator.IS_NULL:
        return {key: None}
    if isinstance(test.operand, tuple):
        written = [None if each is None else codec.write(test.field, each) for each in test.operand]
        return {key: {"$in": written}}
    return query(test, codec)


def beside(model: IndexModel) -> IndexModel:
    """Return an index that holds a key while another one is made of it.

    In the other direction: some servers have but one index of the same keys.
    """
    keys = [(key, -direction) for key, direction in model.document["key"].items()]
    return IndexModel(keys, **_options(model, f"{model.document['name']}_"))


def is_as(present: Mapping[str, Any], model: IndexModel) -> bool:
    """Tell whether an index has been put in the place of another one by an earlier attempt."""
    was, now = present.get(_PARTIAL), model.document.get(_PARTIAL)
    return _named(was) == _named(now)


def _named(part: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the keys that a part of an index speaks about."""
    names = set[str]()
    for key, value in (part or {}).items():
        if key == "$and":
            names.update(*map(_named, value))
        else:
            names.add(key)
    return frozenset(names)


def _options(model: IndexModel, name: str) -> dict[str, Any]:
    kept = {key: value for key, value in model.document.items() if key not in {"key", "name"}}
    return {**kept, "name": name}

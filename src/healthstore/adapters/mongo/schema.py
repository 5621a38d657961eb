"""Collections with their validators and indexes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Container, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any

from bson import encode
from bson.binary import Binary, UuidRepresentation
from bson.codec_options import CodecOptions
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo import IndexModel, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from healthstore.adapters.mongo.codec import Codec, Stored, key_of
from healthstore.adapters.mongo.errors import Meaning, meaning_of
from healthstore.adapters.mongo.filters import query
from healthstore.adapters.mongo.references import LOCK
from healthstore.errors import CapabilityError
from healthstore.model.schema import Collection, Field, Unique
from healthstore.model.values import FieldType, Kind

__all__ = (
    "alter",
    "beside",
    "create",
    "drop",
    "index_models",
    "is_as",
    "rename",
    "validator",
)

_NAMESPACE_EXISTS = 48
_ATTEMPTS = 6
_PAUSE = 0.1  # seconds
_PAGE = 2_000  # documents that are filled together
_PARTIAL = "partialFilterExpression"
_REPEATED = frozenset({Meaning.CONFLICT, Meaning.INTERNAL})
_STANDARD: CodecOptions[Stored] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
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


def validator(codec: Codec, optional: Container[str] = (), leaving: Iterable[str] = ()) -> Stored:
    """Return the validator of a collection: its fields and no others, types, and the checks.

    A document may lack the ``optional`` fields, and still have those that are ``leaving``.

    An expression keeps others out: not every server knows ``additionalProperties``.
    """
    collection = codec.collection
    types: Stored = {
        "bsonType": "object",
        "required": [key_of(name) for name in collection.names if name not in optional],
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
            keys = [
                (key_of(field), -1 if key.startswith("-") else 1)
                for key, field in zip(index.keys, index.fields, strict=True)
            ]
            models[name] = IndexModel(keys, name=name)
    return list(models.values())


def _partial(collection: Collection, unique: Unique) -> Mapping[str, Any]:
    """Leave documents with a null in the key out of the index: they never collide.

    A range says so, not ``$type``: MongoDB's planner sees that ``email == "…"`` lies within the
    range and uses the index for it.
    """
    values = {
        key_of(name): {"$gte": _SMALLEST[_bson_type(collection.field(name).type)]}
        for name in unique.fields
        if collection.nullable(name)
    }
    return {_PARTIAL: values} if values else {}


async def create(database: AsyncDatabase[Stored], codec: Codec) -> None:
    """Create a collection with validator and indexes, as far as they are missing.

    When several processes do it at once, some servers end all but one of them with a conflict
    or a deadlock. Each step may be repeated, so that it is, a few times.
    """
    await _repeated(lambda: _create(database, codec))


async def alter(database: AsyncDatabase[Stored], before: Collection, codec: Codec) -> None:
    """Make a collection into that of another definition, as far as that has not been done.

    Programs of the old definition write meanwhile: a new field is one that a document may lack,
    until all have been filled, and at last one that it must have: from then on the server refuses
    documents without it, and what was written in between is filled.
    """
    after = codec.collection
    new = {name: after.field(name).default for name in after.names if name not in before.by_name}
    filling = {key_of(name): codec.write(name, value) for name, value in new.items()}
    leaving = [name for name in before.names if name not in after.by_name]
    there = database[after.name]
    if filling or leaving:
        meanwhile = validator(codec, new, leaving)
        await _repeated(lambda: _set_validator(database, after, meanwhile))
        newest = await there.find_one({}, {"_id": True}, sort=[("_id", -1)])
        if newest is not None:  # what comes later is filled at last
            await _fill(there, filling, {"$lte": newest["_id"]})
    else:
        await _repeated(lambda: _set_validator(database, after, validator(codec)))
    await _repeated(lambda: _change_indexes(database, before, after))
    await _repeated(lambda: _create_indexes(database, after))
    if filling or leaving:
        await _empty(there, leaving)
        await _repeated(lambda: _set_validator(database, after, validator(codec)))
        await _empty(there, leaving)
        await _fill(there, filling)


async def rename(database: AsyncDatabase[Stored], before: Collection, codec: Codec) -> None:
    """Give a collection, or fields of it, other names, as far as that has not been done.

    First it refuses documents of the old names: whoever writes them would lose what they hold.
    """
    after = codec.collection
    if before.name != after.name:
        await _repeated(partial(_move, database, before.name, after.name))
    await _repeated(lambda: _set_validator(database, after, validator(codec)))
    there = database[after.name]
    kept = {str(each.document["name"]) for each in index_models(after)}
    gone = {str(each.document["name"]) for each in index_models(before)} - kept
    for name in gone & (await there.index_information()).keys():
        await there.drop_index(name)
    pairs = zip(before.names, after.names, strict=True)
    names = {key_of(one): key_of(other) for one, other in pairs if one != other}
    if names:
        having = {"$or": [{key: {"$exists": True}} for key in names]}
        to = {"$rename": names}
        await _change(there, having, {}, lambda each: UpdateOne({"_id": each["_id"]}, to), [])
    await _repeated(lambda: _create_indexes(database, after))


async def _move(database: AsyncDatabase[Stored], before: str, after: str) -> None:
    if before in await database.list_collection_names():
        await database[before].rename(after)


async def drop(database: AsyncDatabase[Stored], name: str) -> None:
    """Drop a collection, if it is there."""
    await _repeated(partial(_drop, database, name))


async def _drop(database: AsyncDatabase[Stored], name: str) -> None:
    await database.drop_collection(name)


async def _fill(
    there: AsyncCollection[Stored],
    filling: Mapping[str, Any],
    bounds: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Give every document the fields that it lacks, all at once: with a part it is no valid one."""
    if filling:
        lacking = {"$or": [{key: {"$exists": False}} for key in filling]}
        await _change(there, lacking, bounds, partial(_filled, filling), list(filling))


def _filled(filling: Mapping[str, Any], document: Stored) -> UpdateOne:
    missing = [key for key in filling if key not in document]
    guard = {key: {"$exists": False} for key in missing}
    return UpdateOne(
        {"_id": document["_id"], **guard}, {"$set": {key: filling[key] for key in missing}}
    )


async def _empty(there: AsyncCollection[Stored], leaving: Sequence[str]) -> None:
    """Take fields away from every document that has one of them."""
    if leaving:
        having = {"$or": [{key: {"$exists": True}} for key in leaving]}
        gone = {"$unset": dict.fromkeys(leaving, True)}
        await _change(there, having, {}, lambda each: UpdateOne({"_id": each["_id"]}, gone), [])


async def _change(
    there: AsyncCollection[Stored],
    where: Mapping[str, Any],
    bounds: Mapping[str, Any],
    change: Callable[[Stored], UpdateOne],
    keys: Sequence[str],
) -> None:
    """Change every document that satisfies a query, a page at a time in order of id.

    Each by itself: in a collection with a validator, an update of many by FerretDB 2.7 and
    DocumentDB undoes what others write to the same documents at that moment.
    """
    bounds = dict(bounds)
    projection = dict.fromkeys(("_id", *keys), True)
    while True:
        place = {"$and": [where, {"_id": bounds}]} if bounds else where
        page = await there.find(place, projection, sort=[("_id", 1)], limit=_PAGE).to_list()
        if not page:
            return
        await _repeated(partial(_write, there, list(map(change, page))))
        bounds["$gt"] = page[-1]["_id"]


async def _write(there: AsyncCollection[Stored], updates: Sequence[UpdateOne]) -> None:
    await there.bulk_write(updates, ordered=False)


async def _change_indexes(
    database: AsyncDatabase[Stored], before: Collection, after: Collection
) -> None:
    """Drop the indexes that are gone; put others in the place of those that differ.

    The key is kept all the while: another index of it is there before the first one goes.
    """
    there = database[after.name]
    wanted = {str(each.document["name"]): each for each in index_models(after)}
    present = await there.index_information()
    for each in index_models(before):
        name = str(each.document["name"])
        model = wanted.get(name)
        if name not in present or (model and model.document == each.document):
            continue
        if model is None:
            await there.drop_index(name)
            continue
        if not is_as(present[name], model):
            await there.create_indexes([beside(model)])
            await there.drop_index(name)
            await there.create_indexes([model])
    for name in await there.index_information():
        if name.endswith("_") and name.removesuffix("_") in wanted:
            await there.drop_index(name)


def beside(model: IndexModel) -> IndexModel:
    """Return an index that holds a key while another one is made of it.

    In the other direction: some servers have but one index of the same keys.
    """
    keys = [(key, -direction) for key, direction in model.document["key"].items()]
    return IndexModel(keys, **_options(model, f"{model.document['name']}_"))


def is_as(present: Mapping[str, Any], model: IndexModel) -> bool:
    """Tell whether an index has been put in the place of another one by an earlier attempt."""
    was, now = present.get(_PARTIAL), model.document.get(_PARTIAL)
    return (was is None) is (now is None)


def _options(model: IndexModel, name: str) -> dict[str, Any]:
    kept = {key: value for key, value in model.document.items() if key not in {"key", "name"}}
    return {**kept, "name": name}


async def _repeated(step: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Take a step that may be taken twice; again, if others were in its way."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await step()
        except OperationFailure as error:
            if attempt == _ATTEMPTS or meaning_of(error) not in _REPEATED:
                raise
            await asyncio.sleep(random.uniform(0, _PAUSE * attempt))  # noqa: S311 - no secret
        else:
            return


async def _create(database: AsyncDatabase[Stored], codec: Codec) -> None:
    """Do what :func:`create` does, once.

    The validator is set by ``collMod`` in any case: FerretDB ignores the one given to
    ``create``. What the server then reports must be what was asked for; otherwise
    CapabilityError is raised, since checks would not hold.
    """
    collection, wanted = codec.collection, validator(codec)
    stored = await _stored_validator(database, collection.name)
    made = False
    if stored is None:
        try:
            await database.create_collection(collection.name, check_exists=False)
            made = True
        except OperationFailure as error:
            if error.code != _NAMESPACE_EXISTS:  # otherwise another process was first
                raise
    if stored is None or not _same(stored, wanted):
        try:
            await _set_validator(database, collection, wanted)
        except CapabilityError:
            if made:  # empty, and nothing would guard it
                await database.drop_collection(collection.name)
            raise
    await _create_indexes(database, collection)


async def _set_validator(
    database: AsyncDatabase[Stored], collection: Collection, wanted: Stored
) -> None:
    try:
        await database.command(
            "collMod",
            collection.name,
            validator=wanted,
            validationLevel="strict",
            validationAction="error",
            codec_options=_STANDARD,  # a command does not take the database's: UUIDs in checks
        )
    except OperationFailure as error:
        if meaning_of(error) is not Meaning.MISTAKE:
            raise
        size = len(encode(wanted, codec_options=_STANDARD))
        raise CapabilityError(
            f"the server refuses the collection's validator of {size} bytes (code {error.code})",
            hint="FerretDB keeps 10,240 bytes, about 100 fields, unless its DocumentDB has another "
            "maxSchemaValidatorSize; MongoDB has no such limit",
            entity=collection.entity,
        ) from None
    stored = await _stored_validator(database, collection.name)
    if not _same(stored or {}, wanted):
        raise CapabilityError(
            "the server does not keep the collection's validator",
            hint="use MongoDB 6.0 or later, or FerretDB 2.7 or later",
            entity=collection.entity,
        )


async def _stored_validator(database: AsyncDatabase[Stored], name: str) -> Stored | None:
    """Return a collection's validator, empty if it has none, or None if there is no collection."""
    async for found in await database.list_collections(filter={"name": name}):
        options: Mapping[str, Any] = found.get("options", {})
        validated: Stored = options.get("validator", {})
        return validated
    return None


def _same(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Compare as BSON: the types of numbers count, those of Python do not."""
    return encode(stored, codec_options=_STANDARD) == encode(wanted, codec_options=_STANDARD)


async def _create_indexes(database: AsyncDatabase[Stored], collection: Collection) -> None:
    models = index_models(collection)
    if not models:
        return
    present = await database[collection.name].index_information()
    missing = [model for model in models if model.document["name"] not in present]
    if missing:
        await database[collection.name].create_indexes(missing)

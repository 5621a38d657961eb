"""Collections with their validators and indexes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Container, Coroutine, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from bson import encode
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from healthstore.adapters.mongo.codec import Codec, Stored, key_of
from healthstore.adapters.mongo.definition import (
    beside,
    index_models,
    is_as,
    required_after,
    required_by,
    validator,
    values_of_new,
)
from healthstore.adapters.mongo.errors import Meaning, meaning_of
from healthstore.errors import CapabilityError
from healthstore.model.schema import Collection

__all__ = ("alter", "create", "drop", "rename")

_NAMESPACE_EXISTS = 48
_ATTEMPTS = 6
_PAUSE = 0.1  # seconds
_PAGE = 2_000  # documents that are filled together
_REPEATED = frozenset({Meaning.CONFLICT, Meaning.INTERNAL})
# What is written here satisfies the validator that was just set; another connection of
# DocumentDB's gateway may have that of before for a moment.
_REPEATED_ROWS = _REPEATED | {Meaning.CHECK}
_STANDARD: CodecOptions[Stored] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)


async def create(database: AsyncDatabase[Stored], codec: Codec) -> None:
    """Create a collection with validator and indexes, as far as they are missing.

    When several processes do it at once, some servers end all but one of them with a conflict
    or a deadlock. Each step may be repeated, so that it is, a few times.
    """
    await _repeated(lambda: _create(database, codec))


async def alter(database: AsyncDatabase[Stored], before: Collection, codec: Codec) -> None:
    """Make a collection into that of another definition, as far as that has not been done.

    A new field that is null where it is not written is in no document: none is written. Of others
    programs of the old definition know nothing, and write meanwhile: such a field is one that a
    document may lack, until all have been filled, and at last one that it must have: from then on
    the server refuses documents without it, and what was written in between is filled.
    """
    after = codec.collection
    filling = values_of_new(before, codec)
    leaving = [name for name in before.names if name not in after.by_name]
    there = database[after.name]
    known = required_by(await _stored_validator(database, after.name))
    required = required_after(before, after, known)
    wanted = validator(codec, required)
    if filling or leaving:
        meanwhile = validator(codec, required & before.by_name.keys(), leaving)
        await _repeated(lambda: _set_validator(database, after, meanwhile))
        newest = await there.find_one({}, {"_id": True}, sort=[("_id", -1)])
        if newest is not None:  # what comes later is filled at last
            await _fill(there, filling, {"$lte": newest["_id"]})
    else:
        await _repeated(lambda: _set_validator(database, after, wanted))
    await _repeated(lambda: _change_indexes(database, before, after))
    await _repeated(lambda: _create_indexes(database, after))
    if filling or leaving:
        await _empty(there, leaving)
        await _repeated(lambda: _set_validator(database, after, wanted))
        await _empty(there, leaving)
        await _fill(there, filling)


async def rename(database: AsyncDatabase[Stored], before: Collection, codec: Codec) -> None:
    """Give a collection, or fields of it, other names, as far as that has not been done.

    First it refuses documents of the old names: whoever writes them would lose what they hold.
    """
    after = codec.collection
    pairs = list(zip(before.names, after.names, strict=True))
    known = required_by(
        await _stored_validator(database, before.name)
        or await _stored_validator(database, after.name)
    )
    required = {
        other for one, other in pairs if not after.nullable(other) or one in known or other in known
    }
    if before.name != after.name:
        await _repeated(partial(_move, database, before.name, after.name))
    await _repeated(lambda: _set_validator(database, after, validator(codec, required)))
    there = database[after.name]
    kept = {str(each.document["name"]) for each in index_models(after)}
    gone = {str(each.document["name"]) for each in index_models(before)} - kept
    for name in gone & (await there.index_information()).keys():
        await there.drop_index(name)
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
        await _repeated(partial(_write, there, list(map(change, page))), _REPEATED_ROWS)
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


async def _repeated(
    step: Callable[[], Coroutine[Any, Any, None]], meanings: Container[Meaning] = _REPEATED
) -> None:
    """Take a step that may be taken twice; again, if others were in its way."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await step()
        except OperationFailure as error:
            if attempt == _ATTEMPTS or meaning_of(error) not in meanings:
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
    collection = codec.collection
    stored = await _stored_validator(database, collection.name)
    made = False
    wanted = validator(codec, None if stored is None else _kept(collection, stored))
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


def _kept(collection: Collection, stored: Stored) -> frozenset[str]:
    """Return what documents must have in a collection that is there: it knows what they may lack.

    A program may declare another default than the one for which a field is required, or is not.
    """
    known = required_by(stored)
    return frozenset(
        name for name in collection.names if name in known or not collection.nullable(name)
    )


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

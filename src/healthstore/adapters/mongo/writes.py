"""Writes: one document natively, several in an open transaction.

A single write carries its conditions (the version, the range of an increment) in its filter.
When it matches nothing, the document is read again and the reference meaning of the operation
says which error it is; if it sees none, a concurrent writer was between the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, repeat
from typing import Any, cast
from uuid import UUID

from bson.int64 import Int64
from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, OperationFailure

from healthstore.abc.unit import Phase
from healthstore.adapters.mongo.codec import Codec, Stored, key_of
from healthstore.adapters.mongo.definition import condition
from healthstore.adapters.mongo.errors import Meaning, meaning_of, translated
from healthstore.adapters.mongo.reads import by_id
from healthstore.adapters.mongo.references import lock_parents
from healthstore.adapters.mongo.session import Session
from healthstore.adapters.mongo.updates import guards, update
from healthstore.errors import (
    HealthstoreError,
    Outcome,
    SchemaMismatchError,
    SerializationError,
)
from healthstore.model import evaluate
from healthstore.model.evaluate import duplicate_key
from healthstore.model.guarded import replaced
from healthstore.model.ops import Insert, Patch, Patches, Replace
from healthstore.model.schema import Collection
from healthstore.model.values import Document

__all__ = (
    "PART",
    "delete_one",
    "insert",
    "insert_in_parts",
    "overtaken",
    "patch_each",
    "patch_one",
    "patch_several",
    "refused_by_validator",
    "replace_guarded",
    "replace_one",
    "replace_several",
    "versions",
)

PART = 1_000
"""Documents of one request, where others than a failing one may stay."""
_FIRST_PARTS = (200, 300, 500)  # so that the server begins while most are still to be written
_UNDER_WAY = 2
# How often a single write is tried again when concurrent writers change the document.
_RACES = 5


async def versions(
    session: Session, codec: Codec, ids: Sequence[UUID], expected: Sequence[int] | None
) -> dict[UUID, int]:
    """Return the stored versions by id; raise StaleVersionError for an unexpected one."""
    rows = (
        await session.collection(codec.collection.name)
        .find(
            {"_id": {"$in": list(ids)}},
            {"version": True},
            batch_size=len(ids),
            session=session.transaction,
        )
        .to_list()
    )
    there: dict[UUID, int] = {row["_id"]: int(row["version"]) for row in rows}
    for identity, version in zip(ids, expected or (), strict=expected is not None):
        if identity in there:
            stored: Document = {"version": there[identity]}
            evaluate.check_version(codec.collection, stored, identity, version)
    return there


async def insert(session: Session, codec: Codec, op: Insert) -> None:
    """Add documents; without a transaction others than a failing one may stay."""
    await _insert(session, codec, op.documents)


async def insert_in_parts(
    session: Session, codec: Codec, op: Insert, ours: Callable[[Exception], HealthstoreError]
) -> None:
    """Add documents in several requests, of which two are under way at a time.

    While the server works on one, the next is written. After an error no further one is begun;
    the first error is raised, as ``ours`` translates it, when none is under way any more. Its
    outcome is NOT_APPLIED only if that holds for each request.
    """
    waiting = _parts(op.documents)
    stored = False
    errors: list[HealthstoreError] = []

    async def one_by_one() -> None:
        nonlocal stored
        task = asyncio.current_task()
        for part in waiting:
            # The driver may drop a cancellation: see MongoAdapter.run.
            if task is not None and task.cancelling():
                raise asyncio.CancelledError
            if errors:
                return
            try:
                await _insert(session, codec, part)
            except Exception as error:  # noqa: BLE001 - raised below
                known = error if isinstance(error, HealthstoreError) else ours(error)
                errors.append(known)
                # Of what it refuses a part, the server keeps the others.
                stored = stored or isinstance(error, BulkWriteError | HealthstoreError)
            else:
                stored = True

    await asyncio.gather(*(one_by_one() for _ in range(_UNDER_WAY)))
    for first in errors[:1]:
        if stored or any(each.outcome is not Outcome.NOT_APPLIED for each in errors):
            first.outcome = Outcome.UNKNOWN
        raise first


def _parts(documents: Sequence[Document]) -> Iterator[Sequence[Document]]:
    start = 0
    for size in chain(_FIRST_PARTS, repeat(PART)):
        if start >= len(documents):
            return
        yield documents[start : start + size]
        start += size


async def _insert(session: Session, codec: Codec, documents: Sequence[Document]) -> None:
    driver = session.collection(codec.collection.name)
    rows = codec.encode_all(documents)
    with _explained(codec.collection, documents):
        if len(rows) == 1:
            await driver.insert_one(rows[0], session=session.transaction)
        else:
            await driver.insert_many(rows, ordered=False, session=session.transaction)


async def replace_one(
    session: Session, codec: Codec, document: Document, version: int | None
) -> bool:
    """Replace the fields of one document; return whether it was there."""
    driver = session.collection(codec.collection.name)
    identity, change = cast(UUID, document["id"]), _every_field(codec.encode(document))
    for _ in range(_RACES):
        with _explained(codec.collection, (document,)):
            done = await driver.update_one(
                _guarded(identity, version), change, session=session.transaction
            )
        if done.matched_count:
            return True
        if not await _is_there(session, codec, identity, version):
            return False
    raise overtaken()


def _every_field(row: Stored) -> Stored:
    """Return the update that writes all fields that the collection has here, and no other.

    A document that is replaced as a whole would lose the fields that a newer class gave it.
    """
    del row["_id"]
    return {"$set": row}


async def replace_several(session: Session, codec: Codec, op: Replace) -> tuple[bool, ...]:
    """Replace documents and lock their parents; the session has a transaction."""
    ids = [cast(UUID, document["id"]) for document in op.documents]
    if op.versions is None:
        there = await versions(session, codec, ids, None)
        found = tuple(identity in there for identity in ids)
        present = [each for each in op.documents if each["id"] in there]
        expected = [there[cast(UUID, each["id"])] for each in present]
        guarded = replace(op, documents=tuple(present), versions=tuple(expected))
        if present and not all(await replace_guarded(session, codec, guarded)):
            raise overtaken()
    else:
        found = await replace_guarded(session, codec, op)
        present = [each for each, is_there in zip(op.documents, found, strict=True) if is_there]
    if present and op.collection.references:
        await lock_parents(session, op.collection, present)
    return found


async def replace_guarded(session: Session, codec: Codec, op: Replace) -> tuple[bool, ...]:
    """Replace documents that are as they are expected; return for each whether it was there.

    Raises StaleVersionError for one that is not: without a transaction others are replaced then.
    """
    documents, expected = op.documents, op.versions
    assert expected is not None, "what was replaced before an error is found by its version"
    ids = [cast(UUID, each["id"]) for each in documents]
    writes = [
        UpdateOne(
            _guarded(identity, version) | {key: row[key] for key in map(key_of, op.same)},
            _every_field(row),
        )
        for identity, version, row in zip(ids, expected, codec.encode_all(documents), strict=True)
    ]
    with _explained(codec.collection, documents):
        done = await session.collection(codec.collection.name).bulk_write(
            writes, ordered=False, session=session.transaction
        )
    if done.matched_count == len(writes):
        return (True,) * len(writes)
    return replaced(op, done.matched_count, await by_id(session, codec, ids))


async def patch_one(session: Session, codec: Codec, op: Patch) -> Document | None:
    """Change one document atomically, and return it as it is afterwards."""
    (identity,) = op.ids
    version = op.versions[0] if op.versions else None
    driver, change = session.collection(op.collection.name), update(op, codec)
    condition = {"_id": identity, **guards(op, codec, version)}
    for _ in range(_RACES):
        if change:
            try:
                row = await driver.find_one_and_update(
                    condition,
                    change,
                    return_document=ReturnDocument.AFTER,
                    session=session.transaction,
                )
            except OperationFailure as error:
                await _explain_patch(session, codec, op, error)
                raise
            if row is not None:
                return codec.decode(row)
        stored = (await by_id(session, codec, op.ids)).get(identity)
        if stored is None:
            return None
        evaluate.check_version(op.collection, stored, identity, version)
        evaluate.patched(op, stored)
        if not change:
            return stored
    raise overtaken()


async def _explain_patch(
    session: Session, codec: Codec, op: Patch, error: OperationFailure
) -> None:
    """Raise the precise error, as far as what is stored outside of the unit tells it.

    FerretDB and DocumentDB report a duplicate key of this command without the key, or as an
    internal error. A document that holds the key proves that the patch was refused.
    """
    meaning, after = meaning_of(error), list[Document]()
    if meaning in {Meaning.CHECK, Meaning.DUPLICATE, Meaning.INTERNAL}:
        outside = Session(session.database)
        stored = (await by_id(outside, codec, op.ids)).values()
        after.extend(evaluate.patched(op, each) for each in stored)
        if meaning is not Meaning.CHECK:
            for each in after:
                await _require_free_keys(outside, codec, each)
    with _explained(op.collection, after):
        raise error


async def _require_free_keys(session: Session, codec: Codec, document: Document) -> None:
    """Raise DuplicateKeyError if another document holds a unique key of this one."""
    row = codec.encode(document)
    collection = codec.collection
    for unique, kept in zip(collection.uniques, collection.stored.uniques, strict=True):
        if unique.where is not None and not evaluate.matches(unique.where)(document):
            continue
        key: Stored = {key_of(name): row[key_of(name)] for name in kept.fields}
        if None not in key.values():
            bound = [] if unique.where is None else [condition(collection, unique.where)]
            other = {"$and": [key, {"_id": {"$ne": row["_id"]}}, *bound]}
            if await session.collection(collection.name).find_one(other, {"_id": True}):
                raise duplicate_key(collection, unique.fields)


async def patch_several(session: Session, codec: Codec, op: Patch) -> tuple[Document | None, ...]:
    """Change documents and lock their parents; the session has a transaction."""
    expected = op.versions or (None,) * len(op.ids)
    there = await by_id(session, codec, op.ids)
    after: list[Document] = []
    by_version: dict[int, list[UUID]] = {}
    for identity, version in zip(op.ids, expected, strict=True):
        stored = there.get(identity)
        if stored is not None:
            evaluate.check_version(op.collection, stored, identity, version)
            after.append(evaluate.patched(op, stored))
            by_version.setdefault(cast(int, stored["version"]), []).append(identity)
    change = update(op, codec)
    if after and change:
        alternatives: list[Stored] = [
            {"_id": {"$in": ids}, "version": Int64(version)} for version, ids in by_version.items()
        ]
        with _explained(op.collection, after):
            done = await session.collection(op.collection.name).update_many(
                {"$or": alternatives}, change, session=session.transaction
            )
        if done.matched_count != len(after):
            raise overtaken()
        assigned: dict[str, Any] = dict(op.sets)
        if any(each.field in assigned for each in op.collection.references):
            await lock_parents(session, op.collection, (assigned,))
        there = await by_id(session, codec, op.ids)
    return tuple(there.get(identity) for identity in op.ids)


async def patch_each(
    session: Session, codec: Codec, op: Patches
) -> tuple[tuple[Document] | None, ...]:
    """Change documents, each in its own way; the session has a transaction."""
    stored = await by_id(session, codec, tuple({each.ids[0] for each in op.patches}))
    results = evaluate.patched_each(op, stored)
    last = evaluate.changed_by_id(results)
    if last:
        first = op.patches[0]
        names = [name for name, _ in first.changes]
        writes = [
            UpdateOne(
                _guarded(identity, cast(int, stored[identity]["version"])),
                {"$set": codec.changes(tuple([(name, after[name]) for name in names]))},
            )
            for identity, after in last.items()
        ]
        with _explained(op.collection, tuple(last.values())):
            done = await session.collection(op.collection.name).bulk_write(
                writes, ordered=False, session=session.transaction
            )
        if done.matched_count != len(writes):
            raise overtaken()
        written = [{name: each[name] for name in names} for each in last.values()]
        await lock_parents(session, op.collection, written)
    return results


async def delete_one(session: Session, codec: Codec, identity: UUID, version: int | None) -> bool:
    """Remove one document to which nothing refers; return whether it was there."""
    driver = session.collection(codec.collection.name)
    for _ in range(_RACES):
        done = await driver.delete_one(_guarded(identity, version), session=session.transaction)
        if done.deleted_count:
            return True
        if not await _is_there(session, codec, identity, version):
            return False
    raise overtaken()


async def _is_there(session: Session, codec: Codec, identity: UUID, version: int | None) -> bool:
    """Tell whether there is a document that a write has not found.

    FerretDB and DocumentDB find none that another write is just changing. Raises
    StaleVersionError for another version than the expected one.
    """
    expected = None if version is None else (version,)
    return bool(await versions(session, codec, (identity,), expected))


def _guarded(identity: UUID, version: int | None) -> Stored:
    if version is None:
        return {"_id": identity}
    return {"_id": identity, "version": Int64(version)}


def overtaken() -> SerializationError:
    """Return the error for a write that rivals were faster than, many times."""
    return SerializationError(
        "concurrent writers changed the document again and again", hint="repeat the call"
    )


def refused_by_validator() -> SchemaMismatchError:
    """Return the error for a document that only the stored definition refuses."""
    return SchemaMismatchError(
        "the store's validator refuses a document for which every check holds",
        hint="another program is changing the collection's definition, or has changed it: "
        "compare them by db.schema.plan(), healthstore schema diff",
    )


@contextmanager
def _explained(collection: Collection, documents: Sequence[Document]) -> Generator[None]:
    """Turn the server's refusal of documents into the error that names field or check."""
    try:
        yield
    except (OperationFailure, BulkWriteError) as error:
        meaning = meaning_of(error)
        if meaning is Meaning.CHECK:
            for document in documents:
                evaluate.check_document(collection, document)
            raise refused_by_validator() from None
        if meaning is Meaning.DUPLICATE:
            raise translated(error, Phase.WRITE, collection) from None
        raise

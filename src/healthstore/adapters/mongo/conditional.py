"""Writes by a condition, as one command where nothing has to be looked at first.

Without a transaction each document is written by itself, as the server finds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast
from uuid import UUID

from pymongo.errors import OperationFailure

from healthstore.abc.unit import Phase
from healthstore.adapters.mongo.codec import Codec, Stored
from healthstore.adapters.mongo.errors import Meaning, meaning_of, translated
from healthstore.adapters.mongo.filters import query
from healthstore.adapters.mongo.references import Referrer, lock_parents, remove
from healthstore.adapters.mongo.session import Session
from healthstore.adapters.mongo.updates import guards, update
from healthstore.adapters.mongo.writes import overtaken, refused_by_validator
from healthstore.model import evaluate
from healthstore.model.ops import DeleteWhere, Patch, PatchWhere

__all__ = ("delete_where", "patch_where")

_BATCH = 10_000  # ids of an answer


async def patch_where(session: Session, codec: Codec, op: PatchWhere) -> int:
    """Change the documents that satisfy a filter, and lock their parents."""
    change, where = op.as_patch(), query(op.where, codec)
    condition = await _summed(session, codec, op, where)
    driver = session.collection(op.collection.name)
    try:
        done = await driver.update_many(
            condition, update(change, codec), session=session.transaction
        )
    except OperationFailure as error:
        meaning = meaning_of(error)
        if meaning is Meaning.CHECK:
            await _explain_check(session, codec, op, where)
        if meaning is Meaning.DUPLICATE:
            raise translated(error, Phase.WRITE, op.collection) from None
        raise
    assigned: dict[str, Any] = dict(op.sets)
    if done.matched_count and any(each.field in assigned for each in op.collection.references):
        await lock_parents(session, op.collection, (assigned,))
    return done.matched_count


async def _summed(session: Session, codec: Codec, op: PatchWhere, where: Stored) -> Stored:
    """Return the condition of a change; raise for a document whose sum is none.

    A version has room for each change that a lifetime has.
    """
    change = op.as_patch()
    sums = guards(
        Patch(op.collection, (), (), tuple(each for each in op.increments if each[0] != "version")),
        codec,
        None,
    )
    if not sums:
        return where
    outside: Stored = {"$and": [where, {"$nor": [sums]}]}
    row = await session.collection(op.collection.name).find_one(
        outside, session=session.transaction
    )
    if row is not None:
        evaluate.patched(change, codec.decode(row))
        raise overtaken()
    return {"$and": [where, sums]}


async def _explain_check(session: Session, codec: Codec, op: PatchWhere, where: Stored) -> None:
    """Raise the error of the check that a document breaks, as far as what is stored tells it.

    The transaction has ended: it is read outside of it.
    """
    change = op.as_patch()
    async for row in session.collection(op.collection.name).find(where, batch_size=_BATCH):
        evaluate.check_document(op.collection, evaluate.patched(change, codec.decode(row)))
    raise refused_by_validator()


async def delete_where(
    session: Session, codec: Codec, op: DeleteWhere, referrers: Iterable[Referrer]
) -> int:
    """Remove the documents that satisfy a filter, to which no other one refers."""
    name, where = op.collection.name, query(op.where, codec)
    driver, transaction = session.collection(name), session.transaction
    if referrers:
        found = driver.find(where, {"_id": True}, batch_size=_BATCH, session=transaction)
        ids = [cast(UUID, each["_id"]) async for each in found]
        await remove(session, referrers, name, ids)
        return len(ids)
    done = await driver.delete_many(where, session=transaction)
    session.locked.difference_update([each for each in session.locked if each[0] == name])
    return done.deleted_count

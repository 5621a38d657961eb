"""Reads: by id, pages, counts and groups, in a transaction if the session has one.

``milliseconds`` are those after which the server, too, ends a read for which nobody waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from healthstore.adapters.mongo.codec import Codec, Stored
from healthstore.adapters.mongo.filters import (
    group_rows,
    page_by_head,
    pipeline,
    projection,
    query,
    sort_keys,
    sums_floats,
)
from healthstore.adapters.mongo.session import Session
from healthstore.model import evaluate
from healthstore.model.ops import Aggregate, CountDocuments, Find, Group
from healthstore.model.values import Document

__all__ = ("aggregate", "by_id", "count", "find")

_BATCH = 10_000  # documents of an answer, where each is a few fields


async def by_id(session: Session, codec: Codec, ids: Sequence[UUID]) -> dict[UUID, Document]:
    """Return the documents with these ids that exist, by id."""
    driver, transaction = session.collection(codec.collection.name), session.transaction
    if len(ids) == 1:
        one = await driver.find_one({"_id": ids[0]}, session=transaction)
        rows = [] if one is None else [one]
    else:
        condition = {"_id": {"$in": list(ids)}}
        rows = await driver.find(condition, batch_size=len(ids) or 1, session=transaction).to_list()
    return {cast(UUID, each["id"]): each for each in codec.decode_all(rows)}


async def find(session: Session, codec: Codec, op: Find, milliseconds: int) -> tuple[Document, ...]:
    """Return one page, read in one batch if it fits in 16 MB."""
    if op.limit < 1:
        return ()  # to MongoDB, 0 means no limit
    found = codec.decode_all(await _page(session, codec, op, milliseconds))
    if evaluate.sorted_whole(op, found):
        return found
    return codec.decode_all(await _page_by_head(session, codec, op, milliseconds))


async def _page(session: Session, codec: Codec, op: Find, milliseconds: int) -> list[Stored]:
    return await (
        session.collection(op.collection.name)
        .find(
            query(op.where, codec),
            sort=sort_keys(op.order, codec),
            limit=op.limit,
            batch_size=op.limit,
            allow_disk_use=True,  # to sort more than 100 MB
            max_time_ms=milliseconds,
            session=session.transaction,
        )
        .to_list()
    )


async def _page_by_head(
    session: Session, codec: Codec, op: Find, milliseconds: int
) -> list[Stored]:
    cursor = await session.collection(op.collection.name).aggregate(
        page_by_head(op, codec),
        session=session.transaction,
        allowDiskUse=True,
        maxTimeMS=milliseconds,
        batchSize=op.limit,
    )
    return await cursor.to_list()


async def count(session: Session, codec: Codec, op: CountDocuments, milliseconds: int) -> int:
    """Return the exact number of documents."""
    driver = session.collection(op.collection.name)
    return await driver.count_documents(
        query(op.where, codec), session=session.transaction, maxTimeMS=milliseconds
    )


async def aggregate(
    session: Session, codec: Codec, op: Aggregate, milliseconds: int
) -> tuple[Group, ...]:
    """Return groups, made by the server; floats are summed here, which is exact."""
    if sums_floats(op):
        return await _aggregate_here(session, codec, op, milliseconds)
    cursor = await session.collection(op.collection.name).aggregate(
        pipeline(op, codec),
        session=session.transaction,
        allowDiskUse=True,
        maxTimeMS=milliseconds,
        batchSize=op.limit + 1,
    )
    return group_rows(op, await cursor.to_list(), codec)


async def _aggregate_here(
    session: Session, codec: Codec, op: Aggregate, milliseconds: int
) -> tuple[Group, ...]:
    cursor = session.collection(op.collection.name).find(
        query(op.where, codec),
        projection(op),
        batch_size=_BATCH,
        max_time_ms=milliseconds,
        session=session.transaction,
    )
    return evaluate.aggregate(op, [codec.part(stored) async for stored in cursor])

"""Reads: by id, pages, counts and groups, in a transaction if the session has one.

``milliseconds`` are those after which the server, too, ends a read for which nobody waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from pymongo.asynchronous.command_cursor import AsyncRawBatchCommandCursor
from pymongo.asynchronous.cursor import AsyncRawBatchCursor

from healthstore.adapters.mongo import filters
from healthstore.adapters.mongo.codec import Codec, Stored
from healthstore.adapters.mongo.filters import (
    computed_page,
    distinct_page,
    is_computed,
    path_of,
    projection,
    query,
    sort_keys,
)
from healthstore.adapters.mongo.groups import (
    group_rows,
    pipeline,
    sums_floats,
)
from healthstore.adapters.mongo.session import Session
from healthstore.model import evaluate
from healthstore.model.ops import Aggregate, CountDocuments, Find, Group, Leading
from healthstore.model.query import MAX_VALUES, Lookup
from healthstore.model.values import Document, Value

__all__ = ("aggregate", "by_id", "count", "distinct", "find", "leading", "looked_up")

_BATCH = 10_000  # documents of an answer, where each is a few fields


async def by_id(session: Session, codec: Codec, ids: Sequence[UUID]) -> dict[UUID, Document]:
    """Return the documents with these ids that exist, by id."""
    driver, transaction = session.collection(codec.collection.name), session.transaction
    if len(ids) == 1:
        one = await driver.find_one({"_id": ids[0]}, session=transaction)
        return {} if one is None else {ids[0]: codec.decode(one)}
    cursor = driver.find_raw_batches(
        {"_id": {"$in": list(ids)}}, batch_size=len(ids) or 1, session=transaction
    )
    found = codec.decode_batches(await _batches(cursor))
    return {cast(UUID, each["id"]): each for each in found}


async def find(session: Session, codec: Codec, op: Find, milliseconds: int) -> tuple[Document, ...]:
    """Return one page, read in one batch if it fits in 16 MB."""
    if op.limit < 1:
        return ()  # to MongoDB, 0 means no limit
    reader = codec if op.columns is None else Codec(op.collection, op.columns)
    if evaluate.shows_order(op):
        if is_computed(op):
            stages = computed_page(op, codec, whole=True)
            batches = await _computed_page(session, op, stages, milliseconds)
        else:
            batches = await _page(session, codec, op, milliseconds)
        found = reader.decode_batches(batches)
        if evaluate.sorted_whole(op, found):
            return found
    stages = computed_page(op, codec, whole=False)
    return reader.decode_batches(await _computed_page(session, op, stages, milliseconds))


async def distinct(
    session: Session, codec: Codec, op: Find, milliseconds: int
) -> tuple[Document, ...] | None:
    """Return distinct rows; None where some of them begin alike, which the server cannot sort."""
    if op.limit < 1:
        return ()
    batches = await _computed_page(session, op, distinct_page(op, codec), milliseconds)
    found = Codec(op.collection, op.columns).decode_batches(batches)
    return found if evaluate.sorted_whole(op, found) else None


async def _page(session: Session, codec: Codec, op: Find, milliseconds: int) -> list[bytes]:
    cursor = session.collection(op.collection.name).find_raw_batches(
        query(op.where, codec),
        None if op.columns is None else projection(op.columns),
        sort=sort_keys(op.order, codec),
        limit=op.limit,
        batch_size=op.limit,
        allow_disk_use=True,  # to sort more than 100 MB
        max_time_ms=milliseconds,
        session=session.transaction,
    )
    return await _batches(cursor)


async def _computed_page(
    session: Session, op: Find, stages: list[Stored], milliseconds: int
) -> list[bytes]:
    cursor = await session.collection(op.collection.name).aggregate_raw_batches(
        stages,
        session=session.transaction,
        allowDiskUse=True,
        maxTimeMS=milliseconds,
        batchSize=op.limit,
    )
    return await _batches(cursor)


async def leading(
    session: Session, codec: Codec, op: Leading, milliseconds: int
) -> tuple[Document, ...]:
    """Return the first documents of each group."""
    cursor = await session.collection(op.collection.name).aggregate_raw_batches(
        filters.leading(op, codec),
        session=session.transaction,
        allowDiskUse=True,
        maxTimeMS=milliseconds,
        batchSize=op.limit,
    )
    return codec.decode_batches(await _batches(cursor))


async def _batches(
    cursor: AsyncRawBatchCursor[Stored] | AsyncRawBatchCommandCursor[Stored],
) -> list[bytes]:
    """Return the batches as the server sent them; by the driver's types they are documents."""
    return cast("list[bytes]", await cursor.to_list())


async def count(session: Session, codec: Codec, op: CountDocuments, milliseconds: int) -> int:
    """Return the exact number of documents."""
    driver = session.collection(op.collection.name)
    return await driver.count_documents(
        query(op.where, codec), session=session.transaction, maxTimeMS=milliseconds
    )


async def looked_up(
    session: Session, codec: Codec, lookup: Lookup, milliseconds: int
) -> list[Value]:
    """Return the distinct values that a query finds, one beyond the most that are asked for."""
    path = path_of(lookup.field, codec)
    cursor = await session.collection(codec.collection.name).aggregate(
        [
            {"$match": query(lookup.where, codec)},
            {"$group": {"_id": path}},
            {"$limit": MAX_VALUES + 1},
        ],
        session=session.transaction,
        allowDiskUse=True,
        maxTimeMS=milliseconds,
        batchSize=MAX_VALUES + 1,
    )
    return [codec.read(lookup.field, row["_id"]) for row in await cursor.to_list()]


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
    groups = group_rows(op, await cursor.to_list(), codec)
    if evaluate.begins_alike(op, groups):
        return await _aggregate_here(session, codec, op, milliseconds)
    return groups


async def _aggregate_here(
    session: Session, codec: Codec, op: Aggregate, milliseconds: int
) -> tuple[Group, ...]:
    names = evaluate.fields_of(op)
    cursor = session.collection(op.collection.name).find(
        query(op.where, codec),
        projection(names),
        batch_size=_BATCH,
        max_time_ms=milliseconds,
        session=session.transaction,
    )
    return evaluate.aggregate(op, [codec.part(stored, names) async for stored in cursor])

"""The raw driver of MongoDB: pymongo's AsyncMongoClient.

https://www.mongodb.com/docs/languages/python/pymongo-driver/current/
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from benchmarks.contender import BATCH, POOL
from benchmarks.reading import Reading
from healthstore.abc import BackendURL
from healthstore.testing.provision import text_of

__all__ = ("AGGREGATE", "client_of", "opened")

_Document = dict[str, Any]
AGGREGATE = [{"$group": {"_id": "$kind", "count": {"$sum": 1}, "mean": {"$avg": "$value"}}}]


def _document(one: Reading) -> _Document:
    document = dict(one)
    document["_id"] = document.pop("id")
    return document


def _entity(document: _Document) -> Reading:
    document["id"] = document.pop("_id")
    return Reading.model_construct(**document)


class _Pymongo:
    uses = f"a pool of {POOL}, insert_many for many rows"
    returns = "pydantic model by model_construct"

    def __init__(self, collection: AsyncCollection[_Document]) -> None:
        self._collection = collection

    def ready(self, reading: Reading) -> Reading:
        return reading

    def reading(self, own: Reading) -> Reading:
        return own

    async def insert(self, own: Reading) -> None:
        await self._collection.insert_one(_document(own))

    async def insert_many(self, own: Sequence[Reading]) -> None:
        await self._collection.insert_many([_document(one) for one in own])

    async def get(self, identity: UUID) -> Reading | None:
        document = await self._collection.find_one({"_id": identity})
        return None if document is None else _entity(document)

    async def find(self, owner: UUID, limit: int) -> Sequence[Reading]:
        cursor = self._collection.find({"owner": owner}).sort("taken_at", -1).limit(limit)
        return [_entity(document) for document in await cursor.to_list()]

    async def update(self, identity: UUID, value: float, note: str) -> None:
        changes = {
            "$set": {"value": value, "note": note},
            "$inc": {"version": 1},
            "$currentDate": {"updated_at": True},
        }
        await self._collection.update_one({"_id": identity}, changes)

    async def delete(self, identity: UUID) -> None:
        await self._collection.delete_one({"_id": identity})

    async def stream(self) -> AsyncIterator[Reading]:
        async for document in self._collection.find(batch_size=BATCH):
            yield _entity(document)

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        cursor = await self._collection.aggregate(AGGREGATE)
        return {row["_id"]: (row["count"], row["mean"]) for row in await cursor.to_list()}


def client_of(url: BackendURL) -> AsyncMongoClient[_Document]:
    """Return a client whose writes are acknowledged by a majority, in its journal."""
    return AsyncMongoClient(
        text_of(url),
        uuidRepresentation="standard",
        tz_aware=True,
        maxPoolSize=POOL,
        w="majority",
        journal=True,
    )


@asynccontextmanager
async def opened(url: BackendURL) -> AsyncGenerator[_Pymongo, None]:
    """Open a client on an empty database."""
    async with client_of(url) as client:
        collection = client[url.database]["readings"]
        await collection.create_index([("owner", 1), ("taken_at", 1)])
        yield _Pymongo(collection)

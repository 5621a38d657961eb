"""What a benchmark asks of MongoDB: a collection that goes, and commands by the driver alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection

from healthstore.abc.bench import Bench, Call
from healthstore.adapters.mongo.codec import Codec, Stored
from healthstore.adapters.mongo.filters import query, sort_keys
from healthstore.adapters.mongo.session import Session
from healthstore.adapters.mongo.updates import guards, update
from healthstore.model.ops import Delete, Find, Get, Insert, Op, Patch

__all__ = ("MongoBench",)


class MongoBench(Bench[Session]):
    """The driver alone is a method of its collection, with BSON values."""

    async def drop(self, session: Session, name: str) -> None:
        """Drop the collection, with its indexes."""
        await session.database.driver.drop_collection(name)

    async def call(self, session: Session, op: Op[Any]) -> Call:
        """Return the method that the adapter would call, and its arguments."""
        collection = op.collection  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # each of these has one
        return _CALLS[type(op)](session.collection(collection.name), Codec(collection), op)


def _find(driver: AsyncCollection[Stored], codec: Codec, op: Find) -> Call:
    where, keys = query(op.where, codec), sort_keys(op.order, codec)
    return lambda: driver.find(where, sort=keys, limit=op.limit, batch_size=op.limit).to_list()


def _patch(driver: AsyncCollection[Stored], codec: Codec, op: Patch) -> Call:
    where = {"_id": op.ids[0], **guards(op, codec, None)}
    after = ReturnDocument.AFTER
    return partial(driver.find_one_and_update, where, update(op, codec), return_document=after)


_CALLS: Mapping[type[Op[Any]], Callable[[AsyncCollection[Stored], Codec, Any], Call]] = {
    Get: lambda driver, _, op: partial(driver.find_one, {"_id": op.ids[0]}),
    Find: _find,
    Insert: lambda driver, codec, op: partial(driver.insert_one, codec.encode(op.documents[0])),
    Patch: _patch,
    Delete: lambda driver, _, op: partial(driver.delete_one, {"_id": op.ids[0]}),
}

"""Emptying a store: documents go, page by page and children first; definitions stay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection as Some
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from healthstore.abc.backend import Backend
from healthstore.errors import ForeignKeyError
from healthstore.model.ops import CountDocuments, Delete, Ensure, Find, Op, Patch
from healthstore.model.query import ALL, Filter, Operator, Test
from healthstore.model.requests import REQUESTS
from healthstore.model.schema import Collection, parents_first
from healthstore.model.values import Document
from healthstore.transfer.filling import emptied, mark_of
from healthstore.transfer.selection import Collections, catalog, choose_from, remembers

__all__ = ("ClearReport", "clear", "remove_all", "require_removable")

_PAGE = 1_000
_TOGETHER = 20


@dataclass(frozen=True, slots=True)
class ClearReport:
    """What was emptied: the number of documents that each collection had."""

    target: str
    collections: Mapping[str, int]
    seconds: float

    @property
    def rows(self) -> int:
        """The number of documents that were removed."""
        return sum(self.collections.values())


async def clear(target: Backend, collections: Collections = None) -> ClearReport:
    """Remove every document of some collections, or of all that the store's catalog knows.

    Their definitions stay, and so does the catalog. Documents go in batches: what ends this
    half-way leaves the rest, and the next call goes on. A store that a transfer has left half
    full is no longer marked when all that the transfer filled is empty.

    Raises ConfigurationError for an unknown collection, and ForeignKeyError, before anything is
    removed, if documents of another collection refer to one of these.
    """
    started = time.perf_counter()
    known = await catalog(target)
    chosen = parents_first(known.values())
    if collections is not None:
        names = [each if isinstance(each, str) else each.name for each in collections]
        chosen = choose_from(known, names, target.name)
    if await mark_of(target) is not None:
        await target.execute(Ensure(tuple(known.values())))  # completes what is half-made
    await require_removable(target, known, {each.name for each in chosen})
    counts = {each.name: await target.execute(CountDocuments(each)) for each in chosen}
    await remove_all(target, chosen)
    await _forget(target, tuple(counts))
    await emptied(target, None if collections is None else counts)
    return ClearReport(target.name, counts, time.perf_counter() - started)


async def _forget(target: Backend, names: tuple[str, ...]) -> None:
    """Forget the requests that added documents of these collections: they may be made again."""
    if not await remembers(target):
        return
    theirs = Test("collection", Operator.IN, names)
    while found := await target.execute(Find(REQUESTS, theirs, limit=_PAGE)):
        await _all(target, [Delete(REQUESTS, ids) for ids in _parts(target, found)])


async def require_removable(
    target: Backend, known: Mapping[str, Collection], names: Some[str]
) -> None:
    """Raise ForeignKeyError if documents of other collections refer to these."""
    kept = [each for each in known.values() if each.name not in names]
    leading = [
        (each, ref.field) for each in kept for ref in each.references if ref.collection in names
    ]
    for each, field in leading:
        if await target.execute(Find(each, Test(field, Operator.NOT_NULL), limit=1)):
            raise ForeignKeyError(
                f"documents of {each.name} refer to what is to be removed",
                hint=f"nothing was removed; clear {each.name}, too",
                entity=each.entity,
                field=field,
                backend=target.name,
            )


async def remove_all(target: Backend, collections: Sequence[Collection]) -> None:
    """Remove every document of collections, parents first, to which no other ones refer."""
    for place, each in enumerate(collections):
        await _detach(target, each, {later.name for later in collections[place:]})
    for each in reversed(collections):
        while found := await target.execute(Find(each, limit=_PAGE)):
            parts = _parts(target, found)
            # What refers to them has gone before.
            await _all(target, [Delete(each, ids, checked_references=False) for ids in parts])


def _parts(target: Backend, rows: Sequence[Document]) -> list[tuple[UUID, ...]]:
    """Return the ids of documents, in parts that one operation may change."""
    ids = [cast(UUID, row["id"]) for row in rows]
    return [tuple(ids)] if target.capabilities.transactions else [(each,) for each in ids]


async def _all(target: Backend, operations: Sequence[Op[object]]) -> None:
    """Run operations, some at a time."""
    for start in range(0, len(operations), _TOGETHER):
        together = operations[start : start + _TOGETHER]
        await asyncio.gather(*(target.execute(each) for each in together))


async def _detach(target: Backend, collection: Collection, names: Iterable[str]) -> None:
    """Take away the references that are in the way when a collection's documents go page by page.

    ``names`` are of the collection itself and of those that are emptied before it. A document
    that must refer to one of its own collection refers to itself.
    """
    fields = [each.field for each in collection.references if each.collection in names]
    optional = tuple((field, None) for field in fields if collection.nullable(field))
    required = [field for field in fields if not collection.nullable(field)]
    where: Filter = ALL
    while fields and target.capabilities.references:
        rows = await target.execute(Find(collection, where, limit=_PAGE))
        if not rows:
            return
        where = Test("id", Operator.GT, rows[-1]["id"])
        if optional:
            await _all(target, [Patch(collection, ids, optional) for ids in _parts(target, rows)])
        if required:
            ids = [cast(UUID, row["id"]) for row in rows]
            owns = [tuple((field, each) for field in required) for each in ids]
            pairs = zip(ids, owns, strict=True)
            await _all(target, [Patch(collection, (each,), own) for each, own in pairs])

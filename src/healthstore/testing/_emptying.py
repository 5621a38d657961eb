"""Emptying a store of tests: its collections stay, its documents and a transfer's mark go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import ClassVar, TypeVar, cast
from uuid import UUID

from healthstore.abc import Backend, Layer
from healthstore.layers.guard import GuardLayer
from healthstore.model.catalog import CATALOG, from_definition
from healthstore.model.filling import collections_only
from healthstore.model.ops import Batch, Delete, Ensure, Find, Op, Patch
from healthstore.model.schema import Collection, parents_first
from healthstore.model.values import Value
from healthstore.transfer.filling import emptied

__all__ = ("TouchLayer", "clear", "known_collections")

R = TypeVar("R")


def _named(op: object) -> Iterator[Collection]:
    """Yield the collections that an operation names."""
    if isinstance(op, Ensure):
        yield from op.collections
    elif isinstance(op, Batch):
        for each in op.operations:
            yield from _named(each)
    elif (collection := getattr(op, "collection", None)) is not None:
        yield cast(Collection, collection)


class TouchLayer(Layer):
    """Notes the collections that operations name, so that only these must be emptied."""

    rank: ClassVar[int] = 99
    part_of_store: ClassVar[bool] = True

    def __init__(self, inner: Backend, touched: set[Collection] | None = None) -> None:
        super().__init__(inner)
        self.touched = set[Collection]() if touched is None else touched

    async def execute(self, op: Op[R]) -> R:
        """Note the collections, and run the operation."""
        self.touched.update(_named(op))
        return await self.inner.execute(op)


async def known_collections(store: Backend) -> tuple[Collection, ...]:
    """Return the collections that a store's catalog describes."""
    await store.execute(Ensure(()))
    rows = await store.execute(Find(CATALOG, limit=10_000))
    return tuple(from_definition(row["definition"]) for row in collections_only(rows))


async def clear(backend: Backend, collections: Iterable[Collection] | None = None) -> None:
    """Remove every document of some collections, or of all that the store's catalog knows.

    The collections stay: making them again is what takes time on a server. This goes below the
    guard, which would refuse what a test put there below it; the mark of a transfer that filled
    the store goes, too.
    """
    known = {each.name: each for each in await known_collections(backend)}
    wanted = known if collections is None else {each.name for each in collections} & known.keys()
    page = 1_000 if backend.capabilities.transactions else 1
    ordered = parents_first(known[name] for name in wanted)
    for place, collection in enumerate(ordered):
        await _detach(GuardLayer(backend), collection, {each.name for each in ordered[place:]})
    for collection in reversed(ordered):
        while found := await backend.execute(Find(collection, limit=1_000)):
            ids = [cast(UUID, row["id"]) for row in found]
            parts = (ids[start : start + page] for start in range(0, len(ids), page))
            # What refers to them has gone before.
            deletions = [
                Delete(collection, tuple(part), checked_references=False) for part in parts
            ]
            for start in range(0, len(deletions), 20):
                several = deletions[start : start + 20]
                await asyncio.gather(*(backend.execute(each) for each in several))
    await emptied(backend, None if collections is None else known.keys() & wanted)


async def _detach(store: Backend, collection: Collection, targets: Iterable[str]) -> None:
    """Take away the references that are in the way when a collection's documents go page by page.

    ``targets`` are the collection itself and those that are emptied before it. A document that
    must refer to one of its own collection refers to itself.
    """
    fields = [each.field for each in collection.references if each.collection in targets]
    optional = tuple((field, None) for field in fields if collection.nullable(field))
    required = [field for field in fields if not collection.nullable(field)]
    position: tuple[Value, ...] | None = None
    while fields and store.capabilities.references:
        rows = await store.execute(Find(collection, limit=1_000, after=position))
        if not rows:
            return
        ids = tuple(cast(UUID, row["id"]) for row in rows)
        position = ids[-1:]
        if optional:
            await store.execute(Patch(collection, ids, optional))
        for identity in ids if required else ():
            own = tuple((field, identity) for field in required)
            await store.execute(Patch(collection, (identity,), own))

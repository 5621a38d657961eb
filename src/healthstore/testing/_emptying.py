"""Emptying a store of tests: its collections stay, its documents and a transfer's mark go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar, TypeVar, cast

from healthstore.abc import Backend, Layer
from healthstore.errors import ForeignKeyError
from healthstore.model.catalog import CATALOG, from_definition
from healthstore.model.filling import collections_only
from healthstore.model.ops import Batch, Drop, Ensure, Find, Op
from healthstore.model.query import ALL, F, normalise
from healthstore.model.schema import Collection, parents_first
from healthstore.transfer.clear import remove_all
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

    rank: ClassVar[int] = 112
    part_of_store: ClassVar[bool] = True

    def __init__(self, inner: Backend, touched: set[Collection] | None = None) -> None:
        super().__init__(inner)
        self.touched = set[Collection]() if touched is None else touched

    async def execute(self, op: Op[R]) -> R:
        """Note the collections, and run the operation."""
        self.touched.update(_named(op))
        return await self.inner.execute(op)


async def known_collections(
    store: Backend, names: Iterable[str] | None = None
) -> tuple[Collection, ...]:
    """Return the collections that a store's catalog describes, or those of them with these names."""
    await store.execute(Ensure(()))
    where = ALL if names is None else normalise(F.name.in_(sorted(names)), CATALOG.nullable)
    rows = await store.execute(Find(CATALOG, where, limit=10_000))
    return tuple(from_definition(row["definition"]) for row in collections_only(rows))


async def clear(backend: Backend, collections: Iterable[Collection] | None = None) -> None:
    """Remove every document of some collections, or of all that the store's catalog knows.

    The collections stay: making them again is what takes time on a server. But those that a test
    of the contract has made for itself are dropped: whoever reads the catalog would read them all.
    This goes below the guard, which would refuse what a test put there below it; the mark of a
    transfer that filled the store goes, too.
    """
    # Of a long catalog reading the rest would take longer than the test.
    names = None if collections is None else {each.name for each in collections}
    known = {each.name: each for each in await known_collections(backend, names)}
    wanted = known.keys()
    dropped = await _dropped(backend, [known[name] for name in wanted if _MADE.fullmatch(name)])
    kept = parents_first(known[name] for name in wanted if name not in dropped)
    await remove_all(backend, kept)
    await emptied(backend, None if collections is None else wanted)


_MADE = re.compile(r"made_[0-9a-f]{12}")


async def _dropped(backend: Backend, made: Iterable[Collection]) -> set[str]:
    """Drop collections to which no other one refers; return their names."""
    dropped: set[str] = set()
    if not backend.capabilities.alters:
        return dropped
    for each in reversed(parents_first(made)):
        try:
            await backend.execute(Drop(each))
        except ForeignKeyError:
            continue
        dropped.add(each.name)
    return dropped

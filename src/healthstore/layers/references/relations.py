"""What refers to what in a store, as its catalog says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from healthstore.abc.backend import Executor
from healthstore.model.catalog import CATALOG, from_definition
from healthstore.model.filling import collections_only
from healthstore.model.ops import Find
from healthstore.model.query import ALL, Filter, Operator, Test
from healthstore.model.schema import Collection, Reference, parents_first

__all__ = ("Referrer", "Relations", "own_references", "read_relations")

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Referrer:
    """A reference, and the collection that has it."""

    collection: Collection
    reference: Reference


class Relations:
    """The references between the collections of one store."""

    def __init__(self, collections: Iterable[Collection] = ()) -> None:
        ordered = parents_first(collections)
        self._places: Mapping[str, int] = {each.name: at for at, each in enumerate(ordered)}
        self._referrers: dict[str, tuple[Referrer, ...]] = {}
        for each in ordered:
            for reference in each.references:
                found = self._referrers.get(reference.collection, ())
                self._referrers[reference.collection] = (*found, Referrer(each, reference))

    def to(self, name: str) -> tuple[Referrer, ...]:
        """Return what refers to a collection."""
        return self._referrers.get(name, ())

    def left_to_the_database(self, collection: Collection) -> bool:
        """Tell whether a plain delete does all: nothing else can change, and nothing go with it."""
        return all(
            each.reference.on_delete == "restrict" and each.collection.name != collection.name
            for each in self.to(collection.name)
        )

    def children_first(self, collections: Iterable[Collection]) -> list[Collection]:
        """Return collections so that each comes before those that it refers to, but later ones."""
        return sorted(collections, key=lambda one: self._places.get(one.name, -1), reverse=True)

    def later(self, collection: Collection) -> tuple[Reference, ...]:
        """Return the references, all of them optional, to collections that come after this one."""
        place = self._places.get(collection.name, -1)
        return tuple(
            each for each in collection.references if self._places.get(each.collection, -1) > place
        )


def own_references(collection: Collection) -> tuple[Reference, ...]:
    """Return the references of a collection to itself."""
    return tuple(each for each in collection.references if each.collection == collection.name)


async def read_relations(executor: Executor) -> Relations:
    """Read the catalog of a store."""
    collections: list[Collection] = []
    where: Filter = ALL
    while True:
        rows = await executor.execute(Find(CATALOG, where, limit=_PAGE))
        collections.extend(from_definition(row["definition"]) for row in collections_only(rows))
        if len(rows) < _PAGE:
            return Relations(collections)
        where = Test("id", Operator.GT, rows[-1]["id"])

"""What a function of a ``Run`` gets: the documents of a store, as they are at its place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar, cast
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.entity import uuid7
from healthstore.errors import ConfigurationError, NotFoundError
from healthstore.model.ops import CountDocuments, Delete, Find, Get, Insert, Replace
from healthstore.model.query import ALL, Filter, Operator, Test
from healthstore.model.schema import Collection
from healthstore.model.values import Document

__all__ = ("Documents",)

T = TypeVar("T")
_PAGE = 500


class Documents:
    """Reads and writes documents by the names of collections and fields, in one unit.

    A document is a dict of Python's values. What is read is what was written before, also here.
    """

    def __init__(self, unit: Executor, state: Mapping[str, Collection]) -> None:
        self._unit = unit
        self._state = state

    async def rows(self, collection: str, where: Filter = ALL) -> AsyncIterator[Document]:
        """Yield the documents that satisfy a filter, by id, read in pages of 500."""
        known, after = self._known(collection), None
        while True:
            there = where if after is None else where & Test("id", Operator.GT, after)
            page = await self._unit.execute(Find(known, there, limit=_PAGE))
            for each in page:
                yield each
            if len(page) < _PAGE:
                return
            after = cast(UUID, page[-1]["id"])

    async def count(self, collection: str, where: Filter = ALL) -> int:
        """Return how many documents satisfy a filter."""
        return await self._unit.execute(CountDocuments(self._known(collection), where))

    async def add(self, collection: str, *rows: Document) -> list[UUID]:
        """Add documents; return their ids.

        Each gets what it lacks: an id, the version 1, the default of a field that has one, and
        null. Raises what adding raises, DuplicateKeyError and so on.
        """
        known = self._known(collection)
        given: Document = {each.name: each.default for each in known.fields}
        made = [{**given, "id": uuid7(), "version": 1, **row} for row in rows]
        for part in self._parts(made):
            await self._unit.execute(Insert(known, tuple(part)))
        return [cast(UUID, each["id"]) for each in made]

    async def replace(self, collection: str, *rows: Document) -> None:
        """Put documents, as they were read and then changed, in the place of those of their ids.

        Raises StaleVersionError if one has been changed since, NotFoundError if it is gone.
        """
        known = self._known(collection)
        for part in self._parts(rows):
            versions = tuple(cast(int, each["version"]) for each in part)
            raised = tuple(
                {**each, "version": version + 1}
                for each, version in zip(part, versions, strict=True)
            )
            done = await self._unit.execute(Replace(known, raised, versions))
            if not all(done):
                raise NotFoundError(
                    "a document that is to be replaced is not there",
                    hint="replace what rows() gave, or add it",
                    entity=known.entity,
                )

    async def delete(self, collection: str, *ids: UUID) -> int:
        """Remove documents by id, with what refers to them as it says; return how many there were."""
        known = self._known(collection)
        done = [await self._unit.execute(Delete(known, tuple(part))) for part in self._parts(ids)]
        return sum(map(sum, done))

    async def get(self, collection: str, identity: UUID) -> Document | None:
        """Return the document of an id, or None."""
        (found,) = await self._unit.execute(Get(self._known(collection), (identity,)))
        return found

    def _parts(self, items: Sequence[T]) -> list[Sequence[T]]:
        """Return what is written at once: all of it, or one by one without transactions."""
        if self._unit.capabilities.transactions:
            return [items] if items else []
        return [[each] for each in items]

    def _known(self, name: str) -> Collection:
        found = self._state.get(name)
        if found is None:
            raise ConfigurationError(
                f"there is no collection {name!r} at this place of the migrations",
                hint=f"known: {', '.join(sorted(self._state)) or 'none'}",
            )
        return found

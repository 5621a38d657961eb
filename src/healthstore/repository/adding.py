"""Many new objects, each stored by itself: whole parts where all is well, and what is wrong alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeAlias, TypeVar, cast
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.entity import Entity, to_document, to_documents
from healthstore.errors import (
    ForeignKeyError,
    HealthstoreError,
    IntegrityError,
    InvalidRequestError,
    Outcome,
    RefusedValueError,
    SerializationError,
)
from healthstore.model.evaluate import duplicate_key
from healthstore.model.ops import Get, Insert
from healthstore.model.schema import Collection
from healthstore.model.values import Document
from healthstore.repository.upserts_of_many import require_once

__all__ = ("AddedMany", "Adding", "Refusal", "no_items")

M = TypeVar("M", bound=Entity)

_Placed: TypeAlias = tuple[int, Document]

_TOGETHER = 1_000  # documents of one request


class Refusal(NamedTuple):
    """One of several that were given together, by its position from 0, and why it is not stored."""

    position: int
    error: HealthstoreError


@dataclass(frozen=True, slots=True)
class AddedMany:
    """How many objects were stored, and which were not, in their order."""

    stored: int
    errors: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Adding(Generic[M]):
    """What a repository adds item by item."""

    entity: type[M]
    executor: Executor
    collection: Collection

    async def best_effort(self, entities: Sequence[M]) -> AddedMany:
        """Store each entity that can be; say of each other one why it is not."""
        refused: list[Refusal] = []
        waiting = self._documents(entities, refused)
        require_once(self.collection, ("id",), [each for _, each in waiting])
        stored = 0
        try:
            for start in range(0, len(waiting), _TOGETHER):
                stored += await self._stored(waiting[start : start + _TOGETHER], refused)
            stored += await self._stored_later(dict(waiting), refused)
        except HealthstoreError as error:
            if stored or refused:
                error.outcome = Outcome.UNKNOWN  # others are stored
            raise
        return AddedMany(stored, tuple(sorted(refused, key=lambda each: each.position)))

    def _documents(self, entities: Sequence[M], refused: list[Refusal]) -> list[_Placed]:
        """Return the documents of those entities of which each value can be kept."""
        try:
            return list(enumerate(to_documents(entities)))
        except HealthstoreError:
            pass
        documents: list[_Placed] = []
        for place, each in enumerate(entities):
            try:
                documents.append((place, to_document(each)))
            except HealthstoreError as error:
                refused.append(self._refusal(place, error))
        return documents

    async def _stored(self, waiting: Sequence[_Placed], refused: list[Refusal]) -> int:
        """Store documents, as many at once as it goes; return how many are stored then."""
        stored = 0
        if not self.executor.capabilities.transactions and len(waiting) > 1:
            waiting = await self._new(waiting, refused)
        size = len(waiting)
        while waiting:
            part, waiting = waiting[:size], waiting[size:]
            try:
                stored += await self._insert([each for _, each in part])
            except (IntegrityError, RefusedValueError, SerializationError) as error:
                left, wrong = await self._left(part, error)
                stored += len(part) - len(left)
                if wrong is not None:
                    refused.append(self._refusal(part[wrong][0], error))
                    left = [each for each in left if each[0] != part[wrong][0]]
                elif len(part) == 1:
                    raise  # nothing is wrong with it
                size = max(1, wrong or size // 2)
                waiting = [*left, *waiting]
            else:
                size = min(2 * size, _TOGETHER)
        return stored

    async def _insert(self, documents: Sequence[Document]) -> int:
        atomic = self.executor.capabilities.transactions
        op = Insert(self.collection, tuple(documents), atomic=atomic, canonical=True)
        return await self.executor.execute(op)

    async def _left(
        self, part: Sequence[_Placed], error: HealthstoreError
    ) -> tuple[list[_Placed], int | None]:
        """Return what of a part is not stored, and at which place of it the error is, if that is told."""
        if len(part) == 1:
            return list(part), None if isinstance(error, SerializationError) else 0
        if self.executor.capabilities.transactions:
            return list(part), error.index
        there = await self._there(part)
        left = [each for each in part if each[1]["id"] not in there]
        told = error.index is not None and part[error.index][1]["id"] not in there
        return left, error.index if told else None

    async def _new(self, waiting: Sequence[_Placed], refused: list[Refusal]) -> list[_Placed]:
        """Return the documents whose ids are not stored.

        Without transactions, what is stored after an error is what was written before it.
        """
        there = await self._there(waiting)
        for place, each in waiting:
            if each["id"] in there:
                refused.append(self._refusal(place, duplicate_key(self.collection, ("id",))))
        return [each for each in waiting if each[1]["id"] not in there]

    async def _there(self, part: Sequence[_Placed]) -> set[object]:
        ids = tuple(cast(UUID, each["id"]) for _, each in part)
        rows = await self.executor.execute(Get(self.collection, ids))
        return {cast(UUID, row["id"]) for row in rows if row is not None}

    async def _stored_later(self, documents: dict[int, Document], refused: list[Refusal]) -> int:
        """Store what refers to others of the request that came after it."""
        stored = 0
        if not any(each.collection == self.collection.name for each in self.collection.references):
            return stored
        while orphans := [each for each in refused if isinstance(each.error, ForeignKeyError)]:
            for each in orphans:
                refused.remove(each)
            again = [(each.position, documents[each.position]) for each in orphans]
            added = await self._stored(again, refused)
            if not added:
                break
            stored += added
        return stored

    def _refusal(self, place: int, error: HealthstoreError) -> Refusal:
        error.index = place
        error.outcome = Outcome.NOT_APPLIED
        return Refusal(place, error.at(entity=self.collection.entity, backend=self.executor.name))


def no_items(collection: Collection) -> InvalidRequestError:
    """Return the error for what goes on after an error where nothing can."""
    return InvalidRequestError(
        "an error ends a unit: nothing can be stored item by item in it",
        hint="add all or none there, or begin no unit",
        entity=collection.entity,
    )

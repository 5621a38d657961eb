"""Writes that take several steps: a validated change, and add-or-replace by a key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import random
from typing import Generic, TypeVar, cast
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.entity import (
    Entity,
    as_stored,
    canonical_value,
    computed_anew,
    computed_fields,
    from_document,
    from_written,
    is_validated,
    other_than_computed,
    to_document,
)
from healthstore.errors import (
    ConflictError,
    DuplicateKeyError,
    HealthstoreError,
    InvalidRequestError,
    NotFoundError,
    RefusedValueError,
    StaleVersionError,
)
from healthstore.layers.guard import check
from healthstore.model.evaluate import check_version, patched, with_parts
from healthstore.model.ops import Find, Get, Insert, Patch, Replace
from healthstore.model.query import And, Operator, Test
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value
from healthstore.repository.changes import Change, truncated_instant

__all__ = ("LIBRARY_FIELDS", "Writes")

M = TypeVar("M", bound=Entity)

LIBRARY_FIELDS = frozenset({"id", "created_at", "updated_at", "version"})
"""What the library keeps itself; a change through the repository would be lost or would lie."""
_PAUSE = 0.005  # seconds, at most, before another attempt of an upsert


@dataclass(frozen=True, slots=True)
class Writes(Generic[M]):
    """What a repository writes in steps, guarded by the version that was read."""

    entity: type[M]
    executor: Executor
    collection: Collection
    attempts: int
    clock: Callable[[], datetime]

    async def patch(self, identity: UUID, change: Change, version: int | None) -> M:
        """Change an entity and return it as it is afterwards."""
        if change.parts or is_validated(self.entity, change.computed):
            return await self._patch_validated(identity, change, version)
        sets = self._sets(change, self.clock())
        op = Patch(
            self.collection,
            (identity,),
            tuple(sets.items()),
            (*change.increments.items(), ("version", 1)),
            None if version is None else (version,),
            # Whether a field may be null, and what can be added to it, is left to the guard.
            canonical=not change.increments and None not in sets.values(),
            at_least=tuple(change.at_least.items()),
            at_most=tuple(change.at_most.items()),
        )
        return await self._patched(op)

    def _sets(self, change: Change, now: datetime) -> dict[str, Value]:
        """Return the values that are set, the time of the write among them."""
        instants = {
            name: truncated_instant(self.entity, name, now)
            for name in (*change.instants, "updated_at")
        }
        return {**change.sets, **instants}

    async def _patched(self, op: Patch) -> M:
        (document,) = await self.executor.execute(op)
        if document is None:
            raise self._not_found(op.ids[0])
        return from_document(self.entity, document)

    async def _patch_validated(self, identity: UUID, change: Change, version: int | None) -> M:
        """Write what operators, paths and the entity's validators make of the stored document."""
        op = Patch(
            self.collection,
            (identity,),
            increments=(*change.increments.items(), ("version", 1)),
            at_least=tuple(change.at_least.items()),
            at_most=tuple(change.at_most.items()),
        )
        plan = cast(Patch, check(op, self.executor))
        named = {*change.sets, *change.computed, *(each.field for each in change.parts)}
        for attempt in range(self.attempts):
            (stored,) = await self.executor.execute(Get(self.collection, (identity,)))
            if stored is None:
                raise self._not_found(identity)
            try:
                check_version(self.collection, stored, identity, version)
                parts = with_parts(self.collection, stored, change.parts)
                changed = {**self._sets(change, self.clock()), **parts}
                planned = {**patched(plan, stored), **changed}
                document = self._made(planned)
                for name in computed_fields(self.entity) & named:
                    if document[name] != planned[name]:
                        raise other_than_computed(self.entity, name)
            except HealthstoreError as error:
                raise error.at(backend=self.executor.name) from None
            written = tuple(
                (name, value)
                for name, value in document.items()
                if name in changed or value != stored[name]
            )
            try:
                return await self._patched(
                    Patch(
                        self.collection,
                        (identity,),
                        written,
                        versions=(cast(int, stored["version"]),),
                        canonical=True,
                    )
                )
            except StaleVersionError:
                if version is not None or attempt + 1 == self.attempts:
                    raise
                # Somebody else was first: validate against what is there now.
        raise self._too_many()

    def _made(self, planned: Document) -> Document:
        """Return the document of what the entity's validators make of a planned one."""
        made = to_document(computed_anew(self.entity, planned))
        for name in ("id", "version"):
            if made[name] != planned[name]:
                raise RefusedValueError(
                    "is changed by the entity's validators",
                    hint="leave it to the library",
                    entity=self.collection.entity,
                    field=name,
                )
        return made

    async def upsert(self, entity: M, key: tuple[str, ...], add: tuple[str, ...] = ()) -> M:
        """Add the entity, or give its values to the one that has the same key.

        Those of the fields in ``add`` are added to what is stored.
        """
        document = to_document(entity)
        self._require_key(key, document)
        self._require_addends(key, add, document)
        for _ in range(self.attempts):
            stored = await self._by_key(key, document)
            try:
                if stored is None:
                    await self.executor.execute(Insert(self.collection, (document,)))
                    return as_stored(entity, document)
                merged = self._merged(stored, document, add)
                versions = (cast(int, stored["version"]),)
                op = Replace(self.collection, (merged,), versions, canonical=True)
                if (await self.executor.execute(op))[0]:
                    return from_written(self.entity, merged)
            except DuplicateKeyError as error:
                # The key was taken between the two steps; any other clash is the caller's.
                if stored is not None or set(error.fields) != set(key) or self.attempts == 1:
                    raise
            except StaleVersionError:
                if self.attempts == 1:
                    raise
            await asyncio.sleep(random() * _PAUSE)  # noqa: S311 - only spreads rivals over time
        raise self._too_many()

    def _require_key(self, key: tuple[str, ...], document: Document) -> None:
        if not key:
            raise InvalidRequestError(
                "upsert has no key to look for",
                hint="name the fields of a unique key, or leave `on` away: it is the id",
                entity=self.collection.entity,
            )
        # A key that ignores case is no place to look: who gives another case means another text.
        # Nor is one that binds some documents only: several others may have the same values.
        plain = (
            each for each in self.collection.uniques if not each.ignore_case and each.where is None
        )
        keys = {("id",), *(tuple(sorted(each.fields)) for each in plain)}
        for name in key:
            self.collection.field(name)
        if tuple(sorted(key)) not in keys:
            raise InvalidRequestError(
                f"{', '.join(key)} is no unique key",
                hint="upsert on id, or declare the fields Unique",
                entity=self.collection.entity,
            )
        for name in key:
            if document[name] is None:
                raise InvalidRequestError(
                    "upsert needs a value in each field of the key",
                    hint="give it one, or use add: a key with None in it is never taken",
                    entity=self.collection.entity,
                    field=name,
                )

    def _require_addends(
        self, key: tuple[str, ...], add: tuple[str, ...], document: Document
    ) -> None:
        """Refuse to add what is no number, or stands for something else."""
        for name in add:
            field = self.collection.field(name)
            kept = {*key, *LIBRARY_FIELDS, *computed_fields(self.entity)}
            if name in kept or add.count(name) > 1:
                raise InvalidRequestError(
                    "is of the key, kept by the library, computed, or named twice: "
                    "it cannot be added to",
                    hint="name other fields in `add`, each once",
                    entity=self.collection.entity,
                    field=name,
                )
            if not field.type.numeric:
                raise InvalidRequestError(
                    "is no number and cannot be added to",
                    hint="leave it out of `add`: its value is set then",
                    entity=self.collection.entity,
                    field=name,
                )
            if document[name] is None:
                raise InvalidRequestError(
                    "has no value that could be added",
                    hint="give it a number, or leave it out of `add`",
                    entity=self.collection.entity,
                    field=name,
                )

    async def _by_key(self, key: tuple[str, ...], document: Document) -> Document | None:
        where = And(tuple(Test(name, Operator.EQ, document[name]) for name in key))
        found = await self.executor.execute(Find(self.collection, where, limit=1))
        return found[0] if found else None

    def _merged(self, stored: Document, document: Document, add: tuple[str, ...]) -> Document:
        merged: Document = {
            **document,
            **self._sums(stored, document, add),
            "id": stored["id"],
            "created_at": stored["created_at"],
            "updated_at": self._now(),
            "version": cast(int, stored["version"]) + 1,
        }
        return self._made(merged) if is_validated(self.entity, ()) else merged

    def _sums(self, stored: Document, document: Document, add: tuple[str, ...]) -> Document:
        """Return what the fields of ``add`` hold when a document's are added to the stored ones."""
        steps = tuple((name, document[name]) for name in add)
        op = Patch(self.collection, (cast(UUID, stored["id"]),), increments=steps)
        try:
            after = patched(op, stored)
        except HealthstoreError as error:
            raise error.at(backend=self.executor.name) from None
        return {name: after[name] for name in add}

    def _now(self) -> Value:
        """Return the time of a write; the clock may be in any zone."""
        return canonical_value(self.entity, "updated_at", self.clock())

    def _not_found(self, identity: UUID) -> NotFoundError:
        return NotFoundError(
            f"there is no document {identity}",
            hint="it was deleted, or the id belongs to another collection",
            entity=self.collection.entity,
            backend=self.executor.name,
        )

    def _too_many(self) -> ConflictError:
        return ConflictError(
            f"the document changed {self.attempts} times during one call",
            hint="try again later",
            entity=self.collection.entity,
        )

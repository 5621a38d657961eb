"""Writes that take several steps: a change that the entity's validators see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar, cast
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.entity import (
    Entity,
    canonical_value,
    computed_anew,
    computed_fields,
    from_document,
    is_validated,
    other_than_computed,
    to_document,
)
from healthstore.errors import (
    ConflictError,
    HealthstoreError,
    NotFoundError,
    RefusedValueError,
    StaleVersionError,
)
from healthstore.layers.guard import check
from healthstore.model.evaluate import check_version, patched, with_parts
from healthstore.model.ops import Get, Patch
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value
from healthstore.repository.changes import Change, truncated_instant

__all__ = ("LIBRARY_FIELDS", "Writes")

M = TypeVar("M", bound=Entity)

LIBRARY_FIELDS = frozenset({"id", "created_at", "updated_at", "version"})
"""What the library keeps itself; a change through the repository would be lost or would lie."""


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
        if self.computes(change):
            return await self._patch_computed(identity, change, version)
        sets = self.sets(change)
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

    def computes(self, change: Change) -> bool:
        """Tell whether what a change makes of a document depends on what else is in it."""
        return bool(change.parts) or is_validated(self.entity, change.computed)

    def sets(self, change: Change) -> dict[str, Value]:
        """Return the values that are set, the time of the write among them."""
        now = self.clock()
        instants = {
            name: truncated_instant(self.entity, name, now)
            for name in (*change.instants, "updated_at")
        }
        return {**change.sets, **instants}

    async def _patched(self, op: Patch) -> M:
        (document,) = await self.executor.execute(op)
        if document is None:
            raise self.not_found(op.ids[0])
        return from_document(self.entity, document)

    def plan(self, identity: UUID, change: Change) -> Patch:
        """Return the part of a change that is arithmetic, checked; the version rises by it."""
        op = Patch(
            self.collection,
            (identity,),
            increments=(*change.increments.items(), ("version", 1)),
            at_least=tuple(change.at_least.items()),
            at_most=tuple(change.at_most.items()),
        )
        return cast(Patch, check(op, self.executor))

    def changed(self, plan: Patch, change: Change, stored: Document) -> tuple[Document, set[str]]:
        """Return what a change makes of a document, and the fields that it sets.

        Operators, paths and the entity's validators have done their part.
        """
        try:
            parts = with_parts(self.collection, stored, change.parts)
            named = {**self.sets(change), **parts}
            planned = {**patched(plan, stored), **named}
            document = self.made(planned) if self.computes(change) else planned
            given = {*change.sets, *change.computed, *parts}
            for name in computed_fields(self.entity) & given:
                if document[name] != planned[name]:
                    raise other_than_computed(self.entity, name)
        except HealthstoreError as error:
            raise error.at(backend=self.executor.name) from None
        return document, set(named)

    async def _patch_computed(self, identity: UUID, change: Change, version: int | None) -> M:
        """Write what becomes of the stored document, under its version."""
        plan = self.plan(identity, change)
        for attempt in range(self.attempts):
            (stored,) = await self.executor.execute(Get(self.collection, (identity,)))
            if stored is None:
                raise self.not_found(identity)
            try:
                check_version(self.collection, stored, identity, version)
            except HealthstoreError as error:
                raise error.at(backend=self.executor.name) from None
            document, named = self.changed(plan, change, stored)
            written = tuple(
                (name, value)
                for name, value in document.items()
                if name in named or value != stored[name]
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

    def made(self, planned: Document) -> Document:
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

    def now(self) -> Value:
        """Return the time of a write; the clock may be in any zone."""
        return canonical_value(self.entity, "updated_at", self.clock())

    def not_found(self, identity: UUID) -> NotFoundError:
        """Return the error for an id that is not there."""
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

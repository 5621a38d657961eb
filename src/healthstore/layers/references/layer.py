"""The layer itself: which operations are turned into several, and in which unit they run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar, TypeVar, cast

from healthstore.abc.backend import Backend, Executor, Unit, UnitOptions
from healthstore.abc.layer import Layer, LayeredUnit
from healthstore.errors import (
    Condition,
    ConfigurationError,
    ForeignKeyError,
    HealthstoreError,
    Outcome,
    SchemaMismatchError,
    SerializationError,
    UnavailableError,
)
from healthstore.layers.references.arrangement import arranged
from healthstore.layers.references.relations import (
    Relations,
    own_references,
    read_relations,
)
from healthstore.layers.references.removal import Removal, named_by
from healthstore.model.ops import (
    Alter,
    Batch,
    Delete,
    DeleteWhere,
    Drop,
    Ensure,
    Insert,
    Op,
    Rename,
    Replace,
)
from healthstore.model.schema import Collection

__all__ = ("ReferencesLayer",)

R = TypeVar("R")

_SECONDS = 30.0  # for a delete with all that follows from it, where nothing else is said
_ATTEMPTS = 5
_PAUSE = 0.01  # seconds


class ReferencesLayer(Layer):
    """Turns a delete into plain operations on all that refers to it, in one unit.

    Documents of one insert that refer to each other are put in order. What refers to what is
    read from the store's catalog, once for each member. ``seconds`` says how long a call may
    take that needs a unit of its own; ``unit`` is the one over which the layer lies, if it does.
    """

    rank: ClassVar[int] = 40

    def __init__(self, inner: Backend, *, seconds: Callable[[], float] = lambda: _SECONDS) -> None:
        super().__init__(inner)
        self._seconds = seconds
        self.unit: Unit | None = None
        # By member; shared with the units.
        self._relations: dict[str, Relations] = {}

    def execute(self, op: Op[R]) -> Coroutine[Any, Any, R]:
        """Run the operation below, or those that it stands for."""
        handle = self._handlers.get(type(op))
        if handle is None:
            return self.inner.execute(op)
        # The table pairs each operation with its method; the type checker cannot see that.
        return cast("Coroutine[Any, Any, R]", handle(self, op))

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a unit below, with this layer over it unless it only reads."""
        unit = await self.inner.begin(options)
        return unit if options.read_only else LayeredUnit(self.over(unit), unit)

    def over(self, unit: Unit) -> Executor:
        """Return this layer laid over a unit: there all operations of a call are kept together."""
        laid = cast(ReferencesLayer, super().over(unit))
        laid.unit = unit
        return laid

    async def _change(self, op: Op[R]) -> R:
        """Forget what is known: other collections may refer to those that were there."""
        try:
            return await self.inner.execute(op)
        finally:
            self._relations.clear()

    # --- deletes ---------------------------------------------------------------------------

    async def _delete(self, op: Delete | DeleteWhere) -> tuple[bool, ...] | int:
        if not (op.checked_references and self._holds_references):
            return await self.inner.execute(op)
        known = self._relations.get(self.name)
        try:
            return await self._delete_by(op, known or await self._known(op.collection))
        except SchemaMismatchError:
            if known is None:
                raise
            self._forget()  # what refers to these documents may have another definition by now
            if self.unit is not None:
                raise self._conflict(
                    op.collection, "the store's definitions have changed since the last delete"
                ) from None
        return await self._delete_by(op, await self._known(op.collection))

    async def _delete_by(
        self, op: Delete | DeleteWhere, relations: Relations
    ) -> tuple[bool, ...] | int:
        if relations.left_to_the_database(op.collection):
            try:
                return await self.inner.execute(op)
            except ForeignKeyError:
                if not await self._outdated(op, relations):
                    raise
        if self.unit is None:
            return await self._as_a_unit(op)
        return await self._within(self.unit, self._removed(op, relations))

    async def _removed(
        self, op: Delete | DeleteWhere, relations: Relations
    ) -> tuple[bool, ...] | int:
        named = op if isinstance(op, Delete) else await named_by(op, self.inner)
        removal = Removal(named, relations, self.inner)
        try:
            await removal.plan()
        except ConfigurationError:
            self._forget()  # the catalog of another store, or of one that lost a collection
            raise
        try:
            there = await removal.carry_out()
        except ForeignKeyError:
            raise self._overtaken(op.collection) from None
        return there if isinstance(op, Delete) else sum(there)

    async def _outdated(self, op: Delete | DeleteWhere, relations: Relations) -> bool:
        """Tell whether the catalog has changed so that a delete must be planned after all.

        In a unit, which has failed, that is a conflict: it can only be repeated whole.
        """
        self._forget()
        if self.unit is None:
            current = await self._known(op.collection)
            return not current.left_to_the_database(op.collection)
        if not relations.to(op.collection.name):
            raise self._overtaken(op.collection) from None
        return False

    @property
    def _holds_references(self) -> bool:
        known = self.capabilities
        return known.references and known.transactions

    async def _known(self, collection: Collection) -> Relations:
        """Return what refers to what at the member, from its catalog at the first time."""
        name = self.name
        found = self._relations.get(name)
        if found is None:
            try:
                found = await read_relations(self.inner)
            except ConfigurationError as error:
                if type(error) is not ConfigurationError:
                    raise
                # No catalog, so no collection: outside of a unit, the delete itself will say so.
                if self.unit is None:
                    return Relations()
                raise _missing(collection) from None
            self._relations[name] = found
        return found

    def _forget(self) -> None:
        self._relations.pop(self.name, None)

    def _overtaken(self, collection: Collection) -> SerializationError:
        """Return the error for a reference that was not there when the delete was planned."""
        self._forget()
        return self._conflict(
            collection,
            "a document refers to it that was not there when the delete was planned",
            "; if it stays so, a table that healthstore did not make refers to this one",
        )

    def _conflict(self, collection: Collection, message: str, more: str = "") -> SerializationError:
        return SerializationError(
            message,
            hint=f"repeat the whole unit{more}",
            entity=collection.entity,
            backend=self.name,
        )

    # --- inserts and batches ---------------------------------------------------------------

    def _insert(self, op: Insert) -> Coroutine[Any, Any, int]:
        return self.inner.execute(op) if len(op.documents) < 2 else self._insert_in_order(op)

    async def _insert_in_order(self, op: Insert) -> int:
        try:
            request, later = arranged(op)
        except HealthstoreError as error:
            if self.unit is not None:
                self.unit.failed(error)
            raise error.at(backend=self.name) from None
        if not later:
            return await self.inner.execute(request)
        if self.unit is None:
            return await self._as_a_unit(op)
        added = await self.inner.execute(request)
        await self.inner.execute(Replace(op.collection, later))
        return added

    async def _batch(self, op: Batch) -> tuple[Any, ...]:
        if not self._holds_references or not await self._needs_parts(op):
            return await self.inner.execute(op)
        if self.unit is None:
            return await self._as_a_unit(op)
        return tuple([await self.execute(cast("Op[Any]", each)) for each in op.operations])

    async def _needs_parts(self, op: Batch) -> bool:
        """Tell whether an operation of a batch stands for several."""
        for each in op.operations:
            if isinstance(each, Insert) and own_references(each.collection):
                return True
            if isinstance(each, Delete | DeleteWhere) and each.checked_references:
                relations = await self._known(each.collection)
                if not relations.left_to_the_database(each.collection):
                    return True
        return False

    # --- units -----------------------------------------------------------------------------

    async def _within(self, unit: Unit, work: Awaitable[R]) -> R:
        """Do the work of a call in a unit, which fails with it as with any error."""
        try:
            return await work
        except HealthstoreError as error:
            unit.failed(error)
            raise error.at(backend=self.name) from error.__cause__

    async def _as_a_unit(self, op: Op[R]) -> R:
        """Run an operation in a unit of its own; again, if a concurrent one came first."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(op)
            except (SerializationError, UnavailableError) as error:
                if attempt == _ATTEMPTS or not _worth_repeating(error):
                    raise
            # Rivals that repeat in step would collide again.
            await asyncio.sleep(random.uniform(0, _PAUSE * 2**attempt))  # noqa: S311 - no secret

    async def _once(self, op: Op[R]) -> R:
        unit = await self.inner.begin(UnitOptions(deadline=self._seconds()))
        try:
            result = await self.over(unit).execute(op)
            await unit.commit()
        finally:
            await unit.rollback()
        return result

    _handlers: ClassVar[dict[type, Callable[[Any, Any], Coroutine[Any, Any, object]]]] = {
        Alter: lambda self, op: self._change(op),
        Batch: lambda self, op: self._batch(op),
        Delete: lambda self, op: self._delete(op),
        DeleteWhere: lambda self, op: self._delete(op),
        Drop: lambda self, op: self._change(op),
        Ensure: lambda self, op: self._change(op),
        Insert: lambda self, op: self._insert(op),
        Rename: lambda self, op: self._change(op),
    }


def _worth_repeating(error: HealthstoreError) -> bool:
    return error.outcome is Outcome.NOT_APPLIED and error.condition is not Condition.OVERLOADED


def _missing(collection: Collection) -> ConfigurationError:
    return ConfigurationError(
        f"there is no collection {collection.name!r}",
        hint="call initialize() with its entity first",
        entity=collection.entity,
    )

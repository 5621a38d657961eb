"""The layer itself: what it does with an operation that was checked."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar, TypeVar, cast

from healthstore.abc.backend import Executor, Isolation, Unit, UnitOptions
from healthstore.abc.layer import Layer
from healthstore.errors import HealthstoreError, IntegrityError, InvalidRequestError
from healthstore.layers.guard.blame import refused_index
from healthstore.layers.guard.groups import completed_aggregate
from healthstore.layers.guard.operations import check
from healthstore.model.documents import copied_document
from healthstore.model.ops import Aggregate, Get, Insert, Op
from healthstore.model.values import Document

__all__ = ("GuardLayer",)

R = TypeVar("R")


class GuardLayer(Layer):
    """Checks every operation against its collection and against the backend's capabilities."""

    rank: ClassVar[int] = 30
    within: bool = False
    """Whether it lies over a unit."""

    def over(self, unit: Unit) -> Executor:
        """Return this layer laid over a unit: there documents may be locked."""
        laid = cast(GuardLayer, super().over(unit))
        laid.within = True
        return laid

    async def execute(self, op: Op[R]) -> R:
        """Check the operation, run it below, and finish what adapters leave to the core."""
        if isinstance(op, Aggregate) and op.planned:  # by a guard above, which completes it
            return cast(R, await self.inner.execute(op))
        checked = check(op, self)
        if isinstance(op, Aggregate) and isinstance(checked, Aggregate):
            try:
                return cast(R, await completed_aggregate(checked, self.inner))
            except HealthstoreError as error:
                raise error.at(backend=self.name) from None
        if isinstance(checked, Get) and checked.lock and not self.within:
            raise InvalidRequestError(
                "a document is locked inside of a unit only: a lock lasts until its end",
                hint="async with db.transaction() as tx: await tx.repository(…).get(id, lock=True)",
                entity=checked.collection.entity,
                backend=self.name,
            )
        if isinstance(checked, Get) and len(checked.ids) > 1:
            return cast(R, await self._get_several(checked))
        if isinstance(checked, Insert) and len(checked.documents) > 1:
            return cast(R, await self._insert_several(checked))
        return await self.inner.execute(cast("Op[R]", checked))

    async def _insert_several(self, op: Insert) -> int:
        """Insert; an error says which of the documents the stored data refuses, if that is told."""
        try:
            return await self.inner.execute(op)
        except IntegrityError as error:
            with suppress(HealthstoreError):  # the unit has failed, say: the first error counts
                error.at(index=await refused_index(error, op, self.inner))
            raise

    async def _get_several(self, op: Get) -> tuple[Document | None, ...]:
        """Ask once for an id that comes twice: each answer is a document of its own."""
        distinct = tuple(dict.fromkeys(op.ids))
        if len(distinct) == len(op.ids):
            return await self.inner.execute(op)
        found = await self.inner.execute(Get(op.collection, distinct, op.lock))
        by_id = dict(zip(distinct, found, strict=True))
        return tuple(
            document and copied_document(op.collection, document)
            for document in map(by_id.__getitem__, op.ids)
        )

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a unit; refuse a deadline that is not positive."""
        deadline: object = options.deadline
        if isinstance(deadline, bool) or not isinstance(deadline, int | float) or not deadline > 0:
            raise InvalidRequestError(
                "a unit's deadline must be positive",
                hint="give seconds, for example 30.0",
                backend=self.name,
            )
        if options.isolation not in set(Isolation):
            raise InvalidRequestError(
                f"isolation is none of {', '.join(Isolation)}",
                hint="use a member of Isolation",
                backend=self.name,
            )
        if not isinstance(options.read_only, bool):
            raise InvalidRequestError(
                "read_only is neither True nor False", backend=self.name, hint="pass a bool"
            )
        return await super().begin(options)

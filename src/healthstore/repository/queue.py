"""A queue of jobs: documents that are leased, each to one worker at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar, cast

from healthstore.abc.backend import Executor
from healthstore.entity import LEASED_UNTIL, Entity, from_document
from healthstore.errors import InvalidRequestError, NotFoundError
from healthstore.model.ops import Claim, Patch
from healthstore.model.query import And, F, Filter, Order
from healthstore.model.schema import Collection

__all__ = ("BY_AGE", "Queue", "require_claimable")

M = TypeVar("M", bound=Entity)

BY_AGE = ("created_at",)
"""The order in which jobs are claimed where none is asked for."""


@dataclass(frozen=True, slots=True)
class Queue(Generic[M]):
    """How the documents of a claimable entity are leased, lent again and given back.

    A claim raises the version, which is thereby the token of its holder: who has lost the lease is
    stale with the next write under the version.
    """

    entity: type[M]
    executor: Executor
    collection: Collection
    clock: Callable[[], datetime]

    async def claim(
        self, where: Filter, n: int, lease: timedelta, order: tuple[Order, ...]
    ) -> list[M]:
        """Lease the first free entities that satisfy a filter, and return them as they are then."""
        now = self._now()
        free = F[LEASED_UNTIL].is_null() | (F[LEASED_UNTIL] <= now)
        op = Claim(
            self.collection,
            ((LEASED_UNTIL, self._until(now, lease)), ("updated_at", now)),
            And((where, free)),
            order,
            n,
        )
        found = await self.executor.execute(op)
        return [from_document(self.entity, each) for each in found]

    async def extend(self, entity: M, lease: timedelta) -> M:
        """Lease an entity for longer, from now on; the version stays."""
        now = self._now()
        return await self._changed(entity, self._until(now, lease), now)

    async def release(self, entity: M) -> M:
        """Give an entity back; the version rises, so that the lease cannot be gone on with."""
        return await self._changed(entity, None, self._now(), (("version", 1),))

    async def _changed(
        self,
        entity: M,
        until: datetime | None,
        now: datetime,
        increments: tuple[tuple[str, int], ...] = (),
    ) -> M:
        sets = ((LEASED_UNTIL, until), ("updated_at", now))
        op = Patch(self.collection, (entity.id,), sets, increments, (entity.version,))
        (document,) = await self.executor.execute(op)
        if document is None:
            raise NotFoundError(
                "there is no entity with this id",
                hint="it was deleted meanwhile",
                entity=self.collection.entity,
                backend=self.executor.name,
            )
        return from_document(self.entity, document)

    def _now(self) -> datetime:
        return cast(datetime, self.collection.values["updated_at"](self.clock()))

    def _until(self, now: datetime, lease: timedelta) -> datetime:
        if not isinstance(cast(object, lease), timedelta) or not timedelta() < lease <= _LONGEST:
            raise InvalidRequestError(
                "a lease must be a timedelta from above 0 to 30 days",
                hint="write lease=timedelta(minutes=5), and extend it while you work",
                entity=self.collection.entity,
            )
        return now + lease


_LONGEST = timedelta(days=30)


def require_claimable(entity: type[Entity], collection: Collection) -> None:
    """Raise InvalidRequestError for an entity whose documents are no jobs."""
    if not entity.__claimable__:
        raise InvalidRequestError(
            "is not claimable",
            hint='write class Job(Entity, collection="jobs", claimable=True), and migrate',
            entity=collection.entity,
        )

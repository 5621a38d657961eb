"""healthstore: a repository of a DatabaseManager."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any, cast
from uuid import UUID

from pydantic import AwareDatetime

from benchmarks.contender import BATCH, POOL
from benchmarks.reading import Reading
from healthstore import Avg, Count, DatabaseManager, Entity, F, Index, MaxLength, Repository
from healthstore.abc import BackendURL
from healthstore.testing.provision import text_of

__all__ = ("StoredReading", "opened")


class StoredReading(Entity, collection="readings", indexes=[Index("owner", "taken_at")]):
    """A reading as an entity."""

    owner: UUID
    taken_at: AwareDatetime
    kind: Annotated[str, MaxLength(40)]
    value: float
    unit: Annotated[str, MaxLength(20)]
    steps: int
    valid: bool
    note: str | None
    detail: dict[str, Any]


class _Healthstore:
    uses = f"a pool of {POOL}, on SQLite of 4 readers (the default); add_many for many rows"
    returns = "entity, a pydantic model"

    def __init__(self, readings: Repository[StoredReading], *, atomic: bool) -> None:
        self._readings = readings
        self._atomic = atomic

    def ready(self, reading: Reading) -> StoredReading:
        return StoredReading(**dict(reading))

    def reading(self, own: StoredReading) -> Reading:
        return Reading.model_construct(**dict(own))

    async def insert(self, own: StoredReading) -> None:
        await self._readings.add(own)

    async def insert_many(self, own: Sequence[StoredReading]) -> None:
        await self._readings.add_many(own, mode="atomic" if self._atomic else "best_effort")

    async def get(self, identity: UUID) -> StoredReading | None:
        return await self._readings.get(identity)

    async def find(self, owner: UUID, limit: int) -> Sequence[StoredReading]:
        page = await self._readings.find(F.owner == owner, order=["-taken_at"], limit=limit)
        return page.items

    async def update(self, identity: UUID, value: float, note: str) -> None:
        await self._readings.update(identity, {"value": value, "note": note})

    async def delete(self, identity: UUID) -> None:
        await self._readings.delete(identity)

    def stream(self) -> AsyncIterator[StoredReading]:
        return self._readings.stream(page_size=BATCH)

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        rows = await self._readings.aggregate(group=["kind"], count=Count(), mean=Avg("value"))
        return {
            cast(str, row["kind"]): (cast(int, row["count"]), cast(float, row["mean"]))
            for row in rows
        }


@asynccontextmanager
async def opened(url: BackendURL) -> AsyncGenerator[_Healthstore, None]:
    """Open a manager on an empty database.

    Many rows are one transaction where the driver's documented way is one: not on MongoDB.
    """
    if url.hosts:
        url = replace(url, options={**url.options, "pool_size": str(POOL)})
    async with DatabaseManager(text_of(url)) as db:
        await db.initialize(StoredReading)
        yield _Healthstore(db.repository(StoredReading), atomic=url.scheme != "mongodb")

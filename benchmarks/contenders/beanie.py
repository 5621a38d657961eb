"""Beanie: documents on pymongo's AsyncMongoClient.

https://beanie-odm.dev/getting-started/
"""

# A peer need not be installed where types are checked; then all that comes from it is unknown.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false, reportGeneralTypeIssues=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from beanie import Document, init_beanie
from beanie.operators import CurrentDate, Inc, Set
from pydantic import AwareDatetime
from pymongo import ASCENDING, IndexModel

from benchmarks.contender import POOL
from benchmarks.contenders.raw_mongodb import AGGREGATE, client_of
from benchmarks.reading import Reading
from healthstore.abc import BackendURL

__all__ = ("BeanieReading", "opened")


class BeanieReading(Document):
    """A reading as a document."""

    id: UUID
    created_at: AwareDatetime
    updated_at: AwareDatetime
    version: int
    owner: UUID
    taken_at: AwareDatetime
    kind: str
    value: float
    unit: str
    steps: int
    valid: bool
    note: str | None
    detail: dict[str, Any]

    class Settings:
        """Its collection and its index."""

        name = "readings"
        indexes = (IndexModel([("owner", ASCENDING), ("taken_at", ASCENDING)]),)


class _Beanie:
    uses = f"a pool of {POOL}, insert_many for many rows"
    returns = "document, a pydantic model"

    def ready(self, reading: Reading) -> Any:
        return BeanieReading(**dict(reading))

    def reading(self, own: Any) -> Reading:
        names = Reading.model_fields
        return Reading.model_construct(**{name: getattr(own, name) for name in names})

    async def insert(self, own: Any) -> None:
        await own.insert()

    async def insert_many(self, own: Sequence[Any]) -> None:
        await BeanieReading.insert_many(own)

    async def get(self, identity: UUID) -> Any:
        return await BeanieReading.get(identity)

    async def find(self, owner: UUID, limit: int) -> Sequence[Any]:
        wanted = BeanieReading.find(BeanieReading.owner == owner)
        found: Sequence[Any] = await wanted.sort("-taken_at").limit(limit).to_list()
        return found

    async def update(self, identity: UUID, value: float, note: str) -> None:
        await BeanieReading.find_one(BeanieReading.id == identity).update(
            Set({"value": value, "note": note}),
            Inc({"version": 1}),
            CurrentDate({"updated_at": True}),
        )

    async def delete(self, identity: UUID) -> None:
        await BeanieReading.find_one(BeanieReading.id == identity).delete()

    async def stream(self) -> AsyncIterator[Any]:
        async for one in BeanieReading.find_all():
            yield one

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        rows = await BeanieReading.aggregate(AGGREGATE).to_list()
        return {row["_id"]: (row["count"], row["mean"]) for row in rows}


@asynccontextmanager
async def opened(url: BackendURL) -> AsyncGenerator[_Beanie, None]:
    """Open its document on an empty database."""
    async with client_of(url) as client:
        await init_beanie(database=client[url.database], document_models=[BeanieReading])
        yield _Beanie()

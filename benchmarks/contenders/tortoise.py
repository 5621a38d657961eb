"""Tortoise ORM, on asyncpg, aiosqlite, and asyncmy where that is installed (else aiomysql).

https://tortoise.github.io/getting_started.html
"""

# A peer need not be installed where types are checked; then all that comes from it is unknown.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false, reportGeneralTypeIssues=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tortoise import Tortoise, fields
from tortoise.expressions import F
from tortoise.functions import Avg, Count
from tortoise.indexes import Index
from tortoise.models import Model

from benchmarks.contender import POOL
from benchmarks.reading import Reading
from healthstore.abc import BackendURL

__all__ = ("TortoiseReading", "opened")

_ENGINES = {"postgresql": "asyncpg", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}


class TortoiseReading(Model):
    """A reading as a model."""

    id = fields.UUIDField(primary_key=True)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()
    version = fields.BigIntField()
    owner = fields.UUIDField()
    taken_at = fields.DatetimeField()
    kind = fields.CharField(max_length=40)
    value = fields.FloatField()
    unit = fields.CharField(max_length=20)
    steps = fields.BigIntField()
    valid = fields.BooleanField()
    note = fields.TextField(null=True)
    detail: Any = fields.JSONField()

    class Meta:
        """Its table and its index."""

        table = "readings"
        indexes = (Index(fields=("owner", "taken_at")),)


class _Tortoise:
    uses = f"a pool of {POOL}, on SQLite one connection; bulk_create for many rows"
    returns = "model"

    def ready(self, reading: Reading) -> Any:
        return TortoiseReading(**dict(reading))

    def reading(self, own: Any) -> Reading:
        names = Reading.model_fields
        return Reading.model_construct(**{name: getattr(own, name) for name in names})

    async def insert(self, own: Any) -> None:
        await own.save()

    async def insert_many(self, own: Sequence[Any]) -> None:
        await TortoiseReading.bulk_create(own)

    async def get(self, identity: UUID) -> Any:
        return await TortoiseReading.get_or_none(id=identity)

    async def find(self, owner: UUID, limit: int) -> Sequence[Any]:
        wanted = TortoiseReading.filter(owner=owner).order_by("-taken_at").limit(limit)
        found: Sequence[Any] = await wanted
        return found

    async def update(self, identity: UUID, value: float, note: str) -> None:
        await TortoiseReading.filter(id=identity).update(
            value=value, note=note, version=F("version") + 1, updated_at=datetime.now(UTC)
        )

    async def delete(self, identity: UUID) -> None:
        await TortoiseReading.filter(id=identity).delete()

    async def stream(self) -> AsyncIterator[Any]:
        async for one in TortoiseReading.all():  # reads all of them before the first
            yield one

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        grouped = TortoiseReading.annotate(rows=Count("id"), mean=Avg("value")).group_by("kind")
        rows = await grouped.values("kind", "rows", "mean")
        return {row["kind"]: (row["rows"], row["mean"]) for row in rows}


@asynccontextmanager
async def opened(url: BackendURL) -> AsyncGenerator[_Tortoise, None]:
    """Open its connections to an empty database."""
    config = {
        "connections": {
            url.scheme: {  # it keeps SQL text by this name, whatever the dialect is
                "engine": f"tortoise.backends.{_ENGINES[url.scheme]}",
                "credentials": _credentials(url),
            }
        },
        "apps": {"models": {"models": [__name__], "default_connection": url.scheme}},
        "use_tz": True,
        "timezone": "UTC",
    }
    await Tortoise.init(config=config)
    try:
        await Tortoise.generate_schemas(safe=False)
        yield _Tortoise()
    finally:
        await Tortoise.close_connections()


def _credentials(url: BackendURL) -> dict[str, object]:
    """Return what its connections need; SQLite is as durable as for all contenders."""
    if url.scheme == "sqlite":
        return {"file_path": url.database, "journal_mode": "WAL", "synchronous": "FULL"}
    host = url.hosts[0]
    return {
        "host": host.name,
        "port": host.port,
        "user": url.user,
        "password": url.password or "",
        "database": url.database,
        "minsize": 1,
        "maxsize": POOL,
    }

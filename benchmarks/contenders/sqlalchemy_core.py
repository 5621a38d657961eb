"""SQLAlchemy Core: statements on an AsyncEngine.

https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html#synopsis-core
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    func,
    select,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.contender import BATCH, POOL
from benchmarks.contenders.sqlalchemy_engine import DETAIL, INSTANT, engine
from benchmarks.reading import Reading
from healthstore.abc import BackendURL

__all__ = ("opened",)

_METADATA = MetaData()
_T = Table(
    "readings",
    _METADATA,
    Column("id", Uuid, primary_key=True),
    Column("created_at", INSTANT, nullable=False),
    Column("updated_at", INSTANT, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("owner", Uuid, nullable=False),
    Column("taken_at", INSTANT, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("value", Double, nullable=False),
    Column("unit", String(20), nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("valid", Boolean, nullable=False),
    Column("note", Text),
    Column("detail", DETAIL, nullable=False),
    Index("readings_owner", "owner", "taken_at"),
)


class _Core:
    uses = f"a pool of {POOL}, execute with a list for many rows"
    returns = "row of typed values, no object"

    def __init__(self, opened_engine: AsyncEngine) -> None:
        self._engine = opened_engine

    def ready(self, reading: Reading) -> dict[str, Any]:
        return dict(reading)

    def reading(self, own: Any) -> Reading:
        return Reading.model_construct(**own._mapping)  # noqa: SLF001 - its documented name

    async def insert(self, own: dict[str, Any]) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(_T.insert(), own)

    async def insert_many(self, own: Sequence[dict[str, Any]]) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(_T.insert(), own)

    async def get(self, identity: UUID) -> Any:
        async with self._engine.connect() as connection:
            found = await connection.execute(select(_T).where(_T.c.id == identity))
            return found.one_or_none()

    async def find(self, owner: UUID, limit: int) -> Sequence[Any]:
        wanted = select(_T).where(_T.c.owner == owner).order_by(_T.c.taken_at.desc()).limit(limit)
        async with self._engine.connect() as connection:
            return (await connection.execute(wanted)).all()

    async def update(self, identity: UUID, value: float, note: str) -> None:
        changed = _T.update().where(_T.c.id == identity)
        changed = changed.values(
            value=value, note=note, version=_T.c.version + 1, updated_at=datetime.now(UTC)
        )
        async with self._engine.begin() as connection:
            await connection.execute(changed)

    async def delete(self, identity: UUID) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(_T.delete().where(_T.c.id == identity))

    async def stream(self) -> AsyncIterator[Any]:
        async with self._engine.connect() as connection:
            wanted = select(_T).execution_options(yield_per=BATCH)
            async for row in await connection.stream(wanted):
                yield row

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        wanted = select(_T.c.kind, func.count(), func.avg(_T.c.value)).group_by(_T.c.kind)
        async with self._engine.connect() as connection:
            rows = await connection.execute(wanted)
            return {kind: (count, mean) for kind, count, mean in rows}


@asynccontextmanager
async def opened(url: BackendURL) -> AsyncGenerator[_Core, None]:
    """Open an engine on an empty database."""
    async with engine(url, _METADATA) as made:
        yield _Core(made)

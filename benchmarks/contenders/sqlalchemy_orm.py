"""The SQLAlchemy ORM: an AsyncSession for each unit of work.

https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html#synopsis-orm
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Double, Index, String, Text, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.contender import BATCH, POOL
from benchmarks.contenders.sqlalchemy_engine import DETAIL, INSTANT, engine
from benchmarks.reading import Reading
from healthstore.abc import BackendURL

__all__ = ("Columns", "opened", "read")


class Columns:
    """The columns of a reading beside its id, for any declarative base."""

    created_at: Mapped[datetime] = mapped_column(INSTANT)
    updated_at: Mapped[datetime] = mapped_column(INSTANT)
    version: Mapped[int] = mapped_column(BigInteger)
    owner: Mapped[UUID]
    taken_at: Mapped[datetime] = mapped_column(INSTANT)
    kind: Mapped[str] = mapped_column(String(40))
    value: Mapped[float] = mapped_column(Double)
    unit: Mapped[str] = mapped_column(String(20))
    steps: Mapped[int] = mapped_column(BigInteger)
    valid: Mapped[bool]
    note: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[dict[str, Any]] = mapped_column(DETAIL)


class _Declared(DeclarativeBase):
    """The declarative base of this contender."""


class _Mapped(Columns, _Declared):
    __tablename__ = "readings"
    __table_args__ = (Index("readings_owner", "owner", "taken_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)


def read(own: Any) -> Reading:
    """Return what a mapped object holds as a reading."""
    return Reading.model_construct(**{name: getattr(own, name) for name in Reading.model_fields})


class _Orm:
    uses = f"a pool of {POOL}, a session for each call; an update reads first"
    returns = "mapped object"

    def __init__(self, session: async_sessionmaker[AsyncSession]) -> None:
        self._session = session

    def ready(self, reading: Reading) -> _Mapped:
        return _Mapped(**dict(reading))

    def reading(self, own: _Mapped) -> Reading:
        return read(own)

    async def insert(self, own: _Mapped) -> None:
        async with self._session() as session:
            session.add(own)
            await session.commit()

    async def insert_many(self, own: Sequence[_Mapped]) -> None:
        async with self._session() as session:
            session.add_all(own)
            await session.commit()

    async def get(self, identity: UUID) -> _Mapped | None:
        async with self._session() as session:
            return await session.get(_Mapped, identity)

    async def find(self, owner: UUID, limit: int) -> Sequence[_Mapped]:
        wanted = select(_Mapped).where(_Mapped.owner == owner)
        wanted = wanted.order_by(_Mapped.taken_at.desc()).limit(limit)
        async with self._session() as session:
            return (await session.scalars(wanted)).all()

    async def update(self, identity: UUID, value: float, note: str) -> None:
        async with self._session() as session:
            found = await session.get_one(_Mapped, identity)
            found.value, found.note = value, note
            found.version += 1
            found.updated_at = datetime.now(UTC)
            await session.commit()

    async def delete(self, identity: UUID) -> None:
        async with self._session() as session:
            await session.execute(delete(_Mapped).where(_Mapped.id == identity))
            await session.commit()

    async def stream(self) -> AsyncIterator[_Mapped]:
        async with self._session() as session:
            wanted = select(_Mapped).execution_options(yield_per=BATCH)
            async for one in await session.stream_scalars(wanted):
                yield one

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        wanted = select(_Mapped.kind, func.count(), func.avg(_Mapped.value))
        async with self._session() as session:
            rows = await session.execute(wanted.group_by(_Mapped.kind))
            return {kind: (count, mean) for kind, count, mean in rows}


@asynccontextmanager
async def opened(url: BackendURL) -> AsyncGenerator[_Orm, None]:
    """Open a maker of sessions on an empty database."""
    async with engine(url, _Declared.metadata) as made:
        yield _Orm(async_sessionmaker(made, expire_on_commit=False))

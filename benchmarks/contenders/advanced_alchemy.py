"""advanced-alchemy: its asynchronous repository, over the SQLAlchemy ORM.

https://docs.advanced-alchemy.litestar.dev/latest/usage/repositories.html
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

from advanced_alchemy.base import UUIDBase
from advanced_alchemy.exceptions import NotFoundError
from advanced_alchemy.filters import LimitOffset, OrderBy
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy import Index, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks.contender import BATCH, POOL
from benchmarks.contenders.sqlalchemy_engine import engine
from benchmarks.contenders.sqlalchemy_orm import Columns, read
from benchmarks.reading import Reading
from healthstore.abc import BackendURL

__all__ = ("opened",)


class _Mapped(Columns, UUIDBase):
    __tablename__ = "readings"
    __table_args__ = (Index("readings_owner", "owner", "taken_at"),)


class _Repository(SQLAlchemyAsyncRepository[_Mapped]):
    model_type = _Mapped


class _AdvancedAlchemy:
    uses = f"a pool of {POOL}, a session for each call; an update reads first"
    returns = "mapped object"

    def __init__(self, session: async_sessionmaker[AsyncSession]) -> None:
        self._session = session

    def ready(self, reading: Reading) -> Any:
        return _Mapped(**dict(reading))

    def reading(self, own: Any) -> Reading:
        return read(own)

    async def insert(self, own: Any) -> None:
        async with self._session() as session:
            await _Repository(session=session).add(own, auto_commit=True)

    async def insert_many(self, own: Sequence[Any]) -> None:
        async with self._session() as session:
            await _Repository(session=session).add_many(list(own), auto_commit=True)

    async def get(self, identity: UUID) -> Any:
        async with self._session() as session:
            try:
                return await _Repository(session=session).get(identity)
            except NotFoundError:
                return None

    async def find(self, owner: UUID, limit: int) -> Sequence[Any]:
        async with self._session() as session:
            found: Sequence[Any] = await _Repository(session=session).list(
                OrderBy("taken_at", "desc"), LimitOffset(limit, 0), owner=owner
            )
            return found

    async def update(self, identity: UUID, value: float, note: str) -> None:
        async with self._session() as session:
            repository = _Repository(session=session)
            found = await repository.get(identity)
            found.value, found.note = value, note
            found.version += 1
            found.updated_at = datetime.now(UTC)
            await repository.update(found, auto_commit=True)

    async def delete(self, identity: UUID) -> None:
        async with self._session() as session:
            await _Repository(session=session).delete(identity, auto_commit=True)

    async def stream(self) -> AsyncIterator[Any]:
        start = 0
        while True:  # it has no stream of its own: pages, in the order of the key
            async with self._session() as session:
                page = await _Repository(session=session).list(
                    OrderBy("id", "asc"), LimitOffset(BATCH, start)
                )
            for one in page:
                yield one
            if len(page) < BATCH:
                return
            start += BATCH

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        wanted = select(_Mapped.kind, func.count(), func.avg(_Mapped.value))
        async with self._session() as session:
            rows = await session.execute(wanted.group_by(_Mapped.kind))
            return {kind: (count, mean) for kind, count, mean in rows}


@asynccontextmanager
async def opened(url: BackendURL) -> AsyncGenerator[_AdvancedAlchemy, None]:
    """Open a maker of sessions on an empty database."""
    async with engine(url, _Mapped.metadata) as made:
        yield _AdvancedAlchemy(async_sessionmaker(made, expire_on_commit=False))

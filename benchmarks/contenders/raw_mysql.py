"""The raw drivers of MySQL and MariaDB: the pools of aiomysql and asyncmy, which are alike.

https://aiomysql.readthedocs.io/en/stable/pool.html, https://github.com/long2ice/asyncmy
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any
from uuid import UUID

from benchmarks.contender import BATCH, POOL
from benchmarks.reading import Reading
from healthstore.abc import BackendURL

__all__ = ("on_aiomysql", "on_asyncmy")

_CREATE = """
CREATE TABLE readings (
    id BINARY(16) PRIMARY KEY, created_at DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT NULL,
    version BIGINT NOT NULL, owner BINARY(16) NOT NULL, taken_at DATETIME(6) NOT NULL,
    kind VARCHAR(40) NOT NULL, value DOUBLE NOT NULL, unit VARCHAR(20) NOT NULL,
    steps BIGINT NOT NULL, valid BOOLEAN NOT NULL, note TEXT, detail JSON NOT NULL,
    INDEX readings_owner (owner, taken_at)
)
"""
_INSERT = "INSERT INTO readings VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_GET = "SELECT * FROM readings WHERE id = %s"
_FIND = "SELECT * FROM readings WHERE owner = %s ORDER BY taken_at DESC LIMIT %s"
_UPDATE = """
UPDATE readings SET value = %s, note = %s, version = version + 1, updated_at = utc_timestamp(6)
WHERE id = %s
"""
_AGGREGATE = "SELECT kind, count(*), avg(value) FROM readings GROUP BY kind"


def _row(one: Reading) -> tuple[object, ...]:
    return (
        *(one.id.bytes, _naive(one.created_at), _naive(one.updated_at), one.version),
        *(one.owner.bytes, _naive(one.taken_at), one.kind, one.value, one.unit, one.steps),
        *(one.valid, one.note, json.dumps(one.detail)),
    )


def _naive(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)


def _entity(row: Sequence[Any]) -> Reading:
    return Reading.model_construct(
        id=UUID(bytes=row[0]),
        created_at=row[1].replace(tzinfo=UTC),
        updated_at=row[2].replace(tzinfo=UTC),
        version=row[3],
        owner=UUID(bytes=row[4]),
        taken_at=row[5].replace(tzinfo=UTC),
        kind=row[6],
        value=row[7],
        unit=row[8],
        steps=row[9],
        valid=bool(row[10]),
        note=row[11],
        detail=json.loads(row[12]),
    )


class _Pooled:
    uses = f"a pool of {POOL}, executemany for many rows"
    returns = "pydantic model by model_construct"

    def __init__(self, driver: Any, pool: Any) -> None:
        self._driver = driver
        self._pool = pool

    def ready(self, reading: Reading) -> Reading:
        return reading

    def reading(self, own: Reading) -> Reading:
        return own

    async def insert(self, own: Reading) -> None:
        await self._execute(_INSERT, _row(own))

    async def insert_many(self, own: Sequence[Reading]) -> None:
        async with self._pool.acquire() as connection, connection.cursor() as cursor:
            await connection.begin()
            await cursor.executemany(_INSERT, [_row(one) for one in own])
            await connection.commit()

    async def get(self, identity: UUID) -> Reading | None:
        rows = await self._execute(_GET, (identity.bytes,))
        return _entity(rows[0]) if rows else None

    async def find(self, owner: UUID, limit: int) -> Sequence[Reading]:
        return [_entity(row) for row in await self._execute(_FIND, (owner.bytes, limit))]

    async def update(self, identity: UUID, value: float, note: str) -> None:
        await self._execute(_UPDATE, (value, note, identity.bytes))

    async def delete(self, identity: UUID) -> None:
        await self._execute("DELETE FROM readings WHERE id = %s", (identity.bytes,))

    async def stream(self) -> AsyncIterator[Reading]:
        kind = self._driver.cursors.SSCursor
        async with self._pool.acquire() as connection, connection.cursor(kind) as cursor:
            await cursor.execute("SELECT * FROM readings")
            while rows := await cursor.fetchmany(BATCH):
                for row in rows:
                    yield _entity(row)

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        return {kind: (count, mean) for kind, count, mean in await self._execute(_AGGREGATE)}

    async def _execute(self, sql: str, values: Sequence[object] = ()) -> Sequence[Any]:
        async with self._pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.execute(sql, values)
            found: Sequence[Any] = await cursor.fetchall()
            return found


@asynccontextmanager
async def _opened(package: str, url: BackendURL) -> AsyncGenerator[_Pooled, None]:
    driver: Any = import_module(package)
    host = url.hosts[0]
    pool = await driver.create_pool(
        host=host.name,
        port=host.port or 3306,
        user=url.user,
        password=url.password or "",
        db=url.database,
        charset="utf8mb4",
        autocommit=True,
        minsize=1,
        maxsize=POOL,
    )
    try:
        async with pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.execute(_CREATE)
        yield _Pooled(driver, pool)
    finally:
        pool.close()
        await pool.wait_closed()


def on_aiomysql(url: BackendURL) -> AbstractAsyncContextManager[_Pooled]:
    """Open aiomysql's pool on an empty database."""
    return _opened("aiomysql", url)


def on_asyncmy(url: BackendURL) -> AbstractAsyncContextManager[_Pooled]:
    """Open asyncmy's pool on an empty database."""
    return _opened("asyncmy", url)

"""The raw driver of PostgreSQL: asyncpg's pool, and COPY for many rows.

https://magicstack.github.io/asyncpg/current/usage.html#connection-pools
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg

from benchmarks.contender import BATCH, POOL
from benchmarks.reading import Reading
from healthstore.abc import BackendURL

__all__ = ("opened",)

_CREATE = """
CREATE TABLE readings (
    id uuid PRIMARY KEY, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL,
    version bigint NOT NULL, owner uuid NOT NULL, taken_at timestamptz NOT NULL,
    kind varchar(40) NOT NULL, value double precision NOT NULL, unit varchar(20) NOT NULL,
    steps bigint NOT NULL, valid boolean NOT NULL, note text, detail jsonb NOT NULL
);
CREATE INDEX readings_owner ON readings (owner, taken_at)
"""
_INSERT = "INSERT INTO readings VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
_GET = "SELECT * FROM readings WHERE id = $1"
_FIND = "SELECT * FROM readings WHERE owner = $1 ORDER BY taken_at DESC LIMIT $2"
_UPDATE = """
UPDATE readings SET value = $2, note = $3, version = version + 1, updated_at = now() WHERE id = $1
"""
_AGGREGATE = "SELECT kind, count(*), avg(value) FROM readings GROUP BY kind"


def _row(one: Reading) -> tuple[object, ...]:
    return (
        *(one.id, one.created_at, one.updated_at, one.version, one.owner, one.taken_at),
        *(one.kind, one.value, one.unit, one.steps, one.valid, one.note, json.dumps(one.detail)),
    )


def _entity(row: Any) -> Reading:
    return Reading.model_construct(**{**row, "detail": json.loads(row["detail"])})


class _Asyncpg:
    uses = f"a pool of {POOL}, COPY for many rows"
    returns = "pydantic model by model_construct"

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def ready(self, reading: Reading) -> Reading:
        return reading

    def reading(self, own: Reading) -> Reading:
        return own

    async def insert(self, own: Reading) -> None:
        async with self._pool.acquire() as connection:
            await connection.execute(_INSERT, *_row(own))

    async def insert_many(self, own: Sequence[Reading]) -> None:
        async with self._pool.acquire() as connection:
            await connection.copy_records_to_table("readings", records=[_row(one) for one in own])

    async def get(self, identity: UUID) -> Reading | None:
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(_GET, identity)
        return None if row is None else _entity(row)

    async def find(self, owner: UUID, limit: int) -> Sequence[Reading]:
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_FIND, owner, limit)
        return [_entity(row) for row in rows]

    async def update(self, identity: UUID, value: float, note: str) -> None:
        async with self._pool.acquire() as connection:
            await connection.execute(_UPDATE, identity, value, note)

    async def delete(self, identity: UUID) -> None:
        async with self._pool.acquire() as connection:
            await connection.execute("DELETE FROM readings WHERE id = $1", identity)

    async def stream(self) -> AsyncIterator[Reading]:
        async with self._pool.acquire() as connection, connection.transaction():
            async for row in connection.cursor("SELECT * FROM readings", prefetch=BATCH):
                yield _entity(row)

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_AGGREGATE)
        return {kind: (count, mean) for kind, count, mean in rows}


@asynccontextmanager
async def opened(url: BackendURL) -> AsyncGenerator[_Asyncpg, None]:
    """Open a pool on an empty database."""
    host = url.hosts[0]
    async with asyncpg.create_pool(
        host=host.name,
        port=host.port or 5432,
        user=url.user,
        password=url.password,
        database=url.database,
        min_size=1,
        max_size=POOL,
    ) as pool:
        await pool.execute(_CREATE)
        yield _Asyncpg(pool)

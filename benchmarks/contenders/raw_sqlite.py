"""The raw driver of SQLite: one connection of aiosqlite, which all tasks share.

https://aiosqlite.omnilib.dev/en/stable/
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiosqlite

from benchmarks.contender import BATCH
from benchmarks.reading import Reading
from healthstore.abc import BackendURL

__all__ = ("locked", "opened")

_CREATE = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
CREATE TABLE readings (
    id BLOB PRIMARY KEY, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    version INTEGER NOT NULL, owner BLOB NOT NULL, taken_at TEXT NOT NULL,
    kind TEXT NOT NULL, value REAL NOT NULL, unit TEXT NOT NULL,
    steps INTEGER NOT NULL, valid INTEGER NOT NULL, note TEXT, detail TEXT NOT NULL
);
CREATE INDEX readings_owner ON readings (owner, taken_at)
"""
_INSERT = "INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_GET = "SELECT * FROM readings WHERE id = ?"
_FIND = "SELECT * FROM readings WHERE owner = ? ORDER BY taken_at DESC LIMIT ?"
_UPDATE = """
UPDATE readings SET value = ?, note = ?, version = version + 1, updated_at = ? WHERE id = ?
"""
_AGGREGATE = "SELECT kind, count(*), avg(value) FROM readings GROUP BY kind"


def _row(one: Reading) -> tuple[object, ...]:
    return (
        *(one.id.bytes, one.created_at.isoformat(), one.updated_at.isoformat(), one.version),
        *(one.owner.bytes, one.taken_at.isoformat(), one.kind, one.value, one.unit, one.steps),
        *(one.valid, one.note, json.dumps(one.detail)),
    )


def _entity(row: Any) -> Reading:
    return Reading.model_construct(
        id=UUID(bytes=row[0]),
        created_at=datetime.fromisoformat(row[1]),
        updated_at=datetime.fromisoformat(row[2]),
        version=row[3],
        owner=UUID(bytes=row[4]),
        taken_at=datetime.fromisoformat(row[5]),
        kind=row[6],
        value=row[7],
        unit=row[8],
        steps=row[9],
        valid=bool(row[10]),
        note=row[11],
        detail=json.loads(row[12]),
    )


class _Aiosqlite:
    uses = "one connection, whose transaction all tasks share; executemany for many rows"
    returns = "pydantic model by model_construct"

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    def ready(self, reading: Reading) -> Reading:
        return reading

    def reading(self, own: Reading) -> Reading:
        return own

    async def insert(self, own: Reading) -> None:
        await self._connection.execute(_INSERT, _row(own))
        await self._connection.commit()

    async def insert_many(self, own: Sequence[Reading]) -> None:
        await self._connection.executemany(_INSERT, [_row(one) for one in own])
        await self._connection.commit()

    async def get(self, identity: UUID) -> Reading | None:
        async with self._connection.execute(_GET, (identity.bytes,)) as cursor:
            row = await cursor.fetchone()
        return None if row is None else _entity(row)

    async def find(self, owner: UUID, limit: int) -> Sequence[Reading]:
        async with self._connection.execute(_FIND, (owner.bytes, limit)) as cursor:
            rows = await cursor.fetchall()
        return [_entity(row) for row in rows]

    async def update(self, identity: UUID, value: float, note: str) -> None:
        now = datetime.now(UTC).isoformat()
        await self._connection.execute(_UPDATE, (value, note, now, identity.bytes))
        await self._connection.commit()

    async def delete(self, identity: UUID) -> None:
        await self._connection.execute("DELETE FROM readings WHERE id = ?", (identity.bytes,))
        await self._connection.commit()

    async def stream(self) -> AsyncIterator[Reading]:
        async with self._connection.execute("SELECT * FROM readings") as cursor:
            async for row in cursor:
                yield _entity(row)

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        async with self._connection.execute(_AGGREGATE) as cursor:
            return {kind: (count, mean) for kind, count, mean in await cursor.fetchall()}


class _Locked(_Aiosqlite):
    """The same with transactions of their own, which tasks must take turns for."""

    uses = "one connection, each write and its commit under a lock; executemany for many rows"

    def __init__(self, connection: aiosqlite.Connection) -> None:
        super().__init__(connection)
        self._writing = asyncio.Lock()

    async def insert(self, own: Reading) -> None:
        async with self._writing:
            await super().insert(own)

    async def update(self, identity: UUID, value: float, note: str) -> None:
        async with self._writing:
            await super().update(identity, value, note)

    async def delete(self, identity: UUID) -> None:
        async with self._writing:
            await super().delete(identity)


@asynccontextmanager
async def opened(url: BackendURL) -> AsyncGenerator[_Aiosqlite, None]:
    """Open a connection to an empty file."""
    async with _connected(url) as connection:
        yield _Aiosqlite(connection)


@asynccontextmanager
async def locked(url: BackendURL) -> AsyncGenerator[_Aiosqlite, None]:
    """Open a connection to an empty file, with a lock for its writers."""
    async with _connected(url) as connection:
        yield _Locked(connection)


@asynccontextmanager
async def _connected(url: BackendURL) -> AsyncGenerator[aiosqlite.Connection, None]:
    async with aiosqlite.connect(url.database, iter_chunk_size=BATCH) as connection:
        await connection.executescript(_CREATE)
        yield connection

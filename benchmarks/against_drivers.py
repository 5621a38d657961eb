"""Compare healthstore with each raw driver, used as its documentation shows.

    python -m benchmarks.against_drivers [--rows 20000] [--seconds 1.0]

Prints, for each backend that is there, operations per second of the driver and of healthstore,
and their ratio: single gets, single inserts with their own commit, and bulk inserts. SQLite
needs no server; the others are taken from HEALTHSTORE_TEST_*_URL. The pairs run in turns, and
the best of three turns counts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from healthstore import DatabaseManager, Entity, MaxLength
from healthstore.abc import BackendURL
from healthstore.entity import uuid7

TURNS = 3


class Reading(Entity, collection="bench_readings"):
    """A row of six columns."""

    device: Annotated[str, MaxLength(40)]
    pulse: int


@dataclass(frozen=True, slots=True)
class Peer:
    """The raw driver on a table of its own: get one, insert one, insert many."""

    get: Callable[[UUID], Awaitable[object]]
    insert: Callable[[UUID], Awaitable[object]]
    insert_many: Callable[[list[UUID]], Awaitable[object]]


@asynccontextmanager
async def asyncpg_peer(url: BackendURL) -> AsyncIterator[Peer]:
    """Use asyncpg's pool, as its documentation shows."""
    import asyncpg

    host = url.hosts[0]
    pool = await asyncpg.create_pool(
        host=host.name,
        port=host.port,
        user=url.user,
        password=url.password,
        database=url.database,
        min_size=1,
        max_size=4,
    )
    try:
        async with pool.acquire() as connection:
            await connection.execute("DROP TABLE IF EXISTS bench_raw")
            await connection.execute(
                "CREATE TABLE bench_raw (id uuid PRIMARY KEY, device text, pulse bigint)"
            )

        async def get(identity: UUID) -> object:
            async with pool.acquire() as connection:
                return await connection.fetchrow("SELECT * FROM bench_raw WHERE id = $1", identity)

        async def insert(identity: UUID) -> object:
            async with pool.acquire() as connection:
                return await connection.execute(
                    "INSERT INTO bench_raw VALUES ($1, $2, $3)", identity, "wrist", 60
                )

        async def insert_many(ids: list[UUID]) -> object:
            rows = [(identity, "wrist", 60) for identity in ids]
            async with pool.acquire() as connection, connection.transaction():
                return await connection.executemany(
                    "INSERT INTO bench_raw VALUES ($1, $2, $3)", rows
                )

        yield Peer(get, insert, insert_many)
    finally:
        await pool.execute("DROP TABLE IF EXISTS bench_raw")
        await pool.close()


@asynccontextmanager
async def aiomysql_peer(url: BackendURL) -> AsyncIterator[Peer]:
    """Use aiomysql's pool, as its documentation shows."""
    import aiomysql

    host = url.hosts[0]
    pool = await aiomysql.create_pool(
        host=host.name,
        port=host.port or 3306,
        user=url.user,
        password=url.password,
        db=url.database,
        autocommit=True,
        maxsize=4,
    )

    async def run(sql: str, values: object = None, *, many: bool = False) -> object:
        async with pool.acquire() as connection, connection.cursor() as cursor:
            if many:
                await connection.begin()
                await cursor.executemany(sql, values)
                return await connection.commit()
            await cursor.execute(sql, values)
            return await cursor.fetchall()

    try:
        await run("CREATE TABLE bench_raw (id BINARY(16) PRIMARY KEY, device TEXT, pulse BIGINT)")
        yield Peer(
            lambda one: run("SELECT * FROM bench_raw WHERE id = %s", (one.bytes,)),
            lambda one: run("INSERT INTO bench_raw VALUES (%s, %s, %s)", (one.bytes, "wrist", 60)),
            lambda ids: run(
                "INSERT INTO bench_raw VALUES (%s, %s, %s)",
                [(one.bytes, "wrist", 60) for one in ids],
                many=True,
            ),
        )
    finally:
        await run("DROP TABLE bench_raw")
        pool.close()
        await pool.wait_closed()


@asynccontextmanager
async def aiosqlite_peer(url: BackendURL) -> AsyncIterator[Peer]:
    """Use one aiosqlite connection with a durable log, as its documentation shows."""
    import aiosqlite

    async with aiosqlite.connect(f"{url.database}.raw") as connection:
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute("PRAGMA synchronous=FULL")
        await connection.execute(
            "CREATE TABLE bench_raw (id BLOB PRIMARY KEY, device TEXT, pulse INTEGER)"
        )

        async def get(identity: UUID) -> object:
            async with connection.execute(
                "SELECT * FROM bench_raw WHERE id = ?", (identity.bytes,)
            ) as cursor:
                return await cursor.fetchone()

        async def insert(identity: UUID) -> object:
            await connection.execute(
                "INSERT INTO bench_raw VALUES (?, ?, ?)", (identity.bytes, "wrist", 60)
            )
            await connection.commit()
            return None

        async def insert_many(ids: list[UUID]) -> object:
            rows = [(identity.bytes, "wrist", 60) for identity in ids]
            await connection.executemany("INSERT INTO bench_raw VALUES (?, ?, ?)", rows)
            await connection.commit()
            return None

        yield Peer(get, insert, insert_many)


@asynccontextmanager
async def pymongo_peer(url: BackendURL) -> AsyncIterator[Peer]:
    """Use AsyncMongoClient with durable writes, as its documentation shows."""
    from pymongo import AsyncMongoClient, WriteConcern

    host = url.hosts[0]
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        host.name,
        host.port,
        uuidRepresentation="standard",
        directConnection=True,
    )
    collection = client[url.database].get_collection(
        "bench_raw", write_concern=WriteConcern(w="majority", j=True)
    )

    def document(identity: UUID) -> dict[str, Any]:
        return {"_id": identity, "device": "wrist", "pulse": 60}

    try:
        await collection.drop()
        yield Peer(
            lambda one: collection.find_one({"_id": one}),
            lambda one: collection.insert_one(document(one)),
            lambda ids: collection.insert_many([document(one) for one in ids]),
        )
    finally:
        await collection.drop()
        await client.close()


PEERS = {
    "sqlite": aiosqlite_peer,
    "postgresql": asyncpg_peer,
    "mysql": aiomysql_peer,
    "mariadb": aiomysql_peer,
    "mongodb": pymongo_peer,
    "mongodb-rs": pymongo_peer,
}


async def per_second(call: Callable[[], Awaitable[object]], seconds: float) -> float:
    """Return how often a call runs in a second, one after the other."""
    started = time.perf_counter()
    count = 0
    while (passed := time.perf_counter() - started) < seconds:
        await call()
        count += 1
    return count / passed


async def rows_per_second(call: Awaitable[object], rows: int) -> float:
    """Return how many rows one call writes in a second."""
    started = time.perf_counter()
    await call
    return rows / (time.perf_counter() - started)


async def compare(name: str, text: str, rows: int, seconds: float) -> None:
    """Print the three lines of one backend."""
    url = BackendURL.parse(text)
    async with PEERS[name](url) as peer, DatabaseManager(text) as db:
        await db.initialize(Reading)
        ours = db.repository(Reading)
        raw_id, our_id = uuid7(), uuid7()
        await peer.insert(raw_id)
        await ours.add(Reading(id=our_id, device="wrist", pulse=60))
        best: dict[str, list[float]] = {}
        for _ in range(TURNS):
            ids = [uuid7() for _ in range(rows)]
            readings = [Reading(device="wrist", pulse=60) for _ in range(rows)]
            raw_many = await rows_per_second(peer.insert_many(ids), rows)
            atomic = name != "mongodb"  # a standalone server has no transactions
            own_many = await rows_per_second(ours.add_many(readings, atomic=atomic), rows)
            turn = {
                "get": (
                    await per_second(lambda: peer.get(raw_id), seconds),
                    await per_second(lambda: ours.get(our_id), seconds),
                ),
                "insert": (
                    await per_second(lambda: peer.insert(uuid7()), seconds),
                    await per_second(lambda: ours.add(Reading(device="w", pulse=1)), seconds),
                ),
                "insert many": (raw_many, own_many),
            }
            for what, pair in turn.items():
                kept = best.setdefault(what, [0.0, 0.0])
                best[what] = [max(old, new) for old, new in zip(kept, pair, strict=True)]
        for what, (raw, own) in best.items():
            print(f"{name:<11} {what:<12} {raw:>10,.0f} {own:>12,.0f} {own / raw:>7.2f}")


async def main() -> None:
    """Compare on every backend that is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000, help="rows of a bulk insert")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds of each measurement")
    options = parser.parse_args()
    print(f"{'backend':<11} {'':<12} {'driver/s':>10} {'healthstore/s':>12} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder:
        urls = {"sqlite": f"sqlite:///{Path(folder) / 'bench.db'}"}
        for name in PEERS:
            variable = f"HEALTHSTORE_TEST_{name.upper().replace('-', '_')}_URL"
            if variable in os.environ:
                urls[name] = os.environ[variable]
        for name, url in urls.items():
            await compare(name, url, options.rows, options.seconds)


if __name__ == "__main__":
    asyncio.run(main())

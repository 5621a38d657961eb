"""The servers that are measured: where they are, what they are, and how durable a write is."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

from benchmarks.contender import Cannot
from healthstore.abc import BackendURL
from healthstore.errors import HealthstoreError
from healthstore.testing.provision import SERVERS, server_url, text_of

__all__ = ("BACKENDS", "Fetch", "describe", "located", "measured", "raw")

Rows: TypeAlias = Sequence[Sequence[Any]]
Fetch: TypeAlias = Callable[[str], Awaitable[Rows]]
BACKENDS = tuple(name for name in SERVERS if name != "memory")


def located(name: str, environment: Mapping[str, str]) -> BackendURL:
    """Return the URL of a backend; raise Cannot, with what to set, if it is not known."""
    url = server_url(name, environment)
    if url is None:
        raise Cannot(f"set {SERVERS[name]} to a server's URL, or give --url")
    return url


@asynccontextmanager
async def _postgresql(url: BackendURL) -> AsyncGenerator[Fetch, None]:
    import asyncpg

    host = url.hosts[0]
    connection = await asyncpg.connect(
        host=host.name,
        port=host.port or 5432,
        user=url.user,
        password=url.password,
        database=url.database,
    )
    try:
        yield connection.fetch
    finally:
        await connection.close()


@asynccontextmanager
async def _mysql(url: BackendURL) -> AsyncGenerator[Fetch, None]:
    import aiomysql

    host = url.hosts[0]
    connection = await aiomysql.connect(
        host=host.name,
        port=host.port or 3306,
        user=url.user,
        password=url.password or "",
        db=url.database,
        charset="utf8mb4",
    )

    async def fetch(sql: str) -> Rows:
        async with connection.cursor() as cursor:
            await cursor.execute(sql)
            rows: Rows = await cursor.fetchall()
            return rows

    try:
        yield fetch
    finally:
        await connection.ensure_closed()


@asynccontextmanager
async def _sqlite(url: BackendURL) -> AsyncGenerator[Fetch, None]:
    connection = sqlite3.connect(url.database or "", check_same_thread=False)

    async def fetch(sql: str) -> Rows:
        return await asyncio.to_thread(lambda: connection.execute(sql).fetchall())

    try:
        yield fetch
    finally:
        connection.close()


_RAW: Mapping[str, Callable[[BackendURL], AbstractAsyncContextManager[Fetch]]] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
    "mariadb": _mysql,
    "sqlite": _sqlite,
}


def raw(url: BackendURL) -> AbstractAsyncContextManager[Fetch]:
    """Lend what fetches the rows of a statement by the raw driver of a SQL database."""
    return _RAW[url.scheme](url)


async def _describe_postgresql(url: BackendURL) -> tuple[str, str]:
    async with raw(url) as fetch:
        names = ("server_version", "fsync", "synchronous_commit")
        version, fsync, commit = [(await fetch(f"SHOW {name}"))[0][0] for name in names]
    return f"PostgreSQL {version}", f"fsync={fsync}, synchronous_commit={commit}"


async def _describe_mysql(url: BackendURL) -> tuple[str, str]:
    async with raw(url) as fetch:
        ((version, flush, binlog, logs),) = await fetch(
            "SELECT @@version, @@innodb_flush_log_at_trx_commit, @@sync_binlog, @@log_bin"
        )
    binary = f"sync_binlog={binlog}" if logs else "no binary log"
    product = "" if "MariaDB" in version else "MySQL "
    return f"{product}{version}", f"innodb_flush_log_at_trx_commit={flush}, {binary}"


async def _describe_sqlite(_: BackendURL) -> tuple[str, str]:
    return f"SQLite {sqlite3.sqlite_version}", "journal_mode=WAL, synchronous=FULL"


async def _describe_mongodb(url: BackendURL) -> tuple[str, str]:
    from pymongo import AsyncMongoClient

    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(text_of(url))
    async with client:
        found = await client.server_info()
        topology = client.topology_description.topology_type_name
    product = _mongodb_product(found)
    return f"{product} ({topology})", "w=majority, journal=true"


def _mongodb_product(found: Mapping[str, Any]) -> str:
    """Return which product answers: one that stands in for MongoDB says so, or has no commit."""
    if "ferretdb" in found:
        return f"FerretDB {found['ferretdb']['version']}"
    commit = str(found.get("gitVersion", ""))
    other = "" if re.fullmatch("[0-9a-f]{40}", commit) else f"{commit or 'unknown'}, as "
    return f"{other}MongoDB {found['version']}"


_DESCRIBE: Mapping[str, Callable[[BackendURL], Awaitable[tuple[str, str]]]] = {
    "postgresql": _describe_postgresql,
    "mysql": _describe_mysql,
    "mariadb": _describe_mysql,
    "sqlite": _describe_sqlite,
    "mongodb": _describe_mongodb,
}


async def describe(url: BackendURL) -> tuple[str, str]:
    """Return which server answers, and the durability that holds for every contender there.

    Raises Cannot if none does.
    """
    try:
        return await _DESCRIBE[url.scheme](url)
    except Exception as error:  # noqa: BLE001 - each driver has its own errors
        # Its message may hold the user's name, never needed to mend what is wrong here.
        raise Cannot(f"{url} does not answer ({type(error).__name__})") from None


async def measured(names: Sequence[str], measure: Callable[[str], Awaitable[None]]) -> int:
    """Measure on one backend after the other; return 1 if one could not be, with the reason said."""
    missing = 0
    for name in names:
        try:
            await measure(name)
        except (Cannot, HealthstoreError) as error:
            missing = 1
            print(f"{name}: {error}", file=sys.stderr)
    return missing

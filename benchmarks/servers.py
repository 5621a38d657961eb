"""The servers that are measured: where they are, what they are, and how durable a write is."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from benchmarks.contender import Cannot
from healthstore.abc import BackendURL
from healthstore.testing.provision import SERVERS, server_url, text_of

__all__ = ("BACKENDS", "describe", "located")

BACKENDS = tuple(name for name in SERVERS if name != "memory")


def located(name: str, environment: Mapping[str, str]) -> BackendURL:
    """Return the URL of a backend; raise Cannot, with what to set, if it is not known."""
    url = server_url(name, environment)
    if url is None:
        raise Cannot(f"set {SERVERS[name]} to a server's URL, or give --url")
    return url


async def _postgresql(url: BackendURL) -> tuple[str, str]:
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
        names = ("server_version", "fsync", "synchronous_commit")
        version, fsync, commit = [await connection.fetchval(f"SHOW {name}") for name in names]
    finally:
        await connection.close()
    return f"PostgreSQL {version}", f"fsync={fsync}, synchronous_commit={commit}"


async def _mysql(url: BackendURL) -> tuple[str, str]:
    import aiomysql

    host = url.hosts[0]
    connection = await aiomysql.connect(
        host=host.name,
        port=host.port or 3306,
        user=url.user,
        password=url.password or "",
        db=url.database,
    )
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(
                "SELECT @@version, @@innodb_flush_log_at_trx_commit, @@sync_binlog, @@log_bin"
            )
            version, flush, binlog, logs = await cursor.fetchone()
    finally:
        await connection.ensure_closed()
    binary = f"sync_binlog={binlog}" if logs else "no binary log"
    product = "" if "MariaDB" in version else "MySQL "
    return f"{product}{version}", f"innodb_flush_log_at_trx_commit={flush}, {binary}"


async def _sqlite(_: BackendURL) -> tuple[str, str]:
    return f"SQLite {sqlite3.sqlite_version}", "journal_mode=WAL, synchronous=FULL"


async def _mongodb(url: BackendURL) -> tuple[str, str]:
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
    "postgresql": _postgresql,
    "mysql": _mysql,
    "mariadb": _mysql,
    "sqlite": _sqlite,
    "mongodb": _mongodb,
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

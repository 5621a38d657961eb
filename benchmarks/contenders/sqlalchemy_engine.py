"""What the three contenders on SQLAlchemy share: the engine, and types that keep what is given.

https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, URL, DateTime, Dialect, MetaData, event
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.types import TypeDecorator

from benchmarks.contender import POOL
from healthstore.abc import BackendURL

__all__ = ("DETAIL", "INSTANT", "engine")

_DRIVERS = {
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mariadb+aiomysql",
    "sqlite": "sqlite+aiosqlite",
}
_BUSY = 30.0  # seconds to wait for SQLite's one writer


class _UTC(TypeDecorator[datetime]):
    """An instant where the database has only naive ones: the recipe of the documentation.

    https://docs.sqlalchemy.org/en/21/core/custom_types.html#store-timezone-aware-timestamps-as-timezone-naive-utc
    """

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())


INSTANT = DateTime(timezone=True).with_variant(_UTC(), "mysql", "mariadb", "sqlite")
DETAIL = JSON().with_variant(postgresql.JSONB(), "postgresql")


@asynccontextmanager
async def engine(url: BackendURL, tables: MetaData) -> AsyncGenerator[AsyncEngine, None]:
    """Open an engine on an empty database, with these tables and the pool that all have."""
    host = url.hosts[0] if url.hosts else None
    address = URL.create(
        _DRIVERS[url.scheme],
        username=url.user,
        password=url.password,
        host=host.name if host else None,
        port=host.port if host else None,
        database=url.database,
    )
    options: dict[str, Any] = {"pool_size": POOL, "max_overflow": 0}
    if url.scheme == "sqlite":
        options["connect_args"] = {"timeout": _BUSY}
    made = create_async_engine(address, **options)
    if url.scheme == "sqlite":
        event.listen(made.sync_engine, "connect", _durable)
    try:
        async with made.begin() as connection:
            await connection.run_sync(tables.create_all)
        yield made
    finally:
        await made.dispose()


def _durable(connection: sqlite3.Connection, _: object) -> None:
    """Give a connection to SQLite the durability that all contenders have."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()

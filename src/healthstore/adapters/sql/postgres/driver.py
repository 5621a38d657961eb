"""The driver of PostgreSQL: connections of asyncpg."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import asyncpg

from healthstore.abc.url import BackendURL
from healthstore.adapters.sql.dialect import BulkInsert, BulkUpdate, Connection, Row
from healthstore.adapters.sql.pool import hang_up

__all__ = ("dial",)

_CLOSE_SECONDS = 0.2
_LOCK_WAIT_SECONDS = 10  # for a row's lock
_COPY_FROM = 20  # rows: below, one multi-row statement costs less than COPY's extra round trip
_JSONB_VERSION = b"\x01"  # the first byte of jsonb in binary


class _PostgresConnection:
    """A connection of asyncpg."""

    def __init__(self, inner: asyncpg.Connection) -> None:
        self._inner = inner

    async def fetch(self, sql: str, parameters: Row) -> Sequence[Row]:
        rows: Sequence[Row] = await self._inner.fetch(sql, *parameters)
        return rows

    async def execute(self, sql: str, parameters: Row, *, last: bool = False) -> int:
        del last
        status: str = await self._inner.execute(sql, *parameters)  # "UPDATE 3"
        return int(status.rpartition(" ")[2])

    async def update_rows(
        self, update: BulkUpdate, rows: Sequence[Row], *, last: bool = False
    ) -> int:
        return await self.execute(update.joint, tuple(zip(*rows, strict=True)), last=last)

    async def insert_rows(
        self, insert: BulkInsert, rows: Iterable[Row], count: int, *, last: bool = False
    ) -> None:
        del last
        if count < _COPY_FROM:
            await self._inner.executemany(insert.single, rows)
        else:
            await self._inner.copy_records_to_table(
                insert.table, records=rows, columns=insert.columns
            )

    async def run(self, sql: str) -> None:
        await self._inner.execute(sql)

    async def begin(self, sql: str) -> None:
        await self.run(sql)

    async def commit(self) -> None:
        await self.run("COMMIT")

    async def ping(self) -> None:
        await self._inner.fetchval("SELECT 1")

    @property
    def reusable(self) -> bool:
        return not self._inner.is_closed() and not self._inner.is_in_transaction()

    async def discard(self) -> None:
        # After a cancellation close() ends the statement on the server too; it waits for an
        # answer, which a frozen server never gives.
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._inner.close()
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it goes
            self._inner.terminate()

    async def abort(self) -> None:
        self._inner.terminate()

    def abandon(self) -> None:
        hang_up(self._inner._transport)  # noqa: SLF001 - terminate() needs the loop


async def dial(
    url: BackendURL, tls: ssl.SSLContext | str | None, options: Mapping[str, Any]
) -> Connection:
    """Return a new connection in UTC, with deadlines that the server keeps too."""
    milliseconds = str(int(options["timeout"] * 1000))
    inner = await asyncpg.connect(
        host=[each.name for each in url.hosts] or None,
        port=[each.port or 5432 for each in url.hosts] or None,
        user=url.user,
        password=url.password,
        database=url.database or None,
        ssl=tls or False,
        timeout=options["connect_timeout"],
        # PgBouncer before 1.21 gives each transaction another server, without the statements.
        statement_cache_size=0 if options["pgbouncer"] else 256,
        server_settings={
            "timezone": "UTC",
            "statement_timeout": milliseconds,
            "idle_in_transaction_session_timeout": "60000",
            "application_name": "healthstore",
            # PgBouncer refuses what it was not told to ignore.
            **({} if options["pgbouncer"] else {"lock_timeout": f"{_LOCK_WAIT_SECONDS}s"}),
        },
    )
    try:
        await _set_codecs(inner)
    except BaseException:
        inner.terminate()
        raise
    return _PostgresConnection(inner)


async def _set_codecs(inner: asyncpg.Connection) -> None:
    # Binary, or COPY would refuse the column. A UUID is made of its bytes with all of its column.
    await inner.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=_JSONB_VERSION.__add__,
        decoder=itemgetter(slice(1, None)),
    )
    await inner.set_type_codec(
        "uuid",
        schema="pg_catalog",
        format="binary",
        encoder=attrgetter("bytes"),
        decoder=bytes,
    )

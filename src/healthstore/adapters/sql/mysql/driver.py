"""The driver of MySQL and MariaDB: connections of aiomysql."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, cast

import aiomysql
import pymysql
from pymysql.constants import CLIENT, FIELD_TYPE, SERVER_STATUS
from pymysql.converters import escape_string

from healthstore.abc.url import BackendURL
from healthstore.adapters.sql.dialect import BulkInsert, Connection, Row
from healthstore.adapters.sql.pool import hang_up

__all__ = ("dial",)

_STATEMENT_BYTES = 1 << 20  # of one bulk insert; a server's max_allowed_packet is 16 MiB or more
_KILL_SECONDS = 0.2

# How the driver reads columns: the rest stays text or bytes.
_READERS: Mapping[int, Callable[[str], object]] = {
    FIELD_TYPE.TINY: int,
    FIELD_TYPE.SHORT: int,
    FIELD_TYPE.LONG: int,
    FIELD_TYPE.LONGLONG: int,
    FIELD_TYPE.INT24: int,
    FIELD_TYPE.DOUBLE: float,
    FIELD_TYPE.FLOAT: float,
    FIELD_TYPE.NEWDECIMAL: Decimal,
    FIELD_TYPE.DECIMAL: Decimal,
}

# How the driver writes values into a statement. Backslashes escape: sql_mode is ours.
_LITERALS: Mapping[type, Callable[[Any], str]] = {
    type(None): lambda _: "NULL",
    str: lambda value: f"'{escape_string(value)}'",
    bytes: lambda value: f"x'{value.hex()}'",
    int: str,
    float: lambda value: f"{value!r}e0" if "e" not in repr(value) else repr(value),
    Decimal: lambda value: f"{value:f}",
    tuple: lambda values: ",".join(map(_literal, values)),
}


def _literal(value: object) -> str:
    return _LITERALS[type(value)](value)


class _MySqlConnection:
    """A connection of aiomysql; values are written into the statement by our own converters."""

    def __init__(self, inner: aiomysql.Connection, kill: Callable[[int], Awaitable[None]]) -> None:
        self._inner = inner
        self._kill = kill
        self._open = True
        self._busy = False

    async def fetch(self, sql: str, parameters: Row) -> Sequence[Row]:
        await self._query(sql % tuple(map(_literal, parameters)))
        result: Any = self._inner._result  # noqa: SLF001 - as in _query
        return cast("Sequence[Row]", result.rows or ())

    async def execute(self, sql: str, parameters: Row) -> int:
        return await self._query(sql % tuple(map(_literal, parameters)))

    async def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        for row in rows:
            await self._query(sql % tuple(map(_literal, row)))

    async def insert_rows(self, insert: BulkInsert, rows: Sequence[Row]) -> None:
        parts: list[str] = []
        size = 0
        literals = _LITERALS
        for row in rows:
            part = f"({','.join([literals[type(value)](value) for value in row])})"
            if parts and size + len(part) > _STATEMENT_BYTES:
                await self._query(insert.head + ",".join(parts))
                parts, size = [], 0
            parts.append(part)
            size += len(part)
        await self._query(insert.head + ",".join(parts))

    async def run(self, sql: str) -> None:
        await self._query(sql)

    async def ping(self) -> None:
        await self._inner.ping(reconnect=False)

    @property
    def reusable(self) -> bool:
        status = self._inner.server_status
        in_transaction = status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
        return self._open and not in_transaction and self._is_quiet()

    def _is_quiet(self) -> bool:
        """Tell whether the server has neither closed the connection nor sent anything unasked.

        It sends only a farewell unasked, which the driver would take for the next answer.
        """
        if self._inner.closed:
            return False
        reader: Any = self._inner._reader  # noqa: SLF001 - the driver itself does not look
        ended = reader.at_eof() or reader.exception() is not None
        return not ended and not reader._buffer  # noqa: SLF001 - as above

    async def discard(self) -> None:
        self._open = False
        self._inner.close()
        if self._busy:
            # The server goes on with a statement whose client is gone, and would commit it.
            self._busy = False
            try:
                async with asyncio.timeout(_KILL_SECONDS):
                    await self._kill(self._inner.thread_id())
            except Exception as error:  # noqa: BLE001 - a sick server ends it by its own deadline
                del error

    async def abort(self) -> None:
        self._open = False
        self._inner.close()

    def abandon(self) -> None:
        self._open = False
        # close(), which the collector would call as well, needs the loop.
        writer, self._inner._writer = self._inner._writer, None  # noqa: SLF001 - as said
        hang_up(writer and writer.transport)

    async def _query(self, sql: str) -> int:
        """Run a statement and return the number of rows that it matched.

        Without a cursor of the driver: it asks for the text of each warning, with a round trip.
        In strict mode what would change a value is an error; what is left is noise, such as a
        zero date for the MIN() of nothing on the way through MySQL's temporary table.
        """
        if not self._is_quiet():
            # It is known before anything is sent: whatever it is, it was not applied.
            await self.discard()
            raise pymysql.err.InterfaceError("the server has closed the connection")
        self._busy = True
        try:
            matched = await self._inner.query(sql)
        except (OSError, EOFError, pymysql.err.InternalError, RuntimeError):
            # A protocol out of step never comes back into step (aio-libs/aiomysql#614).
            await self.discard()
            raise
        except Exception:
            self._busy = False  # the server has answered
            raise
        self._busy = False
        return cast(int, matched)


class _EncryptedConnection(aiomysql.Connection):  # type: ignore[misc]  # aiomysql is not typed
    """A connection that logs in on TLS, if TLS was asked for, or not at all.

    aiomysql goes on in plain text where the server, or somebody between, offers no TLS.
    """

    async def _request_authentication(self) -> None:
        if self._ssl_context and not self.server_capabilities & CLIENT.SSL:
            raise pymysql.err.OperationalError(2026, "the server offers no TLS")
        await super()._request_authentication()


async def dial(
    url: BackendURL,
    tls: ssl.SSLContext | None,
    prelude: Callable[[str], Sequence[str]],
) -> Connection:
    """Return a connection on which the statements of ``prelude(version)`` have run.

    Who calls sets the deadline. Raises what aiomysql raises.
    """
    log_in = partial(_log_in, url, tls)
    inner = await log_in()
    connection = _MySqlConnection(inner, partial(_kill, log_in))
    try:
        for statement in prelude(inner.get_server_info()):
            await connection.run(statement)
    except BaseException:
        await asyncio.shield(connection.discard())
        raise
    return connection


async def _log_in(url: BackendURL, tls: ssl.SSLContext | None) -> aiomysql.Connection:
    host = url.hosts[0] if url.hosts else None
    socket = host.name if host is not None and host.name.startswith("/") else None
    inner = _EncryptedConnection(
        host=host.name if host else "localhost",
        unix_socket=socket,
        port=(host.port if host else None) or 3306,
        user=url.user,
        password=url.password or "",
        db=url.database,
        charset="utf8mb4",
        autocommit=True,
        client_flag=CLIENT.FOUND_ROWS,
        conv=_READERS,
        ssl=None if socket else tls,
        # With a timeout it waits by asyncio.wait_for, which before Python 3.12 drops a
        # cancellation that comes together with the result (python/cpython#86296): a deadline
        # would be heard by nobody.
        connect_timeout=None,
    )
    try:
        await inner._connect()  # noqa: SLF001 - what aiomysql.connect() does
    except BaseException:
        inner.close()  # the driver forgets its socket when it is cancelled
        raise
    return inner


async def _kill(log_in: Callable[[], Awaitable[aiomysql.Connection]], thread: int) -> None:
    """End a connection, and what runs on it, from another connection."""
    inner = await log_in()
    try:
        await inner.query(f"KILL {thread}")
    finally:
        inner.close()

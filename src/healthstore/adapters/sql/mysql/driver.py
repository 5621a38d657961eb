"""The driver of MySQL and MariaDB: aiomysql logs in, :mod:`.wire` does the rest."""

from __future__ import annotations

import asyncio
import ssl
from binascii import b2a_base64
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import aiomysql
import pymysql
from pymysql.constants import CLIENT, COMMAND

from healthstore.abc.url import BackendURL
from healthstore.adapters.sql.dialect import BulkInsert, Connection, Row
from healthstore.adapters.sql.mysql.wire import Answer, Wire
from healthstore.adapters.sql.pool import hang_up

__all__ = ("dial",)

_STATEMENT_BYTES = 1 << 20  # of one bulk insert; a server's max_allowed_packet is 16 MiB or more
_KILL_SECONDS = 0.2


# A statement must fit into max_allowed_packet, and a document may take half of its least, with up
# to 500 fields. What an escape or hex would double is written as base64, unless it is short.
_SHORT = 8 * 1024


def _text(value: str) -> str:
    # Backslashes escape: sql_mode is ours.
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")
    if len(value) <= _SHORT or 3 * (len(escaped) - len(value)) <= len(value):
        return f"'{escaped}'"
    return f"CONVERT({_base64(value.encode())} USING utf8mb4)"


def _bytes(value: bytes) -> str:
    return f"x'{value.hex()}'" if len(value) <= _SHORT else _base64(value)


def _base64(value: bytes) -> str:
    return f"FROM_BASE64('{b2a_base64(value, newline=False).decode('ascii')}')"


def _float(value: float) -> str:
    text = repr(value)
    return text if "e" in text else f"{text}e0"  # without an exponent it would be a decimal


# How the driver writes values into a statement.
_LITERALS: Mapping[type, Callable[[Any], str]] = {
    type(None): lambda _: "NULL",
    str: _text,
    bytes: _bytes,
    int: str,
    float: _float,
    Decimal: lambda value: f"{value:f}",
    tuple: lambda values: ",".join(map(_literal, values)),
}


def _literal(value: object) -> str:
    return _LITERALS[type(value)](value)


def _literals(column: Sequence[Any]) -> Iterable[str]:
    """Return the literals of values, most often of one type."""
    kinds = set(map(type, column))
    return map(_LITERALS[kinds.pop()] if len(kinds) == 1 else _literal, column)


class _MySqlConnection:
    """A connection that aiomysql has logged in, and that is ours from then on.

    Values are written into the statement by our own converters. A cursor of the driver would ask
    for the text of each warning, with a round trip: in strict mode what would change a value is
    an error, and what is left is noise, such as a zero date for the MIN() of nothing on the way
    through MySQL's temporary table.
    """

    def __init__(self, inner: aiomysql.Connection, kill: Callable[[int], Awaitable[None]]) -> None:
        self._inner = inner
        self._wire = Wire(inner._reader, inner._writer, inner.server_status)  # noqa: SLF001 - as said
        self._kill = kill
        self._open = True

    async def fetch(self, sql: str, parameters: Row) -> Sequence[Row]:
        answers = await self._query(sql % tuple(map(_literal, parameters)))
        return next((each.rows for each in answers if each.rows), ())

    async def execute(self, sql: str, parameters: Row) -> int:
        (answer,) = await self._query(sql % tuple(map(_literal, parameters)))
        return answer.matched

    async def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        for row in rows:
            await self._query(sql % tuple(map(_literal, row)))

    async def insert_rows(self, insert: BulkInsert, rows: Sequence[Row]) -> None:
        for statement in _inserts(insert.head, rows):
            await self._query(statement)

    async def run(self, sql: str) -> None:
        await self._query(sql)

    async def ping(self) -> None:
        await self._query("", COMMAND.COM_PING)

    @property
    def reusable(self) -> bool:
        return self._open and self._wire.is_ready() and not self._wire.in_transaction

    async def discard(self) -> None:
        was_open, self._open = self._open, False
        self._inner.close()
        if was_open and self._wire.waiting:
            # The server goes on with a statement whose client is gone, and would commit it.
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

    async def _query(self, sql: str, command: int = COMMAND.COM_QUERY) -> Sequence[Answer]:
        """Run one or several statements in one round trip.

        If one fails, those after it are not run, and a transaction that began here is undone.
        """
        wire = self._wire
        if not (self._open and wire.is_ready()):
            # It is known before anything is sent: whatever it is, it was not applied.
            await self.discard()
            raise pymysql.err.InterfaceError("the server has closed the connection")
        was_in_transaction = wire.in_transaction
        wire.send(sql.encode(), command)
        try:
            return await wire.answers()
        except Exception:
            if not wire.is_ready():
                # A protocol out of step never comes back into step (aio-libs/aiomysql#614).
                await self.discard()
            elif wire.in_transaction and not was_in_transaction:
                with suppress(pymysql.err.MySQLError):  # lost: that undoes it, too
                    await self._query("ROLLBACK")
            raise


def _inserts(head: str, rows: Sequence[Row]) -> Iterator[str]:
    """Return the statements that insert rows: as few as the size of a statement allows."""
    columns = map(_literals, zip(*rows, strict=True))
    parts: list[str] = []
    size = 0
    for part in map(",".join, zip(*columns, strict=True)):
        if parts and size + len(part) > _STATEMENT_BYTES:
            yield f"{head}({'),('.join(parts)})"
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    yield f"{head}({'),('.join(parts)})"


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
        await connection.run(";".join(prelude(inner.get_server_info())))
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

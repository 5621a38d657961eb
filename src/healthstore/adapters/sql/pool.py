"""A small pool of connections: bounded waits, and never a connection in doubt.

Drivers' own pools were measured and not used: asyncpg's resets each connection with a round
trip and can hang on a frozen server (MagicStack/asyncpg#1326), aiomysql's connects while it
holds its lock and has no limit on waiting.
"""

from __future__ import annotations

import asyncio
from asyncio.trsock import TransportSocket
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from socket import SHUT_RDWR
from typing import Any

from healthstore.abc.farewell import farewell
from healthstore.abc.places import Places
from healthstore.abc.prober import PoolFigures
from healthstore.adapters.sql.dialect import Connection
from healthstore.errors import UnavailableError

__all__ = ("Pool", "PoolOptions", "hang_up", "within")

_PING_SECONDS = 2.0
_TOGETHER = 0.25  # seconds: who came so little later has waited as long


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """``size`` connections; seconds without any becoming free, and to connect.

    One that was idle for longer than ``trusted_seconds`` is tried before it is lent.
    """

    size: int = 10
    acquire_seconds: float = 10.0
    connect_seconds: float = 5.0
    trusted_seconds: float = 0.5  # HikariCP's aliveBypassWindowMs

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> PoolOptions:
        """Pick them from the options of a URL."""
        return cls(options["pool_size"], options["acquire_timeout"], options["connect_timeout"])


class Pool:
    """Lends connections; the last one returned is lent first, and to whoever waits longest.

    Who waits is refused when no connection has become free for ``acquire_seconds``, as
    :class:`~healthstore.abc.places.Places` says.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        options: PoolOptions,
        before: Callable[[], Awaitable[None]] | None = None,
        common: Callable[[BaseException], Exception | None] = lambda _: None,
    ) -> None:
        """``before`` is awaited before each lending, and refuses it by raising.

        ``common`` is for a pool of one connection: it makes, of the error of whoever had it, the
        one of those who have waited as long, since they waited for the same; or None.
        """
        self._connect = connect
        self._options = options
        self._before = before
        self._common = common
        self._lent_at = float("-inf")
        self._places = Places(options.size, options.acquire_seconds, "connection")
        self._idle: deque[tuple[float, Connection]] = deque()
        self._closed = False
        self._lent = 0

    def figures(self) -> PoolFigures:
        """Return the pool in numbers."""
        lent = self._lent
        waiting = self._places.waiting
        return PoolFigures(self._options.size, lent + len(self._idle), lent, waiting)

    @asynccontextmanager
    async def lend(self) -> AsyncGenerator[Connection, None]:
        """Lend a connection for a block; after a cancellation or a broken state it is discarded."""
        connection = await self.acquire()
        try:
            yield connection
        except BaseException as error:
            await self.take_back(connection, error)
            raise
        await self.take_back(connection, None)

    async def take_back(self, connection: Connection, error: BaseException | None) -> None:
        """Release a connection, or discard it after a cancellation: a statement may still run."""
        if error is not None:
            self.failed(error)
        if error is None or isinstance(error, Exception):
            await self.release(connection)
        else:
            await self.discard(connection)

    async def acquire(self) -> Connection:
        """Return a working connection; it must be released or discarded.

        Raises UnavailableError when none becomes free in time.
        """
        await self._places.take()
        self._lent += 1
        self._lent_at = asyncio.get_running_loop().time()
        try:
            if self._before is not None:
                await self._before()
            return await self._trusted() or await self._new()
        except BaseException:
            self._give_up()
            raise

    def failed(self, error: BaseException) -> None:
        """Refuse those whose error this is, too; the connection is still lent."""
        self._places.refuse(self._lent_at + _TOGETHER, lambda: self._common(error))

    async def release(self, connection: Connection) -> None:
        """Take a connection back, unless it is broken or still in a transaction."""
        if self._closed or not connection.reusable:
            await self.discard(connection)
            return
        self._idle.append((asyncio.get_running_loop().time(), connection))
        self._give_up()

    async def discard(self, connection: Connection) -> None:
        """Close a connection that cannot be trusted; it is replaced when one is needed."""
        try:
            await farewell(connection.discard())
        finally:
            self._give_up()

    async def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        self._closed = True
        await self.drop_idle()

    async def drop_idle(self) -> None:
        """Close what is idle; others are opened when they are needed."""
        while self._idle:
            await farewell(self._idle.pop()[1].discard())

    def abandon(self) -> None:
        """Drop what is idle, when the event loop has ended; nothing else is known of."""
        self._closed = True
        while self._idle:
            self._idle.pop()[1].abandon()

    def _give_up(self) -> None:
        self._lent -= 1
        self._places.give_back()

    async def _trusted(self) -> Connection | None:
        """Return an idle connection that works, or None."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            since, connection = self._idle.pop()
            if not connection.reusable:
                await farewell(connection.discard())
                continue
            if now - since < self._options.trusted_seconds:
                return connection
            if await self._answers(connection):
                return connection
        return None

    async def _answers(self, connection: Connection) -> bool:
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await connection.ping()
        except Exception:  # noqa: BLE001 - whatever is wrong with it, another one is opened
            await farewell(connection.discard())
            return False
        except BaseException:
            await farewell(connection.discard())
            raise
        return True

    async def _new(self) -> Connection:
        return await within(self._options.connect_seconds, self._connect)


def hang_up(transport: asyncio.BaseTransport | None) -> None:
    """End a connection whose event loop has ended; its socket goes with the last reference."""
    if transport is not None:
        socket: TransportSocket = transport.get_extra_info("socket")
        with suppress(OSError):  # the server was faster
            socket.shutdown(SHUT_RDWR)


async def within(seconds: float, connect: Callable[[], Awaitable[Connection]]) -> Connection:
    """Connect within some seconds, handshake included; raise UnavailableError otherwise."""
    try:
        async with asyncio.timeout(seconds):
            return await connect()
    except TimeoutError:
        raise UnavailableError(
            f"the database did not answer within {seconds} s",
            hint="check that it runs, and the host and port of its URL",
        ) from None

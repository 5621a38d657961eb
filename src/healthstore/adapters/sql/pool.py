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

from healthstore.abc.prober import PoolFigures
from healthstore.adapters.sql.dialect import Connection
from healthstore.errors import Condition, UnavailableError

__all__ = ("Pool", "PoolOptions", "hang_up", "within")

_PING_SECONDS = 2.0
_TOGETHER = 0.25  # seconds: who came so little later has waited as long
_MOMENT = 0.05  # seconds: a queue that is found to stand still may only not have been looked at


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

    Who waits is refused when no connection has become free for ``acquire_seconds``: somebody
    holds them all. A queue that moves refuses nobody, however long it is; what bounds a wait
    then is the deadline of the call. Nor does one that could not move, since the program itself
    stood still.
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
        self._free = options.size
        self._freed_at = float("-inf")
        self._queue: deque[tuple[float, asyncio.Future[None]]] = deque()  # since when, and who
        self._watch: asyncio.TimerHandle | None = None
        self._idle: deque[tuple[float, Connection]] = deque()
        self._closed = False
        self._lent = self._waiting = 0

    def figures(self) -> PoolFigures:
        """Return the pool in numbers."""
        lent = self._lent
        return PoolFigures(self._options.size, lent + len(self._idle), lent, self._waiting)

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
        if self._free:
            self._free -= 1
        else:
            await self._wait()
        self._lent += 1
        self._lent_at = asyncio.get_running_loop().time()
        try:
            if self._before is not None:
                await self._before()
            return await self._trusted() or await self._new()
        except BaseException:
            self._give_up()
            raise

    async def _wait(self) -> None:
        """Wait until somebody gives up a connection to the first of the queue."""
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        self._queue.append((loop.time(), place))
        if self._watch is None:
            self._watch_queue(loop, None)
        self._waiting += 1
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled() and place.exception() is None:
                self._pass_on()  # it came together with the cancellation
            raise
        finally:
            self._waiting -= 1

    def _watch_queue(
        self, loop: asyncio.AbstractEventLoop, suspect: asyncio.Future[None] | None
    ) -> None:
        """Refuse those who wait while nothing moves, and look again when the next may have to be.

        The first who may have to be is the ``suspect`` of the next look, a moment later: while
        the loop stood still, what was to come back could not.
        """
        self._watch = None
        now, sure = loop.time(), False
        while self._queue:
            since, place = self._queue[0]
            until = max(since, self._freed_at) + self._options.acquire_seconds
            if not place.done():
                sure = sure or place is suspect
                if until > now:
                    self._watch = loop.call_at(until, self._watch_queue, loop, None)
                    return
                if not sure:
                    self._watch = loop.call_later(_MOMENT, self._watch_queue, loop, place)
                    return
                place.set_exception(self._exhausted())
            self._queue.popleft()

    def _exhausted(self) -> UnavailableError:
        error = UnavailableError(
            f"no connection became free within {self._options.acquire_seconds} s",
            hint="look for a transaction that is held open, or for a call beside the one that it "
            "is in: inside, use tx.repository()"
            + ("; or raise pool_size" if self._options.size > 1 else ""),
        )
        error.condition = Condition.OVERLOADED
        return error

    def failed(self, error: BaseException) -> None:
        """Refuse those whose error this is, too; the connection is still lent."""
        while self._queue and self._queue[0][0] <= self._lent_at + _TOGETHER:
            refusal = self._common(error)
            if refusal is None:
                return
            _, place = self._queue.popleft()
            if not place.done():
                place.set_exception(refusal)

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
            await asyncio.shield(connection.discard())
        finally:
            self._give_up()

    async def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        self._closed = True
        await self.drop_idle()

    async def drop_idle(self) -> None:
        """Close what is idle; others are opened when they are needed."""
        while self._idle:
            await asyncio.shield(self._idle.pop()[1].discard())

    def abandon(self) -> None:
        """Drop what is idle, when the event loop has ended; nothing else is known of."""
        self._closed = True
        while self._idle:
            self._idle.pop()[1].abandon()

    def _give_up(self) -> None:
        self._lent -= 1
        self._pass_on()

    def _pass_on(self) -> None:
        """Give a place to the first who waits, or keep it."""
        self._freed_at = asyncio.get_running_loop().time()
        while self._queue:
            _, place = self._queue.popleft()
            if not place.done():  # who was cancelled stays in the queue until it is looked at
                place.set_result(None)
                return
        self._free += 1

    async def _trusted(self) -> Connection | None:
        """Return an idle connection that works, or None."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            since, connection = self._idle.pop()
            if not connection.reusable:
                await asyncio.shield(connection.discard())
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
            await asyncio.shield(connection.discard())
            return False
        except BaseException:
            await asyncio.shield(connection.discard())
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

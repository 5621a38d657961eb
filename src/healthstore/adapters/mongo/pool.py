"""A connection pool that loses no socket when its caller is cancelled, and lends no dead one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from pymongo import AsyncMongoClient
from pymongo.asynchronous.pool import AsyncConnection, Pool
from pymongo.errors import ServerSelectionTimeoutError
from pymongo.message import _UNPACK_REPLY  # there is no other name for it
from pymongo.monitoring import ConnectionClosedReason
from pymongo.pool_shared import _CancellationContext
from pymongo.socket_checker import SocketChecker

from healthstore.abc.prober import PoolFigures
from healthstore.adapters.mongo.errors import condition_of
from healthstore.errors import Condition

__all__ = ("LosslessPool", "Pools", "close_client")

_LOOK_SECONDS = 0.02


class LosslessPool(Pool):
    """The driver's pool, except for how connections are opened, and looked at before use.

    The opening of a connection always runs to its end.

    The driver forgets the socket of an opening that is cancelled (PYTHON-5867): it stays open
    until the garbage collector finds it. Here the opening goes on, bounded by the driver's own
    timeout, and its connection is closed. The client takes the class as ``_pool_class``, which
    the driver reserves for libraries built on it.
    """

    def __init__(self, *args: Any, note: Callable[[Exception | None], None], **kwargs: Any) -> None:
        """``note`` is called with each failure to open a connection, and with None for a success."""
        super().__init__(*args, **kwargs)
        context: object = self.opts._ssl_context  # noqa: SLF001 - there is no option for it
        if isinstance(context, ssl.SSLContext):
            # The driver leaves it to the Python build, and Debian's takes whatever OpenSSL does.
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._note = note
        self._checker = SocketChecker()
        self._late: set[asyncio.Task[None]] = set()

    async def connect(self, handler: Any = None) -> AsyncConnection:
        """Open a connection."""
        opening = asyncio.ensure_future(super().connect(handler))
        try:
            connection = await asyncio.shield(opening)
        except Exception as error:
            self._note(error)
            raise
        except asyncio.CancelledError:
            closing = asyncio.ensure_future(_close(opening))
            self._late.add(closing)  # the loop alone would not keep it
            closing.add_done_callback(self._late.discard)
            raise
        self._note(None)
        if not self.is_sdam:
            self._quicken(connection)
        return connection

    def _quicken(self, connection: AsyncConnection) -> None:
        """Let a connection read without the driver's tasks, of which each answer takes two."""
        connection.__class__ = _DirectConnection
        hang_up = _HangUp(connection.conn.conn[0])
        self.active_contexts.discard(connection.cancel_context)
        self.active_contexts.add(hang_up)
        connection.cancel_context = hang_up

    async def _perished(self, conn: AsyncConnection) -> bool:
        """Close a connection on which the server has hung up, and return True, before it is lent.

        The driver stops reading while a connection is idle, so that it does not notice.
        """
        if not self.is_sdam and self._checker.socket_closed(conn.conn.sock):
            await conn.close_conn(ConnectionClosedReason.ERROR)
            return True
        return await super()._perished(conn)


class _HangUp(_CancellationContext):
    """What the driver cancels when it knows that a server is gone: here that ends the connection."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        super().__init__()
        self._transport = transport

    def cancel(self) -> None:
        """Abort the transport, which wakes whoever reads."""
        super().cancel()
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()


class _DirectConnection(AsyncConnection):
    """A connection whose reader waits for the answer alone.

    The driver starts a task that reads and one that looks twice a second whether reading was
    cancelled, and waits for the first of them: a third of the time of a read in the client.
    """

    async def receive_message(self, request_id: int | None) -> Any:
        """Return the next answer; raise ConnectionFailure, and close, whatever is wrong."""
        driver = self.conn
        try:
            async with asyncio.timeout(driver.gettimeout):
                data, code = await driver.get_conn.read(request_id, self.max_message_size)
            return _UNPACK_REPLY[code](data)
        except BaseException as error:  # noqa: BLE001 - as the driver does
            await self._raise_connection_failure(error)


class Pools:
    """The pools of one client: it takes this in the place of a class.

    They also remember why a server could not be reached: the driver keeps the error, but takes
    its cause away.
    """

    def __init__(self) -> None:
        self._made: WeakSet[LosslessPool] = WeakSet()
        self._failed: dict[object, Condition | None] = {}  # by the server's address

    def __call__(self, address: Any, *args: Any, is_sdam: bool = False, **others: Any) -> Pool:
        """Make a pool; those for the driver's own checks of servers are not counted."""

        def note(error: Exception | None) -> None:
            self._failed.pop(address, None)
            if error is not None:
                self._failed[address] = condition_of(error)

        pool = LosslessPool(address, *args, note=note, is_sdam=is_sdam, **others)
        if not is_sdam:
            self._made.add(pool)
        return pool

    def figures(self, waiting: int) -> PoolFigures:
        """Return all pools in numbers; that many callers wait for a unit, not for a connection."""
        pools = list(self._made)
        lent = sum(each.active_sockets for each in pools)
        return PoolFigures(
            size=sum(int(each.opts.max_pool_size or 0) for each in pools),
            open=lent + sum(len(each.conns) for each in pools),
            in_use=lent,
            waiting=waiting + max(0, sum(each.operation_count for each in pools) - lent),
        )

    def unreached(self, client: AsyncMongoClient[Any] | None) -> Condition | None:
        """Return what is certain of the servers, if none of a client's can be reached."""
        if client is None:
            return None
        servers = client.topology_description.server_descriptions()
        found = {self._failed.get(address) for address in servers}
        return found.pop() if len(found) == 1 else None

    async def answer(
        self, client: AsyncMongoClient[Any], command: Coroutine[Any, Any, Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        """Wait for the answer to a command, but not when no server can be reached.

        The driver would go on trying a server that refuses, for as long as it may. Raises its
        ServerSelectionTimeoutError.
        """
        asking = asyncio.ensure_future(command)
        try:
            while not asking.done():
                await asyncio.wait({asking}, timeout=_LOOK_SECONDS)
                if not asking.done() and self.unreached(client) is not None:
                    raise ServerSelectionTimeoutError
            return asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def close_client(client: AsyncMongoClient[Any], seconds: float) -> None:
    """Close a client; a server that hangs gets some seconds to hear the farewell."""
    for _ in range(2):  # the second time there is nobody left to say farewell to
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await client.close()
                return


async def _close(opening: asyncio.Future[AsyncConnection]) -> None:
    """Close a connection that nobody waits for any more, when it is open."""
    (result,) = await asyncio.gather(opening, return_exceptions=True)
    if isinstance(result, AsyncConnection):
        await result.close_conn(None)

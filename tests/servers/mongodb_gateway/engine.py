"""Connections to the engine: a bounded pool, one SQL call at a time, statement timeouts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import asyncpg

from .errors import CommandError

__all__ = ("Engine", "Link")

_T = TypeVar("_T")

SIZE: Final = 60  # links; the engine allows 200 connections and serves FerretDB as well
IDLE_SECONDS: Final = 30.0  # after which a link that nobody needs is closed
ACQUIRE_SECONDS: Final = 30.0
RECYCLE_SECONDS: Final = 5.0
EXCEEDED_TIME_LIMIT: Final = 262
# MongoDB gives up at once when another transaction holds a document. Waiting is of no use under
# REPEATABLE READ either, except when the other one rolls back.
_BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = '50ms'"
_SETTINGS: Final = {
    "application_name": "healthstore-mongodb-gateway",
    # Writers of one unique key that come at the same time deadlock: a unique index of the
    # extension is an exclusion constraint. One victim per timeout, so 1 s would take minutes.
    "deadlock_timeout": "20ms",
    "documentdb.maxWriteBatchSize": "100000",  # as MongoDB; the extension's default is 25,000
    "search_path": "documentdb_api, documentdb_core, documentdb_api_catalog, pg_catalog, public",
}


class Link:
    """One connection to the engine, lent to one command, cursor or transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._timeout = 0  # milliseconds, as last set
        self._in_transaction = False
        self.pinned = False  # whether a cursor keeps it beyond its command
        self.idle_since = 0.0  # by the loop's clock

    @property
    def usable(self) -> bool:
        """Whether the connection is open, and no transaction on it is."""
        return not (self._connection.is_closed() or self._connection.is_in_transaction())

    async def call(self, sql: str, *arguments: object, milliseconds: int = 0) -> Any:
        """Run one statement, bounded by milliseconds (0: unbounded), and return its first row."""
        if milliseconds != self._timeout:
            # SET LOCAL ends with the transaction; begin and end forget the number with it.
            scope = "LOCAL " if self._in_transaction else ""
            await self._connection.execute(f"SET {scope}statement_timeout = {milliseconds:d}")
            self._timeout = milliseconds
        return await self._connection.fetchrow(sql, *arguments)

    async def begin(self) -> None:
        """Open a transaction; its snapshot is that of its first statement."""
        if self._timeout:
            await self._connection.execute("SET statement_timeout = 0")
            self._timeout = 0
        self._in_transaction = True  # also when the next line is cancelled halfway
        await self._connection.execute(_BEGIN)

    async def commit(self) -> bool:
        """End the transaction; return whether it is committed (False: rolled back)."""
        # PostgreSQL answers COMMIT of a failed transaction with the tag ROLLBACK, not an error.
        tag: str = await self._connection.execute("COMMIT")
        self._in_transaction, self._timeout = False, 0
        return tag == "COMMIT"

    async def clear(self) -> None:
        """Stop and forget everything that runs or is open on it."""
        if self._in_transaction:
            await self._connection.execute("ROLLBACK")
        await self._connection.execute("CLOSE ALL")
        await self._connection.execute("SET statement_timeout = 0")
        self._in_transaction, self._timeout, self.pinned = False, 0, False

    def terminate(self) -> None:
        """Close the connection without a word."""
        self._connection.terminate()


class Engine:
    """The pool of links."""

    def __init__(self, url: str, *, size: int = SIZE) -> None:
        self._url = url
        self._idle: list[Link] = []  # last in, first out: the first is idle longest
        self._trimmer: asyncio.TimerHandle | None = None
        self._places = asyncio.Semaphore(size)
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect once, so that a wrong URL is told at the start."""
        self.release(await self.acquire())
        self._trim()

    def _trim(self) -> None:
        """Close what has been idle for long, now and from time to time."""
        loop = asyncio.get_running_loop()
        while self._idle and self._idle[0].idle_since < loop.time() - IDLE_SECONDS:
            link = self._idle.pop(0)
            self._links.discard(link)
            link.terminate()
        self._trimmer = loop.call_later(IDLE_SECONDS / 2, self._trim)

    async def acquire(self) -> Link:
        """Lend a link.

        Raises CommandError 262 when none gets free, and what connecting raises.
        """
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise CommandError(EXCEEDED_TIME_LIMIT, "no connection to the engine is free") from None
        while self._idle:
            link = self._idle.pop()
            if link.usable:
                return link
            self._links.discard(link)
        try:
            link = await self._connect()
        except BaseException:
            self._places.release()
            raise
        self._links.add(link)
        return link

    async def _connect(self) -> Link:
        connection = await asyncpg.connect(self._url, server_settings=_SETTINGS, timeout=10)
        try:
            for name in ("bson", "bsonsequence"):
                await connection.set_type_codec(
                    name, schema="documentdb_core", format="binary", encoder=bytes, decoder=bytes
                )
        except BaseException:
            connection.terminate()
            raise
        return Link(connection)

    def release(self, link: Link) -> None:
        """Take back a link on which nothing runs and nothing is open; one unlike that is closed."""
        if link.usable:
            link.idle_since = asyncio.get_running_loop().time()
            self._idle.append(link)
        else:
            link.terminate()
            self._links.discard(link)
        self._places.release()

    async def recycle(self, link: Link) -> None:
        """Take back a link in any state; when this returns, nothing of it holds anything.

        It goes on when the caller is cancelled.
        """
        await self.finish(self._recycle(link))

    async def _recycle(self, link: Link) -> None:
        try:
            async with asyncio.timeout(RECYCLE_SECONDS):
                await link.clear()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            link.terminate()
        self.release(link)

    async def finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run to its end what must not stop halfway, even when the caller is cancelled."""
        return await asyncio.shield(self.start(work))

    def start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run beside everything else what nobody waits for, but close."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # told to the caller; a caller that has gone does not want it

    async def close(self) -> None:
        """Wait a little for what runs, then close every link."""
        if self._trimmer is not None:
            self._trimmer.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=RECYCLE_SECONDS)
        for link in self._links:
            with contextlib.suppress(OSError, asyncpg.InterfaceError):
                link.terminate()
        self._links.clear()

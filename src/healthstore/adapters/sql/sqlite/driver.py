"""The driver of SQLite: the file that is served, and connections of aiosqlite to it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

import aiosqlite

from healthstore.adapters.sql.dialect import BulkInsert, Connection, Row
from healthstore.adapters.sql.errors import misconfigured
from healthstore.errors import Condition, UnavailableError

__all__ = (
    "READ_BLOB",
    "READ_FLOAT",
    "File",
    "code_of",
    "gone",
    "on_its_file",
    "open_file",
    "replaced",
)

T = TypeVar("T")
# The functions in SQL that read bytes and floats from the text of a list.
READ_BLOB = "healthstore_blob"
READ_FLOAT = "healthstore_float"
_BUSY_PAUSE = 0.005  # seconds between looking whether a lock is gone
_BUSY_MILLISECONDS = 100  # of SQLite's own wait for a lock, which nothing can cut short
_OLDEST = (3, 37)  # STRICT tables
_END_SECONDS = 1.0
_PRIVATE = 0o600
_STEP = 0.001  # seconds between two looks at a thread


Identity: TypeAlias = tuple[int, int]


class File:
    """The file that is served: ``identity`` is its device and inode, None until it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity: Identity | None = None

    def look(self) -> Identity | None:
        """Return what is at the path now, None if nothing is; costs about 1.5 µs."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - on the way of every call
        except OSError:
            return None
        return found.st_dev, found.st_ino


class _SqliteConnection:
    """A connection of aiosqlite, which runs in a thread of its own."""

    def __init__(self, inner: aiosqlite.Connection, file: File, busy_seconds: float) -> None:
        self._inner = inner
        self._open = True
        self._running = False  # also true after a cancellation: the thread goes on
        self._busy_seconds = busy_seconds
        self.file = file
        self.identity: Identity | None = None

    async def fetch(self, sql: str, parameters: Row) -> Sequence[Row]:
        return list(await self._patiently(partial(self._inner.execute_fetchall, sql, parameters)))

    async def execute(self, sql: str, parameters: Row) -> int:
        # RETURNING tells the number of rows without a second trip to the thread.
        return len(await self.fetch(f"{sql} RETURNING 1", parameters))

    async def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        cursor = await self._patiently(partial(self._inner.executemany, sql, rows))
        await cursor.close()

    async def insert_rows(self, insert: BulkInsert, rows: Sequence[Row]) -> None:
        await self.execute_many(insert.single, rows)

    async def run(self, sql: str) -> None:
        await self._patiently(partial(self._inner.execute_fetchall, sql))

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Repeat what found the file locked, for as long as ``busy_seconds``.

        SQLite's own wait cannot be interrupted, and does not happen at all when two connections
        switch a new file to the write-ahead log (https://sqlite.org/c3ref/busy_handler.html).
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._busy_seconds
        while True:
            try:
                return await self._to_its_end(work())
            except sqlite3.OperationalError as error:
                busy = (code_of(error) or 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or self._inner.in_transaction or loop.time() >= until:
                    raise
            await asyncio.sleep(_BUSY_PAUSE)

    async def _to_its_end(self, work: Awaitable[T]) -> T:
        self._running = True
        try:
            result = await work
        except Exception:
            self._running = False
            raise
        self._running = False
        return result

    async def ping(self) -> None:
        await self._to_its_end(self._inner.execute_fetchall("SELECT 1 FROM sqlite_master LIMIT 1"))

    @property
    def reusable(self) -> bool:
        served = self.identity == self.file.identity
        return served and self._open and not self._inner.in_transaction

    async def discard(self) -> None:
        """Stop what runs, and close; the thread ends when the statement has.

        The last connection that closes moves the write-ahead log into the file, and removes it.
        """
        if not self._open:
            return
        self._open = False
        try:
            await self._interrupt()
            await self._inner.close()
        except (sqlite3.Error, ValueError) as error:
            # Nothing more can be done with it: the file is closed when the thread ends.
            del error

    async def abort(self) -> None:
        """Stop what runs; a thread that hangs in the file system closes when it comes back."""
        if not self._open:
            return
        self._open = False
        with suppress(sqlite3.Error, TimeoutError, ValueError):  # ValueError: it was never opened
            async with asyncio.timeout(_END_SECONDS):
                await self._interrupt()
        self._inner.stop()
        await _ended(self._inner)

    def abandon(self) -> None:
        """Let the thread close the file, and end."""
        self._open = False
        self._inner.stop()

    async def _interrupt(self) -> None:
        """Stop what runs, if something does.

        SQLite remembers an interruption until the next statement begins, and one that it
        remembers when it closes keeps it from moving the write-ahead log into the file.
        """
        if self._running:
            await self._inner.interrupt()
            await self._inner.execute_fetchall("SELECT 1")


def code_of(error: BaseException) -> int | None:
    """Return SQLite's extended result code; the module's own errors have none."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code


def gone() -> UnavailableError:
    """Return the error of a file that is no longer at its path."""
    error = UnavailableError("the SQLite file was removed", hint="put it back where it was")
    error.condition = Condition.DOWN
    return error


def replaced() -> UnavailableError:
    """Return the error of a path at which another file is than the one that was opened."""
    error = UnavailableError(
        "the SQLite file was replaced by another one",
        hint="put the first one back; or stop the service and, if a -wal and a -shm are left, "
        "keep them with the first one, whose last writes they hold; then start it",
    )
    error.condition = Condition.DAMAGED
    return error


def on_its_file(connection: Connection) -> bool:
    """Tell whether the file that a connection opened is still the one at the path.

    SQLite itself goes on: it writes to a file that has no name any more, and reports success.
    """
    opened = cast("_SqliteConnection", connection)
    return opened.file.look() == opened.identity


async def open_file(file: File, busy_seconds: float) -> Connection:
    """Open the file; only the first time it is created if it is missing.

    Raises UnavailableError if it was there and is gone or is another one, and ConfigurationError for a directory or
    a file system that it cannot be kept in.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise misconfigured(
            f"SQLite {sqlite3.sqlite_version} is too old", hint="3.37 or newer is needed"
        )
    served, path = file.identity, file.path
    if served is None and not path.parent.is_dir():
        raise misconfigured(
            "the directory of the SQLite file does not exist",
            hint=f"create it: {path.parent}",
        )
    if path.is_dir():
        raise misconfigured(
            "the path of the SQLite file is that of a directory",
            hint=f"name a file in it, such as sqlite:///{path}/app.db",
        )
    if served is not None and file.look() is None:
        raise gone()
    # A file that was there and is removed must not come back empty, as if nothing had been.
    mode = "rw"
    if served is None:
        mode = "rwc"
        _create(path)
    inner = aiosqlite.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        cached_statements=256,
    )
    # A program that forgets close() must still end: aiosqlite's thread is no daemon
    # (omnilib/aiosqlite#369).
    inner._thread.daemon = True  # noqa: SLF001 - there is no public way
    connection = _SqliteConnection(inner, file, busy_seconds)
    try:
        await inner
        connection.identity = file.look()
        _require_served(connection, served)
        await inner.create_function(READ_BLOB, 1, bytes.fromhex, deterministic=True)
        await inner.create_function(READ_FLOAT, 1, float.fromhex, deterministic=True)
        await _prelude(connection)
    except BaseException:
        await asyncio.shield(connection.discard())
        await asyncio.shield(_ended(inner))
        raise
    file.identity = file.identity or connection.identity
    return connection


def _create(path: Path) -> None:
    """Make an empty file that only its owner can read, unless there is one.

    SQLite gives the mode of the file to its -wal and -shm, too. If it cannot be made, SQLite says
    why when it tries.
    """
    if path.exists():
        return
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, _PRIVATE))
        path.chmod(_PRIVATE)  # the umask may have taken rights of the owner


def _require_served(connection: _SqliteConnection, served: Identity | None) -> None:
    if served is not None and connection.identity != served:
        # Taken away since it was opened, it may come back: that is an outage, no damage.
        raise gone() if connection.identity is None else replaced()


async def _ended(inner: aiosqlite.Connection) -> None:
    """Wait until a connection's thread has ended, unless it hangs in the file system.

    One that is left behind would report to an event loop that may be closed by then.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + _END_SECONDS
    thread = inner._thread  # noqa: SLF001 - there is no public way
    while thread.is_alive() and loop.time() < until:  # noqa: ASYNC110 - a thread has no event
        await asyncio.sleep(_STEP)


async def _prelude(connection: Connection) -> None:
    for pragma in (
        f"busy_timeout={_BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "trusted_schema=OFF",
        "cache_size=-4096",
    ):
        await connection.run(f"PRAGMA {pragma}")
    for name, wanted in (("foreign_keys", 1), ("synchronous", 2), ("journal_mode", "wal")):
        ((value,),) = await connection.fetch(f"PRAGMA {name}", ())
        if value != wanted:
            raise misconfigured(
                f"SQLite does not keep PRAGMA {name}",
                hint="use a local file system that supports locks and shared memory",
            )

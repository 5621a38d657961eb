"""The driver of SQLite: the file that is served, and connections to it, each in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import closing, suppress
from errno import EACCES, EPERM, EROFS
from functools import cache, lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeAlias, TypeVar, cast

from healthstore.abc.farewell import farewell
from healthstore.adapters.sql.dialect import BulkInsert, BulkUpdate, Connection, Row
from healthstore.adapters.sql.errors import misconfigured
from healthstore.adapters.sql.sqlite.paths import (
    EQUAL_JSON,
    PART_OF_JSON,
    equal_texts,
    part_of_text,
)
from healthstore.adapters.sql.sqlite.thread import CallThread
from healthstore.errors import Condition, ConfigurationError, UnavailableError
from healthstore.model.catalog import CATALOG

__all__ = (
    "MATCHES",
    "READ_BLOB",
    "READ_FLOAT",
    "File",
    "code_of",
    "gone",
    "in_one_trip",
    "on_its_file",
    "open_file",
    "replaced",
    "require_log",
)

T = TypeVar("T")
# The functions in SQL that match a text, and read bytes and floats from the text of a list.
MATCHES = "healthstore_matches"
READ_BLOB = "healthstore_blob"
READ_FLOAT = "healthstore_float"
_BUSY_PAUSE = 0.005  # seconds between looking whether a lock is gone
_BUSY_MILLISECONDS = 100  # of SQLite's own wait for a lock, which nothing can cut short
_OLDEST = (3, 37)  # STRICT tables
_END_SECONDS = 1.0  # of waiting for a thread that may hang in the file system
_PRIVATE = 0o600
_FORBIDDEN = frozenset({EACCES, EPERM, EROFS})
# Rows of one INSERT: they take a fifth less time than as many statements. More gain nothing by
# themselves, but where another thread computes: each statement may wait 5 ms for its turn then.
# SQLite takes 32,766 values; the widest collection has 500 fields.
_TOGETHER = 20
_VALUES = 4_000
# Whether a file holds tables, and none of ours.
_OTHERS = f"SELECT max(name) NOTNULL AND NOT max(name = '{CATALOG.name}') FROM sqlite_master"
_STEP = 0.001  # seconds between two interruptions of what does not end


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
    """A connection of sqlite3, in a thread of its own.

    A trip to that thread and back costs several times what a short statement does, so a whole
    request makes one: see :meth:`through`.
    """

    def __init__(self, file: File, busy_seconds: float) -> None:
        self.file = file
        self.identity: Identity | None = None
        self._busy_seconds = busy_seconds
        self._thread = CallThread("healthstore-sqlite")
        self._inner: sqlite3.Connection | None = None
        self._open = True
        self._spoiled = False
        # Trips to the thread are numbered: the last one that was asked for, the one that it is
        # on, the last one that ended, and the last one that is to end before its next statement.
        self._asked = self._trip = self._ended = self._stopped = 0

    async def open(self, uri: str, served: Identity | None) -> None:
        """Open the file, which must be the one that is served, if one is."""
        inner = sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=256)
        self._inner = inner
        self.identity = self.file.look()
        if served is not None and self.identity != served:
            # Taken away since it was opened, it may come back: that is an outage, no damage.
            raise gone() if self.identity is None else replaced()
        inner.create_function(MATCHES, 2, _matches, deterministic=True)
        inner.create_function(READ_BLOB, 1, bytes.fromhex, deterministic=True)
        inner.create_function(READ_FLOAT, 1, float.fromhex, deterministic=True)
        inner.create_function(PART_OF_JSON, 2, part_of_text, deterministic=True)
        inner.create_function(EQUAL_JSON, 2, equal_texts, deterministic=True)
        await _prelude(self)

    async def through(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine to its end in the connection's thread: one trip, whatever it asks for.

        It may await nothing but this connection. After a cancellation it ends before its next
        statement.
        """
        if self._thread.inside:
            return await work()
        if not self._open:
            raise _closed()
        self._asked += 1
        trip = self._asked
        try:
            return await self._thread.call(partial(self._finish, work, trip))
        except asyncio.CancelledError:
            self._stopped = trip
            raise

    def _finish(self, work: Callable[[], Coroutine[Any, Any, T]], trip: int) -> T:
        self._trip = trip
        coroutine = work()
        try:
            coroutine.send(None)
        except StopIteration as end:
            return cast(T, end.value)
        finally:
            coroutine.close()
            self._ended = trip
        raise AssertionError("what runs in a connection's thread waits for nothing else")

    async def fetch(self, sql: str, parameters: Row) -> Sequence[Row]:
        return await self._do(lambda inner: inner.execute(sql, parameters).fetchall())

    async def execute(self, sql: str, parameters: Row, *, last: bool = False) -> int:
        del last
        return await self._do(lambda inner: inner.execute(sql, parameters).rowcount)

    async def update_rows(
        self, update: BulkUpdate, rows: Sequence[Row], *, last: bool = False
    ) -> int:
        del last
        return await self._do(lambda inner: inner.executemany(update.single, rows).rowcount)

    async def insert_rows(
        self, insert: BulkInsert, rows: Iterable[Row], count: int, *, last: bool = False
    ) -> None:
        del last
        made, row = iter(rows), insert.single.removeprefix(insert.head)
        for size in (max(_TOGETHER, _VALUES // len(insert.columns)), _TOGETHER, 1):
            times, count = divmod(count, size)
            together = f"{insert.head}{', '.join([row] * size)}" if times else ""
            for _ in range(times):
                # As they are made: what has gone in need not be kept until the end.
                values = [*chain.from_iterable(islice(made, size))]
                await self.execute(together, values)

    async def run(self, sql: str) -> None:
        await self.fetch(sql, ())

    async def begin(self, sql: str) -> None:
        await self.run(sql)

    async def commit(self) -> None:
        await self.run("COMMIT")

    async def ping(self) -> None:
        await self.run("SELECT 1 FROM sqlite_master LIMIT 1")

    async def _do(self, statement: Callable[[sqlite3.Connection], T]) -> T:
        """Run a statement in the connection's thread."""
        if self._thread.inside:
            return self._patiently(statement)
        return await self.through(lambda: self._do(statement))

    def _patiently(self, statement: Callable[[sqlite3.Connection], T]) -> T:
        """Repeat what found the file locked, for as long as ``busy_seconds``.

        SQLite's own wait cannot be interrupted, and does not happen at all when two connections
        switch a new file to the write-ahead log (https://sqlite.org/c3ref/busy_handler.html).
        """
        inner = self._inner
        if inner is None:
            raise _closed()
        until = monotonic() + self._busy_seconds
        while True:
            if self._trip <= self._stopped:
                raise _interrupted()
            try:
                return statement(inner)
            except OverflowError:
                raise sqlite3.DataError("a number of more than 64 bits") from None
            except sqlite3.OperationalError as error:
                busy = (code_of(error) or 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or inner.in_transaction or monotonic() >= until:
                    raise
            sleep(_BUSY_PAUSE)

    @property
    def reusable(self) -> bool:
        if self._inner is None or not self._open or self._spoiled:
            return False
        return self.identity == self.file.identity and not self._inner.in_transaction

    async def discard(self) -> None:
        """Stop what runs, and close; the thread ends when the statement has.

        The last connection that closes moves the write-ahead log into the file, and removes it.
        """
        if self._thread.inside:
            self._spoiled = True  # whoever lent it closes it, outside
            return
        if not self._open:
            return
        self._open = False
        try:
            await self._interrupt()
            await self._thread.call(self._close)
        finally:
            self.abandon()
        self._thread.join(_END_SECONDS)  # it closed the file: it ends at once

    async def abort(self) -> None:
        """Stop what runs; a thread that hangs in the file system closes when it comes back."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self.discard()

    def abandon(self) -> None:
        """Let the thread close the file, and end."""
        self._open = False
        self._thread.end(self._close)

    async def _interrupt(self) -> None:
        """Stop what runs, if something does."""
        self._stopped = self._asked
        while self._ended < self._asked:
            # A statement that begins forgets an interruption: hence again and again.
            if self._inner is not None:
                self._inner.interrupt()
            await asyncio.sleep(_STEP)

    def _close(self) -> None:
        """Close the file, in the thread; if that fails, nothing more can be done with it."""
        inner, self._inner = self._inner, None
        if inner is None:
            return
        # An interruption that is remembered keeps the log from moving into the file.
        for last in (partial(inner.execute, "SELECT 1"), inner.close):
            with suppress(sqlite3.Error):
                last()


_whole = lru_cache(maxsize=256)(re.compile)


def _matches(pattern: str, text: str | None) -> bool | None:
    """Tell whether a canonical pattern matches a whole text; null is neither."""
    return None if text is None else _whole(pattern).fullmatch(text) is not None


def _closed() -> sqlite3.ProgrammingError:
    return sqlite3.ProgrammingError("the connection is closed")


def _interrupted() -> sqlite3.OperationalError:
    """Return what SQLite raises when a statement is interrupted, for one that did not begin."""
    error = sqlite3.OperationalError("interrupted")
    error.sqlite_errorcode = sqlite3.SQLITE_INTERRUPT
    return error


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


async def in_one_trip(connection: Connection, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine that asks a connection, and waits for nothing else, in one trip to its thread."""
    return await cast("_SqliteConnection", connection).through(work)


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
    if served is None:
        try:
            _require_place(path)
        except OSError as error:
            raise _forbidden("can neither be opened nor made", path, error) from None
    elif file.look() is None:
        raise gone()
    # A file that was there and is removed must not come back empty, as if nothing had been.
    mode = "rw"
    if served is None:
        mode = "rwc"
        _create(path)
    connection = _SqliteConnection(file, busy_seconds)
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        await connection.through(partial(connection.open, uri, served))
    except BaseException:
        await farewell(connection.discard())
        raise
    file.identity = file.identity or connection.identity
    return connection


def _require_place(path: Path) -> None:
    """Raise ConfigurationError if no file can be there; OSError if that cannot be seen."""
    if not path.parent.is_dir():
        raise misconfigured(
            "the directory of the SQLite file does not exist",
            hint=f"create it: {path.parent}",
        )
    if path.is_dir():
        raise misconfigured(
            "the path of the SQLite file is that of a directory",
            hint=f"name a file in it, such as sqlite:///{path}/app.db",
        )


def _create(path: Path) -> None:
    """Make an empty file that only its owner can read, unless there is one.

    SQLite gives the mode of the file to its -wal and -shm, too. Raises ConfigurationError if this
    user may not; if something else is in the way, SQLite says what when it tries.
    """
    if path.exists():
        return
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, _PRIVATE))
        path.chmod(_PRIVATE)  # the umask may have taken rights of the owner
    except OSError as error:
        if error.errno in _FORBIDDEN and not path.exists():
            raise _forbidden("cannot be made", path, error) from None


def _forbidden(what: str, path: Path, error: OSError) -> ConfigurationError:
    return misconfigured(
        f"the SQLite file {what}: {os.strerror(error.errno or 0)}",
        hint=f"let the user of this program write to the folder {path.parent}, or name another one",
    )


@cache
def _trust() -> str:
    """Return OFF, if an index of parts of JSON is possible so, which a schema may hold.

    SQLite 3.38 to 3.40 take their own functions of JSON for unsafe. There is no other function that
    a schema of unknown origin could harm by: no extension is loaded.
    """
    with closing(sqlite3.connect(":memory:")) as probe:
        probe.execute("PRAGMA trusted_schema=OFF")
        probe.execute("CREATE TABLE t (d)")
        try:
            probe.execute("CREATE INDEX i ON t (json_type(d))")
        except sqlite3.OperationalError:
            return "ON"
    return "OFF"


async def _prelude(connection: Connection) -> None:
    await connection.run(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    ((others,),) = await connection.fetch(_OTHERS, ())
    # The log would stay in the file for good: what is only looked at is left as it is. It comes
    # with the catalog, see `SQLITE.admin`.
    log = {} if others else {"journal_mode": "WAL"}
    settings = {**log, "synchronous": "FULL", "foreign_keys": "ON", "trusted_schema": _trust()}
    for name, value in {**settings, "cache_size": "-4096"}.items():
        await connection.run(f"PRAGMA {name}={value}")
    kept = {"foreign_keys": 1, "synchronous": 2, **dict.fromkeys(log, "wal")}
    for name, wanted in kept.items():
        await _require_kept(connection, name, wanted)


async def require_log(connection: Connection) -> None:
    """Raise ConfigurationError if the file has no write-ahead log, since its place cannot hold one."""
    await _require_kept(connection, "journal_mode", "wal")


async def _require_kept(connection: Connection, name: str, wanted: object) -> None:
    ((value,),) = await connection.fetch(f"PRAGMA {name}", ())
    if value != wanted:
        raise misconfigured(
            f"SQLite does not keep PRAGMA {name}",
            hint="use a local file system that supports locks and shared memory",
        )

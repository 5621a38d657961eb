"""The adapter of SQLite: what a URL says, a writer and readers, and a watch on the file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from copy import copy
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from healthstore.abc.backend import Capabilities
from healthstore.abc.farewell import farewell
from healthstore.abc.options import common_options
from healthstore.abc.prober import Vitals
from healthstore.abc.unit import Phase
from healthstore.abc.url import BackendURL, positive, seconds
from healthstore.adapters.sql import prober
from healthstore.adapters.sql.adapter import SqlAdapter, SqlSession
from healthstore.adapters.sql.dialect import Connection, Row
from healthstore.adapters.sql.pool import Pool, PoolOptions
from healthstore.adapters.sql.session import Lent
from healthstore.adapters.sql.sqlite.dialect import SQLITE
from healthstore.adapters.sql.sqlite.driver import (
    File,
    gone,
    in_one_trip,
    on_its_file,
    open_file,
    replaced,
    require_log,
)
from healthstore.adapters.sql.sqlite.thread import Turns
from healthstore.errors import (
    Condition,
    ConfigurationError,
    Outcome,
    OutcomeUnknownError,
    SerializationError,
)
from healthstore.model.ops import Delete, Effect, Get, Insert, Op, Patch

__all__ = ("SqliteAdapter", "connect")

R = TypeVar("R")
_READERS = 4
# A prober that waits for a lock must answer before whoever asked it gives up.
_PROBER_BUSY_SECONDS = 0.2
_LONGER = 1.0  # seconds that SQLite may take to say that it has waited
_RESERVE_BYTES = 4 << 20  # of free space: below, the next checkpoint may fail


def connect(url: BackendURL, name: str) -> SqliteAdapter:
    """Return the adapter for ``sqlite:///path`` (relative) or ``sqlite:////path`` (absolute).

    ``pool_size`` counts the connections that read; ``busy_timeout`` is how long, in seconds, a
    writer waits for another process. ``timeout``, ``tls`` and ``tls_ca`` have no effect.
    """
    known = {
        **common_options(url),
        "pool_size": (positive, _READERS),
        "busy_timeout": (seconds, 5.0),
    }
    options: dict[str, Any] = url.read_options(known)
    if url.hosts:
        raise ConfigurationError(
            "the URL of a SQLite file has two slashes too few",
            hint="write sqlite:///relative/path.db or sqlite:////absolute/path.db",
        )
    if url.driver not in {"", "aiosqlite", "pysqlite"}:
        raise ConfigurationError(f"SQLite has no driver {url.driver!r}", hint="write sqlite:///…")
    if not url.database or url.database == ":memory:":
        raise ConfigurationError(
            "the URL names no file", hint="write sqlite:///path.db, or memory:// for no file"
        )
    pool = PoolOptions.read(options)
    return SqliteAdapter(name, Path(url.database), options["busy_timeout"], pool)


class SqliteAdapter(SqlAdapter):
    """A SQLite file: one writer, several readers.

    It notices when its file is removed or replaced: before anything is lent, and again after
    each write. A file that comes back is served again; another one is not, before the backend
    is opened anew: its write-ahead log may belong to the first.
    """

    capabilities = Capabilities(
        semi_joins=True,
        term_indexes=True,
        parts=True,
        locks=True,
        coalesced=frozenset({Delete, Get, Insert, Patch}),
    )

    def __init__(
        self,
        name: str,
        path: Path,
        busy_seconds: float = 5.0,
        pool: PoolOptions = PoolOptions(_READERS),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(name)
        self.dialect = SQLITE
        self.probing = prober.SQLITE
        self.connect_seconds = pool.connect_seconds
        self._file = File(path)
        self._busy_seconds = busy_seconds
        self._pool_options = pool
        self._turns = Turns()

    async def connect(self) -> None:
        """Open the file and check that it can be written durably."""
        # A file does not hang up: nothing is tried before it is lent.
        options = replace(self._pool_options, trusted_seconds=inf)
        # Who waits for the writer hears of the lock that it waits for, not of the wait.
        patience = max(options.acquire_seconds, self._busy_seconds + _LONGER)
        one = replace(options, size=1, acquire_seconds=patience)
        self.writers = Pool(self.dial_pooled, one, self._require_file, self._of_a_lock)
        self.readers = Pool(self.dial_pooled, options, self._require_file)
        await self.ping_writer()

    async def ping_writer(self) -> None:
        """Open the writing connection once, so that a bad file is found at once."""
        async with self.writers.lend() as connection:
            await connection.ping()

    def _of_a_lock(self, error: BaseException) -> SerializationError | None:
        """Return the error of a lock, for another one who has waited as long, if this is one."""
        known = self.ours(error, Phase.STEP, None) if isinstance(error, sqlite3.Error) else error
        if not (isinstance(known, SerializationError) and known.condition is Condition.OVERLOADED):
            return None
        another = copy(known)
        another.entity = another.field = None
        return another

    # --- the file ----------------------------------------------------------------------------

    async def _require_file(self) -> None:
        """Raise UnavailableError while the file is gone, or another one is in its place."""
        served, found = self._file.identity, self._file.look()
        if served is None or served == found:
            return
        for pool in self._pools():
            await pool.drop_idle()
        raise gone() if found is None else replaced()

    async def disconnect(self) -> None:
        """Close every connection; the file that is there when it is opened again is served."""
        await super().disconnect()
        self._file.identity = None

    def abandon(self) -> None:
        """Drop every connection, as when it is closed."""
        super().abandon()
        self._file.identity = None

    async def run(self, session: SqlSession, op: Op[R]) -> R:
        """Run one operation in one trip to the connection's thread.

        What was written to a file that is gone is reported as unknown.
        """
        reads = session.pool is self.readers

        async def work() -> R:
            with self._turns.taken() if reads else nullcontext():
                return await super(SqliteAdapter, self).run(session, op)

        found = await in_one_trip(session.connection, work)
        if op.effect is not Effect.READ and not session.in_transaction:
            self._require_kept(session)
        return found

    @asynccontextmanager
    async def _changing(self, lent: Lent) -> AsyncGenerator[SqlSession, None]:
        """Change the schema on a connection of its own, while nobody else writes.

        It has no foreign keys: a table that is made anew is removed first, and must not take the
        rows along that refer to it (https://sqlite.org/lang_altertable.html, section 7).
        """
        async with lent as waiting:
            connection = await self.dial_pooled()
            try:
                session = SqlSession(connection, waiting.pool)
                await connection.run("PRAGMA foreign_keys = OFF")
                await connection.run("PRAGMA legacy_alter_table = ON")
                async with session.exclusive(self.dialect):
                    await require_log(connection)  # before anything is made in the file
                    yield session
                self._require_kept(session)
            finally:
                await farewell(connection.discard())

    async def commit_session(self, session: SqlSession) -> None:
        """Commit; see :class:`SqlAdapter`."""
        await super().commit_session(session)
        if session.pool is self.writers:
            self._require_kept(session)

    def _require_kept(self, session: SqlSession) -> None:
        if not on_its_file(session.connection):
            error = OutcomeUnknownError(
                "the SQLite file was removed or replaced during a write",
                hint="put the file back, or restore a backup; then read the document",
                outcome=Outcome.UNKNOWN,
            )
            error.condition = Condition.DOWN
            raise error

    # --- connections ---------------------------------------------------------------------------

    async def dial(self) -> Connection:
        """Open the file; only the first time it is created if it is missing."""
        return await open_file(self._file, self._busy_seconds)

    async def dial_prober(self) -> Connection:
        """Open the file, with little patience for locks."""
        return await open_file(self._file, _PROBER_BUSY_SECONDS)

    async def vitals(self, connection: Connection, row: Row) -> Vitals:
        """Return what a check saw, of the file too."""
        del row
        if not on_its_file(connection):
            await self._require_file()
            raise gone()
        if not os.access(self._file.path, os.W_OK):
            return Vitals(writable=False, reason="the file or its file system is read-only")
        disk = os.statvfs(self._file.path)
        if disk.f_bavail * disk.f_frsize < _RESERVE_BYTES:
            return Vitals(writable=False, reason="the disk is nearly full")
        return Vitals()

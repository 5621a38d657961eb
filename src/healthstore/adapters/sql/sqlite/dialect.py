"""SQLite: the dialect, and a driver on aiosqlite.

One connection writes and others read (write-ahead log); ``synchronous=FULL`` makes every
acknowledged commit durable; tables are STRICT, so a column holds one type.
"""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias, cast

import aiosqlite
from sqlalchemy import ColumnElement, func, literal_column
from sqlalchemy.dialects.sqlite import aiosqlite as sqlalchemy_aiosqlite
from sqlalchemy.types import BLOB, INTEGER, REAL, TEXT, TypeEngine

from healthstore.abc.adapter import silence_values
from healthstore.abc.backend import Capabilities, Isolation
from healthstore.abc.options import common_options
from healthstore.abc.prober import Vitals
from healthstore.abc.unit import Phase
from healthstore.abc.url import BackendURL, positive, seconds
from healthstore.adapters.sql import prober
from healthstore.adapters.sql.adapter import SqlAdapter, SqlSession
from healthstore.adapters.sql.convert import (
    decode_json,
    encode_json_text,
    enum_check,
    same,
)
from healthstore.adapters.sql.dialect import BulkInsert, Connection, Converter, Dialect, Row
from healthstore.adapters.sql.errors import Failure, Verdict, misconfigured, own_name
from healthstore.adapters.sql.pool import Pool, PoolOptions
from healthstore.errors import (
    Condition,
    ConfigurationError,
    Outcome,
    OutcomeUnknownError,
    UnavailableError,
)
from healthstore.model.ops import Effect
from healthstore.model.schema import Collection
from healthstore.model.values import FieldType, Kind, from_microseconds, to_microseconds, uuid_of

__all__ = ("SQLITE", "File", "SqliteAdapter", "connect")

_MICROSECOND = timedelta(microseconds=1)
_INTEGER_DIGITS = 18  # every number of 18 digits fits into 64 bits
_WAL_PAUSE = 0.005  # seconds
_OLDEST = (3, 37)  # STRICT tables
_READERS = 4
# A prober that waits for a lock must answer before whoever asked it gives up.
_PROBER_BUSY_SECONDS = 0.2
_ABORT_SECONDS = 0.2
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
    pool = PoolOptions(options["pool_size"], options["acquire_timeout"], options["connect_timeout"])
    return SqliteAdapter(name, Path(url.database), options["busy_timeout"], pool)


# --- values ----------------------------------------------------------------------------------


def _encode_decimal(field: FieldType) -> Converter:
    """Numbers of at most 18 digits are scaled integers; longer ones sortable text.

    The text is a sign and all the digits; those of a negative number are complemented, so that
    text order is the order of the numbers.
    """
    places, digits = field.places, field.digits
    if digits <= _INTEGER_DIGITS:
        return lambda value: int(value.scaleb(places))
    ceiling = 10**digits - 1

    def encode(value: Decimal) -> str:
        scaled = int(value.scaleb(places))
        return f"1{scaled:0{digits}d}" if scaled >= 0 else f"0{ceiling + scaled:0{digits}d}"

    return encode


def _decode_decimal(field: FieldType) -> Converter:
    places, digits = field.places, field.digits
    if digits <= _INTEGER_DIGITS:
        return lambda value: Decimal(value).scaleb(-places)
    ceiling = 10**digits - 1

    def decode(value: str) -> Decimal:
        scaled = int(value[1:])
        return Decimal(scaled if value[0] == "1" else scaled - ceiling).scaleb(-places)

    return decode


def _decode_time(value: int) -> Any:
    return (_MIDNIGHT + timedelta(microseconds=value)).time()


_MIDNIGHT = from_microseconds(0).replace(tzinfo=None)


def _encode_time(value: Any) -> int:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return int(seconds * 1_000_000 + value.microsecond)


_ENCODERS: Mapping[Kind, Callable[[FieldType], Converter | None]] = {
    Kind.TEXT: same,
    Kind.ENUM: same,
    Kind.INTEGER: same,
    Kind.FLOAT: same,
    Kind.BYTES: same,
    Kind.BOOLEAN: lambda _: int,
    Kind.DECIMAL: _encode_decimal,
    Kind.DATETIME: lambda _: to_microseconds,
    Kind.DATE: lambda _: date.isoformat,
    Kind.TIME: lambda _: _encode_time,
    Kind.DURATION: lambda _: lambda value: value // _MICROSECOND,
    Kind.UUID: lambda _: lambda value: value.bytes,
    Kind.JSON: lambda _: encode_json_text,
}
_DECODERS: Mapping[Kind, Callable[[FieldType], Converter | None]] = {
    **_ENCODERS,
    Kind.FLOAT: lambda _: float,  # UPDATE … RETURNING gives 0 for 0.0
    Kind.BOOLEAN: lambda _: bool,
    Kind.DECIMAL: _decode_decimal,
    Kind.DATETIME: lambda _: from_microseconds,
    Kind.DATE: lambda _: date.fromisoformat,
    Kind.TIME: lambda _: _decode_time,
    Kind.DURATION: lambda _: lambda value: timedelta(microseconds=value),
    Kind.UUID: lambda _: uuid_of,
    Kind.JSON: lambda _: decode_json,
}

_COLUMNS: Mapping[Kind, TypeEngine[Any]] = {
    Kind.TEXT: TEXT(),
    Kind.ENUM: TEXT(),
    Kind.INTEGER: INTEGER(),
    Kind.FLOAT: REAL(),
    Kind.BYTES: BLOB(),
    Kind.BOOLEAN: INTEGER(),
    Kind.DATETIME: INTEGER(),
    Kind.DATE: TEXT(),
    Kind.TIME: INTEGER(),
    Kind.DURATION: INTEGER(),
    Kind.UUID: BLOB(),
    Kind.JSON: TEXT(),
}


def _column_type(field: FieldType, _: bool) -> TypeEngine[Any]:  # noqa: FBT001 - the dialect's shape
    if field.kind is Kind.DECIMAL:
        return INTEGER() if field.digits <= _INTEGER_DIGITS else TEXT()
    return _COLUMNS[field.kind]


def _column_check(column: ColumnElement[Any], field: FieldType) -> ColumnElement[bool] | None:
    if field.kind is Kind.BOOLEAN:
        return column.in_([0, 1])
    if field.kind is Kind.DECIMAL and field.digits <= _INTEGER_DIGITS:
        bound = 10**field.digits
        return column.between(1 - bound, bound - 1)
    return enum_check(column, field)


def _sum_columns(column: ColumnElement[Any], _: FieldType) -> tuple[ColumnElement[Any], ...]:
    # In two halves: a sum beyond 64 bits is an error in SQLite, and a total() is not exact.
    return (
        func.sum(column.op(">>")(literal_column("32"))),
        func.sum(column.op("&")(literal_column("4294967295"))),
    )


def _sum_value(field: FieldType, values: Sequence[Any]) -> Any:
    high, low = values
    if high is None:
        return None
    total = (high << 32) + low
    if field.kind is Kind.DECIMAL:
        return Decimal(total).scaleb(-field.places)
    return timedelta(microseconds=total) if field.kind is Kind.DURATION else total


_SUMMED = frozenset({Kind.INTEGER, Kind.DURATION})


def _sums(field: FieldType) -> bool:
    short = field.kind is Kind.DECIMAL and field.digits <= _INTEGER_DIGITS
    return field.kind in _SUMMED or short


# --- errors ----------------------------------------------------------------------------------

# Extended codes first, then primary ones (https://sqlite.org/rescode.html).
_CODES: Mapping[int, Verdict] = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: Verdict.DUPLICATE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: Verdict.DUPLICATE,
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: Verdict.FOREIGN_KEY,
    1811: Verdict.REFERENCED,  # SQLITE_CONSTRAINT_TRIGGER: how ON DELETE RESTRICT is reported
    sqlite3.SQLITE_CONSTRAINT_CHECK: Verdict.CHECK,
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: Verdict.NOT_NULL,
    3091: Verdict.RANGE,  # SQLITE_CONSTRAINT_DATATYPE: an integer became a REAL
    sqlite3.SQLITE_BUSY: Verdict.CONFLICT,
    sqlite3.SQLITE_LOCKED: Verdict.CONFLICT,
    sqlite3.SQLITE_PROTOCOL: Verdict.CONFLICT,
    sqlite3.SQLITE_READONLY: Verdict.READ_ONLY,
    sqlite3.SQLITE_FULL: Verdict.FULL,
    sqlite3.SQLITE_CANTOPEN: Verdict.UNAVAILABLE,
    sqlite3.SQLITE_NOMEM: Verdict.OVERLOADED,
    sqlite3.SQLITE_IOERR: Verdict.DAMAGED,
    sqlite3.SQLITE_CORRUPT: Verdict.DAMAGED,
    sqlite3.SQLITE_NOTADB: Verdict.DAMAGED,
    1032: Verdict.REFUSED,  # SQLITE_READONLY_DBMOVED: the file is gone, and nothing was written
    sqlite3.SQLITE_INTERRUPT: Verdict.DEADLINE,
    sqlite3.SQLITE_AUTH: Verdict.CONFIGURATION,
    sqlite3.SQLITE_PERM: Verdict.CONFIGURATION,
    sqlite3.SQLITE_ERROR: Verdict.MISTAKE,
    sqlite3.SQLITE_TOOBIG: Verdict.MISTAKE,
    sqlite3.SQLITE_MISUSE: Verdict.MISTAKE,
}


# SQLite has one code for every mistake in a statement; its messages are never translated.
_MISSING = re.compile("no such (table|column)")
_CLASSES: Mapping[type[BaseException], Verdict] = {
    OverflowError: Verdict.RANGE,
    sqlite3.ProgrammingError: Verdict.UNAVAILABLE,  # "Cannot operate on a closed database."
    ValueError: Verdict.UNAVAILABLE,  # aiosqlite's "no active connection"
}


def _classify(error: BaseException, phase: Phase, collection: Collection | None) -> Failure:
    del phase
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        name = type(error).__name__
        return Failure(_CLASSES.get(type(error), Verdict.OTHER), name)
    if code == sqlite3.SQLITE_ERROR and _MISSING.match(str(error)):
        return Failure(Verdict.MISSING, str(code))
    verdict = _CODES.get(code) or _CODES.get(code & 0xFF, Verdict.OTHER)
    constraint = None
    if collection is not None and verdict in {Verdict.DUPLICATE, Verdict.CHECK}:
        constraint = _constraint(str(error), verdict, collection)
    return Failure(verdict, str(code), constraint)


_COLUMN = re.compile(r"\w+\.(\w+)")


def _constraint(message: str, verdict: Verdict, collection: Collection) -> str | None:
    """Return the name of ours: SQLite tells it only in its message, of a unique key the columns."""
    if verdict is Verdict.CHECK:
        return own_name(message, (*collection.check_names, *collection.type_names))
    columns = tuple(_COLUMN.findall(message))
    return next(
        (name for name, fields in collection.index_names.items() if fields == columns), None
    )


# --- the driver ------------------------------------------------------------------------------


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

    def __init__(self, inner: aiosqlite.Connection, file: File, identity: Identity | None) -> None:
        self._inner = inner
        self._open = True
        self._file = file
        self._identity = identity

    async def fetch(self, sql: str, parameters: Row) -> Sequence[Row]:
        return list(await self._inner.execute_fetchall(sql, parameters))

    async def execute(self, sql: str, parameters: Row) -> int:
        # RETURNING tells the number of rows without a second trip to the thread.
        return len(await self.fetch(f"{sql} RETURNING 1", parameters))

    async def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        cursor = await self._inner.executemany(sql, rows)
        await cursor.close()

    async def insert_rows(self, insert: BulkInsert, rows: Sequence[Row]) -> None:
        await self.execute_many(insert.single, rows)

    async def run(self, sql: str) -> None:
        await self._inner.execute_fetchall(sql)

    async def ping(self) -> None:
        await self._inner.execute_fetchall("SELECT 1 FROM sqlite_master LIMIT 1")

    @property
    def on_its_file(self) -> bool:
        """Whether the file that it opened is still the one at the path.

        SQLite itself goes on: it writes to a file that has no name any more, and reports success.
        """
        return self._file.look() == self._identity

    @property
    def reusable(self) -> bool:
        served = self._identity == self._file.identity
        return served and self._open and not self._inner.in_transaction

    async def discard(self) -> None:
        """Stop what runs, and close; the thread ends when the statement has."""
        if not self._open:
            return
        self._open = False
        try:
            await self._inner.interrupt()
            await self._inner.close()
        except (sqlite3.Error, ValueError) as error:
            # Nothing more can be done with it: the file is closed when the thread ends.
            del error

    async def abort(self) -> None:
        """Stop what runs; a thread that hangs in the file system closes when it comes back."""
        if self._open:
            self._open = False
            with suppress(sqlite3.Error, ValueError):  # it was never opened
                await self._inner.interrupt()
            stopped = self._inner.stop()
            if stopped is not None:
                await asyncio.wait({stopped}, timeout=_ABORT_SECONDS)


def _gone() -> UnavailableError:
    error = UnavailableError(
        "the SQLite file was removed or replaced",
        hint="put the file back, or restore a backup in its place",
    )
    error.condition = Condition.DOWN
    return error


class SqliteAdapter(SqlAdapter):
    """A SQLite file: one writer, several readers.

    It notices when its file is removed or replaced: before anything is lent, and again after
    each write. The file that is at the path by then is served from the next call on.
    """

    capabilities = Capabilities()

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

    async def connect(self) -> None:
        """Open the file and check that it can be written durably."""
        silence_values("aiosqlite")
        options = self._pool_options
        self.writers = Pool(self.dial_pooled, replace(options, size=1), self._require_file)
        self.readers = Pool(self.dial_pooled, options, self._require_file)
        await self.ping_writer()

    async def ping_writer(self) -> None:
        """Open the writing connection once, so that a bad file is found at once."""
        async with self.writers.lend() as connection:
            await connection.ping()

    # --- the file ----------------------------------------------------------------------------

    async def _require_file(self) -> None:
        """Raise UnavailableError once for each time that the file was removed or replaced."""
        served, found = self._file.identity, self._file.look()
        if served is None or served == found:
            return
        self._file.identity = found or served
        for pool in self._pools():
            await pool.drop_idle()
        raise _gone()

    @asynccontextmanager
    async def session(self, effect: Effect) -> AsyncGenerator[SqlSession, None]:
        """Lend a connection; what was written to a file that is gone is reported as unknown."""
        async with super().session(effect) as session:
            yield session
        if effect is not Effect.READ:
            self._require_kept(session)

    async def commit_session(self, session: SqlSession) -> None:
        """Commit; see :class:`SqlAdapter`."""
        await super().commit_session(session)
        if session.pool is self.writers:
            self._require_kept(session)

    def _require_kept(self, session: SqlSession) -> None:
        if not cast("_SqliteConnection", session.connection).on_its_file:
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
        return await self._open_file(self._busy_seconds)

    async def dial_prober(self) -> Connection:
        """Open the file, with little patience for locks."""
        return await self._open_file(_PROBER_BUSY_SECONDS)

    async def _open_file(self, busy_seconds: float) -> Connection:
        if sqlite3.sqlite_version_info < _OLDEST:
            raise misconfigured(
                f"SQLite {sqlite3.sqlite_version} is too old", hint="3.37 or newer is needed"
            )
        served, path = self._file.identity, self._file.path
        if served is None and not path.parent.is_dir():
            raise misconfigured(
                "the directory of the SQLite file does not exist",
                hint=f"create it: {path.parent}",
            )
        if served is not None and self._file.look() is None:
            raise _gone()
        # A file that was there and is removed must not come back empty, as if nothing had been.
        mode = "rwc" if served is None else "rw"
        inner = aiosqlite.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            cached_statements=256,
        )
        # A program that forgets close() must still end: aiosqlite's thread is no daemon
        # (omnilib/aiosqlite#369).
        inner._thread.daemon = True  # noqa: SLF001 - there is no public way
        try:
            await inner
            identity = self._file.look()
            await self._prelude(inner, busy_seconds)
        except BaseException:
            await asyncio.shield(_SqliteConnection(inner, self._file, None).discard())
            raise
        self._file.identity = self._file.identity or identity
        return _SqliteConnection(inner, self._file, identity)

    async def vitals(self, connection: Connection, row: Row) -> Vitals:
        """Return what a check saw, of the file too."""
        del row
        if not cast("_SqliteConnection", connection).on_its_file:
            await self._require_file()
            raise _gone()
        if not os.access(self._file.path, os.W_OK):
            return Vitals(writable=False, reason="the file or its file system is read-only")
        disk = os.statvfs(self._file.path)
        if disk.f_bavail * disk.f_frsize < _RESERVE_BYTES:
            return Vitals(writable=False, reason="the disk is nearly full")
        return Vitals()

    async def _prelude(self, inner: aiosqlite.Connection, busy_seconds: float) -> None:
        await inner.execute_fetchall(f"PRAGMA busy_timeout={int(busy_seconds * 1000)}")
        await _set_wal(inner, busy_seconds)
        for pragma in (
            "synchronous=FULL",
            "foreign_keys=ON",
            "trusted_schema=OFF",
            "cache_size=-4096",
        ):
            await inner.execute_fetchall(f"PRAGMA {pragma}")
        for name, wanted in (("foreign_keys", 1), ("synchronous", 2), ("journal_mode", "wal")):
            ((value,),) = await inner.execute_fetchall(f"PRAGMA {name}")
            if value != wanted:
                raise misconfigured(
                    f"SQLite does not keep PRAGMA {name}",
                    hint="use a local file system that supports locks and shared memory",
                )


async def _set_wal(inner: aiosqlite.Connection, seconds: float) -> None:
    """Switch a new file to the write-ahead log.

    Two connections that do so at once get SQLITE_BUSY without the busy handler's patience
    (https://sqlite.org/c3ref/busy_handler.html: it would be a deadlock).
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while True:
        try:
            await inner.execute_fetchall("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or loop.time() >= until:
                raise
        else:
            return
        await asyncio.sleep(_WAL_PAUSE)


SQLITE = Dialect(
    compiler=sqlalchemy_aiosqlite.dialect(),
    ddl_compiler=sqlalchemy_aiosqlite.dialect(),
    column_type=_column_type,
    table_options={"sqlite_strict": True},
    encoders=_ENCODERS,
    decoders=_DECODERS,
    column_check=_column_check,
    contains=lambda column, text: func.instr(column, text) > literal_column("0"),
    ends=lambda column, text, length: func.substr(column, -length) == text,
    rank_nulls=False,
    returning=True,
    row_locks=False,
    detects_conflicts=True,
    adds=_sums,
    sums=_sums,
    sum_columns=_sum_columns,
    sum_value=_sum_value,
    max_parameters=32_000,
    bulk_rows=5_000,
    existing="SELECT name FROM sqlite_master WHERE type = 'table'",
    existing_indexes="SELECT name FROM sqlite_master WHERE type = 'index'",
    begin={
        (isolation, read_only): ("BEGIN", "SELECT 1 FROM sqlite_master LIMIT 1")
        if read_only
        else ("BEGIN IMMEDIATE",)
        for isolation in Isolation
        for read_only in (False, True)
    },
    begin_write="BEGIN IMMEDIATE",
    admin=(("BEGIN IMMEDIATE",), ("COMMIT",), ("ROLLBACK",)),
    classify=_classify,
)

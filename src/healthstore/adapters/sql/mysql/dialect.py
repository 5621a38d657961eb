"""MySQL and MariaDB: two dialects, told apart by the server's version, and one driver on aiomysql.

Each connection sets what a server may have set otherwise: strict mode, UTC, binary collation,
autocommit, and matched instead of changed rows. A connection that cannot be set is refused.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast

import aiomysql
import pymysql
from pymysql.constants import CLIENT, FIELD_TYPE, SERVER_STATUS
from pymysql.converters import escape_string
from sqlalchemy import func, literal_column
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.mysql import aiomysql as sqlalchemy_aiomysql
from sqlalchemy.types import TypeEngine

from healthstore.abc.backend import Capabilities, Isolation
from healthstore.abc.causes import refused, untrusted
from healthstore.abc.options import common_options, encryption
from healthstore.abc.tls import Tls, read_tls, tls_context
from healthstore.abc.unit import Phase
from healthstore.abc.url import BackendURL
from healthstore.adapters.sql import prober
from healthstore.adapters.sql.adapter import SqlAdapter
from healthstore.adapters.sql.convert import (
    decode_json,
    encode_json_text,
    enum_check,
    same,
)
from healthstore.adapters.sql.dialect import BulkInsert, Connection, Converter, Dialect, Row
from healthstore.adapters.sql.errors import Failure, Verdict, misconfigured, own_name
from healthstore.adapters.sql.pool import Pool, PoolOptions
from healthstore.errors import ConfigurationError
from healthstore.model.schema import Collection
from healthstore.model.values import FieldType, Kind, uuid_of

__all__ = ("MARIADB", "MYSQL", "MySqlAdapter", "connect")

_MICROSECOND = timedelta(microseconds=1)
_INDEXED_TEXT = 255  # longer text is a VARCHAR only where it is indexed: rows hold 65,535 bytes
_STATEMENT_BYTES = 1 << 20  # of one bulk insert; a server's max_allowed_packet is 16 MiB or more
_SMALLEST_PACKET = 16 << 20
_LOCK_WAIT_SECONDS = 10
_KILL_SECONDS = 0.2
_SORTED_BYTES = 65_532  # texts that differ only later than this have no order
_SORT_BUFFER = 4 << 20
_SQL_MODE = (
    "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "ONLY_FULL_GROUP_BY,NO_ENGINE_SUBSTITUTION"
)


def connect(url: BackendURL, name: str) -> MySqlAdapter:
    """Return the adapter for ``mysql://`` or ``mariadb://user:password@host:port/database``."""
    if url.driver not in {"", "aiomysql", "pymysql"}:
        raise ConfigurationError(f"MySQL has no driver {url.driver!r}", hint="write mysql://…")
    options: dict[str, Any] = url.read_options(
        {**common_options(url), "ssl": (read_tls, None), "charset": (_utf8mb4, "utf8mb4")}
    )
    options["tls"] = encryption(url, options, "ssl")
    if not url.database:
        raise ConfigurationError(
            "the URL names no database", hint=f"write {url.scheme}://user@host/database"
        )
    return MySqlAdapter(name, url, options)


def _utf8mb4(text: str) -> str:
    if text != "utf8mb4":
        raise ValueError(text)
    return text


# --- values ----------------------------------------------------------------------------------


def _encode_datetime(value: datetime) -> str:
    return value.isoformat(" ", "microseconds")[:26]  # without "+00:00": the session is in UTC


def _decode_datetime(value: str) -> datetime:
    return datetime.fromisoformat(f"{value}+00:00")


_ENCODERS: Mapping[Kind, Callable[[FieldType], Converter | None]] = {
    **dict.fromkeys(Kind, same),
    Kind.BOOLEAN: lambda _: int,
    Kind.DATETIME: lambda _: _encode_datetime,
    Kind.DATE: lambda _: date.isoformat,
    Kind.TIME: lambda _: lambda value: value.isoformat("microseconds"),
    Kind.DURATION: lambda _: lambda value: value // _MICROSECOND,
    Kind.UUID: lambda _: lambda value: value.bytes,
    Kind.JSON: lambda _: encode_json_text,
}
_DECODERS: Mapping[Kind, Callable[[FieldType], Converter | None]] = {
    **dict.fromkeys(Kind, same),
    Kind.BOOLEAN: lambda _: bool,
    Kind.DATETIME: lambda _: _decode_datetime,
    Kind.DATE: lambda _: date.fromisoformat,
    Kind.TIME: lambda _: time.fromisoformat,
    Kind.DURATION: lambda _: lambda value: timedelta(microseconds=value),
    Kind.UUID: lambda _: uuid_of,
    Kind.JSON: lambda _: decode_json,
}

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
}


def _literal(value: object) -> str:
    return _LITERALS[type(value)](value)


def _column_types(
    collation: str,
) -> Callable[[FieldType, bool], TypeEngine[Any]]:
    def varchar(length: int) -> TypeEngine[Any]:
        return mysql.VARCHAR(length, charset="utf8mb4", collation=collation)

    def text(field: FieldType, indexed: bool) -> TypeEngine[Any]:  # noqa: FBT001 - the dialect's shape
        length = field.max_length
        if length is not None and (length <= _INDEXED_TEXT or indexed):
            return varchar(length)
        return mysql.LONGTEXT(charset="utf8mb4", collation=collation)

    columns: Mapping[Kind, Callable[[FieldType, bool], TypeEngine[Any]]] = {
        Kind.TEXT: text,
        Kind.ENUM: lambda field, _: varchar(max(map(len, field.choices))),
        Kind.INTEGER: lambda *_: mysql.BIGINT(),
        Kind.FLOAT: lambda *_: mysql.DOUBLE(),
        Kind.BYTES: lambda *_: mysql.LONGBLOB(),
        Kind.BOOLEAN: lambda *_: mysql.TINYINT(),
        Kind.DECIMAL: lambda field, _: mysql.DECIMAL(field.digits, field.places),
        Kind.DATETIME: lambda *_: mysql.DATETIME(fsp=6),
        Kind.DATE: lambda *_: mysql.DATE(),
        Kind.TIME: lambda *_: mysql.TIME(fsp=6),
        Kind.DURATION: lambda *_: mysql.BIGINT(),
        Kind.UUID: lambda *_: _BINARY_16,
        # Never the JSON type: it may change the last digit of a double (MySQL bug 112904).
        Kind.JSON: lambda *_: mysql.LONGTEXT(charset="utf8mb4", collation=collation),
    }
    return lambda field, indexed: columns[field.kind](field, indexed)


_BINARY_16 = mysql.BINARY(16)


def _sum_value(field: FieldType, values: Sequence[Any]) -> Any:
    (total,) = values
    if total is None or field.kind in {Kind.DECIMAL, Kind.FLOAT}:
        return total
    whole = int(total)  # the sum of BIGINTs is a DECIMAL
    return timedelta(microseconds=whole) if field.kind is Kind.DURATION else whole


# --- errors ----------------------------------------------------------------------------------

# Server errors, then the client's own (above 2000).
_CODES: Mapping[int, Verdict] = {
    1062: Verdict.DUPLICATE,
    1586: Verdict.DUPLICATE,
    1216: Verdict.FOREIGN_KEY,
    1217: Verdict.REFERENCED,
    1451: Verdict.REFERENCED,
    1452: Verdict.FOREIGN_KEY,
    3819: Verdict.CHECK,
    4025: Verdict.CHECK,
    1048: Verdict.NOT_NULL,
    1364: Verdict.NOT_NULL,
    1264: Verdict.RANGE,
    1690: Verdict.RANGE,
    1020: Verdict.CONFLICT,
    1205: Verdict.CONFLICT,
    1213: Verdict.CONFLICT,
    3101: Verdict.CONFLICT,
    3572: Verdict.CONFLICT,
    1290: Verdict.READ_ONLY,
    1792: Verdict.READ_ONLY,
    1836: Verdict.READ_ONLY,
    3100: Verdict.READ_ONLY,
    1021: Verdict.FULL,
    1114: Verdict.FULL,
    1040: Verdict.OVERLOADED,
    1203: Verdict.OVERLOADED,
    1226: Verdict.OVERLOADED,
    1135: Verdict.OVERLOADED,
    1041: Verdict.OVERLOADED,
    1064: Verdict.MISTAKE,
    1292: Verdict.MISTAKE,
    1366: Verdict.MISTAKE,
    1406: Verdict.MISTAKE,
    1053: Verdict.GOING_AWAY,
    1077: Verdict.GOING_AWAY,
    1079: Verdict.GOING_AWAY,
    1927: Verdict.LOST,
    3169: Verdict.LOST,
    4031: Verdict.LOST,
    **dict.fromkeys(range(1152, 1162), Verdict.LOST),
    1317: Verdict.DEADLINE,
    1969: Verdict.DEADLINE,
    3024: Verdict.DEADLINE,
    1044: Verdict.CONFIGURATION,
    1045: Verdict.CONFIGURATION,
    1049: Verdict.CONFIGURATION,
    1129: Verdict.CONFIGURATION,
    1130: Verdict.CONFIGURATION,
    1142: Verdict.CONFIGURATION,
    1251: Verdict.CONFIGURATION,
    1698: Verdict.CONFIGURATION,
    1862: Verdict.CONFIGURATION,
    2049: Verdict.CONFIGURATION,
    2054: Verdict.CONFIGURATION,
    1143: Verdict.CONFIGURATION,
    1227: Verdict.CONFIGURATION,
    2026: Verdict.UNTRUSTED,
    1054: Verdict.MISSING,
    1146: Verdict.MISSING,
    1824: Verdict.MISSING,
    2002: Verdict.UNAVAILABLE,
    2003: Verdict.UNAVAILABLE,
    2005: Verdict.UNAVAILABLE,
    2012: Verdict.UNAVAILABLE,
    2006: Verdict.LOST,
    2013: Verdict.LOST,
    2014: Verdict.LOST,
    2055: Verdict.LOST,
}
# 1026 and 1030 quote the number of the storage engine's or the system's error.
_ENGINE = re.compile(r"(?:error(?: number)?:?|errno:) (\d+)", re.IGNORECASE)
_ENGINE_CODES = frozenset({1026, 1030})
_NAMED = frozenset({Verdict.DUPLICATE, Verdict.FOREIGN_KEY, Verdict.CHECK})
_QUOTED = re.compile(r"[`'\"]([^`'\"]*)[`'\"]")


def _classify(error: BaseException, phase: Phase, collection: Collection | None) -> Failure:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else None
    if isinstance(error, pymysql.err.MySQLError) and code:
        verdict = _verdict(code, error)
        constraint = None
        if collection is not None and verdict in _NAMED:
            constraint = _constraint(str(error.args[-1]), verdict, collection)
        return Failure(verdict, str(code), constraint)
    name = type(error).__name__
    if isinstance(error, pymysql.err.InterfaceError):
        # "Not connected", "Cancelled during execution": it was known before anything was sent.
        return Failure(Verdict.UNAVAILABLE, name)
    if isinstance(error, OSError | EOFError | TimeoutError | BaseExceptionGroup):
        if phase is not Phase.CONNECT:
            return Failure(Verdict.LOST, name)
        if untrusted(error):
            return Failure(Verdict.UNTRUSTED, name)
        return Failure(Verdict.REFUSED if refused(error) else Verdict.UNAVAILABLE, name)
    return Failure(Verdict.OTHER, name)


def _verdict(code: int, error: BaseException) -> Verdict:
    if code in _ENGINE_CODES:
        number = _ENGINE.search(str(error.args[-1]))
        full = number is not None and int(number[1]) == errno.ENOSPC
        return Verdict.FULL if full else Verdict.DAMAGED
    if code in _UNREACHABLE:
        # aiomysql reports any failure of a connection attempt so.
        if untrusted(error):
            return Verdict.UNTRUSTED
        if refused(error):
            return Verdict.REFUSED
    return _CODES.get(code, Verdict.OTHER)


_UNREACHABLE = frozenset({2002, 2003})


def _constraint(message: str, verdict: Verdict, collection: Collection) -> str | None:
    """Return the name of ours that the message quotes: the server tells it nowhere else.

    Of a duplicate the message also quotes the value, which could look like a name; the key
    comes last in every language.
    """
    quoted = _QUOTED.findall(message)
    if verdict is Verdict.DUPLICATE:
        return own_name(quoted[-1] if quoted else "", collection.index_names)
    if verdict is Verdict.CHECK:
        return own_name(message, (*collection.check_names, *collection.type_names))
    return own_name(message, collection.reference_names)


# --- the driver ------------------------------------------------------------------------------


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
        return (
            self._open
            and not self._inner.closed
            and not status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
        )

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

    async def _query(self, sql: str) -> int:
        """Run a statement and return the number of rows that it matched.

        Without a cursor of the driver: it asks for the text of each warning, with a round trip.
        In strict mode what would change a value is an error; what is left is noise, such as a
        zero date for the MIN() of nothing on the way through MySQL's temporary table.
        """
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


class MySqlAdapter(SqlAdapter):
    """A MySQL or MariaDB database behind a pool of connections."""

    capabilities = Capabilities()

    def __init__(self, name: str, url: BackendURL, options: Mapping[str, Any]) -> None:
        super().__init__(name)
        self.dialect = MYSQL
        self.probing = prober.MYSQL
        self.connect_seconds = options["connect_timeout"]
        self._url = url
        self._options = options
        self._tls = tls_context(options["tls"], options["tls_ca"])
        self.verified = options["tls"] is Tls.VERIFY
        self._product = _PRODUCTS[0]

    async def connect(self) -> None:
        """Connect once, learn which product and version serves, and check its settings."""
        self.writers = self.readers = Pool(
            self.dial_pooled,
            PoolOptions(
                self._options["pool_size"],
                self._options["acquire_timeout"],
                self._options["connect_timeout"],
            ),
        )
        async with self.writers.lend() as connection:
            ((version, packet, flush),) = await connection.fetch(
                "SELECT VERSION(), @@max_allowed_packet, @@innodb_flush_log_at_trx_commit", ()
            )
        self._product = _product(version)
        self.dialect = self._product.dialect
        if _version(version) < self._product.oldest:
            oldest = ".".join(map(str, self._product.oldest))
            raise misconfigured(
                f"the {self._product.name} server is too old", hint=f"{oldest} or newer is needed"
            )
        if packet < _SMALLEST_PACKET:
            raise misconfigured(
                f"the server's max_allowed_packet is {packet} bytes",
                hint=f"set it to {_SMALLEST_PACKET} or more",
            )
        if flush != 1:
            raise misconfigured(
                "the server loses acknowledged commits when it stops",
                hint="set innodb_flush_log_at_trx_commit = 1",
            )

    async def _kill(self, thread: int) -> None:
        """End a connection, and what runs on it, from another connection."""
        inner = await self._dial()
        try:
            await inner.query(f"KILL {thread}")
        finally:
            inner.close()

    async def _dial(self) -> aiomysql.Connection:
        host = self._url.hosts[0] if self._url.hosts else None
        socket = host.name if host is not None and host.name.startswith("/") else None
        inner = _EncryptedConnection(
            host=host.name if host else "localhost",
            unix_socket=socket,
            port=(host.port if host else None) or 3306,
            user=self._url.user,
            password=self._url.password or "",
            db=self._url.database,
            charset="utf8mb4",
            autocommit=True,
            client_flag=CLIENT.FOUND_ROWS,
            conv=_READERS,
            ssl=None if socket else self._tls,
            connect_timeout=self._options["connect_timeout"],
        )
        try:
            await inner._connect()  # noqa: SLF001 - what aiomysql.connect() does
        except BaseException:
            inner.close()  # the driver forgets its socket when it is cancelled
            raise
        return inner

    async def dial(self) -> Connection:
        """Open a connection and set what the server may have set otherwise."""
        inner = await self._dial()
        connection = _MySqlConnection(inner, self._kill)
        try:
            for statement in self._prelude(_product(inner.get_server_info())):
                await connection.run(statement)
        except BaseException:
            await asyncio.shield(connection.discard())
            raise
        return connection

    def _prelude(self, product: _Product) -> Sequence[str]:
        return (
            f"SET NAMES utf8mb4 COLLATE {product.collation}",
            f"SET SESSION sql_mode = '{_SQL_MODE}', time_zone = '+00:00'",
            f"SET SESSION innodb_lock_wait_timeout = {_LOCK_WAIT_SECONDS}",
            # By default MariaDB sorts by the first 1,024 bytes of a text, without a word; the
            # buffer must hold 15 keys of the full length.
            f"SET SESSION max_sort_length = {_SORTED_BYTES}, sort_buffer_size = {_SORT_BUFFER}",
            f"SET SESSION {product.deadline(self._options['timeout'])}",
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        )


_ADMIN_LOCK = "healthstore_schema"


def _dialect(collation: str) -> Dialect:
    ddl_compiler = mysql.dialect(paramstyle="named")
    return Dialect(
        compiler=sqlalchemy_aiomysql.dialect(),
        ddl_compiler=ddl_compiler,
        column_type=_column_types(collation),
        table_options={
            "mysql_engine": "InnoDB",
            "mysql_charset": "utf8mb4",
            "mysql_collate": collation,
            "mysql_row_format": "DYNAMIC",
        },
        encoders=_ENCODERS,
        decoders=_DECODERS,
        column_check=enum_check,
        contains=lambda column, text: func.locate(text, column) > literal_column("0"),
        ends=lambda column, text, length: func.right(column, length) == text,
        rank_nulls=False,
        returning=False,
        row_locks=True,
        detects_conflicts=False,
        adds=lambda _: False,
        sums=lambda field: field.numeric,
        sum_columns=lambda column, _: (func.sum(column),),
        sum_value=_sum_value,
        max_parameters=60_000,
        bulk_rows=5_000,
        existing="SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
        existing_indexes="SELECT DISTINCT index_name FROM information_schema.statistics "
        "WHERE table_schema = DATABASE()",
        begin={
            (isolation, read_only): (
                f"SET TRANSACTION ISOLATION LEVEL {level}",
                f"START TRANSACTION {', '.join((*snapshot, mode))}",
            )
            for isolation, level, snapshot in (
                (Isolation.SNAPSHOT, "REPEATABLE READ", ("WITH CONSISTENT SNAPSHOT",)),
                # Here reads lock what they see, so there is no snapshot.
                (Isolation.SERIALIZABLE, "SERIALIZABLE", ()),
            )
            for read_only, mode in ((False, "READ WRITE"), (True, "READ ONLY"))
        },
        begin_write="START TRANSACTION",
        admin=(
            (f"SELECT GET_LOCK('{_ADMIN_LOCK}', 60)",),
            (f"SELECT RELEASE_LOCK('{_ADMIN_LOCK}')",),
            (f"SELECT RELEASE_LOCK('{_ADMIN_LOCK}')",),
        ),
        classify=_classify,
    )


MYSQL = _dialect("utf8mb4_0900_bin")
# MariaDB has no 0900 collations before 11.4; both of these compare code points and do not pad.
MARIADB = _dialect("utf8mb4_nopad_bin")


@dataclass(frozen=True, slots=True)
class _Product:
    """What differs between the two products on one wire protocol."""

    name: str
    mark: str
    """Occurs in the server's version."""
    dialect: Dialect
    collation: str
    oldest: tuple[int, int]
    deadline: Callable[[float], str]
    """The setting that ends a statement on the server after some seconds."""


_PRODUCTS = (
    _Product(
        "MariaDB",
        "MariaDB",
        MARIADB,
        "utf8mb4_nopad_bin",
        (10, 11),
        lambda seconds: f"max_statement_time = {seconds:g}",
    ),
    _Product(
        "MySQL",
        "",
        MYSQL,
        "utf8mb4_0900_bin",
        (8, 0),
        lambda seconds: f"max_execution_time = {int(seconds * 1000)}",
    ),
)


def _product(version: str) -> _Product:
    return next(product for product in _PRODUCTS if product.mark in version)


def _version(text: str) -> tuple[int, int]:
    # MariaDB may hide behind "5.5.5-", for old replicas.
    major, minor = re.findall(r"\d+", text.removeprefix("5.5.5-"))[:2]
    return int(major), int(minor)

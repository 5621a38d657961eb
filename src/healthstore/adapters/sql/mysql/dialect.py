"""The dialects of MySQL and MariaDB: values, columns, error codes and constants."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any

import pymysql
from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKeyConstraint,
    cast,
    func,
    literal_column,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.mysql import aiomysql as sqlalchemy_aiomysql
from sqlalchemy.schema import CreateColumn
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.types import TypeEngine

from healthstore.abc.backend import Isolation
from healthstore.abc.causes import is_ours, refused, untrusted
from healthstore.abc.unit import Phase
from healthstore.adapters.sql.convert import (
    constant,
    decode_json,
    encode_json_text,
    enum_check,
    same,
    whole_sum,
)
from healthstore.adapters.sql.dialect import Converter, Dialect, Ranks, Rates, Renames, Rewrites
from healthstore.adapters.sql.errors import Failure, Verdict, own_name
from healthstore.adapters.sql.floats import LIMIT, float_parts, float_total
from healthstore.adapters.sql.mysql.buckets import BUCKETS
from healthstore.adapters.sql.mysql.paths import MARIADB_PATHS, MYSQL_PATHS, mysql_elements
from healthstore.adapters.sql.mysql.plans import MARIADB_PLANNER, MYSQL_PLANNER
from healthstore.adapters.sql.walks import Walk, by_distinct
from healthstore.model.schema import Collection
from healthstore.model.values import FieldType, Kind, uuid_of

__all__ = ("MARIADB", "MYSQL")

_MICROSECOND = timedelta(microseconds=1)
_INDEXED_TEXT = 255  # longer text is a VARCHAR only where it is indexed: rows hold 65,535 bytes
# InnoDB never moves what has up to 40 bytes, or may have up to 255, out of a row's page of 8 kB:
# 34 full texts of 60 characters would not fit.
_INSIDE, _MOVABLE = 10, 64


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


def _column_types(
    collation: str,
) -> Callable[[FieldType, bool], TypeEngine[Any]]:
    def varchar(length: int, indexed: bool) -> TypeEngine[Any]:  # noqa: FBT001 - the dialect's shape
        if _INSIDE < length < _MOVABLE and not indexed:
            length = _MOVABLE  # the guard counts the characters
        return mysql.VARCHAR(length, charset="utf8mb4", collation=collation)

    def text(field: FieldType, indexed: bool) -> TypeEngine[Any]:  # noqa: FBT001 - the dialect's shape
        length = field.max_length
        if length is not None and (length <= _INDEXED_TEXT or indexed):
            return varchar(length, indexed)
        return mysql.LONGTEXT(charset="utf8mb4", collation=collation)

    columns: Mapping[Kind, Callable[[FieldType, bool], TypeEngine[Any]]] = {
        Kind.TEXT: text,
        Kind.ENUM: lambda field, indexed: varchar(max(map(len, field.choices)), indexed),
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


def _sum_columns(column: ColumnElement[Any], field: FieldType) -> tuple[ColumnElement[Any], ...]:
    if field.kind is not Kind.FLOAT:
        return (func.sum(column),)
    return float_parts(
        column,
        literal_column(f"{LIMIT}e0"),
        lambda part: func.truncate(part, literal_column("0")),
        lambda part: (func.sum(cast(part, mysql.BIGINT())),),
    )


def _sum_value(field: FieldType, values: Sequence[Any]) -> Any:
    if field.kind is Kind.FLOAT:
        largest, smallest, *parts = values
        return float_total(largest, smallest, parts)
    (total,) = values
    if total is None or field.kind is Kind.DECIMAL:
        return total
    whole = int(total)  # the sum of BIGINTs is a DECIMAL
    return timedelta(microseconds=whole) if field.kind is Kind.DURATION else whole


def _default(value: Any, column: Column[Any]) -> ColumnElement[Any]:
    found = constant(value, column)
    # What is kept out of its row takes an expression only, and others a plain value alone.
    return Grouping(found) if isinstance(column.type, mysql.LONGTEXT | mysql.LONGBLOB) else found


# 300,000 rows, as multiples of a statement that does nothing. MySQL 9.7 (24 ms): a copy is up to 850
# of them, a unique key 88, a reference 1,800, which is a copy and what is read for it.
_MYSQL_RATES = Rates(*(multiple * 0.024 / 300_000 for multiple in (850, 88, 950)))
# MariaDB 10.11 (39 ms): a copy is up to 160, also for a check or a reference; a unique key 18.
_MARIADB_RATES = Rates(*(multiple * 0.039 / 300_000 for multiple in (160, 18, 0)))


def _rewrites_column(
    before: Column[Any] | None, after: Column[Any], *, long_defaults: bool
) -> bool:
    """Tell what is more than metadata: another NULL, another type, a length of one byte or two."""
    if before is None:
        long = isinstance(after.type, mysql.LONGTEXT | mysql.LONGBLOB)
        if after.server_default is None:
            return not after.nullable  # null at first
        return long and long_defaults
    if before.nullable is not after.nullable:
        return True
    was, now = before.type, after.type
    if isinstance(was, mysql.VARCHAR) and isinstance(now, mysql.VARCHAR):
        old, new = was.length or 0, now.length or 0
        return new < old or (old < _MOVABLE) is not (new < _MOVABLE)
    return True


# --- errors ----------------------------------------------------------------------------------

# Server errors, then the client's own (above 2000).
_CODES: Mapping[int, Verdict] = {
    1062: Verdict.DUPLICATE,
    1242: Verdict.TOO_DEEP,  # what MARIADB_PATHS does on purpose, and nothing else
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
    1412: Verdict.CONFLICT,  # the definition of a table changed since the unit's snapshot
    1205: Verdict.LOCKED,
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
    3159: Verdict.UNTRUSTED,  # the server takes no plain text
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
_QUOTED = re.compile(r"[`']([^`']*)[`']")
_LAST_QUOTED = re.compile(r"'(?:[^'.]*\.)?([^'.]*)'[^']*\Z")  # 'name', or 'table.name' on MySQL


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
    return Failure(Verdict.UNREADABLE if is_ours(error) else Verdict.OTHER, name)


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
    """Return the name that the message quotes: the server tells it nowhere else.

    Of a duplicate the message quotes the value too, as it is, with quotes of its own; the key
    comes after it in every language, and its name holds none. Other messages quote names only.
    """
    if verdict is Verdict.DUPLICATE:
        last = _LAST_QUOTED.search(message)
        return None if last is None else last[1]
    quoted = _QUOTED.findall(message)
    if verdict is Verdict.CHECK:
        return own_name(quoted, {**collection.check_names, **collection.type_names})
    return own_name(quoted, collection.reference_names)


# --- the constants ---------------------------------------------------------------------------


_ADMIN_LOCK = "healthstore_schema"


def _of_table(name: str, where: str) -> str:
    return (
        f"SELECT {name} FROM information_schema.{where} "
        "WHERE table_schema = DATABASE() AND table_name = %s"
    )


def _dialect(
    collation: str,
    patience: Mapping[str, int],
    matches: Callable[[ColumnElement[Any], ColumnElement[Any]], ColumnElement[bool]],
    *,
    mariadb: bool,
    null_hides_reference: bool,
) -> Dialect:
    ddl_compiler = mysql.dialect(paramstyle="named", is_mariadb=mariadb)
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
        null_hides_reference=null_hides_reference,
        column_check=enum_check,
        constant=constant,
        default=_default,
        # The driver writes a tuple as its values, one after the other.
        among=lambda column, values: column.in_([values]),
        many=lambda _, values: values,
        contains=lambda column, text: func.locate(text, column) > literal_column("0"),
        ends=lambda column, text, length: func.right(column, length) == text,
        paths=MARIADB_PATHS if mariadb else MYSQL_PATHS,
        matches=matches,
        pattern=lambda pattern: rf"\A(?:{pattern})\z",
        planner=MARIADB_PLANNER if mariadb else MYSQL_PLANNER,
        rank_nulls=False,
        sorts_whole=False,
        read_back="START TRANSACTION; {update}; {select}; COMMIT",
        row_locks=True,
        first=None,
        detects_conflicts=False,
        adds=lambda field: field.numeric,
        sums=lambda field: field.numeric,
        sum_columns=_sum_columns,
        sum_value=_sum_value,
        sum_keys=whole_sum,
        buckets=BUCKETS,
        ranks=Ranks(nearest="GREATEST(1, {0} DIV {1})"),
        walk=Walk(by_distinct, most=1),
        joint_update=None,
        max_parameters=60_000,
        bulk_rows=5_000,
        existing="SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
        existing_indexes="SELECT DISTINCT index_name, 1 FROM information_schema.statistics "
        "WHERE table_schema = DATABASE()",
        elements=None if mariadb else mysql_elements,
        indexes_terms=not mariadb,
        index_part="",
        aside=None,
        existing_references="SELECT constraint_name FROM information_schema.table_constraints "
        "WHERE constraint_schema = DATABASE() AND constraint_type = 'FOREIGN KEY'",
        existing_parts=(
            _of_table("column_name", "columns"),
            _of_table("constraint_name", "table_constraints"),
            _of_table("DISTINCT index_name", "statistics"),
        ),
        changed_column=lambda _, after: (
            f"MODIFY COLUMN {CreateColumn(after).compile(dialect=ddl_compiler)}",
        ),
        renames=Renames(None, "ALTER TABLE {} RENAME INDEX {} TO {}"),
        rewrites=Rewrites(
            partial(_rewrites_column, long_defaults=not mariadb),
            (CheckConstraint, ForeignKeyConstraint),
        ),
        rates=_MARIADB_RATES if mariadb else _MYSQL_RATES,
        by_hand=((), ()),
        belonging=("", ""),
        recoded=lambda name, *_: name,
        widened=lambda column, *_: column,
        lists_lookups=True,
        references_need_indexes=True,
        patience=(
            tuple(f"SET @healthstore_{name} = @@SESSION.{name}" for name in patience)
            + tuple(f"SET SESSION {name} = {value}" for name, value in patience.items()),
            tuple(f"SET SESSION {name} = @healthstore_{name}" for name in patience),
        ),
        checks_statements=False,
        names_references=True,
        begin={
            (isolation, read_only): (
                "; ".join(
                    (
                        f"SET TRANSACTION ISOLATION LEVEL {level}",
                        f"START TRANSACTION {', '.join((*snapshot, mode))}",
                    )
                ),
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
            # Whoever waits is ended by the deadline of a statement, never let in without the lock.
            (f"SELECT GET_LOCK('{_ADMIN_LOCK}', 86400)",),
            (f"SELECT RELEASE_LOCK('{_ADMIN_LOCK}')",),
            (f"SELECT RELEASE_LOCK('{_ADMIN_LOCK}')",),
        ),
        classify=_classify,
    )


_WAIT = {"lock_wait_timeout": 3}  # seconds

MYSQL = _dialect(
    "utf8mb4_0900_bin",
    _WAIT,
    # Case counts, whatever the collation of the pattern is.
    lambda column, pattern: func.regexp_like(column, pattern, literal_column("'c'")),
    mariadb=False,
    null_hides_reference=True,
)
# MariaDB has no 0900 collations before 11.4; both of these compare code points and do not pad.
MARIADB = _dialect(
    "utf8mb4_nopad_bin",
    {**_WAIT, "max_statement_time": 0},  # which would end an ALTER TABLE, too
    # Case counts as it does to the column's collation.
    lambda column, pattern: column.op("REGEXP", is_comparison=True)(pattern),
    mariadb=True,
    null_hides_reference=False,
)

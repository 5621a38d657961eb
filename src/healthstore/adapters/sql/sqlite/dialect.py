"""The dialect of SQLite: values, columns, error codes and constants."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, case, cast, func, literal_column, select
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.types import BLOB, INTEGER, REAL, TEXT, TypeEngine

from healthstore.abc.backend import Isolation
from healthstore.abc.causes import is_ours
from healthstore.abc.unit import Phase
from healthstore.adapters.sql.buckets import written
from healthstore.adapters.sql.convert import (
    constant,
    decode_json,
    encode_json_text,
    enum_check,
    same,
)
from healthstore.adapters.sql.dialect import Converter, Dialect, Ranks, Rates, Renames, Rewrites
from healthstore.adapters.sql.errors import Failure, Verdict, own_name
from healthstore.adapters.sql.floats import LIMIT, float_parts, float_total
from healthstore.adapters.sql.sqlite.buckets import BUCKETS
from healthstore.adapters.sql.sqlite.driver import MATCHES, READ_BLOB, READ_FLOAT, code_of
from healthstore.adapters.sql.sqlite.paths import SQLITE_PATHS
from healthstore.adapters.sql.sqlite.plans import PLANNER
from healthstore.model.decimals import of_units, to_units
from healthstore.model.schema import Collection
from healthstore.model.values import FieldType, Kind, from_microseconds, to_microseconds, uuid_of

__all__ = ("SQLITE",)

_MICROSECOND = timedelta(microseconds=1)
_INTEGER_DIGITS = 18  # every number of 18 digits fits into 64 bits


# --- values ----------------------------------------------------------------------------------


def _encode_decimal(field: FieldType) -> Converter:
    """Numbers of at most 18 digits are scaled integers; longer ones sortable text.

    The text is a sign and all the digits; those of a negative number are complemented, so that
    text order is the order of the numbers.
    """
    places, digits = field.places, field.digits
    if digits <= _INTEGER_DIGITS:
        return lambda value: to_units(value, places)
    ceiling = 10**digits - 1

    def encode(value: Decimal) -> str:
        scaled = to_units(value, places)
        return f"1{scaled:0{digits}d}" if scaled >= 0 else f"0{ceiling + scaled:0{digits}d}"

    return encode


def _decode_decimal(field: FieldType) -> Converter:
    places, digits = field.places, field.digits
    if digits <= _INTEGER_DIGITS:
        return lambda value: of_units(value, places)
    ceiling = 10**digits - 1

    def decode(value: str) -> Decimal:
        scaled = int(value[1:])
        return of_units(scaled if value[0] == "1" else scaled - ceiling, places)

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


# JSON has no bytes, and SQLite before 3.43 does not read every float of it exactly: both are
# written as text, which functions of the connection read.
_READ: Mapping[type[Any], str] = {BLOB: READ_BLOB, REAL: READ_FLOAT}
_WRITTEN: Mapping[type[Any], Converter] = {bytes: bytes.hex, float: float.hex}


def _among(column: ColumnElement[Any], values: ColumnElement[Any]) -> ColumnElement[bool]:
    value: ColumnElement[Any] = literal_column("value")
    read = _READ.get(type(column.type))
    if read is not None:
        value = getattr(func, read)(value)
    return column.in_(select(value).select_from(func.json_each(values)))


def _many(_: FieldType, values: tuple[Any, ...]) -> str:
    write = _WRITTEN.get(type(values[0]))
    return encode_json_text(values if write is None else tuple(map(write, values)))


def _sum_columns(column: ColumnElement[Any], field: FieldType) -> tuple[ColumnElement[Any], ...]:
    if field.kind is not Kind.FLOAT:
        return _halves(column)
    limit: ColumnElement[Any] = literal_column(f"{LIMIT}.0")
    return float_parts(column, limit, lambda part: cast(part, INTEGER()), _halves)


def _halves(column: ColumnElement[Any]) -> tuple[ColumnElement[Any], ...]:
    # In two halves: a sum beyond 64 bits is an error in SQLite, and a total() is not exact.
    return (
        func.sum(column.op(">>")(literal_column("32"))),
        func.sum(column.op("&")(literal_column("4294967295"))),
    )


def _sum_value(field: FieldType, values: Sequence[Any]) -> Any:
    if field.kind is Kind.FLOAT:
        largest, smallest, *halves = values
        parts = [_joined(*pair) for pair in zip(halves[::2], halves[1::2], strict=True)]
        return float_total(largest, smallest, parts)
    high, low = values
    if high is None:
        return None
    total = _joined(high, low)
    if field.kind is Kind.DECIMAL:
        return of_units(total, field.places)
    return timedelta(microseconds=total) if field.kind is Kind.DURATION else total


def _joined(high: int | None, low: int | None) -> int:
    return ((high or 0) << 32) + (low or 0)


def _sum_keys(columns: Sequence[ColumnElement[Any]]) -> tuple[ColumnElement[Any], ...]:
    # Beyond 64 bits a sum would be a REAL; then it is beyond each value, and its parts decide.
    high = "(coalesce({0}, 0) + (coalesce({1}, 0) >> 32))"
    low = "(coalesce({1}, 0) & 4294967295)"
    total = (
        f"CASE WHEN {high} > 2147483647 THEN 9e999 WHEN {high} < -2147483648 THEN -9e999 "
        f"ELSE {high} * 4294967296 + {low} END"
    )
    return tuple([written(each, *columns) for each in (total, high, low)])


_ADDED = frozenset({Kind.INTEGER, Kind.DURATION})


def _adds(field: FieldType) -> bool:
    short = field.kind is Kind.DECIMAL and field.digits <= _INTEGER_DIGITS
    return field.kind in _ADDED or short


def _recoded(name: str, before: FieldType, after: FieldType) -> str:
    """Return the values of a column in the form of other digits or places; see _encode_decimal.

    They are worked on as the long form's text: a sign, and digits that are complemented for a
    negative number, so that what is put before or behind them is 0 or 9.
    """
    sizes = (before.digits, before.places), (after.digits, after.places)
    short = [each.digits <= _INTEGER_DIGITS for each in (before, after)]
    if before.kind is not Kind.DECIMAL or sizes[0] == sizes[1]:
        return name
    shift = after.places - before.places
    if all(short) and shift == 0:
        return name
    old, new = (max(each.digits, _INTEGER_DIGITS) for each in (before, after))
    text = _as_text(name) if short[0] else name
    pad = "CASE substr(t, 1, 1) WHEN '1' THEN '{}' ELSE '{}' END"
    body, width = "substr(t, 2)", old + shift
    if shift > 0:
        body = f"({body} || {pad.format('0' * shift, '9' * shift)})"
    elif shift < 0:
        body = f"substr(t, 2, {width})"
    if new >= width:
        body = f"({pad.format('0' * (new - width), '9' * (new - width))} || {body})"
    else:
        body = f"substr({body}, {1 + width - new})"
    found = f"substr(t, 1, 1) || {body}"
    if short[1]:
        found = (
            f"CAST({body} AS INTEGER) - CASE substr(t, 1, 1) WHEN '1' THEN 0 ELSE {_CEILING} END"
        )
    return f"CASE WHEN {name} IS NULL THEN NULL ELSE (SELECT {found} FROM (SELECT {text} AS t)) END"


_CEILING = 10**_INTEGER_DIGITS - 1


def _as_text(name: str) -> str:
    """Return the long form, of as many digits as the short one may have."""
    digits = f"%0{_INTEGER_DIGITS}d"
    return (
        f"CASE WHEN {name} >= 0 THEN '1' || printf('{digits}', {name}) "
        f"ELSE '0' || printf('{digits}', {_CEILING} + {name}) END"
    )


def _widened(column: ColumnElement[Any], field: FieldType, digits: int) -> ColumnElement[Any]:
    """Return a decimal as one of more digits keeps it; see _encode_decimal.

    It may stand in a check, where no query may. Null fits neither case, and stays null.
    """
    if digits <= _INTEGER_DIGITS or digits == field.digits:
        return column
    if field.digits <= _INTEGER_DIGITS:
        full: ColumnElement[Any] = literal_column(f"'{'9' * (digits - _INTEGER_DIGITS)}'")
        short: ColumnElement[Any] = literal_column(f"'%0{_INTEGER_DIGITS}d'")
        below = (
            literal_column("'0'")
            .op("||")(full)
            .op("||")(func.printf(short, literal_column(str(_CEILING)) + column))
        )
        above = func.printf(literal_column(f"'1%0{digits}d'"), column)
        return case((column >= literal_column("0"), above), (column < literal_column("0"), below))
    sign = func.substr(column, literal_column("1"), literal_column("1"))
    pad = case(
        (sign == literal_column("'1'"), literal_column(f"'{'0' * (digits - field.digits)}'")),
        (sign == literal_column("'0'"), literal_column(f"'{'9' * (digits - field.digits)}'")),
    )
    return sign.op("||")(pad).op("||")(func.substr(column, literal_column("2")))


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
    517: Verdict.CONFLICT,  # SQLITE_BUSY_SNAPSHOT: another one wrote since the unit's snapshot
    sqlite3.SQLITE_BUSY: Verdict.LOCKED,
    sqlite3.SQLITE_LOCKED: Verdict.CONFLICT,
    sqlite3.SQLITE_SCHEMA: Verdict.CONFLICT,  # a table changed since the statement was prepared
    sqlite3.SQLITE_PROTOCOL: Verdict.LOCKED,
    sqlite3.SQLITE_READONLY: Verdict.READ_ONLY,
    sqlite3.SQLITE_FULL: Verdict.FULL,
    sqlite3.SQLITE_CANTOPEN: Verdict.UNOPENED,
    sqlite3.SQLITE_NOMEM: Verdict.OVERLOADED,
    sqlite3.SQLITE_IOERR: Verdict.DAMAGED,
    sqlite3.SQLITE_CORRUPT: Verdict.DAMAGED,
    sqlite3.SQLITE_NOTADB: Verdict.DAMAGED,
    1802: Verdict.LOST,  # SQLITE_IOERR_FSTAT: the file was taken away at this moment
    6922: Verdict.LOST,  # SQLITE_IOERR_VNODE: the same, as macOS tells it
    1032: Verdict.REFUSED,  # SQLITE_READONLY_DBMOVED: the file is gone, and nothing was written
    sqlite3.SQLITE_INTERRUPT: Verdict.DEADLINE,
    sqlite3.SQLITE_AUTH: Verdict.CONFIGURATION,
    sqlite3.SQLITE_PERM: Verdict.CONFIGURATION,
    sqlite3.SQLITE_ERROR: Verdict.MISTAKE,
    sqlite3.SQLITE_TOOBIG: Verdict.MISTAKE,
    sqlite3.SQLITE_MISUSE: Verdict.MISTAKE,
}


# SQLite has one code for every mistake in a statement; its messages are never translated.
_MISSING = re.compile("no such (table|column)|table .* has no column named")
_CLASSES: Mapping[type[BaseException], Verdict] = {
    sqlite3.DataError: Verdict.RANGE,
    sqlite3.ProgrammingError: Verdict.UNAVAILABLE,  # the connection is closed
    sqlite3.OperationalError: Verdict.DAMAGED,  # a text that is not UTF-8
}


def _classify(error: BaseException, phase: Phase, collection: Collection | None) -> Failure:
    del phase
    code = code_of(error)
    if code is None:
        # Nobody else writes into the file: what cannot be read from it was damaged.
        unreadable = is_ours(error) and not isinstance(error, sqlite3.Error)
        damaged = unreadable or isinstance(error, UnicodeDecodeError)
        verdict = Verdict.DAMAGED if damaged else _CLASSES.get(type(error), Verdict.OTHER)
        return Failure(verdict, type(error).__name__)
    if code == sqlite3.SQLITE_ERROR and _MISSING.match(str(error)):
        return Failure(Verdict.MISSING, str(code))
    verdict = _CODES.get(code) or _CODES.get(code & 0xFF, Verdict.OTHER)
    constraint = None
    if collection is not None and verdict in {Verdict.DUPLICATE, Verdict.CHECK}:
        constraint = _constraint(str(error), verdict, collection)
    return Failure(verdict, str(code), constraint)


_COLUMN = re.compile(r"\w+\.(\w+)")


def _constraint(message: str, verdict: Verdict, collection: Collection) -> str | None:
    """Return the name of ours: SQLite tells it only in its message, of a unique key the columns.

    Its messages hold no values.
    """
    _, _, told = message.partition(": ")
    if verdict is Verdict.CHECK:
        return own_name((told,), {**collection.check_names, **collection.type_names})
    columns = tuple(_COLUMN.findall(told))
    kept = collection.stored
    named = {kept.index_name(unique): unique.fields for unique in kept.uniques}
    return next((name for name, fields in named.items() if fields == columns), told)


# --- the constants ---------------------------------------------------------------------------


_BELONGING = (
    "SELECT name, sql FROM sqlite_master "
    "WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL"
)

SQLITE = Dialect(
    compiler=pysqlite.dialect(),
    ddl_compiler=pysqlite.dialect(),
    column_type=_column_type,
    table_options={"sqlite_strict": True},
    encoders=_ENCODERS,
    decoders=_DECODERS,
    null_hides_reference=False,
    column_check=_column_check,
    constant=constant,
    default=constant,
    among=_among,
    many=_many,
    contains=lambda column, text: func.instr(column, text) > literal_column("0"),
    ends=lambda column, text, length: func.substr(column, -length) == text,
    paths=SQLITE_PATHS,
    matches=lambda column, pattern: getattr(func, MATCHES)(pattern, column),
    pattern=lambda pattern: pattern,
    planner=PLANNER,
    rank_nulls=False,
    sorts_whole=True,
    read_back="",
    row_locks=False,
    first=lambda column, found: column.in_(found),
    detects_conflicts=True,
    adds=_adds,
    sums=lambda field: field.kind is Kind.FLOAT or _adds(field),
    sum_columns=_sum_columns,
    sum_value=_sum_value,
    sum_keys=_sum_keys,
    buckets=BUCKETS,
    ranks=Ranks(nearest="max(1, {0} / {1})"),
    joint_update=None,
    max_parameters=32_000,
    bulk_rows=5_000,
    existing="SELECT name FROM sqlite_master WHERE type = 'table'",
    existing_indexes="SELECT name, 1 FROM sqlite_master WHERE type = 'index'",
    elements=None,
    indexes_terms=True,
    index_part="sqlite_where",
    aside=None,
    existing_references=None,
    existing_parts=None,
    changed_column=None,
    # What refers to a table follows it only so; elsewhere nothing is to follow a table made anew.
    renames=Renames(
        table=(
            "PRAGMA legacy_alter_table = OFF",
            "ALTER TABLE {} RENAME TO {}",
            "PRAGMA legacy_alter_table = ON",
        )
    ),
    # What a column or a constraint makes of rows it does by making the table anew.
    rewrites=Rewrites(lambda *_: False),
    # SQLite 3.40, 300,000 rows, as multiples of a statement that does nothing (1.4 ms): a table
    # made anew is 2,500 of them, a unique index 320, a column with a check 700.
    rates=Rates(*(multiple * 0.0014 / 300_000 for multiple in (2_500, 320, 700))),
    by_hand=(
        ("PRAGMA foreign_keys = OFF", "PRAGMA legacy_alter_table = ON", "BEGIN IMMEDIATE"),
        ("COMMIT", "PRAGMA legacy_alter_table = OFF", "PRAGMA foreign_keys = ON"),
    ),
    belonging=(
        "SELECT name FROM pragma_table_xinfo(?)",
        _BELONGING,
    ),
    recoded=_recoded,
    widened=_widened,
    lists_lookups=True,
    references_need_indexes=False,
    patience=((), ()),
    checks_statements=True,
    names_references=False,
    begin={
        (isolation, read_only): ("BEGIN", "SELECT 1 FROM sqlite_master LIMIT 1")
        if read_only
        else ("BEGIN IMMEDIATE",)
        for isolation in Isolation
        for read_only in (False, True)
    },
    begin_write="BEGIN IMMEDIATE",
    # The log is nothing new to a file of ours; one that others have made gets it here.
    admin=(("PRAGMA journal_mode=WAL", "BEGIN IMMEDIATE"), ("COMMIT",), ("ROLLBACK",)),
    classify=_classify,
)

"""The dialect of PostgreSQL: values, columns, error codes and constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import asyncpg
import msgspec
from sqlalchemy import Column, ColumnElement, UnaryExpression, any_, func, literal, literal_column
from sqlalchemy import Dialect as Compiler
from sqlalchemy import cast as cast_to
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql import asyncpg as sqlalchemy_asyncpg
from sqlalchemy.sql import operators
from sqlalchemy.types import (
    BigInteger,
    Boolean,
    Date,
    Double,
    LargeBinary,
    Numeric,
    String,
    Text,
    TypeEngine,
)

from healthstore.abc.backend import Isolation
from healthstore.abc.causes import causes, is_ours, refused, untrusted
from healthstore.abc.unit import Phase
from healthstore.adapters.sql.buckets import written
from healthstore.adapters.sql.convert import constant, enum_check, same, whole_sum
from healthstore.adapters.sql.dialect import (
    Aside,
    Converter,
    Dialect,
    Elements,
    Ranks,
    Rates,
    Renames,
    Rewrites,
)
from healthstore.adapters.sql.errors import Failure, Verdict, clearest
from healthstore.adapters.sql.floats import LIMIT, float_parts, float_total
from healthstore.adapters.sql.postgres.buckets import BUCKETS
from healthstore.adapters.sql.postgres.joint import element_of, joint_update
from healthstore.adapters.sql.postgres.paths import postgres_paths
from healthstore.adapters.sql.postgres.plans import PLANNER
from healthstore.adapters.sql.walks import Walk, by_recursion
from healthstore.model.json import sorted_json
from healthstore.model.measures import PARTS
from healthstore.model.schema import Collection
from healthstore.model.values import FieldType, Json, Kind, uuid_of

__all__ = ("POSTGRESQL",)

_MICROSECOND = timedelta(microseconds=1)
# Doubles from here on print without a point in jsonb, and would come back as integers.
_POINTLESS = 1e16


# --- values ----------------------------------------------------------------------------------


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


# Only numbers with an exponent can be pointless; text may look like one.
_EXPONENT = b"0e"
_DIGITS_AS_ZERO = bytes(48 if 48 <= byte < 58 else byte for byte in range(256))


def _has_pointless_float(value: Json) -> bool:
    if type(value) is float:
        return abs(value) >= _POINTLESS
    if type(value) is dict:
        return any(map(_has_pointless_float, value.values()))
    if type(value) is list:
        return any(map(_has_pointless_float, value))
    return False


def _with_points(value: Json) -> Any:
    if type(value) is float and abs(value) >= _POINTLESS:
        return msgspec.Raw(f"{value:.1f}".encode())
    if type(value) is dict:
        return {key: _with_points(item) for key, item in value.items()}
    if type(value) is list:
        return [_with_points(item) for item in value]
    return value


def _to_jsonb(value: Json) -> bytes:
    """Return JSON text that jsonb, whose numbers are decimals, gives back unchanged."""
    text = _encoder.encode(value)
    # A third of the time of a regular expression.
    if _EXPONENT in text.translate(_DIGITS_AS_ZERO) and _has_pointless_float(value):
        return _encoder.encode(_with_points(value))
    return text


def _from_jsonb(value: bytes) -> Json:
    # jsonb sorts keys by their length first.
    return sorted_json(_decoder.decode(value))


def _decode_decimal(field: FieldType) -> Converter | None:
    # asyncpg reads 10000 without places as 1E+4.
    return None if field.places else lambda value: Decimal(int(value))


_ENCODERS: Mapping[Kind, Callable[[FieldType], Converter | None]] = {
    **dict.fromkeys(Kind, same),
    Kind.DURATION: lambda _: lambda value: value // _MICROSECOND,
    Kind.JSON: lambda _: _to_jsonb,
}
_DECODERS: Mapping[Kind, Callable[[FieldType], Converter | None]] = {
    **dict.fromkeys(Kind, same),
    Kind.DECIMAL: _decode_decimal,
    Kind.DURATION: lambda _: lambda value: timedelta(microseconds=value),
    Kind.UUID: lambda _: uuid_of,
    Kind.JSON: lambda _: _from_jsonb,
}


def _text(field: FieldType) -> TypeEngine[Any]:
    if field.max_length is None or field.max_length > 10_485_760:  # varchar's limit
        return Text(collation="C")
    return String(field.max_length, collation="C")


_COLUMNS: Mapping[Kind, Callable[[FieldType], TypeEngine[Any]]] = {
    Kind.TEXT: _text,
    Kind.ENUM: lambda field: String(max(map(len, field.choices)), collation="C"),
    Kind.INTEGER: lambda _: BigInteger(),
    Kind.FLOAT: lambda _: Double(),
    Kind.BYTES: lambda _: LargeBinary(),
    Kind.BOOLEAN: lambda _: Boolean(),
    Kind.DECIMAL: lambda field: Numeric(field.digits, field.places),
    Kind.DATETIME: lambda _: postgresql.TIMESTAMP(timezone=True, precision=6),
    Kind.DATE: lambda _: Date(),
    Kind.TIME: lambda _: postgresql.TIME(precision=6),
    Kind.DURATION: lambda _: BigInteger(),
    Kind.UUID: lambda _: postgresql.UUID(),
    Kind.JSON: lambda _: postgresql.JSONB(),
}


def _constant(value: Any, column: ColumnElement[Any]) -> ColumnElement[Any]:
    if isinstance(value, bytes):
        return literal_column(f"'\\x{value.hex()}'::bytea")
    return constant(value, column)


def _default(value: Any, column: Column[Any]) -> ColumnElement[Any]:
    if isinstance(column.type, postgresql.JSONB):
        return literal(value.decode(), Text())
    return _constant(value, column)


def _changed_column(before: Column[Any] | None, after: Column[Any]) -> Iterator[str]:
    name = _ddl_compiler.identifier_preparer.format_column(after)
    was, now = (
        None if each is None else each.type.compile(_ddl_compiler) for each in (before, after)
    )
    if was != now:
        yield f"ALTER COLUMN {name} TYPE {now}"
    if before is None or before.nullable is not after.nullable:
        yield f"ALTER COLUMN {name} {'DROP' if after.nullable else 'SET'} NOT NULL"


def _rewrites_column(before: Column[Any] | None, after: Column[Any]) -> bool:
    """Tell it of a type that is not only wider (postgresql.org/docs/current/sql-altertable.html)."""
    if before is None:
        return False
    was, now = before.type, after.type
    if isinstance(was, String) and isinstance(now, String):
        return now.length is not None and (was.length is None or now.length < was.length)
    if isinstance(was, Numeric) and isinstance(now, Numeric):
        return now.scale != was.scale or (now.precision or 0) < (was.precision or 0)
    return was.compile(_ddl_compiler) != now.compile(_ddl_compiler)


def _among(column: ColumnElement[Any], values: ColumnElement[Any]) -> ColumnElement[bool]:
    return column == any_(cast_to(values, postgresql.ARRAY(element_of(column.type))))


def _sum_columns(column: ColumnElement[Any], field: FieldType) -> tuple[ColumnElement[Any], ...]:
    if field.kind is not Kind.FLOAT:
        return (func.sum(column),)
    limit: ColumnElement[Any] = cast_to(literal_column(f"{LIMIT}"), Double())
    return float_parts(
        column, limit, func.trunc, lambda part: (func.sum(cast_to(part, BigInteger())),)
    )


def _sum_value(field: FieldType, values: Sequence[Any]) -> Any:
    if field.kind is Kind.FLOAT:
        largest, smallest, *parts = values
        return float_total(largest, smallest, parts)
    (total,) = values
    if total is None:
        return total
    if field.kind is Kind.DECIMAL:
        return total if field.places else Decimal(int(total))
    whole = int(total)  # sum(bigint) is numeric
    return timedelta(microseconds=whole) if field.kind is Kind.DURATION else whole


def _percentile(column: ColumnElement[Any], parts: int) -> ColumnElement[Any]:
    # It counts in doubles: 0.07 of 100 would be the eighth. The number before it is right for
    # every four places, up to a billion rows.
    share = math.nextafter(parts / PARTS, 0)
    return func.percentile_disc(literal_column(repr(share))).within_group(column)


def _picked(column: ColumnElement[Any], order: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    # Null is greatest to PostgreSQL, and smallest here.
    nulls = (
        each.nulls_last() if each.modifier is operators.desc_op else each.nulls_first()
        for each in cast("Sequence[UnaryExpression[Any]]", order)
    )
    listed = func.array_agg(aggregate_order_by(column, *nulls))
    return written("({0})[1]", listed)


_RANKS = Ranks(_percentile, _picked)


# --- errors ----------------------------------------------------------------------------------

# SQLSTATEs, then their classes (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_CODES: Mapping[str, Verdict] = {
    "23505": Verdict.DUPLICATE,
    "23503": Verdict.FOREIGN_KEY,
    "23001": Verdict.FOREIGN_KEY,
    "23514": Verdict.CHECK,
    "23502": Verdict.NOT_NULL,
    "22003": Verdict.RANGE,
    "22008": Verdict.RANGE,
    "40001": Verdict.CONFLICT,
    "40P01": Verdict.CONFLICT,
    "55P03": Verdict.LOCKED,
    "25006": Verdict.READ_ONLY,
    "53100": Verdict.FULL,
    "53300": Verdict.OVERLOADED,
    "53200": Verdict.OVERLOADED,
    "53400": Verdict.OVERLOADED,
    "57P03": Verdict.REFUSED,
    "08001": Verdict.UNAVAILABLE,
    "08004": Verdict.UNAVAILABLE,
    "57P01": Verdict.GOING_AWAY,
    "57P02": Verdict.GOING_AWAY,
    "57P05": Verdict.LOST,
    "40003": Verdict.LOST,
    "58030": Verdict.DAMAGED,
    "XX001": Verdict.DAMAGED,
    "XX002": Verdict.DAMAGED,
    "57014": Verdict.DEADLINE,
    "25P03": Verdict.DEADLINE,
    "25P04": Verdict.DEADLINE,
    "3D000": Verdict.CONFIGURATION,
    "57P04": Verdict.CONFIGURATION,
    "42501": Verdict.CONFIGURATION,
    "42P01": Verdict.MISSING,
    "42703": Verdict.MISSING,
    "08": Verdict.LOST,
    "0A": Verdict.MISTAKE,
    "22": Verdict.MISTAKE,
    "28": Verdict.CONFIGURATION,
    "42": Verdict.MISTAKE,
    "58": Verdict.LOST,
    "XX": Verdict.OTHER,
}


def _classify(error: BaseException, phase: Phase, _: Collection | None) -> Failure:
    # A shutdown may be told only as the cause of 08003 (MagicStack/asyncpg, 0.30 to 0.32).
    return clearest(_classify_one(each, phase) for each in causes(error))


def _classify_one(error: BaseException, phase: Phase) -> Failure:
    code = getattr(error, "sqlstate", None)
    if code is not None:
        verdict = _CODES.get(code) or _CODES.get(code[:2], Verdict.OTHER)
        if isinstance(error, asyncpg.InvalidCachedStatementError):
            # Its code is that of any missing feature. A table changed since the statement was
            # prepared; outside of a transaction the driver has tried twice.
            verdict = Verdict.CONFLICT
        return Failure(verdict, code, getattr(error, "constraint_name", None))
    name = type(error).__name__
    if isinstance(error, asyncpg.ClientConfigurationError):
        return Failure(Verdict.CONFIGURATION, name)
    if isinstance(error, asyncpg.InternalClientError):
        # A connection that broke while it was set up: a server that shuts down is enough.
        return Failure(Verdict.UNAVAILABLE if phase is Phase.CONNECT else Verdict.LOST, name)
    if isinstance(error, asyncpg.InterfaceError):
        # "connection is closed": it was known before anything was sent.
        return Failure(Verdict.UNAVAILABLE, name)
    if isinstance(error, OSError | TimeoutError | BaseExceptionGroup):
        return Failure(_unreachable(error) if phase is Phase.CONNECT else Verdict.LOST, name)
    return Failure(Verdict.UNREADABLE if is_ours(error) else Verdict.OTHER, name)


def _unreachable(error: BaseException) -> Verdict:
    if untrusted(error) or _offers_no_tls(error):
        return Verdict.UNTRUSTED
    return Verdict.REFUSED if refused(error) else Verdict.UNAVAILABLE


def _offers_no_tls(error: BaseException) -> bool:
    # A bare ConnectionError, as for a proxy that hangs up: only the driver's own words differ.
    return any(
        type(each) is ConnectionError and str(each).endswith("rejected SSL upgrade")
        for each in causes(error)
    )


# --- the constants ---------------------------------------------------------------------------


_LOCK = "SELECT pg_advisory_xact_lock(7521390172530)"  # any number, the same for every process

# SQLAlchemy's dialect classes are not typed.
_compiler: Compiler = cast("Any", sqlalchemy_asyncpg.dialect)()
_ddl_compiler: Compiler = cast("Any", postgresql.dialect)(paramstyle="named")
# SQLAlchemy 2.0 doubles backslashes in literals until it has connected; no server of ours does.
for _each in (_compiler, _ddl_compiler):
    cast("Any", _each)._backslash_escapes = False  # noqa: SLF001 - it has no other name

_ASIDE = Aside(
    index="INDEX CONCURRENTLY",
    # It keeps nobody from a table while it waits for it, and waits for snapshots besides: a time
    # for locks would end that, too.
    before=("SET statement_timeout = {}", "SET lock_timeout = 0"),
    # A program that is killed is noticed where the system tells of it.
    able=("SET client_connection_check_interval = 100",),
    turn="SELECT pg_try_advisory_lock(7521390172531)",  # any other number
    plain="SELECT index.relname, array_agg(CASE indoption[number - 1] & 1 WHEN 1 THEN '-' ELSE '' "
    "END || attname ORDER BY number) FROM pg_catalog.pg_index "
    "JOIN pg_catalog.pg_class AS index ON index.oid = indexrelid "
    "JOIN pg_catalog.pg_class AS made ON made.oid = indrelid "
    "CROSS JOIN LATERAL unnest(indkey::int2[]) WITH ORDINALITY AS key (column_number, number) "
    "JOIN pg_catalog.pg_attribute ON attrelid = indrelid AND attnum = column_number "
    "WHERE made.relname = $1 AND made.relnamespace = current_schema()::regnamespace "
    "AND NOT indisunique AND indpred IS NULL AND indexprs IS NULL GROUP BY index.relname",
)

POSTGRESQL = Dialect(
    compiler=_compiler,
    ddl_compiler=_ddl_compiler,
    column_type=lambda field, _: _COLUMNS[field.kind](field),
    table_options={},
    encoders=_ENCODERS,
    decoders=_DECODERS,
    null_hides_reference=False,
    column_check=enum_check,
    constant=_constant,
    default=_default,
    among=_among,
    many=lambda _, values: values,
    contains=lambda column, text: func.strpos(column, text) > literal_column("0"),
    ends=lambda column, text, length: func.right(column, length) == text,
    paths=postgres_paths(_to_jsonb),
    matches=lambda column, pattern: column.op("~", is_comparison=True)(pattern),
    pattern=lambda pattern: rf"\A(?:{pattern})\Z",
    planner=PLANNER,
    rank_nulls=True,
    sorts_whole=True,
    read_back="",
    row_locks=True,
    # An array: a plan that joins a subquery may run it again, and lock more.
    first=lambda column, found: column == any_(func.array(found.scalar_subquery())),
    detects_conflicts=True,
    adds=lambda field: field.numeric,
    sums=lambda field: field.numeric,
    sum_columns=_sum_columns,
    sum_value=_sum_value,
    sum_keys=whole_sum,
    buckets=BUCKETS,
    ranks=_RANKS,
    walk=Walk(by_recursion),
    joint_update=joint_update,
    max_parameters=32_000,
    bulk_rows=5_000,
    existing="SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()",
    # CREATE INDEX CONCURRENTLY leaves half an index behind when it fails.
    existing_indexes="SELECT relname, indisvalid FROM pg_catalog.pg_index "
    "JOIN pg_catalog.pg_class ON pg_class.oid = indexrelid "
    "WHERE relnamespace = current_schema()::regnamespace",
    elements=lambda column: Elements(
        column,
        {
            "postgresql_using": "gin",
            "postgresql_ops": {column.name: "jsonb_path_ops"},
            # Else each search reads what was written of late, up to 4 MB of it.
            "postgresql_with": {"fastupdate": "off"},
        },
    ),
    indexes_terms=True,
    index_part="postgresql_where",
    indexes_words=True,
    aside=_ASIDE,
    existing_references="SELECT conname FROM pg_catalog.pg_constraint "
    "WHERE contype = 'f' AND connamespace = current_schema()::regnamespace",
    existing_parts=None,
    changed_column=_changed_column,
    renames=Renames("ALTER TABLE {} RENAME CONSTRAINT {} TO {}", "ALTER INDEX {1} RENAME TO {2}"),
    rewrites=Rewrites(_rewrites_column),
    # PostgreSQL 15, 300,000 rows, as multiples of a statement that does nothing (4 ms): a column
    # of another type is up to 850 of them, a unique key 105, a column required 28.
    rates=Rates(*(multiple * 0.004 / 300_000 for multiple in (850, 105, 28))),
    by_hand=(("BEGIN",), ("COMMIT",)),
    belonging=("", ""),
    recoded=lambda name, *_: name,
    widened=lambda column, *_: column,
    lists_lookups=False,
    references_need_indexes=False,
    patience=(("SET LOCAL statement_timeout = 0", "SET LOCAL lock_timeout = '3s'"), ()),
    checks_statements=True,
    names_references=True,
    begin={
        (isolation, read_only): (
            f"BEGIN ISOLATION LEVEL {level} {'READ ONLY' if read_only else 'READ WRITE'}",
        )
        for isolation, level in (
            (Isolation.SNAPSHOT, "REPEATABLE READ"),
            (Isolation.SERIALIZABLE, "SERIALIZABLE"),
        )
        for read_only in (False, True)
    },
    begin_write="BEGIN",
    # Whoever changes the schema waits for others as long as a statement may take.
    admin=(("BEGIN", "SET LOCAL lock_timeout = 0", _LOCK), ("COMMIT",), ("ROLLBACK",)),
    classify=_classify,
)

"""What each driver's error tells about the member: by code, row by row."""

from __future__ import annotations

import errno
import sqlite3
import ssl
from collections.abc import Callable

import asyncpg
import pymysql
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import errors as mongo

from healthstore.abc.causes import causes, refused
from healthstore.abc.unit import Phase
from healthstore.adapters.mongo.errors import translated
from healthstore.adapters.sql.errors import Verdict, explain
from healthstore.adapters.sql.mysql import MYSQL
from healthstore.adapters.sql.postgres import POSTGRESQL
from healthstore.adapters.sql.sqlite import SQLITE
from healthstore.errors import Condition, HealthstoreError, Outcome

OK, SUSPECT, DOWN = Condition.OK, Condition.SUSPECT, Condition.DOWN
READ_ONLY, OVERLOADED = Condition.READ_ONLY, Condition.OVERLOADED
MISCONFIGURED, DAMAGED = Condition.MISCONFIGURED, Condition.DAMAGED
N, U = Outcome.NOT_APPLIED, Outcome.UNKNOWN
TEXT = "72.5 kg"  # a value: no error of ours may quote it


def pg(state: str) -> asyncpg.PostgresError:
    """Return asyncpg's error for a SQLSTATE."""
    error = asyncpg.PostgresError(TEXT)
    vars(error)["sqlstate"] = state
    return error


def my(number: int, cause: BaseException | None = None) -> pymysql.err.OperationalError:
    """Return the driver's error for a number."""
    error = pymysql.err.OperationalError(number, TEXT)
    error.__cause__ = cause
    return error


def lite(code: int, text: str = TEXT) -> sqlite3.OperationalError:
    """Return sqlite3's error for a code."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def md(code: int) -> mongo.OperationFailure:
    """Return pymongo's error for a number."""
    return mongo.OperationFailure(TEXT, code, {"code": code, "errmsg": TEXT})


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """Return an error with its cause."""
    error.__cause__ = cause
    return error


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, TEXT)
SEVERAL = OSError(
    "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), "
    "[Errno 111] Connect call failed ('127.0.0.1', 1)"
)
MIXED = OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 101] unreachable")

PG: list[tuple[BaseException, Condition, Outcome]] = [
    *((pg(each), DOWN, U) for each in ("57P01", "57P02")),
    (pg("57P03"), DOWN, N),
    (caused(asyncpg.ConnectionDoesNotExistError(TEXT), pg("57P01")), DOWN, U),
    (caused(OSError(TEXT), pg("57P02")), DOWN, U),
    (ExceptionGroup(TEXT, [pg("57P01")]), DOWN, U),
    *((pg(each), SUSPECT, U) for each in ("08003", "08006", "08000", "08007", "40003")),
    *((pg(each), SUSPECT, U) for each in ("XX000", "F0000", "99999")),
    (ConnectionResetError(errno.ECONNRESET, TEXT), SUSPECT, U),
    *((pg(each), OVERLOADED, N) for each in ("53300", "53200", "53400")),
    *((pg(each), READ_ONLY, N) for each in ("25006", "53100")),
    *((pg(each), MISCONFIGURED, N) for each in ("28000", "28P01", "3D000", "57P04", "42501")),
    (pg("42P01"), OK, N),
    *((pg(each), DAMAGED, U) for each in ("58030", "XX001", "XX002")),
    *((pg(each), OK, N) for each in ("23505", "23503", "23514", "23502", "22003", "40001")),
    (pg("55P03"), OVERLOADED, N),
    (asyncpg.InvalidCachedStatementError(TEXT), OK, N),
    (pg("0A000"), OK, U),
    (pg("42601"), OK, U),
]
MY: list[tuple[BaseException, Condition, Outcome]] = [
    *((my(each), DOWN, U) for each in (1053, 1077, 1079)),
    *((my(each, REFUSED), DOWN, N) for each in (2002, 2003)),
    (my(2003, SEVERAL), DOWN, N),
    (my(2003, MIXED), SUSPECT, N),
    (my(2003, TimeoutError()), SUSPECT, N),
    (my(2003, ssl.SSLCertVerificationError(1, TEXT)), MISCONFIGURED, N),
    *((my(each), SUSPECT, U) for each in (2006, 2013, 2055, 1152, 1161, 1927, 3169, 4031)),
    *((my(each), OVERLOADED, N) for each in (1040, 1203, 1226, 1041, 1135)),
    *((my(each), READ_ONLY, N) for each in (1290, 1792, 1836, 3100, 1021, 1114)),
    *((my(each), MISCONFIGURED, N) for each in (1044, 1045, 1049, 1130, 1142, 1698, 2026, 3159)),
    (my(1146), OK, N),
    (my(1030), DAMAGED, U),
    (pymysql.err.OperationalError(1030, "Got error 28 - 'No space' from engine"), READ_ONLY, N),
    (pymysql.err.OperationalError(1026, "Error writing 'x9' (errno: 28 - full)"), READ_ONLY, N),
    (pymysql.err.OperationalError(1030, "Got error 5 - 'I/O' from engine"), DAMAGED, U),
    *((my(each), OK, N) for each in (1062, 1451, 1452, 4025, 1048, 1264, 1213, 1412)),
    (my(1205), OVERLOADED, N),
    (my(64_999), SUSPECT, U),
]
LITE: list[tuple[BaseException, Condition, Outcome]] = [
    *((lite(each), DAMAGED, U) for each in (10, 1034, 10 | 3 << 8, 11, 26)),
    (lite(1032), DOWN, N),
    *((lite(each), SUSPECT, U) for each in (1802, 6922)),
    (lite(14), SUSPECT, N),
    *((lite(each), READ_ONLY, N) for each in (8, 8 | 1 << 8, 13)),
    (lite(7), OVERLOADED, N),
    *((lite(each), MISCONFIGURED, N) for each in (23, 3)),
    (lite(1, "no such table: people"), OK, N),
    *((lite(each), OK, N) for each in (517, 6, 17, 2067, 787)),
    *((lite(each), OVERLOADED, N) for each in (5, 261, 15)),
    (sqlite3.OperationalError("Could not decode to UTF-8 column"), DAMAGED, U),
    (lite(1), OK, U),
    (lite(99), SUSPECT, U),
]
MONGO: list[tuple[BaseException, Condition, Outcome]] = [
    *((md(each), DOWN, U) for each in (91, 11600, 11602, 189, 13436)),
    (caused(mongo.AutoReconnect(TEXT), REFUSED), DOWN, U),
    (mongo.ServerSelectionTimeoutError(TEXT), SUSPECT, N),
    (mongo.AutoReconnect(TEXT), SUSPECT, U),
    (mongo.NetworkTimeout(TEXT), SUSPECT, U),
    *((md(each), SUSPECT, U) for each in (6, 7, 89, 9001)),
    (mongo.WaitQueueTimeoutError(TEXT), OVERLOADED, N),
    (md(462), OVERLOADED, N),
    *((md(each), READ_ONLY, N) for each in (10107, 13435, 10058, 14031)),
    (mongo.NotPrimaryError(TEXT, {"code": 10107}), READ_ONLY, N),
    *((md(each), MISCONFIGURED, N) for each in (13, 18)),
    (mongo.ConfigurationError(TEXT), MISCONFIGURED, N),
    (md(26), OK, N),
    (md(39), DAMAGED, U),
    *((md(each), OK, N) for each in (112, 239, 246, 251, 121)),
    *((md(each), OK, U) for each in (2, 11000)),
    (md(987_654), SUSPECT, U),
]


def of_postgresql(error: BaseException, phase: Phase) -> HealthstoreError:
    """Translate as the PostgreSQL adapter does."""
    return explain(POSTGRESQL.classify(error, phase, None), phase, None)


def of_mysql(error: BaseException, phase: Phase) -> HealthstoreError:
    """Translate as the MySQL adapter does."""
    return explain(MYSQL.classify(error, phase, None), phase, None)


def of_sqlite(error: BaseException, phase: Phase) -> HealthstoreError:
    """Translate as the SQLite adapter does."""
    return explain(SQLITE.classify(error, phase, None), phase, None)


def of_mongodb(error: BaseException, phase: Phase) -> HealthstoreError:
    """Translate as the MongoDB adapter does."""
    assert isinstance(error, Exception)
    return translated(error, phase, None)


Translate = Callable[[BaseException, Phase], HealthstoreError]
TABLES: list[tuple[Translate, BaseException, Condition, Outcome]] = [
    (translate, *row)
    for translate, rows in (
        (of_postgresql, PG),
        (of_mysql, MY),
        (of_sqlite, LITE),
        (of_mongodb, MONGO),
    )
    for row in rows
]


@pytest.mark.parametrize(
    ("translate", "error", "condition", "outcome"),
    TABLES,
    ids=lambda each: each.__name__ if callable(each) else repr(each)[:60],
)
def test_each_code_says_what_it_tells_about_the_member(
    translate: Translate, error: BaseException, condition: Condition, outcome: Outcome
) -> None:
    """Of a write that failed: condition and outcome, without the driver's text."""
    ours = translate(error, Phase.WRITE)
    assert (ours.condition, ours.outcome) == (condition, outcome)
    assert TEXT not in str(ours)


FULL: list[tuple[Translate, BaseException]] = [
    (of_postgresql, pg("53100")),
    *((of_mysql, my(each)) for each in (1021, 1114)),
    (of_mysql, pymysql.err.OperationalError(1030, "Got error 28 - 'No space' from engine")),
    (of_sqlite, lite(sqlite3.SQLITE_FULL)),
    (of_mongodb, md(14031)),
]


@pytest.mark.parametrize(
    ("translate", "error"),
    FULL,
    ids=lambda each: each.__name__ if callable(each) else repr(each)[:60],
)
def test_a_full_disk_is_called_by_its_name(translate: Translate, error: BaseException) -> None:
    """It accepts no writes, and the message says why."""
    ours = translate(error, Phase.WRITE)
    assert (ours.condition, ours.outcome) == (READ_ONLY, N)
    assert "disk is full" in ours.message


@pytest.mark.parametrize("translate", [of_postgresql, of_mysql])
@pytest.mark.parametrize("error", [REFUSED, SEVERAL, ExceptionGroup(TEXT, [REFUSED])])
def test_a_refused_connection_is_a_clean_no(translate: Translate, error: BaseException) -> None:
    """Nobody listens: the member is down, and nothing was attempted."""
    ours = translate(error, Phase.CONNECT)
    assert (ours.condition, ours.outcome) == (DOWN, N)


@pytest.mark.parametrize("translate", [of_postgresql, of_mysql])
@pytest.mark.parametrize("error", [TimeoutError(), MIXED, OSError(errno.EHOSTUNREACH, TEXT)])
def test_an_unclear_failure_to_connect_is_a_suspicion(
    translate: Translate, error: BaseException
) -> None:
    """A timeout or an unreachable network may lie on this side."""
    ours = translate(error, Phase.CONNECT)
    assert (ours.condition, ours.outcome) == (SUSPECT, N)


@pytest.mark.parametrize("translate", [of_postgresql, of_mysql])
@pytest.mark.parametrize("kind", [ssl.SSLCertVerificationError, ssl.SSLError])
def test_a_certificate_that_is_not_trusted_is_a_matter_of_configuration(
    translate: Translate, kind: type[ssl.SSLError]
) -> None:
    """It concerns this process, and no failover can mend it; nor that there is no TLS."""
    ours = translate(kind(1, TEXT), Phase.CONNECT)
    assert (ours.condition, ours.outcome) == (MISCONFIGURED, N)


@pytest.mark.parametrize("translate", [of_postgresql, of_mysql])
def test_a_connection_that_is_lost_in_its_handshake_is_a_suspicion(translate: Translate) -> None:
    """A server that goes while TLS begins is not misconfigured."""
    ours = translate(ssl.SSLEOFError(8, TEXT), Phase.CONNECT)
    assert (ours.condition, ours.outcome) == (SUSPECT, N)


@given(st.text("0123456789ABCDEFGHJKPX", min_size=5, max_size=5))
def test_an_unknown_sqlstate_is_never_safe(state: str) -> None:
    """A write that failed with a code outside of the table may have happened."""
    known = POSTGRESQL.classify(pg(state), Phase.WRITE, None).verdict is not Verdict.OTHER
    ours = of_postgresql(pg(state), Phase.WRITE)
    assert known or (ours.outcome, ours.condition) == (U, SUSPECT)


@given(st.integers(1, 70_000))
def test_an_unknown_number_is_never_safe(number: int) -> None:
    """The same for MySQL's numbers and SQLite's codes."""
    for dialect, error in ((MYSQL, my(number)), (SQLITE, lite(number))):
        failure = dialect.classify(error, Phase.WRITE, None)
        ours = explain(failure, Phase.WRITE, None)
        known = failure.verdict is not Verdict.OTHER
        assert known or (ours.outcome, ours.condition) == (U, SUSPECT)


def handled(first: Exception, second: Exception) -> Exception:
    """Return an error that was raised while another one was being handled."""
    try:
        try:
            raise first
        except type(first):
            raise second  # noqa: B904 - that is what is tried
    except type(second) as error:
        return error


def test_an_error_that_is_being_handled_is_no_cause() -> None:
    """What another member reported a moment ago says nothing about this one."""
    error = handled(pg("57P01"), asyncpg.ConnectionDoesNotExistError(TEXT))
    assert error.__context__ is not None
    assert list(causes(error)) == [error]
    assert of_postgresql(error, Phase.WRITE).condition is SUSPECT


def test_circles_of_causes_end() -> None:
    """Two errors that name each other are each looked at once."""
    first, second = OSError(1, TEXT), OSError(2, TEXT)
    first.__cause__, second.__cause__ = second, first
    assert list(causes(first)) == [first, second]
    assert refused(first)  # ENOENT: no socket in the directory

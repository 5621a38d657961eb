"""Errors of the driver are told apart by class, label and number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import errors as driver

from healthstore.abc.unit import Phase
from healthstore.adapters.mongo.errors import code_of, translated
from healthstore.errors import (
    BackendError,
    CheckError,
    ConfigurationError,
    DeadlineExceededError,
    DuplicateKeyError,
    HealthstoreError,
    Outcome,
    OutcomeUnknownError,
    ReadOnlyError,
    RefusedValueError,
    SerializationError,
    UnavailableError,
)
from healthstore.model.schema import Collection, Field, Unique
from healthstore.model.values import FieldType, Kind

PEOPLE = Collection(
    "people",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("email", FieldType(Kind.TEXT, max_length=100)),
        Field("team", FieldType(Kind.TEXT, max_length=100)),
    ),
    uniques=(Unique("email"), Unique("team", "version")),
)
SECRET = "72.5 kg"


def failed(code: int, **details: object) -> driver.OperationFailure:
    """Return the driver's error for a number that the server reported."""
    return driver.OperationFailure(SECRET, code, {"code": code, "errmsg": SECRET, **details})


def labelled(error: driver.PyMongoError, label: str) -> driver.PyMongoError:
    """Return the error with a label."""
    error._add_error_label(label)
    return error


def bulk(code: int, **details: object) -> driver.BulkWriteError:
    """Return the driver's error for a refused document of many."""
    return driver.BulkWriteError({"writeErrors": [{"index": 0, "code": code, **details}]})


N, U = Outcome.NOT_APPLIED, Outcome.UNKNOWN
NOT_PRIMARY = driver.NotPrimaryError(SECRET, {"code": 10107})
STEPPED_DOWN = driver.NotPrimaryError(SECRET, {"code": 189})


@pytest.mark.parametrize(
    ("error", "phase", "kind", "outcome"),
    [
        (driver.ServerSelectionTimeoutError(SECRET), Phase.CONNECT, UnavailableError, N),
        (driver.ServerSelectionTimeoutError(SECRET), Phase.WRITE, UnavailableError, N),
        (driver.WaitQueueTimeoutError(SECRET), Phase.WRITE, UnavailableError, N),
        (driver.AutoReconnect(SECRET), Phase.READ, UnavailableError, N),
        (driver.AutoReconnect(SECRET, [SECRET]), Phase.WRITE, OutcomeUnknownError, U),
        (driver.AutoReconnect(SECRET), Phase.COMMIT, OutcomeUnknownError, U),
        (driver.NetworkTimeout(SECRET), Phase.READ, DeadlineExceededError, N),
        (driver.NetworkTimeout(SECRET), Phase.WRITE, DeadlineExceededError, U),
        (failed(50), Phase.READ, DeadlineExceededError, N),
        (failed(50), Phase.WRITE, DeadlineExceededError, U),
        (driver.WTimeoutError(SECRET, 64, {}), Phase.WRITE, OutcomeUnknownError, U),
        (driver.WriteConcernError(SECRET, 100, {}), Phase.WRITE, OutcomeUnknownError, U),
        (driver.BulkWriteError({"writeConcernErrors": [{"code": 64}]}), Phase.WRITE,
         OutcomeUnknownError, U),
        (failed(18), Phase.CONNECT, ConfigurationError, N),
        (failed(13), Phase.WRITE, ConfigurationError, N),
        (driver.ConfigurationError(SECRET), Phase.CONNECT, ConfigurationError, N),
        (NOT_PRIMARY, Phase.WRITE, ReadOnlyError, N),
        (STEPPED_DOWN, Phase.WRITE, OutcomeUnknownError, U),
        (STEPPED_DOWN, Phase.READ, UnavailableError, N),
        (failed(14031), Phase.WRITE, ReadOnlyError, N),
        (failed(112), Phase.WRITE, SerializationError, N),
        (labelled(failed(251), "TransientTransactionError"), Phase.COMMIT, SerializationError, N),
        (labelled(driver.AutoReconnect(SECRET), "TransientTransactionError"), Phase.WRITE,
         UnavailableError, N),
        (labelled(driver.AutoReconnect(SECRET), "UnknownTransactionCommitResult"), Phase.WRITE,
         OutcomeUnknownError, U),
        (labelled(failed(9999), "SystemOverloadedError"), Phase.WRITE, UnavailableError, N),
        (failed(462), Phase.WRITE, UnavailableError, N),
        (failed(43), Phase.READ, UnavailableError, N),
        (failed(121), Phase.WRITE, CheckError, N),
        (bulk(525074461), Phase.WRITE, CheckError, N),
        (driver.DocumentTooLarge(SECRET), Phase.WRITE, RefusedValueError, N),
        (failed(987654), Phase.WRITE, BackendError, U),
        (failed(987654), Phase.READ, BackendError, N),
        (ValueError(SECRET), Phase.COMMIT, BackendError, U),
    ],
)  # fmt: skip
def test_each_condition_has_its_error(
    error: Exception, phase: Phase, kind: type[HealthstoreError], outcome: Outcome
) -> None:
    """Class and outcome follow from number, label and phase; no text of the driver's is kept."""
    ours = translated(error, phase, PEOPLE)
    assert type(ours) is kind
    assert ours.outcome is outcome
    assert SECRET not in str(ours)


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (failed(11000, keyPattern={"team": 1, "version": 1}), ("team", "version")),
        (bulk(11000, keyPattern={"_id": 1}), ("id",)),
        (bulk(11000, errmsg="Duplicate key violation: Index '_id_'"), ("id",)),
        (bulk(11000, errmsg=f"… Index '{PEOPLE.index_name(PEOPLE.uniques[0])}'"), ("email",)),
        (bulk(11000, errmsg="… Index 'of another program'"), ()),
    ],
)
def test_a_duplicate_names_its_fields(error: Exception, fields: tuple[str, ...]) -> None:
    """They come from the key that the server reports, or from the names of our own indexes."""
    ours = translated(error, Phase.WRITE, PEOPLE)
    assert isinstance(ours, DuplicateKeyError)
    assert ours.fields == fields


@given(st.integers(1, 2**31 - 1))
def test_an_unknown_code_is_never_safe_to_retry(code: int) -> None:
    """A write that failed with a number outside of the table may have happened."""
    known = translated(failed(code), Phase.WRITE, PEOPLE)
    assert type(known) is not BackendError or known.outcome is Outcome.UNKNOWN


def test_a_packed_state_is_unpacked() -> None:
    """FerretDB's number for a serialization failure is MongoDB's write conflict."""
    packed = sum((ord(each) - 48) << 6 * place for place, each in enumerate("40001"))
    assert code_of(failed(packed)) == 112
    assert code_of(failed(11000)) == 11000

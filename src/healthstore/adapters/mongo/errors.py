"""From the driver's errors to ours: by class, label and number, never by message.

Numbers: the ``error_codes.yml`` of MongoDB's server. FerretDB and DocumentDB report some
failures of single writes as a packed SQLSTATE: see :func:`code_of`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, cast

from pymongo import errors as driver

from healthstore.abc.causes import is_ours, refused, untrusted
from healthstore.abc.unit import Phase, deadline_exceeded
from healthstore.errors import (
    BackendError,
    CapabilityError,
    CheckError,
    Condition,
    ConfigurationError,
    HealthstoreError,
    Outcome,
    OutcomeUnknownError,
    ReadOnlyError,
    RefusedValueError,
    SerializationError,
    UnavailableError,
)
from healthstore.model.evaluate import duplicate_key
from healthstore.model.schema import Collection

__all__ = ("Meaning", "code_of", "condition_of", "details_of", "meaning_of", "translated")


class Meaning(Enum):
    """What went wrong, as far as it decides what to do."""

    BUSY = auto()
    CHECK = auto()
    CONFLICT = auto()
    CURSOR_LOST = auto()
    DAMAGED = auto()
    DUPLICATE = auto()
    FULL = auto()
    GOING_AWAY = auto()
    INTERNAL = auto()
    MISTAKE = auto()
    IN_DOUBT = auto()
    LOGIN = auto()
    LOST = auto()
    MISSING = auto()
    NO_SERVER = auto()
    NOT_PRIMARY = auto()
    SETTINGS = auto()
    TIMEOUT = auto()
    TOO_LARGE = auto()
    UNKNOWN = auto()
    UNSUPPORTED = auto()
    UNTRUSTED = auto()


_BY_CODE: dict[int, Meaning] = {
    2: Meaning.MISTAKE,  # BadValue
    9: Meaning.MISTAKE,  # FailedToParse
    1: Meaning.INTERNAL,  # InternalError: FerretDB's number for whatever it does not know
    6: Meaning.LOST,  # HostUnreachable
    7: Meaning.LOST,  # HostNotFound
    13: Meaning.LOGIN,  # Unauthorized
    18: Meaning.LOGIN,  # AuthenticationFailed
    20: Meaning.UNSUPPORTED,  # IllegalOperation: a transaction on a standalone server
    26: Meaning.MISSING,  # NamespaceNotFound
    39: Meaning.DAMAGED,  # FileStreamFailed
    43: Meaning.CURSOR_LOST,  # CursorNotFound
    50: Meaning.TIMEOUT,  # MaxTimeMSExpired
    59: Meaning.UNSUPPORTED,  # CommandNotFound
    64: Meaning.IN_DOUBT,  # WriteConcernTimeout (of the write concern)
    79: Meaning.SETTINGS,  # UnknownReplWriteConcern
    89: Meaning.LOST,  # NetworkTimeout
    91: Meaning.GOING_AWAY,  # ShutdownInProgress
    100: Meaning.IN_DOUBT,  # UnsatisfiableWriteConcern
    112: Meaning.CONFLICT,  # WriteConflict
    115: Meaning.UNSUPPORTED,  # CommandNotSupported
    121: Meaning.CHECK,  # DocumentValidationFailure
    189: Meaning.GOING_AWAY,  # PrimarySteppedDown
    239: Meaning.CONFLICT,  # SnapshotTooOld
    246: Meaning.CONFLICT,  # SnapshotUnavailable: a collection changed since the snapshot
    251: Meaning.CONFLICT,  # NoSuchTransaction
    262: Meaning.TIMEOUT,  # ExceededTimeLimit
    462: Meaning.BUSY,  # IngressRequestRateLimitExceeded
    9001: Meaning.LOST,  # SocketException
    10058: Meaning.NOT_PRIMARY,  # LegacyNotPrimary
    10107: Meaning.NOT_PRIMARY,  # NotWritablePrimary
    10334: Meaning.TOO_LARGE,  # BSONObjectTooLarge
    11000: Meaning.DUPLICATE,  # DuplicateKey
    11600: Meaning.GOING_AWAY,  # InterruptedAtShutdown
    11602: Meaning.GOING_AWAY,  # InterruptedDueToReplStateChange
    13435: Meaning.NOT_PRIMARY,  # NotPrimaryNoSecondaryOk
    13436: Meaning.GOING_AWAY,  # NotPrimaryOrSecondary
    14031: Meaning.FULL,  # OutOfDiskSpace
    17419: Meaning.TOO_LARGE,  # an update would make a document too large
}
_BY_SQLSTATE: dict[str, int] = {
    "23P01": 11000,
    "23505": 11000,
    "40001": 112,
    "40P01": 112,
    "53100": 14031,
    "55P03": 112,
    "57014": 50,
    "57P01": 91,
    "57P02": 91,
    "M001B": 10334,
    "M001C": 11000,
    "M00CO": 121,
}
# Five characters of six bits each; no code of MongoDB's own is as great.
_FIRST_PACKED = 1 << 24

# In order: a class comes before those that it inherits from.
_BY_CLASS: tuple[tuple[type[Exception], Meaning], ...] = (
    (driver.WaitQueueTimeoutError, Meaning.BUSY),
    (driver.ServerSelectionTimeoutError, Meaning.NO_SERVER),
    (driver.NetworkTimeout, Meaning.TIMEOUT),
    (driver.ExecutionTimeout, Meaning.TIMEOUT),
    (driver.WriteConcernError, Meaning.IN_DOUBT),
    (driver.ConnectionFailure, Meaning.LOST),
    (driver.DocumentTooLarge, Meaning.TOO_LARGE),
    (driver.ConfigurationError, Meaning.SETTINGS),
    (driver.InvalidURI, Meaning.SETTINGS),
    (driver.InvalidName, Meaning.SETTINGS),
    (TimeoutError, Meaning.NO_SERVER),  # while connecting; later ones are no driver's errors
)


def details_of(error: Exception) -> Mapping[str, Any]:
    """Return what the server reported about the first failed write, or about the command."""
    reported: object = getattr(error, "details", None)
    if not isinstance(reported, Mapping):  # a lost connection has a list of messages there
        return {}
    details = cast("Mapping[str, Any]", reported)
    for part in ("writeErrors", "writeConcernErrors"):
        failed = details.get(part)
        if failed:
            return cast("Mapping[str, Any]", failed[0])
    return details


def code_of(error: Exception) -> int | None:
    """Return MongoDB's number for an error, if it has one.

    In a packed SQLSTATE character ``i`` is ``chr(((code >> 6 * i) & 63) + 48)``.
    """
    code: object = details_of(error).get("code", getattr(error, "code", None))
    if not isinstance(code, int):
        return None
    if code < _FIRST_PACKED:
        return int(code)
    state = "".join(chr((code >> 6 * place & 63) + 48) for place in range(5))
    return _BY_SQLSTATE.get(state, int(code))


def meaning_of(error: Exception) -> Meaning:
    """Return what an error of the driver means."""
    if isinstance(error, driver.BulkWriteError) and not error.details.get("writeErrors"):
        return Meaning.IN_DOUBT  # every document was written; the acknowledgement is missing
    known = _BY_CODE.get(code_of(error) or 0)
    if known is not None:
        return known
    for kind, meaning in _BY_CLASS:
        if isinstance(error, kind):
            return meaning
    return Meaning.UNKNOWN


@dataclass(frozen=True, slots=True)
class _Report:
    """An error of ours to make: ``in_doubt`` says that a write may have happened."""

    error: type[HealthstoreError]
    message: str
    hint: str = ""
    in_doubt: bool = False
    condition: Condition | None = None  # None: what the class says


_LOST = _Report(
    OutcomeUnknownError,
    "the connection was lost before the answer",
    "when this backend is well again, read the document to see whether it was written",
    in_doubt=True,
)
_LOST_READ = _Report(UnavailableError, "the connection was lost", "repeat the call")
_REPORTS: dict[Meaning, _Report] = {
    Meaning.BUSY: _Report(
        UnavailableError,
        "there is no free connection, or the server refuses more work",
        "repeat later, or raise pool_size in the URL",
        condition=Condition.OVERLOADED,
    ),
    Meaning.CHECK: _Report(
        CheckError,
        "a declared check does not hold",
        "compare the document with its entity's checks",
    ),
    Meaning.CONFLICT: _Report(
        SerializationError, "the database gave way to a concurrent unit", "repeat the whole unit"
    ),
    Meaning.CURSOR_LOST: _Report(UnavailableError, "the server forgot the cursor", "read again"),
    Meaning.DAMAGED: _Report(
        OutcomeUnknownError,
        "the server's storage failed",
        "an operator must look at its disk and its log; have a backup at hand",
        in_doubt=True,
        condition=Condition.DAMAGED,
    ),
    Meaning.FULL: _Report(
        ReadOnlyError,
        "the server's disk is full",
        "free space on the server",
        condition=Condition.READ_ONLY,
    ),
    Meaning.GOING_AWAY: replace(_LOST, condition=Condition.DOWN),
    Meaning.IN_DOUBT: _Report(
        OutcomeUnknownError,
        "a majority of the replica set did not confirm the write",
        "read the document to see whether it was kept",
        in_doubt=True,
    ),
    Meaning.LOGIN: _Report(
        ConfigurationError,
        "the server refuses the user",
        "check user, password and authSource in the URL, and the user's roles",
        condition=Condition.MISCONFIGURED,
    ),
    Meaning.LOST: _LOST,
    Meaning.MISSING: _Report(
        ConfigurationError,
        "the collection does not exist",
        "call initialize() with its entity first",
    ),
    Meaning.NO_SERVER: _Report(
        UnavailableError,
        "no server could be reached",
        "check that it runs, and host, port, replicaSet and tls in the URL",
    ),
    Meaning.NOT_PRIMARY: _Report(
        ReadOnlyError,
        "this server is not the primary",
        "name the whole replica set in the URL, without directConnection",
        condition=Condition.READ_ONLY,
    ),
    Meaning.SETTINGS: _Report(
        ConfigurationError,
        "the driver or the server refuses the settings",
        "check the options of the URL",
        condition=Condition.MISCONFIGURED,
    ),
    Meaning.TOO_LARGE: _Report(
        RefusedValueError, "a document is larger than MongoDB stores", "split it"
    ),
    Meaning.UNTRUSTED: _Report(
        ConfigurationError,
        "no trusted encrypted connection to the server",
        "name its authority's file with tls_ca=, or choose another tls= in the URL: verify, "
        "encrypt or off",
        condition=Condition.MISCONFIGURED,
    ),
    Meaning.UNSUPPORTED: _Report(
        CapabilityError,
        "the server does not support what was asked for",
        "use a replica set of MongoDB 6.0 or later; one node is enough",
    ),
}
_READ_REPORTS: dict[Meaning, _Report] = {
    Meaning.DAMAGED: _Report(
        BackendError,
        "the server's storage failed",
        "an operator must look at its disk and its log; have a backup at hand",
        condition=Condition.DAMAGED,
    ),
    Meaning.GOING_AWAY: replace(_LOST_READ, condition=Condition.DOWN),
    Meaning.IN_DOUBT: _LOST_READ,
    Meaning.LOST: _LOST_READ,
}


def translated(
    error: Exception,
    phase: Phase,
    collection: Collection | None,
    unreached: Condition | None = None,
) -> HealthstoreError:
    """Return the error of ours for an error of the driver.

    ``unreached`` is what is certain of the servers, if none could be reached.
    """
    ours, meaning = _translated(error, phase, collection), meaning_of(error)
    if meaning in _UNREACHED:
        ours.condition = unreached or condition_of(error) or ours.condition
    if meaning is Meaning.NO_SERVER and ours.condition is Condition.MISCONFIGURED:
        return _report(_REPORTS[Meaning.UNTRUSTED])
    return ours


_UNREACHED = frozenset({Meaning.LOST, Meaning.NO_SERVER})


def condition_of(error: BaseException) -> Condition | None:
    """Return what a failure to reach a server says for certain, if anything."""
    if refused(error):
        return Condition.DOWN
    return Condition.MISCONFIGURED if untrusted(error) else None


def _translated(error: Exception, phase: Phase, collection: Collection | None) -> HealthstoreError:
    writes = phase.in_doubt
    meaning = meaning_of(error)
    if isinstance(error, driver.PyMongoError):
        if error.has_error_label("UnknownTransactionCommitResult"):
            return _report(_LOST)
        if error.has_error_label("TransientTransactionError"):
            # The unit cannot be committed any more, whatever happened on the way.
            return _report(
                _LOST_READ
                if isinstance(error, driver.ConnectionFailure)
                else _REPORTS[Meaning.CONFLICT]
            )
        if error.has_error_label("SystemOverloadedError"):
            meaning = Meaning.BUSY
    if meaning is Meaning.DUPLICATE and collection is not None:
        return duplicate_key(collection, _taken(error, collection))
    if meaning is Meaning.TIMEOUT:
        return deadline_exceeded(writes)
    found = None if writes else _READ_REPORTS.get(meaning)
    found = found or _REPORTS.get(meaning)
    return _unlisted(error, writes=writes) if found is None else _report(found)


def _report(report: _Report) -> HealthstoreError:
    outcome = Outcome.UNKNOWN if report.in_doubt else Outcome.NOT_APPLIED
    error = report.error(report.message, hint=report.hint, outcome=outcome)
    error.condition = report.condition or error.condition
    return error


def _unlisted(error: Exception, *, writes: bool) -> BackendError:
    if is_ours(error):
        return BackendError(
            f"a stored value is not one that healthstore writes (code {type(error).__name__})",
            hint="another program wrote it, or the storage is damaged: compare with a backup",
        )
    code = code_of(error)
    ours = BackendError(
        f"MongoDB reported {type(error).__name__}" + ("" if code is None else f" with code {code}"),
        hint="look the code up in MongoDB's list of error codes, and at the server's log",
        outcome=Outcome.UNKNOWN if writes else Outcome.NOT_APPLIED,
    )
    if meaning_of(error) not in {Meaning.MISTAKE, Meaning.DUPLICATE}:
        ours.condition = Condition.SUSPECT
    return ours


def _taken(error: Exception, collection: Collection) -> tuple[str, ...]:
    """Return the fields of the violated unique key.

    MongoDB names the key. FerretDB and DocumentDB name the index in the message only, before
    anything that could be a value.
    """
    details = details_of(error)
    keys = details.get("keyPattern")
    if isinstance(keys, Mapping):
        named = ("id" if key == "_id" else key for key in cast("Mapping[str, Any]", keys))
        return tuple(collection.hidden.get(name, name) for name in named)
    index = _INDEX.search(str(details.get("errmsg", "")))
    if index is None:
        return ()
    return ("id",) if index[1] == "_id_" else collection.index_names.get(index[1], ())


_INDEX = re.compile(r"\bindex:? '?(\w+)", re.IGNORECASE)

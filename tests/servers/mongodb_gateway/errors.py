"""MongoDB's error codes, and which of them each SQLSTATE of the engine means.

Codes and names: MongoDB's ``error_codes.yml``. The engine's own SQLSTATEs are of class ``M``;
inside ``writeErrors`` it packs a SQLSTATE into one number, as PostgreSQL's ``MAKE_SQLSTATE``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import asyncpg
import bson

__all__ = (
    "BAD_VALUE",
    "INTERNAL_ERROR",
    "MAX_TIME_EXPIRED",
    "NAMES",
    "NO_SUCH_TRANSACTION",
    "RETRYABLE_WRITE",
    "SHUTDOWN",
    "TRANSIENT",
    "UNKNOWN_COMMIT",
    "WRITE_CONFLICT",
    "CommandError",
    "PartialFailureError",
    "code_of",
    "from_engine",
    "unpacked",
)

TRANSIENT: Final = "TransientTransactionError"
UNKNOWN_COMMIT: Final = "UnknownTransactionCommitResult"
RETRYABLE_WRITE: Final = "RetryableWriteError"

BAD_VALUE: Final = 2
INTERNAL_ERROR: Final = 1
MAX_TIME_EXPIRED: Final = 50
SHUTDOWN: Final = 91
WRITE_CONFLICT: Final = 112
NO_SUCH_TRANSACTION: Final = 251

NAMES: Final[Mapping[int, str]] = {
    1: "InternalError",
    2: "BadValue",
    5: "GraphContainsCycle",
    9: "FailedToParse",
    14: "TypeMismatch",
    15: "Overflow",
    20: "IllegalOperation",
    22: "InvalidBSON",
    26: "NamespaceNotFound",
    27: "IndexNotFound",
    28: "PathNotViable",
    34: "CannotBackfillArray",
    40: "ConflictingUpdateOperators",
    43: "CursorNotFound",
    48: "NamespaceExists",
    50: "MaxTimeMSExpired",
    52: "DollarPrefixedFieldName",
    53: "InvalidIdField",
    54: "NotSingleValueField",
    56: "EmptyFieldName",
    57: "DottedFieldName",
    59: "CommandNotFound",
    61: "ShardKeyNotFound",
    66: "ImmutableField",
    67: "CannotCreateIndex",
    68: "IndexAlreadyExists",
    72: "InvalidOptions",
    73: "InvalidNamespace",
    85: "IndexOptionsConflict",
    86: "IndexKeySpecsConflict",
    91: "ShutdownInProgress",
    111: "NotExactValueField",
    112: "WriteConflict",
    115: "CommandNotSupported",
    117: "ConflictingOperationInProgress",
    121: "DocumentValidationFailure",
    143: "CursorInUse",
    146: "ExceededMemoryLimit",
    166: "CommandNotSupportedOnView",
    167: "OptionNotSupportedOnView",
    197: "InvalidIndexSpecificationOption",
    224: "QueryFeatureNotAllowed",
    225: "TransactionTooOld",
    241: "ConversionFailure",
    251: "NoSuchTransaction",
    256: "TransactionCommitted",
    262: "ExceededTimeLimit",
    263: "OperationNotSupportedInTransaction",
    276: "IndexBuildAborted",
    291: "NoQueryExecutionPlans",
    10334: "BSONObjectTooLarge",
    11000: "DuplicateKey",
    12587: "BackgroundOperationInProgressForNamespace",
}

_CODES: Final[Mapping[str, int]] = {
    "23505": 11000,
    "23P01": 11000,  # a unique index of the engine is an exclusion constraint
    "40001": WRITE_CONFLICT,
    "40P01": WRITE_CONFLICT,
    "55P03": WRITE_CONFLICT,
    "57014": MAX_TIME_EXPIRED,
    "M0001": 2,
    "M0002": 5,
    "M0003": 9,
    "M0004": 14,
    "M0005": 15,
    "M0006": 20,
    "M0008": 26,
    "M0009": 27,
    "M000A": 28,
    "M000C": 34,
    "M000D": 40,
    "M000E": 43,
    "M000F": 48,
    "M000G": 52,
    "M000H": 53,
    "M000I": 54,
    "M000J": 56,
    "M000K": 57,
    "M000L": 61,
    "M000M": 66,
    "M000N": 67,
    "M000O": 68,
    "M000P": 72,
    "M000Q": 73,
    "M000R": 85,
    "M000S": 86,
    "M000T": 111,
    "M000U": 115,
    "M000W": 146,
    "M000Z": 166,
    "M0010": 167,
    "M0012": 197,
    "M0013": 224,
    "M0015": 241,
    "M0016": 263,
    "M0017": 276,
    "M0018": 291,
    "M001B": 10334,
    "M001C": 11000,
    "M001D": 12587,
    "M00CO": 121,
    "M00EL": 143,
}
# Classes of SQLSTATE (their first two characters) whose members all mean one thing here.
_CLASSES: Final[Mapping[str, int]] = {
    "08": SHUTDOWN,  # connection exception
    "22": BAD_VALUE,  # data exception
    "53": SHUTDOWN,  # insufficient resources: no connection left, disk full
    "57": SHUTDOWN,  # operator intervention: the engine stops or starts
    "M0": BAD_VALUE,  # the engine has a state for each refused expression
}


class CommandError(Exception):
    """A command failed: what the client is told."""

    def __init__(self, code: int, message: str, labels: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.labels = labels

    def document(self) -> bytes:
        """Return the reply."""
        answer: dict[str, Any] = {
            "ok": 0.0,
            "errmsg": self.message,
            "code": self.code,
            "codeName": NAMES.get(self.code, f"Location{self.code}"),
        }
        if self.labels:
            answer["errorLabels"] = list(self.labels)
        return bson.encode(answer)


class PartialFailureError(CommandError):
    """A command of writes was answered, with the errors of some of them: it is no success."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(0, "some writes failed")
        self._answer = answer

    def document(self) -> bytes:
        """Return the reply, ``ok: 1`` with ``writeErrors``."""
        return self._answer


def code_of(sqlstate: str) -> int:
    """Return MongoDB's code for a SQLSTATE; 1 (InternalError) if no table lists it."""
    return _CODES.get(sqlstate) or _CLASSES.get(sqlstate[:2], INTERNAL_ERROR)


def unpacked(code: int) -> int:
    """Return MongoDB's code for one that the engine put into ``writeErrors``.

    A packed SQLSTATE has six bits for each of five characters; the codes of MongoDB that the
    engine writes as they are stay below the smallest packed one.
    """
    if code < 1 << 24:
        return code
    return code_of("".join(chr((code >> 6 * place & 63) + 48) for place in range(5)))


def from_engine(error: Exception) -> CommandError:
    """Say what an error of the driver or of the engine means to the client."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or "XX000"
        code = code_of(state)
        message = str(error.args[0])  # without DETAIL, which quotes values
        return CommandError(code, f"{message} (SQLSTATE {state})" if code == 1 else message)
    if isinstance(error, OSError | asyncpg.InterfaceError):
        return CommandError(SHUTDOWN, "the engine's connection is lost")
    raise error

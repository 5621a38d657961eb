"""The error tree: every failure that healthstore reports, and what it did to the data.

::

    HealthstoreError
    ├── ConfigurationError            the set-up is wrong; nothing was sent
    │   ├── MissingDriverError        a driver or an extra is not installed
    │   ├── CapabilityError           the backend cannot do what was asked, and says so first
    │   ├── SchemaMismatchError       what is stored was made from another definition
    │   │   └── SchemaChangeError     more than additive changes are needed
    │   └── MigrationError            a migration file is wrong, or cannot be applied
    ├── InvalidRequestError           refused before any I/O
    │   ├── UnknownFieldError         no such field (with a did-you-mean)
    │   └── RefusedValueError         a value that not every backend keeps exactly
    ├── NotFoundError                 no document with that id
    ├── IntegrityError                the data refuses the write
    │   ├── DuplicateKeyError         a unique key is taken (``fields``)
    │   ├── ForeignKeyError           a referenced document is missing, or still referenced
    │   ├── CheckError                a declared check does not hold
    │   ├── NotNullError              a required field is null
    │   └── OutOfRangeError           arithmetic left the range of the field's type
    ├── ConflictError                 somebody else was first: repeat the whole unit
    │   ├── StaleVersionError         the document has another version than expected
    │   └── SerializationError        the database gave way to a concurrent unit
    ├── UnavailableError              the backend was not reached; nothing was attempted
    ├── DeadlineExceededError         the deadline passed
    ├── ReadOnlyError                 the backend accepts no writes now
    ├── IncompleteStoreError          a transfer into the store has not ended
    ├── OutcomeUnknownError           the connection was lost while a write was under way
    ├── BackendError                  the database reported something that no table lists
    ├── VerificationError             two stores that must be equal differ
    ├── BackupError                   a backup cannot be written or read
    │   └── BackupCorruptError        a backup is damaged, truncated or tampered with
    └── LifecycleError                a call in the wrong state: not open, closed, poisoned

Every error states what happened to the data (``outcome``) and whether the same call may
succeed later (``transient``). No error carries a field's value or a secret: a value may be
health data.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Self

__all__ = (
    "BackendError",
    "BackupCorruptError",
    "BackupError",
    "CapabilityError",
    "CheckError",
    "Condition",
    "ConfigurationError",
    "ConflictError",
    "DeadlineExceededError",
    "DuplicateKeyError",
    "ForeignKeyError",
    "HealthstoreError",
    "IncompleteStoreError",
    "IntegrityError",
    "InvalidRequestError",
    "LifecycleError",
    "MigrationError",
    "MissingDriverError",
    "NotFoundError",
    "NotNullError",
    "OutOfRangeError",
    "Outcome",
    "OutcomeUnknownError",
    "ReadOnlyError",
    "RefusedValueError",
    "SchemaChangeError",
    "SchemaMismatchError",
    "SerializationError",
    "StaleVersionError",
    "UnavailableError",
    "UnknownFieldError",
    "VerificationError",
)


class Outcome(StrEnum):
    """What a failed call did to the stored data."""

    NOT_APPLIED = "not applied"
    UNKNOWN = "unknown"


class Condition(StrEnum):
    """What a failed call tells about the member that it was sent to.

    Health checks and failover act on it. ``OK`` includes every mistake of the caller: a member
    that refuses a duplicate key is well. See docs/explanation/failover.md.
    """

    OK = "ok"
    SUSPECT = "suspect"
    """It did not answer as it should; whether it is down is for a check to find out."""
    DOWN = "down"
    """A clean no: refused, shutting down, its file gone. Counts as two failed checks."""
    READ_ONLY = "read only"
    """It answers, but accepts no writes: a replica, a full disk."""
    OVERLOADED = "overloaded"
    """It has no capacity now; moving the load elsewhere would only move the trouble."""
    MISCONFIGURED = "misconfigured"
    """It refuses this process: user, password, database, certificate."""
    DAMAGED = "damaged"
    """Its storage reports corruption or I/O errors; an operator must look at it."""
    INCOMPLETE = "incomplete"
    """A transfer fills it, or was ended half-way: it may hold a part of the documents."""


_context = BaseException.__dict__["__context__"].__get__
_set_context = BaseException.__dict__["__context__"].__set__


class HealthstoreError(Exception):
    """The root of every error that healthstore raises.

    ``code`` is stable across releases. ``hint`` says what to do. ``outcome`` says whether the
    call may have changed data; ``transient`` whether the same call may succeed later.
    ``entity``, ``field`` and ``backend`` say where, as far as it is known, and ``index`` which one
    of several that were given together, counted from 0. ``condition`` is what the error tells
    about the member; an adapter that knows more than the class sets it.
    """

    code: ClassVar[str] = "HS-0000"
    transient: bool = False
    condition: Condition = Condition.OK
    index: int | None = None

    @property
    def __context__(self) -> BaseException | None:
        """The error during which this one came up; none for one that is raised ``from None``.

        Python keeps it even then, and the errors of drivers and of pydantic quote values.
        """
        return None if self.__suppress_context__ else _context(self)

    @__context__.setter
    def __context__(self, error: BaseException | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride] - typeshed has an attribute
        _set_context(self, error)

    def __init__(  # noqa: PLR0913 - every part of the place may be known where it is raised
        self,
        message: str,
        *,
        hint: str = "",
        entity: str | None = None,
        field: str | None = None,
        backend: str | None = None,
        outcome: Outcome = Outcome.NOT_APPLIED,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.entity = entity
        self.field = field
        self.backend = backend
        self.outcome = outcome

    def at(
        self,
        *,
        entity: str | None = None,
        field: str | None = None,
        backend: str | None = None,
        index: int | None = None,
    ) -> Self:
        """Fill in the parts of the place that are not known yet, and return the error."""
        self.entity = self.entity or entity
        self.field = self.field or field
        self.backend = self.backend or backend
        self.index = index if self.index is None else self.index
        return self

    @property
    def where(self) -> str:
        """The place in words, as far as it is known: ``User[3].email on primary``."""
        one = self.entity
        if self.index is not None:
            one = f"{one or ''}[{self.index}]"
        place = ".".join(part for part in (one, self.field) if part)
        return " on ".join(part for part in (place, self.backend) if part)

    def __str__(self) -> str:
        where = self.where
        text = f"{self.message} [{where}]" if where else self.message
        return f"{text}: {self.hint}" if self.hint else text


class ConfigurationError(HealthstoreError):
    """The configuration, a URL or a definition is wrong; nothing was sent."""

    code = "HS-1000"


class MissingDriverError(ConfigurationError):
    """A driver or an extra is not installed; the hint is the line that installs it."""

    code = "HS-1001"


class CapabilityError(ConfigurationError):
    """The backend cannot keep the promise that was asked for; nothing was attempted."""

    code = "HS-1002"


class SchemaMismatchError(ConfigurationError):
    """A stored collection was made from another definition than the one that is asked for."""

    code = "HS-1003"


class SchemaChangeError(SchemaMismatchError):
    """A change of a definition may lose data, or needs some, and was asked for as an additive one.

    Nothing was changed.
    """

    code = "HS-1004"


class MigrationError(ConfigurationError):
    """A migration file cannot be read, does not follow from the others, or cannot be applied."""

    code = "HS-1005"


class InvalidRequestError(HealthstoreError):
    """The request is refused before any I/O."""

    code = "HS-2000"


class UnknownFieldError(InvalidRequestError):
    """A request names a field that the entity does not have."""

    code = "HS-2001"


class RefusedValueError(InvalidRequestError):
    """A value has the wrong type, or not every backend could keep it exactly."""

    code = "HS-2002"


class NotFoundError(HealthstoreError):
    """No document has the requested id."""

    code = "HS-3000"


class IntegrityError(HealthstoreError):
    """The stored data refuses the write; nothing of it was kept."""

    code = "HS-4000"


class DuplicateKeyError(IntegrityError):
    """Another document has the same unique key; ``fields`` names the fields of that key."""

    code = "HS-4001"
    fields: tuple[str, ...] = ()


class ForeignKeyError(IntegrityError):
    """A referenced document does not exist, or a document is still referenced."""

    code = "HS-4002"


class CheckError(IntegrityError):
    """A declared check does not hold for the document."""

    code = "HS-4003"


class NotNullError(IntegrityError):
    """A field that must have a value has none."""

    code = "HS-4004"


class OutOfRangeError(IntegrityError):
    """An increment or a sum leaves the range of the field's type; nothing was changed."""

    code = "HS-4005"


class ConflictError(HealthstoreError):
    """A concurrent change came first; it is safe to repeat the whole unit of work."""

    code = "HS-5000"
    transient = True


class StaleVersionError(ConflictError):
    """The document's version is not the expected one; read it again and decide."""

    code = "HS-5001"
    # Repeating the same call cannot succeed: the caller must read the new version first.
    transient = False


class SerializationError(ConflictError):
    """The database ended this unit in favour of a concurrent one; nothing was kept."""

    code = "HS-5002"


class UnavailableError(HealthstoreError):
    """The backend could not be reached, or had no capacity; nothing was attempted."""

    code = "HS-6000"
    transient = True
    condition = Condition.SUSPECT


class DeadlineExceededError(HealthstoreError):
    """The call's deadline passed; for a write the outcome is unknown."""

    code = "HS-6001"
    transient = True
    condition = Condition.SUSPECT


class ReadOnlyError(HealthstoreError):
    """The backend accepts no writes now; nothing was written."""

    code = "HS-6002"
    transient = True


class OutcomeUnknownError(HealthstoreError):
    """The connection was lost while a write was under way: it may or may not be stored."""

    code = "HS-6003"
    condition = Condition.SUSPECT


class BackendError(HealthstoreError):
    """A failure that no error table lists, or a defect of healthstore; a note says where it was."""

    code = "HS-6004"


class IncompleteStoreError(HealthstoreError):
    """A transfer into the store has not ended, or was killed: half a copy serves nobody."""

    code = "HS-6005"
    condition = Condition.INCOMPLETE


class VerificationError(HealthstoreError):
    """Two stores that must hold the same documents differ."""

    code = "HS-7000"


class BackupError(HealthstoreError):
    """A backup cannot be written or read."""

    code = "HS-7001"


class BackupCorruptError(BackupError):
    """A backup is damaged, truncated or tampered with; nothing was restored."""

    code = "HS-7002"


class LifecycleError(HealthstoreError):
    """A call in the wrong state: before open, after close, or on a unit that has failed."""

    code = "HS-8000"

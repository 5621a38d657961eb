"""From a driver's code to an error of ours: one vocabulary for every SQL database.

Each database's file holds a table from its codes to a :class:`Verdict`; the meaning of a
verdict, also in view of the phase in which it came up, is decided here. Codes decide, never
message text, except that names of our own constraints are looked for where a database gives
no other place (MySQL, SQLite).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from enum import StrEnum

from healthstore.abc.unit import Phase, deadline_exceeded
from healthstore.errors import (
    BackendError,
    CheckError,
    Condition,
    ConfigurationError,
    ForeignKeyError,
    HealthstoreError,
    NotNullError,
    Outcome,
    OutcomeUnknownError,
    OutOfRangeError,
    ReadOnlyError,
    SerializationError,
    UnavailableError,
)
from healthstore.model.evaluate import (
    broken_check,
    duplicate_key,
    missing_parent,
    out_of_range,
    still_referenced,
)
from healthstore.model.schema import Collection

__all__ = ("Failure", "Verdict", "clearest", "explain", "misconfigured", "own_name")


class Verdict(StrEnum):
    """What a code means."""

    DUPLICATE = "duplicate"
    FOREIGN_KEY = "foreign key"
    REFERENCED = "referenced"
    CHECK = "check"
    NOT_NULL = "not null"
    RANGE = "range"
    CONFLICT = "conflict"
    LOCKED = "locked"
    READ_ONLY = "read only"
    FULL = "disk full"
    UNAVAILABLE = "unavailable"
    UNOPENED = "file not opened"
    REFUSED = "refused"
    OVERLOADED = "overloaded"
    LOST = "connection lost"
    GOING_AWAY = "going away"
    DAMAGED = "damaged"
    UNTRUSTED = "untrusted"
    DEADLINE = "deadline"
    CONFIGURATION = "configuration"
    MISSING = "missing collection"
    MISTAKE = "mistaken statement"
    UNREADABLE = "unreadable value"
    TOO_DEEP = "nested too deep"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Failure:
    """A driver's error, classified: ``code`` is the database's own.

    ``constraint`` is the name of the violated one, None if the database does not tell it.
    """

    verdict: Verdict
    code: str
    constraint: str | None = None


def own_name(quoted: Iterable[str], names: Container[str]) -> str | None:
    """Return the first of the words that a driver's text quotes that is a name of ours, or None.

    A whole word, where no value is quoted: a value could look like anything.
    """
    return next((word for word in quoted if word in names), None)


_VAGUE = frozenset({Verdict.LOST, Verdict.UNAVAILABLE, Verdict.UNOPENED, Verdict.OTHER})


def clearest(failures: Iterable[Failure]) -> Failure:
    """Return the first failure of a chain, or the first that says more if that one is vague.

    A driver may report that a connection was lost, and only as its cause that the server said
    goodbye.
    """
    first, *others = failures
    if first.verdict not in _VAGUE:
        return first
    return next((each for each in others if each.verdict is Verdict.GOING_AWAY), first)


def explain(failure: Failure, phase: Phase, collection: Collection | None) -> HealthstoreError:
    """Return the error for a failure that came up in a phase, with what it says of the server."""
    error = _EXPLANATIONS[failure.verdict](failure, phase, collection)
    error.condition = _CONDITIONS.get(failure.verdict, error.condition)
    return error


def misconfigured(message: str, hint: str) -> ConfigurationError:
    """Return the error for a server whose settings break a promise."""
    error = ConfigurationError(message, hint=hint)
    error.condition = Condition.MISCONFIGURED
    return error


def _duplicate(failure: Failure, _: Phase, collection: Collection | None) -> HealthstoreError:
    if collection is None:
        return BackendError(f"a unique key is taken (code {failure.code})")
    if failure.constraint is None:
        return duplicate_key(collection, ())
    # The primary key is named by the database.
    return duplicate_key(collection, collection.index_names.get(failure.constraint, ("id",)))


def _foreign_key(failure: Failure, phase: Phase, collection: Collection | None) -> HealthstoreError:
    """Say that a parent is missing or, where one code says both, that there are children."""
    names = collection.reference_names if collection else {}
    reference = names.get(failure.constraint or "")
    if failure.constraint is not None and reference is None:
        return _referenced(failure, phase, collection)
    if reference is None and collection is not None and len(collection.references) == 1:
        reference = collection.references[0]
    if collection is None or reference is None:
        return ForeignKeyError(
            "a document that it refers to does not exist", hint="add that one first"
        )
    return missing_parent(collection, reference)


def _referenced(_: Failure, __: Phase, collection: Collection | None) -> HealthstoreError:
    return still_referenced(collection)


def _check(failure: Failure, _: Phase, collection: Collection | None) -> HealthstoreError:
    if collection is None:
        return CheckError("a check does not hold", hint="give values that the entity allows")
    name = collection.check_names.get(failure.constraint or "")
    if name is not None:
        return broken_check(collection, name)
    field = collection.type_names.get(failure.constraint or "")
    if field is not None and field.type.numeric:
        return out_of_range(collection, field.name, "an increment")
    return CheckError(
        "is none of the values that the field allows",
        hint="use one of its members",
        field=field.name if field else None,
    )


def _lost(failure: Failure, phase: Phase, _: Collection | None) -> HealthstoreError:
    if phase.in_doubt:
        return OutcomeUnknownError(
            f"the connection was lost during a write (code {failure.code})",
            hint="when this backend is well again, read the document to see whether it was written",
            outcome=Outcome.UNKNOWN,
        )
    return UnavailableError(
        f"the connection was lost (code {failure.code})", hint="try again; look at its health"
    )


def _damaged(failure: Failure, phase: Phase, _: Collection | None) -> HealthstoreError:
    hint = "an operator must look at the disk and the server's log; have a backup at hand"
    if phase.in_doubt:
        return OutcomeUnknownError(
            f"the database's storage failed during a write (code {failure.code})",
            hint=hint,
            outcome=Outcome.UNKNOWN,
        )
    return BackendError(
        f"the database's storage is damaged, or is no database (code {failure.code})", hint=hint
    )


def _other(failure: Failure, phase: Phase, _: Collection | None) -> HealthstoreError:
    return BackendError(
        f"the database reported code {failure.code}",
        hint="look it up in the database's manual; the server's log has the details",
        outcome=Outcome.UNKNOWN if phase.in_doubt else Outcome.NOT_APPLIED,
    )


def _simple(
    kind: Callable[..., HealthstoreError], message: str, hint: str
) -> Callable[[Failure, Phase, Collection | None], HealthstoreError]:
    def build(failure: Failure, _: Phase, __: Collection | None) -> HealthstoreError:
        return kind(f"{message} (code {failure.code})", hint=hint)

    return build


_EXPLANATIONS: dict[Verdict, Callable[[Failure, Phase, Collection | None], HealthstoreError]] = {
    Verdict.DUPLICATE: _duplicate,
    Verdict.FOREIGN_KEY: _foreign_key,
    Verdict.REFERENCED: _referenced,
    Verdict.CHECK: _check,
    Verdict.NOT_NULL: _simple(NotNullError, "a field must have a value", "set it"),
    Verdict.RANGE: _simple(
        OutOfRangeError, "arithmetic leaves the range of the field's type", "use smaller steps"
    ),
    Verdict.CONFLICT: _simple(
        SerializationError, "a concurrent unit came first", "repeat the whole unit"
    ),
    Verdict.LOCKED: _simple(
        SerializationError,
        "a lock was not free in time",
        "look for a unit or another process that holds it; then repeat the whole unit",
    ),
    Verdict.READ_ONLY: _simple(
        ReadOnlyError, "the database accepts no writes", "write to the primary; see its health"
    ),
    Verdict.FULL: _simple(ReadOnlyError, "the database's disk is full", "free some space"),
    Verdict.UNAVAILABLE: _simple(
        UnavailableError,
        "the database cannot be reached",
        "check that it runs, and the host, port and tls of its URL",
    ),
    Verdict.UNOPENED: _simple(
        UnavailableError,
        "the database's file cannot be opened",
        "let the user of this program read and write the file, and write to its folder; "
        "or look whether it has too many files open",
    ),
    Verdict.REFUSED: _simple(
        UnavailableError,
        "the database refuses connections",
        "start it, or check the host and port of its URL",
    ),
    Verdict.OVERLOADED: _simple(
        UnavailableError,
        "the database has no capacity left",
        "try again later, or with less at once",
    ),
    Verdict.LOST: _lost,
    Verdict.GOING_AWAY: _lost,
    Verdict.DAMAGED: _damaged,
    Verdict.UNTRUSTED: _simple(
        ConfigurationError,
        "no trusted encrypted connection to the server",
        "name its authority's file with tls_ca=, or choose another tls= in the URL: verify, "
        "encrypt or off",
    ),
    Verdict.DEADLINE: lambda _, phase, __: deadline_exceeded(phase is Phase.COMMIT),
    Verdict.CONFIGURATION: _simple(
        ConfigurationError,
        "the database refuses the connection",
        "check the user, the password and the database name of its URL",
    ),
    Verdict.MISSING: _simple(
        ConfigurationError,
        "the collection is not there, or has another form",
        "call initialize() with its entity first",
    ),
    Verdict.MISTAKE: _other,
    Verdict.UNREADABLE: _simple(
        BackendError,
        "a stored value is not one that healthstore writes",
        "another program wrote it, or the storage is damaged: compare with a backup",
    ),
    Verdict.TOO_DEEP: _simple(
        BackendError,
        "a document's JSON is nested too deep for this database to read a part of it",
        "nest it less deep than 32 levels, or keep the part in a field of its own",
    ),
    Verdict.OTHER: _other,
}

# What a verdict tells about the server; otherwise what the class of the error tells.
_CONDITIONS: dict[Verdict, Condition] = {
    Verdict.READ_ONLY: Condition.READ_ONLY,
    Verdict.FULL: Condition.READ_ONLY,
    Verdict.REFUSED: Condition.DOWN,
    Verdict.GOING_AWAY: Condition.DOWN,
    Verdict.OVERLOADED: Condition.OVERLOADED,
    # It was waited for as long as the settings say: whoever repeats at once waits twice as long.
    Verdict.LOCKED: Condition.OVERLOADED,
    Verdict.DAMAGED: Condition.DAMAGED,
    Verdict.CONFIGURATION: Condition.MISCONFIGURED,
    Verdict.UNTRUSTED: Condition.MISCONFIGURED,
    Verdict.OTHER: Condition.SUSPECT,
}

"""The error tree: stable codes, plain words, and errors that travel between processes."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest

from healthstore import errors
from healthstore.errors import HealthstoreError, Outcome

CLASSES = [
    found
    for name in errors.__all__
    if isinstance(found := getattr(errors, name), type) and issubclass(found, HealthstoreError)
]

# Published: a code never changes and is never used again.
CODES = {
    "HealthstoreError": "HS-0000",
    "ConfigurationError": "HS-1000",
    "MissingDriverError": "HS-1001",
    "CapabilityError": "HS-1002",
    "SchemaMismatchError": "HS-1003",
    "InvalidRequestError": "HS-2000",
    "UnknownFieldError": "HS-2001",
    "RefusedValueError": "HS-2002",
    "NotFoundError": "HS-3000",
    "IntegrityError": "HS-4000",
    "DuplicateKeyError": "HS-4001",
    "ForeignKeyError": "HS-4002",
    "CheckError": "HS-4003",
    "NotNullError": "HS-4004",
    "OutOfRangeError": "HS-4005",
    "ConflictError": "HS-5000",
    "StaleVersionError": "HS-5001",
    "SerializationError": "HS-5002",
    "UnavailableError": "HS-6000",
    "DeadlineExceededError": "HS-6001",
    "ReadOnlyError": "HS-6002",
    "OutcomeUnknownError": "HS-6003",
    "BackendError": "HS-6004",
    "VerificationError": "HS-7000",
    "BackupError": "HS-7001",
    "BackupCorruptError": "HS-7002",
    "LifecycleError": "HS-8000",
}


def test_codes_are_stable_and_different() -> None:
    """Every error has the code that was published for it; no two have the same."""
    found = {each.__name__: each.code for each in CLASSES}
    assert {name: code for name, code in found.items() if name in CODES} == CODES
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_explained(kind: type[HealthstoreError]) -> None:
    """Each class has a docstring of its own, and stands in the tree of the module."""
    assert kind.__dict__["__doc__"]
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("duplicate", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])  # noqa: S301 - our own bytes
def test_an_error_travels_between_processes(
    kind: type[HealthstoreError], duplicate: object
) -> None:
    """A pickled or copied error has the same class, text and attributes."""
    error = kind(
        "it failed",
        hint="try again",
        entity="User",
        field="email",
        backend="main",
        outcome=Outcome.UNKNOWN,
    )
    if isinstance(error, errors.DuplicateKeyError):
        error.fields = ("email",)
    assert callable(duplicate)
    again = duplicate(error)
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_an_error_says_where_it_happened() -> None:
    """The text names entity, field and backend as far as they are known, then what to do."""
    error = errors.CheckError("it failed")
    assert str(error) == "it failed"
    assert str(error.at(backend="main")) == "it failed [main]"
    assert str(error.at(entity="User")) == "it failed [User on main]"
    assert str(error.at(field="age", entity="Other")) == "it failed [User.age on main]"
    hinted = errors.CheckError("it failed", hint="change it", entity="User")
    assert str(hinted) == "it failed [User]: change it"


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_is_caught_as_one_of_ours(kind: type[HealthstoreError]) -> None:
    """Every error is a HealthstoreError, and says nothing was applied unless it knows better."""
    error = kind("it failed")
    assert isinstance(error, HealthstoreError)
    assert error.outcome is Outcome.NOT_APPLIED
    assert isinstance(error.transient, bool)


def test_an_error_from_none_has_no_context() -> None:
    """What is suppressed cannot be reached: it may quote a value."""
    try:
        try:
            raise ValueError("a value")  # noqa: TRY301 - to have one
        except ValueError:
            raise HealthstoreError("ours") from None
    except HealthstoreError as error:
        caught = error
    assert (caught.__cause__, caught.__context__) == (None, None)
    assert "a value" not in "".join(traceback.format_exception(caught))


def test_what_a_program_was_handling_stays_in_sight() -> None:
    """An error of the program's own, during which ours came up, is its context as ever."""
    first = ValueError("the program's")
    try:
        try:
            raise first
        except ValueError:
            raise HealthstoreError("ours")  # noqa: B904 - what is looked at
    except HealthstoreError as error:
        caught = error
    assert caught.__context__ is first
    caught.__context__ = None
    assert caught.__context__ is None

"""The errors of what is refused before any I/O: a request, a value, a filter."""

from __future__ import annotations

from healthstore.errors import InvalidRequestError, NotNullError, RefusedValueError
from healthstore.model.advice import AdvisedError
from healthstore.model.definition import Definition

__all__ = ("invalid", "missing_value", "refused")


def invalid(
    collection: Definition, message: str, hint: str, field: str | None = None
) -> InvalidRequestError:
    """Return the error for a request that has no meaning."""
    return InvalidRequestError(message, hint=hint, entity=collection.entity, field=field)


def refused(collection: Definition, name: str, error: Exception) -> RefusedValueError:
    """Return the error for a value that not every backend keeps; the reason has no value in it."""
    hint = "give a value that every backend can keep exactly"
    return RefusedValueError(
        str(error),
        hint=error.hint if isinstance(error, AdvisedError) else hint,
        entity=collection.entity,
        field=name,
    )


def missing_value(collection: Definition, name: str) -> NotNullError:
    """Return the error for None in a field that must have a value."""
    return NotNullError(
        "must have a value",
        hint="set it, or let the entity's field be None",
        entity=collection.entity,
        field=name,
    )

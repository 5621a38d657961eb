"""What is true of a stored document: its definition, its version, and what a patch makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from decimal import Decimal, localcontext
from typing import Any, cast
from uuid import UUID

from healthstore.errors import (
    CheckError,
    DuplicateKeyError,
    ForeignKeyError,
    IntegrityError,
    NotNullError,
    OutOfRangeError,
    StaleVersionError,
)
from healthstore.model.decimals import EXACT
from healthstore.model.definition import Definition
from healthstore.model.evaluate.filters import matches
from healthstore.model.ops import Patch, Patches
from healthstore.model.schema import Collection, Reference
from healthstore.model.values import Document

__all__ = (
    "broken_check",
    "changed_by_id",
    "check_document",
    "check_version",
    "duplicate_key",
    "missing_parent",
    "out_of_range",
    "patched",
    "patched_each",
    "still_referenced",
)


def check_version(
    collection: Collection, stored: Document, identity: UUID, expected: int | None
) -> None:
    """Raise StaleVersionError unless the stored document has the expected version."""
    if expected is not None and stored["version"] != expected:
        raise StaleVersionError(
            f"document {identity} has version {stored['version']!r}, not {expected}",
            hint="read it again, then decide",
            entity=collection.entity,
        )


def check_document(collection: Collection, document: Document) -> None:
    """Raise NotNullError or CheckError unless the document satisfies its definition."""
    for name in collection.required:
        if document[name] is None:
            raise NotNullError(
                "must have a value",
                hint="give it one, or declare that it may be None",
                entity=collection.entity,
                field=name,
            )
    for name, rule in collection.rules.items():
        if not matches(rule)(document):
            raise broken_check(collection, name)


def broken_check(collection: Collection, name: str) -> CheckError:
    """Return the error for a document that a declared check forbids."""
    return CheckError(
        f"the check {name!r} does not hold",
        hint="give values that the entity's check allows",
        entity=collection.entity,
    )


def missing_parent(collection: Collection, reference: Reference) -> ForeignKeyError:
    """Return the error for a document whose reference leads to nothing."""
    return ForeignKeyError(
        f"the document of {reference.collection} that it refers to does not exist",
        hint="add that one first",
        entity=collection.entity,
        field=reference.field,
    )


def duplicate_key(collection: Collection, fields: tuple[str, ...]) -> DuplicateKeyError:
    """Return the error for a unique key that is taken."""
    error = DuplicateKeyError(
        f"another document has the same {', '.join(fields) or 'unique key'}",
        hint="update that document, or choose another value",
        entity=collection.entity,
        field=fields[0] if len(fields) == 1 else None,
    )
    error.fields = fields
    return error


def still_referenced(collection: Collection | None) -> ForeignKeyError:
    """Return the error for a delete that a reference restricts; not every database says which."""
    return ForeignKeyError(
        "another document still refers to it",
        hint="delete the referring documents first",
        entity=collection.entity if collection else None,
    )


def patched(op: Patch, document: Document) -> Document:
    """Return a document as it is after a patch; raise if an increment is impossible."""
    after = {**document, **dict(op.sets)}
    for name, step in op.increments:
        value = document[name]
        if value is None:
            raise NotNullError(
                "cannot be incremented: it has no value",
                hint="set it first",
                entity=op.collection.entity,
                field=name,
            )
        # Making a context takes longer than all the rest, and only decimals need one.
        with localcontext(EXACT) if isinstance(value, Decimal) else nullcontext():
            total = cast(Any, value) + cast(Any, step)
        try:
            after[name] = op.collection.values[name](total)
        except ValueError:
            raise out_of_range(op.collection, name, "an increment") from None
    for keep, bounds in ((max, op.at_least), (min, op.at_most)):
        for name, bound in bounds:
            there = cast(Any, document[name])
            after[name] = bound if there is None else keep(there, cast(Any, bound))
    return after


def patched_each(
    op: Patches, stored: Mapping[UUID, Document]
) -> tuple[tuple[Document] | None, ...]:
    """Return what patches of one document each have as results, one after the other."""
    now = dict(stored)
    results: list[tuple[Document] | None] = []
    for each in op.patches:
        (identity,) = each.ids
        after = None
        if identity in now:
            version = each.versions[0] if each.versions else None
            with suppress(IntegrityError, StaleVersionError):  # asked by itself, it is raised
                check_version(op.collection, now[identity], identity, version)
                after = now[identity] = patched(each, now[identity])
        results.append(None if after is None else (after,))
    return tuple(results)


def changed_by_id(results: Iterable[tuple[Document] | None]) -> dict[UUID, Document]:
    """Return each document that :func:`patched_each` changed, as it is after all patches."""
    return {cast(UUID, each["id"]): each for result in results for each in result or ()}


def out_of_range(collection: Definition, field: str | None, what: str) -> OutOfRangeError:
    """Return the error for arithmetic that leaves the range of a field's type."""
    return OutOfRangeError(
        f"{what} leaves the range of the field's type",
        hint="use a smaller step or fewer documents, or a Decimal field with more digits",
        entity=collection.entity,
        field=field,
    )

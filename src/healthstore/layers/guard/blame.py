"""Which of several documents the stored data refused: a database tells that of some statements only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import cast
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.errors import (
    CheckError,
    DuplicateKeyError,
    ForeignKeyError,
    IntegrityError,
    NotNullError,
    Outcome,
)
from healthstore.model.catalog import CATALOG, catalog_id, from_definition
from healthstore.model.evaluate import Key, check_document, key_test, keyed
from healthstore.model.filters import checked_filter
from healthstore.model.ops import Find, Get, Insert
from healthstore.model.query import Or
from healthstore.model.schema import Collection, Reference
from healthstore.model.values import Document

__all__ = ("refused_index",)

_TOGETHER = 100


async def refused_index(error: IntegrityError, op: Insert, store: Executor) -> int | None:
    """Return the index of the first document that is refused as this error says, or None.

    What is stored is only read, and only if nothing of the request is stored. Of what a unit has
    seen nothing can be read after an error: there only the documents themselves tell it.
    """
    if isinstance(error, CheckError | NotNullError):
        return _broken(op)
    if isinstance(error, DuplicateKeyError):
        fields = error.fields or ("id",)
        found = _twice(op, fields)
        if found is None and error.outcome is Outcome.NOT_APPLIED:
            found = await _stored(op, fields, store)
        return found
    if isinstance(error, ForeignKeyError) and error.outcome is Outcome.NOT_APPLIED:
        return await _orphan(op, error.field, store)
    return None


def _broken(op: Insert) -> int | None:
    """Return the index of the first document that breaks a check or lacks a value."""
    for index, document in enumerate(op.documents):
        try:
            check_document(op.collection, document)
        except IntegrityError:
            return index
    return None


def _keys(
    collection: Collection, documents: Sequence[Document], fields: Sequence[str]
) -> Iterator[tuple[int, Key]]:
    """Yield the index and the key of each document whose key is complete."""
    key_of = keyed(collection, fields)
    for index, document in enumerate(documents):
        key = key_of(document)
        if None not in key:
            yield index, key


def _twice(op: Insert, fields: Sequence[str]) -> int | None:
    """Return the index of the first document whose key one before it has."""
    seen: set[Key] = set()
    for index, key in _keys(op.collection, op.documents, fields):
        if key in seen:
            return index
        seen.add(key)
    return None


async def _stored(op: Insert, fields: Sequence[str], store: Executor) -> int | None:
    """Return the index of the first document whose key is stored already."""
    waiting = _keys(op.collection, op.documents, fields)
    while part := {key: index for index, key in islice(waiting, _TOGETHER)}:
        keys = [key_test(op.collection, fields, key) for key in part]
        where = checked_filter(op.collection, Or(tuple(keys)))
        rows = await store.execute(Find(op.collection, where, limit=len(part)))
        found = [part[key] for _, key in _keys(op.collection, rows, fields) if key in part]
        if found:
            return min(found)
    return None


async def _orphan(op: Insert, field: str | None, store: Executor) -> int | None:
    """Return the index of the first document that refers to what is not there."""
    found = [
        await _without_parent(op, each, store)
        for each in op.collection.references
        if field in {None, each.field}
    ]
    return min((each for each in found if each is not None), default=None)


async def _without_parent(op: Insert, reference: Reference, store: Executor) -> int | None:
    own = reference.collection == op.collection.name
    there = {cast(UUID, each["id"]) for each in op.documents} if own else set[UUID]()
    (known,) = await store.execute(Get(CATALOG, (catalog_id(reference.collection),)))
    if known is None:
        return None
    parents = from_definition(known["definition"])
    waiting = _keys(op.collection, op.documents, (reference.field,))
    while part := [(index, cast(UUID, key[0])) for index, key in islice(waiting, _TOGETHER)]:
        wanted = tuple({parent for _, parent in part} - there)
        rows = await store.execute(Get(parents, wanted)) if wanted else ()
        there.update(identity for identity, row in zip(wanted, rows, strict=True) if row)
        for index, parent in part:
            if parent not in there:
                return index
    return None

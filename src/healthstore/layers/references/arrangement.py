"""Documents of one request that refer to each other: parents first, and circles opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast
from uuid import UUID

from healthstore.errors import ForeignKeyError
from healthstore.layers.references.relations import own_references
from healthstore.model.ops import Insert
from healthstore.model.precedence import children_first, circular
from healthstore.model.schema import Collection, Reference
from healthstore.model.values import Document

__all__ = ("arranged",)


def arranged(op: Insert) -> tuple[Insert, tuple[Document, ...]]:
    """Return the request with its parents first, and documents to replace when all are added.

    Those are of a circle, and were added without their optional references within it. Raises
    ForeignKeyError for a circle of references that must have a value.
    """
    own = own_references(op.collection)
    if not own:
        return op, ()
    documents = {cast(UUID, each["id"]): each for each in op.documents}
    parents = {identity: _parents(each, own) for identity, each in documents.items()}
    groups, left = children_first(parents)
    opened: dict[UUID, Document] = {}
    if left:
        circles = circular(parents)
        optional = [each.field for each in own if op.collection.nullable(each.field)]
        for identity in circles:
            document = documents[identity]
            within = [name for name in optional if document[name] in circles - {identity}]
            if within:
                opened[identity] = {**document, **dict.fromkeys(within)}
        parents |= {identity: _parents(each, own) for identity, each in opened.items()}
        groups, left = children_first(parents)
    if left:
        raise _required_circle(op.collection, own, documents, circular(parents))
    added = [identity for group in reversed(groups) for identity in group]
    request = replace(op, documents=tuple(opened.get(each, documents[each]) for each in added))
    return request, tuple(documents[each] for each in added if each in opened)


def _parents(document: Document, own: Sequence[Reference]) -> set[UUID]:
    values = {cast("UUID | None", document[each.field]) for each in own}
    return {each for each in values if each is not None}


def _required_circle(
    collection: Collection,
    own: Sequence[Reference],
    documents: dict[UUID, Document],
    circles: set[UUID],
) -> ForeignKeyError:
    field = next(
        each.field
        for each in own
        if not collection.nullable(each.field)
        and any(documents[identity][each.field] in circles - {identity} for identity in circles)
    )
    return ForeignKeyError(
        "documents of this request refer to each other in a circle, so none can be the first",
        hint="let the field be None (UUID | None), or add one that refers to itself, and update it",
        entity=collection.entity,
        field=field,
    )

"""Replacements that are guarded: of documents that are as they were when they were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast
from uuid import UUID

from healthstore.errors import SerializationError, StaleVersionError
from healthstore.model.evaluate import check_version
from healthstore.model.ops import Replace
from healthstore.model.values import Document

__all__ = ("check_same", "replaced", "require_present")


def check_same(op: Replace, stored: Document, document: Document) -> None:
    """Raise StaleVersionError unless the fields of ``op.same`` are stored as the document has them."""
    for name in op.same:
        if stored[name] != document[name]:
            raise StaleVersionError(
                f"document {document['id']!s} is another one than that which was read",
                hint="read it again, then decide",
                entity=op.collection.entity,
                field=name,
            )


def replaced(op: Replace, matched: int, there: Mapping[UUID, Document]) -> tuple[bool, ...]:
    """Return for each document of a guarded replacement whether it was there.

    A database says how many it ``matched``, not which; ``there`` is what is stored afterwards. A
    document that is there and is not as it was to be is not the expected one, which raises
    StaleVersionError, or somebody else is just changing it: SerializationError. A snapshot may
    not show yet what they made of it.
    """
    others = False
    for document, version in zip(op.documents, op.versions or (), strict=True):
        identity = cast(UUID, document["id"])
        if (stored := there.get(identity, document)) != document:
            check_version(op.collection, stored, identity, version)
            check_same(op, stored, document)
            others = True
    if others or matched != len(there):
        raise SerializationError(
            "a concurrent unit changed the same documents first", hint="repeat the whole unit"
        )
    found = tuple(each["id"] in there for each in op.documents)
    require_present(op, found)
    return found


def require_present(op: Replace, found: Sequence[bool]) -> None:
    """Raise StaleVersionError for a document that is not there, if each must be."""
    if op.present and not all(found):
        missing = op.documents[found.index(False)]
        raise StaleVersionError(
            f"document {missing['id']!s} is not there any more",
            hint="read it again, then decide",
            entity=op.collection.entity,
        )

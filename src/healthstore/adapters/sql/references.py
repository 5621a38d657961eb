"""Which reference of a request leads to nothing, for a database that does not say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias, cast
from uuid import UUID

from healthstore.model.schema import Collection, Reference
from healthstore.model.values import Document

__all__ = ("broken_reference",)

Read: TypeAlias = Callable[[Collection, Sequence[UUID]], Awaitable[Mapping[UUID, Document]]]


async def broken_reference(
    read: Read, collection: Collection, documents: Sequence[Document]
) -> Reference | None:
    """Return the first reference of these values to a document that is not there, or None."""
    led = [
        (each, (each.collection, parent))
        for document in documents
        for each in collection.references
        if (parent := cast("UUID | None", document.get(each.field))) is not None
    ]
    # Documents of one request may refer to each other; of a failed one none is stored.
    there = {(collection.name, document.get("id")) for document in documents}
    for name in {each.collection for each in collection.references}:
        wanted = {parent for _, (place, parent) in led if place == name}
        key = Collection(name, (collection.field("id"), collection.field("version")))
        found = await read(key, tuple(wanted))
        there.update((name, identity) for identity in found)
    return next((each for each, parent in led if parent not in there), None)

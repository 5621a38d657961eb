"""Values made canonical: documents, ids and versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.model.documents import canonical_documents
from healthstore.model.ops import Delete, Insert, Patch, Replace
from healthstore.model.refusals import invalid, missing_value, refused
from healthstore.model.schema import Collection
from healthstore.model.size import require_small
from healthstore.model.values import Document, Value

__all__ = (
    "checked_documents",
    "checked_ids",
    "checked_value",
    "checked_versions",
)

MAX_IDS = 10_000
_UUID_ONLY: frozenset[type] = frozenset({UUID})


def checked_documents(op: Insert | Replace, store: Executor) -> tuple[Document, ...]:
    """Return canonical documents, each with every field and small enough, no two with one id."""
    collection, documents = op.collection, op.documents
    if op.canonical is not True:
        documents = tuple(canonical_documents(collection, documents))
    require_small(collection, documents, store.capabilities.max_document_bytes)
    if len(documents) > 1:
        _require_distinct(collection, [each["id"] for each in documents])
    return documents


def checked_value(collection: Collection, name: str, value: object) -> Value:
    """Return the canonical value of a field; None only where the field may be None."""
    if value is None:
        if not collection.field(name).nullable:
            raise missing_value(collection, name)
        return None
    try:
        return collection.values[name](value)
    except (TypeError, ValueError) as error:
        raise refused(collection, name, error) from None


def checked_ids(collection: Collection, ids: Sequence[UUID], *, distinct: bool) -> tuple[UUID, ...]:
    """Return canonical ids, at most MAX_IDS; ``distinct`` refuses one that comes twice."""
    if len(ids) > MAX_IDS:
        raise invalid(collection, f"more than {MAX_IDS} ids in one request", "split the list")
    given: Sequence[object] = ids
    if _UUID_ONLY.issuperset(map(type, given)):
        checked = tuple(ids)
    elif None in given:
        raise refused(collection, "id", TypeError("expects UUID, not None"))
    else:
        checked = tuple(cast(UUID, checked_value(collection, "id", each)) for each in ids)
    if distinct and len(checked) > 1:
        _require_distinct(collection, checked)
    return checked


def _require_distinct(collection: Collection, ids: Sequence[Value]) -> None:
    if len(set(ids)) == len(ids):
        return
    first: dict[Value, int] = {}
    for position, identity in enumerate(ids):
        earlier = first.setdefault(identity, position)
        if earlier != position:
            raise invalid(
                collection,
                f"the documents at {earlier} and {position} have the same id",
                "send each document once",
                "id",
            )


def checked_versions(op: Replace | Patch | Delete, count: int) -> tuple[int, ...] | None:
    """Return the expected versions, one for each of ``count`` documents, or None."""
    if op.versions is None:
        return None
    if len(op.versions) != count:
        raise invalid(
            op.collection, "some expected versions are missing", "give one for each document"
        )
    return tuple(cast(int, checked_value(op.collection, "version", each)) for each in op.versions)

"""Values made canonical: documents, ids and versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

import msgspec

from healthstore.abc.backend import Capabilities
from healthstore.errors import RefusedValueError
from healthstore.model.ops import Delete, Patch, Replace
from healthstore.model.refusals import invalid, missing_value, refused
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value, canonicaliser

__all__ = (
    "checked_documents",
    "checked_ids",
    "checked_value",
    "checked_versions",
    "require_small",
)

MAX_IDS = 10_000
# A document whose texts have fewer code points than this is small, whatever they are.
_SURELY_SMALL = 100_000


def checked_documents(
    collection: Collection, documents: Sequence[Document], capabilities: Capabilities
) -> tuple[Document, ...]:
    """Return canonical documents, each with every field, no two with one id."""
    checked = tuple(_document(collection, document, capabilities) for document in documents)
    _require_distinct(collection, [document["id"] for document in checked])
    return checked


def _document(collection: Collection, document: Document, capabilities: Capabilities) -> Document:
    checked: Document = {}
    name = ""
    try:
        for name, canonical, nullable in collection.canonicalisers:
            value = document[name]
            if value is not None:
                checked[name] = canonical(value)
            elif nullable:
                checked[name] = None
            else:
                raise missing_value(collection, name)
    except KeyError:
        raise invalid(
            collection, "is missing", "a document has every field; use None", name
        ) from None
    except (TypeError, ValueError) as error:
        raise refused(collection, name, error) from None
    if len(document) != len(checked):
        for given in document:
            collection.field(given)  # raises for the one that is not known
    require_small(collection, checked, capabilities)
    return checked


def require_small(collection: Collection, document: Document, capabilities: Capabilities) -> None:
    """Refuse a document that MongoDB could not keep; measured exactly only if it may be large."""
    length = 0
    for value in document.values():
        if isinstance(value, str | bytes):
            length += len(value)
        elif isinstance(value, dict | list):
            length += _json_size(value)
    if 4 * length <= _SURELY_SMALL:
        return
    size = sum(
        len(value.encode()) if isinstance(value, str) else len(value)
        for value in document.values()
        if isinstance(value, str | bytes)
    )
    size += sum(_json_size(value) for value in document.values() if isinstance(value, dict | list))
    if size > capabilities.max_document_bytes:
        raise RefusedValueError(
            f"a document takes about {size} bytes; at most {capabilities.max_document_bytes} are kept",
            hint="store large content elsewhere, and its address here",
            entity=collection.entity,
        )


def _json_size(value: Value) -> int:
    return len(msgspec.json.encode(value))


def checked_value(collection: Collection, name: str, value: object) -> Value:
    """Return the canonical value of a field; None only where the field may be None."""
    field = collection.field(name)
    if value is None:
        if not field.nullable:
            raise missing_value(collection, name)
        return None
    try:
        return canonicaliser(field.type)(value)
    except (TypeError, ValueError) as error:
        raise refused(collection, name, error) from None


def checked_ids(collection: Collection, ids: Sequence[UUID], *, distinct: bool) -> tuple[UUID, ...]:
    """Return canonical ids, at most MAX_IDS; ``distinct`` refuses one that comes twice."""
    if len(ids) > MAX_IDS:
        raise invalid(collection, f"more than {MAX_IDS} ids in one request", "split the list")
    given: Sequence[object] = ids
    if None in given:
        raise refused(collection, "id", TypeError("expects UUID, not None"))
    checked = tuple(cast(UUID, checked_value(collection, "id", identity)) for identity in ids)
    if distinct:
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

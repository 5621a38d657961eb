"""What a store remembers of requests that carry an idempotency key, in a collection of its own.

It is the library's, as the catalog is: no entity can have its name, and transfers, backups and
comparisons leave it where it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import cast
from uuid import UUID, uuid5

import msgspec

from healthstore.errors import RefusedValueError
from healthstore.model.definition import Field, Index
from healthstore.model.json import sorted_json
from healthstore.model.schema import Collection
from healthstore.model.values import Document, FieldType, Json, Kind, Value
from healthstore.model.wire import from_tagged, to_tagged

__all__ = (
    "LONGEST_KEY",
    "REQUESTS",
    "answer_of",
    "content_digest",
    "read_answer",
    "request_id",
)

LONGEST_KEY = 200
"""The most characters of an idempotency key."""

REQUESTS = Collection(
    name="healthstore_requests",
    fields=(
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("collection", FieldType(Kind.TEXT, max_length=48)),
        Field("content", FieldType(Kind.TEXT, max_length=64)),
        Field("answer", FieldType(Kind.TEXT)),
        Field("until", FieldType(Kind.DATETIME)),
    ),
    indexes=(Index("until"),),
    entity="healthstore_requests",
)
"""A row for each request: whose it is, a digest of what was asked, what was answered, until when."""

# Any fixed namespace does: the id of a request must be the same in every process.
_NAMESPACE = UUID("5b8f1f0e-3a52-5d0b-9d6a-6a1b8e0f7c21")


def request_id(collection: Collection, key: str) -> UUID:
    """Return the id of the row of a request; raise RefusedValueError for what is no key.

    It tells nothing of the key, and of two that come at once one only is stored.
    """
    said: object = key
    if not isinstance(said, str) or not 1 <= len(said) <= LONGEST_KEY or not _is_plain(said):
        raise RefusedValueError(
            f"the idempotency key is no text of 1 to {LONGEST_KEY} characters",
            hint="take one that the caller makes once for each request, such as a UUID",
            entity=collection.entity,
        )
    return uuid5(_NAMESPACE, f"{collection.name}\n{said}")


def _is_plain(text: str) -> bool:
    """Tell whether a text can be written: none with half of a pair of surrogates can."""
    return not any("\ud800" <= each <= "\udfff" for each in text)


def content_digest(collection: Collection, document: Document, but: Iterable[str]) -> str:
    """Return a digest of what a document says, but for some fields; None is nothing said."""
    left_out = frozenset(but)
    said = {name: each for name, each in _tagged(collection, document) if name not in left_out}
    return sha256(msgspec.json.encode(sorted_json(said))).hexdigest()


def answer_of(collection: Collection, document: Document) -> str:
    """Return a document as the text that is kept of it."""
    return msgspec.json.encode(dict(_tagged(collection, document))).decode()


def read_answer(collection: Collection, text: str) -> Document:
    """Return the document of a kept text, with the fields that the collection has by now."""
    said = cast("dict[str, Json]", msgspec.json.decode(text))
    return {
        each.name: cast(Value, from_tagged(each.type)(said[each.name]))
        if each.name in said
        else each.default
        for each in collection.fields
    }


def _tagged(collection: Collection, document: Document) -> Iterable[tuple[str, Json]]:
    for each in collection.fields:
        value = document[each.name]
        if value is not None:
            yield each.name, to_tagged(each.type)(value)

"""Pages, and the text that says where the next one begins."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from healthstore.errors import InvalidRequestError
from healthstore.model.query import Order
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Json, Value, canonicaliser
from healthstore.model.wire import from_tagged, to_tagged

__all__ = ("Page", "read_position", "write_position")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some results in order, and where the next page starts (None: this was the last)."""

    items: tuple[T, ...]
    next: str | None


def write_position(collection: Collection, orders: Sequence[Order], document: Document) -> str:
    """Return the position of a document in an order."""
    values = [
        None if document[each.field] is None else _tagged(collection, each.field, document)
        for each in orders
    ]
    body = msgspec.json.encode([_signature(collection, orders), values])
    return base64.urlsafe_b64encode(body).decode("ascii")


def read_position(collection: Collection, orders: Sequence[Order], token: str) -> tuple[Value, ...]:
    """Return the values of the sort keys at a position; refuse that of another query."""
    foreign = InvalidRequestError(
        "the position does not belong to this query",
        hint="pass a page's own `next`, with the same order",
        entity=collection.entity,
    )
    try:
        signature, values = msgspec.json.decode(base64.urlsafe_b64decode(token))
        if signature != _signature(collection, orders):
            raise foreign
        return tuple(
            None if value is None else _untagged(collection, each.field, value)
            for each, value in zip(orders, values, strict=True)
        )
    except (ValueError, TypeError):  # of base64, JSON, the tags and the values alike
        raise foreign from None


def _tagged(collection: Collection, name: str, document: Document) -> Json:
    return to_tagged(collection.field(name).type)(document[name])


def _untagged(collection: Collection, name: str, value: Json) -> Value:
    kind = collection.field(name).type
    return canonicaliser(kind)(from_tagged(kind)(value))


def _signature(collection: Collection, orders: Sequence[Order]) -> str:
    text = ",".join(f"{each.field}{'-' if each.descending else '+'}" for each in orders)
    return hashlib.sha256(f"{collection.name}:{text}".encode()).hexdigest()[:12]

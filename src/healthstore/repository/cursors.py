"""Pages, and the text that says where the next one begins."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from healthstore.errors import InvalidRequestError
from healthstore.model.ops import Origin
from healthstore.model.query import Order
from healthstore.model.schema import Collection
from healthstore.model.values import SORTED_TEXT, Document, Json, Value, canonicaliser
from healthstore.model.wire import from_tagged, to_tagged

__all__ = ("Page", "read_position", "write_position")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some results in order, and where the next page starts (None: this was the last).

    ``source`` is the name of the member that returned them: another one than the manager's
    ``active`` stood in for it, and may be behind.
    """

    items: tuple[T, ...]
    next: str | None
    source: str


def write_position(
    collection: Collection, orders: Sequence[Order], document: Document, origin: Origin
) -> str:
    """Return the position of a document in an order, at the member that returned it."""
    values = [
        None if document[each.field] is None else _tagged(collection, each.field, document)
        for each in orders
    ]
    place = [origin.member, origin.stale]
    body = msgspec.json.encode([_signature(collection, orders), values, place])
    return base64.urlsafe_b64encode(body).decode("ascii")


def read_position(
    collection: Collection, orders: Sequence[Order], token: str
) -> tuple[tuple[Value, ...], Origin]:
    """Return the values of the sort keys at a position, and who returned the page before it.

    Raises InvalidRequestError for a position of another query.
    """
    foreign = InvalidRequestError(
        "the position does not belong to this query",
        hint="pass a page's own `next`, with the same order",
        entity=collection.entity,
    )
    try:
        signature, values, place = msgspec.json.decode(base64.urlsafe_b64decode(token))
        member, stale = place
        if signature != _signature(collection, orders) or type(member) is not str:
            raise foreign
        keys = tuple(
            None if value is None else _untagged(collection, each.field, value)
            for each, value in zip(orders, values, strict=True)
        )
        return keys, Origin(member, bool(stale))
    except (ValueError, TypeError):  # of base64, JSON, the tags and the values alike
        raise foreign from None


def _tagged(collection: Collection, name: str, document: Document) -> Json:
    value = document[name]
    if isinstance(value, str):
        value = value[:SORTED_TEXT]
    return to_tagged(collection.field(name).type)(value)


def _untagged(collection: Collection, name: str, value: Json) -> Value:
    kind = collection.field(name).type
    return canonicaliser(kind)(from_tagged(kind)(value))


def _signature(collection: Collection, orders: Sequence[Order]) -> str:
    text = ",".join(map(str, orders))
    return hashlib.sha256(f"{collection.name}:{text}".encode()).hexdigest()[:12]

"""Positions: the text that says where another page begins, the same on every backend."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

import msgspec

from healthstore.errors import InvalidRequestError
from healthstore.model.evaluate import column_value
from healthstore.model.ops import Origin
from healthstore.model.parts import column_type
from healthstore.model.query import FieldOrTerm, Filter, Order
from healthstore.model.schema import Collection
from healthstore.model.shape import filter_shape
from healthstore.model.values import SORTED_TEXT, Document, Json, Value, canonicaliser
from healthstore.model.wire import from_tagged, to_tagged

__all__ = ("Position", "Query", "read_position", "write_position")


@dataclass(frozen=True, slots=True)
class Query:
    """What a page is a part of: the documents of a filter, in a total order."""

    collection: Collection
    where: Filter
    orders: tuple[Order, ...]
    key: bytes | None = field(default=None, repr=False)
    """What signs its positions; None: a sum tells damage only."""
    columns: tuple[FieldOrTerm, ...] | None = None
    """The columns of each that are read, the sort keys among them; None: all."""

    @property
    def signature(self) -> str:
        """What differs for another collection, order or filter; other values are no other filter.

        So a filter may move with the clock from one page to the next, and a list may grow.
        """
        where = filter_shape(self.where, counts=False)
        parts = (self.collection.name, ",".join(map(str, self.orders)), where)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an order, and which page lies there."""

    keys: tuple[Value, ...]
    """The values of the sort keys."""
    origin: Origin
    """Who returned the page from which it is."""
    backwards: bool = False
    """Whether the page is the one before the place, not the one behind it."""
    including: bool = False
    """Whether a document at the place itself is a part of the page."""

    @classmethod
    def of(
        cls, query: Query, document: Document, origin: Origin, *, backwards: bool = False
    ) -> Position:
        """Return the place of a document; of a text what is sorted by counts."""
        values = [column_value(document, each.column) for each in query.orders]
        keys = [each[:SORTED_TEXT] if isinstance(each, str) else each for each in values]
        return cls(tuple(keys), origin, backwards)


def write_position(query: Query, position: Position) -> str:
    """Return a position as a text, which only the same query takes."""
    values = [
        None if value is None else _tagged(query.collection, each.column, value)
        for each, value in zip(query.orders, position.keys, strict=True)
    ]
    place = [position.origin.member, position.origin.stale]
    way = [position.backwards, position.including]
    body = msgspec.json.encode([query.signature, values, place, way])
    return base64.urlsafe_b64encode(_mark(query.key, body) + body).decode("ascii")


def read_position(query: Query, token: str) -> Position:
    """Return the position of a text.

    Raises InvalidRequestError for one of another query, and for what is damaged or, where a key
    signs positions, made up.
    """
    foreign = InvalidRequestError(
        "the position does not belong to this query",
        hint="pass a page's own `next` or `previous`, with the same filters and order",
        entity=query.collection.entity,
    )
    try:
        whole = base64.urlsafe_b64decode(token)
        if base64.urlsafe_b64encode(whole) != token.encode():
            raise foreign  # the decoder skips what is no letter of its own
        size = _SUM if query.key is None else _SIGNATURE
        body = whole[size:]
        if not hmac.compare_digest(whole[:size], _mark(query.key, body)):
            raise foreign
        signature, values, place, way = msgspec.json.decode(body)
        member, stale = place
        backwards, including = way
        if signature != query.signature or not _is_name(member):
            raise foreign
        keys = tuple(
            None if value is None else _untagged(query.collection, each.column, value)
            for each, value in zip(query.orders, values, strict=True)
        )
        return Position(keys, Origin(member, bool(stale)), bool(backwards), bool(including))
    except (
        ValueError,
        TypeError,
        AttributeError,
    ):  # of what is no text, base64, JSON, the tags and the values alike
        raise foreign from None


def _is_name(member: object) -> bool:
    """Tell whether this may be the name of a member: errors and logs tell it."""
    return type(member) is str and 0 < len(member) <= _LONGEST_NAME and member.isprintable()


_LONGEST_NAME = 100
_SUM = 6  # bytes: a text that was cut or changed is told as such
_SIGNATURE = 16  # bytes: half of an HMAC-SHA-256 (https://www.rfc-editor.org/rfc/rfc2104#section-5)


def _mark(key: bytes | None, body: bytes) -> bytes:
    """Return what stands before a position: its signature or, without a key, its sum."""
    if key is None:
        return hashlib.sha256(body).digest()[:_SUM]
    return hmac.digest(key, body, "sha256")[:_SIGNATURE]


def _tagged(collection: Collection, column: FieldOrTerm, value: Value) -> Json:
    return to_tagged(column_type(collection, column))(value)


def _untagged(collection: Collection, column: FieldOrTerm, value: Json) -> Value:
    kind = column_type(collection, column)
    return canonicaliser(kind)(from_tagged(kind)(value))

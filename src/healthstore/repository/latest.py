"""The latest: the last entities of each group, in one request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from healthstore.entity import Entity, collection_of, column_of
from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import ordered
from healthstore.model.ops import Leading
from healthstore.model.query import Filter, Order
from healthstore.model.values import Document

__all__ = ("MAX_LATEST", "latest_of", "require_few")

MAX_LATEST = 10_000
"""The most entities that are returned: they come in one answer."""


def latest_of(
    entity: type[Entity], where: Filter, per: Iterable[object], by: object, n: int
) -> Leading:
    """Return the request for the last ``n`` of each group, of equal ones the greatest ids.

    Raises InvalidRequestError for fields of another entity, and a number that is not from 1 to
    10,000.
    """
    collection = collection_of(entity)
    if type(n) is not int or not 1 <= n <= MAX_LATEST:
        raise InvalidRequestError(
            f"the number of the latest must be from 1 to {MAX_LATEST}",
            hint="of one group, find with an order and a limit, or stream",
            entity=collection.entity,
        )
    groups = ordered(per, "per", 'per=["user_id"]')
    names = tuple(column_of(entity, each) for each in groups)
    last = Order.by(column_of(entity, by), descending=True)
    order = (last,) if last.field == "id" else (last, Order("id", descending=True))
    return Leading(collection, names, n, where, order, MAX_LATEST + 1)


def require_few(op: Leading, found: Sequence[Document]) -> None:
    """Raise InvalidRequestError if there are more than are returned."""
    if len(found) == op.limit:
        raise InvalidRequestError(
            f"the groups have more than {op.limit - 1} latest entities",
            hint="narrow the filters, ask for fewer of each group, or group by fewer fields",
            entity=op.collection.entity,
        )

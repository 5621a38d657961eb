"""Orders: the keys by which documents are sorted, and what comes after a position."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import listed
from healthstore.model.query.tests import ALL, NONE, And, Filter, Not, Operator, Or, Test
from healthstore.model.values import SORTED_TEXT, Value

__all__ = ("Order", "after", "parse_order")


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key. ``None`` is smallest: first when ascending, last when descending.

    Of a text the first ``SORTED_TEXT`` code points count; then the next key decides.
    """

    field: str
    descending: bool = False


def parse_order(keys: Iterable[str]) -> tuple[Order, ...]:
    """Return the sort keys for names such as ``"name"`` and ``"-recorded_at"`` (descending).

    ``id`` is appended unless it is there, so that the order is total.
    """
    example = 'order=["name", "-recorded_at"]'
    names = listed(keys, "the order", example)
    if not all(isinstance(key, str) for key in names):
        raise InvalidRequestError("the order is no list of names", hint=f"write {example}")
    orders = [Order(key.removeprefix("-"), key.startswith("-")) for key in names]
    if all(order.field != "id" for order in orders):
        orders.append(Order("id"))
    return tuple(orders)


def after(orders: Sequence[Order], position: Sequence[Value]) -> Filter:
    """Return the filter for the documents that follow ``position`` in this order.

    ``position`` holds the values of the sort keys of the last document seen, null included.
    """
    alternatives: list[Filter] = []
    equal: tuple[Filter, ...] = ()
    for order, value in zip(orders, position, strict=True):
        beyond = _beyond(order, value)
        if beyond is not NONE:
            alternatives.append(And((*equal, beyond)))
        equal = (*equal, _level(order, value))
    beyond = Or(tuple(alternatives))
    if len(orders) == 1:
        return beyond
    # The bound on the first key is implied; it lets a database start in the middle of an index.
    return And((_not_before(orders[0], position[0]), beyond))


def _head(value: Value) -> str | None:
    """Return what counts of a text that other texts may have in common, None of other values."""
    if isinstance(value, str) and len(value) >= SORTED_TEXT:
        return value[:SORTED_TEXT]
    return None


def _level(order: Order, value: Value) -> Filter:
    """Return the filter for the documents that a key puts on a level with a value."""
    head = _head(value)
    if head is None:
        return Test(order.field, Operator.EQ, value)
    return Test(order.field, Operator.STARTS, head)


def _not_before(order: Order, value: Value) -> Filter:
    if order.descending:
        null = Test(order.field, Operator.IS_NULL)
        if value is None:
            return null
        if (head := _head(value)) is not None:
            return Or((Test(order.field, Operator.LT, head), _level(order, value), null))
        return Or((Test(order.field, Operator.LE, value), null))
    return ALL if value is None else Test(order.field, Operator.GE, _head(value) or value)


def _beyond(order: Order, value: Value) -> Filter:
    if order.descending:
        if value is None:
            return NONE
        less = Test(order.field, Operator.LT, _head(value) or value)
        return Or((less, Test(order.field, Operator.IS_NULL)))
    if value is None:
        return Test(order.field, Operator.NOT_NULL)
    if (head := _head(value)) is not None:
        return And((Test(order.field, Operator.GT, head), Not(_level(order, value))))
    return Test(order.field, Operator.GT, value)

"""Orders: the keys by which documents are sorted, and what comes after a position."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Literal, TypeAlias

from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import ordered
from healthstore.model.query.names import FieldName, FieldPart, FieldTerm
from healthstore.model.query.parts import FieldOrTerm, Part, Term, column_key
from healthstore.model.query.tests import ALL, NONE, And, Filter, Not, Operator, Or, Test
from healthstore.model.values import SORTED_TEXT, Kind, Value

__all__ = ("Nulls", "Order", "SortKey", "after", "asc", "desc", "parse_keys", "parse_order")


Nulls: TypeAlias = Literal["first", "last"]
"""Where ``None`` stands in an order."""


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key. ``None`` is smallest: first when ascending, last when descending.

    ``nulls`` places it otherwise. Of a text the first ``SORTED_TEXT`` code points count; then the
    next key decides. With a ``part``, which has a kind, it is a term that is sorted by.
    """

    field: str
    descending: bool = False
    nulls: Nulls | None = None
    part: Part | None = None
    owner: type | None = attribute(default=None, compare=False, repr=False)
    """The class of which an attribute named the field, until a repository has looked at it."""

    @classmethod
    def by(cls, column: FieldOrTerm, *, descending: bool = False) -> Order:
        """Return the key that sorts by a field or a term."""
        if isinstance(column, str):
            return cls(column, descending)
        return cls(column.field, descending, part=column.part)

    @property
    def column(self) -> FieldOrTerm:
        """What is sorted by: the field, or the term."""
        if self.part is None:
            return self.field
        return Term(self.field, self.part.steps, self.part.kind or Kind.JSON)

    @property
    def key(self) -> str:
        """What the value that is sorted by stands under in a document."""
        return column_key(self.column)

    @property
    def nulls_first(self) -> bool:
        """Whether ``None`` stands before every other value."""
        return not self.descending if self.nulls is None else self.nulls == "first"

    def reversed(self) -> Order:
        """Return the key of the opposite order."""
        opposite: Nulls | None = None
        if self.nulls is not None:
            opposite = "last" if self.nulls_first else "first"
        return Order(self.field, not self.descending, opposite, self.part, self.owner)

    def __str__(self) -> str:
        text = f"-{self.key}" if self.descending else self.key
        return text if self.nulls is None else f"{text} nulls {self.nulls}"


SortKey: TypeAlias = str | Order | FieldName | FieldTerm
"""One key of an order: ``"-recorded_at"``, ``desc("age")``, ``F.age`` or
``F.data["weight"].as_(float)``."""


def asc(of: object, *, nulls: Nulls | None = None) -> Order:
    """Return the sort key of a field, by its name or as ``User.age``, the smallest value first.

    It may be a part of JSON as a value of a type: ``F.data["weight"].as_(float)``.
    ``nulls`` says whether ``None`` is ``"first"``, as without it, or ``"last"``.
    """
    return _key(of, nulls, descending=False)


def desc(of: object, *, nulls: Nulls | None = None) -> Order:
    """Return the sort key of a field, by its name or as ``User.age``, the largest value first.

    It may be a part of JSON as a value of a type: ``F.data["weight"].as_(float)``.
    ``nulls`` says whether ``None`` is ``"first"``, or ``"last"``, as without it.
    """
    return _key(of, nulls, descending=True)


def _key(of: object, nulls: Nulls | None, *, descending: bool) -> Order:
    name = of.name if isinstance(of, FieldName | FieldTerm) else of
    if isinstance(of, FieldPart):
        raise _untyped(of)
    if not isinstance(name, str):
        raise InvalidRequestError("a sort key names no field", hint='write desc("recorded_at")')
    place: object = nulls
    if place is not None and (type(place) is not str or place not in {"first", "last"}):
        raise InvalidRequestError(
            "nulls stand first or last", hint=f'write nulls="first" or nulls="last" for {name!r}'
        )
    part = of.part if isinstance(of, FieldTerm) else None
    owner = of.owner if isinstance(of, FieldName | FieldTerm) else None
    return Order(name, descending, nulls, part, owner)


def _untyped(of: FieldPart) -> InvalidRequestError:
    return InvalidRequestError(
        f"{of!r} may be of any type, and has no order",
        hint=f"write {of!r}.as_(float), or as_(int), as_(str), as_(bool)",
        field=of.name,
    )


def parse_order(keys: Iterable[SortKey]) -> tuple[Order, ...]:
    """Return the sort keys as :func:`parse_keys` does, with ``id`` as the last one.

    It is appended unless it is there, so that the order is total.
    """
    orders = parse_keys(keys)
    return orders if any(each.field == "id" for each in orders) else (*orders, Order("id"))


def parse_keys(keys: Iterable[SortKey]) -> tuple[Order, ...]:
    """Return the sort keys for names such as ``"name"`` and ``"-recorded_at"`` (descending).

    A key may also be a field, ``F.name`` or an attribute of a class, or a part of JSON as a value
    of a type, the smallest first, or be made by :func:`asc` or :func:`desc`.
    """
    example = 'order=["name", "-recorded_at"]'
    given: Sequence[object] = ordered(keys, "the order", example)
    orders: list[Order] = []
    for key in given:
        if isinstance(key, str):
            orders.append(Order(key.removeprefix("-"), key.startswith("-")))
        elif isinstance(key, Order):
            orders.append(key)
        elif isinstance(key, FieldName | FieldTerm):
            orders.append(Order(key.name, part=key.part, owner=key.owner))
        elif isinstance(key, FieldPart):
            raise _untyped(key)
        else:
            raise InvalidRequestError("the order is no list of names", hint=f"write {example}")
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


def _test(order: Order, operator: Operator, operand: Value = None) -> Test:
    """Return the test of what a key sorts by."""
    return Test(order.field, operator, operand, None, order.part)


def _head(value: Value) -> str | None:
    """Return what counts of a text that other texts may have in common, None of other values."""
    if isinstance(value, str) and len(value) >= SORTED_TEXT:
        return value[:SORTED_TEXT]
    return None


def _level(order: Order, value: Value) -> Filter:
    """Return the filter for the documents that a key puts on a level with a value."""
    head = _head(value)
    if head is None:
        return _test(order, Operator.EQ, value)
    return _test(order, Operator.STARTS, head)


def _not_before(order: Order, value: Value) -> Filter:
    null = _test(order, Operator.IS_NULL)
    if value is None:
        return ALL if order.nulls_first else null
    if not order.descending:
        bound: Filter = _test(order, Operator.GE, _head(value) or value)
    elif (head := _head(value)) is not None:
        bound = Or((_test(order, Operator.LT, head), _level(order, value)))
    else:
        bound = _test(order, Operator.LE, value)
    return bound if order.nulls_first else bound | null


def _beyond(order: Order, value: Value) -> Filter:
    if value is None:
        return _test(order, Operator.NOT_NULL) if order.nulls_first else NONE
    head = _head(value)
    beyond: Filter
    if order.descending:
        beyond = _test(order, Operator.LT, head or value)
    elif head is not None:
        beyond = And((_test(order, Operator.GT, head), Not(_level(order, value))))
    else:
        beyond = _test(order, Operator.GT, value)
    return beyond if order.nulls_first else beyond | _test(order, Operator.IS_NULL)

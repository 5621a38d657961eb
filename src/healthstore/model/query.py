"""Filters and orders: what they mean, and the normal form that adapters compile.

Logic is two-valued: a filter either holds for a document or it does not, and ``f`` and ``~f``
divide the documents in two. ``None`` is an ordinary value for ``==``, ``!=`` and ``in_``; an
ordered or textual comparison with a field that is ``None`` does not hold. ``None`` sorts
before every other value. Text is compared by code point, and sorted by its first
``SORTED_TEXT`` ones: no database sorts texts of any length at a bearable price.

:func:`normalise` turns any filter into one that needs no null logic below the seam: negations
are moved to the tests, and a test in the result never holds for a field that is null (except
``IS_NULL``). SQL's third truth value and MongoDB's ``$ne`` then give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import listed
from healthstore.model.values import SORTED_TEXT, Value

__all__ = (
    "ALL",
    "NONE",
    "And",
    "F",
    "FieldName",
    "Filter",
    "Not",
    "Operator",
    "Or",
    "Order",
    "Test",
    "after",
    "normalise",
    "parse_order",
    "require_moderate",
    "walk",
)

MAX_NODES = 5_000
MAX_DEPTH = 100
MAX_VALUES = 100_000
"""The most values in the lists of one filter together."""
MAX_OPERAND_BYTES = 4_000_000
"""The most bytes of text and bytes in one filter together.

Written into a statement, each with escapes and twice, they fit into MySQL's packet of 16 MiB.
"""
MAX_PATTERN = 16_000
"""The most bytes that ``contains`` and ``endswith`` look for, special characters escaped.

MongoDB refuses patterns of more than 32,764 bytes.
"""


class Operator(StrEnum):
    """The tests of a single field. The value says how each one reads."""

    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    IN = "in"
    NOT_IN = "not in"
    IS_NULL = "is null"
    NOT_NULL = "is not null"
    CONTAINS = "contains"
    NOT_CONTAINS = "does not contain"
    STARTS = "starts with"
    NOT_STARTS = "does not start with"
    ENDS = "ends with"
    NOT_ENDS = "does not end with"


_OPPOSITES: dict[Operator, Operator] = {
    Operator.EQ: Operator.NE,
    Operator.LT: Operator.GE,
    Operator.LE: Operator.GT,
    Operator.IN: Operator.NOT_IN,
    Operator.IS_NULL: Operator.NOT_NULL,
    Operator.CONTAINS: Operator.NOT_CONTAINS,
    Operator.STARTS: Operator.NOT_STARTS,
    Operator.ENDS: Operator.NOT_ENDS,
}
NEGATED = _OPPOSITES | {negative: positive for positive, negative in _OPPOSITES.items()}

ORDERED = frozenset({Operator.LT, Operator.LE, Operator.GT, Operator.GE})
TEXTUAL = frozenset(
    {
        Operator.CONTAINS,
        Operator.NOT_CONTAINS,
        Operator.STARTS,
        Operator.NOT_STARTS,
        Operator.ENDS,
        Operator.NOT_ENDS,
    }
)
PLURAL = frozenset({Operator.IN, Operator.NOT_IN})
# The operators that also hold when the field is null, before normalisation.
_NEGATIVE = frozenset(
    {Operator.NE, Operator.NOT_IN, Operator.NOT_CONTAINS, Operator.NOT_STARTS, Operator.NOT_ENDS}
)


class _Combinable:
    """Gives a filter ``&``, ``|`` and ``~``."""

    __slots__ = ()

    def __and__(self, other: Filter) -> Filter:
        return And((*_items(And, self), *_items(And, other)))

    def __or__(self, other: Filter) -> Filter:
        return Or((*_items(Or, self), *_items(Or, other)))

    def __invert__(self) -> Filter:
        return Not(self)  # type: ignore[arg-type]  # only Filter classes inherit from this one

    def __bool__(self) -> bool:
        raise InvalidRequestError(
            "a filter has no truth value", hint="combine filters with &, | and ~, not and/or/not"
        )


@dataclass(frozen=True, slots=True)
class Test(_Combinable):
    """One field held against an operand: a value, a tuple of values, or nothing."""

    __test__ = False  # pytest collects classes called Test*

    field: str
    operator: Operator
    operand: Value | tuple[Value, ...] = None


@dataclass(frozen=True, slots=True)
class And(_Combinable):
    """Holds when every item holds; with no item it always holds."""

    items: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or(_Combinable):
    """Holds when at least one item holds; with no item it never holds."""

    items: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not(_Combinable):
    """Holds when the item does not hold."""

    item: Filter


Filter: TypeAlias = Test | And | Or | Not
ALL = And(())
NONE = Or(())


def _items(kind: type[And | Or], node: object) -> tuple[Filter, ...]:
    if not isinstance(node, Test | And | Or | Not):
        raise InvalidRequestError(
            f"a filter is combined with {type(node).__name__}",
            hint="put each comparison in parentheses: (F.a == 1) & (F.b == 2)",
        )
    return node.items if isinstance(node, kind) else (node,)


class FieldName:
    """The name of a field in a filter: ``F.weight > 70``. Comparing it gives a filter."""

    __slots__ = ("name",)
    __hash__ = object.__hash__

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"F.{self.name}"

    def __bool__(self) -> bool:
        raise InvalidRequestError(
            f"F.{self.name} has no truth value", hint=f"compare it: F.{self.name} == True"
        )

    def __eq__(self, value: object) -> Test:  # type: ignore[override]  # a filter, not a bool
        return Test(self.name, Operator.EQ, value)  # type: ignore[arg-type]  # the guard checks it

    def __ne__(self, value: object) -> Test:  # type: ignore[override]  # a filter, not a bool
        return Test(self.name, Operator.NE, value)  # type: ignore[arg-type]  # the guard checks it

    def __lt__(self, value: Value) -> Test:
        return Test(self.name, Operator.LT, value)

    def __le__(self, value: Value) -> Test:
        return Test(self.name, Operator.LE, value)

    def __gt__(self, value: Value) -> Test:
        return Test(self.name, Operator.GT, value)

    def __ge__(self, value: Value) -> Test:
        return Test(self.name, Operator.GE, value)

    def in_(self, values: Iterable[Value]) -> Test:
        """Hold for any of these values; for none if there are none."""
        return Test(self.name, Operator.IN, self._listed(values))

    def not_in(self, values: Iterable[Value]) -> Test:
        """Hold for every other value, ``None`` included unless it is listed."""
        return Test(self.name, Operator.NOT_IN, self._listed(values))

    def _listed(self, values: Iterable[Value]) -> tuple[Value, ...]:
        return listed(values, f"what {self.name} is looked up in", "F.name.in_([first, second])")

    def between(self, low: Value, high: Value) -> Filter:
        """Hold for values from ``low`` to ``high``, both included."""
        return And((self >= low, self <= high))

    def is_null(self) -> Test:
        """Hold when the field is ``None``."""
        return Test(self.name, Operator.IS_NULL)

    def contains(self, text: str) -> Test:
        """Hold when the text occurs in the field, character for character."""
        return Test(self.name, Operator.CONTAINS, text)

    def startswith(self, text: str) -> Test:
        """Hold when the field starts with the text, character for character."""
        return Test(self.name, Operator.STARTS, text)

    def endswith(self, text: str) -> Test:
        """Hold when the field ends with the text, character for character."""
        return Test(self.name, Operator.ENDS, text)


class _FieldNames:
    """``F.name`` or ``F["name"]``: the field called ``name``."""

    __slots__ = ()

    def __getattr__(self, name: str) -> FieldName:
        if name.startswith("__"):
            raise AttributeError(name)
        return FieldName(name)

    def __getitem__(self, name: str) -> FieldName:
        return FieldName(name)

    def __repr__(self) -> str:
        return "F"


F = _FieldNames()


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


def walk(filter_: Filter) -> Iterator[Test]:
    """Yield every test of a filter."""
    if isinstance(filter_, Test):
        yield filter_
    elif isinstance(filter_, Not):
        yield from walk(filter_.item)
    else:
        for item in filter_.items:
            yield from walk(item)


def require_moderate(filter_: Filter) -> None:
    """Raise InvalidRequestError for too many parts or values, or too many levels to compile."""
    level: list[Filter] = [filter_]
    size = depth = values = 0
    while level:
        size += len(level)
        depth += 1
        values += sum(map(_listed, level))
        if values > MAX_VALUES:
            raise InvalidRequestError(
                f"the lists of the filter hold more than {MAX_VALUES} values",
                hint="ask in several requests, each with a part of the values",
            )
        if size > MAX_NODES or depth > MAX_DEPTH:
            raise InvalidRequestError(
                f"the filter has more than {MAX_NODES} parts or {MAX_DEPTH} levels",
                hint="use in_() for many values, or several queries",
            )
        level = [item for node in level for item in _below(node)]


def _listed(node: Filter) -> int:
    return len(node.operand) if isinstance(node, Test) and isinstance(node.operand, tuple) else 0


def _below(node: Filter) -> tuple[Filter, ...]:
    if isinstance(node, Not):
        return (node.item,)
    return node.items if isinstance(node, And | Or) else ()


def normalise(filter_: Filter, nullable: Callable[[str], bool]) -> Filter:
    """Return the equal filter without ``Not`` whose tests never hold for a null field.

    ``nullable`` tells whether a field may be null. Constant parts are folded: the result is
    ``ALL``, ``NONE``, or contains neither.
    """
    return _normal(filter_, nullable, negate=False)


def _normal(node: Filter, nullable: Callable[[str], bool], *, negate: bool) -> Filter:
    if isinstance(node, Not):
        return _normal(node.item, nullable, negate=not negate)
    if isinstance(node, Test):
        return _normal_test(node, nullable(node.field), negate=negate)
    items = tuple(_normal(item, nullable, negate=negate) for item in node.items)
    conjunction = isinstance(node, And) is not negate  # De Morgan
    return _conjunction(items) if conjunction else _disjunction(items)


def _conjunction(items: tuple[Filter, ...]) -> Filter:
    if NONE in items:
        return NONE
    kept = tuple(part for item in items for part in _items(And, item))
    return kept[0] if len(kept) == 1 else And(kept)


def _disjunction(items: tuple[Filter, ...]) -> Filter:
    if ALL in items:
        return ALL
    kept = tuple(part for item in items for part in _items(Or, item))
    return kept[0] if len(kept) == 1 else Or(kept)


def _normal_test(test: Test, nullable: bool, *, negate: bool) -> Filter:  # noqa: FBT001 - internal
    field, operator, operand = test.field, test.operator, test.operand
    if negate:
        # What did not hold for null holds now, and the other way round.
        operator = NEGATED[operator]
        with_null = operator in _NEGATIVE or operator in ORDERED
    else:
        with_null = operator in _NEGATIVE
    if operator in PLURAL and isinstance(operand, tuple):
        listed = None in operand
        values = tuple(value for value in operand if value is not None)
        with_null = with_null is not listed  # a listed None is matched by IN, excluded by NOT_IN
        empty, full = (NONE, Test(field, Operator.NOT_NULL))
        if values:
            result: Filter = Test(field, operator, values)
            if listed and nullable and operator is Operator.NOT_IN:
                # The evaluator holds a negative test of null for true: rule it out in words.
                result = And((Test(field, Operator.NOT_NULL), result))
        else:
            result = empty if operator is Operator.IN else full
    elif operand is None and operator in {Operator.EQ, Operator.NE}:
        # x == None and x != None already speak of null.
        operator = Operator.IS_NULL if operator is Operator.EQ else Operator.NOT_NULL
        result, with_null = Test(field, operator), False
    elif operand is None and operator in ORDERED:
        # An ordered comparison with None never holds; its negation always does.
        return ALL if negate else NONE
    elif operator in TEXTUAL and operand == "":
        # Every text contains, starts and ends with the empty text.
        result = NONE if operator in _NEGATIVE else Test(field, Operator.NOT_NULL)
    else:
        result = Test(field, operator, operand)
    return _with_null(result, field, nullable=nullable, with_null=with_null)


def _with_null(test: Filter, field: str, *, nullable: bool, with_null: bool) -> Filter:
    if not nullable and isinstance(test, Test):
        if test.operator is Operator.IS_NULL:
            return NONE
        if test.operator is Operator.NOT_NULL:
            return ALL
    if not nullable or not with_null:
        return test
    null = Test(field, Operator.IS_NULL)
    if isinstance(test, Test) and test.operator is Operator.NOT_NULL:
        return ALL
    return null if test == NONE else Or((test, null))

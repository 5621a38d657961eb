"""Filters: the tests of a field, and how they are combined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from healthstore.errors import InvalidRequestError
from healthstore.model.query.parts import Part
from healthstore.model.values import Value

if TYPE_CHECKING:  # a definition has checks, which are filters
    from healthstore.model.schema import Collection

__all__ = (
    "ALL",
    "ELEMENTS",
    "MATCHING",
    "NEGATED",
    "NEGATIVE",
    "NONE",
    "ORDERED",
    "PLURAL",
    "TEXTUAL",
    "And",
    "Condition",
    "Filter",
    "Lookup",
    "Not",
    "Operator",
    "Or",
    "OtherField",
    "Test",
    "below",
    "fields_in",
    "items_of",
    "walk",
)


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
    IS_MISSING = "is missing"
    HAS = "has"
    HAS_ANY = "has any of"
    HAS_ALL = "has all of"
    MATCHES = "matches"
    NOT_MATCHES = "does not match"


_OPPOSITES: dict[Operator, Operator] = {
    Operator.EQ: Operator.NE,
    Operator.LT: Operator.GE,
    Operator.LE: Operator.GT,
    Operator.IN: Operator.NOT_IN,
    Operator.IS_NULL: Operator.NOT_NULL,
    Operator.CONTAINS: Operator.NOT_CONTAINS,
    Operator.STARTS: Operator.NOT_STARTS,
    Operator.ENDS: Operator.NOT_ENDS,
    Operator.MATCHES: Operator.NOT_MATCHES,
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
        Operator.MATCHES,
        Operator.NOT_MATCHES,
    }
)
MATCHING = frozenset({Operator.MATCHES, Operator.NOT_MATCHES})
"""Those of the textual operators whose operand is a pattern; see :mod:`healthstore.model.patterns`."""
PLURAL = frozenset({Operator.IN, Operator.NOT_IN})
ELEMENTS = frozenset({Operator.HAS, Operator.HAS_ANY, Operator.HAS_ALL})
"""The tests of a list's elements."""
# The operators that also hold when the field is null, before normalisation.
NEGATIVE = frozenset(
    {
        Operator.NE,
        Operator.NOT_IN,
        Operator.NOT_CONTAINS,
        Operator.NOT_STARTS,
        Operator.NOT_ENDS,
        Operator.NOT_MATCHES,
    }
)


class _Combinable:
    """Gives a filter ``&``, ``|`` and ``~``."""

    __slots__ = ()

    def __and__(self, other: Filter) -> Filter:
        return And((*items_of(And, self), *items_of(And, other)))

    def __or__(self, other: Filter) -> Filter:
        return Or((*items_of(Or, self), *items_of(Or, other)))

    def __rand__(self, other: object) -> Filter:
        return And((*items_of(And, other), *items_of(And, self)))  # refuses what is no filter

    def __ror__(self, other: object) -> Filter:
        return Or((*items_of(Or, other), *items_of(Or, self)))

    def __invert__(self) -> Filter:
        return Not(self)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # only Filter classes inherit from this one

    def __bool__(self) -> bool:
        raise InvalidRequestError(
            "a filter has no truth value", hint="combine filters with &, | and ~, not and/or/not"
        )


@dataclass(frozen=True, slots=True)
class OtherField:
    """Another field of the same row, as the operand of a test."""

    name: str
    owner: type | None = dataclass_field(default=None, compare=False, repr=False)
    """As that of a test."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Lookup:
    """The values of a field in what another query finds, as the operand of IN and NOT_IN.

    They are those of the moment at which the whole request is answered. A null among them counts
    as a listed None does.
    """

    collection: Collection
    where: Filter
    field: str
    nulls: bool | None = None
    """In the normal form: whether the test holds, for any row, if the query finds anything.

    What it finds are nulls then, and otherwise values. None: as it is written.
    """
    source: object = dataclass_field(default=None, compare=False, repr=False)
    """Where the query was made; None if nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Test(_Combinable):
    """One field held against an operand: a value, values, another field, a query, or nothing.

    With a ``part`` it is a part of the field's JSON; with ``folded`` it is its text where case
    does not count, see ``healthstore.model.text``.
    """

    __test__ = False  # pytest collects classes called Test*

    field: str
    operator: Operator
    operand: Value | tuple[Value, ...] | OtherField | Lookup = None
    owner: type | None = dataclass_field(default=None, compare=False, repr=False)
    """The entity's class whose attribute named the field; None if the name alone did."""
    part: Part | None = None
    folded: bool = False

    def held(
        self, operator: Operator, operand: Value | tuple[Value, ...] | OtherField | Lookup = None
    ) -> Test:
        """Return another test of the same field, and of the same part or form of it."""
        return Test(self.field, operator, operand, None, self.part, self.folded)


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
Condition: TypeAlias = Filter | bool
"""A filter. A type checker takes ``User.age >= 18`` for a bool; a real one is refused."""
ALL = And(())
NONE = Or(())


def items_of(kind: type[And | Or], node: object) -> tuple[Filter, ...]:
    """Return a filter's items if it is of that kind, else the filter alone."""
    if not isinstance(node, Test | And | Or | Not):
        raise InvalidRequestError(
            f"a filter is combined with {type(node).__name__}",
            hint="put each comparison in parentheses: (F.a == 1) & (F.b == 2)",
        )
    return node.items if isinstance(node, kind) else (node,)


def walk(filter_: Filter) -> Iterator[Test]:
    """Yield every test of a filter."""
    if isinstance(filter_, Test):
        yield filter_
    elif isinstance(filter_, Not):
        yield from walk(filter_.item)
    else:
        for item in filter_.items:
            yield from walk(item)


def fields_in(filter_: Filter) -> set[str]:
    """Return the names of the fields that a filter looks at, on either side of its tests."""
    found = set[str]()
    for test in walk(filter_):
        found.add(test.field)
        if isinstance(test.operand, OtherField):
            found.add(test.operand.name)
    return found


def below(node: Filter) -> tuple[Filter, ...]:
    """Return the filters of which a filter is made."""
    if isinstance(node, Not):
        return (node.item,)
    return node.items if isinstance(node, And | Or) else ()

"""Tests of parts of JSON, with tests beside them that an index serves.

A part is compared with a number of any type, and an index holds it as one type, or the other way
round. Whatever satisfies the test satisfies the one beside it, which may hold for some more: answers
stay what they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf, isfinite, nextafter
from typing import cast

from healthstore.model.definition import Definition
from healthstore.model.json import INT64_MAX, INT64_MIN
from healthstore.model.query import TERM_HEAD, And, Filter, Lookup, Not, Operator, Or, Term, Test
from healthstore.model.values import Kind, Value

__all__ = ("narrowed", "untyped")

# A number beyond another one is, to the nearest double, beyond it or the same; and the beginning of
# a text, cut where that of another one is.
_ROUNDED: Mapping[Operator, Operator] = {
    Operator.EQ: Operator.EQ,
    Operator.IN: Operator.IN,
    Operator.LT: Operator.LE,
    Operator.LE: Operator.LE,
    Operator.GT: Operator.GE,
    Operator.GE: Operator.GE,
    Operator.STARTS: Operator.GE,
}
_SAME = frozenset({Operator.EQ, Operator.IN})
_KINDS = (Kind.FLOAT, Kind.INTEGER, Kind.BOOLEAN, Kind.TEXT)


def narrowed(where: Filter, collection: Definition) -> Filter:
    """Return a filter in normal form that holds for the same documents and can use an index.

    A negation stays as it is: no index of a part serves it.
    """
    if isinstance(where, And | Or):
        items = tuple(narrowed(each, collection) for each in where.items)
        return where if items == where.items else type(where)(items)
    if isinstance(where, Not):
        return where
    if isinstance(where.operand, Lookup):
        lookup = where.operand
        inner = narrowed(lookup.where, lookup.collection)
        return where.held(where.operator, replace(lookup, where=inner))
    beside = tuple(
        found for kind in _KINDS if (found := _beside(where, kind, collection)) is not None
    )
    return And((*beside, where)) if beside else where


def _beside(test: Test, kind: Kind, collection: Definition) -> Test | None:
    """Return the test of a term of a kind, if there is an index and it holds where this one does."""
    part = test.part
    own = None if kind is not Kind.TEXT or part is None else part.kind
    if part is None or part.kind is not own or part.size:
        return None
    if Term(test.field, part.steps, kind) not in collection.terms:
        return None
    given = test.operand
    values = given if isinstance(given, tuple) else (cast(Value, given),)
    operator = _ROUNDED.get(test.operator)
    if operator is None or not all(_is_of(value, kind) for value in values):
        return None
    if kind in _SOME and test.operator not in _SAME:
        return None  # there are numbers that the index does not hold
    made = tuple(_as_kind(value, kind) for value in values)
    operand = made if isinstance(given, tuple) else made[0]
    beside = replace(part, kind=kind, head=kind is Kind.TEXT)
    return Test(test.field, operator, operand, None, beside)


_SOME = frozenset({Kind.INTEGER, Kind.BOOLEAN})


def _is_of(value: Value, kind: Kind) -> bool:
    """Tell whether a term of a kind has each value that equals this one."""
    if kind in _PLAIN:
        return isinstance(value, _PLAIN[kind])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    whole = value == int(value) and INT64_MIN <= value <= INT64_MAX
    return kind is Kind.FLOAT or whole


_PLAIN: Mapping[Kind, type] = {Kind.BOOLEAN: bool, Kind.TEXT: str}


def _as_kind(value: Value, kind: Kind) -> Value:
    if isinstance(value, str):
        return value[:TERM_HEAD]
    if kind is Kind.FLOAT:
        return float(cast(float, value))
    return int(cast(float, value)) if kind is Kind.INTEGER else value


def untyped(test: Test, collection: Definition) -> Filter | None:
    """Return what a part satisfies as it is, where it satisfies a test as a value of a type.

    None, unless an index has it. It is for a store whose indexes have values of all types.
    """
    part = test.part
    if part is None or part.kind is None or test.operator not in _ROUNDED:
        return None
    if Term(test.field, part.steps, part.kind) not in collection.terms:
        return None
    values = cast(
        "tuple[Value, ...]", test.operand if test.operator is Operator.IN else (test.operand,)
    )
    as_it_is = replace(part, kind=None)

    def holds(operator: Operator, operand: Value) -> Test:
        return Test(test.field, operator, operand, None, as_it_is)

    if part.kind is not Kind.FLOAT:
        operator = Operator.EQ if test.operator is Operator.IN else test.operator
        return Or(tuple(holds(operator, value) for value in values))
    # The nearest double of a number may be the one above it or below it.
    below = Operator.GT if test.operator is Operator.GT else Operator.GE
    above = Operator.LT if test.operator is Operator.LT else Operator.LE
    ranges: list[Filter] = []
    for value in cast("tuple[float, ...]", values):
        bounds: list[Filter] = []
        if test.operator not in {Operator.LT, Operator.LE}:
            bounds.append(holds(below, value if below is Operator.GT else _next(value, -inf)))
        if test.operator not in {Operator.GT, Operator.GE}:
            bounds.append(holds(above, value if above is Operator.LT else _next(value, inf)))
        ranges.append(And(tuple(bounds)))
    return Or(tuple(ranges))


def _next(value: float, towards: float) -> float:
    """Return the next double; the last one has none."""
    found = nextafter(value, towards)
    return found if isfinite(found) else value

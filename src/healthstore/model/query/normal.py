"""The normal form of filters: no negation but of parts, and no test that holds for null."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

from healthstore.model.query.parts import Part
from healthstore.model.query.tests import (
    ALL,
    ELEMENTS,
    MATCHING,
    NEGATED,
    NEGATIVE,
    NONE,
    ORDERED,
    PLURAL,
    TEXTUAL,
    And,
    Filter,
    Lookup,
    Not,
    Operator,
    Or,
    OtherField,
    Test,
    items_of,
)
from healthstore.model.values import Value

__all__ = ("normalise",)


def normalise(filter_: Filter, nullable: Callable[[str], bool]) -> Filter:
    """Return the equal filter whose tests never hold for a null field, ``Not`` around parts only.

    ``nullable`` tells whether a field may be null. Constant parts are folded: the result is
    ``ALL``, ``NONE``, or contains neither.
    """
    return _normal(filter_, nullable, negate=False)


def _normal(node: Filter, nullable: Callable[[str], bool], *, negate: bool) -> Filter:
    if isinstance(node, Not):
        return _normal(node.item, nullable, negate=not negate)
    if isinstance(node, Test):
        if node.part is not None:
            return _normal_part(node, node.part, negate=negate)
        if isinstance(node.operand, OtherField):
            return _normal_pair(node, node.operand, nullable, negate=negate)
        if isinstance(node.operand, Lookup):
            return _normal_lookup(node, node.operand, nullable, negate=negate)
        return _normal_test(node, nullable(node.field), negate=negate)
    items = tuple(_normal(item, nullable, negate=negate) for item in node.items)
    conjunction = isinstance(node, And) is not negate  # De Morgan
    return _conjunction(items) if conjunction else _disjunction(items)


def _conjunction(items: tuple[Filter, ...]) -> Filter:
    if NONE in items:
        return NONE
    kept = tuple(part for item in items for part in items_of(And, item))
    return kept[0] if len(kept) == 1 else And(kept)


def _disjunction(items: tuple[Filter, ...]) -> Filter:
    if ALL in items:
        return ALL
    kept = tuple(part for item in items for part in items_of(Or, item))
    return kept[0] if len(kept) == 1 else Or(kept)


def _normal_pair(
    test: Test, other: OtherField, nullable: Callable[[str], bool], *, negate: bool
) -> Filter:
    """Return the test of two fields, and in words where it holds with a null in one or both."""

    def null(name: str) -> Filter:
        return Test(name, Operator.IS_NULL) if nullable(name) else NONE

    def valued(name: str) -> Filter:
        return Test(name, Operator.NOT_NULL) if nullable(name) else ALL

    one, two = test.field, other.name
    operator = NEGATED[test.operator] if negate else test.operator
    plain = Test(one, operator, other)
    if operator is Operator.EQ:
        return _disjunction((_conjunction((null(one), null(two))), plain))
    if operator is Operator.NE:
        only_one = _conjunction((null(one), valued(two)))
        only_two = _conjunction((valued(one), null(two)))
        return _disjunction((only_one, only_two, plain))
    # A negated order holds with any null: what it denies did not.
    return _disjunction((null(one), null(two), plain)) if negate else plain


def _normal_lookup(
    test: Test, lookup: Lookup, nullable: Callable[[str], bool], *, negate: bool
) -> Filter:
    """Return the test of a field that is not null, and in words where it holds for one that is.

    The query is in normal form then, too, and finds values only; or, where it is asked whether a
    null is among them, nulls only.
    """
    operator = NEGATED[test.operator] if negate else test.operator
    if lookup.nulls or (lookup.nulls is False and not negate):
        return Test(test.field, operator, lookup)  # it is in normal form already

    def among(null: Operator) -> Filter:
        where = normalise(And((lookup.where, Test(lookup.field, null))), lookup.collection.nullable)
        if where == NONE:
            return NONE if operator is Operator.IN else ALL
        chosen = replace(lookup, where=where, nulls=null is Operator.IS_NULL)
        return Test(test.field, operator, chosen)

    values = among(Operator.NOT_NULL)
    if not nullable(test.field):
        return values
    nulls = among(Operator.IS_NULL)
    if values == nulls == ALL:
        return ALL
    with_null = _conjunction((Test(test.field, Operator.IS_NULL), nulls))
    if operator is Operator.NOT_IN:
        # The evaluator holds a negative test of null for true: rule it out in words.
        values = _conjunction((Test(test.field, Operator.NOT_NULL), values))
    return _disjunction((values, with_null))


def _normal_part(test: Test, part: Part, *, negate: bool) -> Filter:
    """Return what a test of a part looks for, or its negation."""
    if part.size or part.kind is not None:
        return _normal_test(test, nullable=True, negate=negate)
    operator, operand = test.operator, test.operand
    if operator in NEGATIVE or operator is Operator.NOT_NULL:
        operator, negate = NEGATED[operator], not negate
    found = _sought(test.held(operator, operand), operator)
    return _denied(found) if negate else found


def _sought(test: Test, operator: Operator) -> Filter:
    operand = test.operand
    if operator in PLURAL:
        return _disjunction(tuple(_alternatives(test, cast("tuple[Value, ...]", operand))))
    if operator is Operator.HAS:
        return test.held(Operator.HAS_ALL, (cast(Value, operand),))
    if operator in ELEMENTS and not operand:
        return ALL if operator is Operator.HAS_ALL else NONE
    if operand is None and (operator is Operator.EQ or operator in ORDERED):
        return NONE if operator in ORDERED else _absent(test)
    if operator in TEXTUAL and operand == "":
        # Every text contains and ends with the empty text, and starts with it.
        return test.held(Operator.STARTS, "")
    return test


def _alternatives(test: Test, values: tuple[Value, ...]) -> Iterator[Filter]:
    """Yield the tests whether a part is one of these values, a test for each type of them."""
    of_type: dict[type, list[Value]] = {}
    for value in values:
        if value is None:
            yield _absent(test)
        elif isinstance(value, bool | list | dict):
            yield test.held(Operator.EQ, value)
        else:
            of_type.setdefault(str if isinstance(value, str) else float, []).append(value)
    for alike in of_type.values():
        if len(alike) == 1:
            yield test.held(Operator.EQ, alike[0])
        else:
            yield test.held(Operator.IN, tuple(alike))


def _absent(test: Test) -> Filter:
    return Or((test.held(Operator.IS_NULL), test.held(Operator.IS_MISSING)))


def _denied(node: Filter) -> Filter:
    """Return the negation of a filter in normal form whose tests are of parts."""
    if isinstance(node, Not):
        return node.item
    if isinstance(node, Test):
        return Not(node)
    items = tuple(map(_denied, node.items))
    return _disjunction(items) if isinstance(node, And) else _conjunction(items)


def _normal_test(test: Test, nullable: bool, *, negate: bool) -> Filter:  # noqa: FBT001 - internal
    operator, operand = test.operator, test.operand
    if negate:
        # What did not hold for null holds now, and the other way round.
        operator = NEGATED[operator]
        with_null = operator in NEGATIVE or operator in ORDERED
    else:
        with_null = operator in NEGATIVE
    if operator in PLURAL and isinstance(operand, tuple):
        listed = None in operand
        values = tuple(value for value in operand if value is not None)
        with_null = with_null is not listed  # a listed None is matched by IN, excluded by NOT_IN
        empty, full = (NONE, test.held(Operator.NOT_NULL))
        if values:
            result: Filter = test.held(operator, values)
            if listed and nullable and operator is Operator.NOT_IN:
                # The evaluator holds a negative test of null for true: rule it out in words.
                result = And((test.held(Operator.NOT_NULL), result))
        else:
            result = empty if operator is Operator.IN else full
    elif operand is None and operator in {Operator.EQ, Operator.NE}:
        # x == None and x != None already speak of null.
        operator = Operator.IS_NULL if operator is Operator.EQ else Operator.NOT_NULL
        result, with_null = test.held(operator), False
    elif operand is None and operator in ORDERED:
        # An ordered comparison with None never holds; its negation always does.
        return ALL if negate else NONE
    elif operator in TEXTUAL - MATCHING and operand == "":
        # Every text contains, starts and ends with the empty text.
        result = NONE if operator in NEGATIVE else test.held(Operator.NOT_NULL)
    else:
        result = test.held(operator, operand)
    return _with_null(result, test, nullable=nullable, with_null=with_null)


def _with_null(test: Filter, of: Test, *, nullable: bool, with_null: bool) -> Filter:
    if not nullable and isinstance(test, Test):
        if test.operator is Operator.IS_NULL:
            return NONE
        if test.operator is Operator.NOT_NULL:
            return ALL
    if not nullable or not with_null:
        return test
    null = of.held(Operator.IS_NULL)
    if isinstance(test, Test) and test.operator is Operator.NOT_NULL:
        return ALL
    return null if test == NONE else Or((test, null))

"""Filters and orders made canonical."""

from __future__ import annotations

from collections.abc import Iterable

from healthstore.layers.guard.errors import invalid, refused
from healthstore.layers.guard.values import checked_operand
from healthstore.model.query import (
    ORDERED,
    PLURAL,
    TEXTUAL,
    And,
    Filter,
    Not,
    Operator,
    Or,
    Order,
    Test,
    normalise,
    require_moderate,
)
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Kind

__all__ = ("checked_filter", "checked_order")

_NULL_TESTS = frozenset({Operator.IS_NULL, Operator.NOT_NULL})


def checked_order(collection: Collection, order: Iterable[Order]) -> tuple[Order, ...]:
    """Return the order with the id as its last key, so that it is total."""
    checked = tuple(order)
    names = [key.field for key in checked]
    for name in names:
        if not collection.field(name).type.ordered or names.count(name) > 1:
            raise invalid(
                collection,
                "has no order, or is named twice",
                "sort by each field once, and by no JSON or bytes",
                name,
            )
    return checked if "id" in names else (*checked, Order("id"))


def checked_filter(collection: Collection, where: Filter) -> Filter:
    """Return the filter in normal form, with canonical operands."""
    require_moderate(where)
    return normalise(_canonical_filter(collection, where), collection.nullable)


def _canonical_filter(collection: Collection, node: Filter) -> Filter:
    if isinstance(node, Test):
        return _canonical_test(collection, node)
    if isinstance(node, Not):
        return Not(_canonical_filter(collection, node.item))
    if isinstance(node, And | Or):
        return type(node)(tuple(_canonical_filter(collection, item) for item in node.items))
    raise invalid(
        collection,
        f"a filter is a {type(node).__name__}",
        "write F.name == value, and put comparisons in parentheses around & and |",
    )


def _canonical_test(collection: Collection, test: Test) -> Test:
    field, operator, operand = collection.field(test.field), test.operator, test.operand
    if operator in _NULL_TESTS:
        return Test(field.name, operator)
    _require_meaning(collection, field, operator, operand)
    if operator in PLURAL:
        if not isinstance(operand, tuple):
            raise refused(collection, field.name, TypeError("needs a list of values"))
        values = tuple(
            None if value is None else checked_operand(collection, field, value)
            for value in operand
        )
        return Test(field.name, operator, values)
    if operand is None:
        return Test(field.name, operator)
    return Test(field.name, operator, checked_operand(collection, field, operand))


def _require_meaning(
    collection: Collection, field: Field, operator: Operator, operand: object
) -> None:
    """Refuse a test that has no meaning for the field's kind, or not the same on every backend."""
    kind = field.type.kind
    if kind is Kind.JSON and operand is not None:
        raise invalid(
            collection,
            "is JSON: it can only be compared with None",
            "give what you search for a field of its own",
            field.name,
        )
    if operator in ORDERED and not field.type.ordered:
        raise invalid(collection, f"has no order: {operator} has no meaning", "use ==", field.name)
    if operator in TEXTUAL:
        if kind is not Kind.TEXT:
            raise invalid(
                collection, f"is no text: {operator} has no meaning", "use ==", field.name
            )
        if not isinstance(operand, str):
            raise refused(collection, field.name, TypeError("is compared with text by a str only"))

"""Filters and orders made canonical: what a test may ask of a field, and with which operand.

The guard holds every request against this, and a definition its checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from healthstore.errors import InvalidRequestError
from healthstore.model.advice import AdvisedError
from healthstore.model.definition import Definition, Field
from healthstore.model.parts import canonical_part_test, checked_term, part_test_size
from healthstore.model.patterns import MAX_TEXT, canonical
from healthstore.model.query import (
    ELEMENTS,
    MATCHING,
    MAX_NODES,
    MAX_OPERAND_BYTES,
    MAX_PATTERN,
    ORDERED,
    PLURAL,
    TEXTUAL,
    And,
    Filter,
    Lookup,
    Not,
    Operator,
    Or,
    Order,
    OtherField,
    Term,
    Test,
    lookups,
    normalise,
    require_moderate,
    walk,
)
from healthstore.model.refusals import invalid, refused
from healthstore.model.text import folded
from healthstore.model.values import Kind, Value

__all__ = ("canonical_filter", "checked_filter", "checked_operand", "checked_order", "plain_order")

_SIZED = frozenset({Kind.TEXT, Kind.BYTES})
# Of so few bytes all the tests that a filter may have together stay below its limit.
_SURELY_SHORT = MAX_OPERAND_BYTES // MAX_NODES
_NULL_TESTS = frozenset({Operator.IS_NULL, Operator.NOT_NULL})
_COMPARED = ORDERED | {Operator.EQ, Operator.NE}
_FOLDED = {Operator.EQ, Operator.NE} | PLURAL | (TEXTUAL - MATCHING)
_OF_PARTS = ELEMENTS | {Operator.IS_MISSING}
# MongoDB looks for these by a pattern; the start of a text is a range everywhere.
_PATTERNS = TEXTUAL - MATCHING - {Operator.STARTS, Operator.NOT_STARTS}


def checked_order(collection: Definition, order: Iterable[Order]) -> tuple[Order, ...]:
    """Return the order with the id as its last key, so that it is total; see :func:`plain_order`."""
    checked = plain_order(collection, order)
    return checked if "id" in [key.field for key in checked] else (*checked, Order("id"))


def plain_order(collection: Definition, order: Iterable[Order]) -> tuple[Order, ...]:
    """Return the order as it is: of fields and terms that have one, each named once.

    Only a key that places null otherwise than the databases do says where.
    """
    checked = tuple([_plain(collection, each) for each in order])
    columns = [key.column for key in checked]
    for key, column in zip(checked, columns, strict=True):
        ordered = key.part is not None or collection.field(key.field).type.ordered
        if not ordered or columns.count(column) > 1:
            raise invalid(
                collection,
                "has no order, or is named twice",
                "sort by each field once, and by no JSON or bytes; of JSON by a part of it, as in "
                'F.data["weight"].as_(float)',
                key.field,
            )
    return checked


def _plain(collection: Definition, key: Order) -> Order:
    part = key.part
    if part is not None:
        checked = checked_term(collection, Term(key.field, part.steps, part.kind or Kind.JSON))
        part = checked.part
    natural = key.nulls_first is not key.descending
    if natural or (part is None and not collection.nullable(key.field)):
        return Order(key.field, key.descending, part=part)
    return Order(key.field, key.descending, key.nulls, part)


def checked_filter(collection: Definition, where: Filter) -> Filter:
    """Return the filter in normal form, with canonical operands."""
    return normalise(canonical_filter(collection, where), collection.nullable)


def canonical_filter(collection: Definition, where: Filter) -> Filter:
    """Return the filter as it is written, with canonical operands; no value is listed twice.

    Raises InvalidRequestError for a filter that is too large, and for a test that has no
    meaning for its field, or not the same on every backend.
    """
    require_moderate(where)
    canonical = _canonical(collection, where)
    if _whole_size(collection, canonical) > MAX_OPERAND_BYTES:
        raise InvalidRequestError(
            f"the texts and bytes of the filter take more than {MAX_OPERAND_BYTES} bytes",
            hint="ask in several requests, each with a part of the values",
            entity=collection.entity,
        )
    return canonical


def _whole_size(collection: Definition, where: Filter) -> int:
    """Return how many bytes the texts and bytes of a filter take, and of the queries inside."""
    return sum(_size(collection, test) for test in walk(where)) + sum(
        _whole_size(each.collection, each.where) for each in lookups(where)
    )


def _size(collection: Definition, test: Test) -> int:
    """Return how many bytes the texts or bytes of a test take, at the least if they are few."""
    if test.part is not None:
        return part_test_size(test)
    if collection.field(test.field).type.kind not in _SIZED:
        return 0
    if isinstance(test.operand, OtherField | Lookup):
        return 0
    values = test.operand if isinstance(test.operand, tuple) else (test.operand,)
    given = cast("list[str | bytes]", [value for value in values if value is not None])
    length = sum(map(len, given))
    if 4 * length <= _SURELY_SHORT:
        return length
    return sum(len(each.encode() if isinstance(each, str) else each) for each in given)


def _canonical(collection: Definition, node: Filter) -> Filter:
    if isinstance(node, Test):
        return _canonical_test(collection, node)
    if isinstance(node, Not):
        return Not(_canonical(collection, node.item))
    if isinstance(node, And | Or):
        return type(node)(tuple(_canonical(collection, item) for item in node.items))
    raise invalid(
        collection,
        f"a filter is a {type(node).__name__}",
        "write F.name == value, and put comparisons in parentheses around & and |",
    )


def _canonical_test(collection: Definition, test: Test) -> Test:
    field = collection.field(test.field)
    try:
        operator = Operator(test.operator)
    except ValueError:
        raise invalid(
            collection, "is tested in a way that is unknown", "use an Operator", field.name
        ) from None
    if test.part is not None or operator in _OF_PARTS:
        if test.folded:
            raise invalid(
                collection,
                "is no text, but JSON: its case counts",
                "leave ignore_case away",
                field.name,
            )
        return canonical_part_test(collection, test, operator)
    if test.folded and operator not in _NULL_TESTS:
        return _canonical_folded(collection, field, operator, test)
    return _canonical_field_test(collection, field, operator, test)


def _canonical_field_test(
    collection: Definition, field: Field, operator: Operator, test: Test
) -> Test:
    operand = test.operand
    if operator in _NULL_TESTS:
        return Test(field.name, operator)
    if isinstance(operand, OtherField):
        return _canonical_pair(collection, field, operator, operand)
    if isinstance(operand, Lookup):
        return _canonical_lookup(collection, field, operator, operand)
    _require_meaning(collection, field, operator, operand)
    if operator in PLURAL:
        if not isinstance(operand, tuple):
            raise refused(collection, field.name, TypeError("needs a list of values"))
        canonical = collection.operands[field.name]
        try:
            values = dict.fromkeys(None if each is None else canonical(each) for each in operand)
        except (TypeError, ValueError) as error:
            raise refused(collection, field.name, error) from None
        return Test(field.name, operator, tuple(values))
    if operand is None:
        return Test(field.name, operator)
    if operator in MATCHING:
        value: Value = _pattern(collection, field, cast(str, operand))
    else:
        value = checked_operand(collection, field, operand)
    return _short(collection, Test(field.name, operator, value))


def _short(collection: Definition, test: Test) -> Test:
    """Return the test; refuse one that looks for more text than every database does."""
    sought = test.operand
    if test.operator in _PATTERNS and len(re.escape(cast(str, sought)).encode()) > MAX_PATTERN:
        raise invalid(
            collection,
            f"is searched for more than {MAX_PATTERN} bytes of text",
            "look for a shorter text",
            test.field,
        )
    return test


def _canonical_folded(collection: Definition, field: Field, operator: Operator, test: Test) -> Test:
    """Return a test that ignores case, with a folded operand; refuse one where case counts."""
    if operator not in _FOLDED or isinstance(test.operand, OtherField | Lookup):
        raise invalid(
            collection,
            "is held against another field, a query or a pattern, of which case counts",
            "ignore case with a text: equals, in_, contains, startswith or endswith",
            field.name,
        )
    if not field.type.searchable:
        raise invalid(
            collection,
            "is not searchable, so its case counts",
            "let its annotation say Searchable(), or leave ignore_case away",
            field.name,
        )
    plain = _canonical_field_test(collection, field, operator, test)
    sought = plain.operand
    if isinstance(sought, tuple):
        values = [None if each is None else folded(cast(str, each)) for each in sought]
        return Test(field.name, operator, tuple(dict.fromkeys(values)), folded=True)
    if sought is None:
        return plain
    return _short(collection, Test(field.name, operator, folded(cast(str, sought)), folded=True))


def _pattern(collection: Definition, field: Field, pattern: str) -> str:
    """Return a pattern in canonical form; refuse one that is not of the subset, by its position."""
    most = field.type.max_length
    if most is None or most > MAX_TEXT:
        raise invalid(
            collection,
            f"is matched with a pattern, and its texts have no bound of {MAX_TEXT} characters",
            f"give it a MaxLength of at most {MAX_TEXT}, or use contains, startswith or endswith",
            field.name,
        )
    try:
        return canonical(pattern)
    except AdvisedError as error:
        raise InvalidRequestError(
            str(error), hint=error.hint, entity=collection.entity, field=field.name
        ) from None
    except ValueError as error:
        raise refused(collection, field.name, error) from None


def _canonical_pair(
    collection: Definition, field: Field, operator: Operator, operand: OtherField
) -> Test:
    """Return the test of two fields; refuse one that does not mean the same on every backend."""
    other = collection.field(operand.name)
    if operator not in _COMPARED:
        raise invalid(
            collection,
            f"is held against {other.name}, another field: {operator} needs a value",
            "compare two fields with ==, !=, <, <=, > or >=",
            field.name,
        )
    if not field.type.comparable_with(other.type):
        raise invalid(
            collection,
            f"cannot be compared with {other.name}: {_told(field)} and {_told(other)}",
            "two fields need the same kind, but JSON, and the same places of a Decimal, members "
            "of an enum, or Milliseconds",
            field.name,
        )
    if operator in ORDERED and not field.type.ordered:
        raise invalid(
            collection,
            f"has no order: {operator} with {other.name} has no meaning",
            "use ==",
            field.name,
        )
    return Test(field.name, operator, OtherField(other.name))


def _canonical_lookup(
    collection: Definition, field: Field, operator: Operator, operand: Lookup
) -> Test:
    """Return the test of a field among the values of another one, in what a query finds."""
    inner = operand.collection
    other = inner.field(operand.field)
    if operator not in PLURAL:
        raise invalid(
            collection,
            f"is held against {inner.entity}.{other.name} of a query: {operator} needs a value",
            "look the field up with in_() or not_in()",
            field.name,
        )
    if not field.type.comparable_with(other.type):
        raise invalid(
            collection,
            f"cannot be looked up in {inner.entity}.{other.name}: {_told(field)} and "
            f"{_told(other)}",
            "both fields need the same kind, but JSON, and the same places of a Decimal, members "
            "of an enum, or Milliseconds",
            field.name,
        )
    where = _canonical(inner, operand.where)
    return Test(field.name, operator, replace(operand, where=where, source=None))


def _told(field: Field) -> str:
    """Return a field's type as far as it decides with what it can be compared."""
    kind = field.type
    if kind.kind is Kind.DECIMAL:
        return f"decimal with {kind.places} places"
    if kind.choices:
        return f"enum of {len(kind.choices)} members"
    return f"{kind.kind} in milliseconds" if kind.milliseconds else str(kind.kind)


def _require_meaning(
    collection: Definition, field: Field, operator: Operator, operand: object
) -> None:
    """Refuse a test that has no meaning for the field's kind, or not the same on every backend."""
    kind = field.type.kind
    if kind is Kind.JSON and operand is not None:
        raise invalid(
            collection,
            "is JSON: the whole of it can only be compared with None",
            f'compare a part, as in F.{field.name}["key"]; of a list, use has() and size()',
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


def checked_operand(collection: Definition, field: Field, value: object) -> Value:
    """Return a value to compare with, or to add, canonical."""
    try:
        return collection.operands[field.name](value)
    except (TypeError, ValueError) as error:
        raise refused(collection, field.name, error) from None

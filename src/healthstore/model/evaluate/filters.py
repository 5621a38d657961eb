"""Whether a document satisfies a filter, and how documents are sorted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from operator import ge, gt, le, lt
from typing import Any, TypeAlias, cast

from healthstore.model.evaluate.parts import column_value, part_predicate
from healthstore.model.ops import Find
from healthstore.model.parts import column_type
from healthstore.model.query import (
    ELEMENTS,
    And,
    FieldOrTerm,
    Filter,
    Lookup,
    Not,
    Operator,
    Order,
    OtherField,
    Test,
)
from healthstore.model.text import folded
from healthstore.model.values import SORTED_TEXT, Document, Value

__all__ = ("Valued", "matches", "shows_order", "sort_documents", "sorted_whole")

Predicate: TypeAlias = Callable[[Document], bool]


def matches(filter_: Filter) -> Predicate:
    """Return the function that tells whether a document satisfies a filter in any form.

    A query inside of it is answered before: :func:`healthstore.model.evaluate.answered`.
    """
    if isinstance(filter_, Test):
        if filter_.part is not None or filter_.operator in ELEMENTS:
            return part_predicate(filter_)
        if filter_.folded:
            return _folding(filter_)
        return _TESTS[filter_.operator](filter_.field, filter_.operand)
    if isinstance(filter_, Not):
        inner = matches(filter_.item)
        return lambda document: not inner(document)
    parts = [matches(item) for item in filter_.items]
    if isinstance(filter_, And):
        return lambda document: all(part(document) for part in parts)
    return lambda document: any(part(document) for part in parts)


def _folding(test: Test) -> Predicate:
    """Return what tests the text of a field where case does not count."""
    field, operand = test.field, test.operand
    sought: _Operand = (
        tuple(map(_folded, operand))
        if isinstance(operand, tuple)
        else _folded(cast(Value, operand))
    )
    holds = _TESTS[test.operator](field, sought)
    return lambda document: holds({field: _folded(document[field])})


def _folded(value: Value) -> Value:
    return folded(value) if isinstance(value, str) else value


_Operand: TypeAlias = "Value | tuple[Value, ...] | OtherField | Lookup"


def _equal(field: str, operand: _Operand) -> Predicate:
    if isinstance(operand, OtherField):
        other = operand.name
        return lambda document: document[field] == document[other]
    return lambda document: document[field] == operand


def _among(field: str, operand: _Operand) -> Predicate:
    values = frozenset(cast("tuple[Value, ...]", operand))
    return lambda document: document[field] in values


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[str, _Operand], Predicate]:
    def build(field: str, operand: _Operand) -> Predicate:
        if operand is None:
            return lambda _: False
        if isinstance(operand, OtherField):
            return _both(field, operand.name, compare)
        return lambda document: document[field] is not None and compare(document[field], operand)

    return build


def _both(one: str, other: str, compare: Callable[[Any, Any], bool]) -> Predicate:
    def holds(document: Document) -> bool:
        left, right = document[one], document[other]
        return left is not None and right is not None and compare(left, right)

    return holds


def _textual(holds: Callable[[str, str], bool]) -> Callable[[str, _Operand], Predicate]:
    def build(field: str, operand: _Operand) -> Predicate:
        return lambda document: (
            document[field] is not None and holds(cast(str, document[field]), cast(str, operand))
        )

    return build


def _negated(
    build: Callable[[str, _Operand], Predicate],
) -> Callable[[str, _Operand], Predicate]:
    def negated(field: str, operand: _Operand) -> Predicate:
        positive = build(field, operand)
        return lambda document: not positive(document)

    return negated


def _null(field: str, _: _Operand) -> Predicate:
    return lambda document: document[field] is None


def _matches(field: str, operand: _Operand) -> Predicate:
    # A pattern of the subset, in any form, means what Python says of it.
    whole = re.compile(cast(str, operand), re.ASCII).fullmatch
    return lambda document: (
        document[field] is not None and whole(cast(str, document[field])) is not None
    )


_contains = _textual(lambda text, part: part in text)
_starts = _textual(str.startswith)
_ends = _textual(str.endswith)

_TESTS: dict[Operator, Callable[[str, _Operand], Predicate]] = {
    Operator.EQ: _equal,
    Operator.NE: _negated(_equal),
    Operator.LT: _ordered(lt),
    Operator.LE: _ordered(le),
    Operator.GT: _ordered(gt),
    Operator.GE: _ordered(ge),
    Operator.IN: _among,
    Operator.NOT_IN: _negated(_among),
    Operator.IS_NULL: _null,
    Operator.NOT_NULL: _negated(_null),
    Operator.CONTAINS: _contains,
    Operator.NOT_CONTAINS: _negated(_contains),
    Operator.STARTS: _starts,
    Operator.NOT_STARTS: _negated(_starts),
    Operator.ENDS: _ends,
    Operator.NOT_ENDS: _negated(_ends),
    Operator.MATCHES: _matches,
    Operator.NOT_MATCHES: _negated(_matches),
}


Valued: TypeAlias = Callable[[Document, FieldOrTerm], Value]
"""What gives the value of a column of a document."""


def sort_documents(
    documents: Iterable[Document], order: Sequence[Order], value_of: Valued = column_value
) -> list[Document]:
    """Return the documents in this order, where of a text its head counts."""
    ordered = list(documents)
    # Sorts are stable: sort by the last key first.
    for key in reversed(order):
        ordered.sort(key=_rank(key, value_of), reverse=key.descending)
    return ordered


def _rank(key: Order, value_of: Valued) -> Callable[[Document], tuple[Any, ...]]:
    null = (0,) if key.nulls_first is not key.descending else (2,)  # before it is reversed
    column = key.column

    def rank(document: Document) -> tuple[Any, ...]:
        value = document[column] if isinstance(column, str) else value_of(document, column)
        if isinstance(value, str):
            value = value[:SORTED_TEXT]
        return null if value is None else (1, value)

    return rank


def shows_order(op: Find) -> bool:
    """Tell whether what is found has every text by which it was sorted.

    Otherwise :func:`sorted_whole` cannot tell: then it must be sorted by heads at once.
    """
    return op.columns is None or all(
        key.column in op.columns or not column_type(op.collection, key.column).sorted_by_head
        for key in op.order
    )


def sorted_whole(op: Find, documents: Iterable[Document]) -> bool:
    """Tell whether what a database sorted by whole texts is in the order that was asked for.

    It is unless a text among the keys is longer than what counts: then texts that begin alike
    must be sorted by the next key. A text that is not stands where it stood in either order.
    """
    listed = [key.column for key in op.order]
    columns = [each for each in listed if column_type(op.collection, each).sorted_by_head]
    return not any(
        isinstance(value := column_value(document, each), str) and len(value) >= SORTED_TEXT
        for each in columns
        for document in documents
    )

"""Conditions of unique keys: the filters that every database can keep a key under.

MongoDB keeps a part of a collection by comparisons that are joined by ``and``, nothing else on the
servers that speak its wire (https://www.mongodb.com/docs/manual/core/index-partial/). So a
condition is that, on every backend: a field is a value, one of several, null or not null, or lies
within a range.
"""

from __future__ import annotations

from collections.abc import Iterator

from healthstore.errors import InvalidRequestError
from healthstore.model.definition import Definition
from healthstore.model.query import (
    ORDERED,
    And,
    Filter,
    Lookup,
    Operator,
    Or,
    OtherField,
    Test,
    fields_in,
    normalise,
)
from healthstore.model.values import Kind, Value

__all__ = ("joined_tests",)

_PLAIN = ORDERED | {Operator.EQ, Operator.IN, Operator.IS_NULL, Operator.NOT_NULL}
_UNKEPT = frozenset({Kind.JSON, Kind.BYTES})  # compared by an expression, and in no order


def joined_tests(where: Filter, collection: Definition) -> tuple[Test, ...]:
    """Return tests that hold together where a condition holds; lists of values may have None.

    What a field of few values is not, is a list of what it is. Raises InvalidRequestError for a
    condition that cannot be said so.
    """
    rule = normalise(where, collection.nullable)
    return tuple(_joined(rule, collection))


def _joined(rule: Filter, collection: Definition) -> Iterator[Test]:
    for item in rule.items if isinstance(rule, And) else (rule,):
        if isinstance(item, And):
            yield from _joined(item, collection)
        elif isinstance(item, Test):
            yield _plain(item, collection)
        elif isinstance(item, Or):
            yield _among(item, collection)
        else:
            raise _unkept(item)


def _plain(test: Test, collection: Definition) -> Test:
    """Return a test of one field as one that every database keeps."""
    if test.part is not None or test.folded or isinstance(test.operand, OtherField | Lookup):
        raise _unkept(test)
    kind = collection.field(test.field).type
    if kind.kind in _UNKEPT:
        raise _unkept(test)
    if test.operator in _PLAIN:
        return test
    if test.operator in {Operator.NE, Operator.NOT_IN}:
        every: tuple[Value, ...] = kind.choices
        if kind.kind is Kind.BOOLEAN:
            every = (False, True)
        if every:
            but = test.operand if isinstance(test.operand, tuple) else (test.operand,)
            return Test(test.field, Operator.IN, tuple(each for each in every if each not in but))
    raise _unkept(test)


def _among(rule: Or, collection: Definition) -> Test:
    """Return alternatives of one field as a list of its values."""
    values: list[Value] = []
    for item in rule.items:
        if not isinstance(item, Test) or len(fields_in(rule)) > 1:
            raise _unkept(rule)
        test = _plain(item, collection)
        if test.operator is Operator.IS_NULL:
            values.append(None)
        elif test.operator is Operator.EQ:
            values.append(test.operand)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # _plain lets values pass
        elif test.operator is Operator.IN and isinstance(test.operand, tuple):
            values.extend(test.operand)
        else:
            raise _unkept(rule)
    (name,) = fields_in(rule)
    return Test(name, Operator.IN, tuple(dict.fromkeys(values)))


def _unkept(rule: Filter) -> InvalidRequestError:
    return InvalidRequestError(
        "is tested in a way that not every database keeps a key under",
        hint="say what each field is: ==, in_(), is_null(), not_null(), or a range; joined by &",
        field=min(fields_in(rule)),
    )

"""Tests of a part of JSON as MongoDB queries.

A query looks into lists on its way, and takes an element's key for the list's: so each object on
the way to a part is asked not to be a list. What it then finds is compared by the operators of
queries, which an index of the path serves, and which take numbers with numbers only, texts with
texts, bools with bools. A path through a list, by a place in it, has no such words: elements are
looked into even there. It is an expression, step by step, which no index serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from healthstore.adapters.mongo.codec import Stored, escape, escaped_key, key_of
from healthstore.adapters.mongo.texts import ends_pattern, pattern, successor
from healthstore.model.query import NEGATED, WHOLE, Operator, Part, Step, Term, Test
from healthstore.model.values import Kind

__all__ = ("part_query", "term_expression")

_LIST: Stored = {"$type": "array"}
_NO_LIST: Stored = {"$not": _LIST}
_COMPARED: Mapping[Operator, str] = {
    Operator.EQ: "$eq",
    Operator.NE: "$ne",
    Operator.LT: "$lt",
    Operator.LE: "$lte",
    Operator.GT: "$gt",
    Operator.GE: "$gte",
    Operator.IN: "$in",
}
# The names of BSON's types, as $type gives them.
_NUMBERS = ("int", "long", "double", "decimal")
_NEGATIVE = frozenset(
    {
        *(Operator.NE, Operator.NOT_IN, Operator.NOT_CONTAINS),
        *(Operator.NOT_STARTS, Operator.NOT_ENDS),
    }
)
_ELEMENTS: Mapping[Operator, str] = {Operator.HAS_ANY: "$in", Operator.HAS_ALL: "$all"}


def part_query(test: Test) -> Stored:
    """Return the query for a test of a part in normal form; its negation is ``$nor`` of it."""
    part = test.part or WHOLE
    if part.kind is not None:
        return _valued(test, Term(test.field, part.steps, part.kind))
    if part.size:
        return _sized(test, part)
    keys = [key_of(test.field)]
    for step in part.steps:
        if isinstance(step, int):
            return _computed(test, part)
        keys.append(escaped_key(step))
    path = ".".join(keys)
    parents = [".".join(keys[:count]) for count in range(1, len(keys))]
    if test.operator is Operator.IS_MISSING:
        lists = [{parent: _LIST} for parent in parents]
        return {"$or": [{path: {"$exists": False}}, *lists]}
    guards: list[Stored] = [{parent: _NO_LIST} for parent in parents]
    return {"$and": [_found(test, path), *guards]}


def _found(test: Test, path: str) -> Stored:
    """Return the query for what a path of keys leads to."""
    operand: Any = test.operand
    if test.operator in _ELEMENTS:
        return {"$and": [{path: _LIST}, {path: {_ELEMENTS[test.operator]: list(operand)}}]}
    if isinstance(operand, list | dict):
        return {"$expr": {"$eq": [f"${path}", {"$literal": escape(operand)}]}}
    if test.operator is Operator.IS_NULL:
        return {path: {"$type": "null", **_NO_LIST}}
    return {path: {**_asked(test.operator, operand), **_NO_LIST}}


def _asked(operator: Operator, operand: Any) -> Stored:
    """Return the operators of a query that a number, a text or a bool satisfies."""
    if operator in _COMPARED:
        # A scalar is stored as it is.
        return {_COMPARED[operator]: list(operand) if operator is Operator.IN else operand}
    if operator is Operator.STARTS:
        end = successor(operand) if operand else None
        return {"$gte": operand} if end is None else {"$gte": operand, "$lt": end}
    ends = operator is Operator.ENDS
    return {"$regex": ends_pattern(operand) if ends else pattern(operand)}


# --- expressions -----------------------------------------------------------------------------


def term_expression(term: Term) -> Stored:
    """Return a term as an expression: null where there is no such value."""
    kind = {"$type": "$$it"}
    asked, value = _TERMS[term.kind]
    return _if(_at(term.field, term.steps), asked(kind), value, None)


# Of a number: that it is whole, and of 64 bits. DocumentDB truncates to 15 digits.
_IS_WHOLE: Stored = {
    "$and": [
        {"$gte": ["$$it", -(2.0**63)]},
        {"$lt": ["$$it", 2.0**63]},
        {"$eq": ["$$it", {"$floor": "$$it"}]},
    ]
}
_TERMS: Mapping[Kind, tuple[Callable[[Stored], Stored], Any]] = {
    Kind.INTEGER: (
        lambda kind: {"$in": [kind, list(_NUMBERS)]},
        {"$cond": [_IS_WHOLE, {"$toLong": "$$it"}, None]},
    ),
    Kind.FLOAT: (lambda kind: {"$in": [kind, list(_NUMBERS)]}, {"$toDouble": "$$it"}),
    Kind.TEXT: (lambda kind: {"$eq": [kind, "string"]}, "$$it"),
    Kind.BOOLEAN: (lambda kind: {"$eq": [kind, "bool"]}, "$$it"),
    Kind.JSON: (lambda kind: {"$ne": [kind, "missing"]}, "$$it"),
}


def _valued(test: Test, term: Term) -> Stored:
    """Return the query for a term; only a test of null holds where it is null."""
    found = term_expression(term)
    if test.operator is Operator.IS_NULL:
        return {"$expr": {"$eq": [found, None]}}
    there: Stored = {"$ne": ["$$it", None]}
    if test.operator is Operator.NOT_NULL:
        return {"$expr": {"$ne": [found, None]}}
    values: Sequence[Any] = test.operand if isinstance(test.operand, tuple) else (test.operand,)
    positive = NEGATED[test.operator] if test.operator in _NEGATIVE else test.operator
    held = _held(positive, values)
    return {"$expr": _if(found, there, held if positive is test.operator else {"$not": [held]})}


def _sized(test: Test, part: Part) -> Stored:
    """Return the query for the size of a list, which is null of everything else."""
    found = _at(test.field, part.steps)
    if test.operator is Operator.IS_NULL:
        return {"$expr": {"$not": [{"$isArray": [found]}]}}
    if test.operator is Operator.NOT_NULL:
        return {"$expr": {"$isArray": [found]}}
    return {"$expr": _if(found, {"$isArray": ["$$it"]}, _counted(test))}


def _counted(test: Test) -> Any:
    size, operand = {"$size": "$$it"}, test.operand
    if isinstance(operand, tuple):
        among = {"$in": [size, {"$literal": list(operand)}]}
        return among if test.operator is Operator.IN else {"$not": [among]}
    return {_COMPARED[test.operator]: [size, {"$literal": operand}]}


def _computed(test: Test, part: Part) -> Stored:
    """Return the query for a path with a place in a list."""
    found = _at(test.field, part.steps)
    operator, operand = test.operator, test.operand
    kind = {"$type": "$$it"}
    if operator is Operator.IS_MISSING:
        return {"$expr": {"$eq": [{"$type": found}, "missing"]}}
    if operator is Operator.IS_NULL:
        return {"$expr": {"$eq": [{"$type": found}, "null"]}}
    values: Sequence[Any] = operand if isinstance(operand, tuple) else (operand,)
    if operator in _ELEMENTS:
        holds = [{"$in": [{"$literal": each}, "$$it"]} for each in values]
        every = {"$and" if operator is Operator.HAS_ALL else "$or": holds}
        return {"$expr": _if(found, {"$isArray": ["$$it"]}, every)}
    return {"$expr": _if(found, _alike(kind, values[0]), _held(operator, values))}


def _alike(kind: Stored, value: Any) -> Stored:
    """Return the expression whether a type is that of a value, as far as values are compared."""
    if isinstance(value, bool):
        return {"$eq": [kind, "bool"]}
    if isinstance(value, int | float):
        return {"$in": [kind, list(_NUMBERS)]}
    if isinstance(value, str):
        return {"$eq": [kind, "string"]}
    return {"$eq": [kind, "array" if isinstance(value, list) else "object"]}


def _held(operator: Operator, values: Sequence[Any]) -> Any:
    """Return the expression whether ``it``, of the same type, is as one of the values demands."""
    if operator is Operator.IN:
        return {"$in": ["$$it", {"$literal": list(values)}]}
    (value,) = values
    if operator in _COMPARED:
        return {_COMPARED[operator]: ["$$it", {"$literal": escape(value)}]}
    if operator is Operator.STARTS:
        if not value:
            return True
        end = successor(value)
        bounds = [{"$gte": ["$$it", {"$literal": value}]}]
        if end is not None:
            bounds.append({"$lt": ["$$it", {"$literal": end}]})
        return {"$and": bounds}
    sought = ends_pattern(value) if operator is Operator.ENDS else pattern(value)
    return {"$regexMatch": {"input": "$$it", "regex": {"$literal": sought}}}


def _at(name: str, steps: tuple[Step, ...]) -> Any:
    """Return a part as an expression, which is missing where the part is."""
    found: Any = f"${key_of(name)}"
    for step in steps:
        if isinstance(step, int):
            # Behind the end there is nothing.
            inner: Stored = {"$arrayElemAt": ["$$it", step]}
            found = _if(found, {"$isArray": ["$$it"]}, inner, "$$REMOVE")
        else:
            inner = {"$getField": {"field": {"$literal": escaped_key(step)}, "input": "$$it"}}
            found = _if(found, {"$eq": [{"$type": "$$it"}, "object"]}, inner, "$$REMOVE")
    return found


def _if(found: Any, asked: Any, then: Any, otherwise: Any = False) -> Stored:  # noqa: FBT002 - what an expression gives
    """Return an expression of ``it``, which is evaluated where the condition holds only."""
    return {"$let": {"vars": {"it": found}, "in": {"$cond": [asked, then, otherwise]}}}

"""What a test of a part of a field's JSON means: which part it is, and when it is equal.

Values are compared by their type: numbers exactly, whether int or float, texts by code point,
bools with bools only, which to Python are numbers. Lists and objects equal what has equal parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import ge, gt, le, lt
from typing import Any, Final, TypeAlias, cast

from healthstore.model.json import INT64_MAX, INT64_MIN, Json
from healthstore.model.query import WHOLE, FieldOrTerm, Operator, Step, Term, Test
from healthstore.model.text import words_in
from healthstore.model.values import Document, Kind, Value

__all__ = (
    "MISSING",
    "column_value",
    "equal_json",
    "part_of",
    "part_predicate",
    "size_of",
    "term_value",
)

MISSING: Final = object()
"""What stands for a part that is not there."""

_Holds: TypeAlias = Callable[[Any], bool]


def part_of(value: object, steps: tuple[Step, ...]) -> object:
    """Return the part of a field's value to which a path leads, or ``MISSING``.

    A field that is None has no part, not even the whole.
    """
    if value is None:
        return MISSING
    for step in steps:
        if isinstance(step, str):
            if not isinstance(value, dict) or step not in value:
                return MISSING
            value = cast("dict[str, object]", value)[step]
        else:
            if not isinstance(value, list) or step >= len(cast("list[object]", value)):
                return MISSING
            value = cast("list[object]", value)[step]
    return value


def _words_of(value: Value) -> object:
    return words_in(value) if isinstance(value, str) else MISSING


def size_of(value: object) -> int | None:
    """Return the number of a list's elements, None of what is no list."""
    return len(cast("list[object]", value)) if isinstance(value, list) else None


def column_value(document: Document, column: FieldOrTerm) -> Value:
    """Return a document's value of a column: one that is there by its key, or that of a term."""
    if isinstance(column, str):
        return document[column]
    key = column.key
    return document[key] if key in document else term_value(document, column)


def term_value(document: Document, term: Term) -> Value:
    """Return a document's value of a term, ``None`` if it has none."""
    return _READERS[term.kind](part_of(document[term.field], term.steps))


def _whole(value: object) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and INT64_MIN <= value <= INT64_MAX else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and type(value) is not bool else None


def _json(value: object) -> Value:
    return None if value is MISSING else cast(Value, value)


_READERS: Mapping[Kind, Callable[[object], Value]] = {
    Kind.INTEGER: _whole,
    Kind.FLOAT: _number,
    Kind.TEXT: lambda value: value if isinstance(value, str) else None,
    Kind.BOOLEAN: lambda value: value if isinstance(value, bool) else None,
    Kind.JSON: _json,
}


def equal_json(one: object, other: object) -> bool:
    """Tell whether two values of JSON are equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, list) and isinstance(other, list):
        ours, theirs = cast("list[object]", one), cast("list[object]", other)
        return len(ours) == len(theirs) and all(map(equal_json, ours, theirs))
    if isinstance(one, dict) and isinstance(other, dict):
        mine, yours = cast("dict[str, object]", one), cast("dict[str, object]", other)
        return mine.keys() == yours.keys() and all(
            equal_json(each, yours[key]) for key, each in mine.items()
        )
    return _kind(one) is _kind(other) and one == other


def _kind(value: object) -> type:
    """Return the type by which a value is compared; an int is a number as a float is."""
    return float if type(value) is int else type(value)


def part_predicate(test: Test) -> Callable[[Document], bool]:
    """Return the function that tells whether a document satisfies a test of a part."""
    name, part = test.field, test.part or WHOLE
    valued = part.size or part.kind is not None
    build = (_VALUE_TESTS if valued else _TESTS)[test.operator]
    holds = build(test.operand)
    steps = part.steps
    if part.kind is not None:
        read = _READERS[part.kind]
        return lambda document: holds(read(part_of(document[name], steps)))
    if part.words:
        return lambda document: holds(_words_of(document[name]))
    if part.size:
        return lambda document: holds(size_of(part_of(document[name], steps)))
    return lambda document: holds(part_of(document[name], steps))


def _equal(operand: Any) -> _Holds:
    if operand is None:
        return lambda value: value is None or value is MISSING
    return lambda value: equal_json(value, operand)


def _among(operands: Any) -> _Holds:
    tests = [_equal(each) for each in operands]
    return lambda value: any(test(value) for test in tests)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any], _Holds]:
    def build(operand: Any) -> _Holds:
        if operand is None:
            return lambda _: False
        kind = _kind(operand)
        return lambda value: _kind(value) is kind and compare(value, operand)

    return build


def _ordered_alike(compare: Callable[[Any, Any], bool]) -> Callable[[Any], _Holds]:
    return lambda operand: (
        lambda value: operand is not None and value is not None and compare(value, operand)
    )


def _textual(holds: Callable[[str, str], bool]) -> Callable[[Any], _Holds]:
    return lambda operand: lambda value: isinstance(value, str) and holds(value, operand)


def _has(operand: Any) -> _Holds:
    return lambda value: (
        isinstance(value, list)
        and any(equal_json(each, operand) for each in cast("list[Json]", value))
    )


def _has_any(operands: Any) -> _Holds:
    tests = [_has(each) for each in operands]
    return lambda value: any(test(value) for test in tests)


def _has_all(operands: Any) -> _Holds:
    tests = [_has(each) for each in operands]
    return lambda value: all(test(value) for test in tests)


def _negated(build: Callable[[Any], _Holds]) -> Callable[[Any], _Holds]:
    def negated(operand: Any) -> _Holds:
        positive = build(operand)
        return lambda value: not positive(value)

    return negated


def _null(_: Value) -> _Holds:
    return lambda value: value is None


def _missing(_: Value) -> _Holds:
    return lambda value: value is MISSING


_contains = _textual(lambda text, part: part in text)
_starts = _textual(str.startswith)
_ends = _textual(str.endswith)

_TESTS: dict[Operator, Callable[[Any], _Holds]] = {
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
    Operator.IS_MISSING: _missing,
    Operator.CONTAINS: _contains,
    Operator.NOT_CONTAINS: _negated(_contains),
    Operator.STARTS: _starts,
    Operator.NOT_STARTS: _negated(_starts),
    Operator.ENDS: _ends,
    Operator.NOT_ENDS: _negated(_ends),
    Operator.HAS: _has,
    Operator.HAS_ANY: _has_any,
    Operator.HAS_ALL: _has_all,
}
# A size is a number or None, as an integer field is; and a term is as a field of its type.
_VALUE_TESTS: dict[Operator, Callable[[Any], _Holds]] = {
    **{
        each: _TESTS[each]
        for each in (
            *(Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN),
            *(Operator.IS_NULL, Operator.NOT_NULL, Operator.CONTAINS, Operator.NOT_CONTAINS),
            *(Operator.STARTS, Operator.NOT_STARTS, Operator.ENDS, Operator.NOT_ENDS),
        )
    },
    **{
        each: _ordered_alike(compare)
        for each, compare in (
            *((Operator.LT, lt), (Operator.LE, le), (Operator.GT, gt), (Operator.GE, ge)),
        )
    },
}

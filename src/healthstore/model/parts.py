"""Tests of a part of JSON made canonical: which paths there are, and what a part is held against.

What a part is compared with is any value of JSON: by its type it says what it is compared as. An
order is one of numbers or of texts; text is looked for in texts; elements are no lists or objects,
and no null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum
from typing import cast

import msgspec

from healthstore.model.advice import AdvisedError
from healthstore.model.definition import Definition, Field
from healthstore.model.json import Json, canonical_json
from healthstore.model.query import (
    ELEMENTS,
    MATCHING,
    MAX_KEY,
    MAX_PART_VALUES,
    MAX_PATTERN,
    MAX_PLACE,
    MAX_STEPS,
    ORDERED,
    PLURAL,
    TERM_TYPES,
    TEXTUAL,
    WHOLE,
    WORDS,
    FieldOrTerm,
    Operator,
    OtherField,
    Part,
    Step,
    Term,
    Test,
)
from healthstore.model.refusals import invalid, refused
from healthstore.model.text import folded, require_text
from healthstore.model.values import FieldType, Kind, Value, canonicaliser

__all__ = ("canonical_part_test", "checked_column", "checked_term", "column_type", "part_test_size")

_ALONE = frozenset({Operator.IS_NULL, Operator.NOT_NULL, Operator.IS_MISSING})
_MANY = PLURAL | {Operator.HAS_ANY, Operator.HAS_ALL}
# MongoDB looks for these by a pattern; the start of a text is a range everywhere.
_PATTERNS = TEXTUAL - {Operator.STARTS, Operator.NOT_STARTS}
_UNSIZED = TEXTUAL | ELEMENTS | {Operator.IS_MISSING}

_encode = msgspec.json.Encoder().encode


def part_test_size(test: Test) -> int:
    """Return how many bytes the operands of a canonical test of a part take as JSON."""
    return 0 if test.operand is None else len(_encode(test.operand))


def canonical_part_test(collection: Definition, test: Test, operator: Operator) -> Test:
    """Return the test of a part with a canonical path and operand.

    Raises InvalidRequestError for a field that is no JSON, for a path that no value could have
    or that is too long, for a test that has no meaning, and for more values than
    ``MAX_PART_VALUES``; RefusedValueError for an operand that is no value of JSON.
    """
    field = collection.field(test.field)
    given = WHOLE if test.part is None else test.part
    if given.words:
        return _canonical_words(collection, field, test, operator)
    _require_parts(collection, field, operator, given)
    part = Part(_canonical_steps(collection, field, given.steps), given.size, given.kind)
    if isinstance(test.operand, OtherField):
        raise invalid(
            collection,
            f"{part} is held against {test.operand.name}, another field",
            "compare a part of JSON with a value",
            field.name,
        )
    operand = None if operator in _ALONE else test.operand
    canonical = _canonical(part, operator)
    try:
        if operator in _MANY:
            kept: Value | tuple[Value, ...] = _listed(operand, operator, canonical)
        elif operator in _ALONE or (operand is None and operator not in ELEMENTS | TEXTUAL):
            kept = None
        elif operator in TEXTUAL:
            kept = _searched(operand, operator)
        else:
            kept = canonical(operand)
    except (TypeError, ValueError) as error:
        raise refused(collection, field.name, error) from None
    return Test(field.name, operator, kept, None, part)


def _canonical(part: Part, operator: Operator) -> Callable[[object], Json]:
    """Return what makes a value canonical with which a part is compared."""
    if part.kind is not None:
        return cast("Callable[[object], Json]", canonicaliser(FieldType(part.kind)))
    if part.size:
        return _canonical_count
    if operator in ELEMENTS:
        return _canonical_element
    return _canonical_ordered if operator in ORDERED else canonical_json


def _canonical_words(collection: Definition, field: Field, test: Test, operator: Operator) -> Test:
    """Return the test of a text's words with folded ones; no field but a searched one has any."""
    if not field.type.words or operator not in {Operator.HAS_ANY, Operator.HAS_ALL}:
        raise invalid(
            collection,
            "is not searched for words",
            "name it in a Search among the class's indexes",
            field.name,
        )
    listed = _listed(test.operand, operator, _canonical_word)
    return Test(field.name, operator, listed, None, WORDS)


def _canonical_word(value: object) -> Json:
    if not isinstance(value, str):
        raise TypeError("is looked for as a text only")
    require_text(value)
    return folded(value)


def _require_parts(collection: Definition, field: Field, operator: Operator, part: Part) -> None:
    """Refuse a test that has no meaning for the field, whatever its operand is."""
    if field.type.kind is not Kind.JSON:
        wanted = "no list" if operator in ELEMENTS or part.size else "no JSON: it has no parts"
        raise invalid(
            collection,
            f"is {wanted}",
            "compare the field itself",
            field.name,
        )
    if part.size and operator in _UNSIZED:
        raise invalid(
            collection,
            f"has a size, a number: {operator} has no meaning",
            "compare it, as in F.tags.size() >= 2",
            field.name,
        )
    if part.kind is not None:
        _require_term(collection, field, part)
        if operator in TEXTUAL - MATCHING and part.kind is not Kind.TEXT:
            raise invalid(
                collection, f"is no text: {operator} has no meaning", "use ==", field.name
            )
        if operator in ELEMENTS | {Operator.IS_MISSING}:
            raise invalid(
                collection,
                f"has a type: {operator} has no meaning",
                "test the part without as_()",
                field.name,
            )
    if operator in MATCHING:
        raise invalid(
            collection,
            "is matched with a pattern, and a part of JSON has no bound of its length",
            "use contains, startswith or endswith, or give the part a field of its own",
            field.name,
        )
    if not part.steps and not part.size and operator not in ELEMENTS:
        raise invalid(
            collection,
            f"is tested as a whole: {operator} needs a path",
            'write F.data["key"]',
            field.name,
        )


def column_type(collection: Definition, column: FieldOrTerm) -> FieldType:
    """Return the type of a column's values."""
    return collection.field(column).type if isinstance(column, str) else column.type


def checked_column(collection: Definition, column: FieldOrTerm) -> FieldOrTerm:
    """Return a field's name, or a term of any kind with a canonical path."""
    if isinstance(column, str):
        return collection.field(column).name
    return checked_term(collection, column, whole=True)


def checked_term(collection: Definition, term: Term, *, whole: bool = False) -> Term:
    """Return a term of a JSON field with a canonical path, of a kind that has an order.

    With ``whole`` it may be whatever JSON is there. Raises InvalidRequestError for any other one.
    """
    field = collection.field(term.field)
    if field.type.kind is not Kind.JSON:
        raise invalid(
            collection, "is no JSON: it has no parts", "name the field itself", field.name
        )
    if not term.steps:
        raise invalid(collection, "is taken as a whole", 'write F.data["key"]', field.name)
    if not (whole and term.kind is Kind.JSON):
        _require_term(collection, field, term.part)
    return Term(field.name, _canonical_steps(collection, field, term.steps), term.kind)


def _require_term(collection: Definition, field: Field, part: Part) -> None:
    if part.kind not in TERM_TYPES or part.size:
        raise invalid(
            collection,
            "has a part that is taken as a value of a type that it cannot have",
            "use as_(int), as_(float), as_(str) or as_(bool)",
            field.name,
        )


def _canonical_steps(
    collection: Definition, field: Field, steps: Iterable[object]
) -> tuple[Step, ...]:
    given = tuple(steps)
    if len(given) > MAX_STEPS:
        raise invalid(
            collection,
            f"has a path of {len(given)} steps; at most {MAX_STEPS} are taken",
            "ask for a part that lies less deep",
            field.name,
        )
    try:
        return tuple(map(_canonical_step, given))
    except (TypeError, ValueError) as error:
        raise invalid(
            collection,
            f"has a path with a step that {error}",
            'write F.data["key"], or F.data[0] for the first element of a list',
            field.name,
        ) from None


def _canonical_step(step: object) -> Step:
    if isinstance(step, Enum):
        step = step.value
    if isinstance(step, str):
        require_text(step)
        if len(step) > MAX_KEY:
            raise ValueError(f"has {len(step)} characters; at most {MAX_KEY} are taken")
        return str(step)
    if isinstance(step, int) and not isinstance(step, bool):
        if not 0 <= step <= MAX_PLACE:
            raise ValueError(f"is no place from 0 to {MAX_PLACE}")
        return int(step)
    raise TypeError(f"is a {type(step).__name__}, neither a key nor a place in a list")


def _listed(
    operand: object, operator: Operator, canonical: Callable[[object], Json]
) -> tuple[Json, ...]:
    """Return canonical values, each once; 1 and true are two, though equal to Python."""
    if not isinstance(operand, tuple):
        raise TypeError("needs a list of values")
    given = cast("tuple[object, ...]", operand)
    if len(given) > MAX_PART_VALUES:
        raise AdvisedError(
            f"is looked up in {len(given)} values; of a part at most {MAX_PART_VALUES} are taken",
            "ask in several requests, each with a part of the values",
        )
    nulls = operator in PLURAL  # an element that is null is not looked for
    values = [None if nulls and each is None else canonical(each) for each in given]
    return tuple({_encode(value): value for value in values}.values())


def _searched(operand: object, operator: Operator) -> str:
    if not isinstance(operand, str):
        raise TypeError("is compared with text by a str only")
    text = cast(str, canonical_json(operand))
    if operator in _PATTERNS and len(re.escape(text).encode()) > MAX_PATTERN:
        raise AdvisedError(
            f"is searched for more than {MAX_PATTERN} bytes of text", "look for a shorter text"
        )
    return text


def _canonical_count(value: object) -> Json:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"has a size, which is compared with an int, not {type(value).__name__}")
    return canonical_json(value)


def _canonical_element(value: object) -> Json:
    if value is None or not isinstance(value := canonical_json(value), bool | int | float | str):
        raise TypeError("has elements that are looked for: texts, numbers and bools only")
    return value


def _canonical_ordered(value: object) -> Json:
    if isinstance(value := canonical_json(value), bool | list | dict):
        raise TypeError(f"has an order among numbers and among texts, not with {_told(value)}")
    return value


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "a bool"
    return "a list" if isinstance(value, list) else "an object"

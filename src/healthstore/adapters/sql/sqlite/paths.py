"""How SQLite reads parts of JSON, which it keeps as text.

Its paths have no words for a key that JSON writes with a backslash: then a function of ours finds
the part, and its path is that of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, literal_column
from sqlalchemy.types import Double, Integer, NullType, Text, TypeEngine

from healthstore.adapters.sql.clauses import Written, condition
from healthstore.adapters.sql.convert import decode_json, encode_json_text
from healthstore.adapters.sql.paths import SIGNS, Bound, Form, Paths, Place, is_plain
from healthstore.model.evaluate import MISSING, equal_json, part_of
from healthstore.model.query import Operator, Step
from healthstore.model.values import Kind

__all__ = ("EQUAL_JSON", "PART_OF_JSON", "SQLITE_PATHS", "equal_texts", "part_of_text")

PART_OF_JSON = "healthstore_part"
EQUAL_JSON = "healthstore_equal"
_AS_IT_IS = NullType()
_PATH = Text()
_WHOLE: ColumnElement[Any] = literal_column("'$'")


def part_of_text(text: str | None, steps: str) -> str | None:
    """Return the part of JSON to which steps lead, all of them texts; None if it is missing."""
    if text is None:
        return None
    found = part_of(decode_json(text), tuple(decode_json(steps)))
    return None if found is MISSING else encode_json_text(found)


def equal_texts(one: str, other: str) -> bool:
    """Tell whether two texts are equal JSON."""
    return equal_json(decode_json(one), decode_json(other))


def _path(steps: tuple[Step, ...]) -> tuple[Bound, ...]:
    if is_plain(steps):
        written = "".join(f'."{each}"' if isinstance(each, str) else f"[{each}]" for each in steps)
        return (Bound(f"${written}", _PATH),)
    return (Bound(encode_json_text(steps), _PATH),)


def _of(place: Place) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return the JSON in which a part is, and its path there."""
    if place.plain:
        return place.column, place.path[0]
    return Written(f"{PART_OF_JSON}({{0}}, {{1}})", place.column, place.path[0]), _WHOLE


def _compared(
    place: Place, operator: Operator, bound: Sequence[tuple[ColumnElement[Any], ...]]
) -> ColumnElement[bool]:
    listed = ", ".join(f"{{{at}}}" for at in range(2, len(bound) + 2))
    test = f"IN ({listed})" if operator is Operator.IN else f"{SIGNS[operator]} {{2}}"
    return condition(
        "(json_type({0}, {1}) IN ('integer', 'real') AND json_extract({0}, {1}) " + test + ")",
        *_of(place),
        *(each for (each,) in bound),
    )


_ELEMENTS = {
    "bool": "type = {2}",
    "number": "type IN ('integer', 'real') AND value = {2}",
    "text": "type = 'text' AND value = {2}",
}


def _has(place: Place, form: Form, bound: tuple[ColumnElement[Any], ...]) -> ColumnElement[bool]:
    return condition(
        "(json_type({0}, {1}) = 'array' AND EXISTS "
        f"(SELECT 1 FROM json_each({{0}}, {{1}}) WHERE {_ELEMENTS[form]}))",
        *_of(place),
        *bound,
    )


def _type_is(place: Place, *types: str) -> ColumnElement[bool]:
    listed = ", ".join(f"'{each}'" for each in types)
    return condition(f"json_type({{0}}, {{1}}) IN ({listed})", *_of(place))


def _same(place: Place, value: ColumnElement[Any]) -> ColumnElement[bool]:
    # A text that looks like a list is none; and a function that is ours is asked of nothing else.
    return condition(
        "CASE WHEN json_type({0}, {1}) IN ('array', 'object') "
        f"THEN {EQUAL_JSON}(json_extract({{0}}, {{1}}), {{2}}) END",
        *_of(place),
        value,
    )


def _term(text: str, kind: TypeEngine[Any]) -> Callable[[Place], ColumnElement[Any]]:
    return lambda place: Written(f"(CASE {text} END)", *_of(place), kind=kind)


def _as_json(place: Place) -> ColumnElement[Any]:
    """Return the text of a part: of two paths it is written twice, in a list, as it is kept.

    SQLite has an operator for it from 3.38 on only.
    """
    column, path = _of(place)
    if not place.plain:
        return column
    twice = "json_extract({0}, {1}, {1})"
    return Written(
        "(CASE WHEN json_type({0}, {1}) IS NOT NULL "
        f"THEN substr({twice}, 2, (length({twice}) - 3) / 2) END)",
        column,
        path,
        kind=Text(),
    )


_VALUE = "json_extract({0}, {1})"
# Beyond the range the cast gives one of its ends.
_WHOLE_REAL = (
    f"CASE WHEN {_VALUE} >= -9223372036854775808.0 AND {_VALUE} < 9223372036854775808.0 "
    f"AND CAST({_VALUE} AS INTEGER) = {_VALUE} THEN CAST({_VALUE} AS INTEGER) END"
)
_TERMS: Mapping[Kind, Callable[[Place], ColumnElement[Any]]] = {
    Kind.INTEGER: _term(
        f"json_type({{0}}, {{1}}) WHEN 'integer' THEN {_VALUE} WHEN 'real' THEN {_WHOLE_REAL}",
        Integer(),
    ),
    Kind.FLOAT: _term(
        f"WHEN json_type({{0}}, {{1}}) IN ('integer', 'real') THEN CAST({_VALUE} AS REAL)", Double()
    ),
    Kind.TEXT: _term(f"json_type({{0}}, {{1}}) WHEN 'text' THEN {_VALUE}", Text()),
    Kind.BOOLEAN: _term("json_type({0}, {1}) WHEN 'true' THEN 1 WHEN 'false' THEN 0", Integer()),
    Kind.JSON: _as_json,
}

SQLITE_PATHS = Paths(
    path=_path,
    missing=lambda place: condition("json_type({0}, {1}) IS NULL", *_of(place)),
    null=lambda place: _type_is(place, "null"),
    truth=lambda place, value: _type_is(place, "true" if value else "false"),
    text=lambda place: (
        _type_is(place, "text"),
        Written("json_extract({0}, {1})", *_of(place)),
    ),
    number=lambda _, value: (Bound(value, _AS_IT_IS),),
    compared=_compared,
    json=lambda value: Bound(encode_json_text(value), _AS_IT_IS),
    same=_same,
    size=lambda place: Written(
        "CASE WHEN json_type({0}, {1}) = 'array' THEN json_array_length({0}, {1}) END",
        *_of(place),
        kind=Integer(),
    ),
    element=lambda value: (
        Bound(encode_json_text(value) if isinstance(value, bool) else value, _AS_IT_IS),
    ),
    has=_has,
    terms=_TERMS,
)

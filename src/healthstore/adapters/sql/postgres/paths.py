"""How PostgreSQL reads parts of jsonb.

A cast stands in a CASE, for what stands beside it with AND may run first. A text step reads
objects only; a step to a place reads arrays and, wrongly, a scalar as if it were in one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import ColumnElement, FromClause, func, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import BigInteger, Boolean, Double, Integer, Numeric, Text, TypeEngine

from healthstore.adapters.sql.clauses import Written, condition
from healthstore.adapters.sql.paths import SIGNS, Bound, Form, Paths, Place
from healthstore.model.json import INT64_MAX, INT64_MIN
from healthstore.model.query import Operator, Step
from healthstore.model.values import Kind, Value

__all__ = ("postgres_paths",)

_TEXT, _PLACE, _NUMBER, _JSON = Text(), Integer(), Numeric(), JSONB()
# Doubles from here on are written into jsonb with all their digits, not with an exponent.
_EXACT = 1e16


def _path(steps: tuple[Step, ...]) -> tuple[Bound, ...]:
    return tuple([Bound(step, _TEXT if isinstance(step, str) else _PLACE) for step in steps])


def _found(place: Place) -> ColumnElement[Any]:
    """Return the part; null where it is missing."""
    found, lists = place.column, list[ColumnElement[Any]]()
    for kind, step in zip(place.steps, place.path, strict=True):
        if kind is int:
            lists.append(condition("jsonb_typeof({0}) = 'array'", found))
        found = Written("({0} -> {1})", found, step)
    if not lists:
        return found
    places = " AND ".join(f"{{{at}}}" for at in range(1, len(lists) + 1))
    return Written(f"CASE WHEN {places} THEN {{0}} END", found, *lists)


def _number(_: Operator, value: float) -> tuple[Bound, ...]:
    """Return the decimal as which a number is kept."""
    exact = isinstance(value, int) or abs(value) >= _EXACT
    return (Bound(Decimal(value) if exact else Decimal(repr(value)), _NUMBER),)


def _compared(
    place: Place, operator: Operator, bound: Sequence[tuple[ColumnElement[Any], ...]]
) -> ColumnElement[bool]:
    number = Written(
        "CASE WHEN jsonb_typeof({0}) = 'number' THEN CAST({0} AS NUMERIC) END", _found(place)
    )
    if operator is Operator.IN:
        listed = ", ".join(f"{{{at}}}" for at in range(1, len(bound) + 1))
        return condition(f"{{0}} IN ({listed})", number, *(each for (each,) in bound))
    return condition(f"{{0}} {SIGNS[operator]} {{1}}", number, bound[0][0])


def _text(place: Place) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
    text = "(CASE WHEN jsonb_typeof({0}) = 'string' THEN {0} #>> '{{}}' END COLLATE \"C\")"  # fmt: skip
    return true(), Written(text, _found(place), kind=_TEXT)


def _size(place: Place) -> ColumnElement[Any]:
    size = "CASE WHEN jsonb_typeof({0}) = 'array' THEN jsonb_array_length({0}) END"
    return Written(size, _found(place), kind=_PLACE)


def _has(place: Place, form: Form, bound: tuple[ColumnElement[Any], ...]) -> ColumnElement[bool]:
    del form
    return condition("{0} @> {1}", _found(place), *bound)


def _scalar(name: str, read: str, kind: TypeEngine[Any]) -> Callable[[Place], ColumnElement[Any]]:
    """Return what reads a part of a type of JSON, as a type of the database."""
    text = f"CASE WHEN jsonb_typeof({{0}}) = '{name}' THEN {read} END"
    return lambda place: Written(f"({text})", _found(place), kind=kind)


_WHOLE = (
    "CASE WHEN CAST({0} AS NUMERIC) = TRUNC(CAST({0} AS NUMERIC)) AND CAST({0} AS NUMERIC) "
    f"BETWEEN {INT64_MIN} AND {INT64_MAX} THEN CAST(CAST({{0}} AS NUMERIC) AS BIGINT) END"
)
_TERMS: Mapping[Kind, Callable[[Place], ColumnElement[Any]]] = {
    Kind.INTEGER: _scalar("number", _WHOLE, BigInteger()),
    Kind.FLOAT: _scalar("number", "CAST({0} AS DOUBLE PRECISION)", Double()),
    Kind.TEXT: lambda place: _text(place)[1],
    Kind.BOOLEAN: _scalar("boolean", "CAST({0} AS BOOLEAN)", Boolean()),
    Kind.JSON: lambda place: Written("({0})", _found(place), kind=_JSON),
}


# No number of jsonb is written with an exponent: an integer has no point.
_ELEMENTS = {
    Kind.INTEGER: ("jsonb_typeof({0}) = 'number' AND strpos({0} #>> '{{}}', '.') = 0", "BIGINT"),
    Kind.FLOAT: ("jsonb_typeof({0}) = 'number'", "FLOAT8"),
    Kind.BOOLEAN: ("jsonb_typeof({0}) = 'boolean'", "BOOLEAN"),
}


def _elements(
    column: ColumnElement[Any], kind: Kind
) -> tuple[FromClause, ColumnElement[Any], ColumnElement[bool]]:
    listed = Written("CASE WHEN jsonb_typeof({0}) = 'array' THEN {0} END", column)
    rows = func.jsonb_array_elements(listed).table_valued("value", name="_element")
    found = _ELEMENTS.get(kind)
    if found is None:
        text = Written("({0} #>> '{{}}' COLLATE \"C\")", rows.c.value)  # fmt: skip
        return rows, text, condition("(jsonb_typeof({0}) = 'string')", rows.c.value)
    fits, cast_to = found
    value = Written(
        f"CASE WHEN {fits} THEN CAST({{0}} #>> '{{{{}}}}' AS {cast_to}) END", rows.c.value
    )
    return rows, value, condition(f"({fits})", rows.c.value)


def postgres_paths(to_jsonb: Callable[[Any], bytes]) -> Paths:
    """Return them; ``to_jsonb`` writes a value as the driver takes it."""

    def json(value: Value) -> Bound:
        return Bound(to_jsonb(value), _JSON)

    return Paths(
        path=_path,
        missing=lambda place: condition("{0} IS NULL", _found(place)),
        null=lambda place: condition("{0} = CAST('null' AS JSONB)", _found(place)),
        truth=lambda place, value: condition(
            f"{{0}} = CAST('{'true' if value else 'false'}' AS JSONB)", _found(place)
        ),
        text=_text,
        number=_number,
        compared=_compared,
        json=json,
        same=lambda place, value: condition("{0} = {1}", _found(place), value),
        size=_size,
        element=lambda value: (json(cast("Value", [value])),),
        has=_has,
        terms=_TERMS,
        boolean=lambda value: Bound(value, Boolean()),
        elements=_elements,
    )

"""How MySQL and MariaDB read parts of JSON, which they keep as text.

A step to a place reads what is no array as if it were in one: that is ruled out. An integer and a
float are compared apart from one another: a number that a part is held against is bound twice, as
the nearest integer and as the nearest float that give the same answer, null where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf, nextafter
from typing import Any, cast

from sqlalchemy import Column, ColumnElement, FromClause, func, literal_column, true
from sqlalchemy.dialects.mysql import DOUBLE, TINYINT
from sqlalchemy.types import BigInteger, NullType, Text, TypeEngine

from healthstore.adapters.sql.clauses import Written, condition
from healthstore.adapters.sql.convert import encode_json_text
from healthstore.adapters.sql.dialect import Elements
from healthstore.adapters.sql.paths import SIGNS, Bound, Form, Paths, Place
from healthstore.model.json import INT64_MAX, INT64_MIN
from healthstore.model.query import TERM_HEAD, Operator, Step
from healthstore.model.values import Kind

__all__ = ("MARIADB_PATHS", "MYSQL_PATHS", "mysql_elements")

_TEXT, _WHOLE, _FLOAT, _AS_IT_IS = Text(), BigInteger(), DOUBLE(), NullType()
# With these the bound of what is compared lies above what was asked for, if it cannot be that.
_ABOVE = frozenset({Operator.LT, Operator.GE})
# Of a float: that it is an integer of 64 bits.
_IS_WHOLE = (
    "CAST({0} AS DOUBLE) = FLOOR(CAST({0} AS DOUBLE)) "
    "AND CAST({0} AS DOUBLE) >= -9223372036854775808e0 "
    "AND CAST({0} AS DOUBLE) < 9223372036854775808e0"
)
_SAME = frozenset({Operator.EQ, Operator.IN})


class _Introduced(Text):
    """A text that is written, as a constant, with its character set: see :data:`_LISTED`."""

    def literal_processor(self, dialect: Any) -> Any:
        """Return what writes a constant."""
        write: Callable[[Any], str] = cast("Any", super()).literal_processor(dialect)
        return lambda value: f"_utf8mb4{write(value)}"


def _path(steps: tuple[Step, ...], kind: TypeEngine[Any]) -> tuple[Bound, ...]:
    """Return the paths to each list of which an element is a step, and the whole path."""
    paths: list[str] = []
    path = "$"
    for step in steps:
        if isinstance(step, int):
            paths.append(path)
            path += f"[{step}]"
        else:
            path += f".{encode_json_text(step)}"
    return tuple([Bound(each, kind) for each in (*paths, path)])


def _number(operator: Operator, value: float) -> tuple[Bound, ...]:
    whole, real = _as_whole(operator, value), _as_float(operator, value)
    return Bound(whole, _WHOLE), Bound(real, _FLOAT)


def _as_whole(operator: Operator, value: float) -> int | None:
    """Return the integer to compare integers with in the place of a number."""
    whole = ceil(value) if operator in _ABOVE else floor(value)
    if operator in _SAME and whole != value:
        return None
    return min(max(whole, INT64_MIN - 1), INT64_MAX + 1)  # beyond all that are kept


def _as_float(operator: Operator, value: float) -> float | None:
    """Return the float to compare floats with in the place of a number."""
    real = float(value)
    if real == value:
        return real
    if operator in _SAME:
        return None
    if operator in _ABOVE:
        return nextafter(real, inf) if real < value else real
    return nextafter(real, -inf) if real > value else real


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    """What differs between the two products. In all of it ``{0}`` is a part, ``{1}`` a value."""

    collation: str
    types: str
    """What follows JSON_TYPE where it is compared."""
    whole: str
    """The test that a number is an integer."""
    real: str
    same: str
    """The test that a part equals a list or an object, which is bound as its text."""
    element: Callable[[Any], tuple[Bound, ...]]
    member: str
    """The test that a list has a text or a bool."""
    has_number: str
    literal: str = ""
    """What stands before a constant that may be a part of an index."""
    indexed: str = ""
    """The test that holds of each list with a text that an index has, and of some others."""

    @property
    def number(self) -> str:
        """The test that a part is a number, with places for a sign, integers and floats."""
        return (
            f"(CASE WHEN {self.whole} THEN CAST({{0}} AS DECIMAL(30, 0)) END %s (%s) "
            f"OR CASE WHEN {self.real} THEN CAST({{0}} AS DOUBLE) END %s (%s))"
        )


def _paths(product: _Product) -> Paths:
    """Return the paths of one of the two."""
    types, collation = product.types, product.collation

    def found(place: Place) -> ColumnElement[Any]:
        *lists, path = place.path
        if not lists:
            return Written("JSON_EXTRACT({0}, {1})", place.column, path)
        guards = " AND ".join(
            f"JSON_TYPE(JSON_EXTRACT({{0}}, {{{at}}})){types} = 'ARRAY'"
            for at in range(2, len(lists) + 2)
        )
        return Written(
            f"CASE WHEN {guards} THEN JSON_EXTRACT({{0}}, {{1}}) END", place.column, path, *lists
        )

    def typed(place: Place, name: str) -> ColumnElement[bool]:
        return condition(f"JSON_TYPE({{0}}){types} = '{name}'", found(place))

    def compared(
        place: Place, operator: Operator, bound: Sequence[tuple[ColumnElement[Any], ...]]
    ) -> ColumnElement[bool]:
        sign = "IN" if operator is Operator.IN else SIGNS[operator]
        wholes, reals = _places(1, len(bound)), _places(1 + len(bound), len(bound))
        return condition(
            product.number % (sign, wholes, sign, reals),
            found(place),
            *(each for each, _ in bound),
            *(each for _, each in bound),
        )

    def has(place: Place, form: Form, bound: tuple[ColumnElement[Any], ...]) -> ColumnElement[bool]:
        test = product.has_number if form == "number" else product.member
        if place.elements and form == "text" and product.indexed:
            test = f"{product.indexed} AND {test}"
            bound = (*bound, place.column)
        return condition(f"(JSON_TYPE({{0}}){types} = 'ARRAY' AND {test})", found(place), *bound)

    def term(text: str, kind: TypeEngine[Any]) -> Callable[[Place], ColumnElement[Any]]:
        return lambda place: Written(f"(CASE {text} END)", found(place), kind=kind)

    def as_text(place: Place) -> ColumnElement[Any]:
        return Written(
            f"(CASE WHEN JSON_TYPE({{0}}){types} = {product.literal}'STRING' "
            "THEN JSON_UNQUOTE({0}) END "
            f"COLLATE {collation})",
            found(place),
            kind=_TEXT,
        )

    def elements(
        column: ColumnElement[Any], kind: Kind
    ) -> tuple[FromClause, ColumnElement[Any], ColumnElement[bool]]:
        listed = Written(f"CASE WHEN JSON_TYPE({{0}}){types} = 'ARRAY' THEN {{0}} END", column)
        each: ColumnElement[Any] = literal_column("'$[*]' COLUMNS (v JSON PATH '$')")
        rows = func.JSON_TABLE(listed, each).table_valued("v", name="_element")
        fits, value = {
            Kind.INTEGER: (product.whole, "CAST({0} AS SIGNED)"),
            Kind.FLOAT: (f"({product.whole} OR {product.real})", "CAST({0} AS DOUBLE)"),
            Kind.BOOLEAN: (
                f"JSON_TYPE({{0}}){types} = 'BOOLEAN'",
                f"(JSON_UNQUOTE({{0}}) COLLATE {collation} = 'true')",
            ),
        }.get(
            kind,
            (
                f"JSON_TYPE({{0}}){types} = 'STRING'",
                f"(JSON_UNQUOTE({{0}}) COLLATE {collation})",
            ),
        )
        return rows, Written(value, rows.c.v), condition(f"({fits})", rows.c.v)

    return Paths(
        path=lambda steps: _path(steps, _Introduced() if product.literal else _TEXT),
        missing=lambda place: condition("{0} IS NULL", found(place)),
        null=lambda place: typed(place, "NULL"),
        truth=lambda place, value: condition(
            f"(JSON_TYPE({{0}}){types} = 'BOOLEAN' AND JSON_UNQUOTE({{0}}) COLLATE {collation} "
            f"= '{'true' if value else 'false'}')",
            found(place),
        ),
        text=lambda place: (true(), as_text(place)),
        number=_number,
        compared=compared,
        json=lambda value: Bound(encode_json_text(value), _TEXT),
        same=lambda place, value: condition(product.same, found(place), value),
        size=lambda place: Written(
            f"CASE WHEN JSON_TYPE({{0}}){types} = 'ARRAY' THEN JSON_LENGTH({{0}}) END",
            found(place),
            kind=_WHOLE,
        ),
        element=product.element,
        has=has,
        terms={
            Kind.INTEGER: term(
                f"WHEN {product.whole} THEN CAST({{0}} AS SIGNED) "
                f"WHEN {product.real} THEN CASE WHEN {_IS_WHOLE} THEN "
                "CAST(CAST({0} AS DOUBLE) + 0e0 AS SIGNED) END",  # -2^63 is an error without
                _WHOLE,
            ),
            Kind.FLOAT: term(
                f"WHEN {product.whole} OR {product.real} THEN CAST({{0}} AS DOUBLE)", _FLOAT
            ),
            Kind.TEXT: as_text,
            Kind.BOOLEAN: term(
                f"WHEN JSON_TYPE({{0}}){types} = {product.literal}'BOOLEAN' "
                f"THEN JSON_UNQUOTE({{0}}) COLLATE {collation} = {product.literal}'true'",
                TINYINT(),
            ),
            Kind.JSON: lambda place: Written("({0})", found(place), kind=_TEXT),
        },
        elements=elements,
        head=lambda text: Written(
            f"(CAST(SUBSTR({{0}}, 1, {TERM_HEAD}) AS CHAR({TERM_HEAD}) CHARACTER SET utf8mb4) "
            f"COLLATE {collation})",
            text,
            kind=_TEXT,
        ),
    )


def _places(start: int, count: int) -> str:
    return ", ".join(f"{{{at}}}" for at in range(start, start + count))


# What an index has of a list. An INSERT fails whose elements are no texts, are too long, or so many
# that the undo log has no room for them: of such a list there is a mark instead. A literal without
# its character set would have the connection's collation, and be another one than the index's; a
# test of null is left out for a column that is never null.
_LISTED = (
    "CASE WHEN LENGTH({0}) <= 512 AND JSON_SCHEMA_VALID(_utf8mb4"
    '\'{{"type": "array", "items": {{"type": "string", "maxLength": 64}}}}\', {0}) '
    "THEN JSON_EXTRACT({0}, _utf8mb4'$') WHEN LENGTH({0}) > 0 THEN JSON_ARRAY(_utf8mb4'?') END"
)


def mysql_elements(column: Column[Any]) -> Elements:
    """Return the index of the elements of a column's lists: of several values for each row."""
    return Elements(Written(f"(CAST({_LISTED} AS CHAR(64) ARRAY))", column), {})


_MEMBER = "CAST({1} AS JSON) MEMBER OF ({0})"
_BINARY = " COLLATE utf8mb4_0900_bin"  # JSON_TYPE has a collation of its own, which pads

MYSQL_PATHS = _paths(
    _Product(
        collation="utf8mb4_0900_bin",
        types=_BINARY,
        whole=f"JSON_TYPE({{0}}){_BINARY} IN (_utf8mb4'INTEGER', _utf8mb4'UNSIGNED INTEGER')",
        real=f"JSON_TYPE({{0}}){_BINARY} IN (_utf8mb4'DOUBLE', _utf8mb4'DECIMAL')",
        same="{0} = CAST({1} AS JSON)",
        element=lambda value: (Bound(encode_json_text(value), _TEXT),),
        member=_MEMBER,
        has_number=_MEMBER,
        literal="_utf8mb4",
        indexed=f"JSON_OVERLAPS({_LISTED.replace('{0}', '{2}')}, JSON_ARRAY(_utf8mb4'?', CAST({{1}} AS JSON)))",
    )
)


def _mariadb_element(value: Any) -> tuple[Bound, ...]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(Operator.EQ, value)
    return (Bound(encode_json_text([value]), _TEXT),)


# 1e300 is an INTEGER here. A number that is looked for in a list is rounded, by every function.
_MARIADB = _Product(
    collation="utf8mb4_nopad_bin",
    types="",
    whole="JSON_TYPE({0}) = 'INTEGER' AND LOCATE('e', {0}) = 0",
    real="(JSON_TYPE({0}) = 'DOUBLE' OR JSON_TYPE({0}) = 'INTEGER' AND LOCATE('e', {0}) > 0)",
    same="JSON_EQUALS({0}, {1}) = 1",  # by itself it holds where it is null
    element=_mariadb_element,
    member="JSON_OVERLAPS({0}, {1})",
    has_number="",
)


def _readable(column: ColumnElement[Any], clause: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the clause, which fails with error 1242 for JSON of more than 31 levels.

    To every function of JSON, which read no more, it would be null.
    """
    two = "SELECT v FROM JSON_TABLE('[1, 2]', '$[*]' COLUMNS (v INT PATH '$')) AS e"
    return Written(
        "CASE WHEN {0} IS NULL OR JSON_VALID({0}) THEN {1} "
        f"ELSE ({two} WHERE {{0}} IS NOT NULL) END",
        column,
        clause,
        kind=clause.type,
    )


MARIADB_PATHS = replace(
    _paths(
        replace(
            _MARIADB,
            has_number="EXISTS (SELECT 1 FROM JSON_TABLE({0}, '$[*]' COLUMNS (v JSON PATH '$')) AS e "
            f"WHERE {_MARIADB.number.replace('{0}', 'e.v') % ('=', '{1}', '=', '{2}')})",
        )
    ),
    readable=_readable,
)

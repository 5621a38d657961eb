"""Tests of a part of JSON as clauses; how a dialect reads JSON is its own :class:`Paths`.

A path is bound as values are: its keys may be any text, and are no part of a statement. What
remains of a test is how many steps there are, of which kinds, and of which form an operand is. A
term has its path in it, as constants: it is grouped by, and indexed, as the same expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from sqlalchemy import Column, ColumnElement, FromClause, and_, false, or_, true
from sqlalchemy.types import BigInteger, Boolean, Double, Integer, Text, TypeEngine

from healthstore.adapters.sql.clauses import Inline, Written, combined
from healthstore.model.query import TERM_HEAD, WHOLE, Operator, Step, Term, Test
from healthstore.model.values import Kind, Value

__all__ = (
    "ELEMENTS",
    "SIGNS",
    "Bound",
    "Columns",
    "Form",
    "Paths",
    "Place",
    "indexed_term",
    "is_plain",
    "part_bounds",
    "part_clause",
    "part_prepared",
    "part_shape",
    "term_column",
    "term_expression",
)

Form: TypeAlias = Literal["bool", "number", "text", "json"]
"""Of which type a value of JSON is, as far as a statement depends on it; lists are ``json``."""

SIGNS: Mapping[Operator, str] = {
    Operator.EQ: "=",
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.GE: ">=",
}
ELEMENTS = "elements"
"""What a column's ``info`` has under it if an index has the elements of its lists: True."""
_ELEMENTS = frozenset({Operator.HAS_ANY, Operator.HAS_ALL})


@dataclass(frozen=True, slots=True)
class Bound:
    """A value that a statement binds as one of a type, whatever the type of the field is."""

    value: Any
    type: TypeEngine[Any]


@dataclass(frozen=True, slots=True)
class Place:
    """A part of a column's JSON: the kinds of its steps, and what is bound for the path."""

    column: ColumnElement[Any]
    steps: tuple[type, ...]
    path: tuple[ColumnElement[Any], ...]
    plain: bool
    """Whether no key holds what JSON writes with a backslash."""
    elements: bool = False
    """Whether it is a whole column, and an index has the elements of its lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """How a dialect reads a part of JSON. A clause is null, or false, where the part is another.

    No clause raises an error, whatever is there, but what ``readable`` makes of it.
    """

    path: Callable[[tuple[Step, ...]], tuple[Bound, ...]]
    """What is bound for the steps of a path."""
    missing: Callable[[Place], ColumnElement[bool]]
    null: Callable[[Place], ColumnElement[bool]]
    truth: Callable[[Place, bool], ColumnElement[bool]]
    """The test that a part is this bool."""
    text: Callable[[Place], tuple[ColumnElement[bool], ColumnElement[Any]]]
    """The test that a part is a text, and that text."""
    number: Callable[[Operator, float], tuple[Bound, ...]]
    """What is bound for a number that a part is compared with by an operator."""
    compared: Callable[
        [Place, Operator, Sequence[tuple[ColumnElement[Any], ...]]], ColumnElement[bool]
    ]
    """The comparison of a part with a number; with one of several for ``IN``."""
    json: Callable[[Value], Bound]
    """What is bound for a list or an object."""
    same: Callable[[Place, ColumnElement[Any]], ColumnElement[bool]]
    """The test that a part equals it."""
    size: Callable[[Place], ColumnElement[Any]]
    """The number of a list's elements; null for what is no list."""
    element: Callable[[Value], tuple[Bound, ...]]
    """What is bound for an element that is looked for."""
    has: Callable[[Place, Form, tuple[ColumnElement[Any], ...]], ColumnElement[bool]]
    """The test that a list has it."""
    terms: Mapping[Kind, Callable[[Place], ColumnElement[Any]]]
    """A part as a value of a kind, as a column of that kind has it; null where there is none."""
    elements: Callable[
        [ColumnElement[Any], Kind], tuple[FromClause, ColumnElement[Any], ColumnElement[bool]]
    ]
    """The elements of a column's list as rows beside those of its table, none of what is no list;
    the value of one as of a kind; and the test that it is of that kind."""
    head: Callable[[ColumnElement[Any]], ColumnElement[Any]] = lambda text: Written(
        f"substr({{0}}, 1, {TERM_HEAD})", text, kind=Text()
    )
    """The beginning of a text, as an index has it."""
    boolean: Callable[[bool], Bound] = lambda value: Bound(int(value), Integer())
    """What is bound for a bool that a term is compared with."""
    readable: Callable[[ColumnElement[Any], ColumnElement[Any]], ColumnElement[Any]] = (
        lambda _, clause: clause
    )
    """The same clause of a column, which fails for JSON that the database would take for none."""


def term_expression(term: Term, column: ColumnElement[Any], paths: Paths) -> ColumnElement[Any]:
    """Return a term as an expression without parameters, always of the same text."""
    path = tuple([Inline(each.value, each.type) for each in paths.path(term.steps)])
    kinds = tuple([type(step) for step in term.steps])
    return paths.terms[term.kind](Place(column, kinds, path, is_plain(term.steps)))


def indexed_term(term: Term, column: ColumnElement[Any], paths: Paths) -> ColumnElement[Any]:
    """Return what an index has of a term: a value, or the beginning of a text."""
    found = term_expression(term, column, paths)
    return paths.head(found) if term.kind is Kind.TEXT else found


def term_column(term: Term, column: ColumnElement[Any], paths: Paths) -> ColumnElement[Any]:
    """Return a term as a column of a statement, which fails for JSON that cannot be read."""
    return paths.readable(column, term_expression(term, column, paths))


Bind: TypeAlias = Callable[[Bound], ColumnElement[Any]]


@dataclass(frozen=True, slots=True)
class Columns:
    """How tests of a column are written, and what they bind: a text and a size are tested so."""

    clause: Callable[
        [ColumnElement[Any], Test, Callable[[str | None, Any], ColumnElement[Any]]],
        ColumnElement[bool],
    ]
    operands: Callable[[Test], Iterator[tuple[str | None, Any]]]


_TEXT, _SIZE, _LENGTH = Text(), BigInteger(), Integer()
_TERMS: Mapping[Kind, TypeEngine[Any]] = {
    Kind.INTEGER: _SIZE,
    Kind.FLOAT: Double(),
    Kind.TEXT: _TEXT,
    Kind.BOOLEAN: Boolean(),
}


def _form(value: Value) -> Form:
    """Return the form of a canonical value of JSON that is not None."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "json"


def _values(test: Test) -> tuple[Value, ...]:
    """Return what a test in normal form compares with: nothing, a value, or some."""
    if isinstance(test.operand, tuple):
        return test.operand
    return () if test.operand is None else (cast(Value, test.operand),)


def _as_column(test: Test) -> TypeEngine[Any] | None:
    """Return the type of the column as which a part is tested: a size, a text; None of others."""
    if test.part is not None and test.part.kind is not None:
        return _TERMS[test.part.kind]
    if test.part is not None and test.part.size:
        return _SIZE
    texts = [each for each in _values(test) if isinstance(each, str)]
    return _TEXT if texts and test.operator not in _ELEMENTS else None


def _bound(name: str | None, value: Any, kind: TypeEngine[Any], paths: Paths) -> Bound:
    """Return what is bound for a value, or, without a name, for a length."""
    if name is None:
        return Bound(value, _LENGTH)
    return paths.boolean(value) if isinstance(value, bool) else Bound(value, kind)


def is_plain(steps: tuple[Step, ...]) -> bool:
    """Tell whether no key of a path holds what JSON writes with a backslash."""
    return not any(
        character < " " or character in '"\\'
        for step in steps
        if isinstance(step, str)
        for character in step
    )


def part_prepared(test: Test, pad: Callable[[tuple[Value, ...]], tuple[Value, ...]]) -> Test:
    """Return a test whose lists have few lengths, elements that are looked for one form at a time."""
    if not isinstance(test.operand, tuple):
        return test
    values = test.operand
    if test.operator in _ELEMENTS:
        values = tuple(sorted(values, key=_form))
    return test.held(test.operator, pad(values))


def part_shape(test: Test) -> object:
    """Return what remains of a test of a part without its path and its values."""
    part = test.part or WHOLE
    if part.kind is not None:  # a term has its path in it
        return test.field, test.operator, part, len(_values(test))
    # A statement has its own words for either bool.
    forms = tuple([each if isinstance(each, bool) else _form(each) for each in _values(test)])
    kinds = tuple([type(step) for step in part.steps])
    return test.field, test.operator, forms, kinds, is_plain(part.steps), part.size


def part_bounds(test: Test, paths: Paths, columns: Columns) -> Iterator[Bound]:
    """Yield what a test of a part binds, in order."""
    part = test.part or WHOLE
    if part.kind is None:
        yield from paths.path(part.steps)
    kind = _as_column(test)
    if kind is not None:
        for name, value in columns.operands(Test(test.field, test.operator, test.operand)):
            yield _bound(name, value, kind, paths)
        return
    for value in _values(test):
        if test.operator in _ELEMENTS:
            yield from paths.element(value)
        elif _form(value) == "number":
            yield from paths.number(test.operator, cast(float, value))
        elif _form(value) == "json":
            yield paths.json(value)


def part_clause(
    test: Test, column: ColumnElement[Any], paths: Paths, columns: Columns, bind: Bind
) -> ColumnElement[bool]:
    """Return the clause of a test of a part; ``bind`` is asked in the order of the bounds."""
    part = test.part or WHOLE
    if part.kind is None:
        clause = _clause(test, column, paths, columns, bind)
    else:
        read = indexed_term if part.head else term_expression
        found = read(Term(test.field, part.steps, part.kind), column, paths)
        clause = _held(test, found, _TERMS[part.kind], paths, columns, bind)
    return paths.readable(column, clause)


def _clause(
    test: Test, column: ColumnElement[Any], paths: Paths, columns: Columns, bind: Bind
) -> ColumnElement[bool]:
    part = test.part or WHOLE
    path = tuple([bind(each) for each in paths.path(part.steps)])
    kinds = tuple([type(step) for step in part.steps])
    elements = not kinds and any(
        cast("Column[Any]", each).info.get(ELEMENTS) for each in column.base_columns
    )
    place = Place(column, kinds, path, is_plain(part.steps), elements)
    kind = _as_column(test)
    if kind is not None:
        return _of_column(test, place, kind, paths, columns, bind)
    if test.operator in _ELEMENTS:
        return _of_elements(test, place, paths, bind)
    values = _values(test)
    if not values:
        return (paths.null if test.operator is Operator.IS_NULL else paths.missing)(place)
    if isinstance(values[0], bool):
        return paths.truth(place, values[0])
    if _form(values[0]) == "json":
        return paths.same(place, bind(paths.json(values[0])))
    numbers = cast("tuple[float, ...]", values)
    bound = [tuple([bind(part) for part in paths.number(test.operator, each)]) for each in numbers]
    return paths.compared(place, test.operator, bound)


def _of_column(  # noqa: PLR0913, PLR0917 - a part of what is above
    test: Test,
    place: Place,
    kind: TypeEngine[Any],
    paths: Paths,
    columns: Columns,
    bind: Bind,
) -> ColumnElement[bool]:
    if kind is _SIZE:
        return _held(test, paths.size(place), kind, paths, columns, bind)
    is_text, text = paths.text(place)
    return and_(is_text, _held(test, text, kind, paths, columns, bind))


def _held(  # noqa: PLR0913, PLR0917 - as above
    test: Test,
    found: ColumnElement[Any],
    kind: TypeEngine[Any],
    paths: Paths,
    columns: Columns,
    bind: Bind,
) -> ColumnElement[bool]:
    """Return the clause of a test of what is as a column of a type."""

    def operand(name: str | None, value: Any) -> ColumnElement[Any]:
        return bind(_bound(name, value, kind, paths))

    return columns.clause(found, Test(test.field, test.operator, test.operand), operand)


def _of_elements(test: Test, place: Place, paths: Paths, bind: Bind) -> ColumnElement[bool]:
    clauses: list[ColumnElement[bool]] = []
    for value in _values(test):
        bound = tuple([bind(each) for each in paths.element(value)])
        clauses.append(paths.has(place, _form(value), bound))
    if test.operator is Operator.HAS_ALL:
        return combined(and_, true(), clauses)
    return combined(or_, false(), clauses)

"""Filters in normal form as clauses, and their values as parameters.

Short lists of values are padded to a power of two, so that there are few shapes. A long list
is one parameter, of which the dialect makes a list again: the shape does not depend on its
length, and no database's limit of parameters is met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import eq, ge, gt, le, lt, ne
from typing import Any, TypeAlias, cast

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    and_,
    exists,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
)

from healthstore.adapters.sql.clauses import combined, condition
from healthstore.adapters.sql.dialect import Dialect
from healthstore.adapters.sql.paths import (
    Bound,
    Columns,
    part_bounds,
    part_clause,
    part_prepared,
    part_shape,
)
from healthstore.errors import InvalidRequestError
from healthstore.model.hidden import on_hidden
from healthstore.model.narrowing import narrowed
from healthstore.model.query import (
    MATCHING,
    PLURAL,
    And,
    Filter,
    Lookup,
    Not,
    Operator,
    OtherField,
    Test,
)
from healthstore.model.schema import Collection
from healthstore.model.values import FieldType, Value

__all__ = (
    "FIELD_TYPE",
    "Many",
    "Operand",
    "column_clause",
    "listed",
    "operands",
    "prepared",
    "shape",
    "test_operands",
    "where_clause",
)

Shape: TypeAlias = object
# From a field's name and a value, or Many values, to what stands for it. What is bound as of a
# type of its own has no name, and neither has a length.
Operand: TypeAlias = Callable[["str | None", "Value | Many | Bound"], ColumnElement[Any]]
# From the collection of a query inside the filter to its table, under a name of its own, and what
# stands for the values of its fields.
Inside: TypeAlias = Callable[[Collection], "tuple[FromClause, Operand]"]

FIELD_TYPE = "field type"
"""What a column's ``info`` has its field's type under."""
# From here on one parameter for the whole list is as fast as one for each value, everywhere.
_LISTED = 64


class Many(tuple[Value, ...]):
    """Values that are one parameter."""

    __slots__ = ()


def where_clause(
    where: Filter,
    table: FromClause,
    dialect: Dialect,
    operand: Operand,
    inside: Inside | None = None,
) -> ColumnElement[bool]:
    """Return the clause of a filter in normal form.

    ``operand`` is asked for each value in the order of :func:`operands`, and ``inside`` for each
    query inside the filter: without it there is none. The filter has no negation but of parts,
    and its tests hold for no null, so SQL's unknown counts as false throughout.
    """
    if isinstance(where, Test):
        column = cast("Column[Any]", table.c[where.field])
        if where.part is not None:
            return part_clause(
                where, column, dialect.paths, _columns(dialect), lambda each: operand(None, each)
            )
        if isinstance(where.operand, Lookup):
            assert inside is not None, "a check looks nothing up"
            return _looked_up(column, where, where.operand, dialect, inside)
        return _TESTS[where.operator](column, where, dialect, operand)
    if isinstance(where, Not):
        if not isinstance(where.item, Test) or where.item.part is None:
            raise InvalidRequestError("the filter is not in normal form", hint="use the guard")
        held = where_clause(where.item, table, dialect, operand, inside)
        return condition("NOT COALESCE({0}, FALSE)", held)
    parts = [where_clause(item, table, dialect, operand, inside) for item in where.items]
    combine, empty = (and_, true()) if isinstance(where, And) else (or_, false())
    return combined(combine, empty, parts)


def _columns(dialect: Dialect) -> Columns:
    return Columns(
        lambda column, test, operand: _TESTS[test.operator](column, test, dialect, operand),
        test_operands,
    )


_Build: TypeAlias = Callable[[ColumnElement[Any], Test, Dialect, Operand], ColumnElement[bool]]


def _comparison(compare: Callable[[Any, Any], Any]) -> _Build:
    def build(
        column: ColumnElement[Any], test: Test, dialect: Dialect, operand: Operand
    ) -> ColumnElement[bool]:
        if isinstance(test.operand, OtherField):
            one = cast("Column[Any]", column)
            other: Column[Any] = one.table.c[test.operand.name]
            return cast("ColumnElement[bool]", compare(*_alike(one, other, dialect)))
        value = operand(test.field, cast(Value, test.operand))
        return cast("ColumnElement[bool]", compare(column, value))

    return build


def _looked_up(
    column: Column[Any], test: Test, lookup: Lookup, dialect: Dialect, inside: Inside
) -> ColumnElement[bool]:
    """Return the clause for a field among what another query finds, which is no null.

    So NOT IN is what it says; but a database may go through its list for each row.
    """
    other, operand = inside(lookup.collection)
    clause = where_clause(lookup.where, other, dialect, operand, inside)
    if not lookup.nulls:
        chosen = cast("Column[Any]", other.c[lookup.field])
        mine, theirs = _alike(column, chosen, dialect)
        listed = select(theirs).select_from(other).where(clause)
        if test.operator is Operator.IN:
            return mine.in_(listed)
        if dialect.lists_lookups:
            return mine.not_in(listed)
        clause = and_(mine == theirs, clause)
    found = exists(literal_column("1")).select_from(other).where(clause).correlate(column.table)
    return found if test.operator is Operator.IN else not_(found)


def _alike(
    one: Column[Any], other: Column[Any], dialect: Dialect
) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return the values of two columns in one form: decimals of other digits may have another."""
    first, second = _type_of(one), _type_of(other)
    digits = max(first.digits, second.digits)
    return dialect.widened(one, first, digits), dialect.widened(other, second, digits)


def _type_of(column: Column[Any]) -> FieldType:
    """Return the type of a column's field; only the table itself knows it, not its other names."""
    (base,) = column.base_columns
    return cast(FieldType, cast("Column[Any]", base).info[FIELD_TYPE])


def _membership(
    column: ColumnElement[Any], test: Test, dialect: Dialect, operand: Operand
) -> ColumnElement[bool]:
    if isinstance(test.operand, Many):
        return dialect.among(column, operand(test.field, test.operand))
    values = cast("tuple[Value, ...]", test.operand)
    bound = [operand(test.field, value) for value in values]
    return column == bound[0] if len(bound) == 1 else column.in_(bound)


def _contains(
    column: ColumnElement[Any], test: Test, dialect: Dialect, operand: Operand
) -> ColumnElement[bool]:
    return dialect.contains(column, operand(test.field, cast(Value, test.operand)))


def _starts(
    column: ColumnElement[Any], test: Test, _: Dialect, operand: Operand
) -> ColumnElement[bool]:
    text = cast(str, test.operand)
    # The first part is implied by the second, and can use an index.
    bound = column >= operand(test.field, text)
    head = func.substr(column, literal_column("1"), operand(None, len(text)))
    return and_(bound, head == operand(test.field, text))


def _ends(
    column: ColumnElement[Any], test: Test, dialect: Dialect, operand: Operand
) -> ColumnElement[bool]:
    text = cast(str, test.operand)
    return dialect.ends(column, operand(test.field, text), operand(None, len(text)))


def _matches(
    column: ColumnElement[Any], test: Test, dialect: Dialect, operand: Operand
) -> ColumnElement[bool]:
    return dialect.matches(column, operand(test.field, cast(Value, test.operand)))


def _negated(build: _Build) -> _Build:
    def negated(
        column: ColumnElement[Any], test: Test, dialect: Dialect, operand: Operand
    ) -> ColumnElement[bool]:
        return not_(build(column, test, dialect, operand))

    return negated


_TESTS: dict[Operator, _Build] = {
    Operator.EQ: _comparison(eq),
    Operator.NE: _comparison(ne),
    Operator.LT: _comparison(lt),
    Operator.LE: _comparison(le),
    Operator.GT: _comparison(gt),
    Operator.GE: _comparison(ge),
    Operator.IN: _membership,
    Operator.NOT_IN: _negated(_membership),
    Operator.IS_NULL: lambda column, *_: column.is_(None),
    Operator.NOT_NULL: lambda column, *_: column.is_not(None),
    Operator.CONTAINS: _contains,
    Operator.NOT_CONTAINS: _negated(_contains),
    Operator.STARTS: _starts,
    Operator.NOT_STARTS: _negated(_starts),
    Operator.ENDS: _ends,
    Operator.NOT_ENDS: _negated(_ends),
    Operator.MATCHES: _matches,
    Operator.NOT_MATCHES: _negated(_matches),
}


def column_clause(
    test: Test, column: ColumnElement[Any], dialect: Dialect, operand: Operand
) -> ColumnElement[bool]:
    """Return the clause of a test, with values, of something that a statement computes.

    ``operand`` is asked for each value in the order of :func:`test_operands`.
    """
    return _TESTS[test.operator](column, test, dialect, operand)


_WITHOUT_OPERAND = frozenset({Operator.IS_NULL, Operator.NOT_NULL})
_STARTS = frozenset({Operator.STARTS, Operator.NOT_STARTS})
_ENDS = frozenset({Operator.ENDS, Operator.NOT_ENDS})


def operands(
    where: Filter, collection: Collection, dialect: Dialect
) -> Iterator[tuple[Collection, str | None, Value | Many | Bound]]:
    """Yield what a filter binds, in order, with whose fields they are (None: see ``Operand``)."""
    if not isinstance(where, Test):
        for item in (where.item,) if isinstance(where, Not) else where.items:
            yield from operands(item, collection, dialect)
    elif where.part is not None:
        bounds = part_bounds(where, dialect.paths, _columns(dialect))
        yield from ((collection, None, each) for each in bounds)
    elif isinstance(where.operand, Lookup):
        yield from operands(where.operand.where, where.operand.collection, dialect)
    else:
        yield from ((collection, *each) for each in test_operands(where))


def test_operands(where: Test) -> Iterator[tuple[str | None, Value | Many]]:
    """Yield what a test of a column binds."""
    if isinstance(where.operand, Many):
        yield where.field, where.operand
    elif where.operator in PLURAL:
        for value in cast("tuple[Value, ...]", where.operand):
            yield where.field, value
    elif where.operator not in _WITHOUT_OPERAND and not isinstance(where.operand, OtherField):
        value = cast(Value, where.operand)
        yield where.field, value
        if where.operator in _STARTS:
            yield None, len(cast(str, value))
            yield where.field, value
        elif where.operator in _ENDS:
            yield None, len(cast(str, value))


def shape(where: Filter) -> Shape:
    """Return what remains of a filter without its values."""
    if isinstance(where, Test):
        return _test_shape(where) if where.part is None else part_shape(where)
    if isinstance(where, Not):
        return (Not, shape(where.item))
    return (type(where), *(shape(item) for item in where.items))


def _test_shape(where: Test) -> Shape:
    if isinstance(where.operand, Many):
        return (where.field, where.operator, Many)
    if isinstance(where.operand, OtherField):
        return (where.field, where.operator, where.operand)
    if isinstance(where.operand, Lookup):
        return (where.field, where.operator, *_lookup_shape(where.operand))
    size = len(cast("tuple[Value, ...]", where.operand)) if where.operator in PLURAL else 0
    return (where.field, where.operator, size)


def _lookup_shape(lookup: Lookup) -> tuple[object, ...]:
    return (lookup.collection, lookup.field, lookup.nulls, shape(lookup.where))


def listed(field: str, values: Sequence[Value]) -> Test:
    """Return the prepared test that a field has one of at least one value."""
    kept = _pad(tuple(values)) if len(values) <= _LISTED else Many(values)
    return Test(field, Operator.IN, kept)


def prepared(where: Filter, collection: Collection, dialect: Dialect) -> Filter:
    """Return the filter with short lists of values padded, and long ones as :class:`Many`.

    Of many lists, which together are more than the dialect's parameters, short ones are Many, too.
    A pattern is written for the database. Tests that an index of a term serves have it beside them,
    and what ignores case is a test of a hidden field.
    """
    if dialect.indexes_terms:
        where = narrowed(where, collection)
    ready = _prepared(where, dialect, _LISTED)
    few = sum(1 for _ in operands(ready, collection, dialect)) <= dialect.max_parameters
    return ready if few else _prepared(where, dialect, 1)


def _prepared(where: Filter, dialect: Dialect, most: int) -> Filter:
    if isinstance(where, Test):
        where = on_hidden(where)
        if where.part is not None:
            return part_prepared(where, _pad)
        if where.operator not in PLURAL:
            return _written(where, dialect) if where.operator in MATCHING else where
        if isinstance(where.operand, Lookup):
            inner = replace(where.operand, where=_prepared(where.operand.where, dialect, most))
            return Test(where.field, where.operator, inner)
        values = cast("tuple[Value, ...]", where.operand)
        kept = _pad(values) if len(values) <= most else Many(values)
        return Test(where.field, where.operator, kept)
    if isinstance(where, Not):
        return Not(_prepared(where.item, dialect, most))
    return type(where)(tuple(_prepared(item, dialect, most) for item in where.items))


def _written(test: Test, dialect: Dialect) -> Test:
    return Test(test.field, test.operator, dialect.pattern(cast(str, test.operand)))


def _pad(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return the values, the last one repeated until their number is a power of two."""
    size = 1 << (len(values) - 1).bit_length()
    return (*values, *(values[-1:] * (size - len(values))))

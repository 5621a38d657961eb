"""From the shape of an operation to a statement, compiled once; values are bound separately.

SQLAlchemy Core writes the text. A shape is what remains of an operation without its values,
so that operations of one shape share one statement; lists of values are padded to a power of
two, so that there are few shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import eq, ge, gt, itemgetter, le, lt, ne
from typing import Any, TypeAlias, cast

from sqlalchemy import (
    Boolean,
    ClauseElement,
    ColumnElement,
    Integer,
    Table,
    TextClause,
    and_,
    asc,
    bindparam,
    delete,
    desc,
    false,
    func,
    insert,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.ext.compiler import compiles

from healthstore.adapters.sql.dialect import BulkInsert, Converter, Dialect
from healthstore.errors import InvalidRequestError
from healthstore.model.ops import Aggregate, Function, Measure
from healthstore.model.query import PLURAL, And, Filter, Not, Operator, Order, Test
from healthstore.model.schema import Collection
from healthstore.model.values import SORTED_TEXT, Document, FieldType, Kind, Value

__all__ = ("Compiled", "Statements", "operands", "pad", "padded", "shape", "where_clause")

Shape: TypeAlias = object
# From a field's name and a value, or None and a length, to what stands for it in a statement.
Operand: TypeAlias = Callable[["str | None", Value], ColumnElement[Any]]

_INTEGER = Integer()
_CHAIN = 100  # SQLite's parser nests a chain; 1,000 levels are its limit


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement's text, and the places of its parameters in the list of values."""

    sql: str
    places: tuple[int, ...]

    def bind(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the parameters in the order of the placeholders."""
        return [values[place] for place in self.places]


class Statements:
    """The statements of one collection on one dialect, each compiled at first use."""

    def __init__(self, collection: Collection, table: Table, dialect: Dialect) -> None:
        self.collection = collection
        self._table = table
        self._dialect = dialect
        self._compiled: dict[Shape, Compiled] = {}
        self._encoders = _converters(collection, dialect.encoders)
        self._decoders = _converters(collection, dialect.decoders)
        self._values_of = itemgetter(*collection.names)
        self.bulk = self._bulk()

    # --- rows ------------------------------------------------------------------------------

    def rows(self, documents: Sequence[Document]) -> list[tuple[Any, ...]]:
        """Return documents as the driver takes them, values in the order of the columns."""
        return self._convert(map(self._values_of, documents), self._encoders)

    def documents(self, rows: Iterable[Sequence[Any]]) -> tuple[Document, ...]:
        """Return the documents of a driver's rows."""
        names = self.collection.names
        return tuple(
            dict(zip(names, row, strict=True)) for row in self._convert(rows, self._decoders)
        )

    def _convert(
        self, rows: Iterable[Sequence[Any]], converters: Mapping[str, Converter | None]
    ) -> list[tuple[Any, ...]]:
        """Convert column by column: that takes two thirds of the time of row by row."""
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        if not columns:
            return []
        for place, (each, convert) in enumerate(
            zip(self.collection.fields, converters.values(), strict=True)
        ):
            if convert is None:
                continue
            if each.nullable:
                columns[place] = [
                    None if value is None else convert(value) for value in columns[place]
                ]
            else:
                columns[place] = list(map(convert, columns[place]))
        return list(zip(*columns, strict=True))

    def encode(self, name: str, value: Value) -> Any:
        """Return one value as the driver takes it."""
        encode = self._encoders[name]
        return value if encode is None or value is None else encode(value)

    # --- statements ------------------------------------------------------------------------

    def get(self, count: int, *, lock: bool = False) -> Compiled:
        """Select documents by ``count`` ids (see :func:`padded`)."""

        def build() -> ClauseElement:
            ids = [_parameter(place, self._table.c.id) for place in range(count)]
            statement = select(*self._table.c).where(_among(self._table.c.id, ids))
            return statement.with_for_update() if lock else statement

        return self._compile(("get", count, lock), build)

    def find(
        self, where: Filter, order: Sequence[Order], limit: int, *, whole: bool
    ) -> tuple[Compiled, Sequence[Any]]:
        """Select documents by a filter, in order: by ``whole`` texts, or by their heads."""

        def build() -> ClauseElement:
            clause, count = self._where(where)
            keys = [self._key(each, whole=whole) for each in order]
            statement = select(*self._table.c).where(clause).order_by(*keys)
            return statement.suffix_with(_limit(count))

        where = padded(where)
        compiled = self._compile(("find", shape(where), tuple(order), whole), build)
        return compiled, compiled.bind([*self._values(where), limit])

    def count(self, where: Filter) -> tuple[Compiled, Sequence[Any]]:
        """Count the documents that satisfy a filter."""

        def build() -> ClauseElement:
            clause, _ = self._where(where)
            return select(func.count()).select_from(self._table).where(clause)

        where = padded(where)
        compiled = self._compile(("count", shape(where)), build)
        return compiled, compiled.bind(self._values(where))

    def aggregate(self, op: Aggregate) -> tuple[Compiled, Sequence[Any]]:
        """Select a group's key and the columns of its measures."""

        def build() -> ClauseElement:
            clause, count = self._where(where)
            key = [self._table.c[name] for name in op.group]
            columns = [column for each in op.measures for column in self.measure(each)]
            statement = select(*key, *columns).select_from(self._table).where(clause)
            if not key:
                return statement
            return statement.group_by(*key).suffix_with(_limit(count))

        where = padded(op.where)
        compiled = self._compile(("aggregate", shape(where), op.group, op.measures), build)
        return compiled, compiled.bind([*self._values(where), op.limit + 1])

    def measure(self, measure: Measure) -> tuple[ColumnElement[Any], ...]:
        """Return the columns from which a measure is computed."""
        if measure.field is None:
            return (func.count(),)
        column = self._table.c[measure.field]
        if measure.function is Function.SUM:
            return self._dialect.sum_columns(column, self.collection.field(measure.field).type)
        return (_FUNCTIONS[measure.function](column),)

    def measured(self, measure: Measure, values: Sequence[Any]) -> Value:
        """Return a measure from the values of its columns."""
        if measure.field is None or measure.function is Function.COUNT:
            return int(values[0])
        kind = self.collection.field(measure.field).type
        if measure.function is Function.SUM:
            return cast(Value, self._dialect.sum_value(kind, values))
        return self.decode(measure.field, values[0])

    def decode(self, name: str, value: Any) -> Value:
        """Return the canonical value of one driver's value."""
        decode = self._decoders[name]
        return cast(Value, value if decode is None or value is None else decode(value))

    def update(self, names: Sequence[str], *, versioned: bool) -> Compiled:
        """Set ``names`` where the id, and the version if ``versioned``, are the last values."""

        def build() -> ClauseElement:
            table = self._table
            sets = {name: _parameter(place, table.c[name]) for place, name in enumerate(names)}
            clause: ColumnElement[bool] = table.c.id == _parameter(len(names), table.c.id)
            if versioned:
                clause = and_(
                    clause, table.c.version == _parameter(len(names) + 1, table.c.version)
                )
            return update(table).where(clause).values(sets)

        return self._compile(("update", tuple(names), versioned), build)

    def patch(self, sets: Sequence[str], increments: Sequence[str], *, versioned: bool) -> Compiled:
        """Set and increment one document, guarded, and return it."""

        def build() -> ClauseElement:
            table = self._table
            values: dict[str, ColumnElement[Any]] = {}
            for place, name in enumerate((*sets, *increments)):
                parameter = _parameter(place, table.c[name])
                values[name] = parameter if name in sets else table.c[name] + parameter
            place = len(values)
            clause: ColumnElement[bool] = table.c.id == _parameter(place, table.c.id)
            if versioned:
                clause = and_(clause, table.c.version == _parameter(place + 1, table.c.version))
            for name in increments:
                if self.collection.nullable(name):
                    clause = and_(clause, table.c[name].is_not(None))
            return update(table).where(clause).values(values).returning(*table.c)

        return self._compile(("patch", tuple(sets), tuple(increments), versioned), build)

    def referring(self, field: str, count: int) -> Compiled:
        """Select, and lock, the ids of rows that refer to ``count`` ids."""

        def build() -> ClauseElement:
            column = self._table.c[field]
            ids = [_parameter(place, self._table.c.id) for place in range(count)]
            return select(self._table.c.id).where(_among(column, ids)).with_for_update()

        return self._compile(("referring", field, count), build)

    def delete(self, count: int, *, versioned: bool = False) -> Compiled:
        """Delete documents by ``count`` ids, or one by id and version."""

        def build() -> ClauseElement:
            table = self._table
            ids = [_parameter(place, table.c.id) for place in range(count)]
            clause = _among(table.c.id, ids)
            if versioned:
                clause = and_(clause, table.c.version == _parameter(count, table.c.version))
            return delete(table).where(clause)

        return self._compile(("delete", count, versioned), build)

    # --- parts -----------------------------------------------------------------------------

    def _bulk(self) -> BulkInsert:
        def build() -> ClauseElement:
            values = {
                name: _parameter(place, self._table.c[name])
                for place, name in enumerate(self.collection.names)
            }
            return insert(self._table).values(values)

        single = self._compile(("insert",), build)
        head, _, _ = single.sql.partition(" VALUES ")
        return BulkInsert(self._table.name, self.collection.names, f"{head} VALUES ", single.sql)

    def _compile(self, key: Shape, build: Callable[[], ClauseElement]) -> Compiled:
        compiled = self._compiled.get(key)
        if compiled is None:
            written = build().compile(dialect=self._dialect.compiler)
            order = cast("Any", written).positiontup
            compiled = Compiled(str(written), tuple(int(name) for name in order))
            self._compiled[key] = compiled
        return compiled

    def _where(self, where: Filter) -> tuple[ColumnElement[bool], int]:
        """Return the clause of a filter and how many values it binds."""
        count = 0

        def parameter(name: str | None, _: Value) -> ColumnElement[Any]:
            nonlocal count
            kind = _INTEGER if name is None else self._table.c[name].type
            bound: ColumnElement[Any] = bindparam(str(count), type_=kind)
            count += 1
            return bound

        return where_clause(where, self._table, self._dialect, parameter), count

    def _values(self, where: Filter) -> list[Any]:
        """Return the values of a filter, encoded, in the order in which it binds them."""
        values = [
            value if name is None else self.encode(name, value) for name, value in operands(where)
        ]
        if len(values) > self._dialect.max_parameters:
            raise InvalidRequestError(
                "the filter holds too many values: lists are padded to a power of two, and the "
                f"database takes {self._dialect.max_parameters} in all",
                hint="split the list of values over several queries",
            )
        return values

    def _key(self, order: Order, *, whole: bool) -> ColumnElement[Any]:
        column: ColumnElement[Any] = self._table.c[order.field]
        if not whole and self.collection.field(order.field).type.sorted_by_head:
            column = func.substr(column, literal_column("1"), literal_column(str(SORTED_TEXT)))
        key: ColumnElement[Any] = desc(column) if order.descending else asc(column)
        if self._dialect.rank_nulls and self.collection.nullable(order.field):
            key = key.nulls_last() if order.descending else key.nulls_first()
        return key


def _converters(
    collection: Collection, table: Mapping[Kind, Callable[[FieldType], Converter | None]]
) -> dict[str, Converter | None]:
    return {each.name: table[each.type.kind](each.type) for each in collection.fields}


def where_clause(
    where: Filter, table: Table, dialect: Dialect, operand: Operand
) -> ColumnElement[bool]:
    """Return the clause of a filter in normal form.

    ``operand`` is asked for each value in the order of :func:`operands`. The filter has no
    negation and its tests hold for no null, so SQL's unknown counts as false throughout.
    """
    if isinstance(where, Test):
        return _TESTS[where.operator](table.c[where.field], where, dialect, operand)
    if isinstance(where, Not):
        raise InvalidRequestError("the filter is not in normal form", hint="use the guard")
    parts = [where_clause(item, table, dialect, operand) for item in where.items]
    combine, empty = (and_, true()) if isinstance(where, And) else (or_, false())
    return _combined(combine, empty, parts)


class _Group(ColumnElement[bool]):
    """A clause in parentheses; SQLAlchemy's own grouping is undone when clauses are combined."""

    inherit_cache = False
    type = Boolean()

    def __init__(self, inner: ColumnElement[bool]) -> None:
        self.inner = inner


@compiles(_Group)
def _write_group(group: _Group, compiler: Any, **options: Any) -> str:
    return f"({compiler.process(group.inner, **options)})"


def _combined(
    combine: Callable[..., ColumnElement[bool]],
    empty: ColumnElement[bool],
    parts: list[ColumnElement[bool]],
) -> ColumnElement[bool]:
    """Combine clauses; many of them in groups, because databases limit the depth of a chain."""
    while len(parts) > _CHAIN:
        groups = [parts[start : start + _CHAIN] for start in range(0, len(parts), _CHAIN)]
        parts = [_Group(combine(*group)) for group in groups]
    return combine(empty, *parts)


_Build: TypeAlias = Callable[[ColumnElement[Any], Test, Dialect, Operand], ColumnElement[bool]]


def _comparison(compare: Callable[[Any, Any], Any]) -> _Build:
    def build(
        column: ColumnElement[Any], test: Test, _: Dialect, operand: Operand
    ) -> ColumnElement[bool]:
        value = operand(test.field, cast(Value, test.operand))
        return cast("ColumnElement[bool]", compare(column, value))

    return build


def _membership(
    column: ColumnElement[Any], test: Test, _: Dialect, operand: Operand
) -> ColumnElement[bool]:
    values = cast("tuple[Value, ...]", test.operand)
    return _among(column, [operand(test.field, value) for value in values])


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
}
_WITHOUT_OPERAND = frozenset({Operator.IS_NULL, Operator.NOT_NULL})
_STARTS = frozenset({Operator.STARTS, Operator.NOT_STARTS})
_ENDS = frozenset({Operator.ENDS, Operator.NOT_ENDS})

_FUNCTIONS: dict[Function, Callable[[ColumnElement[Any]], ColumnElement[Any]]] = {
    Function.COUNT: func.count,
    Function.MIN: func.min,
    Function.MAX: func.max,
}


def operands(where: Filter) -> Iterator[tuple[str | None, Value]]:
    """Yield the values that a filter binds, with their fields (None: a length), in order."""
    if not isinstance(where, Test):
        for item in () if isinstance(where, Not) else where.items:
            yield from operands(item)
    elif where.operator in PLURAL:
        for value in cast("tuple[Value, ...]", where.operand):
            yield where.field, value
    elif where.operator not in _WITHOUT_OPERAND:
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
        size = len(cast("tuple[Value, ...]", where.operand)) if where.operator in PLURAL else 0
        return (where.field, where.operator, size)
    if isinstance(where, Not):
        return (Not, shape(where.item))
    return (type(where), *(shape(item) for item in where.items))


def padded(where: Filter) -> Filter:
    """Return the filter with each list of values lengthened to a power of two."""
    if isinstance(where, Test):
        if where.operator not in PLURAL:
            return where
        values = pad(cast("tuple[Value, ...]", where.operand))
        return Test(where.field, where.operator, values)
    if isinstance(where, Not):
        return where
    return type(where)(tuple(padded(item) for item in where.items))


def pad(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return the values, the last one repeated until their number is a power of two."""
    size = 1 << (len(values) - 1).bit_length()
    return (*values, *(values[-1:] * (size - len(values))))


def _among(column: ColumnElement[Any], values: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
    return column == values[0] if len(values) == 1 else column.in_(values)


def _limit(place: int) -> TextClause:
    # Not `.limit()`: for SQLite it adds an OFFSET that nobody asked for.
    return text(f"LIMIT :{place}").bindparams(bindparam(str(place), type_=_INTEGER))


def _parameter(place: int, column: ColumnElement[Any]) -> ColumnElement[Any]:
    return bindparam(str(place), type_=column.type)

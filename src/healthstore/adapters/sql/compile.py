"""From the shape of an operation to a statement, compiled once; values are bound separately.

SQLAlchemy Core writes the text. A shape is what remains of an operation without its values,
so that operations of one shape share one statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.types import NULLTYPE, TypeEngine

from healthstore.adapters.sql.changes import Assigning, assigned
from healthstore.adapters.sql.compiled import Compiled, Lock, converters_of, limit, parameter
from healthstore.adapters.sql.dialect import BulkInsert, BulkUpdate, Converter, Dialect, Row
from healthstore.adapters.sql.elements import converters, source
from healthstore.adapters.sql.filters import (
    Many,
    Operand,
    Shape,
    listed,
    operands,
    prepared,
    shape,
    where_clause,
)
from healthstore.adapters.sql.groups import grouped, groups_of
from healthstore.adapters.sql.paths import Bound
from healthstore.adapters.sql.sorting import Chosen, columns_of, sort_keys, told_apart
from healthstore.adapters.sql.taken import having_type, having_values
from healthstore.adapters.sql.walks import Asked, Walk, is_walked
from healthstore.model.collector import collector_paused
from healthstore.model.columns import at_places, converted
from healthstore.model.evaluate import ordered
from healthstore.model.hidden import hidden_maker, with_hidden
from healthstore.model.ops import Aggregate, Claim, Find, Group, Leading, Patch
from healthstore.model.query import FieldOrTerm, Filter, Order, Test, column_key
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value

__all__ = ("Compiled", "Lock", "Statements")

_INTEGER = Integer()
_IN_TURN = 500  # rows: as many make about one message of a driver that sends them as they come


class Statements:
    """The statements of one collection on one dialect, each compiled at first use.

    ``others`` returns those of a collection into which a query inside a filter looks.
    """

    def __init__(
        self,
        collection: Collection,
        table: Table,
        dialect: Dialect,
        others: Callable[[Collection], Statements] | None = None,
    ) -> None:
        self.collection = collection
        self._others = others
        self._table = table
        self._dialect = dialect
        self._compiled: dict[Shape, Compiled] = {}
        self._stored = collection.stored
        self._encoders = converters_of(self._stored, dialect.encoders)
        self._decoders = converters_of(collection, dialect.decoders)
        self._writers = {name: self._writer(name) for name in self._stored.names}
        self._encoding = at_places(self._writers.values())
        self._decoding = at_places(self._decoders.values())
        self._values_of = itemgetter(*map(self._source, self._stored.names))
        self._shown = [table.c[name] for name in collection.names]
        self.bulk = self._bulk()

    @property
    def table(self) -> Table:
        """The table of the collection."""
        return self._table

    # --- rows ------------------------------------------------------------------------------

    def rows(self, documents: Sequence[Document]) -> Sequence[Row]:
        """Return documents as the driver takes them, values in the order of the columns."""
        with collector_paused():
            return converted(list(map(self._values_of, documents)), self._encoding)

    def rows_in_turn(self, documents: Sequence[Document]) -> Iterator[Row]:
        """Yield documents as :meth:`rows` returns them, some of which are made at a time."""
        for start in range(0, len(documents), _IN_TURN):
            yield from self.rows(documents[start : start + _IN_TURN])

    def documents(
        self, rows: Sequence[Row], columns: tuple[FieldOrTerm, ...] | None = None
    ) -> tuple[Document, ...]:
        """Return the documents of a driver's rows, which hold these columns, or all."""
        names, decoding = self.collection.names, self._decoding
        if columns is not None:
            names = tuple(map(column_key, columns))
            decoding = at_places(map(self._decoder, columns))
        with collector_paused():
            values = converted(rows, decoding)
            return tuple([dict(zip(names, row, strict=True)) for row in values])

    def _decoder(self, column: FieldOrTerm) -> Converter | None:
        if isinstance(column, str):
            return self._decoders[column]
        return self._dialect.decoders[column.kind](column.type)

    def encode(self, name: str, value: Value) -> Any:
        """Return one value as the driver takes it; a hidden field's is one that is folded."""
        encode = self._encoders[name]
        return value if encode is None or value is None else encode(value)

    def values(self, names: Iterable[str], document: Document) -> list[Any]:
        """Return what columns get of a document, as the driver takes it."""
        found: list[Any] = []
        for name in names:
            value, write = document[self._source(name)], self._writers[name]
            found.append(value if write is None or value is None else write(value))
        return found

    def _source(self, name: str) -> str:
        """Return the field of whose value a column is made: a hidden one of another field's."""
        return self.collection.hidden.get(name, name)

    def _writer(self, name: str) -> Converter | None:
        """Return what makes of the value of a column's field what the driver takes for it."""
        encode = self._encoders[name]
        if name not in self.collection.hidden:
            return encode
        make = hidden_maker(name)
        return make if encode is None else lambda value: encode(make(value))

    # --- statements ------------------------------------------------------------------------

    def get(self, ids: Sequence[UUID], lock: Lock = Lock.NONE) -> tuple[Compiled, Sequence[Any]]:
        """Select documents by their ids."""

        def build() -> ClauseElement:
            statement = select(*self._shown).where(self._where(where)[0])
            if lock is Lock.NONE or not self._dialect.row_locks:
                return statement
            return statement.with_for_update(skip_locked=lock is Lock.FREE)

        where, size, values = self._listed("id", ids)
        compiled = self._compile(("get", size, lock), build)
        return compiled, compiled.bind(values)

    def find(self, op: Find, *, whole: bool) -> tuple[Compiled, Sequence[Any]]:
        """Select documents, or columns, in order: by ``whole`` texts, or by their heads."""

        def build() -> ClauseElement:
            clause, count = self._where(where)
            keys = tuple([each.column for each in op.order])
            chosen = op.columns or self.collection.names
            columns = columns_of((*chosen, *keys), self._table.c, self._dialect)
            if op.distinct:  # it is sorted by what is chosen, and by nothing else
                columns, statement = told_apart(columns, self._table, clause)
            else:
                shown = (columns[each] for each in chosen)
                statement = select(*shown).select_from(self._table).where(clause)
            by = self._sorted(op.order, columns, whole=whole)
            return statement.order_by(*by).suffix_with(limit(count))

        where = self._prepared(op.where)
        key = ("find", shape(where), tuple(op.order), whole, op.columns, op.distinct)
        compiled = self._compile(key, build)
        return compiled, compiled.bind([*self._values(where), op.limit])

    def leading(self, op: Leading) -> tuple[Compiled, Sequence[Any]]:
        """Select the first documents of each group, in order."""
        walk = self._dialect.walk
        if walk is not None and is_walked(op, walk):
            return self._walked(op, walk)

        def build() -> ClauseElement:
            clause, count = self._where(where)
            keys = (*op.per, *(each.column for each in op.order))
            columns = columns_of(keys, self._table.c, self._dialect)
            per = [columns[each] for each in op.per]
            order = [*self._sorted(op.order, columns, whole=False)]
            place = func.row_number().over(partition_by=per, order_by=order).label("_place")
            ranked = select(*self._shown, place).where(clause).subquery("_ranked")
            most = bindparam(str(count), type_=_INTEGER)
            found = columns_of(op.per, ranked.c, self._dialect)
            groups = self._sorted(map(Order.by, op.per), found, whole=True)
            statement = (
                select(*(ranked.c[name] for name in self.collection.names))
                .where(ranked.c["_place"] <= most)
                .order_by(*groups, ranked.c["_place"])
            )
            return statement.suffix_with(limit(count + 1))

        where = self._prepared(op.where)
        compiled = self._compile(("leading", shape(where), op.per, op.order), build)
        return compiled, compiled.bind([*self._values(where), op.first, op.limit])

    def _walked(self, op: Leading, walk: Walk) -> tuple[Compiled, Sequence[Any]]:
        """Select them by a walk along an index."""

        def build() -> ClauseElement:
            _, count = self._where(where)
            keys = tuple([each.column for each in op.order])

            def order(rows: FromClause) -> Sequence[ColumnElement[Any]]:
                columns = columns_of(keys, rows.c, self._dialect)
                return [*self._sorted(op.order, columns, whole=False)]

            asked = Asked(
                table=self._table,
                shown=self.collection.names,
                per=cast("tuple[str, ...]", op.per),
                where=lambda rows: self._where(where, rows)[0],
                order=order,
                first=bindparam(str(count), type_=_INTEGER),
                limit=bindparam(str(count + 1), type_=_INTEGER),
            )
            statement, led = walk.statement(asked)
            found = columns_of(op.per, led.c, self._dialect)
            groups = self._sorted(map(Order.by, op.per), found, whole=True)
            return statement.order_by(*groups, *order(led)).suffix_with(limit(count + 1))

        where = self._prepared(op.where)
        compiled = self._compile(("walked", shape(where), op.per, op.order), build)
        return compiled, compiled.bind([*self._values(where), op.first, op.limit])

    def writing(
        self,
        key: tuple[Shape, ...],
        where: Filter,
        values: Sequence[Any],
        build: Callable[[Table, ColumnElement[bool], Assigning], ClauseElement],
    ) -> tuple[Compiled, Sequence[Any]]:
        """Return a write of the rows that satisfy a filter, with ``values`` to write.

        ``build`` makes it of the table, the filter's clause, and what stands for each value.
        """

        def built() -> ClauseElement:
            clause, count = self._where(where)
            return build(
                self._table, clause, lambda place, column: parameter(count + place, column)
            )

        where = self._prepared(where)
        compiled = self._compile((*key, shape(where)), built)
        return compiled, compiled.bind([*self._values(where), *values])

    def count(self, where: Filter) -> tuple[Compiled, Sequence[Any]]:
        """Count the documents that satisfy a filter."""

        def build() -> ClauseElement:
            clause, _ = self._where(where)
            return select(func.count()).select_from(self._table).where(clause)

        where = self._prepared(where)
        compiled = self._compile(("count", shape(where)), build)
        return compiled, compiled.bind(self._values(where))

    def aggregate(self, op: Aggregate) -> tuple[Compiled, Sequence[Any]]:
        """Select the groups of an aggregate: those it takes, or one row beyond its limit at most."""

        def build() -> ClauseElement:
            clause, count = self._where(where)
            rows, clause = source(op, self._table, self._dialect, clause)

            def operand(name: str | None, value: Value | Many | Bound) -> ColumnElement[Any]:
                nonlocal count
                types, dialect = (lambda each: rows.c[each].type), self._dialect
                kind = having_type(op, cast(str, name), value, dialect, types)
                bound: ColumnElement[Any] = bindparam(str(count), type_=kind)
                count += 1
                return bound

            statement = grouped(op, rows, self._dialect, clause, operand)
            return statement.suffix_with(limit(count)) if op.group else statement

        where = self._prepared(op.where)
        key = (
            *("aggregate", shape(where), op.unwind, op.terms, op.group, op.measures),
            *(shape(op.having), ordered(op)),
        )
        compiled = self._compile(key, build)
        most = op.limit + 1 if op.take is None else op.take

        encoders = converters(op, self._encoders, self._dialect.encoders)

        def encode(name: str, value: Value) -> Any:
            own = encoders[name]
            return value if own is None or value is None else own(value)

        values = [*self._values(where), *having_values(op, self._dialect, encode), most]
        return compiled, compiled.bind(values)

    def groups(self, op: Aggregate, rows: Iterable[Row]) -> tuple[Group, ...]:
        """Return the groups of an aggregate's rows."""
        decoders = converters(op, self._decoders, self._dialect.decoders)

        def decode(name: str, value: Any) -> Value:
            own = decoders[name]
            return cast(Value, value if own is None or value is None else own(value))

        measured, _ = source(op, self._table, self._dialect, true())
        return groups_of(op, rows, measured, self._dialect, decode)

    def decode(self, name: str, value: Any) -> Value:
        """Return the canonical value of one driver's value."""
        decode = self._decoders[name]
        return cast(Value, value if decode is None or value is None else decode(value))

    def update(
        self, names: Sequence[str], *, versioned: bool, same: tuple[str, ...] = ()
    ) -> Compiled:
        """Set ``names`` where the last values are the id, the version if ``versioned``, and ``same``."""

        def build() -> ClauseElement:
            table = self._table
            sets = {name: parameter(place, table.c[name]) for place, name in enumerate(names)}
            found_by = ["id", *(["version"] if versioned else []), *same]
            clauses = [
                table.c[name] == parameter(len(names) + place, table.c[name])
                for place, name in enumerate(found_by)
            ]
            return update(table).where(and_(*clauses)).values(sets)

        return self._compile(("update", tuple(names), versioned, same), build)

    def patch(self, op: Patch) -> Compiled:
        """Set and increment one document, guarded, and return it; for :meth:`patch_values`."""
        op = self.kept(op)
        versioned = op.versions is not None
        key = ("patch", op.form, versioned)
        place = len(op.changes)  # of the id, after the values

        def build() -> ClauseElement:
            table = self._table
            clause: ColumnElement[bool] = table.c.id == parameter(place, table.c.id)
            if versioned:
                clause = and_(clause, table.c.version == parameter(place + 1, table.c.version))
            for name, _ in op.increments:
                if self.collection.nullable(name):
                    clause = and_(clause, table.c[name].is_not(None))
            values = assigned(table, op, parameter)
            statement = update(table).where(clause).values(dict(values))
            return statement if self._dialect.read_back else statement.returning(*self._shown)

        def read() -> ClauseElement:
            table = self._table
            changed = func.row_count() == literal_column("1")
            return select(*self._shown).where(table.c.id == parameter(place, table.c.id), changed)

        changing = self._compile(key, build)
        if not self._dialect.read_back:
            return changing
        reading = self._compile(("changed", place), read)
        sql = self._dialect.read_back.format(update=changing.sql, select=reading.sql)
        return Compiled(sql, changing.places + reading.places)

    def claim(
        self, op: Claim, first: Callable[[ColumnElement[Any], Select[Any]], ColumnElement[bool]]
    ) -> tuple[Compiled, Sequence[Any]]:
        """Change the first rows that a filter finds and nobody has locked, and return them."""

        def build() -> ClauseElement:
            table = self._table
            clause, count = self._where(where)
            columns = columns_of(tuple([each.column for each in op.order]), table.c, self._dialect)
            by = self._sorted(op.order, columns, whole=self._dialect.sorts_whole)
            found = select(table.c.id).where(clause).order_by(*by).correlate(None)
            if self._dialect.row_locks:
                found = found.with_for_update(skip_locked=True)
            values: dict[str, ColumnElement[Any]] = {
                "version": table.c.version + literal_column("1")
            }
            for place, (name, _) in enumerate(op.sets, count + 1):
                values[name] = parameter(place, table.c[name])
            clause = first(table.c.id, found.suffix_with(limit(count)))
            return update(table).where(clause).values(values).returning(*self._shown)

        where = self._prepared(op.where)
        names = tuple(name for name, _ in op.sets)
        compiled = self._compile(("claim", shape(where), tuple(op.order), names), build)
        given = [self.encode(name, value) for name, value in op.sets]
        return compiled, compiled.bind([*self._values(where), op.limit, *given])

    def patches(
        self, op: Patch, build: Callable[[Table, Collection, Patch], ClauseElement]
    ) -> Compiled:
        """Change many documents as ``op`` changes one, by a statement of the dialect's own."""
        op = self.kept(op)
        key = ("patches", op.form, op.versions is not None)
        return self._compile(key, lambda: build(self._table, self.collection, op))

    def patch_values(self, op: Patch) -> list[Any]:
        """Return what the statement of a single patch binds."""
        op = self.kept(op)
        values = [self.encode(name, value) for name, value in op.changes]
        values.append(self.encode("id", op.ids[0]))
        values.extend(op.versions or ())
        return values

    def kept(self, op: Patch) -> Patch:
        """Return a patch that sets hidden fields, too."""
        if not self.collection.hidden:
            return op
        return replace(op, sets=with_hidden(self.collection, op.sets))

    def bulk_update(
        self, names: Iterable[str], *, versioned: bool = False, same: tuple[str, ...] = ()
    ) -> BulkUpdate:
        """Set fields of documents that are found by their ids, by versions and by other fields."""
        chosen = frozenset(names)
        columns = tuple([name for name in self._stored.names if self._source(name) in chosen])
        single = self.update(columns, versioned=versioned, same=same)
        found_by = ("id", *(("version",) if versioned else ()), *same)
        joint, build = "", self._dialect.joint_update
        if build is not None:
            key = ("joint", columns, found_by)
            joint = self._compile(key, lambda: build(self._table, columns, found_by)).sql
        return BulkUpdate(self._table.name, columns, found_by, single.sql, joint)

    def changes(self, update: BulkUpdate, documents: Sequence[Document]) -> Sequence[Row]:
        """Return documents as a bulk update takes them, but for the versions of a guarded one."""
        names = (*update.columns, "id")
        places = at_places(self._writers[name] for name in names)
        values = itemgetter(*map(self._source, names))
        return converted(list(map(values, documents)), places)

    def referring(self, field: str, ids: Sequence[UUID]) -> tuple[Compiled, Sequence[Any]]:
        """Select, and lock, the ids of rows that refer to these ids."""

        def build() -> ClauseElement:
            return select(self._table.c.id).where(self._where(where)[0]).with_for_update()

        where, size, values = self._listed(field, ids)
        compiled = self._compile(("referring", field, size), build)
        return compiled, compiled.bind(values)

    def delete(
        self, ids: Sequence[UUID], *, returning: bool = False
    ) -> tuple[Compiled, Sequence[Any]]:
        """Delete documents by their ids; with ``returning``, return the ids that were there."""

        def build() -> ClauseElement:
            statement = delete(self._table).where(self._where(where)[0])
            return statement.returning(self._table.c.id) if returning else statement

        where, size, values = self._listed("id", ids)
        compiled = self._compile(("delete", size, returning), build)
        return compiled, compiled.bind(values)

    # --- parts -----------------------------------------------------------------------------

    def _bulk(self) -> BulkInsert:
        def build() -> ClauseElement:
            values = {
                name: parameter(place, self._table.c[name])
                for place, name in enumerate(self._stored.names)
            }
            return insert(self._table).values(values)

        single = self._compile(("insert",), build)
        head, _, _ = single.sql.partition(" VALUES ")
        kinds = tuple([each.type.kind for each in self._stored.fields])
        return BulkInsert(
            self._table.name, self._stored.names, kinds, f"{head} VALUES ", single.sql
        )

    def _compile(self, key: Shape, build: Callable[[], ClauseElement]) -> Compiled:
        compiled = self._compiled.get(key)
        if compiled is None:
            written = build().compile(dialect=self._dialect.compiler)
            order = cast("Any", written).positiontup
            compiled = Compiled(str(written), tuple(int(name) for name in order))
            self._compiled[key] = compiled
        return compiled

    def _where(
        self, where: Filter, rows: FromClause | None = None
    ) -> tuple[ColumnElement[bool], int]:
        """Return the clause of a filter, of rows of the table, and how many values it binds."""
        count = tables = 0

        def bound_as(
            table: Table, name: str | None, value: Value | Many | Bound
        ) -> ColumnElement[Any]:
            nonlocal count
            kind: TypeEngine[Any] = _INTEGER if name is None else table.c[name].type
            if isinstance(value, Bound):
                kind = value.type
            elif isinstance(value, Many):
                kind = NULLTYPE
            bound: ColumnElement[Any] = bindparam(str(count), type_=kind)
            count += 1
            return bound

        def inside(collection: Collection) -> tuple[FromClause, Operand]:
            nonlocal tables
            tables += 1
            # A name of its own: it may be the table in which the row is that is looked for.
            table = self._of(collection).table
            return table.alias(f"_inside{tables}"), partial(bound_as, table)

        own = partial(bound_as, self._table)
        rows = self._table if rows is None else rows
        return where_clause(where, rows, self._dialect, own, inside), count

    def _of(self, collection: Collection) -> Statements:
        if collection is self.collection or self._others is None:
            return self
        return self._others(collection)

    def _prepared(self, where: Filter) -> Filter:
        return prepared(where, self.collection, self._dialect)

    def _values(self, where: Filter) -> list[Any]:
        """Return the values of a filter, encoded, in the order in which it binds them."""
        return [
            self._of(collection).operand(name, value)
            for collection, name, value in operands(where, self.collection, self._dialect)
        ]

    def _listed(self, field: str, ids: Sequence[UUID]) -> tuple[Test, Shape, list[Any]]:
        """Return the test that a field has one of these ids, its shape and its values."""
        test = listed(field, ids)
        kept = cast("tuple[UUID, ...]", test.operand)
        if isinstance(kept, Many):
            return test, Many, [self.operand(field, kept)]
        return test, len(kept), [self.encode(field, each) for each in kept]

    def operand(self, name: str | None, value: Value | Many | Bound) -> Any:
        """Return one value of a filter as the driver takes it, or many as one."""
        if isinstance(value, Bound):
            return value.value
        if name is None:
            return value
        if not isinstance(value, Many):
            return self.encode(name, value)
        encode = self._encoders[name]
        encoded = tuple(value if encode is None else map(encode, value))
        return self._dialect.many(self._stored.field(name).type, encoded)

    def _sorted(
        self, order: Iterable[Order], columns: Chosen, *, whole: bool
    ) -> Iterator[ColumnElement[Any]]:
        for each in order:
            column = columns[each.column]
            yield from sort_keys(each, column, self.collection, self._dialect, whole=whole)

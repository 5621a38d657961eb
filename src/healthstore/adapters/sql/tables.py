"""From a collection to a table: columns, keys, indexes, references and checks, as DDL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Computed,
    DefaultClause,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    UniqueConstraint,
    case,
    func,
    literal,
    literal_column,
)
from sqlalchemy.schema import (
    AddConstraint,
    CreateIndex,
    CreateTable,
    DropIndex,
    DropTable,
    SchemaItem,
)

from healthstore.adapters.sql.deletes import unguarded
from healthstore.adapters.sql.dialect import Dialect
from healthstore.adapters.sql.filters import FIELD_TYPE, Many, Operand, where_clause
from healthstore.adapters.sql.paths import ELEMENTS, Bound, indexed_term
from healthstore.model import schema
from healthstore.model.definition import holds_words
from healthstore.model.query import Filter, Term, fields_in, normalise
from healthstore.model.schema import Collection, Unique
from healthstore.model.values import FieldType, Kind, Value

__all__ = (
    "CONDITION",
    "HIDDEN",
    "ForeignKey",
    "add_reference",
    "bound_name",
    "create_indexes",
    "create_table",
    "drop_index",
    "drop_table",
    "references_of",
    "set_default",
    "table_of",
)


CONDITION = "condition"
"""What a computed column's ``info`` has the fields under of which its condition is."""
HIDDEN = "hidden"
"""What an index's ``info`` has the fields under of which its keys are made, where they are more."""


def table_of(collection: Collection, dialect: Dialect) -> Table:
    """Return the table that keeps a collection; referenced tables are known by their key only."""
    collection = collection.stored
    metadata = MetaData()
    keys: tuple[Unique | schema.Index, ...] = (*collection.uniques, *collection.indexes)
    indexed = {name for key in keys for name in key.fields}
    made = _indexes(collection, dialect)
    listed = {each.fields[0] for each in made if collection.of_elements(each)}
    columns = [
        Column(
            each.name,
            dialect.column_type(each.type, each.name in indexed),
            nullable=each.nullable,
            autoincrement=False,
            info={FIELD_TYPE: each.type, ELEMENTS: each.name in listed},
            quote=True,
        )
        for each in collection.fields
    ]
    for reference in collection.references:
        if reference.collection != collection.name and reference.collection not in metadata.tables:
            key = dialect.column_type(FieldType(Kind.UUID), True)  # noqa: FBT003 - indexed
            Table(reference.collection, metadata, Column("id", key), quote=True)
    cascading = unguarded(collection, dialect)
    parts: list[SchemaItem] = [*columns, PrimaryKeyConstraint("id")]
    whole = [each for each in collection.uniques if each.where is None]
    uniques = {unique: _key_columns(collection, unique, dialect) for unique in whole}
    parts.extend(
        UniqueConstraint(*ordered, name=collection.index_name(unique))
        for unique, ordered in uniques.items()
        if ordered
    )
    parts.extend(
        ForeignKeyConstraint(
            [reference.field],
            [f"{reference.collection}.id"],
            name=name,
            ondelete="CASCADE" if reference in cascading else "NO ACTION",
        )
        for name, reference in collection.reference_names.items()
    )
    options: dict[str, Any] = dict(dialect.table_options)
    table = Table(collection.name, metadata, *parts, quote=True, **options)
    for unique, ordered in uniques.items():
        if not ordered:
            first, *rest = unique.fields
            hidden = func.concat(table.c[first])
            names = (table.c[name] for name in rest)
            Index(collection.index_name(unique), hidden, *names, unique=True, _table=table)
    for unique in collection.uniques:
        if unique.where is not None:
            _add_conditional(table, collection, dialect, unique, unique.where)
    _add_indexes(table, collection, dialect)
    _add_checks(table, collection, dialect)
    return table


def _key_columns(collection: Collection, unique: Unique, dialect: Dialect) -> tuple[str, ...]:
    """Return a unique key's columns in an order that hides no reference; none if each does."""
    for first in unique.fields:
        rest = tuple(name for name in unique.fields if name != first)
        if not (dialect.null_hides_reference and _hides_reference(collection, (first, *rest))):
            return (first, *rest)
    return ()


def _add_conditional(
    table: Table, collection: Collection, dialect: Dialect, unique: Unique, where: Filter
) -> None:
    """Add a unique key of some rows: an index of a part, or a key with a column that tells it.

    Where there is no index of a part, the column is computed: 1 where the condition holds, else
    null, which never collides. A functional key would do on MySQL, and not on MariaDB.
    """
    rule = normalise(where, collection.nullable)
    clause = where_clause(rule, table, dialect, _constants(table, collection, dialect))
    name = collection.index_name(unique)
    if dialect.index_part:
        columns = (table.c[each] for each in unique.fields)
        part: dict[str, Any] = {dialect.index_part: clause}
        Index(name, *columns, unique=True, _table=table, **part)
        return
    holds = Computed(case((clause, literal_column("1"))), persisted=False)
    bound = bound_name(name)
    info = {CONDITION: fields_in(where)}
    table.append_column(Column(bound, SmallInteger, holds, info=info, quote=True))
    first, *rest = unique.fields
    hides = dialect.null_hides_reference and first in {each.field for each in collection.references}
    keys = (bound, first, *rest) if hides else (first, *rest, bound)
    table.append_constraint(UniqueConstraint(*keys, name=name))


def bound_name(name: str) -> str:
    """Return the name of the column that tells which rows the unique key of this name binds."""
    return f"_bound_{name[-8:]}"


def _hides_reference(collection: Collection, fields: tuple[str, ...]) -> bool:
    """Tell whether a key begins with a reference and may have a null behind it."""
    first, *rest = fields
    references = {each.field for each in collection.references}
    return first in references and any(map(collection.nullable, rest))


def _indexes(collection: Collection, dialect: Dialect) -> tuple[schema.Index, ...]:
    """Return the indexes, and one of its own for each reference that another one would hide."""
    own = (
        schema.Index(each.fields[0])
        for each in collection.indexes
        if dialect.null_hides_reference and _hides_reference(collection, each.fields)
    )
    made = (
        each
        for each in collection.indexes
        if dialect.indexes_words or not holds_words(each.fields[0])
    )
    return tuple(dict.fromkeys((*own, *made)))


def _add_indexes(table: Table, collection: Collection, dialect: Dialect) -> None:
    constant = _constants(table, collection, dialect)
    for index in _indexes(collection, dialect):
        name, part = index.fields[0], dict[str, Any]()
        hidden = {key.field for key in index.terms if dialect.indexes_terms}
        if collection.of_elements(index):
            elements = None if dialect.elements is None else dialect.elements(table.c[name])
            keys = [] if elements is None else [elements.key]
            if elements is not None:
                part |= elements.options
                hidden = set() if elements.key is table.c[name] else {name}
        else:
            keys = [
                _ordered(key, table, collection, dialect)
                for key in index.keys
                if isinstance(key, str) or dialect.indexes_terms
            ]
        if not keys:
            continue
        if dialect.index_part and index.where is not None:
            where = normalise(index.where, collection.nullable)
            part[dialect.index_part] = where_clause(where, table, dialect, constant)
        Index(collection.index_name(index), *keys, _table=table, info={HIDDEN: hidden}, **part)


def _ordered(
    key: str | Term, table: Table, collection: Collection, dialect: Dialect
) -> ColumnElement[Any]:
    """Return a key of an index in its direction, with nulls where a query's order has them."""
    name = key.field if isinstance(key, Term) else key.removeprefix("-")
    column: ColumnElement[Any] = table.c[name]
    if isinstance(key, Term):
        column = indexed_term(key, column, dialect.paths)
    descending = isinstance(key, str) and key.startswith("-")
    ordered: ColumnElement[Any] = column.desc() if descending else column.asc()
    if dialect.rank_nulls and (isinstance(key, Term) or collection.nullable(name)):
        ordered = ordered.nulls_last() if descending else ordered.nulls_first()
    return ordered


def _add_checks(table: Table, collection: Collection, dialect: Dialect) -> None:
    for each in collection.fields:
        rule = dialect.column_check(table.c[each.name], each.type)
        if rule is not None:
            name = collection.check_name(f"type_{each.name}")
            table.append_constraint(CheckConstraint(rule, name=name))
    constant = _constants(table, collection, dialect)
    for name, filter_ in collection.rules.items():
        rule = where_clause(filter_, table, dialect, constant)
        table.append_constraint(CheckConstraint(rule, name=collection.check_name(name)))


def _constants(table: Table, collection: Collection, dialect: Dialect) -> Operand:
    """Return what makes a constant of DDL of a value that a column is compared with."""

    def constant(name: str | None, value: Value | Many | Bound) -> ColumnElement[Any]:
        if name is None:
            return literal(value)
        kind = collection.field(name).type
        encode = dialect.encoders[kind.kind](kind)
        return dialect.constant(value if encode is None else encode(value), table.c[name])

    return constant


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key of a table, and the name of the table to which it leads."""

    constraint: ForeignKeyConstraint
    target: str


def references_of(table: Table) -> dict[str, ForeignKey]:
    """Return a table's foreign keys by name."""
    return {
        str(each.name): ForeignKey(each, each.elements[0].target_fullname.partition(".")[0])
        for each in table.foreign_key_constraints
    }


def create_table(table: Table, dialect: Dialect, references: Mapping[str, ForeignKey]) -> str:
    """Return the statement that creates a table with some foreign keys, unless it is there."""
    constraints = [each.constraint for each in references.values()]
    statement = CreateTable(table, if_not_exists=True, include_foreign_key_constraints=constraints)
    return str(statement.compile(dialect=dialect.ddl_compiler))


def add_reference(reference: ForeignKey, dialect: Dialect) -> str:
    """Return the statement that adds a foreign key to its table."""
    statement = AddConstraint(reference.constraint, isolate_from_table=False)
    return str(statement.compile(dialect=dialect.ddl_compiler))


def create_indexes(table: Table, dialect: Dialect) -> dict[str, str]:
    """Return, by the names of the indexes, the statements that create them, in this order.

    Those of one column come first: see :attr:`Dialect.null_hides_reference`.
    """
    ordered = sorted(table.indexes, key=lambda each: (len(each.expressions), str(each.name)))
    return {
        str(index.name): str(CreateIndex(index).compile(dialect=dialect.ddl_compiler))
        for index in ordered
    }


def drop_table(table: Table, dialect: Dialect) -> str:
    """Return the statement that drops a table, if it is there."""
    return str(DropTable(table, if_exists=True).compile(dialect=dialect.ddl_compiler))


def drop_index(table: Table, name: str, dialect: Dialect) -> str:
    """Return the statement that drops the index of this name."""
    (index,) = (each for each in table.indexes if each.name == name)
    return str(DropIndex(index).compile(dialect=dialect.ddl_compiler))


def set_default(column: Column[Any], field: schema.Field, dialect: Dialect) -> None:
    """Let a column that is added give the rows that are there its field's default."""
    if field.default is not None:
        encode = dialect.encoders[field.type.kind](field.type)
        value = field.default if encode is None else encode(field.default)
        column.server_default = DefaultClause(cast("Any", dialect.default(value, column)))

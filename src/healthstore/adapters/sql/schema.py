"""Creating tables, and completing those that were left half-made."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Table, UniqueConstraint

from healthstore.adapters.sql.dialect import Connection, Dialect
from healthstore.adapters.sql.tables import (
    HIDDEN,
    add_reference,
    create_indexes,
    create_table,
    drop_index,
    references_of,
    table_of,
)
from healthstore.model.schema import Collection, Index

__all__ = (
    "There",
    "complete_indexes",
    "create",
    "drop_unknown_indexes",
    "missing_indexes",
    "names",
    "wholeness",
)


@dataclass(slots=True)
class There:
    """The names of what a table has: its columns, constraints and indexes."""

    columns: set[str]
    constraints: set[str]
    indexes: set[str]

    @classmethod
    async def of(  # noqa: PLR0913, PLR0917 - what there is, by its three kinds
        cls,
        connection: Connection,
        dialect: Dialect,
        table: str,
        columns: Iterable[str],
        constraints: Iterable[str],
        indexes: Iterable[str],
    ) -> There:
        """Look at a table, unless its changes are made in one transaction or not at all.

        Then it has what its definition says: ``columns``, ``constraints`` and ``indexes``.
        """
        if dialect.existing_parts is None:
            return cls(set(columns), set(constraints), set(indexes))
        found = [set(await names(connection, each, table)) for each in dialect.existing_parts]
        return cls(*found)

    @classmethod
    def as_defined(cls, table: Table, dialect: Dialect) -> There:
        """Return what a table has that is as its definition says."""
        uniques = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
        # A unique key that is an index begins with a hidden column.
        plain = [each for each in table.indexes if not (each.unique or each.info.get(HIDDEN))]
        led = {each.columns.keys()[0] for each in uniques}
        led |= {each.columns.keys()[0] for each in plain}
        # An index that the server makes by itself for a reference has its name.
        made = {
            name
            for name, each in references_of(table).items()
            if dialect.references_need_indexes and each.constraint.column_keys[0] not in led
        }
        return cls(
            {each.name for each in table.columns},
            {str(each.name) for each in table.constraints if each.name is not None},
            {str(each.name) for each in uniques}
            | {str(each.name) for each in table.indexes}
            | made,
        )


def missing_indexes(table: Table, there: Container[str], dialect: Dialect) -> Iterator[str]:
    """Yield the statements that create a table's indexes but those that are there."""
    for name, statement in create_indexes(table, dialect).items():
        if name not in there:
            yield statement


async def names(connection: Connection, query: str, *values: str) -> frozenset[str]:
    """Return the names that a query for what exists gives."""
    rows = await connection.fetch(query, values)
    return frozenset(_text(name) for (name,) in rows)


async def create(connection: Connection, dialect: Dialect, collection: Collection) -> None:
    """Create the table of a collection, its foreign keys and its indexes where they are missing.

    A foreign key to a table that is not there yet is left out; called again, it is added.
    """
    table = table_of(collection, dialect)
    references = references_of(table)
    if references and dialect.existing_references is not None:
        there = {*await names(connection, dialect.existing), collection.name}
        able = {name: each for name, each in references.items() if each.target in there}
        await connection.run(create_table(table, dialect, able))
        made = await names(connection, dialect.existing_references)
        for name in sorted(able.keys() - made):
            await connection.run(add_reference(able[name], dialect))
    else:
        await connection.run(create_table(table, dialect, references))
    await complete_indexes(connection, table, dialect)


async def complete_indexes(connection: Connection, table: Table, dialect: Dialect) -> None:
    """Create the indexes of a table that are missing, and those anew that are not whole."""
    whole = await wholeness(connection, dialect)
    for name, statement in create_indexes(table, dialect).items():
        if whole.get(name):
            continue
        if name in whole:
            await connection.run(drop_index(table, name, dialect))
        await connection.run(statement)


async def wholeness(connection: Connection, dialect: Dialect) -> dict[str, bool]:
    """Return, by the names of all indexes, whether each one is whole."""
    rows = await connection.fetch(dialect.existing_indexes, ())
    return {_text(name): bool(valid) for name, valid in rows}


async def drop_unknown_indexes(
    connection: Connection, dialect: Dialect, collection: Collection, known: Container[str]
) -> None:
    """Drop what was built aside for a change that never came: it would mean something else soon.

    It has the name that healthstore would give an index of its columns; others have theirs.
    """
    if dialect.aside is None:
        return
    collection = collection.stored
    quote = dialect.ddl_compiler.identifier_preparer.quote_identifier
    for name, keys in await connection.fetch(dialect.aside.plain, (collection.name,)):
        ours = {each.removeprefix("-") for each in keys} <= {*collection.names}
        if ours and name == collection.index_name(Index(*keys)) and name not in known:
            await connection.run(f"DROP INDEX {quote(name)}")


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name

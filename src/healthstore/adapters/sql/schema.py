"""Creating tables, and completing those that were left half-made."""

from __future__ import annotations

from sqlalchemy import Table

from healthstore.adapters.sql.dialect import Connection, Dialect
from healthstore.adapters.sql.tables import (
    add_reference,
    create_indexes,
    create_table,
    drop_index,
    references_of,
    table_of,
)
from healthstore.model.schema import Collection

__all__ = ("complete_indexes", "create", "names")


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
    rows = await connection.fetch(dialect.existing_indexes, ())
    whole = {_text(name): bool(valid) for name, valid in rows}
    for name, statement in create_indexes(table, dialect).items():
        if whole.get(name):
            continue
        if name in whole:
            await connection.run(drop_index(table, name, dialect))
        await connection.run(statement)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name

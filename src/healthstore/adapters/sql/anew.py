"""A table made anew: another one is filled, and takes the place of the first."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Table

from healthstore.adapters.sql.dialect import Connection, Dialect
from healthstore.adapters.sql.schema import names
from healthstore.errors import BackendError, SchemaMismatchError

__all__ = ("Copy", "made_anew")

_NEW = "healthstore_new"


@dataclass(frozen=True, slots=True)
class Copy:
    """How a table is made anew: the statement that creates it, and what its rows are filled with.

    ``columns`` and ``indexes`` are the names of what healthstore has made of the first one.
    """

    table: Table
    creating: str
    filling: str
    columns: frozenset[str]
    indexes: frozenset[str]

    def statements(self, dialect: Dialect) -> tuple[str, str, str, str]:
        """Return what makes the other table, fills it, and puts it in the place of the first."""
        quoted = dialect.ddl_compiler.identifier_preparer.format_table(self.table)
        return (
            self.creating.replace(quoted, _NEW, 1),
            f"INSERT INTO {_NEW} {self.filling}",
            f"DROP TABLE {quoted}",
            f"ALTER TABLE {_NEW} RENAME TO {quoted}",
        )


async def made_anew(connection: Connection, dialect: Dialect, copy: Copy) -> None:
    """Put another table in the place of the first, with its rows and what others have added.

    Foreign keys are off on this connection, so the rows that refer to these stay; inside of a
    transaction they cannot be put off (https://sqlite.org/lang_altertable.html, section 7). What
    the new table says of itself leads to the name that it is to have.
    """
    table = str(copy.table.name)
    quoted = dialect.ddl_compiler.identifier_preparer.format_table(copy.table)
    columns, parts = dialect.belonging
    foreign = sorted(await names(connection, columns, table) - copy.columns)
    if foreign:
        raise SchemaMismatchError(
            f"the table {table!r} has columns that healthstore did not make: {', '.join(foreign)}",
            hint="the table has to be copied, and they would be lost: keep them in a table of "
            "their own, and drop them here",
        )
    belonging = await connection.fetch(parts, (table,))
    creating, filling, dropping, renaming = copy.statements(dialect)
    await connection.run(creating)
    await connection.run(filling)
    counts = [
        (await connection.fetch(f"SELECT count(*) FROM {each}", ()))[0][0]
        for each in (quoted, _NEW)
    ]
    if counts[0] != counts[1]:
        raise BackendError(
            "a table that was made anew has not all of its rows",
            hint="nothing was changed; report it",
        )
    await connection.run(dropping)
    await connection.run(renaming)
    for name, sql in belonging:
        if name not in copy.indexes:
            await connection.run(str(sql))

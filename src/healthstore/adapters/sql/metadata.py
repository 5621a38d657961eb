"""Collections as SQLAlchemy's MetaData, and the catalog's rows as statements: for Alembic.

Who runs these has a connection of SQLAlchemy's own, on whatever driver. So values are written into
the statements as the column types of the dialect spell them, and none is bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    DefaultClause,
    Delete,
    FetchedValue,
    Insert,
    MetaData,
    Update,
    delete,
    exists,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.sql.visitors import replacement_traverse

from healthstore.adapters.sql.compile import Statements
from healthstore.adapters.sql.dialect import Dialect
from healthstore.adapters.sql.tables import set_default, table_of
from healthstore.errors import ConfigurationError
from healthstore.model.catalog import CATALOG, catalog_id, to_document
from healthstore.model.schema import Collection

__all__ = ("DIALECTS", "dialect_of", "forgetting", "metadata_of", "recording")

DIALECTS: Mapping[str, str] = {
    "mariadb": "healthstore.adapters.sql.mysql:MARIADB",
    "mysql": "healthstore.adapters.sql.mysql:MYSQL",
    "postgresql": "healthstore.adapters.sql.postgres:POSTGRESQL",
    "sqlite": "healthstore.adapters.sql.sqlite:SQLITE",
}
"""Where the dialects are, by the names that SQLAlchemy gives them."""

_MISREAD = re.compile(r"%|(?<![\w:]):(?!:)")


def dialect_of(name: str) -> Dialect:
    """Return the dialect of this name; raise ConfigurationError for one that is unknown."""
    if name not in DIALECTS:
        raise ConfigurationError(
            f"no dialect is called {name!r}", hint=f"use one of {', '.join(DIALECTS)}"
        )
    module, _, attribute = DIALECTS[name].partition(":")
    return cast(Dialect, getattr(import_module(module), attribute))


def metadata_of(collections: Iterable[Collection], dialect: Dialect) -> MetaData:
    """Return the tables of collections, and that of the catalog.

    A column has the default of its field, which the rows that are there get where it is added;
    none where Alembic would write another one into a revision.
    """
    metadata = MetaData()
    for collection in (CATALOG, *collections):
        table = table_of(collection, dialect).to_metadata(metadata)
        for each in collection.stored.fields:
            column = table.columns[each.name]
            column.autoincrement = "auto"  # what it is for Alembic unless said; no key is a number
            set_default(column, each, dialect)
            column.server_default = _kept_default(column.server_default, dialect)
    return metadata


def _kept_default(default: FetchedValue | None, dialect: Dialect) -> DefaultClause | None:
    """Return a default as Alembic writes it into a revision unchanged, if there is a way.

    A plain text is kept but for quotes at its ends. Others become ``sa.text("…")``, which reads
    ``:a`` as a parameter; and a percent sign is doubled there on MySQL.
    """
    if not isinstance(default, DefaultClause):
        return None
    found = cast("ColumnElement[Any]", default.arg)
    plain = found.value if isinstance(found, BindParameter) else None
    if isinstance(plain, str) and plain.strip("'") == plain:
        return DefaultClause(plain)
    options = {"literal_binds": True}
    text = str(found.compile(dialect=dialect.ddl_compiler, compile_kwargs=options))
    return None if _MISREAD.search(text) else default


def recording(collection: Collection, dialect: Dialect) -> tuple[Update, Insert]:
    """Return what writes a collection's row into the catalog: a change, or else a new row.

    The version is raised, so that who is changing the definition meanwhile is told.
    """
    table = table_of(CATALOG, dialect)
    (row,) = Statements(CATALOG, table, dialect).rows((to_document(collection),))
    values = {
        column.name: _written(dialect.default(value, column))
        for column, value in zip(table.columns, row, strict=True)
    }
    same = table.c.id == values["id"]
    raised = {**values, "version": table.c.version + literal_column("1")}
    del raised["id"]
    new = select(*values.values()).where(~exists(select(table.c.id).where(same)))
    return (
        update(table).where(same).values(raised),
        insert(table).from_select(list(values), new),
    )


def forgetting(name: str, dialect: Dialect) -> Delete:
    """Return what takes a collection's row out of the catalog."""
    table = table_of(CATALOG, dialect)
    statements = Statements(CATALOG, table, dialect)
    identity = statements.encode("id", catalog_id(name))
    return delete(table).where(table.c.id == _written(dialect.default(identity, table.c.id)))


def _written(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return an expression whose values stand in the statement, also when it is executed."""

    def inline(element: Any, **_: Any) -> Any:
        return element.render_literal_execute() if isinstance(element, BindParameter) else None

    written: ColumnElement[Any] = replacement_traverse(value, {}, inline)
    return written

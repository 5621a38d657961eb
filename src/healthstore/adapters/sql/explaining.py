"""How a change of definitions would be made: its statements, for tables as they are defined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from healthstore.adapters.sql.alter import explain_alteration
from healthstore.adapters.sql.dialect import Dialect
from healthstore.adapters.sql.metadata import forgetting, recording
from healthstore.adapters.sql.rename import explain_renaming
from healthstore.adapters.sql.schema import missing_indexes
from healthstore.adapters.sql.tables import (
    add_reference,
    create_table,
    drop_table,
    references_of,
    table_of,
)
from healthstore.model.catalog import CATALOG
from healthstore.model.ops import Alter, Drop, Ensure, Explained, Rename
from healthstore.model.schema import Collection, parents_first

__all__ = ("explained",)


def explained(change: Ensure | Alter | Rename | Drop, dialect: Dialect) -> Explained:
    """Return the statements of a change, and whether they write every row of the table again."""
    return replace(_EXPLAINED[type(change)](change, dialect), noting=_noting(change, dialect))


def _noting(change: Ensure | Alter | Rename | Drop, dialect: Dialect) -> tuple[str, ...]:
    """Return what lets the catalog know of a change that was made by hand."""
    made = change.collections if isinstance(change, Ensure) else (change.collection,)
    gone: list[str] = []
    if isinstance(change, Drop):
        gone, made = [change.collection.name], ()
    elif isinstance(change, Rename) and change.before.name != change.after.name:
        gone = [change.before.name]
    rows = [each for one in made if one.name != CATALOG.name for each in recording(one, dialect)]
    texts = {"literal_binds": True, "render_postcompile": True}
    return tuple(
        str(each.compile(dialect=dialect.ddl_compiler, compile_kwargs=texts))
        for each in (*(forgetting(name, dialect) for name in gone), *rows)
    )


def _creation(op: Ensure, dialect: Dialect) -> Explained:
    statements = tuple(_created(parents_first(op.collections), dialect))
    return Explained(statements, around=dialect.by_hand, seconds_per_row=0.0)


def _created(collections: tuple[Collection, ...], dialect: Dialect) -> Iterator[str]:
    """Yield what creates collections; a foreign key to a table that comes later comes at last."""
    later = [each.name for each in collections]
    postponed: list[str] = []
    for collection in collections:
        later.remove(collection.name)
        table = table_of(collection, dialect)
        able = references_of(table)
        if dialect.existing_references is not None:
            unable = {name: each for name, each in able.items() if each.target in later}
            able = {name: each for name, each in able.items() if name not in unable}
            postponed += [add_reference(each, dialect) for each in unable.values()]
        yield create_table(table, dialect, able)
        yield from missing_indexes(table, (), dialect)
    yield from postponed


def _removal(op: Drop, dialect: Dialect) -> Explained:
    statement = drop_table(table_of(op.collection, dialect), dialect)
    return Explained((statement,), around=dialect.by_hand, seconds_per_row=0.0)


_EXPLAINED: Mapping[type, Callable[[Any, Dialect], Explained]] = {
    Alter: lambda op, dialect: explain_alteration(op.before, op.after, dialect),
    Drop: _removal,
    Ensure: _creation,
    Rename: lambda op, dialect: explain_renaming(op.before, op.after, dialect),
}

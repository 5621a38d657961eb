"""The ledger of migrations, as a transfer of everything takes it along: what is applied, no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from healthstore.abc.backend import Backend, Executor
from healthstore.errors import (
    Condition,
    ConfigurationError,
    DuplicateKeyError,
    MigrationError,
    SerializationError,
    StaleVersionError,
)
from healthstore.model.catalog import CATALOG
from healthstore.model.ledger import LEDGER_ID, Applied, Book
from healthstore.model.ops import Get, Insert, Replace

__all__ = (
    "applied_of",
    "note_applied",
    "read_book",
    "read_ledger",
    "require_same_migrations",
    "require_unmoved",
)


async def read_ledger(store: Executor) -> tuple[Book, int]:
    """Return what a store's ledger says, and the version of its row; of none, nothing and 0."""
    try:
        (row,) = await store.execute(Get(CATALOG, (LEDGER_ID,)))
    except ConfigurationError as error:
        if type(error) is not ConfigurationError or error.condition is not Condition.OK:
            raise
        return Book(), 0  # the store has no catalog
    return (Book(), 0) if row is None else (Book.of(row), cast(int, row["version"]))


async def read_book(store: Executor) -> Book:
    """Return what a store's ledger says; an empty book if it has none."""
    return (await read_ledger(store))[0]


async def applied_of(store: Executor) -> tuple[Applied, ...]:
    """Return the migrations that a store has.

    Raises MigrationError if one is under way: its documents are of neither release.
    """
    book = await read_book(store)
    if book.under_way is not None:
        raise MigrationError(
            f"the migration {book.under_way.id!r} is under way",
            hint="complete it first: db.schema.upgrade(), healthstore schema upgrade",
            backend=store.name,
        )
    return book.applied


async def require_unmoved(store: Executor, applied: Sequence[Applied]) -> None:
    """Raise SerializationError if a store has other migrations by now, or is getting one."""
    book = await read_book(store)
    if book.under_way is not None or book.applied != tuple(applied):
        raise SerializationError(
            "migrations were applied while the store was read",
            hint="repeat it when they have ended",
            backend=store.name,
        )


async def require_same_migrations(target: Backend, applied: Sequence[Applied]) -> None:
    """Raise MigrationError if documents of a store with these migrations do not belong to another.

    A ledger is compared with another one: a store that has none is known by its definitions.
    """
    has = await applied_of(target)
    if not applied or not has:
        return
    if [(each.id, each.checksum) for each in has] != [(each.id, each.checksum) for each in applied]:
        raise MigrationError(
            f"the target has the migrations up to {has[-1].id!r}, and the documents are of "
            f"{applied[-1].id!r}" + (", with other files" if has[-1].id == applied[-1].id else ""),
            hint="nothing was written; take an empty database, or bring both to the same "
            "migration first: db.schema.upgrade(), db.schema.downgrade()",
            backend=target.name,
        )


async def note_applied(target: Backend, applied: Sequence[Applied]) -> None:
    """Note in a store that has none yet which migrations its documents and definitions are of."""
    book, version = await read_ledger(target)
    if not applied or book.applied:
        return
    row = replace(book, applied=tuple(applied)).as_row(version + 1)
    try:
        if version == 0:
            await target.execute(Insert(CATALOG, (row,)))
        else:
            await target.execute(Replace(CATALOG, (row,), (version,)))
    except (DuplicateKeyError, StaleVersionError):
        raise SerializationError(
            "another process applies migrations to the target",
            hint="let it end",
            backend=target.name,
        ) from None

"""Deleting rows: those that refer to each other in an order that every database takes."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import cast
from uuid import UUID

from healthstore.abc.unit import Phase
from healthstore.adapters.sql.compile import Statements
from healthstore.adapters.sql.dialect import Connection, Dialect
from healthstore.adapters.sql.errors import Failure, Verdict, explain
from healthstore.model.precedence import children_first
from healthstore.model.schema import Collection, Reference
from healthstore.model.values import Document

__all__ = ("IDS", "delete_rows", "own_reference", "referenced", "unguarded")

# Ids that go into one statement.
IDS = 8_192


def unguarded(collection: Collection, dialect: Dialect) -> tuple[Reference, ...]:
    """Return the references that the database itself does not hold when rows are deleted.

    Where rows are checked one by one, a row that must refer to itself could never go, unless its
    reference cascades. See ``Dialect.checks_statements``.
    """
    if dialect.checks_statements:
        return ()
    return tuple(
        each
        for each in collection.references
        if each.collection == collection.name and not collection.nullable(each.field)
    )


def own_reference(collection: Collection) -> bool:
    """Tell whether rows of a collection may refer to each other."""
    return any(each.collection == collection.name for each in collection.references)


@contextmanager
def referenced(dialect: Dialect, collection: Collection) -> Generator[None, None, None]:
    """Say of a delete that is refused that a row refers to it: one code may say two things."""
    try:
        yield
    except Exception as error:
        failure = dialect.classify(error, Phase.WRITE, collection)
        if failure.verdict is not Verdict.FOREIGN_KEY:
            raise
        raise explain(
            replace(failure, verdict=Verdict.REFERENCED), Phase.WRITE, collection
        ) from None


async def delete_rows(
    connection: Connection,
    statements: Statements,
    dialect: Dialect,
    rows: Mapping[UUID, Document],
    *,
    last: bool,
) -> None:
    """Delete rows that are locked; raise ForeignKeyError if another one refers to them.

    ``last``: nothing else follows in the transaction.
    """
    collection = statements.collection
    for reference in unguarded(collection, dialect):
        for chunk in _chunks(tuple(rows)):
            compiled, values = statements.referring(reference.field, chunk)
            for row in await connection.fetch(compiled.sql, values):
                if statements.decode("id", row[0]) not in rows:
                    failure = Failure(Verdict.REFERENCED, reference.field)
                    raise explain(failure, Phase.WRITE, collection)
    chunks = [chunk for group in _groups(collection, rows) for chunk in _chunks(group)]
    for place, chunk in enumerate(chunks, start=1):
        compiled, values = statements.delete(chunk)
        await connection.execute(compiled.sql, values, last=last and place == len(chunks))


def _groups(collection: Collection, rows: Mapping[UUID, Document]) -> list[list[UUID]]:
    """Return ids in groups, to none of which a row of a later group refers."""
    own = [each.field for each in collection.references if each.collection == collection.name]
    if not own:
        return [list(rows)]
    parents = {
        identity: {cast("UUID | None", row[name]) for name in own} for identity, row in rows.items()
    }
    groups, circle = children_first(cast("dict[UUID, set[UUID]]", parents))
    return [*groups, circle] if circle else groups


def _chunks(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(ids), IDS):
        yield ids[start : start + IDS]

"""Replacing many documents whose versions are known: without reading them first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast
from uuid import UUID

from healthstore.adapters.sql.session import SqlSession
from healthstore.errors import SerializationError
from healthstore.model import evaluate
from healthstore.model.ops import Delete, Replace
from healthstore.model.schema import Collection
from healthstore.model.values import Document

if TYPE_CHECKING:
    from healthstore.adapters.sql.compile import Statements

__all__ = ("replaced_guarded", "require_as_expected")

ById: TypeAlias = Callable[[Collection, Sequence[UUID]], Awaitable[Mapping[UUID, Document]]]


async def replaced_guarded(
    session: SqlSession, statements: Statements, op: Replace, by_id: ById
) -> tuple[bool, ...]:
    """Replace documents that are as they are expected; return for each whether it was there.

    The session is in a transaction, which an error ends. Raises StaleVersionError for a document
    that is not the expected one, SerializationError if somebody else is changing it. ``by_id``
    reads documents in the transaction.
    """
    assert op.versions is not None, "only what names versions is guarded by them"
    update = statements.bulk_update(
        (name for name in op.collection.names if name != "id"), versioned=True, same=op.same
    )
    changes = statements.changes(update, op.documents)
    alike = [update.columns.index(name) for name in op.same]
    rows = [
        (*row, version, *(row[place] for place in alike))
        for row, version in zip(changes, op.versions, strict=True)
    ]
    matched = await session.connection.update_rows(update, rows)
    if matched == len(rows):
        return (True,) * len(rows)
    # The database says how many there were, not which. One that is there and is not as it was to
    # be is another one than the expected, or becomes one: a snapshot may not show that yet.
    ids = [cast(UUID, each["id"]) for each in op.documents]
    there = await by_id(op.collection, ids)
    others = {
        identity: there[identity]
        for identity, each in zip(ids, op.documents, strict=True)
        if there.get(identity, each) != each
    }
    require_as_expected(op, ids, others)
    if others or matched != len(there):
        raise SerializationError(
            "a concurrent unit changed the same documents first", hint="repeat the whole unit"
        )
    return tuple(identity in there for identity in ids)


def require_as_expected(
    op: Replace | Delete, ids: Sequence[UUID], there: Mapping[UUID, Document]
) -> None:
    """Raise StaleVersionError for a document that is there and is not the expected one."""
    for identity, version in zip(ids, op.versions or (), strict=False):
        if identity in there:
            evaluate.check_version(op.collection, there[identity], identity, version)
    if isinstance(op, Replace):
        for identity, document in zip(ids, op.documents, strict=True):
            if identity in there:
                evaluate.check_same(op, there[identity], document)

"""Replacing many documents whose versions are known: without reading them first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias, cast
from uuid import UUID

from healthstore.adapters.sql.compile import Statements
from healthstore.adapters.sql.session import SqlSession
from healthstore.model.evaluate import check_version
from healthstore.model.guarded import replaced
from healthstore.model.ops import Delete, Replace
from healthstore.model.schema import Collection
from healthstore.model.values import Document

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
    ids = [cast(UUID, each["id"]) for each in op.documents]
    return replaced(op, matched, await by_id(op.collection, ids))


def require_as_expected(
    op: Replace | Delete, ids: Sequence[UUID], there: Mapping[UUID, Document]
) -> None:
    """Raise StaleVersionError for a document that is there and is not the expected one."""
    for identity, version in zip(ids, op.versions or (), strict=False):
        if identity in there:
            check_version(op.collection, there[identity], identity, version)

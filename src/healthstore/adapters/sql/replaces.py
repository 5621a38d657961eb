"""Replacing many documents whose versions are known: without reading them first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from healthstore.adapters.sql.session import SqlSession
from healthstore.model import evaluate
from healthstore.model.ops import Delete, Replace
from healthstore.model.values import Document

if TYPE_CHECKING:
    from healthstore.adapters.sql.compile import Statements

__all__ = ("replaced_all", "require_as_expected")

_BEFORE = "before_replacing"


async def replaced_all(session: SqlSession, statements: Statements, op: Replace) -> bool:
    """Replace documents if each is there in its expected version; return whether that was so.

    If it was not, none is replaced. The session is in a transaction.
    """
    assert op.versions is not None, "only what names versions is guarded by them"
    connection = session.connection
    update = statements.bulk_update(
        (name for name in op.collection.names if name != "id"), versioned=True, same=op.same
    )
    changes = statements.changes(update, op.documents)
    alike = [update.columns.index(name) for name in op.same]
    rows = [
        (*row, version, *(row[place] for place in alike))
        for row, version in zip(changes, op.versions, strict=True)
    ]
    # Not session.part(): what fails here ends the transaction, or has ended it already.
    await connection.begin(f"SAVEPOINT {_BEFORE}")  # may go with the next statement
    all_there = await connection.update_rows(update, rows) == len(rows)
    if not all_there:
        await connection.run(f"ROLLBACK TO SAVEPOINT {_BEFORE}")
    await connection.run(f"RELEASE SAVEPOINT {_BEFORE}")
    return all_there


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

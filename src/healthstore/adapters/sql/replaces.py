"""Replacing many documents whose versions are known: without reading them first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthstore.adapters.sql.session import SqlSession
from healthstore.model.ops import Replace

if TYPE_CHECKING:
    from healthstore.adapters.sql.compile import Statements

__all__ = ("replaced_all",)

_BEFORE = "before_replacing"


async def replaced_all(session: SqlSession, statements: Statements, op: Replace) -> bool:
    """Replace documents if each is there in its expected version; return whether that was so.

    If it was not, none is replaced. The session is in a transaction.
    """
    assert op.versions is not None, "only what names versions is guarded by them"
    connection = session.connection
    update = statements.bulk_update(
        (name for name in op.collection.names if name != "id"), versioned=True
    )
    changes = statements.changes(update, op.documents)
    rows = [(*row, version) for row, version in zip(changes, op.versions, strict=True)]
    # Not session.part(): what fails here ends the transaction, or has ended it already.
    await connection.begin(f"SAVEPOINT {_BEFORE}")  # may go with the next statement
    all_there = await connection.update_rows(update, rows) == len(rows)
    if not all_there:
        await connection.run(f"ROLLBACK TO SAVEPOINT {_BEFORE}")
    await connection.run(f"RELEASE SAVEPOINT {_BEFORE}")
    return all_there

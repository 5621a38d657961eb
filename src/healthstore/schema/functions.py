"""Calling the functions of migration files: what they raise or return is told, and quotes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import cast
from uuid import UUID

from healthstore.errors import HealthstoreError, MigrationError
from healthstore.model.documents import canonical_documents, copied_document
from healthstore.model.json import packed_json, sorted_json
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Json
from healthstore.schema.migration import Row
from healthstore.schema.running import Documents
from healthstore.schema.steps import Rewriting

__all__ = ("called", "rewritten")


def rewritten(
    step: Rewriting, function: Callable[[Row], Row | None], page: Sequence[Document]
) -> tuple[list[Document], list[Document]]:
    """Return what a function makes of documents: those that are others, and those that go.

    Raises MigrationError for what is no document, RefusedValueError for a value that its field
    cannot have.
    """
    names = frozenset(step.rows.names)
    changed: list[Document] = []
    gone: list[Document] = []
    for document in page:
        identity = cast(UUID, document["id"])
        try:
            made: object = function(dict(copied_document(step.rows, document)))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a function may fail in any way
            # `from None`: its message may quote the document.
            raise MigrationError(
                f"the function of a Transform raised {type(error).__name__} "
                f"for the document {identity}",
                hint="mend it; what was done before it is kept, and goes on from there",
                entity=step.rows.entity,
            ) from None
        if made is None:
            gone.append(document)
        elif not isinstance(made, dict) or made.get("id") != identity:
            raise MigrationError(
                f"the function of a Transform returned no document with the id {identity}",
                hint="return row | {…}, or None to delete it",
                entity=step.rows.entity,
            )
        elif not names <= made.keys():
            lacking = ", ".join(name for name in step.rows.names if name not in made)
            raise MigrationError(
                f"the function of a Transform returned the document {identity} without {lacking}",
                hint="return row | {…}: a document has every field",
                entity=step.rows.entity,
            )
        elif step.every or made != document or _differs_in_json(step.rows, made, document):
            changed.append({**made, "version": cast(int, document["version"]) + 1})
    try:
        return canonical_documents(step.rows, changed), gone
    except HealthstoreError as error:
        if error.index is not None:  # in a part of a page, of which nobody knows
            refused, error.index = cast(UUID, changed[error.index]["id"]), None
            what = f"of the document {refused} that the function of a Transform returned"
            error.message = f"{error.message}, {what}"
        raise


def _differs_in_json(rows: Collection, made: Row, document: Document) -> bool:
    """Tell whether JSON that is equal is of other kinds: to Python, True and 1 and 1.0 are equal."""
    try:
        return any(
            packed_json(sorted_json(cast(Json, made[name])))
            != packed_json(sorted_json(cast(Json, document[name])))
            for name in rows.mutable
        )
    except (TypeError, ValueError, OverflowError):
        return True  # no JSON: it is told with its field


async def called(function: Callable[[Documents], Awaitable[object]], documents: Documents) -> None:
    """Call a Run's function; raise MigrationError for what it raises."""
    try:
        await function(documents)
    except HealthstoreError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a function may fail in any way
        # `from None`: its message may quote a document.
        raise MigrationError(
            f"the function of a Run raised {type(error).__name__}",
            hint="mend it; nothing of what it did is kept",
        ) from None

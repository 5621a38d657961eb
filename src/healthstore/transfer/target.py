"""The receiving side: collections that are missing or empty are filled, page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from enum import StrEnum
from tempfile import SpooledTemporaryFile
from typing import cast
from uuid import UUID

from healthstore.abc.backend import Backend
from healthstore.errors import (
    BackendError,
    HealthstoreError,
    IntegrityError,
    Outcome,
    RefusedValueError,
    VerificationError,
)
from healthstore.model.filling import Filling
from healthstore.model.ledger import Applied
from healthstore.model.ops import Ensure, Find, Get, Insert, Replace
from healthstore.model.schema import Collection, parents_first
from healthstore.model.size import require_small, surely_small
from healthstore.model.values import Document
from healthstore.transfer.clear import remove_all, require_removable
from healthstore.transfer.digest import Digest, Page
from healthstore.transfer.filling import Fill, filling, mark_of
from healthstore.transfer.later import Later
from healthstore.transfer.ledger import note_applied, require_same_migrations
from healthstore.transfer.pages import pages
from healthstore.transfer.progress import Reporter, Stage
from healthstore.transfer.selection import catalog, require_equal
from healthstore.transfer.walk import Moved, compare, walk

__all__ = ("Replaces", "Target")

# Bytes of references to later documents that are kept in memory, not in a file.
_IN_MEMORY = 1024 * 1024


class Replaces(StrEnum):
    """Of which collections a transfer first removes what its target holds."""

    NONE = ""
    FILLED = "filled"
    """Those that it fills."""
    ALL = "all"


class Target:
    """A store that receives collections, none of which may hold a document yet.

    With ``replaces``, what is there already is removed under the mark of the transfer: of these
    collections, or with Replaces.ALL of every one. What another transfer has left half full is
    taken over, if it is among them.
    ``trusted`` says that the documents are of one moment of a store. Their references hold
    then, if all parents come along, and a store that has to look after references by itself
    need not check them again. ``applied`` are the migrations that the documents are of, to be
    noted in the store when it is whole.
    """

    def __init__(  # noqa: PLR0913 - what is received, and what is known of it
        self,
        backend: Backend,
        collections: Sequence[Collection],
        report: Reporter,
        *,
        trusted: bool,
        applied: Sequence[Applied] = (),
        replaces: Replaces = Replaces.NONE,
    ) -> None:
        self.backend = backend
        self._applied = applied
        self._replaces = replaces
        self._removed: tuple[Collection, ...] = ()
        self._collections = collections
        self._report = report
        self._rows = 0
        self._fill = Fill()
        self._ahead = {each.name for each in collections}
        self._waiting: list[tuple[Collection, Later]] = []
        self._files = ExitStack()
        names = {each.name for each in collections}
        complete = all(
            reference.collection in names for each in collections for reference in each.references
        )
        references = backend.capabilities.references
        self._checked = references and not (trusted and complete)

    async def prepare(self) -> None:
        """Look at what is there; nothing is made but the catalog, or what it says is there.

        Raises SchemaMismatchError for a collection of another definition, MigrationError for
        other migrations or one that is under way, IntegrityError if one holds a document, and
        IncompleteStoreError if another transfer has not ended.
        """
        backend = self.backend
        await backend.execute(Ensure(()))
        present = await catalog(backend)
        there = tuple(each for each in self._collections if each.name in present)
        everything = self._replaces is Replaces.ALL
        self._removed = parents_first(present.values()) if everything else there
        await self._require_whole()
        await require_same_migrations(backend, self._applied)
        for each in there:
            require_equal(present[each.name], each, backend.name)
        await backend.execute(Ensure(there))  # completes what a crash left half-made
        if self._replaces:
            await require_removable(backend, present, {each.name for each in self._removed})
        elif filled := [each.name for each in there if await backend.execute(Find(each, limit=1))]:
            raise IntegrityError(
                f"the target already holds documents of {', '.join(filled)}",
                hint="nothing was written; transfer into an empty database, or empty this one: "
                "db.clear() or `healthstore clear`, for a migration also replace=True",
                backend=backend.name,
            )

    async def _require_whole(self) -> None:
        """Raise IncompleteStoreError for half a copy that is not replaced as a whole."""
        mark = await mark_of(self.backend)
        if mark is None or self._replaces is Replaces.ALL:
            return
        names = {each.name for each in (*self._removed, *self._collections)}  # some may be missing
        if not (self._replaces and set(mark.collections) <= names):
            raise mark.error(self.backend.name)

    @asynccontextmanager
    async def filling(self, operation: str, source: str) -> AsyncGenerator[None, None]:
        """Mark the store, create what is missing, and let a block fill it and read it back.

        An error that ends the block says what the target holds by now, and what to do next; a
        cancellation says it in a note.
        """
        mark = Filling.begun(operation, source, (each.name for each in self._collections))
        async with filling(self.backend, mark, takes_over=bool(self._replaces)) as self._fill:
            try:
                await self.backend.execute(Ensure(tuple(self._collections)))
                if self._replaces:
                    self._fill.begun = True
                    await remove_all(self.backend, self._removed)
                yield
                await note_applied(self.backend, self._applied)
            except BaseException as error:
                if self._fill.begun:
                    left = (
                        f"{self._rows} documents of this transfer are in {self.backend.name}, "
                        f"which does not serve until it is whole: {mark.again}"
                    )
                    if isinstance(error, HealthstoreError):
                        error.hint = "; ".join(filter(None, (error.hint, left)))
                        error.outcome = Outcome.UNKNOWN
                    else:
                        error.add_note(left)
                raise
            finally:
                self._files.close()

    async def fill(
        self, collection: Collection, source: AsyncGenerator[Page, None], total: int | None
    ) -> tuple[Moved, Digest]:
        """Add every document of ``source``, which is in order of ``id``."""
        self._ahead.discard(collection.name)
        with ExitStack() as files:
            file = files.enter_context(SpooledTemporaryFile(max_size=_IN_MEMORY))
            held = self.backend.capabilities.references
            postponed = files.enter_context(SpooledTemporaryFile(max_size=_IN_MEMORY))
            later = Later(collection, file, postponed, held=held, ahead=self._ahead)

            async def handle(page: Page) -> None:
                self._require_small(collection, page)
                await self._insert(collection, later.without(page.rows))

            digest, seconds = await walk(
                Stage.COPY, collection, source, self._report, total=total, handle=handle
            )
            for rows in later.postponed():
                await self._insert(collection, rows)
            if later.waits:
                self._waiting.append((collection, later))
                self._files.push(files.pop_all())
            else:
                await self._settle(collection, later)
        return Moved(collection.name, digest.count, str(digest), seconds), digest

    def _require_small(self, collection: Collection, page: Page) -> None:
        """Refuse what the store does not keep: its own error may be that of a lost connection."""
        most = self.backend.capabilities.max_document_bytes
        if surely_small(page.largest, most):
            return
        try:
            require_small(collection, page.rows, most)
        except RefusedValueError as error:
            raise error.at(backend=self.backend.name) from None

    async def _insert(self, collection: Collection, rows: tuple[Document, ...]) -> None:
        if not rows:
            return
        op = Insert(
            collection,
            rows,
            atomic=self.backend.capabilities.transactions,
            checked_references=self._checked,
        )
        self._fill.begun = True
        added = await self.backend.execute(op)
        self._rows += added
        if added != len(rows):
            raise BackendError(
                f"added {added} of {len(rows)} documents and reported no error",
                hint="this is a defect of the backend's adapter",
                entity=collection.entity,
                backend=self.backend.name,
                outcome=Outcome.UNKNOWN,
            )

    async def complete(self) -> None:
        """Set the references to later collections, when all of them are filled."""
        for collection, later in self._waiting:
            await self._settle(collection, later)

    async def _settle(self, collection: Collection, later: Later) -> None:
        """Set references to documents that were not there yet; nothing else changes."""
        together = self.backend.capabilities.transactions
        for references in later.kept():
            stored = await self.backend.execute(Get(collection, tuple(references)))
            documents = tuple({**row, **references[cast(UUID, row["id"])]} for row in stored if row)
            for group in (documents,) if together else ((each,) for each in documents):
                await self.backend.execute(Replace(collection, group))

    async def verify(self, expected: Mapping[Collection, Digest]) -> None:
        """Read every collection back; raise VerificationError if one is not as expected."""
        differing: list[str] = []
        for collection, digest in expected.items():
            source = pages(self.backend, collection)
            found, _ = await walk(
                Stage.VERIFY, collection, source, self._report, total=digest.count
            )
            if not compare(collection, digest, found, self._report):
                differing.append(
                    f"{collection.name} ({digest.count} expected, {found.count} found)"
                )
        if differing:
            raise VerificationError(
                f"what was read back differs from what was written: {', '.join(differing)}",
                hint="`verify` names the documents; do not use this copy",
                backend=self.backend.name,
                outcome=Outcome.UNKNOWN,
            )

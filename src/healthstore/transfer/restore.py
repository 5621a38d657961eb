"""From a JSON file into a store: the whole file is checked before the store is touched."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from healthstore.abc.backend import Backend
from healthstore.errors import (
    BackupCorruptError,
    MigrationError,
    SchemaMismatchError,
)
from healthstore.model.ledger import Applied
from healthstore.model.schema import Collection
from healthstore.transfer.digest import NOTHING, Digest
from healthstore.transfer.pages import drawn
from healthstore.transfer.place import file_path
from healthstore.transfer.progress import (
    CollectionFinished,
    CollectionStarted,
    Finished,
    PageMoved,
    Planned,
    Progress,
    Reporter,
    Stage,
)
from healthstore.transfer.reader import BackupReader
from healthstore.transfer.selection import Collections, choose_from
from healthstore.transfer.snapshot import Consistency
from healthstore.transfer.target import Target
from healthstore.transfer.walk import Moved

__all__ = ("Place", "RestoreReport", "restore")

# From the definitions and the migrations that a checked file states to those that are noted;
# what it raises ends the restore before the target is touched.
Place: TypeAlias = Callable[
    [Sequence[Collection], tuple[Applied, ...]], Awaitable[tuple[Applied, ...]]
]
_OF_ITS_TIME = (
    'migrations="migrations" (--migrations) restores a backup of an earlier release into an empty '
    "database, and brings it to the head"
)


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What was restored, in order: parents first; and which backup it was.

    ``collections`` are as the backup has them; ``migrated`` are the migrations that were applied
    to them afterwards.
    """

    path: Path
    target: str
    backup_id: UUID
    created_at: datetime
    consistency: Consistency
    collections: tuple[Moved, ...]
    seconds: float
    migrated: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The number of documents that were restored."""
        return sum(each.rows for each in self.collections)


async def restore(
    path: str | os.PathLike[str],
    target: Backend,
    collections: Collections = None,
    *,
    on_event: Progress | None = None,
    place: Place | None = None,
) -> RestoreReport:
    """Load a backup, or some of its collections, into a store where they are missing or empty.

    First the whole file is checked: bytes, definitions, every document, numbers and digests.
    Then the documents are added, and every collection is read back. Memory is bounded. A restore
    of all collections also notes which migrations they are of, if the file says so; ``place`` may
    say otherwise, or refuse.

    Raises BackupCorruptError for a file that is not as it was written, BackupError for one that
    cannot be read or holds a larger document than the target keeps, ConfigurationError for a
    collection that is not in it, SchemaMismatchError for one of another definition,
    MigrationError if the target has other migrations, IntegrityError if it holds documents
    already, IncompleteStoreError if another transfer into it has not ended, VerificationError if
    what was read back differs. The target is marked meanwhile, and
    after a failure half-way: then it does not serve.
    """
    started = time.perf_counter()
    report = Reporter(on_event)
    file = file_path(path)
    with BackupReader(file, target.capabilities.max_document_bytes) as reader:
        await _check(reader, report)
        available = {each.name: each for each in reader.collections}
        try:
            names = {each.name for each in choose_from(available, collections, file.name)}
        except SchemaMismatchError as error:
            error.hint = f"{_OF_ITS_TIME}; {error.hint}"
            raise
        wanted = {each.name: each for each in reader.collections if each.name in names}
        report(Planned({name: reader.digests[name].count for name in wanted}))
        trusted = reader.header.consistency is Consistency.SNAPSHOT
        applied = reader.header.migrations if collections is None else ()
        if place is not None:
            applied = await place(reader.collections, applied)
        filler = Target(target, tuple(wanted.values()), report, trusted=trusted, applied=applied)
        try:
            await filler.prepare()
        except (MigrationError, SchemaMismatchError) as error:
            error.hint = f"{_OF_ITS_TIME}; {error.hint}"
            raise
        expected: dict[Collection, Digest] = {}
        moved: list[Moved] = []
        async with filler.filling("restore", file.name):
            for name, each in wanted.items():
                stated = expected[each] = reader.digests[name]
                done, found = await filler.fill(each, drawn(reader.pages(each)), stated.count)
                moved.append(done)
                if found != stated:
                    raise BackupCorruptError(
                        "the backup changed while it was restored",
                        hint="do not use what was restored; repeat it with a file that stays",
                        entity=each.entity,
                    )
            await filler.complete()
            await filler.verify(expected)
        header = reader.header
    seconds = time.perf_counter() - started
    report(Finished(sum(each.rows for each in moved), seconds))
    return RestoreReport(
        file,
        target.name,
        header.backup_id,
        header.created_at,
        header.consistency,
        tuple(moved),
        seconds,
    )


async def _check(reader: BackupReader, report: Reporter) -> None:
    """Check the whole file, and report its documents."""
    current: Collection | None = None
    digest, since = NOTHING, time.perf_counter()

    def finished(collection: Collection) -> None:
        seconds = time.perf_counter() - since
        report(CollectionFinished(Stage.CHECK, collection.name, digest.count, seconds, str(digest)))

    async with aclosing(drawn(item or () for item in reader.check())) as items:
        async for item in items:
            if not item:
                continue
            collection, page = item
            total = reader.digests[collection.name].count
            if collection is not current:
                if current is not None:
                    finished(current)
                current, digest, since = collection, NOTHING, time.perf_counter()
                report(CollectionStarted(Stage.CHECK, collection.name, total))
            digest += page.digest
            report(
                PageMoved(
                    Stage.CHECK, collection.name, len(page.rows), page.size, digest.count, total
                )
            )
    if current is not None:
        finished(current)

"""From a store to one JSON file."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from healthstore.abc.backend import Backend
from healthstore.transfer._offload import offload
from healthstore.transfer.digest import Digest, Page
from healthstore.transfer.format import new_header
from healthstore.transfer.ledger import applied_of, require_unmoved
from healthstore.transfer.migrate import count_documents
from healthstore.transfer.pages import pages
from healthstore.transfer.place import file_path
from healthstore.transfer.progress import Finished, Planned, Progress, Reporter, Stage
from healthstore.transfer.selection import Collections, choose
from healthstore.transfer.snapshot import Consistency, reading
from healthstore.transfer.walk import Moved, walk
from healthstore.transfer.writer import BackupWriter

__all__ = ("BackupReport", "backup")


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What was written: ``size`` is in bytes, ``sha256`` the one that the footer states."""

    source: str
    path: Path
    backup_id: UUID
    consistency: Consistency
    collections: tuple[Moved, ...]
    size: int
    sha256: str
    seconds: float

    @property
    def rows(self) -> int:
        """The number of documents in the backup."""
        return sum(each.rows for each in self.collections)


async def backup(
    source: Backend,
    path: str | os.PathLike[str],
    collections: Collections = None,
    *,
    consistency: Consistency = Consistency.SNAPSHOT,
    on_event: Progress | None = None,
) -> BackupReport:
    """Write collections, all by default, to a file in the format of :mod:`.format`.

    The file appears complete and durable, readable by its owner only, or not at all: after a
    failure or a cancellation a file that was there before is unchanged, and nothing is left.
    ``consistency="fuzzy"`` reads without a snapshot, also where the source has transactions.
    A backup of all collections says which migrations the source has.

    Raises ConfigurationError for an unknown collection, BackupError if the file cannot be
    written, or if another file than a backup is there, MigrationError while a migration of the
    source is under way.
    """
    started = time.perf_counter()
    place = file_path(path)
    report = Reporter(on_event)
    applied = await applied_of(source)
    chosen = await choose(source, collections)
    writer = BackupWriter(place)
    digests: dict[str, Digest] = {}
    moved: list[Moved] = []

    async def add(page: Page) -> None:
        await offload(writer.add, page.rows)

    try:
        async with reading(source, Consistency(consistency)) as snapshot:
            totals = await count_documents(snapshot.executor, chosen)
            report(Planned(totals))
            noted = applied if collections is None else ()
            header = new_header(source.name, snapshot.consistency, chosen, noted)
            await offload(writer.start, header, chosen)
            for each in chosen:
                writer.begin(each)
                rows = pages(snapshot.executor, each)
                digest, seconds = await walk(
                    Stage.COPY, each, rows, report, total=totals[each.name], handle=add
                )
                writer.end(last=each is chosen[-1])
                digests[each.name] = digest
                moved.append(Moved(each.name, digest.count, str(digest), seconds))
            await require_unmoved(snapshot.executor, applied)
        sha256 = await offload(writer.finish, digests)
    finally:
        writer.discard()
    seconds = time.perf_counter() - started
    report(Finished(sum(each.rows for each in moved), seconds))
    return BackupReport(
        source.name,
        place,
        header.backup_id,
        snapshot.consistency,
        tuple(moved),
        writer.size,
        sha256,
        seconds,
    )

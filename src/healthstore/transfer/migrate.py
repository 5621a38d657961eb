"""From one store to another: copied, and read back."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from healthstore.abc.backend import Backend, Executor
from healthstore.errors import ConfigurationError
from healthstore.model.ops import CountDocuments
from healthstore.model.schema import Collection
from healthstore.transfer.digest import Digest
from healthstore.transfer.ledger import applied_of, require_unmoved
from healthstore.transfer.pages import PAGE_ROWS, pages
from healthstore.transfer.progress import Finished, Planned, Progress, Reporter
from healthstore.transfer.selection import Collections, choose
from healthstore.transfer.snapshot import Consistency, reading
from healthstore.transfer.target import Replaces, Target
from healthstore.transfer.walk import Moved

__all__ = ("MigrationReport", "count_documents", "migrate")


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What was copied, in order: parents first. ``verified``: read back and found equal.

    ``consistency`` says of which moment of the source the documents are.
    """

    source: str
    target: str
    consistency: Consistency
    collections: tuple[Moved, ...]
    verified: bool
    seconds: float

    @property
    def rows(self) -> int:
        """The number of documents that were copied."""
        return sum(each.rows for each in self.collections)


async def migrate(  # noqa: PLR0913 - options are keywords, each with a default
    source: Backend,
    target: Backend,
    collections: Collections = None,
    *,
    replace: bool = False,
    verify: bool = True,
    consistency: Consistency = Consistency.SNAPSHOT,
    page_rows: int = PAGE_ROWS,
    on_event: Progress | None = None,
) -> MigrationReport:
    """Copy collections, all by default, into a store where they are missing or empty.

    With ``replace`` the documents that are there are removed first, of these collections or, if
    all are copied, of every collection of the target; and what an earlier transfer has left half
    full is filled anew.

    Documents arrive as they are, versions and times of change included. Memory is bounded: two
    pages of at most ``page_rows`` documents and about 512 KiB each. Afterwards every collection is
    read back, unless ``verify`` is false. ``consistency="fuzzy"`` reads without a snapshot, also
    where the source has transactions.

    A copy of all collections takes along which migrations the source has, if the target has none
    noted yet; what applies them, or has not been completed, stays.

    The target is marked until all of that has ended well: meanwhile, and after a failure, it does
    not serve.

    Raises ConfigurationError for an unknown collection, IntegrityError if the target holds
    documents already, IncompleteStoreError if another transfer into either store has not ended,
    VerificationError if what was read back differs, and MigrationError if a migration is under
    way in either, or the target has others. An error that comes later says in its hint how many documents the target holds by then.
    """
    if source is target:
        raise ConfigurationError(
            "source and target are the same store", hint="name two stores", backend=source.name
        )
    started = time.perf_counter()
    report = Reporter(on_event)
    applied = await applied_of(source)
    chosen = await choose(source, collections)
    expected: dict[Collection, Digest] = {}
    moved: list[Moved] = []
    async with AsyncExitStack() as marked:
        async with reading(source, Consistency(consistency)) as snapshot:
            totals = await count_documents(snapshot.executor, chosen)
            trusted = snapshot.consistency is Consistency.SNAPSHOT
            replaces = Replaces.NONE
            if replace:
                replaces = Replaces.ALL if collections is None else Replaces.FILLED
            noted = applied if collections is None else ()
            filler = Target(
                target, chosen, report, trusted=trusted, applied=noted, replaces=replaces
            )
            await filler.prepare()
            report(Planned(totals))
            await marked.enter_async_context(filler.filling("migrate", source.name))
            for each in chosen:
                rows = pages(snapshot.executor, each, page_rows=page_rows)
                done, expected[each] = await filler.fill(each, rows, totals[each.name])
                moved.append(done)
            await filler.complete()
            await require_unmoved(snapshot.executor, applied)
        if verify:
            await filler.verify(expected)
    seconds = time.perf_counter() - started
    report(Finished(sum(each.rows for each in moved), seconds))
    return MigrationReport(
        source.name, target.name, snapshot.consistency, tuple(moved), verify, seconds
    )


async def count_documents(
    executor: Executor, collections: tuple[Collection, ...]
) -> dict[str, int]:
    """Return the number of documents of each collection."""
    return {each.name: await executor.execute(CountDocuments(each)) for each in collections}

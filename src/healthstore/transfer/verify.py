"""Two stores side by side: equal, or different in which documents and fields."""

from __future__ import annotations

import time
from dataclasses import dataclass

from healthstore.abc.backend import Backend, Executor
from healthstore.abc.collector import collector_spaced
from healthstore.errors import VerificationError
from healthstore.model.catalog import differences
from healthstore.model.ops import CountDocuments
from healthstore.model.schema import Collection
from healthstore.transfer.comparison import Comparison, Merge
from healthstore.transfer.digest import Digest, Page
from healthstore.transfer.filling import mark_of
from healthstore.transfer.progress import (
    CollectionFinished,
    CollectionStarted,
    Finished,
    PageMoved,
    Progress,
    Reporter,
    Stage,
)
from healthstore.transfer.selection import Collections, catalog, choose_from
from healthstore.transfer.snapshot import Consistency, reading
from healthstore.transfer.walk import compare

__all__ = ("VerificationReport", "verify")


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """The comparison of two stores, collection by collection.

    ``unfinished`` names transfers into either store that have not ended: half a copy is equal to
    nothing.
    """

    left: str
    right: str
    left_consistency: Consistency
    right_consistency: Consistency
    collections: tuple[Comparison, ...]
    seconds: float
    unfinished: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether every collection is equal, and both stores are whole."""
        return not self.unfinished and all(each.equal for each in self.collections)

    @property
    def rows(self) -> int:
        """The number of documents on the left."""
        return sum(each.left_rows or 0 for each in self.collections)

    def require(self) -> None:
        """Raise VerificationError unless every collection is equal."""
        if not self.equal:
            unequal = [str(each) for each in self.collections if not each.equal]
            different = "; ".join((*self.unfinished, *unequal))
            raise VerificationError(
                f"{self.left} and {self.right} differ: {different}",
                hint="the report names the first documents that differ",
            )


async def verify(
    left: Backend,
    right: Backend,
    collections: Collections = None,
    *,
    consistency: Consistency = Consistency.SNAPSHOT,
    on_event: Progress | None = None,
) -> VerificationReport:
    """Compare two stores, document by document, with bounded memory.

    By default every collection of either store is compared. A difference is reported, not
    raised; :meth:`VerificationReport.require` raises. Raises ConfigurationError for a collection
    that neither store has.
    """
    started = time.perf_counter()
    report = Reporter(on_event)
    here, there = await catalog(left), await catalog(right)
    marks = [(store, await mark_of(store)) for store in (left, right)]
    unfinished = tuple(f"{store.name} is not whole: {mark}" for store, mark in marks if mark)
    chosen = choose_from({**there, **here}, collections, f"{left.name} and {right.name}")
    names = [each.name for each in chosen]
    wanted = Consistency(consistency)
    compared: list[Comparison] = []
    async with reading(left, wanted) as one, reading(right, wanted) as other:
        for name in names:
            mine, its = here.get(name), there.get(name)
            if mine is not None and mine == its:
                compared.append(await _compare(mine, one.executor, other.executor, report))
            else:
                counts = [
                    None if each is None else await store.executor.execute(CountDocuments(each))
                    for each, store in ((mine, one), (its, other))
                ]
                words = differences(mine, its) if mine and its else ()
                compared.append(Comparison(name, counts[0], counts[1], definition=words))
    seconds = time.perf_counter() - started
    result = VerificationReport(
        left.name,
        right.name,
        one.consistency,
        other.consistency,
        tuple(compared),
        seconds,
        unfinished,
    )
    report(Finished(result.rows, seconds))
    return result


async def _compare(
    collection: Collection, left: Executor, right: Executor, report: Reporter
) -> Comparison:
    started = time.perf_counter()
    total = await left.execute(CountDocuments(collection))
    report(CollectionStarted(Stage.VERIFY, collection.name, total))

    def moved(page: Page, digest: Digest) -> None:
        rows = len(page.rows)
        report(PageMoved(Stage.VERIFY, collection.name, rows, page.size, digest.count, total))

    async with collector_spaced():
        comparison, mine, its = await Merge(collection, moved).run(left, right)
    seconds = time.perf_counter() - started
    report(CollectionFinished(Stage.VERIFY, collection.name, mine.count, seconds, str(mine)))
    compare(collection, mine, its, report)
    return comparison

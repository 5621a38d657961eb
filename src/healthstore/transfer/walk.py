"""Going over a collection's pages once: what every stage of a transfer has in common."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from healthstore.abc.collector import collector_spaced
from healthstore.model.schema import Collection
from healthstore.transfer.digest import NOTHING, Digest, Page
from healthstore.transfer.progress import (
    CollectionFinished,
    CollectionStarted,
    Mismatch,
    PageMoved,
    Reporter,
    Stage,
    Verified,
)

__all__ = ("Moved", "compare", "walk")

P = TypeVar("P", bound=Page)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a transfer moved of one collection, and how many seconds that took."""

    collection: str
    rows: int
    digest: str
    seconds: float


async def walk(  # noqa: PLR0913 - what all stages have in common, and how they differ
    stage: Stage,
    collection: Collection,
    pages: AsyncGenerator[P, None],
    report: Reporter,
    *,
    total: int | None = None,
    handle: Callable[[P], Awaitable[None]] | None = None,
    share: Callable[[], float] | None = None,
) -> tuple[Digest, float]:
    """Pass every page to ``handle``; return the digest of all and the seconds, and close.

    ``share`` tells how much of a file has been read.
    """
    started = time.perf_counter()
    digest = NOTHING
    report(CollectionStarted(stage, collection.name, total))
    async with collector_spaced(), aclosing(pages):
        async for page in pages:
            if handle is not None:
                await handle(page)
            digest += page.digest
            report(
                PageMoved(
                    stage,
                    collection.name,
                    len(page.rows),
                    page.size,
                    digest.count,
                    total,
                    None if share is None else share(),
                )
            )
    seconds = time.perf_counter() - started
    report(CollectionFinished(stage, collection.name, digest.count, seconds, str(digest)))
    return digest, seconds


def compare(collection: Collection, expected: Digest, found: Digest, report: Reporter) -> bool:
    """Report whether a collection that was read back is equal, and return it."""
    if expected == found:
        report(Verified(collection.name, found.count, str(found)))
        return True
    report(
        Mismatch(collection.name, expected.count, found.count, str(expected), str(found)),
    )
    return False

"""From a backup into a store, through the migrations that came after it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from healthstore import transfer
from healthstore.abc.backend import Backend
from healthstore.errors import HealthstoreError, InvalidRequestError, MigrationError
from healthstore.model.change import changes_between
from healthstore.model.ledger import Applied, Book
from healthstore.model.schema import Collection
from healthstore.schema.files import HEAD, Chain, read_chain
from healthstore.schema.ledger import now
from healthstore.schema.squash import adopted
from healthstore.schema.upgrade import move, require_known
from healthstore.transfer import Progress, RestoreReport
from healthstore.transfer.ledger import require_same_migrations
from healthstore.transfer.selection import Collections, catalog

__all__ = ("restore",)

_WAIT = 60.0  # seconds for another process that applies migrations


async def restore(  # noqa: PLR0913 - options are keywords, each with a default
    path: str | os.PathLike[str],
    target: Backend,
    collections: Collections = None,
    *,
    migrations: str | Path | None = None,
    allow_loss: bool = False,
    on_event: Progress | None = None,
) -> RestoreReport:
    """Load a backup into a store; with a folder of migrations, then apply those that came later.

    Before the target is touched, the backup must be of a place of the folder's chain: that which
    it states, or the only one with its definitions. Its documents are loaded and verified as they
    are, their place is noted, and the store is moved to the head. What is killed before that is
    half a copy; afterwards ``upgrade`` completes it.

    Raises what :func:`healthstore.transfer.restore` raises; MigrationError for a backup that the
    chain does not lead from; what :func:`~healthstore.schema.upgrade.move` raises, with a hint
    where the store is by then; InvalidRequestError for a part of a backup with migrations.
    """
    if migrations is None:
        return await transfer.restore(path, target, collections, on_event=on_event)
    if collections is not None:
        raise InvalidRequestError(
            "migrations are of a whole backup, and a part of it is wanted",
            hint="leave the entities out",
        )
    started = time.perf_counter()
    chain = await asyncio.to_thread(read_chain, migrations)
    if not chain.links:
        raise MigrationError(
            f"there is no migration in {chain.folder}", hint="name the folder of the files"
        )

    async def place(
        stated: Sequence[Collection], applied: tuple[Applied, ...]
    ) -> tuple[Applied, ...]:
        known = {each.name: each for each in stated}
        found = _stated(chain, known, applied) if applied else _found(chain, known)
        await require_same_migrations(target, found)
        await _require_free(target, chain, known)
        return found

    report = await transfer.restore(path, target, on_event=on_event, place=place)
    try:
        done = await move(target, chain, HEAD, allow_loss=allow_loss, wait=_WAIT)
    except HealthstoreError as error:
        there = "the backup is restored; db.schema.upgrade() goes on from where it is"
        error.hint = "; ".join(filter(None, (error.hint, there)))
        raise
    return replace(report, migrated=done, seconds=time.perf_counter() - started)


def _stated(
    chain: Chain, known: Mapping[str, Collection], applied: tuple[Applied, ...]
) -> tuple[Applied, ...]:
    """Return the migrations that a backup states, if it is as it is after them.

    One that takes the place of several stands for those.
    """
    book = adopted("", chain, Book(applied), "backup")
    require_known("", chain, book, "backup")
    last = chain.links[len(book.applied) - 1]
    for name, each in last.state.items():
        if name not in known or changes_between(known[name], each):
            raise MigrationError(
                f"the backup's collection {name!r} is not as it is after {last.id!r}",
                hint="its store was changed in another way, too: restore it without migrations, "
                "and compare it by db.schema.plan()",
            )
    return book.applied


def _found(chain: Chain, known: Mapping[str, Collection]) -> tuple[Applied, ...]:
    """Return the migrations after which a store is as a backup that states none."""
    managed = {name for link in chain.links for name in link.state}
    mine = {name: each for name, each in known.items() if name in managed}
    places = [
        place
        for place, link in enumerate(chain.links, 1)
        if mine
        and mine.keys() == link.state.keys()
        and not any(changes_between(mine[name], each) for name, each in link.state.items())
    ]
    if len(places) != 1:
        alike = " and ".join(repr(chain.ids[place - 1]) for place in places)
        raise MigrationError(
            "the backup does not say which migrations it is of, and its definitions are those "
            + (f"after {alike}" if alike else f"after none in {chain.folder}"),
            hint="restore it without migrations; then db.schema.stamp() with the id of the last "
            "one that it has, and db.schema.upgrade()",
        )
    return tuple(Applied(each.id, each.checksum, now()) for each in chain.links[: places[0]])


async def _require_free(target: Backend, chain: Chain, known: Mapping[str, Collection]) -> None:
    """Raise MigrationError if a store has a collection that a later migration is to make."""
    later = {name for link in chain.links for name in link.state} - known.keys()
    there = sorted(later & (await catalog(target)).keys())
    if there:
        raise MigrationError(
            f"the target has {', '.join(there)}, which the backup does not have",
            hint="nothing was written; restore it into an empty database",
            backend=target.name,
        )

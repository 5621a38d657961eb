"""Taking a store to nothing and back: every collection goes, and the migrations are applied anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from healthstore.abc.backend import Backend
from healthstore.config.settings import Profile
from healthstore.errors import Condition, ConfigurationError, InvalidRequestError
from healthstore.layers.guard import GuardLayer
from healthstore.model.catalog import CATALOG, altering, from_definition, is_renaming
from healthstore.model.filling import Filling, collections_only
from healthstore.model.ops import Alter, CountDocuments, Drop, Ensure, Rename
from healthstore.model.requests import REQUESTS
from healthstore.model.schema import Collection, parents_first
from healthstore.schema.evolve import alter_patiently
from healthstore.schema.files import HEAD, Chain
from healthstore.schema.ledger import Ledger
from healthstore.schema.upgrade import move
from healthstore.transfer.filling import filling
from healthstore.transfer.pages import pages
from healthstore.transfer.selection import catalog, remembers

__all__ = ("ResetReport", "require_no_production", "reset")


@dataclass(frozen=True, slots=True)
class ResetReport:
    """What a reset did or, of a dry run, would do."""

    store: str
    collections: Mapping[str, int]
    """The number of documents that each collection had, parents first."""
    applied: tuple[str, ...] = ()
    """The ids of the migrations that were applied then; none of a dry run."""

    @property
    def rows(self) -> int:
        """The number of documents that were removed."""
        return sum(self.collections.values())


def require_no_production(name: str, profile: Profile) -> None:
    """Raise InvalidRequestError if a member is in production: there nothing is reset."""
    if profile is Profile.PRODUCTION:
        raise InvalidRequestError(
            f"{name} is in production, and a reset removes everything that it has",
            hint="nothing was changed; if it is meant, drop the database by its own tools",
            backend=name,
        )


async def reset(store: Backend, chain: Chain, *, wait: float, dry_run: bool) -> ResetReport:
    """Drop every collection that a store's catalog knows, and apply the migrations of a chain.

    The store is marked from before the first collection goes until the last one is gone: a reset
    that is cut short leaves one that serves nobody, and is completed by asking again. What a
    transfer has left half full goes as well. Raises SerializationError if another process applies
    migrations for longer than ``wait`` seconds.
    """
    if dry_run:
        return ResetReport(store.name, await _counted(store, await _ordered(store)))
    async with Ledger.locked(store, wait) as ledger:
        await _complete_renames(store)
        ordered = await _ordered(store)
        counts = await _counted(store, ordered)
        mark = Filling.begun("reset", str(chain.folder), counts)
        async with filling(store, mark, takes_over=True) as fill:
            fill.begun = True
            await ledger.write(replace(ledger.book, applied=(), under_way=None))
            if await remembers(store):
                await store.execute(Drop(REQUESTS))
            for each in reversed(await _opened(store, ordered)):
                await store.execute(Drop(each))
    applied = await move(store, chain, HEAD, allow_loss=False, wait=wait) if chain.links else ()
    return ResetReport(store.name, counts, applied)


async def _complete_renames(store: Backend) -> None:
    """Complete what was cut short: a collection that is being renamed is known by no name."""
    begun: list[Rename] = []
    async with aclosing(pages(store, CATALOG)) as read:
        async for page in read:
            for row in collections_only(page.rows):
                after = altering(row)
                if is_renaming(row) and after is not None:
                    begun.append(Rename(from_definition(row["definition"]), after))
    for each in begun:
        await alter_patiently(GuardLayer(store), each)


async def _ordered(store: Backend) -> tuple[Collection, ...]:
    return parents_first((await catalog(store)).values())


async def _counted(store: Backend, collections: Sequence[Collection]) -> dict[str, int]:
    return {each.name: await _count(store, each) for each in collections}


async def _count(store: Backend, collection: Collection) -> int:
    try:
        return await store.execute(CountDocuments(collection))
    except ConfigurationError as error:
        if type(error) is not ConfigurationError or error.condition is not Condition.OK:
            raise
        return 0  # it is known only: what makes or drops it was cut short


async def _opened(store: Backend, ordered: Sequence[Collection]) -> list[Collection]:
    """Return the collections without references to later ones: of a circle, none could go."""
    guarded = GuardLayer(store)
    opened: list[Collection] = []
    for place, each in enumerate(ordered):
        later = {one.name for one in ordered[place + 1 :]}
        kept = tuple(one for one in each.references if one.collection not in later)
        cut = replace(each, references=kept)
        if cut.references != each.references:
            await store.execute(Ensure(tuple(ordered)))  # completes what is half-made
            await alter_patiently(guarded, Alter(each, cut))
            ordered = [cut if one is each else one for one in ordered]
        opened.append(cut)
    return opened

"""The mark of a store that is being filled: written first, removed when the store is whole.

Nothing but the catalog is made before it: no collection is there that a killed transfer made.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from healthstore.abc.backend import Backend
from healthstore.errors import Condition, ConfigurationError, DuplicateKeyError, HealthstoreError
from healthstore.model.catalog import CATALOG
from healthstore.model.filling import FILLING_ID, Filling
from healthstore.model.ops import Delete, Ensure, Get, Insert, Replace
from healthstore.transfer._offload import to_the_end

__all__ = ("Fill", "emptied", "filling", "mark_of", "release", "require_whole")


async def mark_of(backend: Backend) -> Filling | None:
    """Return the mark of a transfer into a store that has not ended well; None: it is whole."""
    try:
        (row,) = await backend.execute(Get(CATALOG, (FILLING_ID,)))
    except ConfigurationError as error:
        if type(error) is not ConfigurationError or error.condition is not Condition.OK:
            raise
        return None  # the store has no catalog
    return None if row is None else Filling.of(row)


async def require_whole(backend: Backend) -> None:
    """Raise IncompleteStoreError for a store that holds half a copy."""
    mark = await mark_of(backend)
    if mark is not None:
        raise mark.error(backend.name)


async def release(backend: Backend) -> None:
    """Remove the mark of a store: whoever calls this answers for what the store holds."""
    await backend.execute(Ensure(()))
    await backend.execute(Delete(CATALOG, (FILLING_ID,)))


async def emptied(backend: Backend, collections: Iterable[str] | None = None) -> None:
    """Remove the mark if all that it names are among the collections that have been emptied.

    Without ``collections`` the whole store has been.
    """
    mark = await mark_of(backend)
    if mark is not None and (collections is None or set(mark.collections) <= set(collections)):
        await release(backend)


class Fill:
    """A transfer that is under way; ``begun`` is set before its first document is sent."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = False


@asynccontextmanager
async def filling(
    backend: Backend, mark: Filling, *, takes_over: bool = False
) -> AsyncGenerator[Fill, None]:
    """Mark a store while a block fills it; the mark stays if the block fails half-way.

    Raises IncompleteStoreError if another transfer has marked it, unless this one ``takes_over``:
    then its mark is put in the other one's place, and stays also if the block fails before it
    has begun.
    """
    await backend.execute(Ensure(()))
    fill = Fill()
    try:
        if takes_over:
            (fill.begun,) = await backend.execute(Replace(CATALOG, (mark.as_row(),)))
        if not fill.begun:
            await backend.execute(Insert(CATALOG, (mark.as_row(),)))
    except DuplicateKeyError:
        await require_whole(backend)
        raise  # the other one has just ended: what it left must be looked at anew
    try:
        yield fill
    except BaseException as error:
        if not fill.begun:
            try:
                await to_the_end(release(backend))
            except HealthstoreError as second:
                error.add_note(f"the mark of the transfer was not removed: {second}")
        raise
    await to_the_end(release(backend))

"""Making what a store lacks and, if asked for, altering what it has of an earlier release."""

from __future__ import annotations

from healthstore.abc.backend import Backend
from healthstore.model.change import CreateCollection, changes_between
from healthstore.model.ops import Ensure, Ensured
from healthstore.model.schema import Collection
from healthstore.model.serve import serves
from healthstore.schema.evolve import evolve
from healthstore.transfer.selection import catalog

__all__ = ("ensure_or_evolve",)


async def ensure_or_evolve(guarded: Backend, ensure: Ensure, whole: Backend) -> Ensured:
    """Create the collections that are missing; alter additively those of other definitions.

    ``whole`` is the store behind ``guarded``, as transfers use it. Raises SchemaChangeError,
    before anything is changed, if a change is more than additive.
    """
    stored = await catalog(whole)
    apart = [
        each
        for each in ensure.collections
        if (there := stored.get(each.name)) is not None and _is_behind(there, each)
    ]
    if not apart:
        return await guarded.execute(ensure)
    applied = await evolve([whole], ensure.collections)
    ensured = await guarded.execute(ensure)
    made = [
        each.collection
        for each in applied.operations
        if isinstance(each.operation, CreateCollection)
    ]
    return Ensured(
        tuple(each for each in (*ensured.created, *ensured.present) if each in made),
        tuple(each for each in ensured.present if each not in made),
    )


def _is_behind(stored: Collection, wanted: Collection) -> bool:
    """Tell whether a stored definition is to become the wanted one: it is older, or serves nobody."""
    if not changes_between(stored, wanted):
        return False
    return serves(wanted, stored) or not serves(stored, wanted)

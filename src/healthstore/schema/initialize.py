"""Making what a store lacks and, if asked for, altering what it has of an earlier release."""

from __future__ import annotations

from healthstore.abc.backend import Backend
from healthstore.errors import SchemaMismatchError
from healthstore.model.change import CreateCollection
from healthstore.model.ops import Ensure, Ensured
from healthstore.schema.evolve import evolve

__all__ = ("ensure_or_evolve",)


async def ensure_or_evolve(guarded: Backend, ensure: Ensure, whole: Backend) -> Ensured:
    """Create the collections that are missing; alter additively those of other definitions.

    ``whole`` is the store behind ``guarded``, as transfers use it. Raises SchemaChangeError,
    before anything is changed, if a change is more than additive.
    """
    try:
        return await guarded.execute(ensure)
    except SchemaMismatchError:
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

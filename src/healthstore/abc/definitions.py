"""What every adapter does for the operations that change definitions: the catalog is kept first.

A store's catalog is changed before a collection is made, and after one is altered or dropped: what
is cut short is known then, and completed by asking again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from healthstore.abc.unit import Phase
from healthstore.errors import (
    CapabilityError,
    DuplicateKeyError,
    ForeignKeyError,
    SchemaMismatchError,
    StaleVersionError,
)
from healthstore.model.catalog import (
    CATALOG,
    altering,
    catalog_id,
    from_definition,
    is_renaming,
    references_led,
    require_makeable,
    require_same,
    require_unaltered,
    to_altering,
    to_document,
    to_renaming,
)
from healthstore.model.change import changes_between
from healthstore.model.filling import collections_only
from healthstore.model.ops import (
    Alter,
    Delete,
    Drop,
    Ensure,
    Ensured,
    Get,
    Insert,
    Rename,
    Replace,
)
from healthstore.model.query import ALL
from healthstore.model.schema import Collection, parents_first
from healthstore.model.values import Document

if TYPE_CHECKING:
    from healthstore.abc.adapter import Adapter

__all__ = ("alter", "drop", "ensure", "rename")

S = TypeVar("S")


async def ensure(adapter: Adapter[S], session: S, op: Ensure) -> Ensured:
    """Hold what is there against the catalog, then create what is missing.

    The catalog's row comes first: a crash leaves a row without its collection, which the
    next call completes, never a collection that nobody knows.
    """
    there = await adapter.existing(session)
    await adapter.create(session, CATALOG)
    ordered = parents_first(op.collections)
    read = Get(CATALOG, tuple(catalog_id(each.name) for each in ordered))
    rows = await adapter.get(session, read)
    for collection, row in zip(ordered, rows, strict=True):
        require_makeable(collection, row, there, {each.name for each in ordered})
    new = [each for each, row in zip(ordered, rows, strict=True) if row is None]
    for collection in new:
        await _record(adapter, session, collection)
    kept = {
        collection.name
        for collection, row in zip(ordered, rows, strict=True)
        if row is not None and altering(row)
    }
    # What is being altered is left: to complete it now would undo that.
    making = [each for each in ordered if each.name not in kept]
    for place, collection in enumerate(making):
        try:
            await adapter.create(session, collection)
        except CapabilityError:
            # No later call could complete what this server cannot keep.
            left = [catalog_id(each.name) for each in making[place:] if each in new]
            if left:
                await adapter.delete(session, Delete(CATALOG, tuple(left)))
            raise
    for place, collection in enumerate(making):
        later = {each.name for each in making[place + 1 :]}
        if any(each.collection in later for each in collection.references):
            await adapter.create(session, collection)  # both are there: of a circle
    names = [each.name for each in op.collections]
    return Ensured(
        tuple(name for name in names if name not in there),
        tuple(name for name in names if name in there),
    )


async def _record(adapter: Adapter[S], session: S, collection: Collection) -> None:
    """Add a collection to the catalog, unless another process has just done so."""
    try:
        await adapter.run_part(session, Insert(CATALOG, (to_document(collection),)), Phase.WRITE)
    except DuplicateKeyError:
        (row,) = await adapter.get(session, Get(CATALOG, (catalog_id(collection.name),)))
        if row is not None:
            require_same(row, collection)


async def alter(adapter: Adapter[S], session: S, op: Alter) -> bool:
    """Alter the collection, and last its row in the catalog: until then it is as before.

    The row's version tells of two that alter at once: the first one is the one that counts.
    """
    identity = catalog_id(op.after.name)
    (row,) = await adapter.get(session, Get(CATALOG, (identity,)))
    if not require_unaltered(row, op.before, op.after):
        return False
    assert row is not None
    version = cast(int, row["version"])
    attempt = altering(row)
    if attempt is not None and changes_between(attempt, op.after):
        await adapter.alter(session, attempt, op.before)  # what it has left means something else
        attempt = None
    if attempt is None and not adapter.alters_whole:
        mark = Replace(CATALOG, (to_altering(row, op.after),), (version,))
        try:
            await adapter.replace(session, mark)
        except StaleVersionError:  # somebody else has begun
            return await alter(adapter, session, op)
        version += 1
    await adapter.alter(session, op.before, op.after)
    altered = {**to_document(op.after), "version": version + 1}
    try:
        (done,) = await adapter.replace(session, Replace(CATALOG, (altered,), (version,)))
    except StaleVersionError:
        done = False
    if not done:
        (row,) = await adapter.get(session, Get(CATALOG, (identity,)))
        require_unaltered(row, op.after, op.after)
    return done


async def rename(adapter: Adapter[S], session: S, op: Rename) -> bool:
    """Rename what is stored, then what the catalog says of it and of those that refer to it."""
    before, after = op.before, op.after
    moved = before.name != after.name
    rows = {row["id"]: row for row in collections_only(await adapter.scan(session, CATALOG, ALL))}
    row = rows.get(catalog_id(before.name))
    there = rows.get(catalog_id(after.name)) if moved else None
    if row is None and there is not None:
        return require_unaltered(there, after, after)
    begun = row is not None and is_renaming(row) and altering(row) == after
    if not begun:
        if not require_unaltered(row, before, before if moved else after) and not moved:
            return False
        if moved and after.name in await adapter.existing(session):
            raise SchemaMismatchError(
                f"there is a collection {after.name!r}", hint="choose another name"
            ).at(entity=before.entity)
    assert row is not None
    row = await _marked(adapter, session, row, op)
    await adapter.rename(session, before, after)
    if not moved:
        renamed = {**to_document(after), "version": cast(int, row["version"]) + 1}
        await adapter.replace(session, Replace(CATALOG, (renamed,), (cast(int, row["version"]),)))
        return True
    for each in rows.values():
        led = references_led(from_definition(each["definition"]), before.name, after.name)
        if led is not None and each["name"] not in {before.name, after.name}:
            version = cast(int, each["version"])
            changed = {**to_document(led), "version": version + 1}
            await adapter.replace(session, Replace(CATALOG, (changed,), (version,)))
    if there is None:
        await _record(adapter, session, after)
    await adapter.delete(session, Delete(CATALOG, (catalog_id(before.name),)))
    return True


async def _marked(adapter: Adapter[S], session: S, row: Document, op: Rename) -> Document:
    """Note that a collection serves nobody until it has its new names, where that takes steps."""
    if adapter.alters_whole or is_renaming(row):
        return row
    attempt = altering(row)
    if attempt is not None:
        await adapter.alter(session, attempt, op.before)
    marked = to_renaming(row, op.after)
    await adapter.replace(session, Replace(CATALOG, (marked,), (cast(int, row["version"]),)))
    return marked


async def drop(adapter: Adapter[S], session: S, op: Drop) -> bool:
    """Remove the collection, and last its row in the catalog."""
    name, rows = op.collection.name, await adapter.scan(session, CATALOG, ALL)
    known = [from_definition(row["definition"]) for row in collections_only(rows)]
    found = [row for row in rows if row["id"] == catalog_id(name)]
    for row in found:
        require_same(row, op.collection)
    if not found:
        return False
    for each in known:
        if each.name != name and name in {one.collection for one in each.references}:
            raise ForeignKeyError(
                f"the collection {each.name!r} refers to this one",
                hint="drop its reference, or the whole collection, first",
                entity=op.collection.entity,
            )
    await adapter.drop(session, op.collection)
    await adapter.delete(session, Delete(CATALOG, (catalog_id(name),)))
    return True

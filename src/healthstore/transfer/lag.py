"""How far one store is behind another, told by counts and newest changes, not by every document.

Every write raises a document's version or changes their number, so equal counts, sums of
versions and latest changes are a good sign, at the price of one aggregate for each collection.
Only :func:`~healthstore.transfer.verify` is a proof.
"""

from __future__ import annotations

from typing import cast

from healthstore.abc.backend import Backend
from healthstore.model.ops import Aggregate, Count, Max, Sum
from healthstore.model.schema import Collection
from healthstore.model.values import Value
from healthstore.transfer.filling import mark_of
from healthstore.transfer.selection import catalog

__all__ = ("lag",)


async def lag(source: Backend, target: Backend) -> list[str]:
    """Return a line for each collection in which the target differs, and for half a copy."""
    there, here = await catalog(target), await catalog(source)
    marks = [(each.name, await mark_of(each)) for each in (source, target)]
    found = [f"{name} is not whole: {mark}" for name, mark in marks if mark]
    for name, collection in sorted(here.items()):
        if name not in there:
            found.append(f"{target.name} has no {name}")
        elif there[name] != collection:
            found.append(f"{target.name} has another definition of {name}")
        else:
            ours, theirs = await _mark(source, collection), await _mark(target, collection)
            if ours[0] != theirs[0]:
                found.append(
                    f"{target.name} has {_count(theirs)} documents of {name}, "
                    f"{source.name} has {_count(ours)}"
                )
            elif ours != theirs:
                found.append(f"{target.name} has other versions of some documents of {name}")
    return found


def _count(mark: tuple[Value, ...]) -> int:
    return cast(int, mark[0])


async def _mark(store: Backend, collection: Collection) -> tuple[Value, ...]:
    measures = [Count(), Sum("version")]
    if any(each.name == "updated_at" for each in collection.fields):
        measures.append(Max("updated_at"))
    (group,) = await store.execute(Aggregate(collection, tuple(measures)))
    return group.values

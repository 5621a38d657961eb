"""Rows that are claimed in steps, where no UPDATE returns the rows that it has found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast
from uuid import UUID

from healthstore.model.evaluate import matches
from healthstore.model.ops import Claim, Find
from healthstore.model.values import Document

__all__ = ("lock_first",)

# Read for each document that is wanted: what so many rivals take at the same time is locked.
_RIVALS = 16


async def lock_first(
    op: Claim,
    find: Callable[[Find], Awaitable[tuple[Document, ...]]],
    lock: Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, Document]]],
    *,
    in_unit: bool,
) -> list[Document]:
    """Return the first documents that nobody else holds, locked, of those that a claim finds.

    They are found without a lock, and locked by their ids, in their order: an index that does not
    fit the order would lock whatever it reads. ``lock`` leaves out what others hold. In a unit, what
    has changed since its snapshot is left to others.
    """
    columns = None if in_unit else ("id",)
    wanted = Find(op.collection, op.where, op.order, op.limit * _RIVALS, columns=columns)
    seen = {cast(UUID, each["id"]): each for each in await find(wanted)}
    ids, holds = list(seen), matches(op.where)
    free: list[Document] = []
    for start in range(0, len(ids), op.limit):
        chunk = ids[start : start + op.limit]
        locked = await lock(chunk)
        there = [locked[each] for each in chunk if each in locked]
        free.extend(
            each
            for each in there
            if (each == seen[cast(UUID, each["id"])] if in_unit else holds(each))
        )
        if len(free) >= op.limit:
            break
    return free[: op.limit]

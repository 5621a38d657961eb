"""Jobs are claimed by the versions that were read: what a store needs that has no better way."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast
from uuid import UUID

from healthstore.errors import StaleVersionError
from healthstore.model import evaluate
from healthstore.model.ops import Claim, Find, Patch
from healthstore.model.values import Document

__all__ = ("claim_by_versions",)

_SPARE = 4  # times as many are read as are wanted: rivals take the same first ones


async def claim_by_versions(
    op: Claim,
    find: Callable[[Find], Awaitable[tuple[Document, ...]]],
    patch: Callable[[Patch], Awaitable[tuple[Document | None, ...]]],
) -> tuple[Document, ...]:
    """Change the first documents that a filter finds, each while it is as it was read.

    Where a rival was faster with one of the first, the next are tried in an order by chance, so
    that rivals do not meet at each of them.
    """
    found = await find(Find(op.collection, op.where, op.order, op.limit * _SPARE))
    rest = list(found[op.limit :])
    random.shuffle(rest)
    taken: list[Document] = []
    for each in (*found[: op.limit], *rest):
        if len(taken) == op.limit:
            break
        change = replace(
            op.change, ids=(cast(UUID, each["id"]),), versions=(cast(int, each["version"]),)
        )
        try:
            (document,) = await patch(change)
        except StaleVersionError:
            continue  # somebody else was first
        if document is not None:
            taken.append(document)
    return tuple(evaluate.sort_documents(taken, op.order))

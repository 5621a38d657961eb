"""Applying a plan at once, where no document can stand against it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from healthstore.abc.backend import Backend
from healthstore.errors import (
    Condition,
    DuplicateKeyError,
    SchemaChangeError,
    SerializationError,
)
from healthstore.layers.guard import GuardLayer
from healthstore.model.change import CreateCollection, require_each_at_most
from healthstore.model.ops import Alter, Ensure, Rename
from healthstore.model.schema import Collection, parents_first
from healthstore.model.serve import serves
from healthstore.schema.fence import fenced
from healthstore.schema.plan import Plan, joined, plan
from healthstore.transfer.ledger import read_book
from healthstore.transfer.selection import catalog

__all__ = ("DEADLINE", "alter_patiently", "evolve")

DEADLINE = 3600.0  # seconds for one collection: a large one is copied on some databases

_ATTEMPTS = 6
_PAUSE = 0.2  # seconds


async def evolve(
    stores: Sequence[Backend],
    wanted: Sequence[Collection],
    *,
    dry_run: bool = False,
    deadline: float = DEADLINE,
) -> Plan:
    """Make the definitions of stores into the wanted ones; return the plan that was applied.

    All stores are compared first, and nothing is changed anywhere if one of them needs more than
    additive changes: then SchemaChangeError is raised. In each, new collections are made first,
    then others are altered, parents first. What was cut short is completed by calling it again.
    A lock that others hold is waited for some seconds, several times; each alteration may take
    ``deadline`` seconds. With ``dry_run`` nothing is changed.
    """
    plans = [await plan(each, wanted, counting=dry_run) for each in stores]
    for store, needed in zip(stores, plans, strict=True):
        try:
            require_each_at_most([(each.operation, each.effect) for each in needed.operations])
        except SchemaChangeError as error:
            raise error.at(backend=store.name) from None
    for store, needed in zip(stores, plans, strict=True):
        made = [each for each in needed.operations if isinstance(each.operation, CreateCollection)]
        if made:
            book = await read_book(store)
            for each in made:
                book.require_not_gone(each.collection, store.name)
    if not dry_run:
        for store in stores:
            await store.execute(Ensure(()))  # a member that is not written to says so before
        for store, needed in zip(stores, plans, strict=True):
            await _apply(store, wanted, needed, deadline)
    return joined(plans)


async def _apply(
    store: Backend, wanted: Sequence[Collection], needed: Plan, deadline: float
) -> None:
    new = {
        each.collection
        for each in needed.operations
        if isinstance(each.operation, CreateCollection)
    }
    changing = {each.collection for each in needed.operations} - new
    guarded = GuardLayer(store)
    if new:
        await guarded.execute(Ensure(tuple(each for each in wanted if each.name in new)))
    if changing:
        stored = await catalog(store)
        altered = [each for each in parents_first(wanted) if each.name in changing]
        # Who could not read what is written from then on ends before.
        ends = {each.name: each for each in altered if not serves(each, stored[each.name])}
        async with fenced(store, ends):
            for each in altered:
                await alter_patiently(guarded, Alter(stored[each.name], each, deadline=deadline))


async def alter_patiently(guarded: Backend, op: Alter | Rename) -> None:
    """Alter or rename a collection; a lock that others hold is waited for some seconds, several times."""
    attempt = 0
    while True:
        attempt += 1
        try:
            await guarded.execute(op)
        except DuplicateKeyError:
            # No key is new: MySQL ends a change so when others try to add what is taken
            # (https://dev.mysql.com/doc/refman/8.4/en/innodb-online-ddl-limitations.html).
            if attempt == _ATTEMPTS:
                raise SerializationError(
                    "others wrote to the collection while it was altered",
                    hint="evolve again when less is written",
                    entity=op.after.entity,
                    backend=guarded.name,
                ) from None
        except SerializationError as error:
            if attempt == _ATTEMPTS or error.condition is not Condition.OVERLOADED:
                raise
        else:
            return
        # Everybody else who waits for the lock goes first.
        await asyncio.sleep(random.uniform(0.5, 1) * _PAUSE * 2**attempt)  # noqa: S311 - no secret

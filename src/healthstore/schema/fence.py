"""The fence before a change that ends the programs of before: nobody writes what it would lose.

The collection's row in the catalog says what it is to become, and lets in only those programs any
more which that serves, too. Then the programs that hold a lease are waited for, until each has
looked at the catalog since, or has ended: what they wrote before is there when the change begins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from time import monotonic
from typing import TypeAlias, cast
from uuid import uuid4

from healthstore.abc.backend import Backend
from healthstore.abc.process import Process
from healthstore.errors import HealthstoreError, SerializationError, StaleVersionError
from healthstore.model.catalog import CATALOG, catalog_id, closing, opened, to_closing
from healthstore.model.lease import LEASE_SECONDS, LEASES, Lease, leases_of
from healthstore.model.ops import Delete, Find, Get, Replace
from healthstore.model.schema import Collection
from healthstore.model.serve import serves
from healthstore.model.values import Document
from healthstore.schema.ledger import Ledger
from healthstore.schema.steps import (
    Alteration,
    Creation,
    Narrowing,
    Removal,
    Renaming,
    Rewriting,
    Running,
    Step,
)

__all__ = ("Ends", "Fence", "fenced", "gone_after", "is_first_to_fence", "to_fence")

Ends: TypeAlias = Mapping[str, Collection | None]

_log = logging.getLogger("healthstore.schema")
_ROWS = 1_000  # leases that are waited for
_FIRST, _LONGEST = 0.01, 0.25  # seconds between two looks at the leases
_USUAL = 3.0  # seconds: by then programs with the default interval of checks have looked
_WAIT = 60.0  # seconds for others who apply migrations
_LIFT_SECONDS = 5.0  # that a call which was cancelled, or has failed, goes on for that
_PATIENCE = 4 * LEASE_SECONDS  # with programs that renew their leases, and do not look


def to_fence(steps: Sequence[Step], place: int) -> Ends:
    """Return the collections that a step, or what it leads to, ends for the programs of before.

    With each the definition that it has then, or None if that serves none of them. What a function
    has made of a document is lost with what they write to it afterwards, so that they end before
    the function if they end at all.
    """
    step = steps[place]
    ends = _ends(step)
    if isinstance(step, Rewriting | Running):
        names = {step.rows.name} if isinstance(step, Rewriting) else {*step.state}
        found: dict[str, Collection | None] = {}
        for later in steps[place + 1 :]:
            for name, after in _ends(later).items():
                if name in names:
                    found.setdefault(name, after)
        return found
    return ends


def _ends(step: Step) -> Ends:
    match step:
        case Removal(gone):
            return {gone.name: None}
        case Renaming(before):
            return {before.name: None}
        case Alteration(before, after) | Narrowing(_, before, after) if not serves(after, before):
            return {before.name: after}
        case _:
            return {}


def is_first_to_fence(steps: Sequence[Step], place: int) -> bool:
    """Tell whether no earlier step has ended programs of what this one ends."""
    ends = to_fence(steps, place).keys()
    return all(ends.isdisjoint(to_fence(steps, each)) for each in range(place))


def gone_after(gone: Sequence[str], step: Step) -> tuple[str, ...]:
    """Return the names of collections that are gone, after a step."""
    names = set(gone)
    match step:
        case Removal(one):
            names.add(one.name)
        case Renaming(before, after) if before.name != after.name:
            names = (names | {before.name}) - {after.name}
        case Creation(made):
            names -= {each.name for each in made}
        case _:
            pass
    return tuple(sorted(names))


class Fence:
    """The fences of one store, of which this process holds the ledger."""

    def __init__(self, store: Backend, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._there: dict[str, Collection | None] = {}

    async def put(self, ends: Ends) -> None:
        """Put a fence before collections, and wait until every program has seen it.

        Raises SerializationError if one goes on without looking.
        """
        new = {
            name: after
            for name, after in ends.items()
            if name not in self._there or self._there[name] != after
        }
        if not new:
            return
        for name, after in new.items():
            self._there[name] = after
            await self._change(name, after)
        await self._ledger.write(replace(self._ledger.book, epoch=uuid4().hex))
        await self._drained(sorted(new))

    def taken(self, step: Step) -> None:
        """Know that a step has changed its collection, and its row with it."""
        for name in _ends(step) or _altered(step):
            self._there.pop(name, None)

    async def lift(self, ends: Ends) -> None:
        """Let everybody in again: nothing was changed."""
        for name in ends:
            if name in self._there:
                # What failed before is told; this is tried again by the next call.
                with suppress(HealthstoreError, TimeoutError):
                    async with asyncio.timeout(_LIFT_SECONDS):
                        await self._open(name)
                    del self._there[name]

    async def _change(self, name: str, after: Collection | None) -> None:
        while True:
            row = await self._row(name)
            if row is None or closing(row) == (after,):
                return
            try:
                await self._write(row, to_closing(row, after))
            except StaleVersionError:
                continue
            return

    async def _open(self, name: str) -> None:
        row = await self._row(name)
        if row is not None and closing(row) is not None:
            await self._write(row, opened(row))

    async def _row(self, name: str) -> Document | None:
        (row,) = await self._store.execute(Get(CATALOG, (catalog_id(name),)))
        return row

    async def _write(self, row: Document, changed: Document) -> None:
        await self._store.execute(Replace(CATALOG, (changed,), (cast(int, row["version"]),)))

    async def _drained(self, names: Sequence[str]) -> None:
        """Wait for the programs that have not seen the fence, as long as their leases hold."""
        epoch, began = self._ledger.book.epoch, monotonic()
        seen: dict[str, tuple[int, float]] = {}
        pause, told = _FIRST, False
        while True:
            rows = await self._store.execute(Find(CATALOG, LEASES, limit=_ROWS))
            waiting = list[Lease]()
            over = list[Lease]()
            for lease, version in leases_of(rows):
                if lease.epoch == epoch:
                    continue
                was, since = seen.setdefault(lease.token, (version, monotonic()))
                if was != version:
                    seen[lease.token] = (version, monotonic())
                # Its clock may be another one: it holds as long as it is seen to be renewed.
                elif monotonic() - since >= LEASE_SECONDS or _has_ended(lease):
                    over.append(lease)
                    continue
                waiting.append(lease)
            if over:
                await self._store.execute(Delete(CATALOG, tuple(each.id for each in over)))
            if not waiting:
                return
            if monotonic() - began >= _PATIENCE:
                raise SerializationError(
                    f"programs do not look at the catalog: {_owners(waiting)}",
                    hint="end them, and try again",
                    backend=self._store.name,
                )
            if monotonic() - began >= _USUAL and not told:
                told = True
                _log.warning(
                    "a change of %s waits for %s: until its lease ends, %g seconds without renewal",
                    ", ".join(names),
                    _owners(waiting),
                    LEASE_SECONDS,
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST)


@asynccontextmanager
async def fenced(store: Backend, ends: Ends) -> AsyncGenerator[None]:
    """Put a fence before collections for a block, which changes them; nothing if there are none.

    Raises SerializationError if another process applies migrations, or a program does not look.
    """
    if not ends:
        yield
        return
    async with Ledger.locked(store, _WAIT) as ledger:
        fence = Fence(store, ledger)
        try:
            await fence.put(ends)
            yield
        except (HealthstoreError, asyncio.CancelledError):
            await fence.lift(ends)
            raise


def _altered(step: Step) -> Sequence[str]:
    return (step.before.name,) if isinstance(step, Alteration) else ()


def _owners(leases: Sequence[Lease]) -> str:
    return ", ".join(sorted({each.owner for each in leases}))


def _has_ended(lease: Lease) -> bool:
    return Process(lease.host, lease.space, lease.process).has_ended()

"""Changes of many: by a condition, in one unit or batch by batch, and each by its own values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Generic, TypeVar, cast
from uuid import UUID

from healthstore.entity import Entity
from healthstore.errors import ConflictError, StaleVersionError
from healthstore.layers.guard import check
from healthstore.model.ops import Delete, DeleteWhere, Find, Get, Patch, PatchWhere, Replace
from healthstore.model.query import MAX_VALUES, Filter, Operator, Test, normalise
from healthstore.model.refusals import invalid
from healthstore.model.values import Document
from healthstore.repository.changes import Change
from healthstore.repository.writes import Writes

__all__ = ("MAX_BATCH", "Bulk")

M = TypeVar("M", bound=Entity)
W = TypeVar("W", PatchWhere, DeleteWhere)

MAX_BATCH = 10_000
"""The most documents of one batch, and ids of one request."""
_NOBODY = UUID(int=0)
_PAGE = 5_000  # whole documents that are read at a time


@dataclass(frozen=True, slots=True)
class Bulk(Generic[M]):
    """What a repository writes to many documents."""

    writes: Writes[M]

    # --- by a condition --------------------------------------------------------------------

    async def update_where(
        self, where: Filter, change: Change, batch: int | None, *, everything: bool
    ) -> int:
        """Change what a filter finds, in one unit or batch by batch; return how many."""
        writes, atomic = self.writes, self._atomic(batch)
        if writes.computes(change):
            # What validators may take in another form is not looked at before they are.
            sets, changes = {"updated_at": writes.now()}, Change()
        else:
            sets, changes = writes.sets(change), change
        op = PatchWhere(
            *(writes.collection, where, tuple(sets.items())),
            (*changes.increments.items(), ("version", 1)),
            everything,
            atomic,
            # Whether a field may be null, and what can be added to it, is left to the guard.
            canonical=not changes.increments and None not in sets.values(),
            at_least=tuple(changes.at_least.items()),
            at_most=tuple(changes.at_most.items()),
        )
        checked = self._checked(op, batch)
        if writes.computes(change):
            return await self._computed(checked.where, change, batch)
        return await self._written(checked, batch)

    async def delete_where(self, where: Filter, batch: int | None, *, everything: bool) -> int:
        """Delete what a filter finds, in one unit or batch by batch; return how many."""
        op = DeleteWhere(self.writes.collection, where, everything, self._atomic(batch))
        return await self._written(self._checked(op, batch), batch)

    def _atomic(self, batch: int | None) -> bool:
        """Tell whether a request is kept whole; in batches, if the backend can do that."""
        return batch is None or self.writes.executor.capabilities.transactions

    def _checked(self, op: W, batch: int | None) -> W:
        """Return a request as the guard lets it pass: the whole, whose batches have narrower ones."""
        executor = self.writes.executor
        if batch is not None and (type(batch) is not int or not 1 <= batch <= MAX_BATCH):
            raise invalid(
                op.collection,
                f"a batch has from 1 to {MAX_BATCH} documents",
                "leave `batch` away for one unit",
            ).at(backend=executor.name)
        return cast(W, check(op, executor))

    async def _written(self, op: PatchWhere | DeleteWhere, batch: int | None) -> int:
        """Run a request whole, or on one range of ids after the other."""
        execute = self.writes.executor.execute
        if batch is None:
            return await execute(op)
        done, beyond = 0, None
        while True:
            asked = Find(
                op.collection, self._within(op.where, beyond), limit=batch, columns=("id",)
            )
            ids = [cast(UUID, each["id"]) for each in await execute(asked)]
            if ids:
                done += await execute(replace(op, where=self._within(op.where, beyond, ids[-1])))
            if len(ids) < batch:
                return done
            beyond = ids[-1]

    def _within(self, where: Filter, beyond: UUID | None, last: UUID | None = None) -> Filter:
        """Return a filter of ids that come after one, and up to another one."""
        if beyond is not None:
            where = where & Test("id", Operator.GT, beyond)
        if last is not None:
            where = where & Test("id", Operator.LE, last)
        return normalise(where, self.writes.collection.nullable)

    # --- read, computed and written ----------------------------------------------------------

    async def _computed(self, where: Filter, change: Change, batch: int | None) -> int:
        """Write what becomes of each document, under the version that was read."""
        plan = self.writes.plan(_NOBODY, change)

        def after(stored: Document) -> Document:
            return self.writes.changed(plan, change, stored)[0]

        if batch is None:
            return await self._replaced(lambda: self._all(where), after)
        # Of what is not kept whole each document is asked for again by itself.
        size = batch if self._atomic(batch) else 1
        done, beyond = 0, None
        while True:
            page = await self._page(self._within(where, beyond), size)
            if page:
                within = self._within(where, beyond, cast(UUID, page[-1]["id"]))
                read = partial(self._page, within, MAX_BATCH)
                done += await self._replaced(read, after, page)
            if len(page) < size:
                return done
            beyond = cast(UUID, page[-1]["id"])

    async def _page(self, where: Filter, limit: int) -> Sequence[Document]:
        return await self.writes.executor.execute(Find(self.writes.collection, where, limit=limit))

    async def _all(self, where: Filter) -> Sequence[Document]:
        found: list[Document] = []
        beyond: UUID | None = None
        while True:
            page = await self._page(self._within(where, beyond), _PAGE)
            found.extend(page)
            if len(found) > MAX_VALUES:
                raise invalid(
                    self.writes.collection,
                    f"more than {MAX_VALUES} documents are to be computed in one unit",
                    "give a `batch`: each of them is a unit then",
                ).at(backend=self.writes.executor.name)
            if len(page) < _PAGE:
                return found
            beyond = cast(UUID, page[-1]["id"])

    async def _replaced(
        self,
        read: Callable[[], Awaitable[Sequence[Document]]],
        after: Callable[[Document], Document],
        found: Sequence[Document] | None = None,
        *,
        present: bool = False,
    ) -> int:
        """Replace what is read by what becomes of it, read again where somebody was first."""
        writes = self.writes
        for attempt in range(writes.attempts):
            stored = await read() if found is None or attempt else found
            if not stored:
                return 0
            op = Replace(
                writes.collection,
                tuple(map(after, stored)),
                tuple([cast(int, each["version"]) for each in stored]),
                canonical=True,
                present=present,
            )
            try:
                done = await writes.executor.execute(op)
            except StaleVersionError:
                if attempt + 1 == writes.attempts:
                    raise
            else:
                if all(done) or not present:
                    return sum(done)
        raise ConflictError(
            f"the documents changed {writes.attempts} times during one call",
            hint="try again later",
            entity=writes.collection.entity,
        )

    # --- by ids ------------------------------------------------------------------------------

    async def update_many(self, changes: Mapping[UUID, Change]) -> int:
        """Change each document in its own way, all or none; return how many."""
        if not changes:
            return 0
        writes, ids = self.writes, tuple(changes)
        plans = {identity: writes.plan(identity, each) for identity, each in changes.items()}
        touched = Patch(writes.collection, ids[:2], (("updated_at", writes.now()),))
        check(touched, writes.executor)  # whether several can be kept whole

        def after(stored: Document) -> Document:
            identity = cast(UUID, stored["id"])
            return writes.changed(plans[identity], changes[identity], stored)[0]

        async def read() -> Sequence[Document]:
            found: list[Document] = []
            for start in range(0, len(ids), _PAGE):
                part = ids[start : start + _PAGE]
                rows = await self.writes.executor.execute(Get(self.writes.collection, part))
                for identity, row in zip(part, rows, strict=True):
                    if row is None:
                        raise self.writes.not_found(identity)
                    found.append(row)
            return found

        return await self._replaced(read, after, present=True)

    async def delete_many(self, ids: tuple[UUID, ...]) -> int:
        """Delete the documents with these ids, all or none; return how many were there."""
        if not ids:
            return 0
        collection, executor = self.writes.collection, self.writes.executor
        if len(ids) <= MAX_BATCH:
            return sum(await executor.execute(Delete(collection, ids)))
        parts = [ids[start : start + MAX_BATCH] for start in range(0, len(ids), MAX_BATCH)]
        for part in parts:
            check(Delete(collection, part), executor)
        distinct = set(chain.from_iterable(parts))
        if len(distinct) < len(ids):
            raise invalid(collection, "an id comes twice", "name each document once", "id").at(
                backend=executor.name
            )
        return await executor.execute(DeleteWhere(collection, Test("id", Operator.IN, ids)))

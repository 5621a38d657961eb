"""Giving every document of a collection to a function, page by page, each with its checkpoint."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast
from uuid import UUID

from healthstore.abc.backend import Backend
from healthstore.errors import (
    ConflictError,
    DeadlineExceededError,
    SchemaChangeError,
    UnavailableError,
)
from healthstore.model.ops import Delete, Find, Replace
from healthstore.model.query import ALL, Filter, Operator, Test
from healthstore.model.schema import Collection
from healthstore.model.values import Document
from healthstore.schema.functions import rewritten
from healthstore.schema.ledger import Ledger
from healthstore.schema.progress import Pace, Pages
from healthstore.schema.steps import Rewriting

__all__ = ("rewrite",)

_PAGE = 1_000  # documents that are changed in one unit
_SECONDS = 120.0  # for a page
_CONFLICTS = 20  # in a row, with ever smaller pages, until it is given up
_PAUSE = 0.1  # seconds
_BORN = "created_at"  # of every entity: who is added anew, with the id of one that is gone, differs

_Begin: TypeAlias = Callable[[Coroutine[Any, Any, "_Page | None"]], asyncio.Task["_Page | None"]]


async def rewrite(
    store: Backend, ledger: Ledger, step: Rewriting, pace: Pace, *, allow_loss: bool
) -> None:
    """Change the documents that come after the ledger's checkpoint.

    What somebody else changes meanwhile is read again, and given to the function again. Raises
    SchemaChangeError, without ``allow_loss``, if it returns None for each document of a page.
    """
    pages = await Pages.begun(pace, store, step.rows, ledger.under_way)
    work = _Rewrite(store, ledger, step, pages, allow_loss=allow_loss)
    conflicts = 0
    page = await work.next_page(ledger.under_way.cursor)
    while page is not None:
        try:
            following = await work.written(page)
        except ConflictError as error:
            await ledger.require_held()
            conflicts += 1
            if conflicts > _CONFLICTS:
                error.hint = "others change the documents faster than they are read and written: "
                error.hint += "call it again, it goes on where it was"
                raise
            # What is read and written in less time meets fewer others.
            work.limit = max(work.limit // 2, 1)
            await asyncio.sleep(random.uniform(0.5, 1) * _PAUSE * conflicts)  # noqa: S311 - no secret
            following = await work.next_page(ledger.under_way.cursor)
        else:
            conflicts = 0
            work.limit = min(work.limit * 2, _PAGE)
        page = following


@dataclass(frozen=True, slots=True)
class _Page:
    """What the function has made of some documents: those that are others, and those that go."""

    rows: int
    last: str
    """The id of the last one."""
    changed: Sequence[Document]
    gone: Sequence[Document]
    same: tuple[str, ...]
    """The fields by which a document is told from another one of its id."""

    def replacement(self, rows: Collection, *, atomic: bool) -> Replace:
        """Return the request that replaces what nobody has changed since it was read."""
        versions = tuple([cast(int, each["version"]) - 1 for each in self.changed])
        documents = tuple(self.changed)
        return Replace(rows, documents, versions, atomic, canonical=True, same=self.same)

    def removals(self, rows: Collection, *, atomic: bool) -> Iterator[Delete]:
        """Yield the requests that remove what nobody has changed since it was read."""
        each = 1 if not atomic else max(len(self.gone), 1)
        for start in range(0, len(self.gone), each):
            gone = self.gone[start : start + each]
            ids = tuple([cast(UUID, one["id"]) for one in gone])
            yield Delete(rows, ids, tuple([cast(int, one["version"]) for one in gone]))


class _Rewrite:
    """One step, on one store, whose ledger is held."""

    def __init__(
        self, store: Backend, ledger: Ledger, step: Rewriting, pages: Pages, *, allow_loss: bool
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._step = step
        self._pages = pages
        self._allow_loss = allow_loss
        self.limit = _PAGE

    async def next_page(self, cursor: str | None) -> _Page | None:
        """Read what comes after an id, and let the function change it; None at the end."""
        step = self._step
        assert step.function is not None
        where: Filter = ALL if cursor is None else Test("id", Operator.GT, UUID(cursor))
        limit = self.limit
        page = await self._store.execute(Find(step.rows, where, limit=limit))
        if not page:
            return None
        changed, gone = rewritten(step, step.function, page)
        if len(gone) == len(page) and limit == _PAGE and not self._allow_loss:
            raise SchemaChangeError(
                f"the function of a Transform returned None for each of {len(page):,} documents, "
                "which would delete them",
                hint="return the document; if it is meant, allow_loss=True or --allow-loss lets go",
                entity=step.rows.entity,
            )
        same: tuple[str, ...] = ()
        if _BORN in step.rows.names and not step.rows.nullable(_BORN):
            born = {each["id"]: each[_BORN] for each in page}
            same = (_BORN,) if all(each[_BORN] == born[each["id"]] for each in changed) else ()
        return _Page(len(page), str(page[-1]["id"]), changed, gone, same)

    async def written(self, page: _Page) -> _Page | None:
        """Write a page, note how far it has come and tell it; return the next one.

        That is made meanwhile, unless there is a pause: it would be old by then.
        """
        rows, done = self._step.rows, replace(self._ledger.under_way, cursor=page.last)
        async with _beside() as begin:
            if self._store.capabilities.transactions:
                async with self._ledger.unit(self._store, done, _SECONDS) as unit:
                    # Begun here, it is answered while the database is at work on this page.
                    following = self._ahead(begin, page)
                    if page.changed:
                        await unit.execute(page.replacement(rows, atomic=True))
                    for removal in page.removals(rows, atomic=True):
                        await unit.execute(removal)
            else:
                following = self._ahead(begin, page)
                if page.changed:
                    await self._store.execute(page.replacement(rows, atomic=False))
                for removal in page.removals(rows, atomic=False):
                    await self._store.execute(removal)
                await self._ledger.write(replace(self._ledger.book, under_way=done))
            await self._pages.passed(page.rows)
            if following is not None:
                # A pool of one connection lends it when the page is written, which may be late.
                with suppress(UnavailableError, DeadlineExceededError):
                    return await following
            return await self.next_page(page.last)

    def _ahead(self, begin: _Begin, page: _Page) -> asyncio.Task[_Page | None] | None:
        return None if self._pages.pause else begin(self.next_page(page.last))


@asynccontextmanager
async def _beside() -> AsyncGenerator[_Begin]:
    """Lend what begins a task beside a block, whose error ends it."""
    begun: set[asyncio.Task[_Page | None]] = set()

    def begin(work: Coroutine[Any, Any, _Page | None]) -> asyncio.Task[_Page | None]:
        task = asyncio.ensure_future(work)
        begun.add(task)
        return task

    try:
        yield begin
    except BaseException:
        for each in begun:
            each.cancel()
        if begun:
            await asyncio.wait(begun)
        raise

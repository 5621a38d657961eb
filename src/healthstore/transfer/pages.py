"""Reading a collection to its end in pages, with one page read ahead and bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing, closing
from typing import Any, TypeVar

from healthstore.abc.backend import Executor
from healthstore.errors import HealthstoreError
from healthstore.model.ops import Find
from healthstore.model.query import ALL, Filter, Operator, Test
from healthstore.model.schema import Collection
from healthstore.model.values import Value
from healthstore.transfer._offload import offload
from healthstore.transfer.digest import Digester, Page

__all__ = ("PAGE_BYTES", "PAGE_ROWS", "ahead", "drawn", "pages")

T = TypeVar("T")

PAGE_ROWS = 5_000
# As objects in Python, documents take about ten times the bytes that they have as MessagePack.
PAGE_BYTES = 512 * 1024
# How large documents are is known only after the first of them have been read.
_FIRST_ROWS = 16
_GROWTH = 8


async def ahead(fetch: Callable[[], Coroutine[Any, Any, T | None]]) -> AsyncGenerator[T, None]:
    """Yield what ``fetch`` returns until it returns None, always one call ahead.

    Close the generator (``contextlib.aclosing``): then no task of it is left, whatever happened.
    """
    task = asyncio.ensure_future(fetch())
    try:
        while (item := await task) is not None:
            task = asyncio.ensure_future(fetch())
            yield item
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            # Whoever closes early has a reason of its own; this one is only marked as seen.
            task.exception()


async def drawn(items: Generator[T, None, None]) -> AsyncGenerator[T, None]:
    """Yield the items of a blocking generator, each drawn in a thread, one ahead; close both."""
    with closing(items):
        async with aclosing(ahead(lambda: offload(next, items, None))) as each_ahead:
            async for each in each_ahead:
                yield each


def pages(
    executor: Executor,
    collection: Collection,
    *,
    page_rows: int = PAGE_ROWS,
    page_bytes: int = PAGE_BYTES,
) -> AsyncGenerator[Page, None]:
    """Read a collection in order of ``id``, with digests; close the generator.

    A page has at most ``page_rows`` documents, and about ``page_bytes`` bytes, judged by the
    documents before it. At most two pages are in memory.
    """
    return ahead(_Pager(executor, collection, page_rows, page_bytes).read)


class _Pager:
    """Reads one page after the other."""

    def __init__(
        self, executor: Executor, collection: Collection, page_rows: int, page_bytes: int
    ) -> None:
        self._executor = executor
        self._collection = collection
        self._digester = Digester(collection)
        self._page_rows, self._page_bytes = page_rows, page_bytes
        self._limit = min(_FIRST_ROWS, page_rows)
        self._last: Value = None
        self._ended = False
        self._rows = self._bytes = 0

    async def read(self) -> Page | None:
        """Return the next page, or None after the last one."""
        if self._ended:
            return None
        where: Filter = ALL
        if self._last is not None:
            where = Test("id", Operator.GT, self._last)
        find = Find(self._collection, where, limit=self._limit)
        try:
            rows = await self._executor.execute(find)
        except HealthstoreError as error:
            raise error.at(entity=self._collection.entity) from error.__cause__
        if not rows:
            return None
        self._ended = len(rows) < self._limit
        self._last = rows[-1]["id"]
        page = self._digester.page(rows)
        self._adapt(page)
        return page

    def _adapt(self, page: Page) -> None:
        """Size the next page by the larger of two means: of all documents, and of this page."""
        self._rows += len(page.rows)
        self._bytes += page.size
        mean = max(self._bytes / self._rows, page.size / len(page.rows))
        self._limit = max(
            1, min(self._page_rows, int(self._page_bytes / mean), _GROWTH * self._limit)
        )

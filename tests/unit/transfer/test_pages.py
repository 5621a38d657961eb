"""Reading ahead: every document once, in bounded pages, and nothing left running."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import cast
from uuid import UUID

import pytest
from tests.unit.transfer.samples import (
    EVERYTHING,
    PEOPLE,
    Watched,
    everything,
    opened,
    person,
    tasks,
)

from healthstore.errors import UnavailableError
from healthstore.model.ops import Find, Op
from healthstore.transfer.pages import pages


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 500, 1_000])
@pytest.mark.parametrize("page_rows", [1, 7, 500])
async def test_every_document_comes_once_and_in_order(count: int, page_rows: int) -> None:
    """Pages cover a collection exactly, whatever their size."""
    if count > 100 and page_rows == 1:
        count = 100  # one document a page shows no more with a thousand of them
    store = await opened("one", (PEOPLE, [person(number) for number in range(count)]))
    seen: list[UUID] = []
    async with aclosing(pages(store, PEOPLE, page_rows=page_rows)) as source:
        async for page in source:
            assert 0 < len(page.rows) <= page_rows
            seen.extend(cast(UUID, row["id"]) for row in page.rows)
    assert seen == [person(number)["id"] for number in range(count)]
    assert not tasks()


async def test_pages_of_large_documents_are_short() -> None:
    """A page holds about as many bytes as it may, judged by the documents before."""
    rows = [{**everything(number), "text": "x" * 10_000} for number in range(200)]
    store = Watched(await opened("one", (EVERYTHING, rows)))
    async with aclosing(pages(store, EVERYTHING, page_bytes=100_000)) as source:
        sizes = [page.size async for page in source]
    assert max(sizes[1:]) <= 110_000
    assert max(sizes[0], *sizes) <= 16 * 10_500
    assert sum(sizes) > 2_000_000


async def test_the_next_page_is_read_while_one_is_handled() -> None:
    """Reading and handling overlap, by one page and no more."""
    store = Watched(await opened("one", (PEOPLE, [person(number) for number in range(100)])))
    async with aclosing(pages(store, PEOPLE, page_rows=10)) as source:
        await anext(source)
        await asyncio.sleep(0)
        assert len(store.seen) == 2
        await asyncio.sleep(0)
        assert len(store.seen) == 2


async def test_closing_early_leaves_no_task() -> None:
    """Whoever stops reading leaves nothing behind, also when the read ahead has failed."""
    store = Watched(await opened("one", (PEOPLE, [person(number) for number in range(100)])))

    async def fail(op: Op[object]) -> None:
        if len(store.seen) == 2:
            raise UnavailableError("gone")

    store.before = fail
    async with aclosing(pages(store, PEOPLE, page_rows=10)) as source:
        await anext(source)
        await asyncio.sleep(0)
    assert len(store.seen) == 2
    assert not tasks()


async def test_cancelling_the_reader_ends_the_read_ahead() -> None:
    """A cancelled reader cancels the read that is under way, and waits for its end."""
    store = Watched(await opened("one", (PEOPLE, [person(number) for number in range(100)])))
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hang(op: Op[object]) -> None:
        if len(store.seen) > 1:
            begun.set()
            try:
                await asyncio.sleep(3_600)
            finally:
                ended.set()

    async def read() -> None:
        async with aclosing(pages(store, PEOPLE, page_rows=10)) as source:
            async for _ in source:
                pass

    store.before = hang
    reader = asyncio.ensure_future(read())
    await begun.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert ended.is_set()
    assert not tasks()


async def test_a_failure_names_the_collection() -> None:
    """An error of a read says where it happened."""
    store = Watched(await opened("one", (PEOPLE, [person(1)])))

    async def fail(op: Op[object]) -> None:
        assert isinstance(op, Find)
        raise UnavailableError("gone")

    store.before = fail
    with pytest.raises(UnavailableError) as error:
        async with aclosing(pages(store, PEOPLE)) as source:
            await anext(source)
    assert error.value.entity == "people"

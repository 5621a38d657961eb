"""Pages of a repository: a position says where the next one begins."""

from __future__ import annotations

import weakref
from typing import Any
from uuid import UUID

import pytest

from healthstore import DatabaseManager, Entity, Page, Repository


class Essay(Entity, collection="essays"):
    text: str
    part: int = 0


async def test_a_position_holds_only_what_is_sorted_by() -> None:
    """A long text makes no long position, and no document is lost behind it."""
    essays = [Essay(text="x" * 100_000 + end) for end in "cabab"]
    async with DatabaseManager("memory://") as db:
        await db.initialize(Essay)
        repository = db.repository(Essay)
        await repository.add_many(essays)
        page = await repository.find(order=["-text", "part"], limit=2)
        assert page.next is not None
        assert len(page.next) < 2_000
        found = [each async for each in repository.stream(order=["-text", "part"], page_size=2)]
    assert [each.id for each in found] == sorted(each.id for each in essays)


async def test_a_stream_holds_one_page_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the next page is read, nothing is left of the one before but its last entity."""
    alive: list[int] = []
    found = weakref.WeakValueDictionary[UUID, Essay]()
    find = Repository[Essay].find

    async def watched(self: Repository[Essay], **options: Any) -> Page[Essay]:
        alive.append(len(found))
        page = await find(self, **options)
        found.update((each.id, each) for each in page.items)
        return page

    async with DatabaseManager("memory://") as db:
        await db.initialize(Essay)
        repository = db.repository(Essay)
        await repository.add_many([Essay(text=str(number)) for number in range(30)])
        monkeypatch.setattr(Repository, "find", watched)
        assert len([each.text async for each in repository.stream(page_size=10)]) == 30
    assert alive == [0, 1, 1]

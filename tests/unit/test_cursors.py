"""Pages of a repository: a position says where the next one begins."""

from __future__ import annotations

import weakref
from typing import Any
from uuid import UUID

import pytest

from healthstore import DatabaseManager, Entity, Page, Repository
from healthstore.errors import ConfigurationError, InvalidRequestError


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


def signed(key: str | None) -> DatabaseManager:
    """Return a manager of one store, whose positions a key signs."""
    environ = {"HEALTHSTORE_PRIMARY": "memory://"}
    if key is not None:
        environ["HEALTHSTORE_CURSOR_KEY"] = key
    return DatabaseManager.from_env(environ)


async def positions(key: str | None, *taken: str | None) -> list[str]:
    """Return the positions of a first page, with a key; each one that is given must be taken."""
    async with signed(key) as db:
        await db.initialize(Essay)
        essays = db.repository(Essay)
        await essays.add_many([Essay(text=str(number)) for number in range(3)])
        for token in taken:
            assert len((await essays.find(order=["text"], limit=1, after=token)).items) == 1
        async with db.transaction() as tx:
            inside = await tx.repository(Essay).find(order=["text"], limit=1)
        outside = await essays.find(order=["text"], limit=1)
    assert inside.next is not None
    assert outside.next is not None
    return [inside.next, outside.next]


async def test_a_position_that_another_key_signed_is_refused() -> None:
    """One key takes its own in every process and unit; no other key, and none, takes them."""
    one = await positions("k" * 16)
    await positions("k" * 16, *one)
    plain = await positions(None)
    for key, foreign in (("K" * 16, one), (None, one), ("k" * 16, plain)):
        for token in foreign:
            with pytest.raises(InvalidRequestError, match="does not belong to this query"):
                await positions(key, token)


async def test_a_signed_position_that_was_changed_is_refused() -> None:
    """No character of it can be another one; and no key stands in it or in an error."""
    key = "a secret of sixteen and more"
    token = (await positions(key))[0]
    assert key not in token
    for place in range(len(token)):
        if token[place] != "=":
            changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
            with pytest.raises(InvalidRequestError) as refused:
                await positions(key, changed)
            assert key not in repr(refused.value)


def test_a_short_key_is_refused() -> None:
    """A key that can be guessed protects nothing; the error does not tell it."""
    with pytest.raises(ConfigurationError, match="16 characters") as refused:
        signed("guessed")
    assert "guessed" not in str(refused.value)
    settings = signed("k" * 16)._settings
    assert "kkkk" not in repr(settings)

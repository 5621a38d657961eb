"""Counting operations: a test fails when its code sends more than it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from healthstore import DatabaseManager, Entity
from healthstore.errors import ConfigurationError, UnavailableError
from healthstore.testing.faults import Faults
from healthstore.testing.statements import assert_statements


class User(Entity, collection="users"):
    name: str


@pytest.fixture
async def db() -> AsyncIterator[DatabaseManager]:
    """Lend an empty memory."""
    async with DatabaseManager("memory://") as db:
        await db.initialize(User)
        yield db


async def test_the_right_number_passes(db: DatabaseManager) -> None:
    """Operations count alone and inside a transaction; the block gets what was sent."""
    with assert_statements(db, 3) as sent:
        await db.repository(User).add_many([User(name="Ann"), User(name="Ben")])
        async with db.transaction() as tx:
            await tx.repository(User).add(User(name="Cid"))
            await tx.repository(User).count()
    assert [each.collection for each in sent] == ["users"] * 3
    assert sent[0].operation == "insert"
    with assert_statements(db, 0), assert_statements(db, at_most=1):
        pass
    await db.repository(User).count()
    assert len(sent) == 3, "what comes after the block does not count"


async def test_a_wrong_number_lists_what_was_sent(db: DatabaseManager) -> None:
    """The failure names each operation, its collection and its member, and no value."""
    users = [db.repository(User).add(User(name=name)) for name in ("Ann", "Ben")]
    with pytest.raises(AssertionError) as raised, assert_statements(db, 1):
        await asyncio.gather(*users)
    lines = str(raised.value).splitlines()
    assert lines[0] == "2 operations were sent, not 1:"
    assert lines[1:] == [f"  {number}. insert users (on memory)" for number in (1, 2)]


@pytest.mark.parametrize(("most", "passes"), [(1, False), (2, True), (3, True)])
async def test_a_limit_may_be_kept_below(db: DatabaseManager, most: int, *, passes: bool) -> None:
    """With ``at_most`` fewer are fine."""

    async def read_twice() -> None:
        with assert_statements(db, at_most=most):
            await db.repository(User).count()
            await db.repository(User).count()

    if passes:
        await read_twice()
    else:
        with pytest.raises(AssertionError, match="not at most 1"):
            await read_twice()


async def test_nothing_is_listed_as_nothing(db: DatabaseManager) -> None:
    """A block that sends too little fails, too."""
    nothing = "0 operations were sent, not 1: none"
    with pytest.raises(AssertionError, match=nothing), assert_statements(db, 1):
        pass


async def test_each_attempt_counts_with_its_error() -> None:
    """What fails has been sent; its code is in the list."""
    faults = Faults()
    async with DatabaseManager("memory://", layers=[faults.layer]) as db:
        await db.initialize(User)
        faults.fail("count")
        failed = r"failed with HS-6000\)\n  2\. "
        with pytest.raises(AssertionError, match=failed), assert_statements(db, 1):
            await db.repository(User).count()
        with assert_statements(db, at_most=2) as sent:
            assert await db.repository(User).count() == 0
        assert [each.error for each in sent] == [None]


async def test_an_error_of_the_block_comes_first(db: DatabaseManager) -> None:
    """A failing block is reported as such, not as a wrong number."""
    with pytest.raises(UnavailableError), assert_statements(db, 5):
        raise UnavailableError("gone")


@pytest.mark.parametrize("numbers", [{}, {"exactly": 1, "at_most": 2}])
async def test_one_number_is_needed(db: DatabaseManager, numbers: dict[str, int]) -> None:
    """Neither none nor two."""
    wrong = pytest.raises(ConfigurationError, match="one number")
    with wrong, assert_statements(db, **numbers):
        pass

"""What is read without a limit: up to a bound, whole, and never a part of it."""

from __future__ import annotations

import pytest

from healthstore import DatabaseManager, Entity, F
from healthstore.errors import InvalidRequestError


class Note(Entity, collection="notes"):
    """What a service writes down."""

    number: int


async def test_a_hundred_thousand_are_read_at_once_and_no_more() -> None:
    """All of 100,000 are one list; of one more nothing is, and the error names the stream."""
    async with DatabaseManager("memory://") as db:
        await db.initialize(Note)
        notes = db.repository(Note)
        await notes.add_many([Note(number=number) for number in range(100_001)])
        page = await notes.find(F.number > 0, limit=None)
        assert [each.number for each in page] == list(range(1, 100_001))
        assert (page.next, page.previous) == (None, None)
        with pytest.raises(InvalidRequestError, match="more than 100000 entities") as error:
            await notes.find(limit=None)
        assert "stream()" in (error.value.hint or "")

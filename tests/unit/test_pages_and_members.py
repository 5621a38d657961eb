"""Pages and streams over several members: what one of them has never goes on with another's."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Annotated

import pytest
from tests.unit.outages import move, pair, until

from healthstore import DatabaseManager, Entity, F, Mock, Unique
from healthstore.errors import InvalidRequestError, UnavailableError
from healthstore.repository import cursors

if TYPE_CHECKING:
    from pathlib import Path


class Note(Entity, collection="notes"):
    """What a service writes down."""

    number: Annotated[int, Unique()]


async def fill(db: DatabaseManager) -> None:
    """Store 8 rows, of which the standby has the first 6."""
    await db.initialize(Note)
    notes = db.repository(Note)
    await notes.add_many([Note(number=number) for number in range(6)])
    await db.migrate("primary", "standby")
    await notes.add_many([Note(number=number) for number in (6, 7)])


async def test_a_page_says_who_returned_it(tmp_path: Path) -> None:
    """The active member, the standby, and in a unit the member of that."""
    async with pair(tmp_path) as db:
        await fill(db)
        notes = db.repository(Note)
        assert (await notes.find()).source == db.active
        async with db.transaction() as tx:
            assert (await tx.repository(Note).find()).source == "primary"
        move(tmp_path, "primary.db", "away.db")
        page = await notes.find(F.number >= 4)
        assert (page.source, len(page.items)) == ("standby", 2)
        assert page.source == db.reads != db.active
        async with db.transaction(read_only=True) as tx:
            assert (await tx.repository(Note).find()).source == "standby"


async def test_pages_end_where_their_member_is_lost(tmp_path: Path) -> None:
    """The error says where to begin again; asked for, what may be stale is read."""
    async with pair(tmp_path) as db:
        await fill(db)
        notes = db.repository(Note)
        first = await notes.find(order=["number"], limit=3)
        move(tmp_path, "primary.db", "away.db")
        with pytest.raises(UnavailableError, match=r"came from primary.* come from standby") as no:
            await notes.find(order=["number"], limit=3, after=first.next)
        assert (no.value.backend, no.value.transient) == ("primary", True)
        assert "begin again at the first page" in no.value.hint
        rest = await notes.find(order=["number"], after=first.next, stale=True)
        assert [each.number for each in rest.items] == [3, 4, 5]
        assert rest.source == "standby"
        move(tmp_path, "away.db", "primary.db")
        await until(db, "primary")
        rest = await notes.find(order=["number"], after=first.next)
        assert [each.number for each in rest.items] == [3, 4, 5, 6, 7]


async def test_pages_of_a_standby_go_on_there(tmp_path: Path) -> None:
    """Also when the active member is back, as long as the copy may be read."""
    async with pair(tmp_path) as db:
        await fill(db)
        notes = db.repository(Note)
        move(tmp_path, "primary.db", "away.db")
        first = await notes.find(order=["number"], limit=3)
        move(tmp_path, "away.db", "primary.db")
        await until(db, "primary")
        rest = await notes.find(order=["number"], after=first.next)
        assert ([each.number for each in rest.items], rest.source) == ([3, 4, 5], "standby")
        async with db._failover.filling("standby"):
            with pytest.raises(UnavailableError):
                await notes.find(order=["number"], after=first.next)


async def test_a_stream_ends_where_its_member_is_lost(tmp_path: Path) -> None:
    """It has given rows of one member only; a stale one goes on."""
    async with pair(tmp_path) as db:
        await fill(db)
        notes = db.repository(Note)
        streams = [
            notes.stream(order=["-number"], page_size=2, stale=stale) for stale in (False, True)
        ]
        seen = [[(await anext(stream)).number for _ in range(2)] for stream in streams]
        move(tmp_path, "primary.db", "away.db")
        with pytest.raises(UnavailableError, match="came from primary"):
            await anext(streams[0])
        seen[1] += [each.number async for each in streams[1]]
        assert seen == [[7, 6], [7, 6, 5, 4, 3, 2, 1, 0]]


async def test_a_position_and_a_unit_are_of_one_member(tmp_path: Path) -> None:
    """A position of the active member does not go on in a unit on its standby."""
    async with pair(tmp_path) as db:
        await fill(db)
        first = await db.repository(Note).find(limit=3)
        async with db.transaction() as tx:
            inside = await tx.repository(Note).find(limit=3, after=first.next)
        rest = await db.repository(Note).find(after=inside.next)
        assert len(rest.items) == 2
        move(tmp_path, "primary.db", "away.db")
        await until(db, "standby")
        async with db.transaction(read_only=True) as tx:
            with pytest.raises(UnavailableError, match="came from primary"):
                await tx.repository(Note).find(after=first.next)
            assert len((await tx.repository(Note).find(after=first.next, stale=True)).items) == 3


async def test_pages_end_at_a_switch(tmp_path: Path) -> None:
    """What was the active member falls behind; pages begin again at the new one."""
    async with pair(tmp_path) as db:
        await db.initialize(Note)
        notes = db.repository(Note)
        await notes.add_many([Note(number=number) for number in range(4)])
        await db.migrate("primary", "standby")
        first = await notes.find(limit=2)
        await db.switch("standby")
        await notes.add(Note(number=4))
        with pytest.raises(UnavailableError, match="came from primary"):
            await notes.find(after=first.next)
        assert len((await notes.find(after=first.next, stale=True)).items) == 3


async def test_pages_never_go_on_in_the_mock(tmp_path: Path) -> None:
    """Neither from a member to the mock, nor back."""
    async with pair(tmp_path, mode="none", mock=Mock.READS) as db:
        await db.initialize(Note)
        notes = db.repository(Note)
        await notes.add_many([Note(number=number) for number in range(4)])
        assert db._mock is not None
        first = await notes.find(limit=2)
        move(tmp_path, "primary.db", "away.db")
        assert (await notes.find()).source == "mock"
        with pytest.raises(UnavailableError, match=r"came from primary.* come from mock"):
            await notes.find(after=first.next)


async def test_a_position_means_the_same_to_the_next_process(tmp_path: Path) -> None:
    """It names the member, not what happened in a process: a client may bring it back later."""
    async with pair(tmp_path) as db:
        await fill(db)
        first = await db.repository(Note).find(limit=3)
    async with pair(tmp_path) as db:
        assert len((await db.repository(Note).find(after=first.next)).items) == 5
    async with DatabaseManager(members={"other": f"sqlite:///{tmp_path}/standby.db"}) as db:
        with pytest.raises(UnavailableError, match="came from primary"):
            await db.repository(Note).find(after=first.next)


@pytest.mark.parametrize(
    "place",
    [
        '["a\\n", false]',
        f'["{"a" * 101}", false]',
        '["", false]',
        "[1, false]",
        '["a"]',
        '"a"',
        "null",
        '["a", false, 1]',
    ],
)
async def test_a_damaged_position_is_refused(tmp_path: Path, place: str) -> None:
    """Whatever is in the place of the member."""
    async with pair(tmp_path) as db:
        await fill(db)
        first = await db.repository(Note).find(limit=3)
        assert first.next is not None
        whole = base64.urlsafe_b64decode(first.next)
        signature, values, _, way = json.loads(whole[cursors._SUM :])
        body = json.dumps([signature, values, json.loads(place), way]).encode()
        token = base64.urlsafe_b64encode(
            cursors._mark(None, body) + body
        ).decode()  # made up with care
        with pytest.raises(InvalidRequestError, match="does not belong to this query"):
            await db.repository(Note).find(after=token)

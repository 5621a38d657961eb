"""The tests of the care diary, with the fixtures that come with healthstore.

pytest examples/mock_mode_tests
pytest examples/mock_mode_tests --healthstore-backends=memory,sqlite
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from service import (
    Medication,
    MoodLog,
    User,
    change_medication,
    fill_demo,
    log_mood,
    overview,
    register,
)

from healthstore import DatabaseManager, F
from healthstore.errors import (
    CheckError,
    DuplicateKeyError,
    OutcomeUnknownError,
    ReadOnlyError,
    StaleVersionError,
    UnavailableError,
)
from healthstore.routing.policy import FailoverPolicy, Mock, Probe
from healthstore.testing.fake import fake
from healthstore.testing.faults import Faults
from healthstore.testing.statements import assert_statements


async def test_an_address_is_registered_once(db: DatabaseManager) -> None:
    """Who comes again gets the same diary."""
    ann = await register(db, "ann@example.org", "Ann")
    assert await register(db, "ann@example.org", "Anna") == ann
    assert await db.repository(User).count() == 1


async def test_moods_go_from_one_to_ten(db: DatabaseManager, users: list[User]) -> None:
    """Another number is refused by the store, whichever it is."""
    for mood in (0, 11):
        with pytest.raises(CheckError):
            await log_mood(db, users[0].id, mood)
    assert (await log_mood(db, users[0].id, 10)).mood == 10


@pytest.mark.parametrize("size", [0, 3, 200])
async def test_a_page_takes_three_requests(
    db: DatabaseManager, users: list[User], size: int
) -> None:
    """However long the diary is."""
    mine = fake(MoodLog, size, user_id=users[0])
    await db.repository(MoodLog).add_many([*mine, *fake(MoodLog, 20, seed=1, user_id=users[1:])])
    with assert_statements(db, 3):
        page = await overview(db, users[0].id)
    assert page.moods == size
    assert page.latest == tuple(sorted(mine, key=lambda each: each.logged_at, reverse=True)[:5])
    mean = sum(each.mood for each in mine) / size if size else None
    assert page.average == (mean if mean is None else pytest.approx(mean))


async def test_a_medication_is_changed_as_a_whole(db: DatabaseManager, users: list[User]) -> None:
    """If the new one is refused, the old one goes on."""
    old, other = fake(Medication, 2, user_id=users[0], active=True)
    await db.repository(Medication).add_many([old, other])
    with pytest.raises(DuplicateKeyError):
        await change_medication(
            db, old, fake(Medication, 1, seed=1, user_id=users[0], name=other.name)[0]
        )
    assert {each.id for each in (await overview(db, users[0].id)).medications} == {old.id, other.id}
    new = fake(Medication, 1, seed=2, user_id=users[0], name="Something new", active=True)[0]
    await change_medication(db, old, new)
    assert {each.id for each in (await overview(db, users[0].id)).medications} == {new.id, other.id}
    with pytest.raises(StaleVersionError):
        await change_medication(db, old, fake(Medication, 1, seed=3, user_id=users[0])[0])


# --- when something fails ---------------------------------------------------------------------


@pytest.mark.parametrize("stored", [True, False])
async def test_a_mood_is_kept_once_though_the_answer_is_lost(
    db: DatabaseManager, users: list[User], healthstore_faults: Faults, *, stored: bool
) -> None:
    """The insert was applied, or it was not: the service finds out."""
    if stored:
        fault = healthstore_faults.lose("insert", collection=MoodLog)
    else:
        lost = OutcomeUnknownError("the connection was lost")
        fault = healthstore_faults.fail("insert", error=lost, collection=MoodLog)
    entry = await log_mood(db, users[0].id, 5)
    assert fault.struck == 1
    assert (await overview(db, users[0].id)).latest == (entry,)


async def test_a_lost_commit_leaves_no_half(
    db: DatabaseManager, users: list[User], healthstore_faults: Faults
) -> None:
    """A change whose commit fails has changed nothing."""
    old, new = fake(Medication, 2, user_id=users[0], active=True)
    await db.repository(Medication).add(old)
    healthstore_faults.fail("commit")
    with pytest.raises(UnavailableError):
        await change_medication(db, old, new)
    assert (await overview(db, users[0].id)).medications == (old,)


async def test_a_short_outage_is_not_noticed(
    db: DatabaseManager, users: list[User], healthstore_faults: Faults
) -> None:
    """What was surely not applied is tried again by the manager."""
    fault = healthstore_faults.fail("insert", "find", times=2)
    await log_mood(db, users[0].id, 5)
    assert (await overview(db, users[0].id)).moods == 1
    assert fault.struck == 2


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the checks of the members have seen something."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def test_demo_data_is_shown_while_the_database_is_away(tmp_path: Path) -> None:
    """Reads go to the mock, which says so; writes are refused; all is well again afterwards."""
    faults = Faults()
    probe = Probe(interval=0.05, fast_interval=0.02, fall=1, rise=1, hold_down=0, canary_every=0)
    async with DatabaseManager(
        f"sqlite:///{tmp_path / 'diary.db'}",
        policy=FailoverPolicy(mock=Mock.READS, probe=probe),
        layers=[faults.layer],
        mock_fill=fill_demo,
    ) as db:
        await db.initialize(User, Medication, MoodLog)
        ann = await register(db, "ann@example.org", "Ann")
        faults.down("sqlite")
        await until(lambda: db.reads == "mock")
        demo = await db.repository(User).first(F.email == "demo@example.org")
        assert demo is not None
        page = await overview(db, demo.id)
        assert (page.moods, page.banner) == (1, "demo data: the database is away")
        with pytest.raises(ReadOnlyError):
            await log_mood(db, demo.id, 5)
        faults.clear()
        await until(lambda: db.reads == "sqlite")
        assert (await overview(db, ann.id)).banner == ""
        assert await db.repository(User).count() == 1

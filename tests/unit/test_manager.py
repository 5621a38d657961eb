"""The manager: it builds, opens, names and delegates; what it tells needs no I/O."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import SecretStr
from tests.unit.outages import QUICK, QUICK_FIGURES, move, pair, until

from healthstore import (
    ConfigReloaded,
    ConnectionLost,
    Count,
    DatabaseManager,
    Entity,
    Event,
    F,
    FailedBack,
    FailedOver,
    FailoverMode,
    FailoverPolicy,
    MaxLength,
    Mode,
    Probe,
    Recovered,
    Settings,
    SlowQuery,
    Startup,
    Switched,
    Transaction,
    Unique,
)
from healthstore.config.settings import MemberSettings, settings_of
from healthstore.entity import uuid7
from healthstore.errors import (
    ConfigurationError,
    DeadlineExceededError,
    HealthstoreError,
    InvalidRequestError,
    LifecycleError,
    ReadOnlyError,
    UnavailableError,
    VerificationError,
)
from healthstore.routing.policy import Mock
from healthstore.testing.faults import Faults


class User(Entity, collection="users"):
    """Somebody."""

    email: Annotated[str, Unique(), MaxLength(100)]


async def test_health_has_the_shape_that_services_publish(tmp_path: Path) -> None:
    """The object of the health endpoint, with figures, and without any URL."""
    async with pair(tmp_path) as db:
        await db.initialize(User)
        await db.repository(User).add(User(email="a"))
        health = await db.health(probe=True)
        told = health.as_json()
        assert json.loads(json.dumps(told)) == told
        assert (told["service"], told["initialized"]) == ("database", True)
        assert told["active_database"] == "primary"
        status = told["database_status"]
        assert isinstance(status, dict)
        assert status["overall_status"] == "healthy"
        connections = status["connections"]
        assert isinstance(connections, dict)
        assert connections["postgresql"] == {"status": "not_configured"}
        primary = connections["primary"]
        assert isinstance(primary, dict)
        assert primary["status"] == "connected"
        assert primary["documents"] == {"users": 1}
        assert isinstance(primary["size_bytes"], int)
        assert str(tmp_path) not in json.dumps(told)


async def test_health_needs_no_io(tmp_path: Path) -> None:
    """A thousand of them take less than a second, also while the member is gone."""
    async with pair(tmp_path) as db:
        async with asyncio.timeout(1):
            for _ in range(1_000):
                await db.health()
        assert (await db.health()).member("primary").writable


async def test_a_lost_file_is_an_outage_that_ends(tmp_path: Path) -> None:
    """Reads go on at the copy, writes are refused, and everything returns in order."""
    seen: list[Event] = []
    async with pair(tmp_path) as db:
        await db.initialize(User)
        users = db.repository(User)
        ann = await users.add(User(email="ann"))
        await db.migrate("primary", "standby")
        for kind in (ConnectionLost, FailedOver, Recovered, FailedBack):
            db.on(kind, seen.append)
        move(tmp_path, "primary.db", "away.db")
        assert await users.get(ann.id) == ann
        with pytest.raises(ReadOnlyError, match="writes are refused: primary is down"):
            await users.add(User(email="lost"))
        assert (await db.health()).mode is Mode.READ_ONLY
        assert db.ready()
        move(tmp_path, "away.db", "primary.db")
        await until(db, "primary")
        await users.add(User(email="bob"))
        assert sorted(each.email for each in (await users.find()).items) == ["ann", "bob"]
        # A check may have seen the copy half-made: then it is told that the standby is whole again.
        outage = [each for each in seen if getattr(each, "backend", None) != "standby"]
        assert [type(event) for event in outage] == [
            ConnectionLost,
            FailedOver,
            Recovered,
            FailedBack,
        ]
        last = (await db.health()).last_failover
        assert last is not None
        assert (last.source, last.target) == ("primary", "standby")


async def test_a_switch_is_refused_while_the_target_is_behind(tmp_path: Path) -> None:
    """It says by how much, changes nothing, and works after the copy."""
    async with pair(tmp_path) as db:
        await db.initialize(User)
        users = db.repository(User)
        await users.add(User(email="ann"))
        report = await db.switch("standby", dry_run=True)
        assert (report.possible, report.reasons) == (
            False,
            ("standby is behind: standby has no users",),
        )
        with pytest.raises(VerificationError, match="standby has no users"):
            await db.switch("standby")
        await db.migrate("primary", "standby")
        assert (await db.switch("standby", dry_run=True, verify=True)).possible
        switched: list[Switched] = []
        db.on(Switched, switched.append)
        assert (await db.switch("standby")).possible
        assert (db.active, db.reads, db.writes) == ("standby", "standby", "standby")
        assert [(event.source, event.target) for event in switched] == [("primary", "standby")]
        await users.add(User(email="bob"))
        with pytest.raises(VerificationError, match="1 documents of users, standby has 2"):
            await db.switch("primary")
        with pytest.raises(ConfigurationError, match="no member 'standbi'"):
            await db.switch("standbi")


async def test_a_switch_is_not_deceived_by_equal_marks(tmp_path: Path) -> None:
    """A document that was deleted and added anew with another value is found."""
    async with pair(tmp_path) as db:
        await db.initialize(User)
        users = db.repository(User)
        ann = await users.add(User(email="ann"))
        await db.migrate("primary", "standby")
        await users.delete(ann.id)
        await users.add(ann.model_copy(update={"email": "other"}))
        assert (await db.switch("standby", dry_run=True, verify=False)).possible
        with pytest.raises(VerificationError, match="other documents of users"):
            await db.switch("standby")


@pytest.mark.parametrize("manual", [True, False])
async def test_switch_brings_the_active_member_back(tmp_path: Path, *, manual: bool) -> None:
    """Where failback is manual, or a member flapped too often, an operator has the last word."""
    chosen: dict[str, object] = {"failback": "manual"} if manual else {}
    flappy = Probe(**{**QUICK_FIGURES, "flap_limit": 0})
    async with pair(tmp_path, probe=flappy, **chosen) as db:
        await db.initialize(User)
        users = db.repository(User)
        await db.migrate("primary", "standby")
        move(tmp_path, "primary.db", "away.db")
        await until(db, "standby")
        move(tmp_path, "away.db", "primary.db")
        async with asyncio.timeout(5):
            while not (await db.health()).member("primary").writable:  # noqa: ASYNC110 - a value
                await asyncio.sleep(0.01)
        assert (db.reads, db.writes) == ("standby", None)
        assert (await db.switch("primary")).possible
        assert (db.reads, db.writes) == ("primary", "primary")
        await users.add(User(email="ann"))


async def test_a_replaced_file_is_quarantined_until_an_operator_decides(tmp_path: Path) -> None:
    """Its log may belong to the first file: nothing is written to it by itself."""
    async with pair(tmp_path) as db:
        await db.initialize(User)
        users = db.repository(User)
        await users.add(User(email="ann"))
        await db.migrate("primary", "standby")
        await db.backup(tmp_path / "b.json")
        move(tmp_path, "primary.db", "away.db")
        async with DatabaseManager(f"sqlite:///{tmp_path}/primary.db") as other:
            await other.restore(tmp_path / "b.json")
        await until(db, "standby")
        with pytest.raises(ReadOnlyError, match="quarantine"):
            await users.add(User(email="lost"))
        await asyncio.sleep(0.3)
        assert db.reads == "standby"
        await db.switch("primary")
        await users.add(User(email="bob"))
        assert await users.count() == 2


def test_a_policy_takes_texts_and_refuses_what_it_does_not_know() -> None:
    """A misspelt mode must not mean another one."""
    policy = FailoverPolicy(mode="standby_readonly", mock="on", failback="manual", startup="fail")  # type: ignore[arg-type] - configuration is text
    assert (policy.mode, policy.mock) == (FailoverMode.STANDBY_READONLY, Mock.ON)
    for wrong in (
        {"mode": "standby"},
        {"mock": True},
        {"startup": None},
        {"drain": -1},
        {"drain": "x"},
        {"probe": 3},
    ):
        with pytest.raises(ConfigurationError, match="failover"):
            FailoverPolicy(**wrong)  # type: ignore[arg-type] - the mistake is the test
    for bad in ({"interval": float("inf")}, {"fall": 1.5}, {"rise": 0}, {"jitter": 1.0}):
        with pytest.raises(ConfigurationError, match="probe"):
            Probe(**bad)  # type: ignore[arg-type] - the mistake is the test


async def test_no_write_is_lost_in_a_switch(tmp_path: Path) -> None:
    """Each acknowledged write is at the old member or, after the switch, at the new one."""
    async with pair(tmp_path) as db:
        await db.initialize(User)
        users = db.repository(User)
        await db.migrate("primary", "standby")
        acknowledged: list[str] = []

        async def write(writer: int) -> None:
            for number in range(30):
                email = f"{writer}-{number}"
                await users.add(User(email=email))
                acknowledged.append(email)

        async with asyncio.TaskGroup() as group:
            for writer in range(4):
                group.create_task(write(writer))
            await asyncio.sleep(0.02)
            with pytest.raises(VerificationError):
                await db.switch("standby")
        found = [each.email async for each in users.stream()]
        assert sorted(found) == sorted(acknowledged)


async def test_a_read_only_member_never_becomes_active(tmp_path: Path) -> None:
    """Its settings say so, and it refuses writes itself."""
    settings = Settings(
        members=(
            MemberSettings(name="main", url=f"sqlite:///{tmp_path}/a.db"),
            MemberSettings(name="replica", url=f"sqlite:///{tmp_path}/b.db", read_only=True),
        )
    )
    async with DatabaseManager.from_settings(settings) as db:
        await db.initialize(User)
        report = await db.switch("replica", dry_run=True)
        assert not report.possible
        assert "configured read-only" in report.reasons[0]


async def test_the_mock_has_data_of_its_own_and_is_visible() -> None:
    """A service without a database runs on it; health says that it is not real."""

    async def fill(tx: Transaction) -> None:
        await tx.repository(User).add(User(email="invented"))

    policy = FailoverPolicy(mock=Mock.ON, startup=Startup.DEGRADED, probe=QUICK)
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    async with DatabaseManager(url, policy=policy, mock_fill=fill) as db:
        await db.initialize(User)
        users = db.repository(User)
        await users.add(User(email="mine"))
        assert sorted(each.email for each in (await users.find()).items) == ["invented", "mine"]
        health = await db.health()
        assert (health.mode, health.reads, health.writes) == (Mode.MOCK, "mock", "mock")
        assert health.as_json()["mode"] == "mock"
        assert db.ready()


async def test_a_mock_is_refused_in_production() -> None:
    """Invented data must never be served there."""
    for urls, policy in (
        (["sqlite:///app.db"], FailoverPolicy(mock=Mock.READS)),
        (["memory://"], FailoverPolicy()),
    ):
        with pytest.raises(ConfigurationError, match="production"):
            DatabaseManager(*urls, policy=policy, profile="production")


async def test_events_are_a_stream_that_ends_with_the_manager(tmp_path: Path) -> None:
    """``async for event in db.events()`` sees what happens and comes to its end."""
    db = pair(tmp_path)
    await db.open()
    events = db.events()
    await db.initialize(User)
    await db.migrate("primary", "standby")
    await db.switch("standby")
    await db.close()
    assert Switched in [type(event) async for event in events]


async def test_slow_queries_are_told_without_values(tmp_path: Path) -> None:
    """The threshold is the member's; the shape shows no value."""
    slow: list[SlowQuery] = []
    url = f"sqlite:///{tmp_path}/a.db"
    settings = Settings(members=(MemberSettings(name="a", url=url, slow_seconds=1e-9),))
    async with DatabaseManager.from_settings(settings) as db:
        db.on(SlowQuery, slow.append)
        await db.initialize(User)
        await db.repository(User).add(User(email="secret@example.org"))
    assert any(event.collection == "users" for event in slow)
    assert "secret" not in repr(slow)


async def test_settings_are_reloaded_under_traffic(tmp_path: Path) -> None:
    """A changed option rebuilds its member; requests go on; nothing else may change."""
    url = f"sqlite:///{tmp_path}/a.db"
    current = Settings(members=(MemberSettings(name="a", url=url),))
    db = DatabaseManager(settings=current, reread=lambda: current)
    async with db:
        await db.initialize(User)
        users = db.repository(User)
        reloaded: list[ConfigReloaded] = []
        db.on(ConfigReloaded, reloaded.append)
        assert (await db.reload()).changed == ()
        current = Settings(members=(MemberSettings(name="a", url=url, timeout=3),))

        async def write() -> None:
            for number in range(30):
                await users.add(User(email=f"{number}"))

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            await asyncio.sleep(0.005)
            assert (await db.reload()).changed == ("a",)
        assert await users.count() == 30
        assert [event.changed for event in reloaded] == [(), ("a",)]
        more = settings_of([url, "memory://"])
        with pytest.raises(ConfigurationError, match="start a new manager"):
            await db.reload(more)
        elsewhere = Settings(members=(MemberSettings(name="a", url="memory://"),))
        with pytest.raises(ConfigurationError, match="another database"):
            await db.reload(elsewhere)
    with pytest.raises(ConfigurationError, match="nothing to read again"):
        await DatabaseManager("memory://").reload()


async def test_a_reloaded_deadline_holds(tmp_path: Path) -> None:
    """The time that requests have is a setting of the member, too."""
    faults = Faults()
    short = FailoverPolicy(probe=Probe(query_timeout=0.05))

    def settings(seconds: float) -> Settings:
        url = SecretStr(f"sqlite:///{tmp_path}/a.db")
        return Settings(members=(MemberSettings(name="a", url=url, timeout=seconds),), policy=short)

    async with DatabaseManager(settings=settings(30), layers=[faults.layer]) as db:
        await db.initialize(User)
        await db.reload(settings(0.1))
        faults.hang("find")
        with pytest.raises(DeadlineExceededError):
            async with asyncio.timeout(5):
                await db.repository(User).find()


async def test_a_memory_is_not_rebuilt() -> None:
    """Its data would be gone, without a word."""
    async with DatabaseManager("memory://") as db:
        await db.initialize(User)
        await db.repository(User).add(User(email="ann"))
        slower = MemberSettings(name="memory", url=SecretStr("memory://"), timeout=60)
        with pytest.raises(ConfigurationError, match="would be empty"):
            await db.reload(Settings(members=(slower,)))
        assert await db.repository(User).count() == 1


async def test_all_members_down_at_the_start_is_a_clear_error_by_policy() -> None:
    """It fails, and says how to start all the same; then it says who is missing."""
    urls = ["postgresql://a@127.0.0.1:1/a", "mysql://a@127.0.0.1:1/a"]
    with pytest.raises(UnavailableError, match="startup=") as caught:
        await DatabaseManager(*urls).open()
    assert caught.value.backend == "postgresql"
    policy = FailoverPolicy(startup=Startup.DEGRADED, probe=QUICK)
    async with DatabaseManager(*urls, policy=policy) as db:
        health = await db.health()
        assert health.mode is Mode.DOWN
        assert {each.name: each.status for each in health.members} == {
            "postgresql": "disconnected",
            "mysql": "disconnected",
        }
        assert db.alive()
        assert not db.ready()
        with pytest.raises(UnavailableError, match="no member serves reads"):
            await db.repository(User).count()


async def test_before_and_after_its_life_a_manager_says_what_to_do() -> None:
    """Use before open and after close, and both twice."""
    db = DatabaseManager("memory://")
    with pytest.raises(LifecycleError, match="is not open"):
        await db.repository(User).count()
    assert (db.alive(), db.ready()) == (False, False)
    assert (await db.health()).mode is Mode.DOWN
    await db.open()
    await db.open()
    assert db.alive()
    await db.close()
    await db.close()
    with pytest.raises(LifecycleError, match="is closed"):
        await db.repository(User).count()


async def test_a_manager_leaves_nothing_behind(tmp_path: Path) -> None:
    """No task and no open file: counted."""

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()
    tasks, before = asyncio.all_tasks(), files()
    for _ in range(3):
        async with pair(tmp_path) as db:
            await db.initialize(User)
            await db.repository(User).count()
            await db.health(probe=True)
            await asyncio.sleep(0.1)
    gc.collect()
    assert asyncio.all_tasks() == tasks
    assert files() <= before


async def test_an_outage_is_logged_without_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Operators read it in the log; nobody reads a password there."""
    secret = "s3cret-canary"
    url = f"postgresql://ann:{secret}@127.0.0.1:1/x"
    policy = FailoverPolicy(
        mode=FailoverMode.STANDBY_READONLY, startup=Startup.DEGRADED, probe=QUICK
    )
    with caplog.at_level(logging.DEBUG):
        members = {"main": url, "copy": f"sqlite:///{tmp_path}/c.db"}
        async with DatabaseManager(members=members, policy=policy) as db:
            await until(db, "copy")
            told = json.dumps((await db.health()).as_json())
            try:
                await db.repository(User).add(User(email="e@x"))
            except HealthstoreError as error:
                told += str(error) + repr(error)
            told += repr(db) + repr(db.events())
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert "failed over" in logged
    assert secret not in logged + told + caplog.text


async def test_wrong_types_are_refused_by_name() -> None:
    """What a caller without a type checker may pass is an error of ours, before any I/O."""
    async with DatabaseManager("memory://") as db:
        for wrong in (None, 3, "User", User(email="a"), Entity):
            with pytest.raises(InvalidRequestError, match="class of an entity"):
                await db.initialize(wrong)  # type: ignore[arg-type] - the mistake is the test
            with pytest.raises(InvalidRequestError, match="class of an entity"):
                db.repository(wrong)  # type: ignore[type-var] - the mistake is the test
        for name in (None, 3):
            for call in (db.switch, db.member):
                with pytest.raises(InvalidRequestError, match="named by a text"):
                    await call(name)  # type: ignore[operator] - the mistake is the test
        await db.initialize(User)
        users: Any = db.repository(User)
        manager: Any = db
        email: Any = F.email
        calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: users.add_many(None),
            lambda: users.get_many(None),
            lambda: users.get_many("ann"),
            lambda: users.update(uuid7(), None),
            lambda: users.find(order=None),
            lambda: users.find(order="email"),
            lambda: users.upsert(User(email="a"), on=None),
            lambda: users.aggregate(group="email", n=Count()),
            lambda: manager.migrate("memory", "memory", User),
            lambda: manager.backup(None),
            lambda: manager.restore("a\0b"),
            lambda: manager.reload(5),
        ]
        for mistaken in calls:
            with pytest.raises(InvalidRequestError):
                await mistaken()
        for values in (5, None, "ann"):
            with pytest.raises(InvalidRequestError, match="looked up in is no list"):
                email.in_(values)
        for options in ({"deadline": None}, {"deadline": "x"}, {"read_only": "yes"}):
            with pytest.raises(InvalidRequestError):
                async with db.transaction(**options):  # type: ignore[arg-type] - the same
                    pass


async def test_two_switches_at_once_are_one(tmp_path: Path) -> None:
    """The second finds the work done."""
    switched: list[Switched] = []
    async with pair(tmp_path) as db:
        db.on(Switched, switched.append)
        await db.initialize(User)
        await db.migrate("primary", "standby")
        reports = await asyncio.gather(db.switch("standby"), db.switch("standby"))
        assert all(report.possible for report in reports)
        assert [(event.source, event.target) for event in switched] == [("primary", "standby")]


def test_another_event_loop_is_told_and_a_dead_one_is_survived() -> None:
    """A manager that was left open in a loop that has ended is closed, and opens in another."""
    db = DatabaseManager("memory://")

    async def use() -> None:
        await db.open()
        await db.initialize(User)

    async def elsewhere() -> None:
        await use()
        with pytest.raises(LifecycleError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, use())

    with pytest.warns(ResourceWarning, match="the manager of memory was not closed"):
        asyncio.run(elsewhere())
    asyncio.run(db.close())
    with pytest.warns(ResourceWarning, match="the manager of memory was not closed"):
        asyncio.run(use())
    assert (db.reads, db.writes, db.ready(), db.alive()) == (None, None, False, False)

"""Failover as a backend: who serves what, what is refused, and what nobody has to wait for."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

import pytest
from tests.at_once import at_once

from healthstore.abc.backend import UnitOptions
from healthstore.errors import (
    Condition,
    DuplicateKeyError,
    HealthstoreError,
    LifecycleError,
    Outcome,
    OutcomeUnknownError,
    ReadOnlyError,
    UnavailableError,
)
from healthstore.model.ops import CountDocuments, Ensure, Insert
from healthstore.routing.failover import Failover
from healthstore.routing.policy import (
    Failback,
    FailoverMode,
    FailoverPolicy,
    Mock,
    Probe,
    Startup,
)
from healthstore.testing.contract._samples import PEOPLE, person

from .stores import QUICK, Slow, Store, StoreProber, World, refused

COUNT = CountDocuments(PEOPLE)


def policy(**changes: object) -> FailoverPolicy:
    """Return the policy of these tests, changed."""
    return FailoverPolicy(**{"mode": FailoverMode.STANDBY_READONLY, "probe": QUICK, **changes})  # type: ignore[arg-type] - tests pass what they mean


async def test_everything_goes_to_the_active_member() -> None:
    """A standby is opened and checked, and asked nothing."""
    async with World("a", "b") as world:
        await world.until("b", "up")
        before = world["b"].executed
        await world.failover.execute(Insert(PEOPLE, (person(1),)))
        assert await world.failover.execute(COUNT) == 1
        assert world["b"].executed == before


async def test_reads_go_on_at_the_standby_and_writes_are_refused_with_the_reason() -> None:
    """The very call that meets the outage is answered by the standby; a write names the cause."""
    async with World("a", "b") as world:
        await world.until("b", "up")
        await world["b"].inner.execute(Insert(PEOPLE, (person(1), person(2))))
        world["a"].error = refused()
        assert await world.failover.execute(COUNT) == 2
        with pytest.raises(ReadOnlyError, match="a is down; reads go on at b") as caught:
            await world.failover.execute(Insert(PEOPLE, (person(3),)))
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert "switch to b" in caught.value.hint
        with pytest.raises(ReadOnlyError):
            await world.failover.begin(UnitOptions())
        unit = await world.failover.begin(UnitOptions(read_only=True))
        assert unit.name == "b"
        await unit.rollback()
        assert world.kinds() == ["ConnectionLost", "FailedOver"]


async def test_recovery_and_failback_are_in_order_and_seen() -> None:
    """The active member serves again after its good checks, with nobody's help."""
    async with World("a", "b") as world:
        await world.until("b", "up")
        world["a"].error = refused()
        await world.failover.execute(COUNT)
        world["a"].error = None
        await world.until("a", "up")
        await world.failover.execute(Insert(PEOPLE, (person(1),)))
        assert world.failover.route.reads == "a"
        assert world.kinds() == ["ConnectionLost", "FailedOver", "Recovered", "FailedBack"]


async def test_a_blip_is_no_failover() -> None:
    """One failed request and a good check: the same member answers, nobody else is asked."""
    async with World("a", "b") as world:
        await world.until("b", "up")
        world["a"].error = UnavailableError("a connection was lost")
        task = asyncio.create_task(world.failover.execute(COUNT))
        await asyncio.sleep(0)
        world["a"].error = None
        assert await task == 0
        assert world.kinds() == []


async def test_a_mistake_of_the_caller_says_nothing_about_the_member() -> None:
    """A duplicate key is answered at once and checks nothing."""
    async with World("a", "b") as world:
        await world.failover.execute(Insert(PEOPLE, (person(1),)))
        checks = world["a"].checks
        with pytest.raises(DuplicateKeyError):
            await world.failover.execute(Insert(PEOPLE, (person(1),)))
        assert world["a"].checks == checks


async def test_requests_that_hang_end_when_their_member_is_found_down() -> None:
    """A read goes on at the standby; of a write the outcome is unknown; nobody waits longer."""
    async with World("a", "b") as world:
        await world.until("b", "up")
        world["a"].hangs = True
        read = asyncio.create_task(world.failover.execute(COUNT))
        write = asyncio.create_task(world.failover.execute(Insert(PEOPLE, (person(1),))))
        assert await read == 0
        with pytest.raises(OutcomeUnknownError) as caught:
            await write
        assert caught.value.outcome is Outcome.UNKNOWN
        assert caught.value.condition is Condition.DOWN
        assert world.kinds()[:2] == ["ConnectionLost", "FailedOver"]


async def test_a_write_whose_outcome_is_unknown_is_never_repeated() -> None:
    """The error reaches the caller; the member is asked once."""
    async with World("a", "b") as world:
        world["a"].error = OutcomeUnknownError("lost", outcome=Outcome.UNKNOWN)
        before = world["a"].executed
        with pytest.raises(OutcomeUnknownError):
            await world.failover.execute(Insert(PEOPLE, (person(1),)))
        assert world["a"].executed == before + 1


async def test_a_write_that_was_not_attempted_is_repeated_when_the_member_is_well() -> None:
    """The caller sees latency, not an error."""
    async with World("a", "b") as world:
        world["a"].error = UnavailableError("a connection was lost")
        task = asyncio.create_task(world.failover.execute(Insert(PEOPLE, (person(1),))))
        await asyncio.sleep(0)
        world["a"].error = None
        assert await task == 1


async def test_an_exhausted_pool_moves_nothing() -> None:
    """Overload is told to the caller at once, and is no reason to fail over."""
    async with World("a", "b") as world:
        await world.until("b", "up")
        busy = UnavailableError("no free connection")
        busy.condition = Condition.OVERLOADED
        world["a"].error = busy
        for _ in range(5):
            with pytest.raises(UnavailableError, match="no free connection"):
                await world.failover.execute(COUNT)
        await asyncio.sleep(0.1)
        assert world.failover.route.reads == "a"
        assert world.kinds() == []


async def test_a_member_that_turns_read_only_keeps_the_reads() -> None:
    """Its data is the freshest; writes are refused without being sent."""
    async with World("a", "b") as world:
        world["a"].read_only = True
        await world.until("a", "read_only")
        assert world.failover.route.reads == "a"
        before = world["a"].executed
        with pytest.raises(ReadOnlyError, match="a accepts no writes"):
            await world.failover.execute(Insert(PEOPLE, (person(1),)))
        assert world["a"].executed == before
        world["a"].read_only = False
        await world.until("a", "up")
        await world.failover.execute(Insert(PEOPLE, (person(1),)))
        assert world.kinds() == ["MemberDegraded", "Recovered"]


async def test_when_all_are_down_requests_fail_at_once() -> None:
    """Nobody waits for anybody: the error says who is down."""
    async with World("a", "b") as world:
        await world.until("b", "up")
        world["a"].error = world["b"].error = refused()
        await world.until("a", "down")
        await world.until("b", "down")
        with pytest.raises(UnavailableError, match="no member serves reads: a is down"):
            at_once(world.failover.execute(COUNT))
        with pytest.raises(UnavailableError):
            at_once(world.failover.execute(Insert(PEOPLE, (person(1),))))


async def test_a_standby_without_a_copy_says_so() -> None:
    """It is not the caller's fault that a collection is missing there."""
    world = World("a", "b")
    await world.failover.open()
    try:
        await world["a"].execute(Ensure((PEOPLE,)))
        await world.until("b", "up")
        world["a"].error = refused()
        with pytest.raises(UnavailableError, match="b stands in for a and has no copy"):
            await world.failover.execute(COUNT)
    finally:
        await world.failover.close()


async def test_in_mode_none_nobody_else_is_opened() -> None:
    """A second member, for a migration perhaps, is left alone until it is asked for."""
    async with World("a", policy=policy(mode=FailoverMode.NONE)) as world:
        world["a"].error = refused()
        with pytest.raises(UnavailableError):
            await world.failover.execute(COUNT)
        await world.until("a", "down")
    world = World("a", "b", policy=policy(mode=FailoverMode.NONE))
    await world.failover.open()
    await asyncio.sleep(0.1)
    assert world["b"].opened == 0
    await world.failover.close()


async def test_the_mock_takes_over_visibly_and_goes_when_a_member_is_back() -> None:
    """What it acknowledged is counted when it goes: it is gone."""
    async with World("a", policy=policy(mode=FailoverMode.NONE, mock=Mock.ON)) as world:
        world["a"].error = refused()
        await world.until("a", "down")
        assert not world.failover.capabilities.durable
        await world.failover.execute(Insert(PEOPLE, (person(1), person(2))))
        assert await world.failover.execute(COUNT) == 2
        world["a"].error = None
        await world.until("a", "up", "recovering")
        await asyncio.sleep(0)
        assert await world.failover.execute(COUNT) == 0
        assert world.kinds()[:2] == ["ConnectionLost", "MockEntered"]
        (left,) = [event for event in world.events if type(event).__name__ == "MockLeft"]
        assert getattr(left, "writes", None) == 1


async def test_a_mock_for_reads_takes_no_writes() -> None:
    """The policy `reads` is what it says."""
    async with World("a", policy=policy(mode=FailoverMode.NONE, mock=Mock.READS)) as world:
        world["a"].error = refused()
        await world.until("a", "down")
        assert await world.failover.execute(COUNT) == 0
        with pytest.raises(ReadOnlyError, match="reads go on at mock"):
            await world.failover.execute(Insert(PEOPLE, (person(1),)))


async def test_what_the_active_member_missed_is_made_up_for() -> None:
    """A collection that was initialized on the mock is created where it belongs."""
    start = policy(mode=FailoverMode.NONE, mock=Mock.ON, startup=Startup.DEGRADED)
    world = World("a", policy=start)
    world["a"].error = refused()
    async with world:
        await world.failover.execute(Ensure((PEOPLE,)))
        world["a"].error = None
        await world.until("a", "up", "recovering")
        await asyncio.sleep(0.05)
        assert await world.failover.execute(COUNT) == 0
        assert world.failover.route.writes == "a"


async def test_a_member_that_an_operator_brings_back_has_what_it_missed() -> None:
    """Where failback is manual, too, nothing that was initialized on the mock is missing."""
    start = policy(
        mode=FailoverMode.NONE, mock=Mock.ON, startup=Startup.DEGRADED, failback=Failback.MANUAL
    )
    world = World("a", policy=start)
    world["a"].error = refused()
    async with world:
        await world.failover.execute(Ensure((PEOPLE,)))
        world["a"].error = None
        await world.failover.changes.bring_back()
        assert world.failover.route.writes == "a"
        await world.failover.execute(Insert(PEOPLE, (person(1),)))
        assert await world.failover.execute(COUNT) == 1


async def test_a_start_without_the_active_member_fails_and_says_how_to_go_on() -> None:
    """Nothing stays open behind the error."""
    world = World("a", "b")
    world["a"].error = refused()
    with pytest.raises(UnavailableError, match="startup="):
        await world.failover.open()
    assert not world.failover.is_open
    assert world["a"].probers_open == world["b"].probers_open == 0


async def test_a_degraded_start_serves_what_it_can() -> None:
    """Reads come from the standby at once, writes when the active member appears."""
    world = World("a", "b", policy=policy(startup=Startup.DEGRADED))
    world["a"].error = refused()
    async with world:
        assert world.failover.route.reads == "b"
        world["a"].error = None
        await world.until("a", "up")
        await world["a"].execute(Ensure((PEOPLE,)))
        await world.failover.execute(Insert(PEOPLE, (person(1),)))


async def test_a_start_that_hangs_is_bounded() -> None:
    """The start-up timeout holds whatever the member does."""
    world = World("a", policy=policy(mode=FailoverMode.NONE, startup_timeout=0.05))
    world["a"].hangs = True
    with pytest.raises(UnavailableError, match=r"0\.05 s"):
        await world.failover.open()


async def test_a_stalled_event_loop_is_not_taken_for_an_outage() -> None:
    """A check that could not run in time is thrown away."""
    async with World("a", "b") as world:
        await world.until("b", "up")
        world["a"].probes_hang = True
        checks = world["a"].checks
        while world["a"].checks == checks:  # noqa: ASYNC110 - a counter, not an event
            await asyncio.sleep(0.001)
        world["a"].probes_hang = False
        time.sleep(1.0)  # noqa: ASYNC251 - the stall is the test
        await asyncio.sleep(0.2)
        assert world.kinds() == []


# --- switching -------------------------------------------------------------------------------


async def nothing() -> None:
    """Find the target current."""


async def test_a_switch_waits_for_writes_and_units_and_holds_new_ones_back() -> None:
    """No write is under way at the old member when the new one takes over."""
    async with World("a", "b") as world:
        await world.until("b", "up")
        unit = await world.failover.begin(UnitOptions())
        await unit.execute(Insert(PEOPLE, (person(1),)))
        switch = asyncio.create_task(world.failover.changes.switch("b", nothing))
        await asyncio.sleep(0.01)
        write = asyncio.create_task(world.failover.execute(Insert(PEOPLE, (person(2),))))
        assert await world.failover.execute(COUNT) == 0  # reads never stop
        assert not switch.done()
        await unit.commit()
        await switch
        await write
        assert await world["a"].inner.execute(COUNT) == 1
        assert await world["b"].inner.execute(COUNT) == 1
        assert world.failover.route.active == "b"
        assert world.kinds() == ["Switched"]


async def test_a_switch_that_is_refused_changes_nothing() -> None:
    """Writes that waited go to the old member."""
    async with World("a", "b") as world:

        async def behind() -> None:
            raise UnavailableError("behind")

        with pytest.raises(UnavailableError, match="behind"):
            await world.failover.changes.switch("b", behind)
        await world.failover.execute(Insert(PEOPLE, (person(1),)))
        assert await world["a"].inner.execute(COUNT) == 1


async def test_a_switch_gives_up_when_a_unit_does_not_end() -> None:
    """The drain time bounds it."""
    async with World("a", "b", policy=policy(drain=0.05)) as world:
        unit = await world.failover.begin(UnitOptions())
        with pytest.raises(UnavailableError, match="did not end"):
            await world.failover.changes.switch("b", nothing)
        await unit.rollback()
        await world.failover.changes.switch("b", nothing)


# --- other backends in members' places --------------------------------------------------------


async def test_nothing_is_exchanged_if_one_cannot_be_opened() -> None:
    """What was opened for it is closed again, and the old backends go on."""
    async with World("a", "b") as world:
        await world.until("b", "up")
        new, bad = Store("a"), Store("b")
        bad.error = refused()
        with pytest.raises(UnavailableError):
            await world.failover.changes.exchange({"a": new, "b": bad}, {"a": 1.0, "b": 1.0})
        assert (new.opened, new.probers_open) == (0, 0)
        assert world.failover.members == world.stores
        await world.failover.execute(Insert(PEOPLE, (person(1),)))
        assert await world["a"].inner.execute(COUNT) == 1


async def test_a_member_that_is_down_is_exchanged_all_the_same() -> None:
    """It is opened when it is up again: a password can be rotated during an outage."""
    async with World("a", policy=policy(mode=FailoverMode.NONE)) as world:
        world["a"].error = refused()
        await world.until("a", "down")
        new = Store("a")
        new.error = refused()
        await world.failover.changes.exchange({"a": new}, {})
        assert (world["a"].opened, world["a"].probers_open) == (0, 0)
        new.error = None
        await world.until("a", "up", "recovering")
        await world.failover.execute(Ensure((PEOPLE,)))
        assert new.opened == 1


async def test_an_exchanged_backend_ends_its_requests_and_reports_nothing_more() -> None:
    """A request under way keeps its connection; what the old checks find moves nobody."""
    async with World("a", policy=policy(mode=FailoverMode.NONE)) as world:
        old, new, go_on = world["a"], Store("a"), asyncio.Event()

        async def request() -> None:
            with world.failover._traffic["a"].reading(inf):
                await go_on.wait()

        under_way = asyncio.create_task(request())
        await asyncio.sleep(0)
        exchange = asyncio.create_task(world.failover.changes.exchange({"a": new}, {"a": 0.05}))
        while new.opened == 0:  # noqa: ASYNC110 - a counter, not an event
            await asyncio.sleep(0)
        old.error = refused()
        await asyncio.sleep(0.1)
        assert not exchange.done()
        assert old.opened == 1
        assert world.kinds() == []
        go_on.set()
        await exchange
        await under_way
        assert (old.opened, old.probers_open) == (0, 0)
        new.hangs = True
        with pytest.raises(HealthstoreError):
            async with asyncio.timeout(5):
                await world.failover.execute(COUNT)  # within its new deadline


async def test_a_cancelled_exchange_leaves_nothing_open() -> None:
    """Wherever it is cancelled, each member is one of the two, and no other is open."""
    for steps in range(12):
        world = World("a", "b")
        new = {name: Store(name) for name in ("a", "b")}
        async with world:
            await world.until("b", "up")
            exchange = asyncio.create_task(world.failover.changes.exchange(new, {}))
            for _ in range(steps):
                await asyncio.sleep(0)
            exchange.cancel()
            await asyncio.wait({exchange})
            serving = set(world.failover.members.values())
            await asyncio.sleep(0.02)
            for each in (*world.stores.values(), *new.values()):
                assert each.opened == (each in serving)
        assert not any(each.opened for each in (*world.stores.values(), *new.values()))
        assert not any(each.probers_open for each in (*world.stores.values(), *new.values()))


@pytest.mark.parametrize("what", ["exchange", "switch", "member"])
async def test_closing_during_a_change_leaves_nothing_open(what: str) -> None:
    """An exchange, a switch and the opening of a standby notice it, and say so."""
    slow = Slow("b")
    mode = FailoverMode.NONE if what == "member" else FailoverMode.STANDBY_READONLY
    world = World("a", "b", policy=policy(mode=mode))
    failover = world.failover
    if what == "member":
        failover = Failover({"a": Store("a"), "b": slow}, world.policy, world.events.append)
    changes: dict[str, Callable[[], Awaitable[object]]] = {
        "exchange": lambda: failover.changes.exchange({"b": slow}, {}),
        "switch": lambda: failover.changes.switch("b", slow.ready.wait),
        "member": lambda: failover.member("b"),
    }
    await failover.open()
    if what == "exchange":
        await world.until("b", "up")
    changing = asyncio.ensure_future(changes[what]())
    await asyncio.sleep(0.02)
    await failover.close()
    assert not changing.done()
    slow.ready.set()
    with pytest.raises(LifecycleError, match="is closed"):
        await changing
    await asyncio.sleep(0)
    assert not any(each.opened for each in (*world.stores.values(), slow))
    assert len(asyncio.all_tasks()) == 1


async def test_an_unfit_member_is_an_obstacle() -> None:
    """It is checked anew, with a write."""
    async with World("a", "b") as world:
        assert await world.failover.changes.obstacles("b") == []
        world["b"].read_only = True
        (obstacle,) = await world.failover.changes.obstacles("b")
        assert "replica" in obstacle
        world["b"].read_only = False
        world["a"].error = refused()
        await world.until("a", "down")
        (obstacle,) = await world.failover.changes.obstacles("b")
        assert "force" in obstacle
        assert await world.failover.changes.obstacles("b", force=True) == []


# --- life ------------------------------------------------------------------------------------


async def test_opening_and_closing_twice_is_once() -> None:
    """Both are idempotent, and a closed one can be opened again."""
    world = World("a", "b")
    for _ in range(2):
        await world.failover.open()
        await world.failover.open()
        assert world["a"].opened == 1
        await world.failover.close()
        await world.failover.close()
        assert world["a"].opened == 0


async def test_nothing_is_left_behind() -> None:
    """No task, no opened member and no probe connection outlive close()."""
    before = asyncio.all_tasks()
    async with World("a", "b") as world:
        await world.failover.probe()
        assert world["a"].probers_open == 1
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    for store in (*world.stores.values(), world.mock):
        assert (store.opened, store.probers_open) == (0, 0)


async def test_a_check_that_drops_a_cancellation_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Drivers do that, before Python 3.12: closing does not wait for the checks for ever."""

    async def deaf(self: StoreProber) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.1)

    monkeypatch.setattr(StoreProber, "connect", deaf)
    world = World("a")
    await world.failover.open()
    await asyncio.sleep(0.08)  # the first check is under way
    async with asyncio.timeout(5):
        await world.failover.close()
    assert len(asyncio.all_tasks()) == 1


async def test_a_cancelled_open_leaves_nothing_behind() -> None:
    """At whatever step it is cancelled."""
    before = asyncio.all_tasks()
    for steps in range(6):
        world = World("a", "b")
        world["a"].hangs = steps == 5
        task = asyncio.create_task(world.failover.open())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        results = await asyncio.gather(task, return_exceptions=True)
        if results[0] is None:
            await world.failover.close()
        assert asyncio.all_tasks() == before
        assert world["a"].opened == world["a"].probers_open == 0


async def test_close_lets_requests_end() -> None:
    """A write under way is finished, a new one refused."""
    world = World("a")
    async with world:
        release = asyncio.Event()
        world["a"].hangs = True
        inner = world["a"]

        async def strike() -> None:
            await release.wait()

        inner._strike = strike  # type: ignore[method-assign] - the write waits for us
        write = asyncio.create_task(world.failover.execute(Insert(PEOPLE, (person(1),))))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(world.failover.close())
        await asyncio.sleep(0.01)
        with pytest.raises(LifecycleError, match="is closed"):
            await world.failover.execute(COUNT)
        assert not closing.done()
        release.set()
        assert await write == 1
        await closing


async def test_use_before_open_is_a_clear_error() -> None:
    """It says what to do."""
    world = World("a")
    with pytest.raises(LifecycleError, match="call open"):
        await world.failover.execute(COUNT)


async def test_use_in_another_event_loop_is_a_clear_error() -> None:
    """Drivers would fail in odd ways, or not at all."""
    async with World("a") as world:
        errors: list[BaseException] = []

        async def misuse() -> None:
            try:
                await world.failover.execute(COUNT)
            except HealthstoreError as error:
                errors.append(error)

        thread = threading.Thread(target=lambda: asyncio.run(misuse()))
        thread.start()
        await asyncio.to_thread(thread.join)
        (error,) = errors
        assert isinstance(error, LifecycleError)
        assert "another event loop" in str(error)


async def test_use_after_a_fork_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes on one connection would read each other's answers."""
    async with World("a") as world:
        with monkeypatch.context() as patched:
            patched.setattr(os, "getpid", lambda: -1)
            with pytest.raises(LifecycleError, match="fork"):
                await world.failover.execute(COUNT)


async def test_checks_write_now_and_then() -> None:
    """Only a write sees a full disk: every third check here."""
    often = Probe(interval=0.01, fast_interval=0.01, canary_every=3, jitter=0, figures_every=0)
    async with World("a", policy=policy(mode=FailoverMode.NONE, probe=often)) as world:
        await world.until("a", "up")
        await world.failover.probe()
        assert world.failover.report("a", "memory").figures is not None


async def test_a_refused_write_says_what_the_member_said() -> None:
    """That it accepts no writes is half the story: a full disk is told, with what to do."""
    async with World("a", "b") as world:
        await world.until("b", "up")
        full = ReadOnlyError("the disk is full", hint="free some space")
        full.condition = Condition.READ_ONLY
        world["a"].error = full
        with pytest.raises(ReadOnlyError, match="the disk is full"):
            await world.failover.execute(Insert(PEOPLE, (person(1),)))
        await world.until("a", "read_only")
        with pytest.raises(ReadOnlyError, match="a accepts no writes") as caught:
            await world.failover.execute(Insert(PEOPLE, (person(1),)))
        assert "the disk is full; free some space" in caught.value.hint
        assert caught.value.hint.endswith("switch to b")

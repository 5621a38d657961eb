"""The deadline of a request is held to asyncio.timeout, case by case, by a clock that is set."""

from __future__ import annotations

import asyncio
import gc
import sys
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from math import inf
from typing import TypeAlias, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc.unit import deadline_exceeded
from healthstore.errors import DeadlineExceededError, OutcomeUnknownError, UnavailableError
from healthstore.routing.traffic import Traffic

R = TypeVar("R")
Bounded: TypeAlias = Callable[[float, Callable[[], Awaitable[str]]], Awaitable[str]]


class SetClock(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while there is work, then jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        """Return the time that is set."""
        return self.now

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]  # private
        if not ready and (coming := [each.when() for each in scheduled if not each.cancelled()]):
            self.now = max(self.now, min(coming))
        super()._run_once()  # type: ignore[misc]  # private


class OnCancel(StrEnum):
    """What the work of a request does when it is cancelled."""

    END = "end"
    ANSWER = "answer"
    FAIL = "fail"
    TAKE_TIME = "take time"


@dataclass(frozen=True)
class Program:
    """A task: requests inside of requests, the work in the innermost, and who cancels it when.

    Deadlines lie between the seconds at which anything else happens, except cancellations
    ``at_deadlines``, which come at the very moment of one.
    """

    starts: int
    deadlines: Sequence[int]
    takes: int
    on_cancel: OnCancel
    cancelled: Sequence[int]
    at_deadlines: Sequence[int]
    cancelled_before: bool


_SECONDS = st.integers(0, 12)
_PROGRAMS = st.builds(
    Program,
    starts=st.integers(0, 4),
    deadlines=st.lists(_SECONDS, min_size=1, max_size=3),
    takes=_SECONDS,
    on_cancel=st.sampled_from(OnCancel),
    cancelled=st.lists(_SECONDS, max_size=2),
    at_deadlines=st.lists(_SECONDS, max_size=1),
    # On the first releases of Python 3.11, asyncio.timeout takes that cancellation for one of the block.
    cancelled_before=st.booleans() if sys.version_info >= (3, 12) else st.sampled_from([False]),
)


async def _work(program: Program) -> str:
    try:
        await asyncio.sleep(program.takes)
    except CancelledError:
        if program.on_cancel is OnCancel.FAIL:
            raise ValueError from None
        if program.on_cancel is OnCancel.TAKE_TIME:
            await asyncio.sleep(3)
        if program.on_cancel is not OnCancel.ANSWER:
            raise
        return "answered although cancelled"
    return "answered"


async def _read(
    traffic: Traffic, until: float, work: Callable[..., Awaitable[R]], *args: object
) -> R:
    with traffic.reading(until):
        return await work(*args)


async def _write(
    traffic: Traffic, until: float, work: Callable[..., Awaitable[R]], *args: object
) -> R:
    with traffic.writing(until):
        return await work(*args)


async def _as_asyncio(until: float, work: Callable[[], Awaitable[str]]) -> str:
    try:
        async with asyncio.timeout_at(until):
            return await work()
    except TimeoutError:
        raise deadline_exceeded(write=False) from None


async def _told(program: Program, bounded: Bounded) -> tuple[str, float, int]:
    """Return how a program ends for its caller, when, and what cancellations it is left with."""

    async def within(deadlines: Sequence[int]) -> str:
        if not deadlines:
            return await _work(program)
        return await bounded(deadlines[0] + 0.5, lambda: within(deadlines[1:]))

    async def task() -> tuple[str, int]:
        own = asyncio.current_task()
        assert own is not None
        if program.cancelled_before:
            own.cancel()
            try:
                await asyncio.sleep(1)
            except CancelledError:
                said = "swallowed"
        try:
            said = await within(program.deadlines)
        except (CancelledError, DeadlineExceededError, ValueError) as error:
            said = type(error).__name__
        return said, own.cancelling()

    loop = asyncio.get_running_loop()
    await asyncio.sleep(program.starts)
    running = asyncio.create_task(task())
    times = (*program.cancelled, *(each + 0.5 for each in program.at_deadlines))
    cancels = [loop.call_at(each, running.cancel) for each in times if each > loop.time()]
    said, cancelling = await running
    for each in cancels:
        each.cancel()
    return said, loop.time(), cancelling


def _all(programs: Sequence[Program], bounded: Bounded) -> list[tuple[str, float, int]]:
    """Run programs at the same time, in an event loop of their own."""

    async def run() -> list[tuple[str, float, int]]:
        return await asyncio.gather(*(_told(each, bounded) for each in programs))

    with asyncio.Runner(loop_factory=SetClock) as runner:
        return runner.run(run())


@given(st.lists(_PROGRAMS, min_size=1, max_size=4))
def test_a_deadline_ends_a_request_as_asyncio_does(programs: Sequence[Program]) -> None:
    """Whatever is nested, cancelled, swallowed or slow: the same end, at the same time."""
    assert _all(programs, partial(_read, Traffic("a"))) == _all(programs, _as_asyncio)


def test_a_request_that_is_cancelled_at_its_deadline_is_cancelled() -> None:
    """Who cancels is not told that a deadline was exceeded."""
    program = Program(0, [3], 9, OnCancel.END, [], [3], cancelled_before=False)
    assert _all([program], partial(_read, Traffic("a"))) == [("CancelledError", 3.5, 1)]


def test_a_task_that_was_cancelled_before_still_has_deadlines() -> None:
    """What it cleans up with ends like any other request; asyncio does so, too, since 3.11.4."""
    program = Program(0, [3], 9, OnCancel.END, [], [], cancelled_before=True)
    assert _all([program], partial(_read, Traffic("a"))) == [("DeadlineExceededError", 3.5, 1)]


def test_a_cut_ends_nested_requests_once() -> None:
    """Each of them tells its caller, and no cancellation is left behind."""

    async def run() -> tuple[str, int]:
        traffic, task = Traffic("a"), asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_later(2, traffic.cut)
        with pytest.raises(UnavailableError, match="went down"):
            await _read(traffic, 9, lambda: _read(traffic, 9, asyncio.sleep, 8))
        return await _read(traffic, 9, asyncio.sleep, 1, "served"), task.cancelling()

    with asyncio.Runner(loop_factory=SetClock) as runner:
        assert runner.run(run()) == ("served", 0)


def test_what_is_answered_when_its_member_goes_down_is_an_answer() -> None:
    """A write that was acknowledged in the same turn of the loop is not called unknown."""

    async def run() -> str:
        traffic, answer = Traffic("a"), asyncio.get_running_loop().create_future()

        async def write() -> str:
            return str(await answer)

        writing = asyncio.create_task(_write(traffic, 9, write))
        await asyncio.sleep(1)
        answer.set_result("acknowledged")
        traffic.cut()
        return await writing

    with asyncio.Runner(loop_factory=SetClock) as runner:
        assert runner.run(run()) == "acknowledged"


def test_a_request_that_is_cut_off_behind_its_deadline_tells_of_the_first() -> None:
    """A write that takes its time to end is told once why."""

    async def run() -> None:
        traffic = Traffic("a")
        program = Program(0, [], 9, OnCancel.TAKE_TIME, [], [], cancelled_before=False)
        loop = asyncio.get_running_loop()
        loop.call_at(2, traffic.cut)
        loop.call_at(3, traffic.cut)
        with pytest.raises(OutcomeUnknownError, match="went down during the write"):
            await _write(traffic, 4, _work, program)
        assert loop.time() == 5

    with asyncio.Runner(loop_factory=SetClock) as runner:
        runner.run(run())


def test_one_timer_serves_many_requests() -> None:
    """A thousand at a time put no more into the event loop than one does; later ones no more."""

    async def run() -> int:
        traffic, loop = Traffic("a"), asyncio.get_running_loop()
        for _ in range(3):
            await asyncio.gather(
                *(_read(traffic, loop.time() + 30, asyncio.sleep, 0) for _ in range(1_000))
            )
        gc.collect()
        return len(loop._scheduled)  # type: ignore[attr-defined]  # private

    with asyncio.Runner(loop_factory=SetClock) as runner:
        assert runner.run(run()) == 1


def test_a_request_without_a_deadline_may_take_any_time() -> None:
    """The steps of a unit have the deadline of their unit."""

    async def run() -> float:
        traffic = Traffic("a")
        short = asyncio.create_task(_read(traffic, 1, asyncio.sleep, 0))
        await _read(traffic, inf, asyncio.sleep, 100_000)
        await short
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=SetClock) as runner:
        assert runner.run(run()) == 100_000

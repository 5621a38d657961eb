"""Time that stands still while the event loop does: what answers is not taken for dead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from healthstore.abc.prober import Vitals
from healthstore.errors import UnavailableError
from healthstore.routing.patience import patiently

from .stores import QUICK, StoreProber, World


@asynccontextmanager
async def starved(seconds: float) -> AsyncGenerator[None]:
    """Let every turn of the loop last so long, as on a machine with more work than processors."""
    loop = asyncio.get_running_loop()

    def keep() -> None:
        nonlocal next_turn
        time.sleep(seconds)
        next_turn = loop.call_soon(keep)

    next_turn = loop.call_soon(keep)
    try:
        yield
    finally:
        next_turn.cancel()


async def turns(number: int) -> int:
    """Do something that needs the loop again and again, as each answer of a thread does."""
    for _ in range(number):
        await asyncio.sleep(0)
    return number


async def test_a_step_gets_its_turns_of_a_starved_loop() -> None:
    """Twenty turns of 20 ms are twice the time, and none of it was the step's."""
    async with starved(0.02):
        assert await patiently(0.2, lambda: turns(20)) == 20


async def test_a_stall_of_the_loop_costs_a_step_nothing() -> None:
    """Whether it is longer than the whole time or a little shorter."""

    async def stalls() -> int:
        for seconds in (0.09, 0.11, 0.3):
            time.sleep(seconds)  # noqa: ASYNC251 - the stall is the test
            await asyncio.sleep(0.001)
        return await turns(5)

    assert await patiently(0.1, stalls) == 5


@pytest.mark.parametrize("turn", [0.0, 0.01])
async def test_a_step_that_hangs_is_ended(turn: float) -> None:
    """On a starved loop, too, the time is over at last."""
    async with starved(turn):
        with pytest.raises(TimeoutError):
            await patiently(0.05, asyncio.Event().wait)


async def test_what_a_step_raises_is_passed_on() -> None:
    """A time-out of the step's own, and a cancellation, are not taken for the end of the time."""

    async def fails() -> None:
        raise UnavailableError("refused")

    with pytest.raises(UnavailableError, match="refused"):
        await patiently(1, fails)
    task = asyncio.create_task(patiently(60, asyncio.Event().wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_starved_loop_loses_no_member(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standby is not called lost because its first check was not looked at in time."""

    async def answers(self: StoreProber) -> Vitals:
        self._store.checks += 1
        await turns(20)
        return Vitals()

    monkeypatch.setattr(StoreProber, "check", answers)
    async with starved(1.3 * QUICK.query_timeout / 20), World("a", "b") as world:
        await world.until("b", "up")
        assert world.kinds() == []

"""Requests under way: who waits for them learns of their end."""

from __future__ import annotations

import asyncio
from math import inf

import pytest

from healthstore.errors import OutcomeUnknownError, UnavailableError
from healthstore.routing.traffic import Gate, Traffic


async def _read(traffic: Traffic, end: asyncio.Event) -> None:
    with traffic.reading(inf):
        await end.wait()


async def _write(traffic: Traffic, end: asyncio.Event) -> None:
    with traffic.writing(inf):
        await end.wait()


async def test_everybody_who_waits_for_the_end_of_requests_sees_it() -> None:
    """Two changes of one member at a time, a switch and a reload, both go on at once."""
    traffic, go_on = Traffic("a"), asyncio.Event()
    write = asyncio.create_task(_write(traffic, go_on))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(traffic.drained(30, reads=reads)) for reads in (False, True)]
    await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*waiting) == [True, True]
    await write


async def test_waiting_for_requests_has_an_end() -> None:
    """A unit that does not end holds nobody for longer than asked."""
    traffic = Traffic("a")
    traffic.begin()
    assert not await traffic.drained(0.01, reads=False)
    traffic.ended()
    assert await traffic.drained(0.01, reads=False)


async def test_who_is_cut_off_learns_whether_to_repeat() -> None:
    """A read may be repeated; of a write nobody knows."""
    traffic, never = Traffic("a"), asyncio.Event()
    read = asyncio.create_task(_read(traffic, never))
    write = asyncio.create_task(_write(traffic, never))
    await asyncio.sleep(0)
    traffic.cut()
    with pytest.raises(UnavailableError, match="went down"):
        await read
    with pytest.raises(OutcomeUnknownError, match="went down during the write"):
        await write


async def test_a_write_waits_at_the_gate_until_its_deadline_only() -> None:
    """It was not attempted, and the error says so."""
    gate = Gate()
    gate.close()
    with pytest.raises(UnavailableError, match="until its deadline"):
        await gate.passed(asyncio.get_running_loop().time() + 0.01)
    waiting = asyncio.create_task(gate.passed(asyncio.get_running_loop().time() + 30))
    await asyncio.sleep(0)
    gate.open()
    async with asyncio.timeout(5):
        await waiting

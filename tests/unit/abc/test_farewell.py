"""What closes something comes to its end."""

from __future__ import annotations

import asyncio

import pytest

from healthstore.abc.farewell import farewell


async def test_it_ends_however_often_its_caller_is_cancelled() -> None:
    """Two cancellations, as of a loop that ends and of who stops the task, take effect afterwards."""
    told: list[str] = []

    async def close() -> None:
        await asyncio.sleep(0.01)
        told.append("closed")

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await farewell(close())
            told.append("never said")

    task = asyncio.create_task(work())
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["closed"]


async def test_a_deadline_that_passes_meanwhile_is_told_afterwards() -> None:
    """It is a TimeoutError, as if it could have waited."""
    told: list[str] = []

    async def close() -> None:
        await asyncio.sleep(0.02)
        told.append("closed")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await farewell(close())
    assert told == ["closed"]


async def test_it_raises_what_the_work_raises() -> None:
    """An error is not lost, and a result is nobody's."""

    async def fail() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await farewell(fail())
    await farewell(asyncio.sleep(0, "result"))

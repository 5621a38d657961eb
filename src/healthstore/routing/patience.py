"""Deadlines that stand still while the event loop does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ("patiently",)

T = TypeVar("T")
_TURNS = 50  # opening a SQLite file needs a dozen; each is an extra wake-up of a slow step


async def patiently(seconds: float, step: Callable[[], Awaitable[T]]) -> T:
    """Run a step within its time, as far as the event loop turned meanwhile.

    The time is divided into turns, and each is counted when the loop has come round to it. On a
    busy machine, or behind code that keeps the loop, turns come late, and so does the end: what
    answers is not taken for dead because nobody looked. Raises TimeoutError.
    """
    loop = asyncio.get_running_loop()
    pause, left = seconds / _TURNS, _TURNS
    next_turn: asyncio.TimerHandle
    async with asyncio.timeout(None) as deadline:

        def turned() -> None:
            nonlocal left, next_turn
            left -= 1
            if left:
                next_turn = loop.call_later(pause, turned)
            else:
                deadline.reschedule(loop.time())

        next_turn = loop.call_later(pause, turned)
        try:
            return await step()
        finally:
            next_turn.cancel()

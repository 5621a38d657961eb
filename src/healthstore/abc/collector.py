"""The garbage collector, and work of many seconds that makes many objects and soon drops them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = ("collector_spaced",)

_SECONDS = 1.0
_OLD_ONES = 60  # every so often it looks at all that lives
_YOUNG, _ALL = 1, 2  # generations


@asynccontextmanager
async def collector_spaced() -> AsyncGenerator[None, None]:
    """Let the cyclic collector look once a second only, at what is young; at all once a minute.

    By itself it looks after each 700 objects that were made, which is every few documents: at the
    pages that live, again and again, and finds nothing. That took up to half of a transfer's CPU.
    What lives for the block only is to be dropped before it ends, or is looked at after all.
    Nothing changes where the program has switched it off, or another block does this already.
    """
    if not gc.isenabled():
        yield
        return
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def look(turn: int) -> None:
        if turn:
            gc.collect(_YOUNG if turn % _OLD_ONES else _ALL)
        timers[:] = [loop.call_later(_SECONDS, look, turn + 1)]

    gc.disable()
    look(0)
    try:
        yield
    finally:
        timers[0].cancel()
        gc.enable()

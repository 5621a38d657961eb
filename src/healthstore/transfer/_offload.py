"""Work that is over when the awaiting task goes on, also when that task is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def to_the_end(work: Coroutine[Any, Any, R]) -> R:
    """Await ``work``; a cancellation of the caller waits for its end, and is raised then."""
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not running.cancelled():
            running.exception()  # marked as seen: the cancellation is what the caller asked for
        raise cancelled
    return running.result()


async def offload(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run ``work`` in a thread and return its result.

    A thread cannot be stopped: a cancellation waits for its end, so that nobody closes a file
    under it.
    """
    return await to_the_end(asyncio.to_thread(work, *args, **kwargs))

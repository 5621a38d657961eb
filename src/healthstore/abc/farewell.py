"""What closes something, and must come to its end, however often its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ("farewell",)


async def farewell(work: Coroutine[Any, Any, object]) -> None:
    """Await work that is soon done, to its end; a cancellation meanwhile takes effect afterwards.

    :func:`asyncio.shield` lets go at the first one, and the event loop may end before the work
    does: what it was to close stays open. Raises what the work raises.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()

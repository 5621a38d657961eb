"""A connection pool that loses no socket when its caller is cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

from pymongo.asynchronous.pool import AsyncConnection, Pool

__all__ = ("LosslessPool",)


class LosslessPool(Pool):
    """The driver's pool, except that the opening of a connection always runs to its end.

    The driver forgets the socket of an opening that is cancelled (PYTHON-5867): it stays open
    until the garbage collector finds it. Here the opening goes on, bounded by the driver's own
    timeout, and its connection is closed. The client takes the class as ``_pool_class``, which
    the driver reserves for libraries built on it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._late: set[asyncio.Task[None]] = set()

    async def connect(self, handler: Any = None) -> AsyncConnection:
        """Open a connection."""
        opening = asyncio.ensure_future(super().connect(handler))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            closing = asyncio.ensure_future(_close(opening))
            self._late.add(closing)  # the loop alone would not keep it
            closing.add_done_callback(self._late.discard)
            raise


async def _close(opening: asyncio.Future[AsyncConnection]) -> None:
    """Close a connection that nobody waits for any more, when it is open."""
    (result,) = await asyncio.gather(opening, return_exceptions=True)
    if isinstance(result, AsyncConnection):
        await result.close_conn(None)

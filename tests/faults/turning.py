"""A clock that stands still while this process does: what others take of the machine is not counted."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter

__all__ = ("Turning", "turning")

_TICK = 0.01


class Turning:
    """Seconds, of which the event loop had its turns.

    The clock ticks every hundredth of a second. One that comes late counts for two at most: on
    an idle machine this is the time of any clock, on a busy one as much less as the loop gets
    fewer turns.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._ticked = perf_counter()
        self._next = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def now(self) -> float:
        """Return the seconds so far."""
        return self._seconds + self._since()

    def end(self) -> None:
        """Tick no more."""
        self._next.cancel()

    def _since(self) -> float:
        return min(perf_counter() - self._ticked, 2 * _TICK)

    def _tick(self) -> None:
        self._seconds += self._since()
        self._ticked = perf_counter()
        self._next = asyncio.get_running_loop().call_later(_TICK, self._tick)


@contextmanager
def turning() -> Generator[Turning]:
    """Lend a clock that ticks meanwhile."""
    clock = Turning()
    try:
        yield clock
    finally:
        clock.end()

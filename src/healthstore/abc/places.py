"""Places of which there are only so many: a queue in order, bounded while nothing moves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from healthstore.errors import Condition, UnavailableError

__all__ = ("Places",)

_MOMENT = 0.05  # seconds: a queue that is found to stand still may only not have been looked at


class Places:
    """``size`` places; one that is given back goes to whoever waits longest.

    Who waits is refused when none has been given back for ``seconds``: somebody holds them all.
    A queue that moves refuses nobody, however long it is; what bounds a wait then is the
    deadline of the call. Nor does one that could not move, since the program itself stood still.
    """

    def __init__(self, size: int, seconds: float, what: str) -> None:
        """Name for the error ``what`` a place stands for: a connection, a transaction."""
        self._size = self._free = size
        self._seconds = seconds
        self._what = what
        self._freed_at = float("-inf")
        self._queue: deque[tuple[float, asyncio.Future[None]]] = deque()  # since when, and who
        self._watch: asyncio.TimerHandle | None = None
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    async def take(self) -> None:
        """Take a place, which must be given back; raise UnavailableError when none becomes free."""
        if self._free:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        self._queue.append((loop.time(), place))
        if self._watch is None:
            self._watch_queue(loop, None)
        self._waiting += 1
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled() and place.exception() is None:
                self.give_back()  # it came together with the cancellation
            raise
        finally:
            self._waiting -= 1

    def give_back(self) -> None:
        """Give a place to the first who waits, or keep it."""
        while self._queue:
            _, place = self._queue.popleft()
            if not place.done():  # who was cancelled stays in the queue until it is looked at
                self._freed_at = place.get_loop().time()
                place.set_result(None)
                return
        self._free += 1

    def refuse(self, latest: float, refusal: Callable[[], Exception | None]) -> None:
        """Refuse those who have waited since ``latest`` or longer, until there is no refusal."""
        while self._queue and self._queue[0][0] <= latest:
            error = refusal()
            if error is None:
                return
            _, place = self._queue.popleft()
            if not place.done():
                place.set_exception(error)

    def _watch_queue(
        self, loop: asyncio.AbstractEventLoop, suspect: asyncio.Future[None] | None
    ) -> None:
        """Refuse those who wait while nothing moves, and look again when the next may have to be.

        The first who may have to be is the ``suspect`` of the next look, a moment later: while
        the loop stood still, what was to come back could not.
        """
        self._watch = None
        now, sure = loop.time(), False
        while self._queue:
            since, place = self._queue[0]
            until = max(since, self._freed_at) + self._seconds
            if not place.done():
                sure = sure or place is suspect
                if until > now:
                    self._watch = loop.call_at(until, self._watch_queue, loop, None)
                    return
                if not sure:
                    self._watch = loop.call_later(_MOMENT, self._watch_queue, loop, place)
                    return
                place.set_exception(self._exhausted())
            self._queue.popleft()

    def _exhausted(self) -> UnavailableError:
        error = UnavailableError(
            f"no {self._what} became free within {self._seconds} s",
            hint="look for a transaction that is held open, or for a call beside the one that it "
            "is in: inside, use tx.repository()"
            + ("; or raise pool_size" if self._size > 1 else ""),
        )
        error.condition = Condition.OVERLOADED
        return error

"""Requests under way: to wait for them, to end them when their member dies, to hold writes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from contextvars import Context
from math import inf

from healthstore.abc.unit import deadline_exceeded
from healthstore.errors import (
    Condition,
    HealthstoreError,
    Outcome,
    OutcomeUnknownError,
    UnavailableError,
)

__all__ = ("Gate", "Traffic", "drained_all")

_QUEUE = 1_000  # writes that may wait at a closed gate


class _Request:
    """A block that is a request under way, until a time of the loop's clock, in its task.

    It is ended as :func:`asyncio.timeout` ends a block (as of Python 3.13): its task is
    cancelled, once, and whoever leaves it takes that back.
    """

    __slots__ = ("_before", "_ended", "_task", "_traffic", "_under_way", "until")

    def __init__(self, traffic: Traffic, under_way: set[_Request], until: float) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is made in a task, which its deadline can cancel")
        self._traffic = traffic
        self._under_way = under_way
        self._task = task
        self._before = task.cancelling()
        self._ended: Callable[[bool], HealthstoreError] | None = None
        self.until = until

    def __enter__(self) -> None:
        self._under_way.add(self)
        if self.until < self._traffic.wakes:
            self._traffic.wake_at(self.until)

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: object
    ) -> None:
        """Take a cancellation back; tell the reason, if nobody else has cancelled the task."""
        self._under_way.discard(self)
        self._traffic.landed()
        if self._ended is None or self._task.uncancel() > self._before:
            return
        if isinstance(error, asyncio.CancelledError):
            writes = self._under_way is self._traffic.writes
            raise self._ended(writes).at(backend=self._traffic.name) from None

    def end(self, reason: Callable[[bool], HealthstoreError]) -> None:
        """Cancel the task; ``reason`` makes the error for its caller, of a write if true."""
        if self._ended is None:
            self._ended = reason
            self._task.cancel()


class Traffic:
    """The requests that are under way at one member.

    ``units`` counts units that may write, and ``begun`` all writes and such units that ever
    began; ``writes`` are those under way. One timer looks after all deadlines, since nearly every
    request ends long before its own; ``wakes`` is when it looks for those whose time is over, and
    the last one stays in the event loop until then.
    """

    __slots__ = ("_reads", "_timer", "_waiting", "begun", "name", "units", "wakes", "writes")

    def __init__(self, name: str, begun: int = 0) -> None:
        self.name = name
        self.units = 0
        self.begun = begun
        self.writes: set[_Request] = set()
        self._reads: set[_Request] = set()
        self.wakes = inf
        self._timer: asyncio.Handle | None = None
        self._waiting: set[asyncio.Event] = set()  # of those who wait until nothing is under way

    def reading(self, until: float) -> AbstractContextManager[None, None]:
        """Run a block that changes nothing, until a time of the loop's clock at most.

        Raises UnavailableError when the member goes down meanwhile, DeadlineExceededError when
        the time is over.
        """
        return _Request(self, self._reads, until)

    def writing(self, until: float) -> AbstractContextManager[None, None]:
        """Run a block that writes, as :meth:`reading`; its outcome is unknown if it is ended."""
        self.begun += 1
        return _Request(self, self.writes, until)

    def landed(self) -> None:
        """Wake those who wait until nothing is under way: something has ended."""
        for landed in self._waiting:
            landed.set()

    def wake_at(self, when: float) -> None:
        """Look at this time for requests whose time is over; at once, if it is past."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        # In no caller's context: the timer may outlive the request that set it.
        if when <= loop.time():
            self.wakes = -inf
            self._timer = loop.call_soon(self._wake, context=Context())
        else:
            self.wakes = when
            self._timer = loop.call_at(when, self._wake, context=Context())

    def _wake(self) -> None:
        # A timer may come a little before its time.
        now = max(self.wakes, asyncio.get_running_loop().time())
        self.wakes, self._timer = inf, None
        later: list[float] = []
        for request in (*self._reads, *self.writes):
            if request.until <= now:
                request.end(deadline_exceeded)
            else:
                later.append(request.until)
        if (soonest := min(later, default=inf)) < inf:
            self.wake_at(soonest)

    def begin(self) -> None:
        """Count a unit that may write."""
        self.units += 1
        self.begun += 1

    def ended(self) -> None:
        """Count it no more."""
        self.units -= 1
        self.landed()

    def cut(self) -> None:
        """End every request: its caller learns at once that the member is down."""
        # In a moment: what is answered already is no longer under way then.
        asyncio.get_running_loop().call_soon(self._cut, (*self._reads, *self.writes))

    def _cut(self, requests: Iterable[_Request]) -> None:
        for request in requests:
            if request in self._reads or request in self.writes:
                request.end(_lost)

    async def drained(self, seconds: float, *, reads: bool) -> bool:
        """Wait until no write and no unit is under way, with ``reads`` no read either.

        Returns False if that takes longer than ``seconds``.
        """
        landed = asyncio.Event()
        self._waiting.add(landed)
        try:
            async with asyncio.timeout(seconds):
                while self.units or self.writes or (reads and self._reads):
                    landed.clear()
                    await landed.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(landed)
        return True


class Gate:
    """Holds writes back while the active member changes; each waits within its own deadline."""

    def __init__(self) -> None:
        self.is_open = True
        self._opened = asyncio.Event()
        self._waiting = 0

    def close(self) -> None:
        """Hold writes back from now on."""
        self.is_open = False
        self._opened.clear()

    def open(self) -> None:
        """Let all writes pass."""
        self.is_open = True
        self._opened.set()

    async def passed(self, until: float) -> None:
        """Wait until the gate is open.

        Raises UnavailableError if too many wait already, or at a time of the loop's clock.
        """
        if self._waiting >= _QUEUE:
            raise UnavailableError(
                "too many writes wait for the change of the active member",
                hint="repeat it in a moment",
            )
        self._waiting += 1
        try:
            async with asyncio.timeout_at(until):
                await self._opened.wait()
        except TimeoutError:
            raise UnavailableError(
                "the write waited for a change of the active member until its deadline",
                hint="repeat it",
            ) from None
        finally:
            self._waiting -= 1


async def drained_all(traffic: Iterable[Traffic], seconds: float) -> bool:
    """Wait until nothing is under way anywhere; False if that takes longer than ``seconds``."""
    results = await asyncio.gather(*(each.drained(seconds, reads=True) for each in traffic))
    return all(results)


def _lost(write: bool) -> HealthstoreError:  # noqa: FBT001 - as deadline_exceeded
    """Return the error for a request whose member went down."""
    error: HealthstoreError = UnavailableError("the member went down", hint="repeat the call")
    if write:
        error = OutcomeUnknownError(
            "the member went down during the write",
            hint="when this member serves again, read the document to see",
            outcome=Outcome.UNKNOWN,
        )
    error.condition = Condition.DOWN
    return error

"""Requests under way: to wait for them, to end them when their member dies, to hold writes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import Context
from math import inf
from typing import TypeVar, TypeVarTuple

from healthstore.abc.unit import deadline_exceeded
from healthstore.errors import (
    Condition,
    HealthstoreError,
    Outcome,
    OutcomeUnknownError,
    UnavailableError,
)

__all__ = ("Gate", "Traffic", "drained_all")

Ts = TypeVarTuple("Ts")
R = TypeVar("R")
_QUEUE = 1_000  # writes that may wait at a closed gate


class _Request:
    """A request under way, until a time of the loop's clock, in the task that makes it.

    It is ended as :func:`asyncio.timeout` ends a block (as of Python 3.13): its task is
    cancelled, once, and whoever leaves it takes that back.
    """

    __slots__ = ("_before", "_task", "ended", "until")

    def __init__(self, until: float) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is made in a task, which its deadline can cancel")
        self._task = task
        self._before = task.cancelling()
        self.until = until
        self.ended: Callable[[bool], HealthstoreError] | None = None

    def end(self, reason: Callable[[bool], HealthstoreError]) -> None:
        """Cancel the task; ``reason`` makes the error for its caller, of a write if true."""
        if self.ended is None:
            self.ended = reason
            self._task.cancel()

    def left(self) -> Callable[[bool], HealthstoreError] | None:
        """Take the cancellation back; return the reason, if nobody else has cancelled the task."""
        if self.ended is None or self._task.uncancel() > self._before:
            return None
        return self.ended


class Traffic:
    """The requests that are under way at one member.

    ``units`` counts units that may write, and ``begun`` all writes and such units that ever
    began. One timer looks after all deadlines, since nearly every request ends long before its
    own; the last one stays in the event loop until its time has come.
    """

    __slots__ = ("_reading", "_timer", "_waiting", "_wakes", "_writing", "begun", "name", "units")

    def __init__(self, name: str, begun: int = 0) -> None:
        self.name = name
        self.units = 0
        self.begun = begun
        self._reading: set[_Request] = set()
        self._writing: set[_Request] = set()
        self._wakes = inf  # when the timer looks for requests whose time is over
        self._timer: asyncio.Handle | None = None
        self._waiting: set[asyncio.Event] = set()  # of those who wait until nothing is under way

    def read(
        self, until: float, work: Callable[[*Ts], Awaitable[R]], *args: *Ts
    ) -> Coroutine[None, None, R]:
        """Do something that changes nothing, until a time of the loop's clock at most.

        Raises UnavailableError when the member goes down meanwhile, DeadlineExceededError when
        the time is over.
        """
        return self._run(self._reading, until, work, *args)

    def write(
        self, until: float, work: Callable[[*Ts], Awaitable[R]], *args: *Ts
    ) -> Coroutine[None, None, R]:
        """Do something that writes, as :meth:`read`; its outcome is unknown if it is ended."""
        self.begun += 1
        return self._run(self._writing, until, work, *args)

    async def _run(
        self,
        under_way: set[_Request],
        until: float,
        work: Callable[[*Ts], Awaitable[R]],
        *args: *Ts,
    ) -> R:
        request = _Request(until)
        under_way.add(request)
        if until < self._wakes:
            self._wake_at(until)
        try:
            result = await work(*args)
        except BaseException as error:
            reason = self._left(under_way, request)
            if reason is not None and isinstance(error, asyncio.CancelledError):
                raise reason(under_way is self._writing).at(backend=self.name) from None
            raise
        self._left(under_way, request)
        return result

    def _left(
        self, under_way: set[_Request], request: _Request
    ) -> Callable[[bool], HealthstoreError] | None:
        under_way.discard(request)
        self._landed()
        return request.left()

    def _wake_at(self, when: float) -> None:
        """Look at this time for requests whose time is over; at once, if it is past."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        # In no caller's context: the timer may outlive the request that set it.
        if when <= loop.time():
            self._wakes = -inf
            self._timer = loop.call_soon(self._wake, context=Context())
        else:
            self._wakes = when
            self._timer = loop.call_at(when, self._wake, context=Context())

    def _wake(self) -> None:
        # A timer may come a little before its time.
        now = max(self._wakes, asyncio.get_running_loop().time())
        self._wakes, self._timer = inf, None
        later: list[float] = []
        for request in (*self._reading, *self._writing):
            if request.until <= now:
                request.end(deadline_exceeded)
            else:
                later.append(request.until)
        if (soonest := min(later, default=inf)) < inf:
            self._wake_at(soonest)

    def begin(self) -> None:
        """Count a unit that may write."""
        self.units += 1
        self.begun += 1

    def ended(self) -> None:
        """Count it no more."""
        self.units -= 1
        self._landed()

    def cut(self) -> None:
        """End every request: its caller learns at once that the member is down."""
        # In a moment: what is answered already is no longer under way then.
        asyncio.get_running_loop().call_soon(self._cut, (*self._reading, *self._writing))

    def _cut(self, requests: Iterable[_Request]) -> None:
        for request in requests:
            if request in self._reading or request in self._writing:
                request.end(_lost)

    def _landed(self) -> None:
        for landed in self._waiting:
            landed.set()

    async def drained(self, seconds: float, *, reads: bool) -> bool:
        """Wait until no write and no unit is under way, with ``reads`` no read either.

        Returns False if that takes longer than ``seconds``.
        """
        landed = asyncio.Event()
        self._waiting.add(landed)
        try:
            async with asyncio.timeout(seconds):
                while self.units or self._writing or (reads and self._reading):
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
        self._open = asyncio.Event()
        self._open.set()
        self._waiting = 0

    @property
    def is_open(self) -> bool:
        """Writes may pass."""
        return self._open.is_set()

    def close(self) -> None:
        """Hold writes back from now on."""
        self._open.clear()

    def open(self) -> None:
        """Let all writes pass."""
        self._open.set()

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
                await self._open.wait()
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

"""Requests under way: to wait for them, to end them when their member dies, to hold writes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import ParamSpec, TypeVar

from healthstore.abc.unit import deadline_exceeded
from healthstore.errors import (
    Condition,
    HealthstoreError,
    Outcome,
    OutcomeUnknownError,
    UnavailableError,
)

__all__ = ("Gate", "Traffic", "drained_all")

P = ParamSpec("P")
R = TypeVar("R")
_QUEUE = 1_000  # writes that may wait at a closed gate


class Traffic:
    """The requests that are under way at one member.

    ``reading`` and ``writing`` hold the deadlines of single requests, ``units`` counts units
    that may write, and ``begun`` all writes and such units that ever began. Ending a request is
    rescheduling its deadline to now.
    """

    __slots__ = ("_waiting", "begun", "name", "reading", "units", "writing")

    def __init__(self, name: str, begun: int = 0) -> None:
        self.name = name
        self.reading: set[asyncio.Timeout] = set()
        self.writing: set[asyncio.Timeout] = set()
        self.units = 0
        self.begun = begun
        self._waiting: set[asyncio.Event] = set()  # of those who wait until nothing is under way

    def read(
        self,
        until: float | None,
        work: Callable[P, Awaitable[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[None, None, R]:
        """Do something that changes nothing, until a time of the loop's clock at most.

        Raises UnavailableError when the member goes down meanwhile, DeadlineExceededError when
        the time is over.
        """
        return self._run(self.reading, until, partial(work, *args, **kwargs))

    def write(
        self,
        until: float | None,
        work: Callable[P, Awaitable[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[None, None, R]:
        """Do something that writes, as :meth:`read`; its outcome is unknown if it is ended."""
        self.begun += 1
        return self._run(self.writing, until, partial(work, *args, **kwargs))

    async def _run(
        self, under_way: set[asyncio.Timeout], until: float | None, work: Callable[[], Awaitable[R]]
    ) -> R:
        deadline = asyncio.timeout_at(until)
        try:
            async with deadline:
                under_way.add(deadline)
                try:
                    return await work()
                finally:
                    under_way.discard(deadline)
                    self._landed()
        except TimeoutError:  # members raise errors of ours only: this is the deadline, or a cut
            write = under_way is self.writing
            ended = deadline_exceeded(write) if _is_over(until) else _lost(write=write)
            raise ended.at(backend=self.name) from None

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
        now = asyncio.get_running_loop().time()
        for deadline in (*self.reading, *self.writing):
            if not deadline.expired():
                deadline.reschedule(now)

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
                while self.units or self.writing or (reads and self.reading):
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


def _is_over(until: float | None) -> bool:
    return until is not None and asyncio.get_running_loop().time() >= until


def _lost(*, write: bool) -> HealthstoreError:
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

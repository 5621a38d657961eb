"""A thread for calls that block, made one after the other and awaited; and turns for several."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeAlias, TypeVar

__all__ = ("CallThread", "Turns")

T = TypeVar("T")
# Seconds: as long as Python lets a thread go on that others wait for (sys.getswitchinterval).
_TURN = 0.005
# A call, and what is told its end: how to settle the future, and with what.
_Tell: TypeAlias = Callable[[str, object], None]
_Queue: TypeAlias = SimpleQueue[tuple[Callable[[], object], _Tell] | None]


class CallThread:
    """Runs functions in a thread of its own, in the order in which they come.

    It outlives an event loop that ends before the answer comes. It ends after :meth:`end`, and
    keeps no program from ending: it is a daemon.
    """

    def __init__(self, name: str) -> None:
        self._queue: _Queue = SimpleQueue()
        self._thread = threading.Thread(target=_serve, args=(self._queue,), name=name, daemon=True)
        self._thread.start()

    @property
    def inside(self) -> bool:
        """Whether the caller is in this thread."""
        return threading.get_ident() == self._thread.ident

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run a function; return what it returns, or raise what it raises, when it is awaited."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put((function, partial(_tell, loop, future)))
        return future

    def end(self, last: Callable[[], object]) -> None:
        """Run a last function, which must not raise, and end. Awaits nothing."""
        self._queue.put((last, lambda _, __: None))
        self._queue.put(None)

    def join(self, seconds: float) -> None:
        """Block until it has ended, at most for some seconds: for one that has nothing left to do."""
        self._thread.join(seconds)


class Turns:
    """Lets threads that read compute one after the other, as long as each is brief.

    SQLite gives up the interpreter for each row. Where several threads do so, each waits for it
    again and again, which makes pages of 50 rows take a third longer, all together. Who has had
    a turn for 5 ms is waited for no more: what takes long holds nobody up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = 0.0

    @contextmanager
    def taken(self) -> Generator[None, None, None]:
        """Lend the turn, or go without while somebody has had it for 5 ms."""
        held = self._lock.acquire(blocking=False)
        while not held and (left := self._began + _TURN - monotonic()) > 0:
            held = self._lock.acquire(timeout=left)
        if held:
            self._began = monotonic()
        try:
            yield
        finally:
            if held:
                self._lock.release()


def _serve(queue: _Queue) -> None:
    while (call := queue.get()) is not None:
        function, tell = call
        # Whoever is told must not find that this thread still holds what was asked.
        del call
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            del function
            tell("set_exception", error)
        else:
            del function
            tell("set_result", result)
            del result
        del tell


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], how: str, outcome: object
) -> None:
    """Tell the loop the outcome of a call; one that has ended meanwhile hears nothing."""
    with suppress(RuntimeError):  # "Event loop is closed"
        loop.call_soon_threadsafe(_settle, future, how, outcome)


def _settle(future: asyncio.Future[Any], how: str, outcome: object) -> None:
    if not future.done():  # it may have been cancelled
        getattr(future, how)(outcome)

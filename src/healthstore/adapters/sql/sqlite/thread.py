"""A thread for calls that block, made one after the other and awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

__all__ = ("CallThread",)

T = TypeVar("T")
_Queue: TypeAlias = SimpleQueue[Callable[[], object] | None]


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
        self._queue.put(partial(_report, function, future, loop))
        return future

    def end(self, last: Callable[[], object]) -> None:
        """Run a last function, which must not raise, and end. Awaits nothing."""
        self._queue.put(last)
        self._queue.put(None)

    def join(self, seconds: float) -> None:
        """Block until it has ended, at most for some seconds: for one that has nothing left to do."""
        self._thread.join(seconds)


def _serve(queue: _Queue) -> None:
    while (call := queue.get()) is not None:
        call()
        del call  # while it waits it holds nothing of what was asked


def _report(
    function: Callable[[], T], future: asyncio.Future[T], loop: asyncio.AbstractEventLoop
) -> None:
    """Run a function, and tell the loop about it; one that has ended meanwhile hears nothing."""
    with suppress(RuntimeError):  # "Event loop is closed"
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            loop.call_soon_threadsafe(_settle, future, future.set_exception, error)
        else:
            loop.call_soon_threadsafe(_settle, future, future.set_result, result)


def _settle(future: asyncio.Future[Any], settle: Callable[[Any], None], outcome: object) -> None:
    if not future.done():  # it may have been cancelled
        settle(outcome)

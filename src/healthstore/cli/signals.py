"""Signals: a command that is ended from outside takes away what it made."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from types import FrameType
from typing import TypeAlias

__all__ = ("ended_as_by_interrupt", "ignore_from_now_on", "undisturbed")

_Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None

# They would end a command at once; not every system has both.
_ENDS = [each for each in signal.Signals if each.name in {"SIGTERM", "SIGHUP"}]


@contextmanager
def ended_as_by_interrupt() -> Generator[None, None, None]:
    """For a while, let SIGTERM and SIGHUP end the program as Ctrl-C does."""
    ends = [each for each in _ENDS if signal.getsignal(each) is signal.SIG_DFL]
    interrupt = signal.getsignal(signal.SIGINT)
    # A job in the background may ignore Ctrl-C; the others must end it all the same.
    with _handled(ends, interrupt if callable(interrupt) else signal.default_int_handler):
        yield


@contextmanager
def undisturbed() -> Generator[None, None, None]:
    """For a while, which is to be short, ignore Ctrl-C, SIGTERM and SIGHUP."""
    with _handled([signal.SIGINT, *_ENDS], signal.SIG_IGN):
        yield


def ignore_from_now_on() -> None:
    """Ignore Ctrl-C, SIGTERM and SIGHUP until the process ends, which is to be soon.

    A second Ctrl-C would otherwise break the telling of the first one, with a traceback.
    """
    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGINT, *_ENDS):
            signal.signal(each, signal.SIG_IGN)


@contextmanager
def _handled(signals: Iterable[signal.Signals], handler: _Handler) -> Generator[None, None, None]:
    """Handle signals in this way for a while, if this is the thread that they are for."""
    mine = threading.current_thread() is threading.main_thread()
    before = {each: signal.signal(each, handler) for each in signals if mine}
    try:
        yield
    finally:
        for each, known in before.items():
            signal.signal(each, known)

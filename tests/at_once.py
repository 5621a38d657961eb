"""What never waits, run to its end without the event loop: no clock is needed to prove it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TypeVar

__all__ = ("at_once",)

T = TypeVar("T")


def at_once(work: Coroutine[object, object, T]) -> T:
    """Return what a coroutine returns, or raise what it raises; fail if it waits for anything."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise AssertionError("it waited")

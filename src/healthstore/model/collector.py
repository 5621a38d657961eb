"""The garbage collector, and work that makes many objects in one go."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ("collector_paused",)


@contextmanager
def collector_paused() -> Generator[None, None, None]:
    """Make many objects that live on, without the cyclic collector looking at them meanwhile.

    It would look at all of them again and again and find nothing, for as long as making them
    takes. Nothing may be awaited inside: for that there is :mod:`healthstore.abc.collector`.
    Whoever finds it paused leaves it: so pauses do not add up. See
    https://docs.python.org/3/library/gc.html.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

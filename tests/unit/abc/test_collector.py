"""The garbage collector while many documents are under way: it looks seldom, and afterwards as before."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from healthstore.abc import collector
from healthstore.abc.collector import collector_spaced


class _Knot:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.itself = self


async def test_it_looks_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """While pages come and go, garbage of anybody is still found, however old."""
    monkeypatch.setattr(collector, "_SECONDS", 0.001)
    monkeypatch.setattr(collector, "_OLD_ONES", 3)
    old = _Knot()
    gc.collect()
    async with collector_spaced():
        assert not gc.isenabled()
        left = [weakref.ref(old), weakref.ref(_Knot())]
        del old
        async with asyncio.timeout(10):
            while any(each() is not None for each in left):  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.001)
    assert gc.isenabled()


async def test_it_is_on_again_whatever_ends_the_block() -> None:
    """After an error, a cancellation, and another transfer inside of it."""
    with pytest.raises(ValueError, match="wrong"):
        async with collector_spaced(), collector_spaced():
            raise ValueError("wrong")
    assert gc.isenabled()

    async def work() -> None:
        async with collector_spaced():
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    assert not gc.isenabled()
    task.cancel()
    await asyncio.wait({task})
    assert gc.isenabled()


async def test_what_the_program_has_switched_off_stays_off() -> None:
    """It is the program's decision."""
    gc.disable()
    try:
        async with collector_spaced():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()

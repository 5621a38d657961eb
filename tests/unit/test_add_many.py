"""Adding many entities: what it does to the rest of the program meanwhile."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from healthstore.abc import Backend, Layer
from healthstore.abc.registry import connect
from healthstore.abc.url import BackendURL
from healthstore.entity import Entity, collection_of
from healthstore.errors import DuplicateKeyError
from healthstore.model.ops import Ensure, Insert, Op
from healthstore.repository import Repository


class Note(Entity, collection="notes"):
    """An entity."""

    text: str = ""


class Slow(Layer):
    """A store that notes whether the collector is on while it inserts, and takes its time."""

    rank = 50

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.seen: list[bool] = []

    async def execute(self, op: Op[Any]) -> Any:
        """Run the operation below, after a while."""
        if isinstance(op, Insert):
            self.seen.append(gc.isenabled())
            await asyncio.sleep(0.01)
        return await self.inner.execute(op)


async def test_the_collector_rests_until_what_is_added_is_gone() -> None:
    """It is on again when the call has ended, was refused, or is cancelled; and is never left off."""
    store = Slow(connect(BackendURL.parse("memory://"), "store"))
    await store.open()
    await store.execute(Ensure((collection_of(Note),)))
    notes = Repository(Note, store)
    first = [Note() for _ in range(3)]
    assert await notes.add_many(first) == 3
    assert gc.isenabled()
    with pytest.raises(DuplicateKeyError):
        await notes.add_many(first)
    assert gc.isenabled()
    cancelled = asyncio.create_task(notes.add_many([Note(), Note()]))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait({cancelled})
    assert gc.isenabled()
    # Two that overlap: the one that finds it off leaves it, so that it is on in between.
    await asyncio.gather(*(notes.add_many([Note(), Note()]) for _ in range(2)))
    assert gc.isenabled()
    assert store.seen == [False] * 5
    await store.close()

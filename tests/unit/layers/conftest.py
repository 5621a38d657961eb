"""A backend that notes what reaches it, and answers or fails as a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar, TypeVar

import pytest

from healthstore.abc import Backend, Capabilities, Layer
from healthstore.adapters.memory import MemoryAdapter
from healthstore.model.ops import Ensure, Op
from healthstore.testing.contract._samples import PEOPLE

R = TypeVar("R")


class RecordingLayer(Layer):
    """Notes each operation; ``before`` may raise, or return something to await first."""

    rank: ClassVar[int] = 99

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.seen: list[Op[Any]] = []
        self.before: Callable[[Op[Any]], Awaitable[None] | None] = lambda _: None
        self.narrowed: Capabilities | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Those that the test wants, or those of the backend below."""
        return self.narrowed or self.inner.capabilities

    async def execute(self, op: Op[R]) -> R:
        """Note the operation, do what the test wants, and run it below."""
        self.seen.append(op)
        waiting = self.before(op)
        if waiting is not None:
            await waiting
        return await self.inner.execute(op)


@pytest.fixture
async def recording() -> AsyncIterator[RecordingLayer]:
    """Lend a memory backend with one collection, under a layer that notes what reaches it."""
    memory = MemoryAdapter("m")
    await memory.open()
    await memory.execute(Ensure((PEOPLE,)))
    yield RecordingLayer(memory)
    await memory.close()

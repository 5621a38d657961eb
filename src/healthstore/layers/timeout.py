"""A deadline for every call: no caller waits for a sick server without end."""

from __future__ import annotations

import asyncio
from typing import ClassVar, TypeVar

from healthstore.abc.backend import Backend
from healthstore.abc.layer import Layer
from healthstore.abc.unit import deadline_exceeded
from healthstore.model.ops import Effect, Op

__all__ = ("TimeoutLayer",)

R = TypeVar("R")


class TimeoutLayer(Layer):
    """Ends each operation after ``seconds``; a change of the schema after ``admin_seconds``.

    The operation is cancelled and DeadlineExceededError raised; of a write the outcome is
    unknown then, unless it was part of a unit, which can only be rolled back.
    """

    rank: ClassVar[int] = 70

    def __init__(
        self, inner: Backend, *, seconds: float = 30.0, admin_seconds: float = 120.0
    ) -> None:
        super().__init__(inner)
        self._seconds = {
            Effect.READ: seconds,
            Effect.WRITE: seconds,
            Effect.ADMIN: admin_seconds,
        }

    async def execute(self, op: Op[R]) -> R:
        """Run the operation below, within its deadline."""
        try:
            async with asyncio.timeout(self._seconds[op.effect]):
                return await self.inner.execute(op)
        except TimeoutError:
            write = op.effect is not Effect.READ
            raise deadline_exceeded(write).at(backend=self.name) from None

    async def open(self) -> None:
        """Open the backend below, within the deadline of an operation."""
        try:
            async with asyncio.timeout(self._seconds[Effect.ADMIN]):
                await self.inner.open()
        except TimeoutError:
            raise deadline_exceeded(write=False).at(backend=self.name) from None

    async def ping(self) -> None:
        """Ping the backend below, within the deadline of an operation."""
        try:
            async with asyncio.timeout(self._seconds[Effect.READ]):
                await self.inner.ping()
        except TimeoutError:
            raise deadline_exceeded(write=False).at(backend=self.name) from None

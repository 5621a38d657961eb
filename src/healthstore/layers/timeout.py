"""A deadline for every call: no caller waits for a sick server without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, ClassVar, TypeVar

from healthstore.abc.backend import Backend, Executor, Unit, UnitOptions
from healthstore.abc.layer import Layer, LayeredUnit
from healthstore.abc.unit import deadline_exceeded
from healthstore.model.ops import Alter, Effect, Op, Rename

__all__ = ("TimeoutLayer",)

R = TypeVar("R")


class TimeoutLayer(Layer):
    """Ends each operation after ``seconds``; a change of the schema after ``admin_seconds``.

    What changes a definition that is there says itself how long it may take.
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
        async with self._within(op.effect, _deadline(op)):
            return await self.inner.execute(op)

    async def open(self) -> None:
        """Open the backend below, within the deadline of a change of the schema."""
        async with self._within(Effect.ADMIN, changes=False):
            await self.inner.open()

    async def ping(self) -> None:
        """Ping the backend below, within the deadline of a read."""
        async with self._within(Effect.READ):
            await self.inner.ping()

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a unit below: its beginning and each step have a deadline, and its commit has.

        That one has the time of a change of the schema: it may be of a million rows.
        """
        async with self._within(Effect.READ):
            unit = await self.inner.begin(options)
        return _BoundedUnit(self.over(unit), unit, partial(self._within, Effect.ADMIN))

    @asynccontextmanager
    async def _within(
        self, effect: Effect, seconds: float | None = None, *, changes: bool = True
    ) -> AsyncGenerator[None]:
        """Give a block the time that an effect has, unless it has another."""
        try:
            async with asyncio.timeout(seconds or self._seconds[effect]):
                yield
        except TimeoutError:
            write = changes and effect is not Effect.READ
            raise deadline_exceeded(write).at(backend=self.name) from None


def _deadline(op: Op[Any]) -> float | None:
    return op.deadline if isinstance(op, Alter | Rename) else None


class _BoundedUnit(LayeredUnit):
    """A unit whose commit has a deadline of its own: the unit may have hours."""

    def __init__(
        self,
        executor: Executor,
        unit: Unit,
        within: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        super().__init__(executor, unit)
        self._within = within

    async def commit(self) -> None:
        """Commit the unit."""
        async with self._within():
            await super().commit()

"""A unit of work on the member where it began."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from math import inf
from typing import TypeVar

from healthstore.abc.backend import Capabilities, Unit
from healthstore.errors import HealthstoreError
from healthstore.model.ops import Op, Origin
from healthstore.routing.pages import came_from, elsewhere, placed
from healthstore.routing.traffic import Traffic

__all__ = ("RoutedUnit",)

R = TypeVar("R")


class RoutedUnit:
    """A unit whose steps end when its member goes down; its errors are told to ``noticed``.

    It reads at ``origin``, and pages that came from elsewhere do not go on in it.

    It counts as under way, and a switch waits for it, until it ends or ``counted_for`` seconds
    have passed: then the adapter has rolled it back. ``committed`` is called before a commit,
    and may refuse it.
    """

    def __init__(  # noqa: PLR0913 - each is another thing that a unit must know
        self,
        unit: Unit,
        traffic: Traffic,
        noticed: Callable[[str, HealthstoreError], None],
        *,
        origin: Origin,
        counted_for: float,
        committed: Callable[[], None],
    ) -> None:
        self._unit = unit
        self._traffic = traffic
        self._noticed = noticed
        self._committed = committed
        self._origin = origin
        self._counted = counted_for > 0
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(counted_for, self._end) if self._counted else None

    @property
    def name(self) -> str:
        """The member on which the unit runs."""
        return self._unit.name

    @property
    def capabilities(self) -> Capabilities:
        """Those of the member."""
        return self._unit.capabilities

    async def execute(self, op: Op[R]) -> R:
        """Run one operation inside the unit."""
        before = came_from(op)
        if before is not None and not self._goes_on(before):
            raise elsewhere(before, self.name)
        result = await self._told(self._traffic.reading(inf), self._unit.execute(op))
        return placed(op, result, lambda: self._origin)

    def part(self) -> AbstractAsyncContextManager[None]:
        """Run a block as a part of the unit."""
        return self._unit.part()

    def failed(self, error: HealthstoreError) -> None:
        """Tell the unit of an error."""
        self._unit.failed(error)

    async def commit(self) -> None:
        """Commit the unit."""
        try:
            self._committed()
            await self._told(self._traffic.writing(inf), self._unit.commit())
        finally:
            self._end()

    async def rollback(self) -> None:
        """Roll the unit back."""
        try:
            await self._unit.rollback()
        finally:
            self._end()

    def _goes_on(self, origin: Origin) -> bool:
        return origin.member == self._origin.member and (origin.stale or not self._origin.stale)

    async def _told(self, request: AbstractContextManager[None, None], step: Awaitable[R]) -> R:
        try:
            with request:
                return await step
        except HealthstoreError as error:
            self._noticed(self._traffic.name, error)
            raise

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._counted:
            self._counted = False
            self._traffic.ended()

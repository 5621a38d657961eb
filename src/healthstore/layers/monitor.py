"""Monitoring: each attempt of an operation that reaches a member is counted and reported."""

from __future__ import annotations

from asyncio import CancelledError
from math import inf
from time import perf_counter
from typing import Any, ClassVar, TypeVar

from healthstore.abc.backend import Backend
from healthstore.abc.layer import Layer
from healthstore.errors import HealthstoreError
from healthstore.events import EventBus, OperationFinished, SlowQuery
from healthstore.logs import log_slow
from healthstore.model.ops import Op
from healthstore.model.shape import shape
from healthstore.statistics import Record, Statistics

__all__ = ("MonitorLayer",)

R = TypeVar("R")


class MonitorLayer(Layer):
    """Records how long each attempt took and how it ended, once it has ended.

    An attempt goes into ``statistics``, and to ``bus`` as OperationFinished if anybody listens.
    One of ``slow_seconds`` or more is also a SlowQuery, on the bus and in the log
    ``healthstore.slow``; with None or 0 none is. Nothing of it holds a value.
    """

    rank: ClassVar[int] = 95

    def __init__(
        self,
        inner: Backend,
        *,
        bus: EventBus | None = None,
        statistics: Statistics | None = None,
        slow_seconds: float | None = None,
    ) -> None:
        super().__init__(inner)
        self._bus = EventBus() if bus is None else bus
        self._statistics = Statistics() if statistics is None else statistics
        self._slow_seconds = slow_seconds or inf
        # Type of operation -> how it is called, and what records it; shared with units.
        self._recorders: dict[type[Op[Any]], tuple[str, Record]] = {}

    async def execute(self, op: Op[R]) -> R:
        """Run the operation below, then record and report it."""
        started = perf_counter()
        try:
            result = await self.inner.execute(op)
        except CancelledError:
            self._ended(op, perf_counter() - started, "cancelled")
            raise
        except Exception as error:
            code = error.code if isinstance(error, HealthstoreError) else HealthstoreError.code
            self._ended(op, perf_counter() - started, code)
            raise
        self._ended(op, perf_counter() - started, None)
        return result

    def _ended(self, op: Op[Any], seconds: float, error: str | None) -> None:
        # Paid for by every operation: nothing is made that nobody wants.
        kind = type(op)
        try:
            operation, record = self._recorders[kind]
        except KeyError:
            operation = kind.__name__.lower()
            record = self._statistics.recorder(self.name, operation)
            self._recorders[kind] = (operation, record)
        record(seconds, error)
        if self._bus.wants(OperationFinished):
            self._bus.emit(OperationFinished(self.name, operation, _collection(op), seconds, error))
        if seconds >= self._slow_seconds:
            event = SlowQuery(
                self.name, operation, _collection(op), shape(op), seconds, self._slow_seconds
            )
            log_slow(event)
            self._bus.emit(event)


def _collection(op: Op[Any]) -> str | None:
    collection = getattr(op, "collection", None)
    return collection.name if collection else None

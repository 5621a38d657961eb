"""Monitoring: each operation that reaches a member is reported as an event."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import ClassVar, TypeVar

from healthstore.abc.backend import Backend
from healthstore.abc.layer import Layer
from healthstore.errors import HealthstoreError
from healthstore.events import OperationFinished
from healthstore.model.ops import Op

__all__ = ("MonitorLayer",)

R = TypeVar("R")


def _ignore(_: OperationFinished) -> None:
    """Drop an event: nobody listens."""


class MonitorLayer(Layer):
    """Calls ``emit`` once for each attempt of an operation, when it has ended.

    An event names the operation and the collection, never a value.
    """

    rank: ClassVar[int] = 95

    def __init__(
        self, inner: Backend, *, emit: Callable[[OperationFinished], None] = _ignore
    ) -> None:
        super().__init__(inner)
        self._emit = emit

    async def execute(self, op: Op[R]) -> R:
        """Run the operation below and report it."""
        started = perf_counter()
        code: str | None = "cancelled"
        try:
            result = await self.inner.execute(op)
            code = None
        except HealthstoreError as error:
            code = error.code
            raise
        finally:
            collection = getattr(op, "collection", None)
            self._emit(
                OperationFinished(
                    backend=self.name,
                    operation=type(op).__name__.lower(),
                    collection=collection.name if collection else None,
                    seconds=perf_counter() - started,
                    error=code,
                )
            )
        return result

"""Layers: one concern each, laid over a backend or over a unit of work.

A layer holds the next backend and forwards to it; a concern overrides :meth:`Layer.execute`.
It is small and immutable, so the same layer also works inside a transaction: it is laid over
the unit as it is laid over the backend.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from typing import Any, ClassVar, TypeVar, cast

from healthstore.abc.backend import Backend, Capabilities, Executor, Unit, UnitOptions
from healthstore.abc.parts import require_parts
from healthstore.abc.prober import PoolFigures, Prober
from healthstore.errors import ConfigurationError, HealthstoreError
from healthstore.model.ops import Op

__all__ = (
    "Layer",
    "LayeredUnit",
    "stack",
)

R = TypeVar("R")


class Layer:
    """A backend that forwards everything to another one.

    ``rank`` is the layer's place in a stack: the outermost has the lowest rank. A layer of a
    program is a view of a store, which transfers see whole: they go around it, unless it is
    ``part_of_store``, as one is that stands in for a database in tests: that lies under every
    view, and is given to a manager as its class or a ``functools.partial`` of it.
    """

    rank: ClassVar[int]
    part_of_store: ClassVar[bool] = False

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        """The member's name."""
        return self.inner.name

    @property
    def capabilities(self) -> Capabilities:
        """Those of the backend below, unless the layer narrows them."""
        return self.inner.capabilities

    async def open(self) -> None:
        """Open the backend below."""
        await self.inner.open()

    async def close(self) -> None:
        """Close the backend below."""
        await self.inner.close()

    async def ping(self) -> None:
        """Ping the backend below."""
        await self.inner.ping()

    def execute(self, op: Op[R]) -> Coroutine[Any, Any, R]:
        """Run the operation below."""
        return self.inner.execute(op)

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a unit below, with this layer over it."""
        unit = await self.inner.begin(options)
        return LayeredUnit(self.over(unit), unit)

    def prober(self) -> Prober:
        """Return a prober of the backend below: checks go around the layers."""
        return self.inner.prober()

    def pool(self) -> PoolFigures | None:
        """Return the figures of the backend below."""
        return self.inner.pool()

    def over(self, unit: Unit) -> Executor:
        """Return this layer laid over a unit; a layer that has no place there returns the unit."""
        laid = copy(self)
        # Of its `inner`, a layer over a unit uses only what an Executor has.
        laid.inner = cast(Backend, unit)
        return laid


class LayeredUnit:
    """A unit whose operations pass through a layer."""

    def __init__(self, executor: Executor, unit: Unit) -> None:
        self._executor = executor
        self._unit = unit

    @property
    def name(self) -> str:
        """The member on which the unit runs."""
        return self._unit.name

    @property
    def capabilities(self) -> Capabilities:
        """Those of the layer."""
        return self._executor.capabilities

    async def execute(self, op: Op[R]) -> R:
        """Run one operation through the layer, inside the unit."""
        return await self._executor.execute(op)

    def part(self) -> AbstractAsyncContextManager[None]:
        """Run a block as a part of the unit, if the layer has the capability."""
        require_parts(self.capabilities, self.name)
        return self._unit.part()

    def failed(self, error: HealthstoreError) -> None:
        """Tell the unit of an error."""
        self._unit.failed(error)

    async def commit(self) -> None:
        """Commit the unit."""
        await self._unit.commit()

    async def rollback(self) -> None:
        """Roll the unit back."""
        await self._unit.rollback()


def stack(backend: Backend, layers: Sequence[Callable[[Backend], Layer]]) -> Backend:
    """Lay layers over a backend, the outermost first.

    Raises ConfigurationError if their ranks do not rise from the outermost to the innermost, or if
    one has none.
    """
    below: int | None = None
    for build in reversed(layers):
        layer = build(backend)
        rank = _rank(layer)
        if below is not None and rank >= below:
            raise ConfigurationError(
                f"{type(layer).__name__} (rank {rank}) cannot lie over a layer of rank {below}",
                hint="order the layers by rank, lowest first",
            )
        backend, below = layer, rank
    return backend


def _rank(layer: Layer) -> int:
    rank: object = getattr(layer, "rank", None)
    if isinstance(rank, int):
        return rank
    raise ConfigurationError(
        f"the layer {type(layer).__name__} has no rank",
        hint="say where it lies in the stack, as `rank: ClassVar[int] = 98`: "
        "the outermost layer has the lowest rank",
    )

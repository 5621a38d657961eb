"""Layers: laid in order of rank, over backends and over units."""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import ClassVar, TypeVar

import pytest

from healthstore.abc import Layer, stack
from healthstore.adapters.memory import MemoryAdapter
from healthstore.errors import ConfigurationError
from healthstore.layers.guard import GuardLayer
from healthstore.layers.monitor import MonitorLayer
from healthstore.layers.read_only import ReadOnlyLayer
from healthstore.layers.references import ReferencesLayer
from healthstore.layers.retry import RetryLayer
from healthstore.layers.timeout import TimeoutLayer
from healthstore.model.ops import CountDocuments, Ensure, Op
from healthstore.testing.contract._samples import PEOPLE

R = TypeVar("R")
LAYERS: tuple[type[Layer], ...] = (
    GuardLayer,
    ReferencesLayer,
    TimeoutLayer,
    ReadOnlyLayer,
    RetryLayer,
    MonitorLayer,
)


def test_the_order_of_ranks_is_the_order_of_the_design() -> None:
    """Guard, references, timeout, read-only, retry, monitor, from the outermost to the innermost."""
    assert all(outer.rank < inner.rank for outer, inner in pairwise(LAYERS))


def test_layers_in_order_are_laid_over_each_other() -> None:
    """The first layer is the outermost; the backend is at the bottom."""
    backend = MemoryAdapter("m")
    laid = stack(backend, LAYERS)
    seen: list[type] = []
    while isinstance(laid, Layer):
        seen.append(type(laid))
        assert laid.name == "m"
        assert laid.capabilities == backend.capabilities
        laid = laid.inner
    assert tuple(seen) == LAYERS
    assert laid is backend


@pytest.mark.parametrize(
    "order", [order for order in permutations(LAYERS) if order != LAYERS] + [(GuardLayer,) * 2]
)
def test_a_wrong_order_is_refused(order: tuple[type[Layer], ...]) -> None:
    """Layers whose ranks do not rise are refused by name."""
    with pytest.raises(ConfigurationError) as refused:
        stack(MemoryAdapter("m"), order)
    assert refused.value.hint
    assert any(layer.__name__ in refused.value.message for layer in order)


class LostLayer(Layer):
    """Says not where it lies."""


@pytest.mark.parametrize("order", [(LostLayer,), (GuardLayer, LostLayer), (LostLayer, GuardLayer)])
def test_a_layer_without_a_rank_is_refused_by_name(order: tuple[type[Layer], ...]) -> None:
    """The error says what to write, also where there is nothing to compare it with."""
    with pytest.raises(ConfigurationError, match="LostLayer has no rank") as refused:
        stack(MemoryAdapter("m"), order)
    assert "rank: ClassVar[int]" in refused.value.hint


def test_a_backend_without_layers_is_itself() -> None:
    """An empty list of layers gives the backend."""
    backend = MemoryAdapter("m")
    assert stack(backend, ()) is backend


class CountingLayer(Layer):
    """Counts the operations that pass."""

    rank: ClassVar[int] = 50

    def __init__(self, inner: MemoryAdapter) -> None:
        super().__init__(inner)
        self.passed: list[str] = []

    async def execute(self, op: Op[R]) -> R:
        """Count, and forward."""
        self.passed.append(type(op).__name__)
        return await super().execute(op)


async def test_a_layer_also_works_inside_a_unit() -> None:
    """A layer's concern applies to the operations of a unit that begins through it."""
    layer = CountingLayer(MemoryAdapter("m"))
    await layer.open()
    await layer.execute(Ensure((PEOPLE,)))
    unit = await layer.begin()
    assert await unit.execute(CountDocuments(PEOPLE)) == 0
    await unit.commit()
    assert layer.passed == ["Ensure", "CountDocuments"]
    await layer.close()

"""The retry layer over layers that hand on a coroutine; the contract through it is in test_stack."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

import pytest

from healthstore.abc import Backend, Layer
from healthstore.errors import SerializationError
from healthstore.layers.retry import RetryLayer
from healthstore.model.ops import CountDocuments, Ensure, Op
from healthstore.testing.contract._samples import PEOPLE
from healthstore.testing.plugin import EmptyBackend

R = TypeVar("R")


class _Plain(Layer):
    """Hands on the coroutine of the layer below, as many do: a plain function, at first in vain."""

    rank: ClassVar[int] = 100

    def __init__(self, inner: Backend, refusals: int) -> None:
        super().__init__(inner)
        self._left = refusals

    def execute(self, op: Op[R]) -> Coroutine[Any, Any, R]:
        """Refuse, or run the operation below."""
        self._left -= 1
        return self._refused() if self._left >= 0 else self.inner.execute(op)

    async def _refused(self) -> Any:
        raise SerializationError("a rival came first")


@pytest.mark.parametrize("refusals", [0, 1, 3])
async def test_what_a_plain_function_hands_on_is_awaited(
    healthstore_empty: EmptyBackend, refusals: int
) -> None:
    """Also at the second attempt the result is the operation's, and it has been done."""
    async with healthstore_empty("memory") as backend:
        retrying = RetryLayer(_Plain(backend, refusals))
        ensured = await retrying.execute(Ensure((PEOPLE,)))
        assert ensured.created == (PEOPLE.name,)
        assert await retrying.execute(CountDocuments(PEOPLE)) == 0

"""What the tests of coalescing share: a backend on which all that can be is sent together."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from healthstore.abc import Capabilities, Layer
from healthstore.model.ops import Delete, Get, Insert, Patch

__all__ = ("AbleLayer",)


class AbleLayer(Layer):
    """Says of a backend that it gains by all that its transactions let travel together."""

    rank: ClassVar[int] = 110

    @property
    def capabilities(self) -> Capabilities:
        """Those of the backend, and these."""
        own = self.inner.capabilities
        able = frozenset({Delete, Get, Insert, Patch} if own.transactions else {Get})
        return replace(own, coalesced=able)

"""Read-only members: what would change one is refused before it is sent."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from healthstore.abc.backend import Unit, UnitOptions
from healthstore.abc.layer import Layer
from healthstore.errors import ReadOnlyError
from healthstore.model.ops import Effect, Op

__all__ = ("ReadOnlyLayer",)

R = TypeVar("R")


class ReadOnlyLayer(Layer):
    """Refuses every operation that is no read, and every unit that may write.

    The refusal says nothing about the member's condition: it is well, and configured so.
    """

    rank: ClassVar[int] = 75

    async def execute(self, op: Op[R]) -> R:
        """Run a read below; raise ReadOnlyError for anything else."""
        if op.effect is not Effect.READ:
            raise self._refusal()
        return await self.inner.execute(op)

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a read-only unit below; raise ReadOnlyError for one that may write."""
        if not options.read_only:
            raise self._refusal()
        return await super().begin(options)

    def _refusal(self) -> ReadOnlyError:
        error = ReadOnlyError(
            "the member is configured read-only",
            hint="write to another member, or set read_only = false for this one; "
            "a unit that only reads is begun with read_only=True",
            backend=self.name,
        )
        error.transient = False  # it does not pass by itself
        return error

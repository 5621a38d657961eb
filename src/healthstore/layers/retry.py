"""Retries: what failed without effect, and may succeed in a moment, is tried again."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from healthstore.abc.backend import Backend, Executor, Unit
from healthstore.abc.layer import Layer
from healthstore.errors import Condition, Outcome, SerializationError, UnavailableError
from healthstore.model.ops import Op

__all__ = ("RetryLayer",)

R = TypeVar("R")


class RetryLayer(Layer):
    """Repeats an operation that was surely not applied, with jitter and within a time limit.

    Only conflicts and an unreachable backend are worth another attempt; a passed deadline is
    not, and an unknown outcome never. Inside a unit nothing is repeated: the whole unit must be.
    """

    rank: ClassVar[int] = 80

    def __init__(
        self, inner: Backend, *, attempts: int = 5, seconds: float = 5.0, wait: float = 0.5
    ) -> None:
        super().__init__(inner)
        self._attempts = attempts
        self._retrying = AsyncRetrying(
            retry=retry_if_exception(_worth_repeating),
            stop=stop_after_attempt(attempts - 1) | stop_after_delay(seconds),
            wait=wait_random_exponential(multiplier=0.01, max=wait),
            reraise=True,
        )

    async def execute(self, op: Op[R]) -> R:
        """Run the operation below, again if that is safe and may help."""
        try:
            # The first attempt goes around tenacity: it costs more than a whole memory call.
            return await self.inner.execute(op)
        except (SerializationError, UnavailableError) as error:
            if self._attempts == 1 or not _worth_repeating(error):
                raise

        async def again() -> R:  # tenacity awaits a coroutine function only
            return await self.inner.execute(op)

        return await self._retrying.copy()(again)

    def over(self, unit: Unit) -> Executor:
        """Return the unit itself: a step of a unit cannot be repeated."""
        return unit


def _worth_repeating(error: BaseException) -> bool:
    return (
        isinstance(error, SerializationError | UnavailableError)
        and error.outcome is Outcome.NOT_APPLIED
        and error.condition is not Condition.OVERLOADED  # it has waited, and more load is no help
    )

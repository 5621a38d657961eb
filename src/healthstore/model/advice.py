"""A reason against a value that comes with advice of its own."""

from __future__ import annotations

__all__ = ("AdvisedError",)


class AdvisedError(ValueError):
    """A reason against a value, in words without the value, and what to do about it."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint

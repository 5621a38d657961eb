"""What callers without a type checker may pass: refused by name, before anything is done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from healthstore.errors import InvalidRequestError

__all__ = ("listed",)

T = TypeVar("T")


def listed(values: Iterable[T], what: str, example: str) -> tuple[T, ...]:
    """Return the members of a list.

    Raises InvalidRequestError for what is none, a text included: its members are characters,
    which nobody means. ``what`` names the argument, ``example`` shows how to write it.
    """
    given: object = values
    if isinstance(given, str | bytes) or not isinstance(given, Iterable) or isinstance(given, type):
        raise InvalidRequestError(f"{what} is no list", hint=f"write {example}")
    return tuple(values)

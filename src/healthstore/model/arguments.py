"""What callers without a type checker may pass: refused by name, before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TypeVar

from healthstore.errors import InvalidRequestError

__all__ = ("listed", "ordered")

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


def ordered(values: Iterable[T], what: str, example: str) -> tuple[T, ...]:
    """Return the members of a list whose order counts.

    Raises InvalidRequestError for what is no list, and for a set or a dict: the one has no order
    that anybody knows, and the values of the other (``{"age": -1}``) would be dropped.
    """
    given: object = values
    if isinstance(given, AbstractSet | Mapping):
        kind = "a dict" if isinstance(given, Mapping) else "a set"
        raise InvalidRequestError(f"{what} is {kind}, and no list", hint=f"write {example}")
    return listed(values, what, example)

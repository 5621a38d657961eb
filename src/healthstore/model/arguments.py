"""What callers without a type checker may pass: refused by name, before anything is done."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from healthstore.errors import InvalidRequestError

__all__ = ("file_path", "listed")

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


def file_path(path: str | os.PathLike[str]) -> Path:
    """Return a path; raise InvalidRequestError for what is none."""
    try:
        found = Path(path)
    except TypeError:
        found = None
    if found is None or "\0" in str(found):
        raise InvalidRequestError("the path of the file is no path", hint="pass a text or a Path")
    return found

"""Parts of a JSON field: what a path leads to, and how long a list is.

A step of a path is the key of an object, any text, or a place in a list, counted from 0. A part
is *missing* where its field is ``None``, a step is not there, or a step leads into what is no
object, for a place no list. A missing part and a null are two things; ``== None`` takes both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ("MAX_KEY", "MAX_PART_VALUES", "MAX_PLACE", "MAX_STEPS", "WHOLE", "WORDS", "Part", "Step")

Step: TypeAlias = str | int

MAX_STEPS = 16
"""The most steps of a path."""
MAX_KEY = 256
"""The most code points of a key in a path."""
MAX_PLACE = 9_999_999
"""The last place of a list that a path may name; a document of 8 MiB has fewer."""
MAX_PART_VALUES = 1_000
"""The most values that a part, or the elements of a list, are looked up in."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a field's JSON, or with ``size`` the number of elements of the list there.

    Without steps it is the whole value. The size of what is no list is ``None``. With ``words`` it
    is no JSON, but the list of a text's words.
    """

    steps: tuple[Step, ...] = ()
    size: bool = False
    words: bool = False

    def __str__(self) -> str:
        if self.words:
            return ".words()"
        written = "".join(map(_written, self.steps))
        return f"{written}.size()" if self.size else written


WHOLE = Part()
"""The whole JSON of a field, which is a list where its elements are asked for."""

WORDS = Part(words=True)
"""The words of a text, where case does not count."""


def _written(step: Step) -> str:
    if isinstance(step, str) and step.isidentifier() and step.isascii():
        return f".{step}"
    return f"[{json.dumps(step, ensure_ascii=False, default=repr)}]"

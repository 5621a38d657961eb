"""Parts of a JSON field: what a path leads to, how long a list is, and terms.

A step of a path is the key of an object, any text, or a place in a list, counted from 0. A part
is *missing* where its field is ``None``, a step is not there, or a step leads into what is no
object, for a place no list. A missing part and a null are two things; ``== None`` takes both.

A *term* is a part as a value of one type, like a field of that type: what is of another type, a
null or missing is ``None``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from healthstore.model.values import FieldType, Kind

__all__ = (
    "MAX_KEY",
    "MAX_PART_VALUES",
    "MAX_PLACE",
    "MAX_STEPS",
    "TERM_HEAD",
    "TERM_TYPES",
    "WHOLE",
    "WORDS",
    "FieldOrTerm",
    "Part",
    "Step",
    "Term",
    "column_key",
)

Step: TypeAlias = str | int

MAX_STEPS = 16
"""The most steps of a path."""
MAX_KEY = 256
"""The most code points of a key in a path."""
MAX_PLACE = 9_999_999
"""The last place of a list that a path may name; a document of 8 MiB has fewer."""
MAX_PART_VALUES = 1_000
"""The most values that a part, or the elements of a list, are looked up in."""

TERM_TYPES: Mapping[Kind, type[int | float | str | bool]] = {
    Kind.INTEGER: int,
    Kind.FLOAT: float,
    Kind.TEXT: str,
    Kind.BOOLEAN: bool,
}
"""The kinds of terms that have an order, by the type that ``as_`` takes."""


TERM_HEAD = 64
"""How many code points an index has of a part that is a text: some databases index no long ones."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a field's JSON, or with ``size`` the number of elements of the list there.

    Without steps it is the whole value. The size of what is no list is ``None``. With a ``kind``
    it is what is there as a value of that kind; see :class:`Term`. With ``words`` it is no JSON,
    but the list of a text's words. With ``head`` it is a text's beginning, as an index has it.
    """

    steps: tuple[Step, ...] = ()
    size: bool = False
    kind: Kind | None = None
    words: bool = False
    head: bool = False

    def __str__(self) -> str:
        if self.words:
            return ".words()"
        written = "".join(map(_written, self.steps))
        if self.kind is not None and self.kind in TERM_TYPES:
            return f"{written}.as_({TERM_TYPES[self.kind].__name__})"
        return f"{written}.size()" if self.size else written


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a field's JSON as a value of one kind; ``None`` where there is no such value.

    ``INTEGER``: a whole number from -2^63 to 2^63 - 1, written as int or as float. ``FLOAT``: any
    number, to the nearest double. ``TEXT``: a text. ``BOOLEAN``: true or false. ``JSON``: whatever
    is there.
    """

    field: str
    steps: tuple[Step, ...]
    kind: Kind

    @property
    def part(self) -> Part:
        """The part, as which a test of the field takes it."""
        return Part(self.steps, kind=self.kind)

    @property
    def type(self) -> FieldType:
        """The type of a field that has the same values."""
        return FieldType(self.kind)

    @property
    def key(self) -> str:
        """What no other term and no field is called: ``data.weight.as_(float)``."""
        return f"{self.field}{self.part}"

    def __str__(self) -> str:
        """Return the path as text, which is the name of its column: ``data.weight``."""
        return f"{self.field}{Part(self.steps)}"


FieldOrTerm: TypeAlias = str | Term
"""What a row may have a value of: a field, by its name, or a term."""


def column_key(column: FieldOrTerm) -> str:
    """Return what a column's value stands under in a document."""
    return column if isinstance(column, str) else column.key


WHOLE = Part()
"""The whole JSON of a field, which is a list where its elements are asked for."""

WORDS = Part(words=True)
"""The words of a text, where case does not count."""


def _written(step: Step) -> str:
    if isinstance(step, str) and step.isidentifier() and step.isascii():
        return f".{step}"
    return f"[{json.dumps(step, ensure_ascii=False, default=repr)}]"

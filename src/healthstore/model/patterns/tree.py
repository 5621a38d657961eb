"""What a pattern is made of, as frozen values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = (
    "LAST",
    "Choice",
    "Letter",
    "Node",
    "Ranges",
    "Repeat",
    "Sequence",
    "complement",
    "overlap",
)

LAST = 0x10FFFF
"""The last code point."""
Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Code points from one to the other, both included: in order, and none touches the next one."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One of these characters; there is at least one."""

    ranges: Ranges

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> Letter:
        """Return one of the characters of ranges in any order, which may overlap."""
        merged: list[tuple[int, int]] = []
        for low, high in sorted(ranges):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        return cls(tuple(merged))


@dataclass(frozen=True, slots=True)
class Sequence:
    """These, one after the other; at least two."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these; at least two, and not all of them letters."""

    branches: tuple[Node, ...]
    position: int = field(default=0, compare=False)
    """Where it begins in what was written; for messages only."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same, so many times: without a ``most`` there is no bound."""

    item: Node
    least: int
    most: int | None
    position: int = field(default=0, compare=False)
    """Where the quantifier stands in what was written; for messages only."""


Node: TypeAlias = Letter | Sequence | Choice | Repeat


def complement(ranges: Ranges) -> Ranges:
    """Return all other code points."""
    found: list[tuple[int, int]] = []
    start = 0
    for low, high in ranges:
        if start < low:
            found.append((start, low - 1))
        start = high + 1
    return (*found, (start, LAST)) if start <= LAST else tuple(found)


def overlap(one: Ranges, other: Ranges) -> bool:
    """Tell whether two have a code point in common."""
    return any(low <= last and first <= high for low, high in one for first, last in other)

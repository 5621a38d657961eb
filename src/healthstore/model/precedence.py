"""Who goes first among things that refer to each other: in linear time, and without recursion."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

__all__ = ("children_first", "circular")

K = TypeVar("K", bound=Hashable)


def children_first(refers: Mapping[K, Collection[K]]) -> tuple[list[list[K]], list[K]]:
    """Return groups, to none of which a later group refers, and what cannot be put in order.

    ``refers`` maps each thing to those that it refers to; others than its keys, and the thing
    itself, do not count. What is left over is part of a circle, or referred to from one.
    """
    referring = dict.fromkeys(refers, 0)
    for each, parents in refers.items():
        for parent in parents:
            if parent != each and parent in referring:
                referring[parent] += 1
    groups: list[list[K]] = []
    group = [each for each, count in referring.items() if not count]
    while group:
        groups.append(group)
        following: list[K] = []
        for each in group:
            del referring[each]
            for parent in refers[each]:
                if parent != each and parent in referring:
                    referring[parent] -= 1
                    if not referring[parent]:
                        following.append(parent)
        group = following
    return groups, list(referring)


def circular(refers: Mapping[K, Collection[K]]) -> set[K]:
    """Return what is on a circle, or between two of them; a thing alone is no circle."""
    _, left = children_first(refers)
    referred: dict[K, list[K]] = {each: [] for each in left}
    for each in left:
        for parent in refers[each]:
            if parent in referred:
                referred[parent].append(each)
    return set(children_first(referred)[1])

r"""The tree of a pattern as text, which every engine reads alike.

Signs and white space have a backslash before them, so that no engine's option gives them another
meaning, and all other characters stand for themselves: an escape by a code is read differently.
A class that holds U+0000, which no text has, is written as the complement of the others.
"""

from __future__ import annotations

from collections.abc import Mapping

from healthstore.model.patterns.tree import LAST, Choice, Letter, Node, Ranges, Repeat, complement

__all__ = ("written",)

_SHORT: Mapping[tuple[int, int | None], str] = {(0, 1): "?", (0, None): "*", (1, None): "+"}
_SIGNS = frozenset("\\.^$*+?{}[]()|-&~#\t\n\x0b\x0c\r ")


def written(node: Node) -> str:
    """Return the text of a tree."""
    if isinstance(node, Letter):
        return _letter(node.ranges)
    if isinstance(node, Repeat):
        item = written(node.item)
        repeated = item if isinstance(node.item, Letter) else f"(?:{item})"
        return repeated + _count(node.least, node.most)
    if isinstance(node, Choice):
        return "|".join(map(written, node.branches))
    return "".join(map(_part, node.items))


def _part(node: Node) -> str:
    return f"(?:{written(node)})" if isinstance(node, Choice) else written(node)


def _count(least: int, most: int | None) -> str:
    short = _SHORT.get((least, most))
    if short is not None:
        return short
    if least == most:
        return f"{{{least}}}"
    return f"{{{least},{'' if most is None else most}}}"


def _letter(ranges: Ranges) -> str:
    (low, high), *more = ranges
    if low == high and not more:
        return _sign(low)
    if low > 0:
        return f"[{_members(ranges)}]"
    others = complement(ranges)
    return f"[^{_members(others)}]" if others else f"[{_members(((1, LAST),))}]"


def _members(ranges: Ranges) -> str:
    return "".join(
        _sign(low) + ("" if high == low else f"{'-' if high > low + 1 else ''}{_sign(high)}")
        for low, high in ranges
    )


def _sign(code: int) -> str:
    sign = chr(code)
    return f"\\{sign}" if sign in _SIGNS else sign

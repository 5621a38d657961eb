r"""From the text of a pattern to its tree; what is not of the subset is refused by its position.

What is read means what Python's ``re`` reads with ``re.ASCII``. What other engines read otherwise
has no place here: ``\b``, ``$`` and ``^``, flags, classes of POSIX, operations of sets, quantifiers
that are lazy or possessive, groups that look around or are referred to, a ``{`` by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from healthstore.model.advice import AdvisedError
from healthstore.model.patterns.bounds import MAX_COUNT
from healthstore.model.patterns.tree import (
    Choice,
    Letter,
    Node,
    Ranges,
    Repeat,
    Sequence,
    complement,
)
from healthstore.model.text import require_text

__all__ = ("MAX_DEPTH", "MAX_LENGTH", "parsed")

MAX_LENGTH = 500
"""The most characters of a pattern."""
MAX_DEPTH = 20
"""The most groups inside one another."""

_DIGITS: Ranges = ((48, 57),)
_WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Ranges = ((9, 13), (32, 32))
_SETS: Mapping[str, Ranges] = {
    "d": _DIGITS,
    "w": _WORD,
    "s": _SPACE,
    "D": complement(_DIGITS),
    "W": complement(_WORD),
    "S": complement(_SPACE),
}
_DOT: Ranges = complement(((10, 10),))
_CONTROLS: Mapping[str, int] = {"a": 7, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_CODES: Mapping[str, int] = {"x": 2, "u": 4, "U": 8}
"""Hexadecimal digits of a code point, by the letter before them."""
_COUNTS: Mapping[str, tuple[int, int | None]] = {"?": (0, 1), "*": (0, None), "+": (1, None)}
_QUANTIFIERS = frozenset("?*+{")
_WHOLE = "the whole text is matched: leave it out"
_OF_SETS = frozenset({"&&", "||", "--", "~~"})
_ESCAPED: Mapping[str, tuple[str, str]] = {
    "A": ("an anchor", _WHOLE),
    "Z": ("an anchor", _WHOLE),
    "z": ("an anchor", _WHOLE),
    "b": ("the boundary of a word", "no two engines mean the same by it; name the characters"),
    "B": ("the boundary of a word", "no two engines mean the same by it; name the characters"),
}
_ASCII_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def parsed(pattern: str) -> Node:
    """Return the tree of a pattern.

    Raises ValueError, with advice where there is some, for what is not of the subset.
    """
    require_text(pattern)
    if len(pattern) > MAX_LENGTH:
        raise AdvisedError(
            f"is matched with a pattern of more than {MAX_LENGTH} characters",
            "use a shorter one, or several tests",
        )
    if not pattern:
        raise AdvisedError("is matched with an empty pattern", 'write == ""')
    return _Reading(pattern).whole()


class _Reading:
    """One pattern while it is read."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def whole(self) -> Node:
        tree = self._choice(0)
        if self._at < len(self._pattern):
            self._refuse(self._at, "a ) closes no group", r"write \) for the character")
        return tree

    def _next(self, ahead: int = 0) -> str:
        place = self._at + ahead
        return self._pattern[place] if place < len(self._pattern) else ""

    def _refuse(self, position: int, what: str, hint: str) -> NoReturn:
        raise AdvisedError(
            f"is matched with a pattern in which, at position {position}, {what}", hint
        )

    def _choice(self, depth: int) -> Node:
        start = self._at
        branches = [self._sequence(depth)]
        while self._next() == "|":
            self._at += 1
            branches.append(self._sequence(depth))
        if len(branches) == 1:
            return branches[0]
        letters = [each for each in branches if isinstance(each, Letter)]
        if len(letters) == len(branches):
            return Letter.of(pair for each in letters for pair in each.ranges)
        return Choice(tuple(branches), start)

    def _sequence(self, depth: int) -> Node:
        start = self._at
        items: list[Node] = []
        while self._next() not in {"", "|", ")"}:
            item = self._quantified(self._atom(depth))
            items.extend(item.items if isinstance(item, Sequence) else (item,))
        if not items:
            self._refuse(start, "there is nothing", "write ? behind what may be left out")
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _quantified(self, item: Node) -> Node:
        position = self._at
        if self._next() not in _QUANTIFIERS:
            return item
        least, most = self._count()
        if self._next() in _QUANTIFIERS:
            self._refuse(
                self._at,
                "a quantifier follows another one",
                "lazy and possessive ones are no part of it; put a group around the first",
            )
        return item if (least, most) == (1, 1) else Repeat(item, least, most, position)

    def _count(self) -> tuple[int, int | None]:
        position = self._at
        sign = self._next()
        self._at += 1
        if sign != "{":
            return _COUNTS[sign]
        least = self._number()
        most: int | None = least
        if self._next() == ",":
            self._at += 1
            most = self._number() if self._next() != "}" else None
        if least is None or self._next() != "}":
            self._refuse(
                position, "a { begins no {m}, {m,} or {m,n}", r"write \{ for the character"
            )
        self._at += 1
        highest = least if most is None else most
        if max(least, highest) > MAX_COUNT or least > highest or highest == most == 0:
            self._refuse(
                position,
                "a quantifier has other counts than are possible",
                f"write {{m,n}} with m <= n, and n from 1 to {MAX_COUNT}",
            )
        return least, most

    def _number(self) -> int | None:
        start = self._at
        while self._next() and self._next() in "0123456789":
            self._at += 1
        digits = self._pattern[start : self._at]
        if not digits:
            return None
        return int(digits) if len(digits) <= len(str(MAX_COUNT)) else MAX_COUNT + 1

    def _atom(self, depth: int) -> Node:
        position = self._at
        sign = self._next()
        self._at += 1
        if sign == "(":
            return self._group(position, depth + 1)
        if sign == "[":
            return self._class(position)
        if sign == ".":
            return Letter(_DOT)
        if sign == "\\":
            return Letter.of(self._escape(position))
        if sign in {"^", "$"}:
            self._refuse(position, f"there is a {sign}", f"{_WHOLE}, or write \\{sign}")
        if sign in _QUANTIFIERS:
            self._refuse(position, f"a {sign} repeats nothing", f"write \\{sign} for the character")
        return Letter(((ord(sign), ord(sign)),))

    def _group(self, position: int, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._refuse(position, f"more than {MAX_DEPTH} groups are open", "use fewer")
        if self._next() == "?":
            if self._next(1) != ":":
                self._refuse(
                    position,
                    "a group begins with (?",
                    "flags, names and looking around are no part of it; write (…) or (?:…)",
                )
            self._at += 2
        inner = self._choice(depth)
        if self._next() != ")":
            self._refuse(position, "a group is not closed", r"write \( for the character")
        self._at += 1
        return inner

    def _escape(self, position: int) -> Ranges:
        """Return what is meant by the characters behind a backslash."""
        sign = self._next()
        self._at += 1
        if sign in _SETS:
            return _SETS[sign]
        if sign in _CONTROLS:
            return ((_CONTROLS[sign], _CONTROLS[sign]),)
        if sign in _CODES:
            return self._code(position, _CODES[sign])
        if not sign:
            self._refuse(position, "a backslash ends it", r"write \\ for the character")
        if sign in _ESCAPED:
            what, hint = _ESCAPED[sign]
            self._refuse(position, f"there is {what}", hint)
        if sign in _ASCII_LETTERS or sign in "0123456789":
            self._refuse(
                position,
                "an escape is unknown, or refers to a group",
                r"known: \d \w \s \D \W \S \t \n \r \f \v \a \xhh \uhhhh \Uhhhhhhhh, and signs",
            )
        return ((ord(sign), ord(sign)),)

    def _code(self, position: int, length: int) -> Ranges:
        digits = self._pattern[self._at : self._at + length]
        self._at += length
        if len(digits) < length or not set(digits) <= set("0123456789abcdefABCDEF"):
            self._refuse(position, "an escape has too few digits", f"write {length}")
        code = int(digits, 16)
        try:
            require_text(chr(code))
        except (ValueError, OverflowError):
            self._refuse(position, "an escape is of no character", "no text has it")
        return ((code, code),)

    def _class(self, position: int) -> Letter:
        negated = self._next() == "^"
        self._at += negated
        first, found = self._at, list[tuple[int, int]]()
        while self._next() != "]":
            if not self._next():
                self._refuse(position, "a class is not closed", r"write \[ for the character")
            found.extend(self._member(first))
        if not found:
            self._refuse(position, "a class is empty", r"write \] for the character")
        self._at += 1
        letter = Letter.of(found)
        ranges = complement(letter.ranges) if negated else letter.ranges
        if not ranges:
            self._refuse(position, "a class has no character", "no text has one of none")
        return Letter(ranges)

    def _member(self, first: int) -> Ranges:
        """Return a character of a class, a set, or a range."""
        position = self._at
        low = self._single(first)
        if self._next() != "-" or self._next(1) in {"]", ""}:
            return low
        self._at += 1
        (start, one), *more = low
        (other, end), *others = self._single(None)
        if more or others or start != one or other != end:
            self._refuse(position, "a range has a set at its end", r"write \- for the character")
        if start > end:
            self._refuse(position, "a range ends before it begins", "write it the other way round")
        return ((start, end),)

    def _single(self, first: int | None) -> Ranges:
        """Return what one member of a class means; a - is one where no range can be."""
        position = self._at
        sign = self._next()
        if sign + self._next(1) in _OF_SETS:
            self._refuse(
                position, "a class has an operation of sets", f"write \\{sign} for the character"
            )
        edge = first is not None and (position == first or self._next(1) == "]")
        if sign == "[" or (sign == "-" and not edge):
            self._refuse(
                position,
                f"a class has a {sign} by itself",
                f"write \\{sign} for the character; names such as [:alpha:] are no part of it",
            )
        self._at += 1
        if sign == "\\":
            return self._escape(position)
        return ((ord(sign), ord(sign)),)

"""Parts of texts in MongoDB's words: patterns, and the range of what begins with a text."""

from __future__ import annotations

import re

from healthstore.errors import CapabilityError
from healthstore.model.query import MAX_PATTERN

__all__ = ("ends_pattern", "pattern", "successor", "whole_pattern")

_END = r"(?![\s\S])"  # no character follows; `$` would also match before a final newline
_LAST_CODE_POINT = 0x10FFFF
_SURROGATES = (0xD800, 0xE000)


def successor(text: str) -> str | None:
    """Return the smallest text that is greater than every text with this prefix, if any."""
    while text:
        point = ord(text[-1]) + 1
        if point == _SURROGATES[0]:
            point = _SURROGATES[1]
        if point <= _LAST_CODE_POINT:
            return text[:-1] + chr(point)
        text = text[:-1]
    return None


def pattern(text: str) -> str:
    """Return the pattern that finds a text; raise CapabilityError for one that is too long."""
    escaped = re.escape(text)
    if len(escaped.encode()) > MAX_PATTERN:
        raise CapabilityError(
            f"MongoDB looks for at most {MAX_PATTERN} bytes of text", hint="look for a shorter one"
        )
    return escaped


def ends_pattern(text: str) -> str:
    """Return the pattern that finds a text at the end."""
    return pattern(text) + _END


def whole_pattern(canonical: str) -> str:
    """Return the pattern that finds what a canonical one matches as a whole."""
    return rf"\A(?:{canonical}){_END}"

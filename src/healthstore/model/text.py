"""Text that every backend can keep, what it is where case does not count, and its words."""

from __future__ import annotations

import re
from unicodedata import normalize

__all__ = ("MAX_WORDS", "folded", "require_text", "words_in")

MAX_WORDS = 10_000
"""The most words, each counted once, of a text that is searched."""
_words = re.compile(r"\w+").findall


def folded(text: str) -> str:
    """Return the text where case does not count: NFKC, its case folded, and NFKC again.

    Texts that differ in case, or in how a letter is composed, have one folded form. What is
    folded stays what it is.
    """
    if text.isascii():
        return text.lower()
    return normalize("NFKC", normalize("NFKC", text).casefold())


def words_in(text: str) -> list[str]:
    r"""Return the words of a text, each once, in order: runs of ``\w`` where case does not count."""
    return sorted(set(_words(folded(text))))


def require_text(value: str) -> None:
    """Raise ValueError for a text that some backend could not keep; the message never quotes it."""
    if "\x00" in value:
        raise ValueError("holds U+0000, which PostgreSQL cannot store")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            # `from None`: the codec's message quotes the text.
            raise ValueError("holds a lone surrogate, which is not valid Unicode") from None

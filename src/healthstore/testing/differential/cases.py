"""Texts by chance that often differ in case only, or in how their letters are composed; and words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from unicodedata import normalize

__all__ = ("draw_cased", "draw_words", "recased")

# What no lower() or upper() alone makes alike, and what is alike but for a mark or a dot.
_TEXTS = (
    *("straße", "STRASSE", "Strasse", "STRAẞE", "stra\u017fse", "ß", "SS", "ss", "\u017f", "s"),
    *("i\u0307stanbul", "İSTANBUL", "istanbul", "\u0131stanbul", "İ", "I", "i", "\u0131"),
    *("ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ", "ὈΔΥΣΣΕΎς", "\u03c3", "ς", "Σ", "ﬁnd", "FIND", "\ufb01ND", "ﬁ", "fi"),
    *("\u00e5sa", "ÅSA", "\u212bsa", "A\u030asa", "\u00c5", "\u212b", "A\u030a", "a", "asa"),
    *("Ⅷ", "viii", "Ǆ", "ǅ", "DŽ", "ᾳ", "\u0391\u0399", "ＡＢＣ", "abc", "𐐀", "𐐨", "\ufdfa"),  # noqa: RUF001 - of full width
    *(
        "",
        " ",
        "\u00a0",
        " ab",
        "AB ",
        "50%_*.\\",
        "K",
        "\u212a",
        "k",
        "µ",
        "\u03bc",
        "ŉ",
        "\u02bcN",
    ),
)


def draw_cased(random: Random, longest: int | None) -> str:
    """Return one of a few texts, or two with a space between, of at most so many code points."""
    drawn = random.choice(_TEXTS)
    if random.random() < 0.3:
        drawn = f"{drawn} {random.choice(_TEXTS)}"
    return drawn[:longest]


_WORDS = (
    *("soup", "Soup", "SOUP", "noodle", "noodles", "noodle_soup", "the", "day", "tea", "a", "50"),
    *("Straße", "STRASSE", "ﬁne", "fine", "Ångström", "A\u030angstro\u0308m", "\u212bngström"),
    *("İstanbul", "istanbul", "日本語", "ὈΔΥΣΣΕΎΣ", "ὀδυσσεύς", "e\u0301", "x\u200dy", "_", "Ⅷ"),
)
_GAPS = (" ", " ", " ", "  ", ", ", "-", "\n", "'", ".", "%", "\u00a0", "\U0001f600", "/", '"')


def draw_words(random: Random, longest: int | None, most: int = 6) -> str:
    """Return some words with what parts them, of at most so many code points."""
    words = [random.choice(_WORDS) for _ in range(random.randint(0, most))]
    drawn = "".join(f"{each}{random.choice(_GAPS)}" for each in words)
    return (drawn if random.random() < 0.3 else drawn[:-1])[:longest]


def recased(random: Random, text: str) -> str:
    """Return a text that often is the same where case does not count."""
    return random.choice(_WAYS)(text)


_WAYS: tuple[Callable[[str], str], ...] = (
    *(str, str.upper, str.lower, str.swapcase, str.title, str.casefold),
    *(partial(normalize, "NFC"), partial(normalize, "NFD"), partial(normalize, "NFKC")),
)

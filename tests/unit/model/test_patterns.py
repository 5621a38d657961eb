"""Patterns: one form, which means what was written, and a bounded cost."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from healthstore.model.patterns import MAX_LENGTH, MAX_TEXT, canonical
from healthstore.model.patterns.bounds import MAX_STEPS
from healthstore.model.patterns.parse import parsed
from healthstore.model.patterns.tree import Choice, Letter, Node, Repeat, Sequence
from healthstore.testing.strategies import patterns

TEXTS = st.text(st.sampled_from("abA1é_- .\\\n\r\x85\u2028\U0001f600"), max_size=12)


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("abc", "abc"),
        (r"[a-z_]{3,20}", "[_a-z]{3,20}"),
        (r"\d\w\s", "[0-9][0-9A-Z_a-z][\\\t-\\\r\\ ]"),
        (r"\D\W", "[^0-9][^0-9A-Z_a-z]"),
        (".", "[^\\\n]"),
        (r"[\s\S]", "[\x01-\U0010ffff]"),
        (r"[^\W_]", "[0-9A-Za-z]"),
        (r"[\w.-]", r"[\-\.0-9A-Z_a-z]"),
        ("(a)(?:b)", "ab"),
        ("(ab)+|c{1}", "(?:ab)+|c"),
        ("a|b|[cd]", "[a-d]"),
        ("a{0,1}b{0,}c{1,}d{2}e{2,}f{2,3}", "a?b*c+d{2}e{2,}f{2,3}"),
        (r"\x41\u00e9\U0001f600", "Aé\U0001f600"),
        ("}]a b", r"\}\]a\ b"),
        ("(?:a|bc)d", "(?:a|bc)d"),
        ("[z]", "z"),
    ],
)
def test_a_pattern_has_one_form(pattern: str, kept: str) -> None:
    """Groups capture nothing, classes are ranges in order, signs are escaped, counts are short."""
    assert canonical(pattern) == kept


@given(patterns(), TEXTS)
@example("[a^-]+", "a-^")
@example(r"[\]\[^-]", "^")
def test_the_form_means_what_was_written(pattern: str, text: str) -> None:
    """Python matches the same texts by both, and the form is that of itself."""
    kept = canonical(pattern)
    wanted = re.fullmatch(pattern, text, re.ASCII) is not None
    assert (re.fullmatch(kept, text) is not None) is wanted
    if len(kept) <= MAX_LENGTH:
        assert canonical(kept) == kept


@pytest.mark.parametrize(
    ("pattern", "position"),
    [
        ("ab(?i)", 2),
        ("ab$", 2),
        (r"a\b", 1),
        ("a(b", 1),
        ("abc]d)", 5),
        ("a|b||", 4),
        ("ab++", 3),
        ("[a-z", 0),
        ("x[z-a]", 2),
        ("x[a&&b]", 3),
        ("ab{3,1}", 2),
        ("a{b}", 1),
        ("x(a+)+", 3),
        ("ab(a*)*", 6),
        ("a.*b.*c.*", 2),
        ("(?:a|aa)+x", 8),
    ],
)
def test_the_position_is_told(pattern: str, position: int) -> None:
    """It counts characters from 0, and is where the part begins, or its quantifier stands."""
    with pytest.raises(ValueError, match=f"at position {position},"):
        canonical(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        *("[a-z]+@[a-z]+(?:[.][a-z]+)+", r"(?:\d{1,3}\.){3}\d{1,3}", "(?:[a-z]+[.])*[a-z]+"),
        *("(?:red|green|grey)(?:, ?(?:red|green|grey))*", r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"),
        *("https?://[^/]+(?:/[^/]*)*", ".*(?:foo|bar).*", "a?" * 9 + "a" * 9, "(?:ab|ac|ad)*"),
        *(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d)?", "[A-Z][a-z]*(?: [A-Z][a-z]*)*", ".*a.*", r"\s*\S.*"),
        *("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a" * 500, "(?:a{20}){50}", ".{0,255}"),
    ],
)
def test_ordinary_patterns_are_taken(pattern: str) -> None:
    """Addresses, numbers, dates, lists of words, a part in a text."""
    assert canonical(pattern)


class _TooManyError(Exception):
    pass


class _Engine:
    """Matches as a plain engine does, greedy and never clever; goes back at most so often."""

    def __init__(self, text: str, most: int) -> None:
        self._text = text
        self._left = most

    def match(self, tree: Node) -> bool:
        return self._run(tree, 0, lambda end: end == len(self._text))

    def _back(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _TooManyError

    def _run(self, node: Node, at: int, then: Callable[[int], bool]) -> bool:
        if isinstance(node, Letter):
            codes = [ord(each) for each in self._text[at : at + 1]]
            fits = any(one <= code <= end for one, end in node.ranges for code in codes)
            return fits and then(at + 1)
        if isinstance(node, Sequence):
            return self._chain(node.items, at, then)
        if isinstance(node, Choice):
            return any(self._tried(each, at, then) for each in node.branches)
        return self._again(node, 0, at, then)

    def _tried(self, node: Node, at: int, then: Callable[[int], bool]) -> bool:
        if self._run(node, at, then):
            return True
        self._back()
        return False

    def _chain(self, items: tuple[Node, ...], at: int, then: Callable[[int], bool]) -> bool:
        if not items:
            return then(at)
        return self._run(items[0], at, lambda end: self._chain(items[1:], end, then))

    def _again(self, node: Repeat, count: int, at: int, then: Callable[[int], bool]) -> bool:
        if node.most is None or count < node.most:
            if self._run(node.item, at, lambda end: self._again(node, count + 1, end, then)):
                return True
            if count >= node.least:
                self._back()
        return count >= node.least and then(at)


@given(
    patterns(),
    st.text(st.sampled_from("abA1- \n"), min_size=1, max_size=3),
    st.sampled_from(["", "#"]),
)
@example(".*a.*", "a", "#")
@example("(?:a|b)*a(?:a|b)*", "ab", "#")
@example("(?:ab|ac)*(?:ab|ad)*", "ab", "#")
@example("[a-z]*(?:a|ab|abc|abx)*-", "ab", "#")
@example("(?:a|aa)(?:a|aa)(?:a|aa)(?:a|aa)a*", "a", "#")
def test_the_cost_is_bounded(pattern: str, part: str, end: str) -> None:
    """An engine goes back no more often than MySQL's does, on a text as long as a field may be.

    The text is shorter here, as the stack of Python is; so is the bound.
    """
    length = 80
    text = (part * length)[:length] + end
    most = MAX_STEPS * (length / MAX_TEXT) ** 2 * 4
    try:
        matched = _Engine(text, int(most)).match(parsed(pattern))
    except _TooManyError:
        pytest.fail(f"{pattern!a} on {text!a}")
    assert matched is (re.fullmatch(pattern, text, re.ASCII) is not None)

"""Patterns: every backend matches what Python matches, and refuses what not all would match."""

from __future__ import annotations

import re
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import given

from healthstore.abc import Backend
from healthstore.errors import ConfigurationError, InvalidRequestError, RefusedValueError
from healthstore.model.ops import Aggregate, CountDocuments, Ensure, Find, Function, Measure
from healthstore.model.query import F, Filter, Not, Operator, OtherField, Test
from healthstore.model.schema import Check, Field
from healthstore.model.values import FieldType, Kind
from healthstore.testing.contract._altered import row_of, things
from healthstore.testing.contract._promises import Contract, laws, proves
from healthstore.testing.contract._samples import add, ids, selected, stored
from healthstore.testing.strategies import patterns

__all__ = ("TestPatterns",)

NOTES = things(
    Field("code", FieldType(Kind.TEXT, max_length=640), nullable=True),
    Field("name", FieldType(Kind.TEXT, max_length=100)),
    Field("note", FieldType(Kind.TEXT), nullable=True),
    Field("story", FieldType(Kind.TEXT, max_length=641), nullable=True),
    Field("number", FieldType(Kind.INTEGER), nullable=True),
    Field("level", FieldType(Kind.ENUM, choices=("low", "high")), nullable=True),
    name="contract_patterns",
)
HOSTILE = (
    *("", " ", "a", "A", "b", "ab", "aa", "aaa", "abab", "abc", "ac", "a b", "a_b", "a-b", "a.b"),
    *("\n", "a\n", "\na", "a\nb", "a\r", "\r", "\r\n", "a\r\n", "a\u2028", "\u2028", "\u2029"),
    *("\x85", "a\x85b", "\t", "\x0b", "\x0c", "\x1c", "\xa0", "\u3000", "\x01", "\x7f", "\ufeff"),
    *("\U0001f600", "a\U0001f600", "\U0001f600\U0001f601", "\U0010ffff", "\ud7ff", "\ue000"),
    *("\uffff", "e\u0301", "\xe9", "\u0301", "\u00df", "ss", "\u017f", "s", "S", "K", "\u212a"),
    *("i", "I", "\u0130", "\u0131", "\u0660", "\uff11", "1", "42", "2026-01-31", "\u01c5"),
    *("\\", "\\d", "\\n", "[a]", "]", "^", "^a", "$", "a$", "(a)", "{", "a{2}", "{}", "a|b", "|"),
    *(
        "*",
        "a*",
        "?",
        "+",
        "-",
        "&&",
        "a&&b",
        "#",
        "a #b",
        "~",
        "%",
        "_",
        "'",
        '"',
        "`",
        "/",
        "://",
    ),
    *(":", "[:alpha:]", "<", ">", "=", "!", ",", ";", "@", "ann@example.org", "***:a", "(?i)a"),
    *("a" * 300, "a" * 640, "ab" * 100, "\U0001f600" * 640, "\n" * 5, "word word word"),
)
ROWS = tuple(
    row_of(at, code=text, name="n", note=None, story=None, number=None, level=None)
    for at, text in enumerate((*HOSTILE, None))
)
CONSTRUCTS = (
    *("a", "A", "ab", "a|b", "a|ab|abc", "(a|b)c?", "(?:ab)+", "(ab){2}", "((a)(b))*", "a|(b|(c))"),
    *("a?", "a*", "a+", "a{2}", "a{2,}", "a{1,2}", "a{0,3}", "a{255}", "a{0,255}", "(?:ab){1,255}"),
    *(".", ".*", ".+", "a.", "..", ".{2,3}", "a.b", r"(?:.|\n)*", r"[\s\S]*", r"[\d\D]+", r"[^a]*"),
    *("[a]", "[ab]", "[a-c]+", "[^a]", "[^a-z]", "[^\n]+", r"[^\n]+", r"[a\-c]+", "[-a]+", "[a-]+"),
    *(r"\d", r"\d+", r"\w+", r"\s", r"\s+", r"\D+", r"\W", r"\W+", r"\S+", r"[\w-]+", r"[\s\d]+"),
    *(
        r"[^\w]",
        r"[^\s]+",
        r"[^\W_]+",
        r"[\Wa]+",
        r"\d{4}-\d{2}-\d{2}",
        r"[\]\[]a?[\]]?",
        r"[\^a]+",
    ),
    *(
        "[a^]+",
        r"\\",
        r"\\.",
        r"[\\a-z]+",
        r"\.",
        r"a\.b",
        r"\^a?",
        r"a?\$",
        r"\(a\)",
        r"\{\}?",
        "}",
    ),
    *(r"a\{2\}", r"a\|b", r"\|", r"\*", r"a\*", r"\?", r"\+", r"\-", "-", r"[+*?]", r"[|&~]", "]"),
    *(r"a\&\&b", "a&&b", r"\#", "#", "a #b", r"\~", "~", "%", "_", "'", '"', "`", "/", "://", ":"),
    *(r"\[:alpha:\]", r"\<", "<", ">", "=", "!", ",", ";", "@", r"\@", r"\'", r"\"", r"\`", r"\/"),
    *(
        r"\n",
        r"a\n",
        r"\n+",
        r"\r",
        r"\r\n",
        r"\t",
        r"\v",
        r"\f",
        r"\a?",
        "\n",
        "a\nb",
        "\t",
        " ",
        r"\ ",
    ),
    *("[ \t]", r"[\x09-\x0d]+", r"\x41", r"\x85", "\x85", r"\u2028", "\u2028", r"[\u2028\u2029]"),
    *(r"[\x01-\x1f]+", "\U0001f600", r"\U0001f600", "\U0001f600+", "[\U0001f600-\U0001f601]+"),
    *("[^\U0001f600]", r"[\ue000-\uffff]", r"[\U00010000-\U0010ffff]+", "\U0010ffff", "\ud7ff"),
    *("e\u0301", "\xe9", "e.", "[\xe9]", "[e\u0301]+", "\u0301", "\xdf", "ss", "[\xdf]", "s", "S"),
    *("\u017f", "[s-t]", "[A-Z]", "[a-z]", "[A-z]", "k", "K", "\u212a", "i", "\u0130", "\u0131"),
    *("[\u0130-\u0131]", "\u0660", r"[\u0660-\u0669]", "\ufeff", "\xa0", "\u3000", "\u01c5"),
    *(r"\*\*\*:a", r"\(\?i\)a", r"[a-z0-9._-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+", r"(?:[a-z]+ )*[a-z]+"),
    *("[a-z]+(?: [a-z]+)*", "(?:a|b|ab)c?", "(a?b?c?)", "(?:a?)", "[:alpha:]+", ".*b.*", "a.*a"),
    *("[a-z]*[a-b]*", "[^b]*b[^b]*", "\U0001f600{255}\U0001f600+"),
)
REFUSED = (
    *(
        "",
        "a||b",
        "|a",
        "a|",
        "()",
        "(?:)",
        "a()",
        "(a",
        "a)",
        "(",
        ")",
        "[",
        "[a",
        "[]",
        "[^]",
        "[]a]",
    ),
    *("^a", "a$", "^", "$", "a^b", "a$b", r"\Aa", r"a\Z", r"a\z", r"\ba", r"a\B", r"\Ga", r"\Ka"),
    *(
        "(?i)a",
        "(?s).",
        "(?m)a",
        "(?x) a",
        "(?-i)a",
        "(?i:a)",
        "(?=a)a",
        "(?!b)a",
        "(?<=a)b",
        "(?<!a)b",
    ),
    *(
        "(?P<x>a)",
        "(?<x>a)",
        "(?P=x)",
        "(?>a)",
        "(?#a)",
        "(?|a)",
        "(?R)",
        "(?1)",
        "(*UTF)a",
        "***=a",
    ),
    *(r"(a)\1", r"\1", r"\0", r"\07", r"\k<x>", r"\g1", r"\Q.\E", r"\N{DIGIT ONE}", r"\R", r"\X"),
    *(
        r"\p{L}",
        r"\pL",
        r"\P{L}",
        r"\h",
        r"\H",
        r"\V",
        r"\y",
        r"\m",
        r"\M",
        r"\e",
        r"\cA",
        r"\x",
        r"\x4",
    ),
    *(r"\xg0", r"\u12", r"\U0000004", r"\x00", r"\ud800", r"\U00110000", "\\", "a\\", "[\\"),
    *(
        "a**",
        "a+*",
        "a??",
        "a*?",
        "a+?",
        "a{2}?",
        "a*+",
        "a++",
        "a?+",
        "a{2}+",
        "a{2}{3}",
        "*",
        "+a",
    ),
    *("?", "a|*", "(+)", "{", "{2}", "a{", "a{}", "a{,}", "a{,2}", "a{b}", "a{2", "a{2,", "a{2,3"),
    *(
        "a{-1}",
        "a{ 2}",
        "a{3,2}",
        "a{0}",
        "a{0,0}",
        "a{256}",
        "a{1,256}",
        "a{256,}",
        "a{99999999999}",
    ),
    *("[[:alpha:]]", "[a[b]]", "[[.a.]]", "[[=a=]]", "[a&&b]", "[a--b]"),
    *("[a||b]", "[a~~b]", "[z-a]", r"[a-\d]", r"[\d-z]", "[a-b-c]", "[+--]"),
    *(
        r"[\b]",
        r"[\B]",
        r"[\A]",
        r"[\1]",
        r"[\p{L}]",
        r"[^\s\S]",
        r"[^\d\D]",
        "a" * 501,
        "(" * 21 + "a" + ")" * 21,
    ),
    "(?:a{255}){255}",
)
EXPLOSIVE = (
    *(
        "(a+)+",
        "(a*)*",
        "(a+)*b",
        "([a-z]+)*",
        "(?:a|aa)+",
        "(a|a?)+",
        "(?:.*a){10}",
        "(.*)*",
        "(a?)*",
    ),
    *("(?:a+a+)+b", "(?:[a-z]+)+[0-9]", r"(?:\w+\s?)*", "(?:a*b*)*", "((ab?)+)+", "(?:a|b|ab)*c"),
    *(
        ".*a.*b.*",
        "[a-z]*[a-z]*[a-z]*",
        "a*a*a*",
        r"\w+\w+\w+",
        r"\s*\s*\s*",
        ".*.*.*x",
        "a+b*[ab]*a*[ab]+",
    ),
    *(
        "a?" * 24 + "a" * 24,
        "(?:a|aa)" * 24,
        "a{0,255}a{0,255}a{0,255}",
        "(?:a{0,9}){0,99}",
    ),
    *("(?:a{1,9}b?)*", "(?:(?:a|b)*|c)*", "(?:a*)+", "(?:a{2,}){2,}", "(?:[a-y]*z?[a-y]*)*"),
)


async def _filled(store: Backend) -> Backend:
    """Add the rows; an example of a law may find them already there."""
    await store.execute(Ensure((NOTES,)))
    if not await store.execute(CountDocuments(NOTES)):
        await add(store, NOTES, *ROWS)
    return store


async def _divides(store: Backend, pattern: str) -> None:
    """Check that a pattern matches what Python says, and its negation all others, null too."""
    whole = re.compile(pattern, re.ASCII).fullmatch
    holds = [row for row in ROWS if isinstance(row["code"], str) and whole(row["code"])]
    found = ids(await stored(store, NOTES, F.code.matches(pattern)))
    assert found == ids(holds), ascii(pattern)
    rest = ids(await stored(store, NOTES, ~F.code.matches(pattern)))
    assert sorted((*found, *rest)) == sorted(ids(ROWS)), ascii(pattern)


class TestPatterns(Contract):
    """A pattern is held against the whole text, and means what Python's `re` says of ASCII."""

    @proves("C6")
    async def test_every_construct_matches_what_python_matches(self, store: Backend) -> None:
        """Of texts with ends of lines, other planes, marks, signs: f and ~f divide the rows."""
        await _filled(store)
        for pattern in CONSTRUCTS:
            await _divides(store, pattern)

    @proves("C6", "C8")
    @laws
    @given(patterns())
    async def test_any_pattern_divides_the_documents(self, store: Backend, pattern: str) -> None:
        """A pattern of the subset matches what Python matches, and its negation everything else."""
        await _divides(await _filled(store), pattern)

    async def test_a_pattern_stands_in_every_kind_of_question(self, store: Backend) -> None:
        """In a count, an aggregate, a page, beside other tests, and twice in one filter."""
        await _filled(store)
        where = (F.code.matches(r"[a-z].*") | F.code.is_null()) & ~F.code.matches(".{3,}")
        wanted = selected(ROWS, where)
        assert 10 < len(wanted) < len(ROWS)
        assert await store.execute(CountDocuments(NOTES, where)) == len(wanted)
        page = await store.execute(Find(NOTES, where, limit=5))
        rest = await store.execute(Find(NOTES, where, after=(page[-1]["id"],)))
        assert ids((*page, *rest)) == ids(wanted)
        (group,) = await store.execute(Aggregate(NOTES, (Measure(Function.COUNT),), where))
        assert group.values == (len(wanted),)

    async def test_a_field_that_is_never_null_is_matched(self, store: Backend) -> None:
        """And its negation holds for the rows that do not match, and no others."""
        await _filled(store)
        assert await store.execute(CountDocuments(NOTES, F.name.matches("n"))) == len(ROWS)
        assert await store.execute(CountDocuments(NOTES, ~F.name.matches("n"))) == 0
        assert await store.execute(CountDocuments(NOTES, ~F.name.matches("N"))) == len(ROWS)

    @proves("C6")
    async def test_what_is_not_of_the_subset_is_refused(self, store: Backend) -> None:
        """Before any I/O, with the field, a way out and a position, and never with the pattern."""
        absent = replace(NOTES, name=f"made_{uuid4().hex[:12]}")
        for pattern in REFUSED:
            for where in (F.code.matches(pattern), ~F.code.matches(pattern) | (F.number == 1)):
                with pytest.raises(InvalidRequestError) as error:
                    await store.execute(CountDocuments(absent, where))
                assert type(error.value) is InvalidRequestError, ascii(pattern)
                assert error.value.field == "code"
                assert error.value.hint, ascii(pattern)
        for marked in (
            "zebra(?=x)",
            "zebra\\b",
            "zebra[",
            "zebra{3,1}",
            "(zebra?a+)+",
            "zebra" * 101,
        ):
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(CountDocuments(absent, F.code.matches(marked)))
            assert "zebra" not in f"{error.value}"

    @proves("C6")
    @pytest.mark.parametrize("pattern", EXPLOSIVE)
    async def test_what_may_take_long_is_refused(self, store: Backend, pattern: str) -> None:
        """A text is never divided in more ways than each server tries in time."""
        absent = replace(NOTES, name=f"made_{uuid4().hex[:12]}")
        with pytest.raises(InvalidRequestError, match="at position") as error:
            await store.execute(CountDocuments(absent, F.code.matches(pattern)))
        assert error.value.field == "code"

    async def test_only_texts_with_a_bound_are_matched(self, store: Backend) -> None:
        """MaxLength is at most 640; no number, enum, other field or None stands for a text."""
        absent = replace(NOTES, name=f"made_{uuid4().hex[:12]}")
        wrong: tuple[Filter, ...] = (
            F.note.matches("a"),
            F.story.matches("a"),
            F.number.matches("1"),
            F.level.matches("low"),
            Test("code", Operator.MATCHES, OtherField("name")),
            Test("code", Operator.MATCHES, None),
            Test("code", Operator.MATCHES, 1),
            Test("code", Operator.MATCHES, ("a",)),
        )
        for where in wrong:
            for asked in (where, Not(where)):
                with pytest.raises(InvalidRequestError):
                    await store.execute(CountDocuments(absent, asked))
        for pattern in ("a\x00", "\ud800"):
            with pytest.raises(RefusedValueError) as error:
                await store.execute(CountDocuments(absent, F.code.matches(pattern)))
            assert error.value.field == "code"

    async def test_a_check_holds_no_pattern(self, store: Backend) -> None:
        """It is refused where it is defined, with the check, the field and another way."""
        del store
        for rule in (F.code.matches("a+"), ~(F.code.matches("a+") & (F.number > 1))):
            with pytest.raises(ConfigurationError, match="'coded'") as error:
                replace(NOTES, checks=(Check("coded", rule),))
            assert error.value.field == "code"
            assert "pattern" in error.value.hint

    @proves("C6")
    async def test_a_costly_pattern_ends_on_every_text(self, store: Backend) -> None:
        """Two parts without bounds that overlap, on the longest texts: answered, not given up."""
        await _filled(store)
        for pattern in ("a*a*", ".*a.*", "[^b]*a[^b]*", "(?:a|b)*a(?:a|b)*", "(?:aa)*a(?:aa)*"):
            await _divides(store, pattern)
            await _divides(store, f"(?:{pattern})X")

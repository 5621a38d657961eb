"""Long texts: sorted by their heads, compared whole, and never lost between pages."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthstore.abc import Backend
from healthstore.errors import InvalidRequestError
from healthstore.model.evaluate import aggregate, finish_aggregate, plan_aggregate
from healthstore.model.ops import (
    Aggregate,
    Count,
    CountDocuments,
    Ensure,
    Find,
    Max,
    Min,
    Sum,
)
from healthstore.model.query import ALL, MAX_PATTERN, F, Filter, Order, Test, parse_order
from healthstore.model.values import SORTED_TEXT, Document, Value
from healthstore.testing.contract._promises import Contract, laws, proves
from healthstore.testing.contract._samples import (
    EVERYTHING,
    add,
    everything,
    identity,
    ids,
    selected,
)
from healthstore.testing.contract.filters import COMPARISONS

__all__ = ("TestLongTexts",)

WIDE = "\U0001f600"  # four bytes, two UTF-16 units
SUFFIXES = ("", "b", "a", "c", "ab", "b")
# What databases compare of a text when they sort it, by default or at most, and our own limit.
LENGTHS = (("x", 1_024), (WIDE, 17_000), ("x", 66_000))
ORDERS = (["text"], ["-text"], ["flag", "-text"], ["text", "-number"], ["-text", "number"])
EDGE_TEXTS = st.builds(
    lambda letters, length, tail: (letters * SORTED_TEXT)[:length] + tail,
    st.sampled_from(["a", WIDE, "ab"]),
    st.integers(SORTED_TEXT - 2, SORTED_TEXT + 1),
    st.sampled_from(["", "a", "b", "\uffff", WIDE]),
)


def _rows(*texts: str | None) -> list[Document]:
    """Return documents with these texts, whose ids and numbers run in other directions."""
    return [
        everything(id=identity(at * 7 % 101), text=text, number=at * 5 % 7, flag=at % 2 == 0)
        for at, text in enumerate(texts)
    ]


def _around(letter: str, length: int) -> list[Document]:
    """Return documents whose texts begin alike, beside short ones and None."""
    head = letter * length
    heads = (head, head[:SORTED_TEXT], head[: SORTED_TEXT - 1])
    alike = [head + suffix for head, suffix in product(heads, SUFFIXES)]
    return _rows(*alike, None, "", None, letter, "y", head[:-1])


async def _pages(store: Backend, order: tuple[Order, ...], size: int, most: int) -> list[Document]:
    """Return what all pages of a size hold together, as far as they end."""
    found: list[Document] = []
    position: tuple[Value, ...] | None = None
    while len(found) <= most:
        page = await store.execute(Find(EVERYTHING, ALL, order, size, position))
        found.extend(page)
        if len(page) < size:
            break
        position = tuple(page[-1][key.field] for key in order)
    return found


class TestLongTexts(Contract):
    """Texts of any length are compared exactly, and sorted by their first code points."""

    @proves("C3", "W13")
    @pytest.mark.parametrize(("letter", "length"), LENGTHS)
    async def test_pages_of_long_texts_make_up_the_whole(
        self, store: Backend, letter: str, length: int
    ) -> None:
        """Texts that begin alike come exactly once in pages of one, two and seven, each way."""
        rows = _around(letter, length)
        await add(store, EVERYTHING, *rows)
        for keys in ORDERS:
            order = parse_order(keys)
            whole = ids(selected(rows, ALL, order))
            for size in (1, 2, 7) if keys[0] in {"text", "-text"} else (7,):
                pages = await _pages(store, order, size, len(rows))
                assert ids(pages) == whole, (keys, size)

    @settings(laws, max_examples=12)
    @given(
        st.lists(EDGE_TEXTS | st.none(), min_size=2, max_size=9),
        st.sampled_from(ORDERS),
        st.integers(1, 3),
    )
    async def test_pages_cross_the_end_of_what_is_sorted(
        self, store: Backend, texts: list[str | None], keys: list[str], size: int
    ) -> None:
        """Texts that end or differ around the last code point that counts are in order."""
        await store.execute(Ensure((EVERYTHING,)))
        begun = await store.execute(CountDocuments(EVERYTHING))
        rows = [
            {**row, "id": identity(1_000 * begun + at), "label": f"{begun}"}
            for at, row in enumerate(_rows(*texts))
        ]
        await add(store, EVERYTHING, *rows)
        order = parse_order(keys)
        mine = F.label == f"{begun}"
        whole = selected(rows, ALL, order)
        for at in range(len(rows)):
            position = tuple(whole[at][key.field] for key in order)
            page = await store.execute(Find(EVERYTHING, mine, order, size, position))
            assert ids(page) == ids(whole[at + 1 : at + 1 + size])

    async def test_long_texts_that_begin_alike_are_ordered_by_the_next_key(
        self, store: Backend
    ) -> None:
        """Of a text its first 1,000 code points count, however many bytes they take."""
        head = WIDE * SORTED_TEXT
        rows = [everything(id=identity(at), text=head + "cab"[at]) for at in range(3)]
        rows.append(everything(id=identity(3), text=head[:-1] + "\uffff"))
        await add(store, EVERYTHING, *rows)
        found = await store.execute(Find(EVERYTHING, order=parse_order(["text"])))
        assert ids(found) == ids([rows[3], *rows[:3]])
        found = await store.execute(Find(EVERYTHING, order=parse_order(["-text", "-id"])))
        assert ids(found) == ids([rows[2], rows[1], rows[0], rows[3]])

    async def test_texts_longer_than_a_servers_sort_buffer_are_sorted(self, store: Backend) -> None:
        """Texts of 2,500,000 characters are sorted like short ones."""
        rows = _rows(*(letter + "x" * 2_500_000 for letter in "cab"))
        await add(store, EVERYTHING, *rows)
        for keys in (["text"], ["-text"]):
            order = parse_order(keys)
            found = await store.execute(Find(EVERYTHING, order=order))
            assert ids(found) == ids(selected(rows, ALL, order))

    @proves("C1", "C3")
    @pytest.mark.parametrize(("letter", "length"), LENGTHS)
    async def test_long_texts_are_compared_whole(
        self, store: Backend, letter: str, length: int
    ) -> None:
        """Filters, groups, minima and maxima see a text to its last code point."""
        rows = _around(letter, length)
        await add(store, EVERYTHING, *rows)
        head = letter * length
        for text in (head, head + "a", head + "b", head[:SORTED_TEXT]):
            tests: list[Filter] = [Test("text", operator, text) for operator in COMPARISONS]
            tests += [F.text.startswith(text), ~F.text.startswith(text)]
            tests += [F.text.in_([text, head + "c"]), F.text.not_in([text, None])]
            for where in tests:
                count = await store.execute(CountDocuments(EVERYTHING, where))
                assert count == len(selected(rows, where)), where
        measures = (Count(), Sum("number"), Min("number"))
        for op in (
            Aggregate(EVERYTHING, measures, group=("text",)),
            Aggregate(EVERYTHING, (Min("text"), Max("text"))),
            Aggregate(EVERYTHING, (Min("text"), Max("text")), group=("flag",)),
        ):
            wanted = finish_aggregate(op, aggregate(plan_aggregate(op), rows))
            assert await store.execute(op) == wanted

    async def test_a_search_may_be_as_long_as_its_limit(self, store: Backend) -> None:
        """MAX_PATTERN bytes are looked for, and no more: letters, wide ones and escaped ones."""
        for part in ("x" * MAX_PATTERN, WIDE * (MAX_PATTERN // 4), "." * (MAX_PATTERN // 2)):
            texts = (part, f"a{part}", f"{part}b", part[:-1] + "y", part[1:])
            label = part[0]
            rows = [everything(text=text, label=label) for text in texts]
            await add(store, EVERYTHING, *rows)
            for test in (F.text.contains(part), F.text.endswith(part), F.text.startswith(part)):
                for where in (test, ~test):
                    count = await store.execute(
                        CountDocuments(EVERYTHING, where & (F.label == label))
                    )
                    assert count == len(selected(rows, where))
            for beyond in (F.text.contains(part + part[0]), ~F.text.endswith(part + part[0])):
                with pytest.raises(InvalidRequestError) as error:
                    await store.execute(CountDocuments(EVERYTHING, beyond))
                assert str(MAX_PATTERN) in error.value.message
                assert (error.value.field, bool(error.value.hint)) == ("text", True)
            longer = F.text.startswith(part + part[0])
            assert await store.execute(CountDocuments(EVERYTHING, longer)) == 0

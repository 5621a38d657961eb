"""Searching for words: the same documents in the same rank everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import pytest

from healthstore.abc import Backend
from healthstore.entity import Entity, MaxLength, Search, collection_of
from healthstore.errors import (
    ConfigurationError,
    InvalidRequestError,
    RefusedValueError,
    SchemaChangeError,
    UnknownFieldError,
)
from healthstore.model.ops import (
    Alter,
    Ensure,
    ExplainFind,
    Find,
    Insert,
    RefreshStatistics,
    Rename,
)
from healthstore.model.query import WORDS, F, Filter, Operator, Test
from healthstore.model.schema import Field
from healthstore.model.text import words_in
from healthstore.model.values import FieldType, Kind
from healthstore.repository import Repository
from healthstore.testing.contract._altered import definition_of, prepare, row_of, things
from healthstore.testing.contract._promises import Contract, needs_alterations, proves
from healthstore.testing.contract._samples import add_entities, identity, ids, selected, stored

__all__ = ("TestSearches",)


class _Note(Entity, collection="contract_search", indexes=[Search("title", "text")]):
    """A note in whose texts one searches, and in whose code one does not."""

    title: Annotated[str, MaxLength(100)] | None = None
    text: str
    code: str = ""
    number: int = 0


NOTES = collection_of(_Note)
TEXTS: tuple[tuple[str | None, str], ...] = (
    ("Noodle soup", "with noodles"),
    (None, "A soup. NOODLE, soup!"),
    ("Straße", "STRASSE strasse"),
    ("tea", "Ångström's tea; ﬁne \u212b"),
    ("Soup", ""),
    (None, ""),
    ("of the day", 'The soup of the day is a noodle_soup, 50% off, x\'y "z" \\ $in'),
    ("noodle", "the tea of the day"),
    ("日本語 text", "ὈΔΥΣΣΕΎΣ and İstanbul"),
    ("soup soup soup", "soup"),
    ("day", "a noodle a day, the soup of it"),
    ("%", "... --- !!!"),
)
SEARCHES = (
    "noodle soup",
    "SOUP",
    "noodle soup of the day",
    "strasse",
    "straße tea",
    "ångström fine",
    "ὀδυσσεύς",
    "İSTANBUL text",
    "noodle_soup 50",
    "日本語",
    "nowhere",
    "noodl",
    "z y x in",
)

_WRONG: Sequence[tuple[Any, dict[str, Any]]] = (
    ("a b c d e f g h i", {}),
    ("x" * 1_001, {}),
    (5, {}),
    ("a", {"limit": 0}),
    ("a", {"limit": 10_001}),
    ("a", {"after": "11nonsense"}),
    ("a", {"after": "21nonsense"}),
    ("a", {"after": ""}),
)


def _notes() -> list[_Note]:
    return [
        _Note(id=identity(at), title=title, text=text, number=at % 3, code="soup")
        for at, (title, text) in enumerate(TEXTS)
    ]


def _scan(notes: Iterable[_Note], text: str, *, by: str | None = None) -> list[UUID]:
    """Return what a search finds, by looking at the words of each note."""
    terms = set(words_in(text))
    ranked = [
        (-len(terms.intersection(words_in(f"{each.title or ''} {each.text}"))), each)
        for each in notes
    ]
    found = [(rank, each) for rank, each in ranked if rank]

    def place(ranked: tuple[int, _Note]) -> tuple[Any, ...]:
        rank, each = ranked
        return rank, -each.number if by == "-number" else 0, each.id

    return [each.id for _, each in sorted(found, key=place)]


async def _filled(store: Backend) -> Repository[_Note]:
    await store.execute(Ensure((NOTES,)))
    notes = Repository(_Note, store)
    await add_entities(notes, store, _notes())
    return notes


def _of(page: Iterable[_Note]) -> list[UUID]:
    return [each.id for each in page]


class TestSearches(Contract):
    """A search finds words, and ranks by how many of them it has found."""

    @proves("C14")
    @pytest.mark.parametrize("text", SEARCHES, ids=range(len(SEARCHES)))
    async def test_hits_are_those_of_a_scan_in_the_same_rank(
        self, store: Backend, text: str
    ) -> None:
        """Whole words where case does not count, in any of the texts; most of them first, then the id."""
        notes = await _filled(store)
        assert _of(await notes.search(text)) == _scan(_notes(), text)
        ordered = await notes.search(text, order=["-number"])
        assert _of(ordered) == _scan(_notes(), text, by="-number")

    @proves("C14")
    @pytest.mark.parametrize("limit", [1, 2, 3, 5])
    async def test_pages_of_a_search_concatenate(self, store: Backend, limit: int) -> None:
        """Of any size, across ranks; the last one has no next."""
        notes = await _filled(store)
        for text in ("noodle soup of the day", "soup tea", "soup", "nowhere"):
            found: list[UUID] = []
            token: str | None = None
            while True:
                page = await notes.search(text, order=["-number"], limit=limit, after=token)
                assert len(page) <= limit
                assert page.previous is None
                found += _of(page)
                token = page.next
                if token is None:
                    break
                assert len(page) == limit
            assert found == _scan(_notes(), text, by="-number"), text

    @proves("C14")
    async def test_filters_hold_for_what_is_found(self, store: Backend) -> None:
        """With each of the words, or with none that is a word, a search finds what they leave."""
        notes = await _filled(store)
        left = [each for each in _notes() if each.number != 1]
        page = await notes.search("noodle soup day", F.number != 1)
        assert _of(page) == _scan(left, "noodle soup day")
        for nothing in ("", "!!! ...", "%"):
            page = await notes.search(nothing)
            assert (page.items, page.next) == ((), None)

    @proves("C14")
    async def test_every_write_keeps_the_words(self, store: Backend) -> None:
        """Updated, or replaced by None, a text is found by the words that it has now."""
        notes = await _filled(store)
        await notes.update(identity(0), {"title": "Bread", "text": "and butter"})
        await notes.update(identity(1), {"text": "bread"})
        await notes.update(identity(4), {"title": None})
        whole = await notes.get(identity(3))
        assert whole is not None
        await notes.upsert(whole.model_copy(update={"text": "bread soup"}))
        await notes.delete(identity(9))
        now = [each async for each in notes.stream()]
        for text in ("soup", "bread butter", "noodle bread soup"):
            assert _of(await notes.search(text)) == _scan(now, text)

    @proves("C14")
    async def test_words_are_a_filter_with_a_negation(self, store: Backend) -> None:
        """What has them, and what has not, share out all documents; what is None has no word."""
        await _filled(store)
        rows = await stored(store, NOTES)
        for operator in (Operator.HAS_ANY, Operator.HAS_ALL):
            for name in NOTES.searched:
                test = Test(name, operator, ("SOUP", "noodle"), None, WORDS)
                both: tuple[Filter, ...] = (test, ~test)
                for where in both:
                    canonical = Test(name, operator, ("soup", "noodle"), None, WORDS)
                    meant: Filter = canonical if where is test else ~canonical
                    assert await stored(store, NOTES, where) == selected(rows, meant)

    @proves("C14")
    async def test_no_document_shows_its_words(self, store: Backend) -> None:
        """What is read has the declared fields, and a digest nothing else."""
        await _filled(store)
        found = await stored(store, NOTES)
        assert all(tuple(each) == NOTES.names for each in found)

    @proves("C14")
    async def test_what_is_no_search_is_refused(self, store: Backend) -> None:
        """Before any I/O: too many words, no text, a limit, a foreign position, no Search at all."""
        notes = Repository(_Note, store)  # the collection is not even there
        for text, options in _WRONG:
            with pytest.raises(InvalidRequestError) as error:
                await notes.search(text, **options)
            assert error.value.entity == "_Note"

        class Plain(Entity, collection="contract_plain"):
            text: str

        with pytest.raises(InvalidRequestError, match="not searched"):
            await Repository(Plain, store).search("a")
        with pytest.raises(InvalidRequestError) as refused:
            await store.execute(Find(NOTES, Test("code", Operator.HAS_ANY, ("a",), None, WORDS)))
        assert refused.value.field == "code"

    @proves("C14")
    async def test_a_position_of_another_search_is_refused(self, store: Backend) -> None:
        """Of another order, of other filters, and of another number of words."""
        notes = await _filled(store)
        token = (await notes.search("noodle soup", limit=1)).next
        assert token is not None
        for text, filters, order in (
            ("noodle soup", (), ["number"]),
            ("noodle soup", (F.number > 0,), []),
            ("soup", (), []),
        ):
            with pytest.raises(InvalidRequestError, match="does not belong"):
                await notes.search(text, *filters, order=order, after=token)
        token = (await notes.search("a b c d e noodle the soup", limit=1)).next
        with pytest.raises(InvalidRequestError, match="does not belong"):
            await notes.search("a b c d e noodle the", after=token)

    @proves("C14")
    async def test_a_text_of_too_many_words_is_refused(self, store: Backend) -> None:
        """At most 10,000 that differ are kept; others count once."""
        notes = await _filled(store)
        fits = " ".join(f"w{at}" for at in range(10_000))
        await notes.add(_Note(id=identity(500), text=f"{fits} {fits}"))
        assert _of(await notes.search("W9999")) == [identity(500)]
        with pytest.raises(RefusedValueError) as error:
            await notes.add(_Note(text=f"{fits} more"))
        assert error.value.field == "text"

    @proves("C14")
    async def test_a_wrong_search_is_refused_where_it_is_defined(self, store: Backend) -> None:
        """Of a field that is not there, of one that is no text, of none, and two of them."""
        del store
        for search, error in (
            ([Search("nothing")], UnknownFieldError),
            ([Search("number")], ConfigurationError),
            ([Search()], ConfigurationError),
            ([Search("text"), Search("number")], ConfigurationError),
        ):

            class Wrong(Entity, collection="contract_wrong", indexes=search):
                text: str
                number: int

            with pytest.raises(error):
                collection_of(Wrong)

    @proves("C14")
    @needs_alterations
    async def test_a_searched_text_comes_and_is_renamed(self, store: Backend) -> None:
        """A new field has the words of its default; a field that is there is no additive change."""
        words = FieldType(Kind.TEXT, words=True)
        before = things(Field("code", FieldType(Kind.TEXT)))
        await prepare(store, before, row_of(1, code="a"), row_of(2, code="b"))
        after = replace(before, fields=(*before.fields, Field("note", words, default="Straße 5")))
        assert await store.execute(Alter(before, after))
        assert await definition_of(store, before.name) == after
        test = Test("note", Operator.HAS_ANY, ("strasse",), None, WORDS)
        assert ids(await stored(store, after, test)) == (identity(1), identity(2))
        named = replace(after, fields=(*before.fields, replace(after.fields[-1], name="remark")))
        await store.execute(Rename(after, named))
        assert len(await stored(store, named, replace(test, field="remark"))) == 2
        coded = replace(before, fields=(*before.fields[:-1], Field("code", words)))
        with pytest.raises(SchemaChangeError, match="code"):
            await store.execute(Alter(named, coded))

    @proves("C14")
    async def test_an_index_of_words_is_used_where_there_is_one(self, store: Backend) -> None:
        """The plan names it, or reads all; it holds no value."""
        made = things(Field("note", FieldType(Kind.TEXT, words=True)), name="contract_word_plans")
        rows = [row_of(at, note=f"word{at} each") for at in range(1_500)]
        await prepare(store, made)
        await store.execute(Insert(made, tuple(rows), atomic=store.capabilities.transactions))
        await store.execute(RefreshStatistics(made))
        test = Test("note", Operator.HAS_ANY, ("word1234",), None, WORDS)
        plan = await store.execute(ExplainFind(Find(made, test)))
        assert plan.index in {None, "id", *made.index_names}
        assert "word1234" not in f"{plan.statement} {plan.native}"
        assert ids(await stored(store, made, test)) == (identity(1234),)

"""Filters: every backend selects what the reference evaluator selects."""

from __future__ import annotations

from typing import cast
from uuid import UUID

import pytest
from hypothesis import given

from healthstore.abc import Backend
from healthstore.errors import InvalidRequestError, RefusedValueError, UnknownFieldError
from healthstore.model.ops import CountDocuments, Ensure, Find
from healthstore.model.query import ALL, NONE, And, F, Filter, Not, Operator, Or, Test
from healthstore.model.values import Json, Value
from healthstore.testing.contract._promises import Contract, laws, proves
from healthstore.testing.contract._samples import (
    EDGES,
    EVERYTHING,
    PEOPLE,
    add,
    every_row,
    everything,
    identity,
    ids,
    person,
    selected,
    stored,
)
from healthstore.testing.strategies import filters

__all__ = ("TestFilters",)

ROWS = every_row(30)
ORDERED = [name for name in EDGES if EVERYTHING.field(name).type.ordered]
COMPARISONS = (Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE)
# Pairs that a collation, a pad rule or a normal form would take for equal.
LOOKALIKES = (
    *(("a", "A"), ("a", "a "), ("a", " a"), ("a", "á"), ("é", "e\u0301"), ("ß", "ss"), ("i", "İ")),
    *(("", " "), ("ae", "æ"), ("\ufb01", "fi"), ("1", "\uff11"), ("a", "a\u200b"), ("\u0131", "i")),
    *(("\u00c5", "\u212b"), ("a", "a\t"), ("\u06a9", "\u0643"), ("\U0001f600", "\U0001f601")),
    ("1", "1.0"),
)
LITERALS = ("%", "_", "\\", "*", "?", ".", "^", "$", "[a]", "a|b", "(", "'", '"', "\\%", "\n", "%%")


async def _filled(store: Backend) -> Backend:
    """Add the rows; an example of a law may find them already there."""
    await store.execute(Ensure((EVERYTHING,)))
    if not await store.execute(CountDocuments(EVERYTHING)):
        await add(store, EVERYTHING, *ROWS)
    return store


async def _agrees(store: Backend, where: Filter) -> None:
    """Check that a filter selects what the reference evaluator selects."""
    wanted = [row["id"] for row in selected(ROWS, where)]
    found = await store.execute(Find(EVERYTHING, where))
    assert [row["id"] for row in found] == wanted


class TestFilters(Contract):
    """A filter means the same everywhere, nulls and text included."""

    @proves("C8")
    @pytest.mark.parametrize("field", ORDERED)
    async def test_every_comparison_agrees_with_the_reference(
        self, store: Backend, field: str
    ) -> None:
        """==, !=, <, <=, > and >= with every edge of a kind select what Python selects."""
        await _filled(store)
        for operator in COMPARISONS:
            for edge in EDGES[field]:
                await _agrees(store, Test(field, operator, edge))

    @proves("C8", "C9")
    @pytest.mark.parametrize("field", ORDERED)
    async def test_lists_and_negations_agree_with_the_reference(
        self, store: Backend, field: str
    ) -> None:
        """In, not in, is null and their negations select what Python selects."""
        await _filled(store)
        edges = EDGES[field]
        lists: tuple[tuple[Value, ...], ...] = ((), (None,), edges[:1], edges[1:], (*edges, None))
        for values in lists:
            for operator in (Operator.IN, Operator.NOT_IN):
                await _agrees(store, Test(field, operator, values))
                await _agrees(store, ~Test(field, operator, values))
        for operator in (*COMPARISONS, Operator.IS_NULL, Operator.NOT_NULL):
            await _agrees(store, ~Test(field, operator, edges[0]))
            await _agrees(store, Test(field, operator, None))
            await _agrees(store, ~Test(field, operator, None))

    @proves("C1", "C8")
    @laws
    @given(filters(EVERYTHING, ROWS))
    async def test_any_filter_agrees_with_the_reference(
        self, store: Backend, where: Filter
    ) -> None:
        """Any combination of tests selects, and counts, what the evaluator selects."""
        await _agrees(await _filled(store), where)
        count = await store.execute(CountDocuments(EVERYTHING, where))
        assert count == len(selected(ROWS, where))

    @proves("C8")
    @laws
    @given(filters(EVERYTHING, ROWS))
    async def test_a_filter_and_its_negation_divide_the_documents(
        self, store: Backend, where: Filter
    ) -> None:
        """Each document satisfies exactly one of f and ~f: null is never lost."""
        await _filled(store)
        holds = ids(await store.execute(Find(EVERYTHING, where)))
        fails = ids(await store.execute(Find(EVERYTHING, ~where)))
        assert sorted((*holds, *fails)) == sorted(ids(ROWS))

    @proves("C8", "C9")
    async def test_none_is_an_ordinary_value(self, store: Backend) -> None:
        """None equals None, differs from every value, and may stand in a list."""
        people = [person(1, name="Ann"), person(2, name="Bob"), person(3)]
        await add(store, PEOPLE, *people)
        cases: tuple[tuple[Filter, int], ...] = (
            (F.name == None, 1),  # noqa: E711 - a filter, not a comparison
            (F.name != None, 2),  # noqa: E711 - as above
            (F.name.is_null(), 1),
            (F.name.not_null(), 2),
            (F.name != "Ann", 2),
            (F.name.in_(["Ann", None]), 2),
            (F.name.not_in(["Ann", None]), 1),
            (F.name.not_in(["Ann"]), 2),
            (F.name.in_([]), 0),
            (F.name.not_in([]), 3),
            (F.name > "", 2),
            (~(F.name > ""), 1),
            (~F.name.contains("n"), 2),
            (F.email.is_null(), 0),
            (F.email.not_null(), 3),
            (F.email.in_([None]), 0),
            (F.email.not_in([None]), 3),
            (ALL, 3),
            (NONE, 0),
            (~ALL, 0),
        )
        for where, count in cases:
            assert await store.execute(CountDocuments(PEOPLE, where)) == count, where

    async def test_a_flag_is_true_false_or_nothing(self, store: Backend) -> None:
        """Is true and is false hold for that value only, not null for both of them."""
        rows = [
            everything(id=identity(at), flag=flag) for at, flag in enumerate((True, False, None))
        ]
        await add(store, EVERYTHING, *rows)
        yes, no, nothing = ids(rows)
        cases: tuple[tuple[Filter, tuple[UUID, ...]], ...] = (
            (F.flag.is_true(), (yes,)),
            (F.flag.is_false(), (no,)),
            (F.flag.not_null(), (yes, no)),
            (~F.flag.is_true(), (no, nothing)),
            (~F.flag.is_false(), (yes, nothing)),
            (~F.flag.not_null(), (nothing,)),
        )
        for where, wanted in cases:
            assert tuple(ids(await stored(store, EVERYTHING, where))) == wanted, where

    @proves("V16", "C1", "C2")
    @pytest.mark.parametrize(("text", "other"), LOOKALIKES)
    async def test_text_is_equal_only_to_itself(
        self, store: Backend, text: str, other: str
    ) -> None:
        """Case, accents, padding, width and normal form count, in ==, in, < and contains."""
        rows = [everything(text=text, label=text), everything(text=other, label=other)]
        await add(store, EVERYTHING, *rows)
        for field in (F.text, F.label):
            for where in (
                field == text,
                field.in_([text]),
                ~(field != text),
                (field <= text) & (field >= text),
            ):
                assert ids(await stored(store, EVERYTHING, where)) == ids(rows[:1]), where
            less = [row for row in rows if cast(str, row["text"]) < max(text, other)]
            found = await stored(store, EVERYTHING, field < max(text, other))
            assert ids(found) == ids(less)

    @proves("C5")
    @pytest.mark.parametrize("literal", LITERALS)
    async def test_searched_text_is_taken_literally(self, store: Backend, literal: str) -> None:
        """Wildcards, escapes and patterns of a database mean nothing in searched text."""
        texts = ("", "a", f"x{literal}y", f"{literal}y", f"x{literal}", literal, "xay", "%%%", "XY")
        rows = [everything(id=identity(at), text=text) for at, text in enumerate(texts)]
        rows.append(everything(id=identity(99)))
        await add(store, EVERYTHING, *rows)
        tests = (F.text.contains(literal), F.text.startswith(literal), F.text.endswith(literal))
        both: tuple[Filter, ...] = (*tests, *map(Not, tests))
        for where in both:
            assert await stored(store, EVERYTHING, where) == selected(rows, where), where

    @proves("C1", "C5")
    async def test_a_search_respects_case_accents_and_code_points(self, store: Backend) -> None:
        """Contains, starts with and ends with compare code points, also beyond the first plane."""
        texts = ("Café", "cafe", "CAFÉ", "Cafe\u0301", "\U0001f600 ok", "ok \U0001f600", " a ", "")
        rows = [everything(id=identity(at), text=text) for at, text in enumerate(texts)]
        await add(store, EVERYTHING, *rows)
        for part in ("é", "É", "e", "caf", "Caf", "\U0001f600", " ", "", "\u0301", "Café"):
            tests = (F.text.contains(part), F.text.startswith(part), F.text.endswith(part))
            both: tuple[Filter, ...] = (*tests, *map(Not, tests))
            for where in both:
                assert await stored(store, EVERYTHING, where) == selected(rows, where), where

    @proves("W7")
    async def test_a_list_may_hold_thousands_of_values(self, store: Backend) -> None:
        """In and not in take 2,000 values, some of them not stored."""
        people = [person(number, number=number, team="a") for number in range(40)]
        await add(store, PEOPLE, *people)
        numbers = (*range(20, 2_019), None)
        emails = [f"{number}@example.org" for number in numbers]
        assert await store.execute(CountDocuments(PEOPLE, F.number.in_(numbers))) == 20
        assert await store.execute(CountDocuments(PEOPLE, F.number.not_in(numbers))) == 20
        assert await store.execute(CountDocuments(PEOPLE, F.email.in_(emails))) == 20
        wanted = (*ids(people[:3]), *map(identity, range(1_997)))
        assert await store.execute(CountDocuments(PEOPLE, F.id.in_(wanted))) == 3

    @proves("W7")
    async def test_a_filter_may_have_thousands_of_parts(self, store: Backend) -> None:
        """An alternative of 1,200 conditions is answered, and so is a conjunction of them."""
        people = [person(number, number=number, team="a") for number in range(10)]
        await add(store, PEOPLE, *people)
        parts = tuple(And((F.number == at, F.visits == 0)) for at in range(5, 1_205))
        assert await store.execute(CountDocuments(PEOPLE, Or(parts))) == 5
        assert await store.execute(CountDocuments(PEOPLE, ~Or(parts))) == 5

    @proves("W7")
    async def test_a_filter_may_be_deep(self, store: Backend) -> None:
        """Ninety levels of alternation and negation are answered."""
        people = [person(number, number=number, team="a") for number in range(60)]
        await add(store, PEOPLE, *people)
        where: Filter = F.number == 0
        for level in range(1, 31):
            where = Not(And((F.number != level, Not(where))))
        found = await stored(store, PEOPLE, where)
        assert sorted(ids(found)) == sorted(ids(selected(people, where)))

    @proves("W7")
    async def test_a_filter_that_is_too_large_is_refused(self, store: Backend) -> None:
        """More than 5,000 parts or 100 levels are refused with another way."""
        await store.execute(Ensure((PEOPLE,)))
        wide = Or(tuple(F.number == at for at in range(5_001)))
        deep: Filter = F.number == 0
        for _ in range(100):
            deep = Not(deep)
        for where in (wide, deep):
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(CountDocuments(PEOPLE, where))
            assert error.value.hint

    async def test_an_unknown_field_is_refused_with_a_suggestion(self, store: Backend) -> None:
        """A misspelt field is an error before any I/O, and the nearest name is suggested."""
        await store.execute(Ensure((PEOPLE,)))
        for where in (F.nmae == "Ann", ~(F.nmae > "Ann"), Or((F.visits == 1, F.nmae.is_null()))):
            with pytest.raises(UnknownFieldError) as error:
                await store.execute(Find(PEOPLE, where))
            assert "'name'" in error.value.hint
            assert error.value.entity == "Person"

    async def test_a_test_that_has_no_meaning_is_refused(self, store: Backend) -> None:
        """JSON is not compared, numbers are not searched for text, in needs a list."""
        await store.execute(Ensure((EVERYTHING,)))
        wrong = (
            Test("data", Operator.EQ, 1),
            Test("data", Operator.IN, (1,)),
            Test("data", Operator.LT, 1),
            Test("data", Operator.CONTAINS, "x"),
            Test("number", Operator.CONTAINS, "1"),
            Test("level", Operator.STARTS, "l"),
            Test("text", Operator.IN, "abc"),
        )
        for where in wrong:
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(CountDocuments(EVERYTHING, where))
            assert error.value.field == where.field
        with pytest.raises(RefusedValueError):
            await store.execute(CountDocuments(EVERYTHING, Test("text", Operator.CONTAINS, None)))

    async def test_json_is_compared_with_none_only(self, store: Backend) -> None:
        """A JSON field is found by having a value or having none."""
        values: tuple[Json, ...] = (None, {}, [], 0, "")
        rows = [everything(id=identity(at), data=data) for at, data in enumerate(values)]
        await add(store, EVERYTHING, *rows)
        assert ids(await stored(store, EVERYTHING, F.data.is_null())) == ids(rows[:1])
        assert ids(await stored(store, EVERYTHING, ~F.data.is_null())) == ids(rows[1:])
        assert ids(await stored(store, EVERYTHING, F.data == None)) == ids(rows[:1])  # noqa: E711 - a filter

"""Percentiles, and the first and the last value by a field: what stands at a rank of Python's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import Backend
from healthstore.errors import InvalidRequestError, UnknownFieldError
from healthstore.model.evaluate import aggregate, finish_aggregate, matches, plan_aggregate
from healthstore.model.ops import (
    Aggregate,
    Avg,
    Bucket,
    Count,
    CountDistinct,
    CountDocuments,
    Ensure,
    First,
    Last,
    Measure,
    Percentile,
    Sum,
)
from healthstore.model.query import NONE, F, Filter
from healthstore.model.values import Value
from healthstore.testing.contract._promises import Contract, laws
from healthstore.testing.contract._samples import (
    EVERYTHING,
    READINGS,
    add,
    every_row,
    identity,
    reading,
    typed,
)
from healthstore.testing.strategies import filters

__all__ = ("TestRanks",)

RANKED = ("place", "kind", "day", "taken", "clock", "steps", "pulse", "weight", "dose", "rest")
SHARES = (0, 0.0001, 0.05, 0.07, 0.25, 0.29, 0.5, 0.57, 0.75, 0.9, 0.95, 0.999, 1)
ROWS = [
    reading(
        id=identity(at * 7 % 40),
        place=("a", "B", "á", None, "a ")[at % 5],
        kind=("pulse", "weight", "steps")[at % 3],
        day=None if at % 4 == 3 else date(2026, 1, 1 + at * 5 % 9),
        steps=None if at % 5 == 0 else at * at % 23 - 9,
        pulse=None if at % 7 == 0 else at * 3 % 11 / 8,
        weight=None if at % 3 == 0 else Decimal(at * 7 % 10).scaleb(-4),
        dose=None if at % 2 == 0 else Decimal(at - 20).scaleb(-8),
        rest=None if at % 4 == 0 else timedelta(microseconds=at * 7 % 30 - 15),
        taken=None if at % 5 == 4 else datetime(2026, 3, 28 + at % 3, 23, at % 4, tzinfo=UTC),
        clock=(None, time(9, 30), time(23, 59, 59, 999_999))[at % 3],
        valid=(None, True, False)[at % 3],
    )
    for at in range(40)
]
_PICKED = tuple(each.name for each in READINGS.fields)
_ORDERED = tuple(name for name in _PICKED if READINGS.field(name).type.ordered)
_MEASURES = st.lists(
    st.one_of(
        st.builds(Percentile, st.sampled_from(RANKED), st.sampled_from(SHARES)),
        st.builds(First, st.sampled_from(_PICKED), st.sampled_from(_ORDERED)),
        st.builds(Last, st.sampled_from(_PICKED), st.sampled_from(_ORDERED)),
        st.sampled_from([Count(), Avg("steps"), Sum("pulse"), CountDistinct("place")]),
    ),
    min_size=1,
    max_size=4,
)
_KEYS = st.lists(
    st.sampled_from(["place", "kind", "steps", Bucket("taken", "day", "Europe/Berlin")]),
    max_size=2,
    unique=True,
).map(tuple)


async def _measured(store: Backend, *measures: Measure) -> tuple[Value, ...]:
    (row,) = await store.execute(Aggregate(READINGS, measures))
    return row.values


class TestRanks(Contract):
    """A percentile is an observed value; first and last are of one document."""

    @laws
    @given(_MEASURES, _KEYS, filters(READINGS, ROWS))
    async def test_any_rank_agrees_with_the_reference(
        self,
        store: Backend,
        measures: Sequence[Measure],
        group: tuple[str | Bucket, ...],
        where: Filter,
    ) -> None:
        """Percentiles, first and last of any fields, by any groups, are the evaluator's."""
        await store.execute(Ensure((READINGS,)))
        if not await store.execute(CountDocuments(READINGS)):
            await add(store, READINGS, *ROWS)
        op = Aggregate(READINGS, tuple(measures), where, group)
        checked = replace(op, measures=tuple(map(_written, measures)))
        rows = aggregate(plan_aggregate(checked), filter(matches(where), ROWS))
        wanted = finish_aggregate(checked, rows)
        got = await store.execute(op)
        assert [typed((row.key, row.values)) for row in got] == [
            typed((row.key, row.values)) for row in wanted
        ]

    @pytest.mark.parametrize("count", [1, 2, 99, 100])
    async def test_a_percentile_is_the_nearest_rank(self, store: Backend, count: int) -> None:
        """Of n values it is that of number ceil(p * n), with p as it was written: 7 of 0.07."""
        await add(store, READINGS, *(reading(steps=at * 37 % count + 1) for at in range(count)))
        shares = [Decimal(part).scaleb(-2) for part in range(101)] + [Decimal("0.0001")]
        for start in range(0, len(shares), 30):
            some = shares[start : start + 30]
            got = await _measured(store, *(Percentile("steps", float(each)) for each in some))
            assert got == tuple(max(1, ceil(Fraction(each) * count)) for each in some)

    async def test_percentile_of_even_count(self, store: Backend) -> None:
        """The median of an even number of values is the lower one of two, and none between them."""
        await add(store, READINGS, *(reading(steps=each, pulse=each / 2) for each in (4, 1, 3, 2)))
        got = await _measured(store, Percentile("steps", 0.5), Percentile("pulse", Decimal("0.5")))
        assert typed(got) == typed((2, 1.0))

    async def test_percentile_is_stable(self, store: Backend) -> None:
        """Asked again, it is the same, of equal values, too."""
        await add(store, READINGS, *(reading(steps=at % 2, pulse=0.5) for at in range(50)))
        measures = [Percentile("steps", share) for share in SHARES] + [Percentile("pulse", 0.3)]
        first = await _measured(store, *measures)
        assert [await _measured(store, *measures) for _ in range(5)] == [first] * 5

    async def test_a_percentile_has_its_fields_own_type(self, store: Backend) -> None:
        """Texts, dates, times, durations, decimals: each is a stored value, in order of its kind."""
        rows = every_row(60)
        await add(store, EVERYTHING, *rows)
        names = [
            each.name
            for each in EVERYTHING.fields
            if each.type.kind not in {"json", "bytes", "boolean", "uuid"} and each.name != "text"
        ]
        for share in (Fraction(0), Fraction(1, 2), Fraction(9, 10), Fraction(1)):
            measures = tuple(Percentile(name, float(share)) for name in names)
            (row,) = await store.execute(Aggregate(EVERYTHING, measures))
            wanted = []
            for name in names:
                known = sorted(cast("list[int]", [r[name] for r in rows if r[name] is not None]))
                wanted.append(known[max(1, ceil(share * len(known))) - 1])
            assert typed(row.values) == typed(tuple(wanted))

    async def test_none_has_no_rank(self, store: Backend) -> None:
        """None is not counted; a group of nothing else, and of nothing, has no percentile."""
        await add(
            store,
            READINGS,
            *(reading(place="some", steps=each) for each in (None, 7, None, None, 9)),
            *(reading(place="none") for _ in range(3)),
        )
        measures = (Percentile("steps", 0), Percentile("steps", 0.5), Percentile("steps", 1))
        op = Aggregate(READINGS, measures, group=("place",))
        assert [row.values for row in await store.execute(op)] == [(None,) * 3, (7, 7, 9)]
        (row,) = await store.execute(Aggregate(READINGS, (*measures, Count()), NONE))
        assert row.values == (None, None, None, 0)

    async def test_first_and_last_are_of_one_document(self, store: Backend) -> None:
        """The values are those of the document, also where it has None."""
        await add(
            store,
            READINGS,
            reading(day=date(2026, 1, 2), steps=2, place="b"),
            reading(day=date(2026, 1, 1), steps=None, place="a"),
            reading(day=date(2026, 1, 3), steps=1, place=None),
        )
        measures = [pick(name, "day") for pick in (First, Last) for name in ("steps", "place")]
        assert await _measured(store, *measures) == (None, "a", 1, None)
        nothing = Aggregate(READINGS, tuple(measures), F.steps == 77)
        (row,) = await store.execute(nothing)
        assert row.values == (None,) * 4

    async def test_ties_are_broken_by_the_id(self, store: Backend) -> None:
        """Of documents that are equal in `by`, the smallest id is first and the greatest is last."""
        for at in (5, 1, 9, 3, 7):
            await add(store, READINGS, reading(id=identity(at), steps=at, day=date(2026, 1, 1)))
        assert await _measured(store, First("steps", "day"), Last("steps", by="day")) == (1, 9)
        assert await _measured(store, First("steps", "id"), Last("steps", "id")) == (1, 9)

    async def test_none_is_smallest_in_by(self, store: Backend) -> None:
        """A document without a `by` is before all others, so it is last only where all are such."""
        days = (date(2026, 1, 1), None, None, date(2026, 1, 2))
        rows = [reading(id=identity(at), day=day, steps=at) for at, day in enumerate(days)]
        await add(store, READINGS, *rows)
        assert await _measured(store, First("steps", "day"), Last("steps", "day")) == (1, 3)
        op = Aggregate(READINGS, (First("steps", "day"), Last("steps", "day")), F.day.is_null())
        (row,) = await store.execute(op)
        assert row.values == (1, 2)

    async def test_values_of_all_kinds_are_picked(self, store: Backend) -> None:
        """Of every kind, JSON and bytes too, first and last give what is stored."""
        rows = [{**each, "number": at} for at, each in enumerate(every_row(40))]
        await add(store, EVERYTHING, *rows)
        names = [each.name for each in EVERYTHING.fields]
        for where, chosen in ((F.number >= 0, rows), (F.number < 7, rows[:7])):
            measures = [pick(name, "number") for pick in (First, Last) for name in names]
            (row,) = await store.execute(Aggregate(EVERYTHING, tuple(measures), where))
            wanted = tuple(each[name] for each in (chosen[0], chosen[-1]) for name in names)
            assert typed(row.values) == typed(wanted)

    async def test_picked_by_every_order(self, store: Backend) -> None:
        """By a field of any kind that has an order, it is the first and last of a sorted list."""
        rows = every_row(40)
        await add(store, EVERYTHING, *rows)
        orders = [
            each.name
            for each in EVERYTHING.fields
            if each.type.ordered and not each.type.sorted_by_head
        ]
        measures = [pick("id", name) for pick in (First, Last) for name in orders]
        (row,) = await store.execute(Aggregate(EVERYTHING, tuple(measures)))

        def place(name: str) -> Callable[[int], tuple[bool, Any, Value]]:
            def of(at: int) -> tuple[bool, Any, Value]:
                value = rows[at][name]
                return value is not None, 0 if value is None else value, rows[at]["id"]

            return of

        picked = [pick(range(len(rows)), key=place(name)) for pick in (min, max) for name in orders]
        assert row.values == tuple(rows[at]["id"] for at in picked)

    async def test_a_rank_without_meaning_is_refused(self, store: Backend) -> None:
        """What is no share, and what has no order, is refused before any I/O, by its field."""
        missing = replace(EVERYTHING, name="contract_nowhere")
        shares: list[object] = [2, -0.1, 1.0001, 0.00001, float("nan"), float("inf"), True, "0.5"]
        wrong = (
            *((Percentile("number", cast(float, share)), "number") for share in (*shares, None)),
            *((Percentile(name, 0.5), name) for name in ("data", "blob", "flag", "owner", "text")),
            *((First("number", by=name), name) for name in ("data", "blob", "text")),
            *((Last("number", by=name), name) for name in ("data", "blob", "text")),
        )
        for measure, field in wrong:
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(Aggregate(missing, (measure,)))
            assert type(error.value) is InvalidRequestError
            assert (error.value.entity, error.value.field) == ("Everything", field)
            assert (error.value.backend, bool(error.value.hint)) == (store.name, True)
        for unknown in (First("amounts", "id"), Last("number", "idd"), Percentile("amounts", 0.5)):
            with pytest.raises(UnknownFieldError):
                await store.execute(Aggregate(missing, (unknown,)))


def _written(measure: Measure) -> Measure:
    """Return a measure as the guard makes it."""
    share = measure.share
    return measure if share is None else replace(measure, share=Decimal(str(share)))

"""Aggregates: groups, counts, sums, averages and extremes are what Python computes."""

from __future__ import annotations

import operator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import Backend
from healthstore.errors import InvalidRequestError, OutOfRangeError, UnknownFieldError
from healthstore.model.evaluate import aggregate, finish_aggregate, matches, plan_aggregate
from healthstore.model.ops import (
    Aggregate,
    Avg,
    Count,
    CountDistinct,
    CountDocuments,
    Ensure,
    Group,
    Max,
    Measure,
    Min,
    Sum,
)
from healthstore.model.query import F, Filter
from healthstore.model.values import Value
from healthstore.testing.contract._promises import Contract, laws, proves
from healthstore.testing.contract._samples import READINGS, add, identity, reading, typed
from healthstore.testing.strategies import filters

__all__ = ("TestAggregates",)

NUMBERS = ("steps", "pulse", "weight", "dose", "rest")
RANKED = ("place", "kind", "day", "taken", "clock", *NUMBERS)
GROUPED = ("place", "kind", "day", "steps", "weight", "taken", "clock", "valid", "device", "rest")
PLACES: tuple[str | None, ...] = ("a", "A", "a ", "á", "", None)
DEVICES = (None, UUID(int=1), UUID("ff" * 16), UUID("00000000-0000-0001-0000-000000000000"))
CLOCKS = (None, time(9, 30), time(23, 59, 59, 999_999))

ROWS = [
    reading(
        id=identity(at),
        place=PLACES[at % 6],
        kind=("pulse", "weight", "steps")[at % 3],
        day=None if at % 4 == 3 else date(2026, 1, 1 + at % 4),
        steps=None if at % 5 == 0 else at * 1_000_003 - 9_000_000,
        pulse=None if at % 7 == 0 else at / 8,
        weight=None if at % 3 == 0 else Decimal(at * 7).scaleb(-4),
        dose=None if at % 2 == 0 else Decimal(at + 1).scaleb(-8),
        rest=None if at % 4 == 0 else timedelta(microseconds=at * 7 - 30),
        taken=None if at % 5 == 4 else datetime(2026, 1, 1, 0, 0, at % 3, at % 2, tzinfo=UTC),
        clock=CLOCKS[at % 3],
        valid=(None, True, False)[at % 3],
        device=DEVICES[at % 4],
    )
    for at in range(36)
]


async def _filled(store: Backend) -> Backend:
    await store.execute(Ensure((READINGS,)))
    if not await store.execute(CountDocuments(READINGS)):
        await add(store, READINGS, *ROWS)
    return store


def _expected(op: Aggregate) -> tuple[Group, ...]:
    rows = filter(matches(op.where), ROWS)
    return finish_aggregate(op, aggregate(plan_aggregate(op), rows))


def _same(got: tuple[Group, ...], wanted: tuple[Group, ...]) -> None:
    """Check equality, types included, of floats to the last digit."""
    assert [typed(row.key) for row in got] == [typed(row.key) for row in wanted]
    assert [typed(row.values) for row in got] == [typed(row.values) for row in wanted]


_MEASURES = st.lists(
    st.one_of(
        st.just(Count()),
        st.sampled_from([*GROUPED, *NUMBERS]).map(Count),
        st.sampled_from([*GROUPED, *NUMBERS]).map(CountDistinct),
        st.sampled_from(NUMBERS).map(Sum),
        st.sampled_from(NUMBERS).map(Avg),
        st.sampled_from(RANKED).map(Min),
        st.sampled_from(RANKED).map(Max),
    ),
    min_size=1,
    max_size=4,
)
_GROUPS = st.lists(st.sampled_from(GROUPED), max_size=2, unique=True).map(tuple)


class TestAggregates(Contract):
    """An aggregate is exact, and the same everywhere."""

    @proves("A4", "A5", "A8")
    @laws
    @given(_MEASURES, _GROUPS, filters(READINGS, ROWS))
    async def test_any_aggregate_agrees_with_the_reference(
        self, store: Backend, measures: list[Measure], group: tuple[str, ...], where: Filter
    ) -> None:
        """Any measures over any groups of any documents are what the evaluator computes."""
        op = Aggregate(READINGS, tuple(measures), where, group)
        _same(await (await _filled(store)).execute(op), _expected(op))

    @proves("C1", "C2", "A13")
    @pytest.mark.parametrize("field", GROUPED)
    async def test_none_is_a_group_of_its_own(self, store: Backend, field: str) -> None:
        """Documents are grouped by exact value, text by code point; None is one group, first."""
        await _filled(store)
        op = Aggregate(READINGS, (Count(), Count("steps"), Sum("steps")), group=(field,))
        got = await store.execute(op)
        _same(got, _expected(op))
        assert sum(row.values[0] for row in got if isinstance(row.values[0], int)) == len(ROWS)

    @proves("C3", "D7")
    @pytest.mark.parametrize("field", RANKED)
    async def test_the_smallest_and_greatest_are_values(self, store: Backend, field: str) -> None:
        """Minimum and maximum are stored values, in their own type; None does not count."""
        await _filled(store)
        op = Aggregate(READINGS, (Min(field), Max(field)), group=("kind",))
        _same(await store.execute(op), _expected(op))

    @proves("A7")
    async def test_nothing_has_a_sum_but_no_average(self, store: Backend) -> None:
        """Over no value, counts and sums are 0, averages and extremes None; one row all the same."""
        await store.execute(Ensure((READINGS,)))
        measures = (Count(), Count("steps"), *(Sum(name) for name in NUMBERS))
        nothing = (*(Avg(name) for name in NUMBERS), Min("day"), Max("place"))
        zeros: tuple[Value, ...] = (
            *(0, 0, 0, 0.0, Decimal("0.0000"), Decimal("0E-8"), timedelta(0)),
            *(None,) * len(nothing),
        )
        op = Aggregate(READINGS, (*measures, *nothing))
        (row,) = await store.execute(op)
        assert typed(row.values) == typed(zeros)
        assert await store.execute(Aggregate(READINGS, measures, group=("place",))) == ()
        await add(store, READINGS, reading())
        (row,) = await store.execute(op)
        assert typed(row.values) == typed((1, *zeros[1:]))

    @proves("A4", "A5")
    async def test_sums_are_exact(self, store: Backend) -> None:
        """Integers beyond 2**53, 28-digit decimals and tenths are summed to the last digit."""
        big = Decimal("99999999999999999999.99999999")
        rows = [
            reading(steps=2**53 + 1, weight=Decimal("0.1"), dose=big),
            reading(steps=2**53 + 1, weight=Decimal("0.2"), dose=-big),
            reading(steps=-1, weight=Decimal("0.3"), dose=Decimal("0.00000001")),
        ]
        rows += [reading(weight=Decimal("0.1")) for _ in range(100)]
        await add(store, READINGS, *rows)
        op = Aggregate(READINGS, (Sum("steps"), Sum("weight"), Sum("dose"), Count("weight")))
        (row,) = await store.execute(op)
        wanted = (2**54 + 1, Decimal("10.6000"), Decimal("0.00000001"), 103)
        assert typed(row.values) == typed(wanted)

    @proves("A5")
    async def test_a_decimal_sum_may_have_more_digits_than_its_field(self, store: Backend) -> None:
        """The sum of many 28-digit decimals is exact, beyond the digits of one of them."""
        big = Decimal("99999999999999999999.99999999")
        await add(store, READINGS, *(reading(dose=big) for _ in range(50)))
        (row,) = await store.execute(Aggregate(READINGS, (Sum("dose"), Avg("dose"))))
        wanted = (
            Decimal("4999999999999999999999.99999950"),
            Decimal("99999999999999999999.99999999000000"),
        )
        assert typed(row.values) == typed(wanted)

    @proves("A4")
    @pytest.mark.parametrize("sign", [1, -1])
    async def test_a_sum_beyond_64_bits_is_an_error(self, store: Backend, sign: int) -> None:
        """An integer sum that no field could hold is refused, never rounded or wrapped."""
        rows = [reading(steps=sign * (2**63 - 1)), reading(steps=sign * 2), reading(steps=0)]
        await add(store, READINGS, *rows)
        for measure in (Sum("steps"), Avg("steps")):
            with pytest.raises(OutOfRangeError) as error:
                await store.execute(Aggregate(READINGS, (measure,)))
            assert (error.value.entity, error.value.field) == ("Reading", "steps")
            assert (error.value.backend, bool(error.value.hint)) == (store.name, True)
        (row,) = await store.execute(Aggregate(READINGS, (Sum("steps"),), F.steps != sign * 2))
        assert row.values == (sign * (2**63 - 1),)

    @proves("A8")
    async def test_an_average_is_rounded_half_to_even(self, store: Backend) -> None:
        """A decimal average has six more places; an integer average is a float."""
        await add(
            store,
            READINGS,
            *(reading(place="third", weight=weight, steps=weight) for weight in (1, 1, 0)),
            *(reading(place="even", dose=dose) for dose in (Decimal("1E-8"), Decimal("2E-8"))),
        )
        op = Aggregate(READINGS, (Avg("weight"), Avg("steps"), Avg("dose")), group=("place",))
        even, third = await store.execute(op)
        assert typed(even.values) == typed((None, None, Decimal("1.500000E-8")))
        assert typed(third.values) == typed((Decimal("0.6666666667"), 2 / 3, None))

    @proves("A9")
    async def test_a_mean_between_two_neighbours_is_the_even_one(self, store: Backend) -> None:
        """Of 128 values the last place of a mean may lie exactly between two."""
        means = {1: 7812, 3: 23438, 5: 39062, -1: -7812, -3: -23438}
        for units in means:
            one, nothing = Decimal(units).scaleb(-4), Decimal(0)
            rows = [reading(place=f"{units}", weight=nothing if at else one) for at in range(128)]
            await add(store, READINGS, *rows)
        found = await store.execute(Aggregate(READINGS, (Avg("weight"),), group=("place",)))
        got = {row.key[0]: typed(row.values[0]) for row in found}
        wanted = {f"{units}": typed(Decimal(mean).scaleb(-10)) for units, mean in means.items()}
        assert got == wanted

    @proves("A10")
    async def test_no_division_is_asked_of_a_database(self, store: Backend) -> None:
        """Quotients and remainders differ between databases: no request can hold one."""
        await store.execute(Ensure((READINGS,)))
        for division in (operator.truediv, operator.floordiv, operator.mod, divmod):
            for left, right in ((F.steps, 2), (2, F.steps), (F.steps, F.steps)):
                with pytest.raises(TypeError):
                    division(cast(Any, left), cast(Any, right))

    @proves("C3", "C7", "A13")
    async def test_rows_are_ordered_by_their_keys(self, store: Backend) -> None:
        """Groups come in order of their key, None first, text by code point."""
        await _filled(store)
        op = Aggregate(READINGS, (Count(),), group=("place", "kind"))
        rows = await store.execute(op)
        assert [row.key for row in rows] == [row.key for row in _expected(op)]
        assert rows[0].key[0] is None

    async def test_more_groups_than_the_limit_are_an_error(self, store: Backend) -> None:
        """An answer is never cut short in silence."""
        await add(store, READINGS, *(reading(steps=at) for at in range(11)))
        op = Aggregate(READINGS, (Count(),), group=("steps",), limit=11)
        assert len(await store.execute(op)) == 11
        with pytest.raises(InvalidRequestError) as error:
            await store.execute(Aggregate(READINGS, (Count(),), group=("steps",), limit=10))
        assert error.value.hint

    async def test_an_aggregate_without_meaning_is_refused(self, store: Backend) -> None:
        """Unknown fields, sums of text and an aggregate of nothing are refused before any I/O."""
        await store.execute(Ensure((READINGS,)))
        wrong: tuple[tuple[Aggregate, type[InvalidRequestError]], ...] = (
            (Aggregate(READINGS, ()), InvalidRequestError),
            (Aggregate(READINGS, (Sum("stps"),)), UnknownFieldError),
            (Aggregate(READINGS, (Count(),), group=("plce",)), UnknownFieldError),
            (Aggregate(READINGS, (Sum("place"),)), InvalidRequestError),
            (Aggregate(READINGS, (Avg("day"),)), InvalidRequestError),
            (Aggregate(READINGS, (Min("valid"),)), InvalidRequestError),
            (Aggregate(READINGS, (Count(),), group=("place", "place")), InvalidRequestError),
        )
        for op, kind in wrong:
            with pytest.raises(kind):
                await store.execute(op)

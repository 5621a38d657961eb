"""Sums and means of floats: exact, rounded once, in any order, and never infinite."""

from __future__ import annotations

import random
import sys
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthstore.abc import Backend
from healthstore.errors import OutOfRangeError
from healthstore.model.ops import Aggregate, Avg, Count, CountDocuments, Ensure, Max, Min, Sum
from healthstore.model.query import F
from healthstore.testing.contract._promises import Contract, laws, proves
from healthstore.testing.contract._samples import READINGS, add, identity, reading, typed

__all__ = ("TestFloatSums",)

LARGEST = sys.float_info.max
SMALLEST = 5e-324
SUMS: tuple[tuple[float, ...], ...] = (
    (0.1,) * 10,
    (72.5,),
    (1e16, 1.0, -1e16),
    (1.0, 1e-16, 1e-16),
    (-0.1, 0.1),
    (1e308, 1e308, -1e308),
    (1e308, -1e308, 1e308, 5.0, -1e308),
    (LARGEST, -LARGEST, LARGEST),
    (LARGEST, 2.0**969),
    (1e308, -1e308, SMALLEST),
    (SMALLEST, SMALLEST, SMALLEST),
    (1.0, SMALLEST, -1.0),
    (2.2250738585072014e-308, -SMALLEST),
    (2.0**62, 2.0**62 - 512, -(2.0**62)),
    (2.0**62 - 512, 0.5, 2.0**-72 * (1 + 2.0**-52)),
    (2.0**-72 * (1 - 2.0**-53), 2.0**61),
    (1 / 3, -2 / 3, 1e-9 / 3, 123_456_789.123_456_789),
)
BEYOND: tuple[tuple[float, ...], ...] = (
    (1e308, 1e308),
    (-1e308, -1e308),
    (LARGEST, 2.0**970),
    (LARGEST, LARGEST, -1e292),
    (1.0, -LARGEST, -LARGEST, SMALLEST),
)
FLOATS = st.one_of(
    st.floats(-1e3, 1e3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e308, -1e308, 1e-300, 2.0**62, 2.0**-72, 0.1]),
)


def _exact(values: list[float]) -> float | None:
    """Return the sum by fractions, None beyond the range of a float."""
    try:
        return float(sum(map(Fraction, values), Fraction(0)))
    except OverflowError:
        return None


class TestFloatSums(Contract):
    """What a program is told of many floats does not depend on the backend, nor on their order."""

    @proves("A6")
    async def test_a_sum_of_floats_is_exact(self, store: Backend) -> None:
        """A sum is rounded once, however large, small or opposite its parts are."""
        for at, values in enumerate(SUMS):
            rows = [reading(place=f"{at:02}", pulse=value) for value in values]
            await add(store, READINGS, *rows, reading(place=f"{at:02}"))
        measures = (Sum("pulse"), Avg("pulse"), Count("pulse"))
        found = await store.execute(Aggregate(READINGS, measures, group=("place",)))
        totals = [(_exact([*values]), len(values)) for values in SUMS]
        wanted = [(total, (total or 0.0) / count, count) for total, count in totals]
        assert [typed(row.values) for row in found] == [typed(each) for each in wanted]

    @proves("A6")
    @pytest.mark.parametrize("values", BEYOND)
    async def test_a_sum_beyond_the_range_of_floats_is_an_error(
        self, store: Backend, values: tuple[float, ...]
    ) -> None:
        """Neither infinity nor 0.0 stands for a sum that no float can hold, nor a mean of it."""
        rows = [reading(place="beyond", pulse=value) for value in values]
        await add(store, READINGS, *rows, reading(place="within", pulse=1.5))
        for measure in (Sum("pulse"), Avg("pulse")):
            for group in ((), ("place",)):
                with pytest.raises(OutOfRangeError) as error:
                    await store.execute(Aggregate(READINGS, (measure,), group=group))
                assert (error.value.entity, error.value.field) == ("Reading", "pulse")
                assert (error.value.backend, bool(error.value.hint)) == (store.name, True)
        (row,) = await store.execute(Aggregate(READINGS, (Sum("pulse"),), F.place == "within"))
        assert typed(row.values) == typed((1.5,))
        (row,) = await store.execute(Aggregate(READINGS, (Min("pulse"), Max("pulse"))))
        assert row.values == (min(*values, 1.5), max(*values, 1.5))

    @proves("A6")
    async def test_a_sum_of_floats_depends_on_no_order(self, store: Backend) -> None:
        """Stored in other orders, or in parts that are grouped, the same floats have one sum."""
        values = [each for part in SUMS for each in part if abs(each) < 1e308]
        chance = random.Random(7)  # noqa: S311 - no secret
        for at in range(6):
            rows = [
                reading(place=f"{at}", valid=number % 3 == 0, pulse=value)
                for number, value in enumerate(chance.sample(values, len(values)))
            ]
            await add(store, READINGS, *rows)
        measures = (Sum("pulse"), Avg("pulse"))
        found = await store.execute(Aggregate(READINGS, measures, group=("place",)))
        total = _exact(values)
        assert total is not None
        assert [typed(row.values) for row in found] == [typed((total, total / len(values)))] * 6

    @proves("A6")
    @settings(laws, max_examples=15)
    @given(st.lists(FLOATS, min_size=1, max_size=8))
    async def test_any_sum_of_floats_is_exact(self, store: Backend, drawn: list[float]) -> None:
        """Any floats have the sum that fractions have, or none."""
        values = [value + 0.0 for value in drawn]
        await store.execute(Ensure((READINGS,)))
        begun = await store.execute(CountDocuments(READINGS))
        mine = F.device == identity(begun)
        rows = [reading(device=identity(begun), pulse=value) for value in values]
        await add(store, READINGS, *rows)
        op = Aggregate(READINGS, (Sum("pulse"), Avg("pulse")), mine)
        total = _exact(values)
        if total is None:
            with pytest.raises(OutOfRangeError):
                await store.execute(op)
        else:
            (row,) = await store.execute(op)
            assert typed(row.values) == typed((total, total / len(values)))

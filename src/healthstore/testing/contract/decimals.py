"""Decimals: the decimal context of the program changes nothing."""

from __future__ import annotations

import decimal
from decimal import Context, Decimal, localcontext
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import Backend
from healthstore.errors import OutOfRangeError
from healthstore.model.ops import (
    Aggregate,
    Avg,
    Delete,
    Find,
    Insert,
    Max,
    Min,
    Patch,
    Replace,
    Sum,
)
from healthstore.model.query import F, Order
from healthstore.testing.contract._promises import Contract, laws, proves
from healthstore.testing.contract._samples import READINGS, add, exact, ids, one, reading, typed

__all__ = ("TestDecimals",)

_SIGNALS = (
    decimal.Clamped,
    decimal.FloatOperation,
    decimal.Inexact,
    decimal.Rounded,
    decimal.Subnormal,
    decimal.Underflow,
)
_ROUNDINGS = (decimal.ROUND_UP, decimal.ROUND_DOWN, decimal.ROUND_HALF_EVEN, decimal.ROUND_05UP)
# As narrow and as strict as a program can make it.
HOSTILE = Context(
    prec=1, rounding=decimal.ROUND_UP, Emin=0, Emax=0, capitals=0, clamp=1, traps=[*_SIGNALS]
)
CONTEXTS = st.builds(
    Context,
    prec=st.integers(1, 30),
    rounding=st.sampled_from(_ROUNDINGS),
    Emin=st.sampled_from([0, -3, -999_999]),
    Emax=st.sampled_from([0, 3, 999_999]),
    capitals=st.integers(0, 1),
    clamp=st.integers(0, 1),
    traps=st.sets(st.sampled_from([*_SIGNALS, decimal.InvalidOperation])).map(list),
)


def _of(units: int, places: int) -> Decimal:
    """Return a Decimal by its digits, without arithmetic."""
    return Decimal((int(units < 0), tuple(map(int, str(abs(units)))), -places))


class TestDecimals(Contract):
    """Whatever context a program calculates in, it stores, finds and sums the same."""

    @proves("V6")
    @laws
    @given(
        CONTEXTS,
        st.integers(-(10**12) + 1, 10**12 - 1),
        st.integers(-(10**28) + 1, 10**28 - 1),
    )
    async def test_what_was_written_comes_back_under_any_context(
        self, store: Backend, context: Context, weight: int, dose: int
    ) -> None:
        """A Decimal is stored, found, compared and replaced digit for digit."""
        row = reading(id=uuid4(), weight=_of(weight, 4), dose=_of(dose, 8))
        await add(store, READINGS)
        with localcontext(context):
            await store.execute(Insert(READINGS, (row,)))
            got = await one(store, READINGS, row)
            where = (F.id == row["id"]) & (F.dose >= row["dose"]) & (F.weight.in_([row["weight"]]))
            found = await store.execute(Find(READINGS, where, (Order("dose"), Order("id"))))
            await store.execute(Replace(READINGS, ({**row, "version": 2},)))
            replaced = await one(store, READINGS, row)
            (gone,) = await store.execute(Delete(READINGS, ids([row])))
        assert exact(got) == exact(row)
        assert [exact(each) for each in found] == [exact(row)]
        assert exact(replaced) == exact({**row, "version": 2})
        assert gone

    @proves("V6")
    @laws
    @given(CONTEXTS, st.integers(-(10**11), 10**11), st.integers(-(10**27), 10**27))
    async def test_increments_are_exact_under_any_context(
        self, store: Backend, context: Context, weight: int, dose: int
    ) -> None:
        """A step is added to the last digit, native or not."""
        row = reading(id=uuid4(), weight=_of(12_345_678_901, 4), dose=_of(10**26 + 1, 8))
        await add(store, READINGS, row)
        steps = (("weight", _of(weight, 4)), ("dose", _of(dose, 8)), ("version", 1))
        with localcontext(context):
            (changed,) = await store.execute(Patch(READINGS, ids([row]), increments=steps))
        after = {
            **row,
            "version": 2,
            "weight": _of(12_345_678_901 + weight, 4),
            "dose": _of(10**26 + 1 + dose, 8),
        }
        assert exact(changed) == exact(after)
        assert exact(await one(store, READINGS, row)) == exact(after)

    async def test_an_increment_beyond_the_range_is_refused_under_any_context(
        self, store: Backend
    ) -> None:
        """The range is that of the field, not that of the program's context."""
        row = reading(weight=_of(10**12 - 1, 4), dose=_of(10**28 - 1, 8))
        await add(store, READINGS, row)
        for name, places in (("weight", 4), ("dose", 8)):
            step = ((name, _of(1, places)),)
            with localcontext(HOSTILE), pytest.raises(OutOfRangeError):
                await store.execute(Patch(READINGS, ids([row]), increments=step))

    @proves("A5", "A8")
    async def test_aggregates_are_exact_under_any_context(self, store: Backend) -> None:
        """Sums, averages and extremes are what they are under Python's own context."""
        doses = (10**28 - 1, 10**28 - 3, 10**27 + 7)
        rows = [reading(place="a", weight=_of(10**12 - 7, 4), dose=_of(each, 8)) for each in doses]
        await add(store, READINGS, *rows, reading())
        measures = (
            Sum("weight"),
            Avg("weight"),
            Sum("dose"),
            Avg("dose"),
            Min("dose"),
            Max("dose"),
        )
        with localcontext(HOSTILE):
            nothing, some = await store.execute(Aggregate(READINGS, measures, group=("place",)))
        total = sum(doses)
        wanted = (
            *(_of(3 * (10**12 - 7), 4), _of((10**12 - 7) * 10**6, 10)),
            *(_of(total, 8), _of(_third(total), 14)),
            *(_of(min(doses), 8), _of(max(doses), 8)),
        )
        zeros = (_of(0, 4), None, _of(0, 8), None, None, None)
        assert typed(some.values) == typed(wanted)
        assert typed(nothing.values) == typed(zeros)


def _third(total: int) -> int:
    """Return a third of a sum in units of six more places, to the nearest."""
    return (2 * total * 10**6 + 3) // 6

"""Distinct counts: different values are counted as Python tells them apart."""

from __future__ import annotations

from decimal import Decimal
from typing import cast

import pytest

from healthstore.abc import Backend
from healthstore.errors import InvalidRequestError
from healthstore.model.ops import Aggregate, Count, CountDistinct, Ensure, Sum
from healthstore.model.query import NONE, F
from healthstore.testing.contract._promises import Contract
from healthstore.testing.contract._samples import (
    EVERYTHING,
    READINGS,
    add,
    every_row,
    everything,
    reading,
    typed,
)

__all__ = ("TestDistinct",)

COUNTED = tuple(each.name for each in EVERYTHING.fields if each.type.ordered)
LONG = "x" * 66_000


class TestDistinct(Contract):
    """A distinct count is the number of different values that are not None."""

    async def test_values_are_told_apart_exactly(self, store: Backend) -> None:
        """Of every kind that has an order, each value counts once, whatever lies close to it."""
        rows = every_row(60)
        await add(store, EVERYTHING, *rows)
        (row,) = await store.execute(Aggregate(EVERYTHING, tuple(map(CountDistinct, COUNTED))))
        assert row.values == tuple(
            len({typed(each[name]) for each in rows if each[name] is not None}) for name in COUNTED
        )

    async def test_none_is_not_counted(self, store: Backend) -> None:
        """A group whose values are all None has no distinct value; None never adds one."""
        await add(
            store,
            READINGS,
            *(reading(place="none", steps=None) for _ in range(3)),
            *(reading(place="some", steps=steps) for steps in (None, 5, None, 5, 6)),
        )
        op = Aggregate(READINGS, (CountDistinct("steps"), Count("steps")), group=("place",))
        assert [row.values for row in await store.execute(op)] == [(0, 0), (2, 3)]

    async def test_texts_are_compared_whole_and_by_code_point(self, store: Backend) -> None:
        """Case, accents, spaces at the end and what follows 66,000 equal letters count."""
        texts = ("a", "A", "a ", "á", "a\u0301", "", LONG, f"{LONG}a", f"{LONG}b", f"{LONG}b")
        await add(store, EVERYTHING, *(everything(text=text) for text in texts))
        (row,) = await store.execute(Aggregate(EVERYTHING, (CountDistinct("text"),)))
        assert row.values == (9,)

    async def test_it_stands_beside_other_measures(self, store: Backend) -> None:
        """Several distinct counts and sums of one request are each over all documents."""
        await add(
            store,
            READINGS,
            *(
                reading(place="ab"[at % 2], steps=at % 3, weight=Decimal(at % 4), pulse=at / 2)
                for at in range(24)
            ),
        )
        measures = (
            *(CountDistinct("steps"), Sum("steps"), CountDistinct("weight")),
            *(Count(), CountDistinct("pulse"), CountDistinct("steps")),
        )
        rows = await store.execute(Aggregate(READINGS, measures, group=("place",)))
        assert [row.key for row in rows] == [("a",), ("b",)]
        assert [row.values for row in rows] == [(3, 12, 2, 12, 12, 3)] * 2

    async def test_nothing_has_no_distinct_value(self, store: Backend) -> None:
        """Over no document the count is 0."""
        await store.execute(Ensure((READINGS,)))
        for where in (NONE, F.steps == 1):
            (row,) = await store.execute(Aggregate(READINGS, (CountDistinct("steps"),), where))
            assert row.values == (0,)

    @pytest.mark.parametrize("name", ["data", "blob"])
    async def test_values_without_an_order_are_refused(self, store: Backend, name: str) -> None:
        """JSON and bytes have no equal form in all databases: refused before any I/O."""
        with pytest.raises(InvalidRequestError) as error:
            await store.execute(Aggregate(EVERYTHING, (CountDistinct(name),)))
        assert (error.value.entity, error.value.field) == ("Everything", name)
        assert error.value.hint
        assert cast(str, error.value.backend) == store.name

"""What a change asks of a field instead of a value: to add, to append, to keep the larger one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, cast

import pytest

from healthstore.abc import Backend
from healthstore.entity import Digits, Entity, MaxLength, collection_of, uuid7
from healthstore.errors import (
    DuplicateKeyError,
    HealthstoreError,
    InvalidRequestError,
    NotNullError,
    Outcome,
    OutOfRangeError,
)
from healthstore.model.ops import Ensure
from healthstore.model.schema import Unique
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, proves

__all__ = ("TestOperators",)


class _Trend(Entity, collection="contract_trends"):
    food: Annotated[str, Unique(), MaxLength(50)]
    barcode: Annotated[str, Unique(), MaxLength(50)] | None = None
    scans: int = 0
    spent: Annotated[Decimal, Digits(12, 2)] = Decimal(0)
    watched: timedelta | None = None
    note: str | None = None


async def _trends(store: Backend) -> Repository[_Trend]:
    await store.execute(Ensure((collection_of(_Trend),)))
    return Repository(_Trend, store)


class TestOperators(Contract):
    """``update(id, {"likes": Add(1)})``, ``upsert(trend, on="food", add=["scans"])``."""

    @proves("W3", "W4")
    async def test_an_upsert_adds_the_named_numbers(self, store: Backend) -> None:
        """Where the key is there they are added exactly, and all else is set; else it is an add."""
        trends = await _trends(store)
        names = ["scans", "spent", "watched"]
        first = _Trend(food="fig", scans=2, spent=Decimal("0.10"), watched=timedelta(0, 1, 1))
        assert await trends.upsert(first, on="food", add=names) == first
        again = _Trend(
            food="fig", scans=3, spent=Decimal("0.20"), watched=timedelta(1), note="ripe"
        )
        counted = await trends.upsert(again, on="food", add=names)
        assert (counted.scans, counted.spent) == (5, Decimal("0.30"))
        assert counted.watched == timedelta(1, 1, 1)
        assert (counted.id, counted.note, counted.version) == (first.id, "ripe", 2)
        assert await trends.get(first.id) == counted

    @proves("W4")
    async def test_upserts_that_count_lose_nothing(self, store: Backend) -> None:
        """Of many at once each is counted: the first one adds, the others add to it."""
        trends = await _trends(store)
        await asyncio.gather(
            *(
                trends.upsert(_Trend(food="fig", scans=at), on="food", add=["scans"])
                for at in range(1, 9)
            )
        )
        (found,) = await trends.find(limit=10)
        assert (found.scans, found.version) == (36, 8)

    @proves("A2", "W3")
    async def test_an_upsert_that_cannot_add_changes_nothing(self, store: Backend) -> None:
        """The stored one is None, a sum does not fit, another key is taken: it is as it was."""
        trends = await _trends(store)
        kept = await trends.add(_Trend(food="fig", scans=2**63 - 2, barcode="1"))
        await trends.add(_Trend(food="nut", barcode="2"))
        wrong: tuple[tuple[_Trend, str, type[HealthstoreError]], ...] = (
            (_Trend(food="fig", watched=timedelta(1)), "watched", NotNullError),
            (_Trend(food="fig", scans=2), "scans", OutOfRangeError),
            (_Trend(food="fig", barcode="2"), "scans", DuplicateKeyError),
        )
        for trend, name, kind in wrong:
            with pytest.raises(kind) as refused:
                await trends.upsert(trend, on="food", add=[name])
            assert refused.value.backend == store.name
            assert refused.value.outcome is Outcome.NOT_APPLIED
        assert await trends.get(kept.id) == kept

    @proves("W4")
    async def test_an_upsert_adds_numbers_only(self, store: Backend) -> None:
        """No text, no key, nothing of the library, nothing twice, no None: before any I/O."""
        trends = Repository(_Trend, store)  # of a collection that may not be there: nobody looks
        wrong = (["note"], ["food"], ["version"], ["scans", "scans"], ["nothing"], ["watched"])
        for names in (*wrong, cast("list[str]", "scans"), cast("list[str]", 7)):
            with pytest.raises(InvalidRequestError) as refused:
                await trends.upsert(_Trend(id=uuid7(), food="fig"), on="food", add=names)
            assert refused.value.hint

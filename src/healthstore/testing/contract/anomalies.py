"""What concurrent units may see of each other: the anomalies of the literature, made on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

from healthstore.abc import Backend, Isolation, Unit, UnitOptions
from healthstore.errors import ConflictError
from healthstore.model.ops import CountDocuments, Get, Insert, Patch
from healthstore.model.query import F
from healthstore.model.values import Document
from healthstore.testing.contract._promises import (
    Contract,
    needs_transactions,
    partly_needs,
    proves,
)
from healthstore.testing.contract._samples import PEOPLE, add, ids, person

__all__ = ("TestAnomalies",)

_A_MOMENT = 0.3  # how long a unit waits for a rival that may have to wait for the unit itself

_Work = Callable[[Unit, "_Meeting"], Awaitable[None]]


class _DroppedError(Exception):
    """Ends a unit that is to be dropped."""


class _Meeting:
    """Where units wait until all have read, unless one of them has to wait for another."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._all = asyncio.Event()

    async def reached(self) -> None:
        """Wait for the others, for a moment at most."""
        self._missing -= 1
        if self._missing == 0:
            self._all.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_A_MOMENT):
                await self._all.wait()


async def _kept(store: Backend, isolation: Isolation, *works: _Work) -> list[bool]:
    """Do works in units at once; tell for each whether it was kept."""
    meeting = _Meeting(len(works))

    async def one(work: _Work) -> bool:
        try:
            unit = await store.begin(UnitOptions(isolation=isolation))
            try:
                await work(unit, meeting)
                await unit.commit()
            finally:
                await unit.rollback()
        except (ConflictError, _DroppedError):
            return False
        return True

    return list(await asyncio.gather(*map(one, works)))


async def _visits(unit: Unit, row: Document) -> int:
    ((found),) = await unit.execute(Get(PEOPLE, ids([row])))
    assert found is not None
    return cast(int, found["visits"])


async def _set(unit: Unit, row: Document, visits: int) -> None:
    await unit.execute(Patch(PEOPLE, ids([row]), sets=(("visits", visits),)))


def _levels(store: Backend) -> list[Isolation]:
    levels = [Isolation.SNAPSHOT]
    return [*levels, Isolation.SERIALIZABLE] if store.capabilities.serializable else levels


class TestAnomalies(Contract):
    """No unit sees what its isolation excludes."""

    @proves("T5")
    @needs_transactions
    @partly_needs("serializable")
    async def test_no_dirty_read(self, store: Backend) -> None:
        """What a unit has written and may yet drop is seen by no other."""
        row = person(1)
        await add(store, PEOPLE, row)
        seen: list[int] = []
        for isolation in _levels(store):

            async def writes(unit: Unit, meeting: _Meeting) -> None:
                await _set(unit, row, 99)
                await meeting.reached()
                raise _DroppedError

            async def reads(unit: Unit, meeting: _Meeting) -> None:
                await meeting.reached()
                seen.append(await _visits(unit, row))

            await _kept(store, isolation, writes, reads)
        assert set(seen) <= {0}

    @proves("T5")
    @needs_transactions
    @partly_needs("serializable")
    async def test_no_read_that_cannot_be_repeated_and_no_phantom(self, store: Backend) -> None:
        """What a unit has read, and what its filter found, is the same when it reads again."""
        row = person(1, team="on duty")
        await add(store, PEOPLE, row)
        for number, isolation in enumerate(_levels(store)):

            async def reads(unit: Unit, meeting: _Meeting) -> None:
                before = await _visits(unit, row), await _on_duty(unit)
                await meeting.reached()
                await asyncio.sleep(0.05)
                assert (await _visits(unit, row), await _on_duty(unit)) == before

            async def writes(unit: Unit, meeting: _Meeting, number: int = number) -> None:
                await meeting.reached()
                await _set(unit, row, 10 + number)
                await unit.execute(Insert(PEOPLE, (person(2 + number, team="on duty"),)))

            await _kept(store, isolation, reads, writes)

    @proves("T5")
    @needs_transactions
    @partly_needs("serializable")
    async def test_no_lost_update(self, store: Backend) -> None:
        """Of two units that write what they read, one more, each that is kept counts."""
        row = person(1)
        await add(store, PEOPLE, row)
        for isolation in _levels(store):
            before = await _of(store, row)

            async def counts(unit: Unit, meeting: _Meeting) -> None:
                visits = await _visits(unit, row)
                await meeting.reached()
                await _set(unit, row, visits + 1)

            kept = await _kept(store, isolation, counts, counts)
            assert await _of(store, row) == before + sum(kept)

    @proves("T5")
    @needs_transactions
    @partly_needs("serializable")
    async def test_no_write_skew_where_units_are_serializable(self, store: Backend) -> None:
        """Of two who leave because the other stays, one stays; at SNAPSHOT both may leave."""
        rows = tuple(person(number, team="on duty", visits=1) for number in range(2))
        await add(store, PEOPLE, *rows)

        def leaves(row: Document) -> _Work:
            async def leave(unit: Unit, meeting: _Meeting) -> None:
                there = await _on_duty(unit)
                await meeting.reached()
                if there == 2:
                    await unit.execute(Patch(PEOPLE, ids([row]), sets=(("team", None),)))

            return leave

        await _kept(store, _levels(store)[-1], *map(leaves, rows))
        left = await store.execute(CountDocuments(PEOPLE, F.team == "on duty"))
        assert left >= 1 or not store.capabilities.serializable

    @proves("T5")
    @needs_transactions
    @partly_needs("serializable")
    async def test_no_anomaly_of_a_reader_where_units_are_serializable(
        self, store: Backend
    ) -> None:
        """A reader sees no state that no order of the units would have had (Fekete, 2004)."""
        checking, savings = person(1), person(2)
        await add(store, PEOPLE, checking, savings)
        isolation = _levels(store)[-1]
        told: list[tuple[int, int]] = []
        paid = asyncio.Event()

        async def withdraws(unit: Unit, meeting: _Meeting) -> None:
            total = await _visits(unit, checking) + await _visits(unit, savings)
            await meeting.reached()
            with suppress(TimeoutError):
                async with asyncio.timeout(_A_MOMENT):
                    await paid.wait()
            await _set(unit, checking, -10 if total >= 10 else -11)

        async def pays(unit: Unit, meeting: _Meeting) -> None:
            await meeting.reached()
            await _set(unit, savings, await _visits(unit, savings) + 20)

        async def reads() -> bool:
            try:
                unit = await store.begin(UnitOptions(isolation=isolation))
                try:
                    told.append((await _visits(unit, checking), await _visits(unit, savings)))
                    await unit.commit()
                finally:
                    await unit.rollback()
            except ConflictError:
                told.clear()
            return bool(told)

        async def paid_and_read() -> None:
            (kept,) = await _kept(store, isolation, pays)
            if kept:
                await reads()
            paid.set()

        both = asyncio.create_task(paid_and_read())
        (withdrawn,) = await _kept(store, isolation, withdraws)
        await both
        if store.capabilities.serializable and withdrawn and told == [(0, 20)]:
            assert await _of(store, checking) != -11, (
                "the reader saw the deposit before the penalty"
            )


async def _on_duty(unit: Unit) -> int:
    return await unit.execute(CountDocuments(PEOPLE, F.team == "on duty"))


async def _of(store: Backend, row: Document) -> int:
    ((found),) = await store.execute(Get(PEOPLE, ids([row])))
    assert found is not None
    return cast(int, found["visits"])

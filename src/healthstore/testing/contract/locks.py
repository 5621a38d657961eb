"""Documents that a unit locks: nobody else changes them before its end."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from healthstore.abc import Backend, UnitOptions
from healthstore.entity import Entity, collection_of
from healthstore.errors import (
    ConflictError,
    InvalidRequestError,
    ReadOnlyError,
    SerializationError,
)
from healthstore.model.ops import Delete, Ensure, Get, Patch, Replace
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, needs_locks, proves
from healthstore.testing.contract._samples import PEOPLE, add, ids, one, person, settle
from healthstore.transaction import Transaction, run

__all__ = ("TestLocks",)


class _Stock(Entity, collection="contract_stocks_of_locks"):
    pieces: int = 0


async def _stocks(store: Backend) -> Repository[_Stock]:
    await store.execute(Ensure((collection_of(_Stock),)))
    return Repository(_Stock, store)


class TestLocks(Contract):
    """``get(id, lock=True)`` holds a document for a unit, until its commit or rollback."""

    @proves("T5")
    @needs_locks
    @pytest.mark.parametrize("end", ["commit", "rollback"])
    async def test_nobody_else_changes_what_is_locked(self, store: Backend, end: str) -> None:
        """Others wait for the end of the unit, or give way; what is locked stays what was read."""
        row = person(1)
        await add(store, PEOPLE, row)
        unit = await store.begin()
        try:
            (got,) = await unit.execute(Get(PEOPLE, ids([row]), lock=True))
            assert got == row
            requests = (
                Patch(PEOPLE, ids([row]), increments=(("visits", 1),)),
                Replace(PEOPLE, ({**row, "visits": 7},)),
            )
            rivals = [asyncio.ensure_future(store.execute(each)) for each in requests]
            for rival in rivals:
                await settle(rival)
            assert await unit.execute(Get(PEOPLE, ids([row]))) == (row,)
            assert await one(store, PEOPLE, row) == row
            for rival in rivals:
                assert not rival.done() or isinstance(rival.exception(), ConflictError)
            await unit.execute(Patch(PEOPLE, ids([row]), sets=(("name", "held"),)))
            await getattr(unit, end)()
        finally:
            await unit.rollback()
        ended = await asyncio.gather(*rivals, return_exceptions=True)
        assert all(isinstance(each, tuple | ConflictError) for each in ended)
        after = await one(store, PEOPLE, row)
        assert after is not None
        if isinstance(ended[1], ConflictError):
            assert after["name"] == ("held" if end == "commit" else None)

    @proves("T5")
    @needs_locks
    async def test_a_lock_ends_with_its_unit(self, store: Backend) -> None:
        """After commit and rollback, and after the deadline of a forgotten unit, anybody writes."""
        row = person(1)
        await add(store, PEOPLE, row)
        patch = Patch(PEOPLE, ids([row]), increments=(("visits", 1),))
        for end in ("commit", "rollback"):
            unit = await store.begin()
            await unit.execute(Get(PEOPLE, ids([row]), lock=True))
            await getattr(unit, end)()
            async with asyncio.timeout(5):
                await store.execute(patch)
        forgotten = await store.begin(UnitOptions(deadline=0.4))
        await forgotten.execute(Get(PEOPLE, ids([row]), lock=True))
        await asyncio.sleep(0.6)
        async with asyncio.timeout(5):
            ((after),) = await store.execute(patch)
        assert after == {**row, "visits": 3}
        await forgotten.rollback()

    @proves("T5")
    @needs_locks
    async def test_what_has_changed_since_is_not_locked(self, store: Backend) -> None:
        """A document that another has changed since the unit's first read is a conflict."""
        row, other = person(1), person(2)
        await add(store, PEOPLE, row, other)
        unit = await store.begin()
        try:
            await unit.execute(Get(PEOPLE, ids([other])))
            patch = Patch(PEOPLE, ids([row]), increments=(("visits", 1),))
            outside = asyncio.ensure_future(store.execute(patch))
            await settle(outside)
            if outside.done():
                with pytest.raises(SerializationError) as refused:
                    await unit.execute(Get(PEOPLE, ids([row]), lock=True))
                assert refused.value.hint
            else:  # one unit writes at a time
                assert await unit.execute(Get(PEOPLE, ids([row]), lock=True)) == (row,)
        finally:
            await unit.rollback()
        await outside

    @proves("T5", "T6")
    @needs_locks
    async def test_rivals_under_locks_lose_nothing(self, store: Backend) -> None:
        """Ten units that lock, read and write one document are each counted."""
        stocks = await _stocks(store)
        stock = await stocks.add(_Stock())

        async def work(tx: Transaction) -> None:
            mine = tx.repository(_Stock)
            found = await mine.get(stock.id, lock=True)
            assert found is not None
            await mine.update(stock.id, {"pieces": found.pieces + 1})

        await asyncio.gather(*(run(store, work, UnitOptions(), attempts=100) for _ in range(10)))
        after = await stocks.get(stock.id)
        assert after is not None
        assert after.pieces == 10
        assert after.version == 11

    @proves("T5")
    @needs_locks
    async def test_what_is_locked_is_read_and_written_by_its_unit(self, store: Backend) -> None:
        """Several at once, one twice, and one that is not there; the lock is in no document."""
        rows = tuple(person(number) for number in range(3))
        await add(store, PEOPLE, *rows)
        missing = person(9)
        unit = await store.begin()
        try:
            wanted = ids([rows[0], missing, rows[1], rows[0]])
            got = await unit.execute(Get(PEOPLE, wanted, lock=True))
            assert got == (rows[0], None, rows[1], rows[0])
            again = await unit.execute(Get(PEOPLE, wanted, lock=True))
            assert again == got
            await unit.execute(Patch(PEOPLE, ids(rows[:1]), increments=(("visits", 1),)))
            assert await unit.execute(Get(PEOPLE, ids(rows[:1]), lock=True)) == (
                {**rows[0], "visits": 1},
            )
            await unit.execute(Delete(PEOPLE, ids(rows[1:2])))
            await unit.commit()
        finally:
            await unit.rollback()
        found = await store.execute(Get(PEOPLE, ids(rows)))
        assert found == ({**rows[0], "visits": 1}, None, rows[2])

    @proves("T5")
    @needs_locks
    async def test_a_lock_is_of_a_unit_that_writes(self, store: Backend) -> None:
        """Outside of a unit it is refused, and in one that only reads; the unit goes on."""
        row = person(1)
        await add(store, PEOPLE, row)
        with pytest.raises(InvalidRequestError) as outside:
            await store.execute(Get(PEOPLE, ids([row]), lock=True))
        assert outside.value.hint
        with pytest.raises(InvalidRequestError):
            await store.execute(Get(PEOPLE, ids([row]), lock=cast(bool, 1)))
        unit = await store.begin(UnitOptions(read_only=True))
        try:
            with pytest.raises(ReadOnlyError) as refused:
                await unit.execute(Get(PEOPLE, ids([row]), lock=True))
            assert refused.value.hint
            assert await unit.execute(Get(PEOPLE, ids([row]))) == (row,)
        finally:
            await unit.rollback()

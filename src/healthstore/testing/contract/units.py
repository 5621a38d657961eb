"""Units of work: all of it or nothing, in a world that stands still."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from healthstore.abc import Backend, Isolation, UnitOptions
from healthstore.errors import (
    ConflictError,
    DeadlineExceededError,
    DuplicateKeyError,
    HealthstoreError,
    InvalidRequestError,
    LifecycleError,
    Outcome,
    ReadOnlyError,
    UnknownFieldError,
)
from healthstore.model.ops import (
    Aggregate,
    Batch,
    Count,
    CountDocuments,
    Delete,
    Ensure,
    Find,
    Get,
    Insert,
    Patch,
    Replace,
    Sum,
)
from healthstore.model.query import F
from healthstore.testing.contract._promises import (
    Contract,
    needs_serializable,
    needs_transactions,
    proves,
)
from healthstore.testing.contract._samples import (
    PEOPLE,
    add,
    identity,
    ids,
    one,
    person,
    settle,
    stored,
)

__all__ = ("TestUnits",)


class TestUnits(Contract):
    """A unit of work is kept whole or not at all, and sees one state of the store."""

    @proves("T1")
    @needs_transactions
    async def test_a_committed_unit_is_kept(self, store: Backend) -> None:
        """Everything that a unit wrote is there after its commit."""
        row, gone = person(1), person(2)
        await add(store, PEOPLE, row, gone)
        unit = await store.begin()
        added = person(3)
        await unit.execute(Insert(PEOPLE, (added,)))
        await unit.execute(Patch(PEOPLE, ids([row]), increments=(("visits", 5),)))
        await unit.execute(Delete(PEOPLE, ids([gone])))
        await unit.commit()
        assert await store.execute(CountDocuments(PEOPLE)) == 2
        left = await store.execute(Get(PEOPLE, ids([row, added, gone])))
        assert left == ({**row, "visits": 5}, added, None)

    @proves("T1")
    @needs_transactions
    async def test_a_unit_that_is_rolled_back_leaves_nothing(self, store: Backend) -> None:
        """Nothing that a unit added, changed or removed is seen after its rollback."""
        row, other = person(1), person(2)
        await add(store, PEOPLE, row, other)
        before = await stored(store, PEOPLE)
        unit = await store.begin()
        await unit.execute(Insert(PEOPLE, (person(3),)))
        await unit.execute(Replace(PEOPLE, ({**row, "name": "new"},)))
        await unit.execute(Patch(PEOPLE, ids([row]), sets=(("visits", 9),)))
        await unit.execute(Delete(PEOPLE, ids([other])))
        await unit.rollback()
        assert await stored(store, PEOPLE) == before
        await store.execute(Insert(PEOPLE, (person(3),)))

    @needs_transactions
    async def test_a_unit_sees_its_own_writes(self, store: Backend) -> None:
        """Reads of every form inside a unit see what the unit wrote."""
        row = person(1, visits=1)
        await add(store, PEOPLE, row)
        unit = await store.begin()
        try:
            await unit.execute(Insert(PEOPLE, (person(2, visits=10),)))
            await unit.execute(Patch(PEOPLE, ids([row]), increments=(("visits", 1),)))
            (got,) = await unit.execute(Get(PEOPLE, ids([row])))
            assert got == {**row, "visits": 2}
            assert len(await unit.execute(Find(PEOPLE, F.visits >= 2))) == 2
            assert await unit.execute(CountDocuments(PEOPLE, F.visits == 10)) == 1
            totals = await unit.execute(Aggregate(PEOPLE, (Count(), Sum("visits"))))
            assert totals[0].values == (2, 12)
            await unit.execute(Delete(PEOPLE, ids([row])))
            assert await unit.execute(Get(PEOPLE, ids([row]))) == (None,)
        finally:
            await unit.rollback()

    @needs_transactions
    async def test_what_is_not_committed_is_invisible_outside(self, store: Backend) -> None:
        """Nobody else sees a unit's writes before its commit."""
        row = person(1)
        await add(store, PEOPLE, row)
        unit = await store.begin()
        try:
            await unit.execute(Insert(PEOPLE, (person(2),)))
            await unit.execute(Patch(PEOPLE, ids([row]), sets=(("visits", 9),)))
            assert await stored(store, PEOPLE) == [row]
            assert await store.execute(CountDocuments(PEOPLE)) == 1
        finally:
            await unit.rollback()

    @proves("T5")
    @needs_transactions
    @pytest.mark.parametrize("read_only", [True, False])
    async def test_a_unit_reads_one_state_of_the_store(
        self, store: Backend, *, read_only: bool
    ) -> None:
        """What others write after a unit's first read does not change its answers."""
        row = person(1)
        await add(store, PEOPLE, row)
        unit = await store.begin(UnitOptions(read_only=read_only))
        try:
            assert await unit.execute(CountDocuments(PEOPLE)) == 1
            batch = Batch(
                (
                    Insert(PEOPLE, (person(2), person(3))),
                    Patch(PEOPLE, ids([row]), sets=(("visits", 9),)),
                )
            )
            outside = asyncio.ensure_future(store.execute(batch))
            await settle(outside)
            assert await unit.execute(CountDocuments(PEOPLE)) == 1
            assert await unit.execute(Get(PEOPLE, ids([row]))) == (row,)
            assert await unit.execute(Find(PEOPLE)) == (row,)
        finally:
            await unit.rollback()
        await outside
        assert await store.execute(CountDocuments(PEOPLE)) == 3

    @proves("T5")
    @needs_transactions
    async def test_no_update_is_lost(self, store: Backend) -> None:
        """Of units that read a value and write it back changed, each commit counts."""
        row = person(1)
        await add(store, PEOPLE, row)

        async def visit() -> bool:
            try:
                unit = await store.begin()
                try:
                    (got,) = await unit.execute(Get(PEOPLE, ids([row])))
                    assert got is not None
                    await asyncio.sleep(0.02)
                    sets = (("visits", cast(int, got["visits"]) + 1),)
                    await unit.execute(Patch(PEOPLE, ids([row]), sets=sets))
                    await unit.commit()
                finally:
                    await unit.rollback()
            except ConflictError as error:
                assert error.outcome is Outcome.NOT_APPLIED
                return False
            return True

        kept = await asyncio.gather(*(visit() for _ in range(5)))
        assert any(kept)
        after = await one(store, PEOPLE, row)
        assert after is not None
        assert after["visits"] == sum(kept)

    @proves("T5")
    @needs_transactions
    async def test_a_unit_gives_way_to_a_write_that_came_first(self, store: Backend) -> None:
        """A unit that writes what another has changed since its first read is refused."""
        row = person(1)
        await add(store, PEOPLE, row)
        unit = await store.begin()
        try:
            await unit.execute(Get(PEOPLE, ids([row])))
            patch = Patch(PEOPLE, ids([row]), increments=(("visits", 1),))
            outside = asyncio.ensure_future(store.execute(patch))
            await settle(outside)
            lost = False
            try:
                await unit.execute(Patch(PEOPLE, ids([row]), increments=(("visits", 10),)))
                await unit.commit()
            except ConflictError as error:
                lost = True
                assert error.hint
        finally:
            await unit.rollback()
        await outside
        after = await one(store, PEOPLE, row)
        assert after is not None
        assert after["visits"] == (1 if lost else 11)

    @proves("T5")
    @needs_transactions
    @needs_serializable
    async def test_a_serializable_unit_allows_no_write_skew(self, store: Backend) -> None:
        """Two serializable units that decide on the same reads are not both kept."""
        await store.execute(Ensure((PEOPLE,)))
        options = UnitOptions(isolation=Isolation.SERIALIZABLE)

        async def first_come(number: int) -> bool:
            try:
                unit = await store.begin(options)
                try:
                    if await unit.execute(CountDocuments(PEOPLE, F.team == "on duty")):
                        return False
                    await asyncio.sleep(0.02)
                    await unit.execute(Insert(PEOPLE, (person(number, team="on duty"),)))
                    await unit.commit()
                finally:
                    await unit.rollback()
            except ConflictError:
                return False
            return True

        kept = await asyncio.gather(*(first_come(number) for number in range(3)))
        assert sum(kept) <= 1
        assert await store.execute(CountDocuments(PEOPLE)) == sum(kept)

    @proves("T2")
    @needs_transactions
    async def test_an_error_ends_a_unit(self, store: Backend) -> None:
        """After an error only rollback works, and nothing of the unit is kept."""
        row = person(1)
        await add(store, PEOPLE, row)
        unit = await store.begin()
        await unit.execute(Insert(PEOPLE, (person(2),)))
        with pytest.raises(DuplicateKeyError):
            await unit.execute(Insert(PEOPLE, (person(1),)))
        with pytest.raises(LifecycleError) as error:
            await unit.execute(CountDocuments(PEOPLE))
        assert error.value.hint
        with pytest.raises(LifecycleError):
            await unit.commit()
        await unit.rollback()
        assert await stored(store, PEOPLE) == [row]

    @needs_transactions
    async def test_a_request_that_was_never_sent_leaves_a_unit_whole(self, store: Backend) -> None:
        """A unit goes on after a request that was refused before any I/O."""
        await store.execute(Ensure((PEOPLE,)))
        unit = await store.begin()
        try:
            await unit.execute(Insert(PEOPLE, (person(1),)))
            with pytest.raises(UnknownFieldError):
                await unit.execute(Find(PEOPLE, F.nmae == "Ann"))
            await unit.execute(Insert(PEOPLE, (person(2),)))
            await unit.commit()
        finally:
            await unit.rollback()
        assert await store.execute(CountDocuments(PEOPLE)) == 2

    @needs_transactions
    async def test_a_unit_that_has_ended_is_refused(self, store: Backend) -> None:
        """After commit or rollback a unit does nothing more; rolling back again is harmless."""
        await store.execute(Ensure((PEOPLE,)))
        committed, dropped = await store.begin(UnitOptions(read_only=True)), None
        await committed.commit()
        dropped = await store.begin()
        await dropped.rollback()
        for unit in (committed, dropped):
            with pytest.raises(LifecycleError):
                await unit.execute(CountDocuments(PEOPLE))
            with pytest.raises(LifecycleError):
                await unit.commit()
            await unit.rollback()
            await unit.rollback()

    @proves("T10")
    @needs_transactions
    async def test_a_unit_is_not_used_by_two_tasks_at_once(self, store: Backend) -> None:
        """Each of several requests at once is answered rightly or refused; none disturbs another."""
        people = tuple(person(number) for number in range(50))
        await add(store, PEOPLE, *people)
        unit = await store.begin()
        try:
            requests = (unit.execute(CountDocuments(PEOPLE)) for _ in range(5))
            answers = await asyncio.gather(*requests, return_exceptions=True)
            refused = [answer for answer in answers if answer != len(people)]
            assert len(refused) < len(answers)
            assert {type(answer) for answer in refused} <= {LifecycleError}
            await unit.execute(Insert(PEOPLE, (person(99),)))
            await unit.commit()
        finally:
            await unit.rollback()
        assert await store.execute(CountDocuments(PEOPLE)) == len(people) + 1

    @proves("T10")
    @needs_transactions
    async def test_a_unit_ends_at_its_deadline(self, store: Backend) -> None:
        """A unit whose deadline has passed is rolled back, and says so when it is used."""
        await store.execute(Ensure((PEOPLE,)))
        unit = await store.begin(UnitOptions(deadline=0.4))
        await unit.execute(Insert(PEOPLE, (person(1),)))
        await asyncio.sleep(0.6)
        with pytest.raises(DeadlineExceededError) as error:
            await unit.execute(CountDocuments(PEOPLE))
        assert error.value.outcome is Outcome.NOT_APPLIED
        with pytest.raises(DeadlineExceededError):
            await unit.commit()
        await unit.rollback()
        assert await store.execute(CountDocuments(PEOPLE)) == 0

    @proves("T10")
    @needs_transactions
    async def test_a_forgotten_unit_holds_nothing_up(self, store: Backend) -> None:
        """After the deadline of a unit that nobody ended, others can write what it wrote."""
        row = person(1)
        await add(store, PEOPLE, row)
        unit = await store.begin(UnitOptions(deadline=0.4))
        await unit.execute(Patch(PEOPLE, ids([row]), sets=(("visits", 9),)))
        await asyncio.sleep(0.6)
        async with asyncio.timeout(5):
            patch = Patch(PEOPLE, ids([row]), increments=(("visits", 1),))
            assert await store.execute(patch) == ({**row, "visits": 1},)
        await unit.rollback()

    @needs_transactions
    async def test_a_deadline_must_be_positive(self, store: Backend) -> None:
        """A unit that could never run is refused."""
        for deadline in (0.0, -1.0, float("nan")):
            with pytest.raises(InvalidRequestError):
                await store.begin(UnitOptions(deadline=deadline))

    @needs_transactions
    async def test_a_read_only_unit_refuses_writes(self, store: Backend) -> None:
        """A unit that promised only to read cannot write, and nothing is changed."""
        row = person(1)
        await add(store, PEOPLE, row)
        for op in (
            Insert(PEOPLE, (person(2),)),
            Replace(PEOPLE, ({**row, "visits": 9},)),
            Patch(PEOPLE, ids([row]), sets=(("visits", 9),)),
            Delete(PEOPLE, ids([row])),
        ):
            unit = await store.begin(UnitOptions(read_only=True))
            try:
                assert await unit.execute(CountDocuments(PEOPLE)) == 1
                with pytest.raises(ReadOnlyError) as error:
                    await unit.execute(op)
                assert error.value.hint
                assert error.value.outcome is Outcome.NOT_APPLIED
            finally:
                await unit.rollback()
        assert await stored(store, PEOPLE) == [row]

    @proves("T9")
    @needs_transactions
    async def test_the_schema_does_not_change_inside_a_unit(self, store: Backend) -> None:
        """A collection is made outside of units: not every backend could take it back."""
        unit = await store.begin()
        try:
            with pytest.raises(LifecycleError) as error:
                await unit.execute(Ensure((PEOPLE,)))
            assert error.value.hint
        finally:
            await unit.rollback()

    @needs_transactions
    async def test_a_batch_may_be_part_of_a_unit(self, store: Backend) -> None:
        """The operations of a batch belong to the unit that runs it."""
        await store.execute(Ensure((PEOPLE,)))
        batch = Batch((Insert(PEOPLE, (person(1), person(2))), CountDocuments(PEOPLE)))
        for end, count in (("rollback", 0), ("commit", 2)):
            unit = await store.begin()
            assert await unit.execute(batch) == (2, 2)
            await getattr(unit, end)()
            assert await store.execute(CountDocuments(PEOPLE)) == count

    @proves("D2", "D5")
    @needs_transactions
    @pytest.mark.parametrize("delay", [0.0, 0.001, 0.02])
    async def test_a_cancelled_unit_leaves_nothing(self, store: Backend, delay: float) -> None:
        """A task that is cancelled inside a unit leaves nothing behind and holds nothing up."""
        row = person(0, id=identity(0))
        await add(store, PEOPLE, row)
        begun = asyncio.Event()

        async def work() -> None:
            unit = await store.begin()
            try:
                await unit.execute(Patch(PEOPLE, ids([row]), sets=(("visits", 9),)))
                begun.set()
                for start in range(1, 2_000, 200):
                    people = (person(at, id=identity(at)) for at in range(start, start + 200))
                    await unit.execute(Insert(PEOPLE, tuple(people)))
                await asyncio.sleep(30)
                await unit.commit()
            finally:
                await unit.rollback()

        task = asyncio.create_task(work())
        await begun.wait()
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            assert await stored(store, PEOPLE) == [row]
            patch = Patch(PEOPLE, ids([row]), increments=(("visits", 1),))
            assert await store.execute(patch) == ({**row, "visits": 1},)
            await store.execute(Insert(PEOPLE, (person(1, id=identity(1)),)))

    @needs_transactions
    async def test_a_unit_knows_where_it_runs(self, store: Backend) -> None:
        """A unit has the name and the capabilities of its backend."""
        unit = await store.begin()
        try:
            assert unit.name == store.name
            assert unit.capabilities == store.capabilities
        finally:
            await unit.rollback()

    @proves("T7")
    @needs_transactions
    async def test_many_units_run_at_once(self, store: Backend) -> None:
        """Thirty units that write different documents are all kept, some after a repetition."""
        await store.execute(Ensure((PEOPLE,)))

        async def work(number: int) -> None:
            for _ in range(20):
                unit = await store.begin()
                try:
                    await unit.execute(Insert(PEOPLE, (person(number),)))
                    await unit.execute(CountDocuments(PEOPLE))
                    await unit.commit()
                except HealthstoreError as error:
                    if not error.transient:
                        raise
                else:
                    return
                finally:
                    await unit.rollback()
            pytest.fail("a unit was refused twenty times in a row")

        async with asyncio.timeout(30):
            await asyncio.gather(*(work(number) for number in range(30)))
        assert await store.execute(CountDocuments(PEOPLE)) == 30

    @proves("T7", "D5")
    @needs_transactions
    async def test_units_that_are_too_many_wait(self, store: Backend) -> None:
        """Of a hundred units that begin at once all are kept: to none the server seems down."""
        await store.execute(Ensure((PEOPLE,)))

        async def work(number: int) -> None:
            for _ in range(20):
                unit = await store.begin()
                try:
                    await unit.execute(Insert(PEOPLE, (person(number),)))
                    await unit.commit()
                except ConflictError:
                    continue
                else:
                    return
                finally:
                    await unit.rollback()
            pytest.fail("a unit gave way twenty times in a row")

        await asyncio.gather(*map(work, range(100)))
        assert await store.execute(CountDocuments(PEOPLE)) == 100
        pool = store.pool()
        assert pool is None or (pool.in_use, pool.waiting) == (0, 0)

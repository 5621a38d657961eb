"""Parts of units: what fails inside of one is undone, and the unit lives."""

from __future__ import annotations

import asyncio

import pytest

from healthstore.abc import Backend, Isolation, Unit, UnitOptions
from healthstore.entity import Entity, collection_of
from healthstore.errors import (
    ConflictError,
    DeadlineExceededError,
    DuplicateKeyError,
    ForeignKeyError,
    LifecycleError,
    StaleVersionError,
)
from healthstore.model.ops import CountDocuments, Delete, Ensure, Get, Insert, Patch, Replace
from healthstore.testing.contract._promises import (
    Contract,
    needs_parts,
    needs_serializable,
    proves,
)
from healthstore.testing.contract._samples import (
    PEOPLE,
    add,
    family,
    ids,
    member,
    person,
    settle,
    stored,
)
from healthstore.transaction import transaction

__all__ = ("TestPartsOfUnits",)


class _Ward(Entity, collection="contract_wards_of_parts"):
    name: str


class _UndoneError(Exception):
    """An error of a program's own."""


async def _is_over(unit: Unit) -> None:
    """Check that only rollback works, and that nobody has to wait for it."""
    with pytest.raises(LifecycleError):
        await unit.execute(CountDocuments(PEOPLE))
    with pytest.raises(LifecycleError):
        await unit.commit()


async def _emails(store: Backend) -> list[str]:
    return sorted(str(each["email"]) for each in await stored(store, PEOPLE))


def _emails_of(*numbers: int) -> list[str]:
    return sorted(str(person(number)["email"]) for number in numbers)


class TestPartsOfUnits(Contract):
    """``async with unit.part():`` keeps what was done in it with the unit, or undoes it alone."""

    @proves("T4")
    @needs_parts
    async def test_a_unit_goes_on_after_a_part_that_failed(self, store: Backend) -> None:
        """An error of the database undoes the part, and what is before and after it is kept."""
        row = person(1)
        await add(store, PEOPLE, row)
        unit = await store.begin()
        try:
            await unit.execute(Insert(PEOPLE, (person(2),)))
            with pytest.raises(DuplicateKeyError):
                async with unit.part():
                    await unit.execute(Insert(PEOPLE, (person(3),)))
                    await unit.execute(Insert(PEOPLE, (person(1),)))
            assert await unit.execute(CountDocuments(PEOPLE)) == 2
            await unit.execute(Insert(PEOPLE, (person(4),)))
            await unit.commit()
        finally:
            await unit.rollback()
        assert await _emails(store) == _emails_of(1, 2, 4)

    @proves("T4")
    @needs_parts
    async def test_all_that_a_part_did_is_undone(self, store: Backend) -> None:
        """What was added, replaced, changed and removed is as it was before, also its keys."""
        rows = tuple(person(number) for number in range(4))
        await add(store, PEOPLE, *rows)
        unit = await store.begin()
        try:
            await unit.execute(Patch(PEOPLE, ids(rows[:1]), sets=(("visits", 5),)))
            before = await stored(unit, PEOPLE)
            with pytest.raises(_UndoneError):
                async with unit.part():
                    await unit.execute(Insert(PEOPLE, (person(9),)))
                    await unit.execute(Replace(PEOPLE, ({**rows[1], "email": "new"},)))
                    await unit.execute(Patch(PEOPLE, ids(rows[:1]), increments=(("visits", 1),)))
                    await unit.execute(Patch(PEOPLE, ids(rows[2:3]), sets=(("email", "x"),)))
                    await unit.execute(Delete(PEOPLE, ids(rows[3:])))
                    await unit.execute(Insert(PEOPLE, ({**rows[3], "email": "again"},)))
                    raise _UndoneError
            assert await stored(unit, PEOPLE) == before
            await unit.execute(Insert(PEOPLE, (person(9),)))
            await unit.commit()
        finally:
            await unit.rollback()
        assert len(await stored(store, PEOPLE)) == 5

    @proves("T4")
    @needs_parts
    @pytest.mark.parametrize("end", ["commit", "rollback"])
    async def test_a_part_that_went_well_is_of_its_unit(self, store: Backend, end: str) -> None:
        """It is kept with the unit, and dropped with it: a part commits nothing."""
        await store.execute(Ensure((PEOPLE,)))
        unit = await store.begin()
        try:
            async with unit.part():
                await unit.execute(Insert(PEOPLE, (person(1),)))
            assert await store.execute(CountDocuments(PEOPLE)) == 0
            await unit.execute(Insert(PEOPLE, (person(2),)))
            await getattr(unit, end)()
        finally:
            await unit.rollback()
        assert await store.execute(CountDocuments(PEOPLE)) == (2 if end == "commit" else 0)

    @proves("T4")
    @needs_parts
    async def test_parts_may_be_inside_of_parts(self, store: Backend) -> None:
        """An inner one is undone alone; with an outer one go those inside that went well."""
        await store.execute(Ensure((PEOPLE,)))
        unit = await store.begin()
        try:
            async with unit.part():
                await unit.execute(Insert(PEOPLE, (person(1),)))
                with pytest.raises(DuplicateKeyError):
                    async with unit.part():
                        await unit.execute(Insert(PEOPLE, (person(2),)))
                        await unit.execute(Insert(PEOPLE, (person(1),)))
                async with unit.part():
                    await unit.execute(Insert(PEOPLE, (person(3),)))
            with pytest.raises(_UndoneError):
                async with unit.part():
                    await unit.execute(Insert(PEOPLE, (person(4),)))
                    async with unit.part():
                        await unit.execute(Insert(PEOPLE, (person(5),)))
                    raise _UndoneError
            await unit.commit()
        finally:
            await unit.rollback()
        assert await _emails(store) == _emails_of(1, 3)

    @proves("T2", "T4")
    @needs_parts
    async def test_a_part_that_failed_is_not_gone_on_with(self, store: Backend) -> None:
        """An error that the block itself catches: nothing more is done, and the end says so."""
        row = person(1)
        await add(store, PEOPLE, row)
        unit = await store.begin()
        try:
            with pytest.raises(LifecycleError) as told:
                async with unit.part():
                    await unit.execute(Insert(PEOPLE, (person(2),)))
                    with pytest.raises(DuplicateKeyError):
                        await unit.execute(Insert(PEOPLE, (person(1),)))
                    with pytest.raises(LifecycleError):
                        await unit.execute(CountDocuments(PEOPLE))
            assert told.value.hint
            assert await stored(unit, PEOPLE) == [row]
            await unit.execute(Insert(PEOPLE, (person(3),)))
            await unit.commit()
        finally:
            await unit.rollback()
        assert await store.execute(CountDocuments(PEOPLE)) == 2

    @proves("T2", "T4")
    @needs_parts
    async def test_an_error_outside_of_a_part_ends_the_unit(self, store: Backend) -> None:
        """Parts that went well before do not save it, and none begins afterwards."""
        await add(store, PEOPLE, person(1))
        unit = await store.begin()
        try:
            async with unit.part():
                await unit.execute(Insert(PEOPLE, (person(2),)))
            with pytest.raises(DuplicateKeyError):
                await unit.execute(Insert(PEOPLE, (person(1),)))
            with pytest.raises(LifecycleError):
                async with unit.part():
                    pytest.fail("the part began")
            await _is_over(unit)
        finally:
            await unit.rollback()
        assert await store.execute(CountDocuments(PEOPLE)) == 1

    @proves("T4")
    @needs_parts
    async def test_a_stale_version_undoes_a_part_only(self, store: Backend) -> None:
        """It says that this write was not made, and nothing of the unit's world."""
        row = person(1, version=2)
        await add(store, PEOPLE, row)
        unit = await store.begin()
        try:
            with pytest.raises(StaleVersionError):
                async with unit.part():
                    await unit.execute(Insert(PEOPLE, (person(2),)))
                    await unit.execute(
                        Patch(PEOPLE, ids([row]), sets=(("visits", 9),), versions=(1,))
                    )
            assert await stored(unit, PEOPLE) == [row]
            await unit.commit()
        finally:
            await unit.rollback()

    @proves("T4", "T5")
    @needs_parts
    async def test_a_conflict_ends_the_unit_in_a_part_too(self, store: Backend) -> None:
        """What it has read has changed, so that only the whole can be repeated."""
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
                try:
                    async with unit.part():
                        await unit.execute(Patch(PEOPLE, ids([row]), increments=(("visits", 10),)))
                except ConflictError:
                    lost = True
                    await _is_over(unit)
                else:
                    await unit.commit()
            except ConflictError:  # memory tells it at the commit
                lost = True
        finally:
            await unit.rollback()
        await outside
        ((after),) = await store.execute(Get(PEOPLE, ids([row])))
        assert after is not None
        assert after["visits"] == (1 if lost else 11)

    @proves("T4")
    @needs_parts
    async def test_a_unit_does_not_end_within_a_part(self, store: Backend) -> None:
        """A commit is refused while a part is open; a rollback drops the part, too."""
        await store.execute(Ensure((PEOPLE,)))
        unit = await store.begin()
        try:
            async with unit.part():
                await unit.execute(Insert(PEOPLE, (person(1),)))
                with pytest.raises(LifecycleError) as refused:
                    await unit.commit()
                assert refused.value.hint
            await unit.commit()
        finally:
            await unit.rollback()
        assert await store.execute(CountDocuments(PEOPLE)) == 1
        dropped = await store.begin()
        with pytest.raises(LifecycleError):
            async with dropped.part():
                await dropped.execute(Insert(PEOPLE, (person(2),)))
                await dropped.rollback()
        assert await store.execute(CountDocuments(PEOPLE)) == 1

    @proves("T4", "T10")
    @needs_parts
    async def test_a_deadline_passes_in_a_part(self, store: Backend) -> None:
        """The whole unit is rolled back, and says so."""
        await store.execute(Ensure((PEOPLE,)))
        unit = await store.begin(UnitOptions(deadline=0.4))
        try:
            with pytest.raises(DeadlineExceededError):
                async with unit.part():
                    await unit.execute(Insert(PEOPLE, (person(1),)))
                    await asyncio.sleep(0.6)
            with pytest.raises(DeadlineExceededError):
                await unit.commit()
        finally:
            await unit.rollback()
        async with asyncio.timeout(10):
            await store.execute(Insert(PEOPLE, (person(1),)))

    @proves("T4", "D2", "D5")
    @needs_parts
    @pytest.mark.parametrize("delay", [0.0, 0.001, 0.02])
    async def test_a_task_is_cancelled_in_a_part(self, store: Backend, delay: float) -> None:
        """The whole unit only rolls back: a statement may still have run."""
        await store.execute(Ensure((PEOPLE,)))
        unit = await store.begin()
        begun = asyncio.Event()

        async def work() -> None:
            async with unit.part():
                await unit.execute(Insert(PEOPLE, (person(0),)))
                begun.set()
                for start in range(1, 1_000, 200):
                    people = tuple(person(at) for at in range(start, start + 200))
                    await unit.execute(Insert(PEOPLE, people))
                await asyncio.sleep(30)

        try:
            task = asyncio.create_task(work())
            await begun.wait()
            await asyncio.sleep(delay)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await _is_over(unit)
        finally:
            await unit.rollback()
        async with asyncio.timeout(10):
            assert await store.execute(CountDocuments(PEOPLE)) == 0
            await store.execute(Insert(PEOPLE, (person(0),)))

    @proves("T4", "T10")
    @needs_parts
    async def test_a_part_is_of_one_task(self, store: Backend) -> None:
        """Another task cannot use the unit meanwhile, nor have a part of its own; tasks of the part can."""
        await store.execute(Ensure((PEOPLE,)))
        unit = await store.begin()
        opened, tried = asyncio.Event(), asyncio.Event()

        async def other() -> None:
            await opened.wait()
            try:
                with pytest.raises(LifecycleError) as refused:
                    await unit.execute(Insert(PEOPLE, (person(9),)))
                assert refused.value.hint
                with pytest.raises(LifecycleError):
                    async with unit.part():
                        pytest.fail("the part began")
            finally:
                tried.set()

        try:
            task = asyncio.create_task(other())
            async with unit.part():
                await unit.execute(Insert(PEOPLE, (person(1),)))
                opened.set()
                await tried.wait()
                await asyncio.create_task(unit.execute(Insert(PEOPLE, (person(2),))))
            await task
            await unit.execute(Insert(PEOPLE, (person(3),)))
            await unit.commit()
        finally:
            await unit.rollback()
        assert await store.execute(CountDocuments(PEOPLE)) == 3

    @proves("T4", "T8")
    @needs_parts
    async def test_a_broken_reference_undoes_a_part(self, store: Backend) -> None:
        """So does a delete that a reference forbids: the unit goes on after both."""
        parents, children, _ = family("restrict")
        parent, missing = member(parents), member(parents)
        await add(store, parents, parent)
        await add(store, children, member(children, parent["id"]))
        unit = await store.begin()
        try:
            with pytest.raises(ForeignKeyError):
                async with unit.part():
                    await unit.execute(Insert(parents, (member(parents),)))
                    await unit.execute(Insert(children, (member(children, missing["id"]),)))
            with pytest.raises(ForeignKeyError):
                async with unit.part():
                    await unit.execute(Insert(parents, (member(parents),)))
                    await unit.execute(Delete(parents, ids([parent])))
            await unit.execute(Insert(children, (member(children, parent["id"]),)))
            await unit.commit()
        finally:
            await unit.rollback()
        assert await store.execute(CountDocuments(parents)) == 1
        assert await store.execute(CountDocuments(children)) == 2

    @proves("T4")
    @needs_parts
    async def test_what_is_there_is_passed_over(self, store: Backend) -> None:
        """Two hundred parts in one unit, each other of which fails: a seed that ignores what is there."""
        await store.execute(Ensure((collection_of(_Ward),)))
        async with transaction(store, UnitOptions()) as tx:
            wards = tx.repository(_Ward)
            first = [_Ward(name=f"{at}") for at in range(100)]
            added = 0
            for ward in [each for one in first for each in (one, one)]:
                try:
                    async with tx.part():
                        await wards.add(ward)
                except DuplicateKeyError:
                    continue
                added += 1
            assert added == await wards.count() == 100

    @proves("T4")
    @needs_parts
    async def test_a_unit_that_only_reads_has_parts(self, store: Backend) -> None:
        """A program's own error in one leaves the unit as it was."""
        await add(store, PEOPLE, person(1))
        unit = await store.begin(UnitOptions(read_only=True))
        try:
            with pytest.raises(_UndoneError):
                async with unit.part():
                    assert await unit.execute(CountDocuments(PEOPLE)) == 1
                    raise _UndoneError
            assert await unit.execute(CountDocuments(PEOPLE)) == 1
            await unit.commit()
        finally:
            await unit.rollback()

    @proves("T4")
    @needs_parts
    @needs_serializable
    async def test_a_serializable_unit_has_parts(self, store: Backend) -> None:
        """What is undone in one is as if it had never been done."""
        await store.execute(Ensure((PEOPLE,)))
        unit = await store.begin(UnitOptions(isolation=Isolation.SERIALIZABLE))
        try:
            with pytest.raises(_UndoneError):
                async with unit.part():
                    await unit.execute(Insert(PEOPLE, (person(1),)))
                    raise _UndoneError
            await unit.execute(Insert(PEOPLE, (person(1),)))
            await unit.commit()
        finally:
            await unit.rollback()
        assert await store.execute(CountDocuments(PEOPLE)) == 1

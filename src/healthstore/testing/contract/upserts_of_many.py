"""Many objects, each added or given to what has its key: all or none, whoever else is writing."""

from __future__ import annotations

import asyncio
from typing import Annotated, cast
from uuid import UUID

import pytest
from pydantic import Field, JsonValue

from healthstore.abc import Backend
from healthstore.entity import Entity, MaxLength, Ref, collection_of, uuid7
from healthstore.errors import (
    CheckError,
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    InvalidRequestError,
    Outcome,
    StaleVersionError,
)
from healthstore.model.ops import Ensure
from healthstore.model.query import F
from healthstore.model.schema import Check, Unique
from healthstore.repository import Repository, UpsertCounts
from healthstore.testing.contract._promises import (
    Contract,
    needs_references,
    needs_transactions,
    partly_needs,
    proves,
    refuses,
)

__all__ = ("TestUpsertsOfMany",)


class _Allergen(
    Entity, collection="contract_allergens", checks=[Check("rank_is_positive", F.rank > 0)]
):
    name: Annotated[str, Unique(), MaxLength(60)]
    code: Annotated[int, Unique()] | None = None
    rank: int = 1
    data: dict[str, JsonValue] = Field(default={})


class _Dose(
    Entity,
    collection="contract_allergen_doses",
    indexes=[Unique("name", "day")],
):
    name: Annotated[str, MaxLength(60)]
    day: int
    amount: int = 0


class _Source(Entity, collection="contract_allergen_sources"):
    allergen: Annotated[UUID, Ref(_Allergen)]
    title: Annotated[str, Unique(), MaxLength(60)]


async def _allergens(store: Backend) -> Repository[_Allergen]:
    await store.execute(Ensure((collection_of(_Allergen),)))
    return Repository(_Allergen, store)


async def _all(allergens: Repository[_Allergen]) -> list[_Allergen]:
    return list(await allergens.find(order=["name"], limit=None))


class TestUpsertsOfMany(Contract):
    """``upsert_many(rows, on="name", existing="update")``."""

    @proves("W3", "W4")
    @needs_transactions
    async def test_each_is_added_or_updates_what_has_its_key(self, store: Backend) -> None:
        """What is there keeps its id and created_at, and what is equal is not written."""
        allergens = await _allergens(store)
        nut = await allergens.add(_Allergen(name="nut", code=1))
        egg = await allergens.add(_Allergen(name="egg", code=2, data={"a": [1, {"b": 2}]}))
        rows = [
            _Allergen(name="soy", code=4),
            _Allergen(name="nut", code=3, rank=2),
            _Allergen(name="egg", code=2, data={"a": [1, {"b": 2}]}),
        ]
        counts = await allergens.upsert_many(rows, on="name")
        assert counts == UpsertCounts(created=1, updated=1, unchanged=1)
        first, second, third = await _all(allergens)
        assert first == egg
        assert (second.id, second.created_at, second.version) == (nut.id, nut.created_at, 2)
        assert (second.code, second.rank) == (3, 2)
        assert second.updated_at >= nut.updated_at
        assert third == rows[0]
        assert await allergens.upsert_many(rows, on="name") == UpsertCounts(0, 0, 3)
        assert await _all(allergens) == [first, second, third]

    @proves("W3")
    @needs_transactions
    async def test_what_python_takes_for_equal_may_differ(self, store: Backend) -> None:
        """In JSON 1 and true are two values: each of them is stored."""
        allergens = await _allergens(store)
        await allergens.upsert_many([_Allergen(name="nut"), _Allergen(name="egg")], on="name")
        values: tuple[JsonValue, ...] = (1, True, [1], [True])
        for value in values:
            rows = [_Allergen(name=name, data={"n": value}) for name in ("nut", "egg")]
            counts = await allergens.upsert_many(rows, on="name")
            assert counts == UpsertCounts(0, 2, 0)
            for kept in await _all(allergens):
                assert repr(kept.data) == repr({"n": value})

    @proves("W3")
    @needs_transactions
    async def test_what_is_there_can_be_kept(self, store: Backend) -> None:
        """With existing="keep" only what is missing is added, and the rest is unchanged."""
        allergens = await _allergens(store)
        nut = await allergens.add(_Allergen(name="nut", code=1))
        rows = [_Allergen(name="nut", code=9), _Allergen(name="egg", code=2)]
        counts = await allergens.upsert_many(rows, on="name", existing="keep")
        assert counts == UpsertCounts(created=1, updated=0, unchanged=1)
        assert await _all(allergens) == [rows[1], nut]
        with pytest.raises(InvalidRequestError) as error:
            await allergens.upsert_many(rows, on="name", existing=cast("object", "drop"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # is refused
        assert error.value.hint

    @proves("W3", "W4")
    @partly_needs("transactions")
    async def test_one_and_none_need_no_transaction(self, store: Backend) -> None:
        """One object is upserted on every backend, and of none nothing is asked."""
        allergens = await _allergens(store)
        assert await allergens.upsert_many([], on="name") == UpsertCounts(0, 0, 0)
        for row, counts in (
            (_Allergen(name="nut"), UpsertCounts(1, 0, 0)),
            (_Allergen(name="nut", rank=2), UpsertCounts(0, 1, 0)),
            (_Allergen(name="nut", rank=2), UpsertCounts(0, 0, 1)),
        ):
            assert await allergens.upsert_many([row], on="name") == counts
        if not store.capabilities.transactions:
            two = [_Allergen(name="a"), _Allergen(name="b")]
            await refuses(store, allergens.upsert_many(two, on="name"))
        assert await allergens.count() == 1

    @proves("W5")
    @needs_transactions
    async def test_a_key_that_comes_twice_is_told_by_both_places(self, store: Backend) -> None:
        """Before any I/O; so is an id that does, and what is no key, or has none."""
        allergens = Repository(_Allergen, store)  # of a collection that may not be there
        rows = [_Allergen(name=f"{at}", code=at) for at in range(1_000)]
        again = [*rows[:998], _Allergen(name="7", code=-1), rows[998]]
        same = [*rows[:500], rows[3].model_copy(update={"name": "other"})]
        for wrong, places in ((again, "7 and 998 "), (same, "3 and 500 ")):
            with pytest.raises(InvalidRequestError) as error:
                await allergens.upsert_many(wrong, on="name")
            assert places in error.value.message
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert error.value.hint
        for on in ("rank", [], ["name", "code"]):
            with pytest.raises(InvalidRequestError) as error:
                await allergens.upsert_many(rows, on=on)
            assert error.value.hint
        with pytest.raises(InvalidRequestError) as error:
            await allergens.upsert_many([rows[0], _Allergen(name="x")], on="code")
        assert error.value.index == 1

    @proves("W3", "W6", "T15")
    @needs_transactions
    async def test_another_key_that_is_taken_refuses_all(self, store: Backend) -> None:
        """The error names the place of the object and the fields, and nothing is stored."""
        allergens = await _allergens(store)
        await allergens.add_many([_Allergen(name=f"{at}", code=at) for at in range(300)])
        before = await _all(allergens)
        updated = [_Allergen(name=f"{at}", code=at, rank=2) for at in range(200)]
        cases: tuple[tuple[int, _Allergen, type[HealthstoreError], tuple[str, ...]], ...] = (
            (150, _Allergen(name="new", code=250), DuplicateKeyError, ("code",)),
            (199, _Allergen(name="299", code=250), DuplicateKeyError, ("code",)),
            (200, _Allergen(name="new", code=5), DuplicateKeyError, ("code",)),  # two of them
            (7, _Allergen(id=before[-1].id, name="new"), DuplicateKeyError, ("id",)),
            (120, _Allergen(name="new", rank=0), CheckError, ()),
        )
        for place, wrong, kind, fields in cases:
            rows = [*updated[:place], wrong, *updated[place:]]
            with pytest.raises(kind) as error:
                await allergens.upsert_many(rows, on="name")
            assert error.value.index == place
            assert getattr(error.value, "fields", ()) == fields
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert error.value.backend == store.name
            assert await _all(allergens) == before

    @proves("W3", "T5")
    @needs_transactions
    async def test_a_stale_object_among_many_refuses_all(self, store: Backend) -> None:
        """Its id is stored with a higher version: by its key, or with another one by now."""
        allergens = await _allergens(store)
        nut = await allergens.add(_Allergen(name="nut", code=1))
        await allergens.update(nut.id, {"rank": 5})
        await allergens.add(_Allergen(name="egg", code=2))
        before = await _all(allergens)
        other = _Allergen(name="soy")
        for stale in (
            nut,
            nut.model_copy(update={"name": "egg"}),
            nut.model_copy(update={"name": "fig"}),
        ):
            with pytest.raises(StaleVersionError) as error:
                await allergens.upsert_many([other, stale], on="name")
            assert error.value.index == 1
            assert error.value.hint
            assert await _all(allergens) == before
        same = nut.model_copy(update={"rank": 5})
        counts = await allergens.upsert_many([other, same], on="name")
        assert counts == UpsertCounts(1, 0, 1)

    @proves("W7")
    @needs_transactions
    async def test_thousands_are_one_write(self, store: Backend) -> None:
        """2,500 by a key of one field and 300 by a key of two: added, updated, and unchanged."""
        allergens = await _allergens(store)
        rows = [_Allergen(name=f"{at:04}", code=at) for at in range(2_500)]
        assert await allergens.upsert_many(rows[:1_500], on="name") == UpsertCounts(1_500, 0, 0)
        changed = [
            _Allergen(name=row.name, code=row.code, rank=2 if at < 700 else 1)
            for at, row in enumerate(rows)
        ]
        assert await allergens.upsert_many(changed, on="name") == UpsertCounts(1_000, 700, 800)
        assert await allergens.count(F.rank == 2) == 700
        assert await allergens.count() == 2_500
        await store.execute(Ensure((collection_of(_Dose),)))
        doses = Repository(_Dose, store)
        taken = [_Dose(name=f"{at % 30}", day=at // 30) for at in range(300)]
        assert await doses.upsert_many(taken[:150], on=["name", "day"]) == UpsertCounts(150, 0, 0)
        later = [_Dose(name=each.name, day=each.day, amount=each.day % 2) for each in taken]
        counts = await doses.upsert_many(later, on=("day", "name"))
        assert counts == UpsertCounts(150, 60, 90)

    @proves("W3", "T5")
    @needs_transactions
    async def test_rivals_lose_nothing(self, store: Backend) -> None:
        """Of five that bring the same keys at once each row is created once, and each counts."""
        allergens = await _allergens(store)

        async def bring(by: int) -> UpsertCounts:
            rows = [_Allergen(name=f"{at:03}", rank=by) for at in range(40)]
            return await allergens.upsert_many(rows if by % 2 else rows[::-1], on="name")

        async with asyncio.timeout(120):
            counts = await asyncio.gather(*map(bring, range(1, 6)))
        assert sum(each.created for each in counts) == 40
        assert sum(each.updated for each in counts) == 160
        kept = await _all(allergens)
        assert {each.version for each in kept} == {5}
        assert len({each.rank for each in kept}) == 1

    @proves("W3", "T1")
    @needs_transactions
    async def test_in_a_unit_they_are_of_the_unit(self, store: Backend) -> None:
        """They see what it wrote, and go with it; another key that is taken ends it."""
        allergens = await _allergens(store)
        nut = await allergens.add(_Allergen(name="nut", code=1))
        unit = await store.begin()
        try:
            inside = Repository(_Allergen, unit, attempts=1)
            await inside.add(_Allergen(name="egg", code=2))
            rows = [_Allergen(name=name, rank=3) for name in ("egg", "nut", "soy")]
            assert await inside.upsert_many(rows, on="name") == UpsertCounts(1, 2, 0)
        finally:
            await unit.rollback()
        assert await _all(allergens) == [nut]
        unit = await store.begin()
        try:
            inside = Repository(_Allergen, unit, attempts=1)
            with pytest.raises(DuplicateKeyError) as error:
                await inside.upsert_many(
                    [_Allergen(name="egg"), _Allergen(name="soy", code=1)], on="name"
                )
            assert error.value.fields == ("code",)
        finally:
            await unit.rollback()
        assert await _all(allergens) == [nut]

    @proves("T8", "T15")
    @needs_references
    async def test_what_refers_to_nothing_refuses_all(self, store: Backend) -> None:
        """The error names the place and the field, of what is added and of what is updated."""
        await store.execute(Ensure((collection_of(_Allergen), collection_of(_Source))))
        nut = await Repository(_Allergen, store).add(_Allergen(name="nut"))
        sources = Repository(_Source, store)
        rows = [_Source(allergen=nut.id, title=f"{at}") for at in range(20)]
        await sources.upsert_many(rows[:10], on="title")
        for place in (3, 15):
            wrong = [*rows]
            wrong[place] = _Source(allergen=uuid7(), title=rows[place].title)
            with pytest.raises(ForeignKeyError) as error:
                await sources.upsert_many(wrong, on="title")
            assert error.value.index == place
            assert error.value.field == "allergen"
            assert await sources.count() == 10

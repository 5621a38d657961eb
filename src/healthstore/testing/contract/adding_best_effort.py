"""Many new objects, each by itself: what can be stored is, and what cannot tells why."""

from __future__ import annotations

from typing import Annotated, cast
from uuid import UUID

import pytest

from healthstore.abc import Backend
from healthstore.entity import Entity, MaxLength, Ref, collection_of, uuid7
from healthstore.errors import (
    CheckError,
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    InvalidRequestError,
    Outcome,
    RefusedValueError,
)
from healthstore.model.ops import Ensure
from healthstore.model.query import F
from healthstore.model.schema import Check, Unique
from healthstore.repository import Repository
from healthstore.testing.contract._promises import (
    Contract,
    needs_references,
    needs_transactions,
    proves,
)

__all__ = ("TestAddingBestEffort",)


class _Record(
    Entity, collection="contract_each_records", checks=[Check("kg_is_positive", F.kg > 0)]
):
    code: Annotated[str, Unique(), MaxLength(20)]
    kg: int = 1


class _Part(Entity, collection="contract_each_parts"):
    name: Annotated[str, Unique(), MaxLength(20)]
    whole: Annotated[UUID | None, Ref("contract_each_parts")] = None


async def _records(store: Backend) -> Repository[_Record]:
    await store.execute(Ensure((collection_of(_Record),)))
    return Repository(_Record, store)


async def _codes(records: Repository[_Record]) -> set[str]:
    return {each.code for each in await records.find(limit=None)}


class TestAddingBestEffort(Contract):
    """``add_many(rows, mode="best_effort")``."""

    @proves("W6", "T15")
    async def test_each_is_stored_or_has_its_own_error(self, store: Backend) -> None:
        """By its position: a key that is taken or comes twice, a check, a value, a stored id."""
        records = await _records(store)
        there = await records.add(_Record(code="there"))
        rows = [_Record(code=f"{at}") for at in range(60)]
        wrong: dict[int, tuple[_Record, type[HealthstoreError]]] = {
            0: (_Record(code="there"), DuplicateKeyError),
            7: (_Record(code="5"), DuplicateKeyError),
            8: (_Record(code="kg", kg=0), CheckError),
            30: (rows[0].model_copy(update={"id": uuid7(), "kg": "x"}), RefusedValueError),
            31: (_Record(id=there.id, code="id"), DuplicateKeyError),
            59: (_Record(code="6"), DuplicateKeyError),
        }
        for place, (row, _) in wrong.items():
            rows[place] = row
        added = await records.add_many(rows, mode="best_effort")
        assert added.stored == 54
        assert [each.position for each in added.errors] == list(wrong)
        for position, error in added.errors:
            assert type(error) is wrong[position][1]
            assert (error.index, error.entity, error.backend) == (position, "_Record", store.name)
            assert error.outcome is Outcome.NOT_APPLIED
        fields = [getattr(error, "fields", ()) for _, error in added.errors]
        assert fields == [("code",), ("code",), (), (), ("id",), ("code",)]
        good = {row.code for place, row in enumerate(rows) if place not in wrong}
        assert await _codes(records) == {"there", *good}
        assert await records.get(there.id) == there

    @proves("W6", "W7")
    async def test_all_of_thousands_are_stored_at_once(self, store: Backend) -> None:
        """2,100 without an error, and none of those that are there already."""
        records = await _records(store)
        rows = [_Record(code=f"{at}") for at in range(2_100)]
        added = await records.add_many(rows, mode="best_effort")
        assert (added.stored, added.errors) == (2_100, ())
        assert await records.count() == 2_100
        again = await records.add_many(rows[:40], mode="best_effort")
        assert again.stored == 0
        assert [each.position for each in again.errors] == list(range(40))
        assert (await records.add_many([], mode="best_effort")).stored == 0

    @proves("W5", "W6")
    async def test_what_nobody_can_mean_is_refused_before_any_io(self, store: Backend) -> None:
        """An id that comes twice, an object of another class, another mode."""
        records = Repository(_Record, store)  # of a collection that may not be there
        rows = [_Record(code=f"{at}") for at in range(1_200)]
        again = [*rows, rows[1_100].model_copy(update={"code": "again"})]
        with pytest.raises(InvalidRequestError) as error:
            await records.add_many(again, mode="best_effort")
        assert "1100 and 1200 " in error.value.message
        with pytest.raises(InvalidRequestError) as error:
            await records.add_many([rows[0], cast(_Record, _Part(name="a"))], mode="best_effort")
        assert error.value.index == 1
        with pytest.raises(InvalidRequestError) as error:
            await records.add_many(rows, mode="some")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]  # is refused
        assert error.value.hint

    @proves("W6")
    async def test_the_deprecated_form_stores_the_same(self, store: Backend) -> None:
        """It says that it is deprecated, and raises the first error when others are stored."""
        records = await _records(store)
        with pytest.warns(DeprecationWarning, match="best_effort"):
            assert await records.add_many([_Record(code="1"), _Record(code="2")], atomic=False) == 2
        rows = [_Record(code="3"), _Record(code="1"), _Record(code="4"), _Record(code="2")]
        with (
            pytest.warns(DeprecationWarning, match="best_effort"),
            pytest.raises(DuplicateKeyError) as error,
        ):
            await records.add_many(rows, atomic=False)
        assert error.value.index == 1
        assert error.value.outcome is Outcome.UNKNOWN
        assert await _codes(records) == {"1", "2", "3", "4"}

    @proves("T2", "W6")
    @needs_transactions
    async def test_a_unit_stores_nothing_item_by_item(self, store: Backend) -> None:
        """The first error would end it: refused before anything is sent, and the unit goes on."""
        records = await _records(store)
        unit = await store.begin()
        try:
            inside = Repository(_Record, unit, attempts=1)
            with pytest.raises(InvalidRequestError) as error:
                await inside.add_many([_Record(code="1")], mode="best_effort")
            assert error.value.hint
            assert await inside.add_many([_Record(code="1"), _Record(code="2")]) == 2
            await unit.commit()
        finally:
            await unit.rollback()
        assert await records.count() == 2

    @proves("T8", "W6")
    @needs_references
    async def test_what_refers_to_another_one_may_come_first(self, store: Backend) -> None:
        """Also where one between them is refused; what refers to a refused one is, too."""
        await store.execute(Ensure((collection_of(_Part),)))
        parts = Repository(_Part, store)
        await parts.add(_Part(name="taken"))
        last, refused = _Part(name="last"), _Part(name="taken")
        rows = [
            _Part(name="first", whole=last.id),
            refused,
            _Part(name="orphan", whole=refused.id),
            _Part(name="alone", whole=uuid7()),
            last,
        ]
        added = await parts.add_many(rows, mode="best_effort")
        assert added.stored == 2
        assert [each.position for each in added.errors] == [1, 2, 3]
        kinds = [type(each.error) for each in added.errors]
        assert kinds == [DuplicateKeyError, ForeignKeyError, ForeignKeyError]

"""Attributes of an entity's class as fields: the same filters, and no field of another class."""

from __future__ import annotations

from typing import Annotated

import pytest

from healthstore.abc import Backend
from healthstore.entity import Entity, MaxLength, collection_of
from healthstore.errors import InvalidRequestError
from healthstore.model.ops import Count, Ensure
from healthstore.model.query import F, asc, desc, field
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract
from healthstore.testing.contract._samples import add_entities

__all__ = ("TestAttributes",)


class _Living(Entity, collection="contract_living"):
    name: Annotated[str, MaxLength(20)]
    age: int = 0
    legs: int | None = None


class _Animal(_Living, collection="contract_animals"):
    age: int = 1
    wild: bool = False


class _Stone(Entity, collection="contract_stones"):
    age: int = 0


async def _animals(store: Backend) -> Repository[_Animal]:
    animals = Repository(_Animal, store)
    await store.execute(Ensure((collection_of(_Animal),)))
    rows = [("ant", 1, 6, True), ("bee", 2, 6, True), ("cat", 3, 4, False), ("eel", 4, None, True)]
    await add_entities(
        animals,
        store,
        [_Animal(name=name, age=age, legs=legs, wild=wild) for name, age, legs, wild in rows],
    )
    return animals


class TestAttributes(Contract):
    """``User.age >= 18`` is ``F.age >= 18`` for users, and for nobody else."""

    async def test_a_comparison_of_an_attribute_is_a_filter(self, store: Backend) -> None:
        """Each operator, two fields, text and null: as with F, in every verb that takes filters."""
        animals = await _animals(store)
        cases = (
            (_Animal.age == 2, F.age == 2),
            (_Animal.age != 2, F.age != 2),
            (_Animal.age < 2, F.age < 2),
            (_Animal.age <= 2, F.age <= 2),
            (_Animal.age > 2, F.age > 2),
            (_Animal.age >= 2, F.age >= 2),
            (3 > _Animal.age, F.age < 3),  # noqa: SIM300 - the other way round is what is tested
            (_Animal.legs == None, F.legs == None),  # noqa: E711 - as a filter it is written so
            (field(_Animal.legs) > field(_Animal.age), F.legs > F.age),
            (field(_Animal.name).contains("e"), F.name.contains("e")),
            (field(_Animal.age).in_([1, 4]), F.age.in_([1, 4])),
            (field(_Animal.wild).is_true(), F.wild.is_true()),
            (_Living.name == "cat", F.name == "cat"),  # inherited
        )
        for written, wanted in cases:
            assert written == wanted
            found = await animals.find(written, order=["name"])
            assert found.items == (await animals.find(wanted, order=["name"])).items
        old = _Animal.age > 2
        assert await animals.count(old, _Animal.wild == True) == 1  # noqa: E712 - as above
        assert await animals.exists(old)
        last = await animals.last(old, order=[asc(_Animal.age)])
        assert last is not None
        assert last.name == "eel"
        assert [each.name async for each in animals.stream(old, order=[desc(_Animal.age)])] == [
            "eel",
            "cat",
        ]
        assert await animals.aggregate(old, n=Count()) == [{"n": 2}]

    async def test_a_field_of_another_class_is_refused(self, store: Backend) -> None:
        """On either side and at any depth, also if this entity has a field of that name."""
        animals = await _animals(store)
        wrong = (
            _Stone.age > 1,
            (F.age > 0) & ~(field(_Stone.age).in_([1])),
            F.age > _Stone.age,
            field(_Animal.age) >= field(_Stone.age),
        )
        for each in wrong:
            with pytest.raises(InvalidRequestError, match="another entity") as error:
                await animals.find(each)
            assert error.value.entity == "_Animal"
            assert error.value.hint
        living = Repository(_Living, store)
        await store.execute(Ensure((living.collection,)))
        with pytest.raises(InvalidRequestError, match="another entity"):
            await living.count(_Animal.age > 1)  # what inherits is another class

    async def test_what_is_no_filter_is_refused(self, store: Backend) -> None:
        """A real bool, an attribute that is not compared, a value."""
        animals = await _animals(store)
        for each in (True, False, _Animal.wild, 1, "age > 1", None):
            with pytest.raises(InvalidRequestError) as error:
                await animals.find(each)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is what is tested
            assert error.value.hint
        with pytest.raises(InvalidRequestError, match="no truth value"):
            bool(_Animal.wild)
        with pytest.raises(InvalidRequestError, match="no field"):
            field("age")

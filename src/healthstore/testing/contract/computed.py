"""Computed fields: kept in every write, asked for as any other field."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Annotated, cast

import pytest
from pydantic import ConfigDict, Field, JsonValue, ValidationError

from healthstore.abc import Backend
from healthstore.entity import (
    Computed,
    Digits,
    Entity,
    MaxLength,
    collection_of,
    to_document,
    uuid7,
)
from healthstore.errors import InvalidRequestError, Outcome, RefusedValueError
from healthstore.model.operators import Add, Append, AtLeast
from healthstore.model.ops import Ensure, Insert, Patch
from healthstore.model.query import F
from healthstore.model.schema import Unique
from healthstore.model.values import Document
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, needs_transactions, proves

__all__ = ("TestComputed",)


class _Recipe(Entity, collection="contract_recipes"):
    model_config = ConfigDict(frozen=True)

    name: Annotated[str, Unique(), MaxLength(50)]
    prep: int = 0
    cook: int = 0
    steps: list[JsonValue] = Field(default=[])
    total: Annotated[int, Computed(lambda r: r.prep + r.cook)] = Field(init=False)
    per_step: Annotated[
        Decimal | None,
        Digits(12, 2),
        Computed(lambda r: Decimal(r.total) / len(r.steps) if r.steps else None),
    ] = Field(init=False)


def _recipe(**given: object) -> _Recipe:
    # The checker's plugin of pydantic takes the computed fields for required ones.
    return _Recipe.model_validate(given)


async def _recipes(store: Backend) -> Repository[_Recipe]:
    await store.execute(Ensure((collection_of(_Recipe),)))
    return Repository(_Recipe, store)


class TestComputed(Contract):
    """``total: Annotated[int, Computed(lambda r: r.prep + r.cook)]``."""

    @proves("W2")
    async def test_a_computed_field_is_kept_by_every_write(self, store: Backend) -> None:
        """By adding, values, operators, paths, increments and upserts; it is filtered as any field."""
        recipes = await _recipes(store)
        recipe = await recipes.add(_recipe(name="soup", prep=5, cook=10))
        assert (recipe.total, recipe.per_step) == (15, None)
        writes = (
            (recipes.update(recipe.id, {"prep": 6}), 16, None),
            (recipes.update(recipe.id, {"cook": Add(4), "steps": Append("boil")}), 20, "20.00"),
            (recipes.update(recipe.id, {F.steps[0]: ["boil"], "prep": AtLeast(7)}), 21, "21.00"),
            (recipes.increment(recipe.id, "prep"), 22, "22.00"),
            (recipes.upsert(_recipe(name="soup", prep=1, cook=2), on="name"), 3, None),
            (recipes.upsert(_recipe(name="soup", prep=1), on="name", add=["prep"]), 2, None),
        )
        for write, total, per_step in writes:
            after = await write
            assert after.total == total
            assert after.per_step == (None if per_step is None else Decimal(per_step))
            assert await recipes.get(recipe.id) == after
            assert await recipes.count(F.total == total) == 1
        assert await recipes.count((F.total > 2) | (F.per_step > 0)) == 0

    @proves("T5")
    async def test_rivals_leave_a_true_sum(self, store: Backend) -> None:
        """Of many that change what it is made of, each is in it."""
        recipes = await _recipes(store)
        recipe = await recipes.add(_recipe(name="soup"))
        await asyncio.gather(
            *(recipes.increment(recipe.id, name) for name in ("prep", "cook") for _ in range(4))
        )
        found = await recipes.get(recipe.id)
        assert found is not None
        assert (found.prep, found.cook, found.total, found.version) == (4, 4, 8, 9)

    async def test_another_value_is_refused(self, store: Backend) -> None:
        """Given to a new entity, in an update or by an operator; the value that it has may be given."""
        recipes = await _recipes(store)
        given: dict[str, object] = {"name": "soup", "prep": 5, "total": 5}
        recipe = await recipes.add(_recipe(**given))
        assert (await recipes.update(recipe.id, {"cook": 1, "total": 6})).total == 6
        wrong = _recipe(**{**given, "name": "stew", "total": 7})
        copied = recipe.model_copy(update={"prep": 9})
        for refused_write in (
            lambda: recipes.add(wrong),
            lambda: recipes.add_many([wrong]),
            lambda: recipes.upsert(copied),
            lambda: recipes.update(recipe.id, {"total": 7}),
            lambda: recipes.update(recipe.id, {"total": Add(1)}),
            lambda: recipes.increment(recipe.id, "total"),
        ):
            with pytest.raises(RefusedValueError) as refused:
                await cast("asyncio.Future[object]", refused_write())
            assert (refused.value.entity, refused.value.field) == ("_Recipe", "total")
            assert refused.value.hint
            assert refused.value.outcome is Outcome.NOT_APPLIED
        with pytest.raises(InvalidRequestError):
            await recipes.upsert(_recipe(name="soup"), on="name", add=["total"])
        assert await recipes.count() == 1
        assert await recipes.count(F.total == 6) == 1

    async def test_what_cannot_be_computed_is_told_without_a_value(self, store: Backend) -> None:
        """The function raises, or makes what does not fit: entity and field, and nothing is written."""
        recipes = await _recipes(store)
        recipe = await recipes.add(_recipe(name="soup", prep=10, steps=[1, 2]))
        for changes, field in (
            ({"steps": [1, 2, 3]}, "per_step"),  # more places than it has
            ({"prep": 2**63 - 1, "cook": 1}, "total"),
        ):
            with pytest.raises(RefusedValueError) as refused:
                await recipes.update(recipe.id, changes)
            assert (refused.value.entity, refused.value.field) == ("_Recipe", field)
            assert "3.3" not in str(refused.value)
            assert str(2**63) not in str(refused.value)
        assert await recipes.get(recipe.id) == recipe

        class Shared(Entity, collection="contract_shared_costs"):
            cost: int
            among: int
            each: Annotated[int, Computed(lambda r: r.cost // r.among)] = Field(init=False)

        await store.execute(Ensure((collection_of(Shared),)))
        shared = Repository(Shared, store)
        with pytest.raises(ValidationError, match=r"Shared\neach\n.*ZeroDivisionError") as failed:
            Shared.model_validate({"cost": 4711, "among": 0})
        assert "4711" not in str(failed.value)
        kept = await shared.add(Shared.model_validate({"cost": 4711, "among": 2}))
        with pytest.raises(RefusedValueError, match="ZeroDivisionError") as refused:
            await shared.update(kept.id, {"among": 0})
        assert (refused.value.entity, refused.value.field) == ("Shared", "each")
        assert "4711" not in str(refused.value)
        assert await shared.get(kept.id) == kept

    @proves("W2")
    async def test_a_computed_field_is_kept_where_many_are_changed(self, store: Backend) -> None:
        """By a condition and by ids: it is made anew, and another value changes nothing."""
        recipes = await _recipes(store)
        soup = await recipes.add(_recipe(name="soup", prep=5, cook=10))
        stew = await recipes.add(_recipe(name="stew", prep=5, cook=60))
        whole = store.capabilities.transactions
        batch = None if whole else 10
        assert await recipes.update_where(F.prep == 5, {"cook": Add(1)}, batch=batch) == 2
        assert await recipes.update_where(F.total == 66, {"prep": AtLeast(7)}, batch=batch) == 1
        assert await recipes.count((F.total == 16) | (F.total == 68)) == 2
        with pytest.raises(RefusedValueError):
            await recipes.update_where(F.total == 68, {"total": 1}, batch=batch)
        with pytest.raises(RefusedValueError):
            await recipes.update_many({soup.id: {"prep": 1, "total": 1}})
        assert [each and each.total for each in await recipes.get_many([soup.id, stew.id])] == [
            16,
            68,
        ]
        assert await recipes.update_many({soup.id: {"prep": 6, "total": 17}}) == 1
        if whole:
            await recipes.update_many({soup.id: {"prep": 0}, stew.id: {"cook": 0}})
            assert await recipes.count((F.total == 11) | (F.total == 7)) == 2

    async def test_what_is_stored_is_read_as_it_is(self, store: Backend) -> None:
        """A value that an earlier function made stays until the entity is written again."""
        recipes = await _recipes(store)
        recipe = await recipes.add(_recipe(name="soup", prep=5))
        collection = collection_of(_Recipe)
        await store.execute(Patch(collection, (recipe.id,), (("total", 99),)))
        (found,) = await recipes.find(F.total == 99)
        assert found.total == 99
        assert (await recipes.update(recipe.id, {"name": "stew"})).total == 5

    @needs_transactions
    async def test_documents_that_are_loaded_stay_as_they_are(self, store: Backend) -> None:
        """Many entities are computed one by one; documents of another store are not looked at."""
        recipes = await _recipes(store)
        many = [_recipe(name=str(at), prep=at) for at in range(5)]
        assert await recipes.add_many(many) == 5
        assert [each.total for each in await recipes.find(order=["prep"])] == list(range(5))
        row: Document = {**to_document(many[0]), "id": uuid7(), "name": "x", "total": 77}
        await store.execute(Insert(collection_of(_Recipe), (row,)))
        assert await recipes.count(F.total == 77) == 1

"""Whole objects: saved by their version, added unless they are there, and never silently stale."""

from __future__ import annotations

import asyncio
from typing import Annotated

import pytest
from pydantic import Field, JsonValue

from healthstore.abc import Backend
from healthstore.entity import Entity, MaxLength, collection_of, uuid7
from healthstore.errors import (
    DuplicateKeyError,
    InvalidRequestError,
    NotFoundError,
    Outcome,
    SerializationError,
    StaleVersionError,
)
from healthstore.model.ops import Ensure
from healthstore.model.schema import Unique
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, needs_transactions, proves

__all__ = ("TestSaves",)


class _Member(Entity, collection="contract_saved_members"):
    email: Annotated[str, Unique(), MaxLength(60)]
    number: Annotated[int, Unique()] | None = None
    name: Annotated[str, MaxLength(60)] = ""
    data: dict[str, JsonValue] = Field(default={})


async def _members(store: Backend) -> Repository[_Member]:
    await store.execute(Ensure((collection_of(_Member),)))
    return Repository(_Member, store)


class TestSaves(Contract):
    """``save(entity)``, ``get_or_add(entity, on="email")``, and ``upsert`` of what is stale."""

    @proves("W2")
    async def test_save_stores_the_whole_object(self, store: Backend) -> None:
        """Every field, under the version that the object has; the new one is returned."""
        members = await _members(store)
        first = await members.add(_Member(email="a@x", number=1, data={"a": 1}))
        saved = await members.save(first.model_copy(update={"name": "Ann", "number": None}))
        assert (saved.name, saved.number, saved.data, saved.version) == ("Ann", None, {"a": 1}, 2)
        assert (saved.id, saved.created_at) == (first.id, first.created_at)
        assert saved.updated_at >= first.updated_at
        assert await members.get(first.id) == saved
        again = await members.save(saved)
        assert again.version == 3
        assert await members.get(first.id) == again

    @proves("W1")
    async def test_save_of_what_is_not_stored_is_refused(self, store: Backend) -> None:
        """Nothing is added: NotFoundError, with a hint."""
        members = await _members(store)
        with pytest.raises(NotFoundError) as error:
            await members.save(_Member(email="a@x"))
        assert error.value.hint
        assert error.value.backend == store.name
        assert await members.count() == 0

    @proves("T5")
    async def test_save_overwrites_nobodys_change(self, store: Backend) -> None:
        """A stored higher version is StaleVersionError, unless nothing differs."""
        members = await _members(store)
        first = await members.add(_Member(email="a@x", data={"n": 1}))
        after = await members.update(first.id, {"name": "Ann"})
        for name, data in (("Bob", {"n": 1}), ("", {"n": 1}), ("Ann", {"n": True})):
            mine = first.model_copy(update={"name": name, "data": data})
            with pytest.raises(StaleVersionError) as error:
                await members.save(mine)
            assert error.value.hint
            assert error.value.outcome is Outcome.NOT_APPLIED
        same = first.model_copy(update={"name": "Ann", "data": {"n": 1}})
        assert await members.save(same) == after
        assert await members.get(first.id) == after

    @proves("T5")
    async def test_one_of_many_saves_wins(self, store: Backend) -> None:
        """Of ten that save the same object, each with another name, one is stored."""
        members = await _members(store)
        first = await members.add(_Member(email="a@x"))

        async def save(at: int) -> bool:
            try:
                await members.save(first.model_copy(update={"name": f"{at}"}))
            except (StaleVersionError, SerializationError):
                return False
            return True

        saved = await asyncio.gather(*map(save, range(10)))
        assert sum(saved) == 1
        kept = await members.get(first.id)
        assert kept is not None
        assert (kept.name, kept.version) == (f"{saved.index(True)}", 2)

    async def test_save_takes_no_key_of_another(self, store: Backend) -> None:
        """A unique key that is taken is DuplicateKeyError, and nothing is stored."""
        members = await _members(store)
        await members.add(_Member(email="a@x", number=1))
        other = await members.add(_Member(email="b@x", number=2))
        with pytest.raises(DuplicateKeyError) as error:
            await members.save(other.model_copy(update={"number": 1, "name": "Bob"}))
        assert error.value.fields == ("number",)
        assert await members.get(other.id) == other

    @proves("T5")
    @needs_transactions
    async def test_save_in_a_unit_is_of_the_unit(self, store: Backend) -> None:
        """Stale or missing ones are refused there as well, and what is equal is no write."""
        members = await _members(store)
        first = await members.add(_Member(email="a@x"))
        after = await members.update(first.id, {"name": "Ann"})
        cases = (
            (first.model_copy(update={"name": "Bob"}), StaleVersionError),
            (_Member(email="c@x"), NotFoundError),
        )
        for wrong, kind in cases:
            unit = await store.begin()
            try:
                with pytest.raises(kind):
                    await Repository(_Member, unit, attempts=1).save(wrong)
            finally:
                await unit.rollback()
        unit = await store.begin()
        try:
            inside = Repository(_Member, unit, attempts=1)
            assert await inside.save(first.model_copy(update={"name": "Ann"})) == after
            assert (await inside.save(after)).version == 3
            await unit.commit()
        finally:
            await unit.rollback()
        kept = await members.get(first.id)
        assert kept is not None
        assert kept.version == 3

    @proves("W3", "W4")
    async def test_an_upsert_of_a_stale_object_does_not_win(self, store: Backend) -> None:
        """Its own id is stored with a higher version, by whatever key it comes."""
        members = await _members(store)
        first = await members.add(_Member(email="a@x", number=1))
        after = await members.update(first.id, {"name": "Ann", "email": "b@x"})
        other = await members.add(_Member(email="a@x", number=2))
        cases = (
            (first, "id"),  # found by its id
            (first, "email"),  # its key is another one's by now
            (first.model_copy(update={"email": "c@x"}), "email"),  # its key is nobody's
            (first.model_copy(update={"email": "b@x", "name": "Bob"}), "email"),
        )
        for stale, key in cases:
            with pytest.raises(StaleVersionError) as error:
                await members.upsert(stale, on=key)
            assert error.value.hint
            assert error.value.backend == store.name
        same = first.model_copy(update={"name": "Ann", "email": "b@x"})
        assert await members.upsert(same) == after
        assert await members.upsert(same, on="email") == after
        assert await members.get(first.id) == after
        assert await members.get(other.id) == other

    @proves("W3")
    async def test_what_is_there_is_got_and_else_added(self, store: Backend) -> None:
        """With True the object itself, with False the stored one as it is."""
        members = await _members(store)
        mine = _Member(email="a@x", name="Ann")
        first, created = await members.get_or_add(mine, on="email")
        assert (first, created) == (mine, True)
        again, created = await members.get_or_add(_Member(email="a@x", name="Bob"), on="email")
        assert (again, created) == (mine, False)
        assert await members.get_or_add(mine) == (mine, False)
        assert await members.count() == 1

    @proves("W3")
    async def test_get_or_add_takes_no_other_key(self, store: Backend) -> None:
        """Another unique key that is taken is an error that names it; so is no key at all."""
        members = await _members(store)
        await members.add(_Member(email="a@x", number=1))
        with pytest.raises(DuplicateKeyError) as error:
            await members.get_or_add(_Member(email="b@x", number=1), on="email")
        assert error.value.fields == ("number",)
        for wrong in ("name", [], ["email", "number"]):
            with pytest.raises(InvalidRequestError) as refused:
                await members.get_or_add(_Member(email="c@x"), on=wrong)
            assert refused.value.hint
        with pytest.raises(InvalidRequestError):
            await members.get_or_add(_Member(email="c@x"), on="number")
        assert await members.count() == 1

    @proves("W3", "C11")
    async def test_of_twenty_that_come_at_once_one_is_added(self, store: Backend) -> None:
        """Each task is given that one, and one of them is told that it was its own."""
        members = await _members(store)
        got = await asyncio.gather(
            *(
                members.get_or_add(_Member(email="a@x", name=f"{at}"), on="email")
                for at in range(20)
            )
        )
        assert [created for _, created in got].count(True) == 1
        (kept,) = await members.find(limit=10)
        assert all(each == kept for each, _ in got)

    @proves("W3", "T5")
    @needs_transactions
    async def test_units_that_come_at_once_add_one(self, store: Backend) -> None:
        """One that another was faster than is a conflict: it is run again, and gets what is there."""
        members = await _members(store)

        async def work(at: int) -> bool:
            while True:
                unit = await store.begin()
                try:
                    inside = Repository(_Member, unit, attempts=1)
                    mine = _Member(email="a@x", name=f"{at}")
                    _, created = await inside.get_or_add(mine, on="email")
                    await inside.add(_Member(id=uuid7(), email=f"{at}@y"))
                    await unit.commit()
                except SerializationError:
                    await asyncio.sleep(0.001 * at)
                    continue
                finally:
                    await unit.rollback()
                return created

        async with asyncio.timeout(60):
            created = await asyncio.gather(*map(work, range(5)))
        assert created.count(True) == 1
        assert await members.count() == 6

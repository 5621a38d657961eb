"""Replacements of many documents: guarded by their versions, whole, and by one request."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    ConflictError,
    DuplicateKeyError,
    InvalidRequestError,
    Outcome,
    StaleVersionError,
)
from healthstore.model.ops import Delete, Get, Insert, Patch, Replace
from healthstore.model.values import Document
from healthstore.testing.contract._promises import Contract, needs_transactions
from healthstore.testing.contract._samples import (
    EVERYTHING,
    PEOPLE,
    add,
    every_row,
    everything,
    exact,
    identity,
    ids,
    person,
    settle,
    stored,
)

__all__ = ("TestReplacements",)

_MANY = 60


def _people() -> list[Document]:
    return [person(number, id=identity(number)) for number in range(_MANY)]


def _changed(people: list[Document]) -> tuple[Document, ...]:
    return tuple({**each, "version": 2, "name": "new", "visits": 7} for each in people)


class TestReplacements(Contract):
    """Documents take the place of those that were read."""

    async def test_every_kind_of_value_is_replaced_together_with_others(
        self, store: Backend
    ) -> None:
        """Many documents, with edges and nulls of each kind, come back exactly."""
        rows = every_row(_MANY)
        before = [everything(id=each["id"]) for each in rows]
        await add(store, EVERYTHING, *before)
        wanted = [{**each, "version": 2} for each in rows]
        op = Replace(EVERYTHING, tuple(wanted), (1,) * _MANY, atomic=False)
        assert await store.execute(op) == (True,) * _MANY
        found = {each["id"]: exact(each) for each in await stored(store, EVERYTHING)}
        assert found == {each["id"]: exact(each) for each in wanted}

    async def test_a_replacement_that_is_not_atomic_says_what_was_there(
        self, store: Backend
    ) -> None:
        """Those that are there are replaced; a missing id gives False, on any backend."""
        people = _people()
        await add(store, PEOPLE, *people)
        new, absent = _changed(people), person(999)
        op = Replace(PEOPLE, (*new[:9], absent, *new[9:]), (1,) * (_MANY + 1), atomic=False)
        assert await store.execute(op) == (*(True,) * 9, False, *(True,) * (_MANY - 9))
        assert await stored(store, PEOPLE) == list(new)

    async def test_of_a_replacement_that_is_not_atomic_no_other_version_is_overwritten(
        self, store: Backend
    ) -> None:
        """Documents of other versions stay; each of the rest is as it was or as it was to be."""
        people = _people()
        await add(store, PEOPLE, *people)
        moved = {3, _MANY - 1}
        for number in moved:
            patch = Patch(PEOPLE, ids([people[number]]), (("name", "x"),), (("version", 1),))
            await store.execute(patch)
        before, new = await stored(store, PEOPLE), _changed(people)
        with pytest.raises(StaleVersionError) as error:
            await store.execute(Replace(PEOPLE, new, (1,) * _MANY, atomic=False))
        assert error.value.entity == "Person"
        after = await stored(store, PEOPLE)
        for number, each in enumerate(after):
            assert each in ([before[number]] if number in moved else [before[number], new[number]])
        if after != before:
            assert error.value.outcome is Outcome.UNKNOWN

    async def test_a_replacement_that_is_not_atomic_expects_versions(self, store: Backend) -> None:
        """Without versions nobody could say what was replaced before an error: it is refused."""
        people = _people()[:2]
        await add(store, PEOPLE, *people)
        with pytest.raises(InvalidRequestError) as error:
            await store.execute(Replace(PEOPLE, _changed(people), atomic=False))
        assert error.value.hint
        assert await stored(store, PEOPLE) == people

    @pytest.mark.parametrize("count", [1, _MANY])
    async def test_another_document_of_the_same_id_and_version_is_not_overwritten(
        self, store: Backend, count: int
    ) -> None:
        """What was deleted and added anew meanwhile differs in a field that was to be the same."""
        people = [{**each, "team": "a"} for each in _people()[:count]]
        await add(store, PEOPLE, *people)
        anew = {**people[-1], "team": "b"}
        await store.execute(Delete(PEOPLE, ids(people[-1:])))
        await store.execute(Insert(PEOPLE, (anew,)))
        new = _changed(people)
        op = Replace(PEOPLE, new, (1,) * count, atomic=False, same=("team",))
        with pytest.raises(StaleVersionError) as error:
            await store.execute(op)
        assert error.value.entity == "Person"
        found = await stored(store, PEOPLE)
        assert found[-1] == anew
        assert all(each in (*people, *new) for each in found[:-1])
        versions = tuple(cast(int, each["version"]) for each in found)
        last = tuple(
            {**each, "team": one["team"], "version": version + 1}
            for each, one, version in zip(new, found, versions, strict=True)
        )
        op = Replace(PEOPLE, last, versions, atomic=False, same=("team",))
        assert await store.execute(op) == (True,) * count
        assert await stored(store, PEOPLE) == list(last)

    async def test_what_is_to_be_the_same_takes_versions(self, store: Backend) -> None:
        """And names fields that stay: neither the id nor the version, and none that is not known."""
        (row,) = people = _people()[:1]
        await add(store, PEOPLE, row)
        new = _changed(people)
        for op in (
            Replace(PEOPLE, new, same=("team",)),
            Replace(PEOPLE, new, (1,), same=("version",)),
            Replace(PEOPLE, new, (1,), same=("id",)),
            Replace(PEOPLE, new, (1,), same=("taem",)),
        ):
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(op)
            assert error.value.hint
        assert await stored(store, PEOPLE) == people

    @needs_transactions
    async def test_in_a_unit_another_document_of_the_same_id_refuses_all(
        self, store: Backend
    ) -> None:
        """Whether one document is replaced or many are: the unit has failed, and nothing is kept."""
        people = [{**each, "team": "a"} for each in _people()]
        await add(store, PEOPLE, *people)
        for some in (people[:1], people):
            new = tuple({**each, "team": "b"} for each in _changed(some))
            unit = await store.begin()
            try:
                with pytest.raises(ConflictError):
                    op = Replace(PEOPLE, new, (1,) * len(some), same=("team",))
                    await unit.execute(op)
            finally:
                await unit.rollback()
            assert await stored(store, PEOPLE) == people

    @needs_transactions
    async def test_many_are_replaced_at_once_only_in_a_transaction(self, store: Backend) -> None:
        """All or none takes transactions; where there are none it is refused before any write."""
        people = _people()
        await add(store, PEOPLE, *people)
        op = Replace(PEOPLE, _changed(people), (1,) * _MANY)
        assert await store.execute(op) == (True,) * _MANY

    @needs_transactions
    async def test_in_a_unit_missing_ones_are_told_and_the_others_are_replaced(
        self, store: Backend
    ) -> None:
        """A unit replaces those that are there, sees them, and goes on."""
        people = _people()
        await add(store, PEOPLE, *people)
        new = _changed(people)
        unit = await store.begin()
        try:
            op = Replace(PEOPLE, (person(999), *new), (1,) * (_MANY + 1))
            assert await unit.execute(op) == (False, *(True,) * _MANY)
            assert await unit.execute(Get(PEOPLE, ids(new))) == new
            again = tuple({**each, "version": 3} for each in new)
            assert await unit.execute(Replace(PEOPLE, again, (2,) * _MANY)) == (True,) * _MANY
            await unit.commit()
        finally:
            await unit.rollback()
        assert await stored(store, PEOPLE) == list(again)

    @needs_transactions
    async def test_in_a_unit_one_other_version_refuses_all(self, store: Backend) -> None:
        """The unit has failed then, and nothing of it is kept."""
        people = _people()
        await add(store, PEOPLE, *people)
        unit = await store.begin()
        try:
            with pytest.raises(StaleVersionError):
                op = Replace(PEOPLE, _changed(people), (*(1,) * (_MANY - 1), 5))
                await unit.execute(op)
        finally:
            await unit.rollback()
        assert await stored(store, PEOPLE) == people

    @needs_transactions
    async def test_what_others_changed_since_the_unit_read_it_is_not_overwritten(
        self, store: Backend
    ) -> None:
        """Of many documents one was changed meanwhile: a conflict, and nothing is replaced."""
        people = _people()
        await add(store, PEOPLE, *people)
        patch = Patch(PEOPLE, ids(people[7:8]), (("name", "x"),), (("version", 1),))
        unit, lost = await store.begin(), False
        try:
            assert list(await unit.execute(Get(PEOPLE, ids(people)))) == people
            outside = asyncio.ensure_future(store.execute(patch))
            await settle(outside)
            try:
                await unit.execute(Replace(PEOPLE, _changed(people), (1,) * _MANY))
                await unit.commit()
            except ConflictError:
                lost = True
        finally:
            await unit.rollback()
        assert await outside != (None,)
        theirs = people if lost else [*_changed(people)]
        version = cast(int, theirs[7]["version"]) + 1
        wanted = [*theirs[:7], {**theirs[7], "name": "x", "version": version}, *theirs[8:]]
        assert await stored(store, PEOPLE) == wanted

    @needs_transactions
    async def test_a_key_that_others_have_refuses_all(self, store: Backend) -> None:
        """One of many documents takes another one's unique key: none is replaced."""
        people = [
            person(number, id=identity(number), email=f"{number}@x.org") for number in range(4)
        ]
        await add(store, PEOPLE, *people)
        new = [*_changed(people)]
        new[2] = {**new[2], "email": people[1]["email"]}
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Replace(PEOPLE, tuple(new), (1,) * 4))
        assert error.value.fields == ("email",)
        assert await stored(store, PEOPLE) == people

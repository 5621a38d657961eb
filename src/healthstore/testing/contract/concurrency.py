"""Concurrency: many callers at once, and none of their writes is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    StaleVersionError,
)
from healthstore.model.ops import CountDocuments, Delete, Ensure, Get, Insert, Op, Patch, Replace
from healthstore.model.query import F
from healthstore.model.schema import OnDelete
from healthstore.testing.contract._promises import (
    Contract,
    needs_references,
    needs_transactions,
    proves,
)
from healthstore.testing.contract._samples import (
    PEOPLE,
    add,
    family,
    identity,
    ids,
    member,
    one,
    person,
    stored,
)

__all__ = ("TestConcurrency",)

R = TypeVar("R")


async def _patiently(request: Callable[[], Awaitable[R]]) -> R:
    """Repeat a request while its error says that this may help.

    The pauses are random and grow, as those of the retry layer do: twenty callers who repeat in
    step collide again each time, and on a server whose unique keys are exclusion constraints
    (DocumentDB) each collision is a deadlock.
    """
    for attempt in range(60):
        try:
            return await request()
        except HealthstoreError as error:
            if not error.transient:
                raise
            pause = random.uniform(0, min(0.002 * 2**attempt, 0.5))  # noqa: S311 - no secret
            await asyncio.sleep(pause)
    pytest.fail("the request was refused sixty times in a row")


async def _is_done(store: Backend, op: Op[object]) -> bool:
    """Run an operation patiently; tell whether it was done or a reference forbade it."""
    try:
        await _patiently(lambda: store.execute(op))
    except ForeignKeyError:
        return False
    return True


class TestConcurrency(Contract):
    """Concurrent requests have the effect of requests one after the other."""

    @proves("T5")
    async def test_concurrent_increments_all_count(self, store: Backend) -> None:
        """Twenty tasks that increment one number three times each add sixty."""
        row = person(1)
        await add(store, PEOPLE, row)
        patch = Patch(PEOPLE, ids([row]), increments=(("visits", 1), ("version", 1)))

        async def visit() -> None:
            for _ in range(3):
                await _patiently(lambda: store.execute(patch))

        await asyncio.gather(*(visit() for _ in range(20)))
        assert await stored(store, PEOPLE) == [{**row, "visits": 60, "version": 61}]

    async def test_one_of_many_takes_a_key(self, store: Backend) -> None:
        """Of twenty documents with the same key that come at once, exactly one is kept."""
        await store.execute(Ensure((PEOPLE,)))

        async def take(number: int) -> bool:
            row = person(1, id=identity(number))
            try:
                await _patiently(lambda: store.execute(Insert(PEOPLE, (row,))))
            except DuplicateKeyError as error:
                assert error.fields == ("email",)
                return False
            return True

        taken = await asyncio.gather(*(take(number) for number in range(20)))
        assert sum(taken) == 1
        assert ids(await stored(store, PEOPLE)) == (identity(taken.index(True)),)

    async def test_a_document_that_is_being_changed_is_there(self, store: Backend) -> None:
        """A replacement finds it, and a delete removes it, whatever else is just writing to it."""
        for number in range(30):
            row = person(number, id=identity(number))
            await add(store, PEOPLE, row)
            visit = Patch(PEOPLE, ids([row]), increments=(("visits", 1),))
            last: tuple[Op[tuple[bool, ...]], ...] = (
                Replace(PEOPLE, ({**row, "name": "x"},)),
                Delete(PEOPLE, ids([row])),
            )
            for op in last:
                visits = [
                    asyncio.create_task(_patiently(lambda: store.execute(visit)))  # noqa: B023 - awaited in this round
                    for _ in range(3)
                ]
                await asyncio.sleep(0.002 * (number % 5))
                assert await _patiently(lambda: store.execute(op)) == (True,)  # noqa: B023 - as above
                await asyncio.gather(*visits)
            assert await one(store, PEOPLE, row) is None

    async def test_one_of_many_writes_the_next_version(self, store: Backend) -> None:
        """Of twenty writes that expect the same version, exactly one is applied."""
        row = person(1)
        await add(store, PEOPLE, row)

        async def write(number: int) -> bool:
            new = {**row, "version": 2, "visits": number}
            try:
                await _patiently(lambda: store.execute(Replace(PEOPLE, (new,), (1,))))
            except StaleVersionError:
                return False
            return True

        written = await asyncio.gather(*(write(number) for number in range(20)))
        assert sum(written) == 1
        assert await stored(store, PEOPLE) == [{**row, "version": 2, "visits": written.index(True)}]

    async def test_concurrent_callers_each_get_their_own_answer(self, store: Backend) -> None:
        """A hundred reads and writes at once are answered each with its own document."""
        people = [person(number, id=identity(number)) for number in range(50)]
        await add(store, PEOPLE, *people)

        async def read(at: int) -> None:
            assert await store.execute(Get(PEOPLE, (identity(at),))) == (people[at],)

        async def write(at: int) -> None:
            patch = Patch(PEOPLE, (identity(at),), increments=(("visits", at),))
            (after,) = await _patiently(lambda: store.execute(patch))
            assert after == {**people[at], "visits": at}

        await asyncio.gather(*map(read, range(50)))
        await asyncio.gather(*map(write, range(50)))
        wanted = [{**row, "visits": number} for number, row in enumerate(people)]
        assert await stored(store, PEOPLE) == wanted

    @proves("D1")
    async def test_a_write_is_seen_by_every_reader_at_once(self, store: Backend) -> None:
        """After a write is acknowledged, no reader gets the document as it was before."""
        row = person(1)
        await add(store, PEOPLE, row)
        for visits in range(1, 11):
            await asyncio.gather(*(one(store, PEOPLE, row) for _ in range(4)))
            await store.execute(Patch(PEOPLE, ids([row]), sets=(("visits", visits),)))
            seen = await asyncio.gather(*(one(store, PEOPLE, row) for _ in range(8)))
            assert [got and got["visits"] for got in seen] == [visits] * 8

    @proves("T8")
    @needs_references
    async def test_no_child_outlives_its_parent(self, store: Backend) -> None:
        """When a parent is removed while children are added, none is left without a parent."""
        parents, children, _ = family("restrict")
        await store.execute(Ensure((parents, children)))
        for _ in range(5):
            parent = member(parents)
            await add(store, parents, parent)
            child = member(children, parent["id"])

            adopted, removed = await asyncio.gather(
                _is_done(store, Insert(children, (child,))),
                _is_done(store, Delete(parents, ids([parent]))),
            )
            assert adopted is not removed
            assert (await one(store, parents, parent) is None) is removed
            assert (await one(store, children, child) is not None) is adopted

    @needs_references
    @pytest.mark.parametrize("on_delete", ["cascade", "set_null"])
    async def test_a_child_that_comes_meanwhile_is_no_orphan(
        self, store: Backend, on_delete: OnDelete
    ) -> None:
        """A child that is added while its parent goes is refused, or treated as it declares."""
        parents, children, _ = family(on_delete)
        await store.execute(Ensure((parents, children)))
        for _ in range(4):
            parent = member(parents)
            await add(store, parents, parent)
            early, late = ([member(children, parent["id"]) for _ in range(3)] for _ in range(2))
            await add(store, children, *early)
            removed, *adopted = await asyncio.gather(
                _is_done(store, Delete(parents, ids([parent]))),
                *(_is_done(store, Insert(children, (child,))) for child in late),
            )
            assert removed
            assert await one(store, parents, parent) is None
            assert await stored(store, children, F.parent == parent["id"]) == []
            there = [await one(store, children, child) is not None for child in (*early, *late)]
            wanted = [True] * 3 + adopted if on_delete == "set_null" else [False] * 6
            assert there == wanted

    async def test_concurrent_callers_make_one_collection(self, store: Backend) -> None:
        """Several processes may prepare the same store at once."""
        results = await asyncio.gather(*(store.execute(Ensure((PEOPLE,))) for _ in range(4)))
        assert all({*each.created, *each.present} == {PEOPLE.name} for each in results)
        await store.execute(Insert(PEOPLE, (person(1),)))
        with pytest.raises(DuplicateKeyError):
            await store.execute(Insert(PEOPLE, (person(1),)))

    @needs_transactions
    async def test_concurrent_changes_of_several_documents_do_not_mix(self, store: Backend) -> None:
        """Requests that change the same documents in another order all end, and all count."""
        people = [person(number, id=identity(number)) for number in range(5)]
        await add(store, PEOPLE, *people)
        orders = [ids(people), tuple(reversed(ids(people)))]

        async def visit(number: int) -> None:
            patch = Patch(PEOPLE, orders[number % 2], increments=(("visits", 1),))
            await _patiently(lambda: store.execute(patch))

        async with asyncio.timeout(30):
            await asyncio.gather(*(visit(number) for number in range(10)))
        assert [row["visits"] for row in await stored(store, PEOPLE)] == [10] * 5

    async def test_a_count_is_exact_after_concurrent_writes(self, store: Backend) -> None:
        """Fifty documents that are added at once are all there."""
        await store.execute(Ensure((PEOPLE,)))
        inserts = [Insert(PEOPLE, (person(number),)) for number in range(50)]
        await asyncio.gather(*(_is_done(store, insert) for insert in inserts))
        assert await store.execute(CountDocuments(PEOPLE)) == 50

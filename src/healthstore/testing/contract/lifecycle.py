"""The life of a backend: opened, used, closed, opened again."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from healthstore.abc import Backend
from healthstore.errors import LifecycleError, Outcome
from healthstore.model.ops import CountDocuments, Ensure, Find, Insert, Patch
from healthstore.testing.contract._promises import (
    Contract,
    cancelled_while_waiting,
    needs_stops_cancelled,
    needs_transactions,
    proves,
)
from healthstore.testing.contract._samples import PEOPLE, add, identity, ids, one, person, stored

__all__ = ("TestLifecycle",)


class TestLifecycle(Contract):
    """A backend is open or closed, and usable whenever it is open."""

    async def test_a_closed_backend_refuses_everything(self, store: Backend) -> None:
        """Every call on a closed backend is a LifecycleError that says what to do."""
        await add(store, PEOPLE, person(1))
        await store.close()
        calls = (
            lambda: store.execute(CountDocuments(PEOPLE)),
            lambda: store.execute(Insert(PEOPLE, (person(2),))),
            lambda: store.execute(Ensure((PEOPLE,))),
            store.begin,
            store.ping,
        )
        for call in calls:
            with pytest.raises(LifecycleError) as error:
                await call()
            assert error.value.hint
            assert error.value.backend == store.name
            assert error.value.outcome is Outcome.NOT_APPLIED

    async def test_a_backend_can_be_opened_again(self, store: Backend) -> None:
        """What was stored before closing is there after opening."""
        row = person(1, name="Ann", profile={"a": [1, None]})
        await add(store, PEOPLE, row)
        await store.close()
        await store.open()
        await store.ping()
        assert await stored(store, PEOPLE) == [row]
        await store.execute(Insert(PEOPLE, (person(2),)))

    async def test_opening_and_closing_twice_is_harmless(self, store: Backend) -> None:
        """Open does nothing on an open backend, close nothing on a closed one."""
        await add(store, PEOPLE, person(1))
        await store.open()
        assert await store.execute(CountDocuments(PEOPLE)) == 1
        await store.close()
        await store.close()
        await store.open()
        assert await store.execute(CountDocuments(PEOPLE)) == 1

    async def test_closing_takes_little_time(self, store: Backend) -> None:
        """A backend with an open unit and a request under way is closed within seconds."""
        await add(store, PEOPLE, person(1))
        unit = await store.begin() if store.capabilities.transactions else None
        async with asyncio.timeout(10):
            await store.close()
        if unit is not None:
            async with asyncio.timeout(10):
                await unit.rollback()

    async def test_a_ping_answers(self, store: Backend) -> None:
        """An open backend answers a ping, and has a name."""
        await store.ping()
        assert store.name

    @proves("D2")
    @pytest.mark.parametrize("delay", [0.0, 0.0005, 0.003, 0.01])
    async def test_a_cancelled_write_is_whole_or_nothing(
        self, store: Backend, delay: float
    ) -> None:
        """A write that is cancelled at any moment is kept whole or not at all, and ends there."""
        await add(store, PEOPLE, person(0, id=identity(0)))
        count = 500 if store.capabilities.transactions else 1
        rows = tuple(person(at, id=identity(at)) for at in range(1, count + 1))
        task = asyncio.create_task(store.execute(Insert(PEOPLE, rows)))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait({task}, timeout=10)
        assert task.done()
        async with asyncio.timeout(10):
            kept = await store.execute(CountDocuments(PEOPLE)) - 1
            assert kept in {0, count}
            # A statement that went on by itself, or was left pending, would show up here.
            patch = Patch(PEOPLE, ids([person(0, id=identity(0))]), increments=(("visits", 1),))
            await store.execute(patch)
            assert await store.execute(CountDocuments(PEOPLE)) - 1 == kept
            await store.execute(Insert(PEOPLE, (person(9_999),)))

    @proves("D4")
    @pytest.mark.parametrize("delay", [0.0, 0.001])
    async def test_cancelled_reads_leave_the_backend_usable(
        self, store: Backend, delay: float
    ) -> None:
        """Forty cancelled reads lose no connection: the next forty are answered."""
        rows = [person(at, id=identity(at)) for at in range(200)]
        await add(store, PEOPLE, *rows)
        tasks = [asyncio.create_task(store.execute(Find(PEOPLE))) for _ in range(40)]
        await asyncio.sleep(delay)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=10)
        assert all(task.done() for task in tasks)
        async with asyncio.timeout(10):
            found = await asyncio.gather(*(store.execute(Find(PEOPLE)) for _ in range(40)))
        assert all(list(page) == rows[:100] for page in found)

    @proves("D2", "D3")
    @needs_transactions
    @needs_stops_cancelled
    async def test_what_is_cancelled_while_it_waits_at_the_server_is_never_done(
        self, store: Backend
    ) -> None:
        """Writes that wait for a unit and are cancelled end there: they do not follow its commit."""
        row, done = await cancelled_while_waiting(store)
        settled = await one(store, PEOPLE, row)
        assert settled is not None
        assert done or settled == {**row, "visits": 1}
        for _ in range(10):
            await asyncio.sleep(0.02)
            assert await one(store, PEOPLE, row) == settled
        async with asyncio.timeout(10):
            visited = cast(int, settled["visits"])
            visits = Patch(PEOPLE, ids([row]), increments=(("visits", 1),))
            assert await store.execute(visits) == ({**settled, "visits": visited + 1},)

    async def test_the_capabilities_do_not_change(self, store: Backend) -> None:
        """What a backend declares after opening it declares after opening it again."""
        before = store.capabilities
        await store.close()
        await store.open()
        assert store.capabilities == before

"""Probing: a backend is checked and measured from outside of its traffic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from healthstore.abc import Backend, Figures, PoolFigures, Prober, Vitals
from healthstore.errors import HealthstoreError
from healthstore.model.catalog import CATALOG
from healthstore.model.ops import CountDocuments, Delete, Ensure, Find
from healthstore.testing.contract._promises import Contract, proves
from healthstore.testing.contract._samples import PEOPLE, add, ids, person

__all__ = ("TestProbing",)

_VALUE = "canary-77231977"  # of a document: nothing else may show it
_MANY = 25


class TestProbing(Contract):
    """A prober answers whether the backend is well, on a connection of its own."""

    @pytest_asyncio.fixture
    async def prober(self, store: Backend) -> AsyncIterator[Prober]:
        """Lend a prober of the store, and close it."""
        prober = store.prober()
        yield prober
        await prober.close()

    async def test_a_prober_works_before_the_backend_is_opened(
        self, store: Backend, prober: Prober
    ) -> None:
        """Whether a backend can be opened is known before it is."""
        await store.close()
        await prober.connect()
        assert await prober.check() == Vitals()
        await prober.write()
        await prober.close()
        await store.open()

    async def test_a_well_backend_takes_writes(self, prober: Prober) -> None:
        """A check says so, however often it is asked, and connecting twice is harmless."""
        await prober.connect()
        await prober.connect()
        for _ in range(3):
            vitals = await prober.check()  # a layer may tell more, such as its release
            assert replace(vitals, release=None) == Vitals(writable=True, reason="")

    async def test_a_canary_is_written_again_and_again(
        self, store: Backend, prober: Prober
    ) -> None:
        """The first write makes what it needs; none of them shows in the store."""
        await store.execute(Ensure((PEOPLE,)))
        before = await store.execute(Find(CATALOG, limit=1_000))
        await prober.connect()
        await prober.write()
        await prober.write()
        assert await store.execute(Find(CATALOG, limit=1_000)) == before
        assert await store.execute(CountDocuments(PEOPLE)) == 0
        assert "healthstore_canary" not in (await prober.measure()).documents

    async def test_probers_do_not_disturb_each_other(self, store: Backend) -> None:
        """Several processes check the same store at the same time, from the first write on."""
        probers = [store.prober() for _ in range(4)]
        try:
            await asyncio.gather(*(each.connect() for each in probers))
            for _ in range(3):
                await asyncio.gather(*(each.write() for each in probers))
        finally:
            await asyncio.gather(*(each.close() for each in probers))

    @proves("D6")
    async def test_the_figures_count_documents_and_name_the_server(
        self, store: Backend, prober: Prober
    ) -> None:
        """Documents by collection; sizes are whole numbers, or None where there are none."""
        rows = [person(at) for at in range(3)]
        await add(store, PEOPLE, *rows)
        await prober.connect()
        figures = await prober.measure()
        assert isinstance(figures, Figures)
        assert figures.documents[PEOPLE.name] == 3
        assert figures.server
        for number in (figures.bytes, figures.connections, figures.waiting):
            assert number is None or (type(number) is int and number >= 0)
        await store.execute(Delete(PEOPLE, ids(rows[:1])))
        assert (await prober.measure()).documents[PEOPLE.name] == 2

    async def test_the_figures_hold_no_value(self, store: Backend, prober: Prober) -> None:
        """What a check shows may be shown to anybody: nothing of it comes from a document."""
        await add(store, PEOPLE, person(1, name=_VALUE, email=_VALUE))
        await prober.connect()
        assert _VALUE not in repr((await prober.check(), await prober.measure()))

    async def test_a_closed_prober_connects_again(self, prober: Prober) -> None:
        """Closing twice, or before connecting, is harmless; connecting makes it work again."""
        await prober.close()
        for _ in range(2):
            await prober.connect()
            assert (await prober.check()).writable
            await prober.close()
            await prober.close()

    @pytest.mark.parametrize("delay", [0.0, 0.0005, 0.002, 0.01])
    async def test_a_cancelled_check_leaves_nothing_open(
        self, store: Backend, prober: Prober, delay: float
    ) -> None:
        """A check that takes too long is cancelled; after closing, the next one works."""

        async def look() -> None:
            await prober.connect()
            await prober.check()
            await prober.write()
            await prober.measure()

        for _ in range(3):
            task = asyncio.create_task(look())
            await asyncio.sleep(delay)
            task.cancel()
            await asyncio.wait({task}, timeout=10)
            assert task.done()
            assert task.cancelled() or not isinstance(task.exception(), Exception)
            await prober.close()
        async with asyncio.timeout(10):
            await look()
        await store.ping()

    async def test_a_prober_that_is_not_connected_says_so(self, prober: Prober) -> None:
        """Asking it is an error that says what to do, unless it needs no connection."""
        for ask in (prober.check, prober.write, prober.measure):
            (answer,) = await asyncio.gather(ask(), return_exceptions=True)
            if isinstance(answer, BaseException):
                assert isinstance(answer, HealthstoreError)
                assert answer.hint
                assert answer.backend

    async def test_a_pool_is_known_without_asking_the_server(self, store: Backend) -> None:
        """Its figures fit together, or there are none; nothing is lent when nobody asks."""
        await store.execute(Ensure((PEOPLE,)))
        finds = (store.execute(Find(PEOPLE)) for _ in range(_MANY))
        await asyncio.gather(*finds)
        pool = store.pool()
        if pool is not None:
            assert isinstance(pool, PoolFigures)
            assert 0 <= pool.in_use <= pool.open <= pool.size
            assert (pool.in_use, pool.waiting) == (0, 0)

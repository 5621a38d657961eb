"""Jobs of a queue: each is of one worker at a time, and a lost worker's come back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from healthstore.abc import Backend, UnitOptions
from healthstore.entity import Entity, collection_of
from healthstore.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    ReadOnlyError,
    StaleVersionError,
)
from healthstore.model.ops import Ensure
from healthstore.model.query import F
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, needs_transactions, proves
from healthstore.transaction import transaction

__all__ = ("TestClaimsOfJobs",)

_LEASE = timedelta(minutes=5)
_START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class _Job(Entity, collection="contract_jobs_of_claims", claimable=True):
    state: str = "new"
    rank: int = 0


class _Plain(Entity, collection="contract_plain_of_claims"):
    state: str = "new"


class _Clock:
    """The time of a test, which passes when the test says so."""

    def __init__(self) -> None:
        self.now = _START

    def __call__(self) -> datetime:
        return self.now


async def _queue(store: Backend, clock: _Clock | None = None) -> Repository[_Job]:
    await store.execute(Ensure((collection_of(_Job),)))
    return Repository(_Job, store, clock=clock or _Clock())


async def _filled(queue: Repository[_Job], count: int) -> list[_Job]:
    """Add jobs, each older than the one before, so that no order is that in which they came."""
    jobs = [
        _Job(rank=number, created_at=_START - timedelta(hours=1, seconds=number))
        for number in range(count)
    ]
    await queue.add_many(jobs, mode="best_effort")
    return jobs


class TestClaimsOfJobs(Contract):
    """``claim`` leases documents of an entity that is claimable."""

    @proves("T14")
    async def test_the_oldest_come_first(self, store: Backend) -> None:
        """A claim returns what it leased, as it is stored then, by age or in the order asked for."""
        queue = await _queue(store)
        jobs = await _filled(queue, 8)
        first = await queue.claim(n=3, lease=_LEASE)
        assert [each.rank for each in first] == [7, 6, 5]
        assert {each.version for each in first} == {2}
        assert {cast(Any, each).leased_until for each in first} == {_START + _LEASE}
        assert {each.updated_at for each in first} == {_START}
        assert await queue.get_many([each.id for each in first]) == first
        ranked = await queue.claim(F.rank > 0, n=2, lease=_LEASE, order=["rank"])
        assert [each.rank for each in ranked] == [1, 2]
        assert [each.rank for each in await queue.claim(lease=_LEASE)] == [4]
        assert [each.rank for each in await queue.claim(n=9, lease=_LEASE)] == [3, 0]
        assert await queue.claim(n=9, lease=_LEASE) == []
        assert await queue.count() == len(jobs)

    @proves("T14")
    async def test_a_claim_takes_what_its_filter_finds(self, store: Backend) -> None:
        """Others stay as they are, and are free."""
        queue = await _queue(store)
        jobs = await _filled(queue, 4)
        await queue.update(jobs[3].id, {"state": "done"})
        assert [each.rank for each in await queue.claim(F.state == "new", n=9, lease=_LEASE)] == [
            *(2, 1, 0)
        ]
        assert await queue.claim(F.state == "new", n=9, lease=_LEASE) == []
        either = (F.state == "done") | (F.rank == 1)
        assert [each.rank for each in await queue.claim(either, n=9, lease=_LEASE)] == [3]

    @proves("T14")
    async def test_rivals_share_the_jobs_out(self, store: Backend) -> None:
        """Of sixteen workers that claim until nothing is left, each job is of one."""
        queue = await _queue(store)
        await _filled(queue, 120)
        handed: list[_Job] = []

        async def work() -> None:
            empty = 0
            while empty < 3:
                try:
                    mine = await queue.claim(F.state == "new", n=4, lease=_LEASE)
                except ConflictError:
                    continue
                empty = 0 if mine else empty + 1
                handed.extend(mine)

        await asyncio.gather(*(work() for _ in range(16)))
        assert len(handed) == len({each.id for each in handed}) == 120
        assert {each.version for each in handed} == {2}

    @proves("T14")
    async def test_two_claims_at_once_both_get_jobs(self, store: Backend) -> None:
        """Neither waits for the other, nor takes all that the other could have."""
        queue = await _queue(store)
        await _filled(queue, 200)
        first, second = await asyncio.gather(
            queue.claim(n=5, lease=_LEASE), queue.claim(n=5, lease=_LEASE)
        )
        assert len(first) == len(second) == 5
        assert not {each.id for each in first} & {each.id for each in second}

    @proves("T14")
    async def test_the_jobs_of_a_lost_worker_come_back(self, store: Backend) -> None:
        """When the lease is over another may claim them, and who lost it is stale."""
        clock = _Clock()
        queue = await _queue(store, clock)
        await _filled(queue, 1)
        (lost,) = await queue.claim(lease=_LEASE)
        clock.now += _LEASE - timedelta(microseconds=1)
        assert await queue.claim(lease=_LEASE) == []
        clock.now += timedelta(microseconds=1)
        (found,) = await queue.claim(lease=_LEASE)
        assert (found.id, found.version) == (lost.id, 3)
        with pytest.raises(StaleVersionError):
            await queue.update(lost.id, {"state": "done"}, version=lost.version)
        with pytest.raises(StaleVersionError):
            await queue.extend(lost, lease=_LEASE)
        with pytest.raises(StaleVersionError):
            await queue.release(lost)
        assert await queue.get(found.id) == found
        done = await queue.update(found.id, {"state": "done"}, version=found.version)
        assert done.state == "done"

    @proves("T14")
    async def test_a_lease_is_extended(self, store: Backend) -> None:
        """From now on for so long, with the same version: the worker goes on with what it has."""
        clock = _Clock()
        queue = await _queue(store, clock)
        await _filled(queue, 1)
        (job,) = await queue.claim(lease=_LEASE)
        clock.now += timedelta(minutes=4)
        longer = await queue.extend(job, lease=_LEASE)
        assert longer.version == job.version
        assert cast(Any, longer).leased_until == clock.now + _LEASE
        assert await queue.get(job.id) == longer
        clock.now += timedelta(minutes=4)
        assert await queue.claim(lease=_LEASE) == []
        done = await queue.update(job.id, {"state": "done"}, version=job.version)
        assert done.version == 3

    @proves("T14")
    async def test_a_job_is_given_back(self, store: Backend) -> None:
        """Then it is free at once, and the lease that was given back cannot be gone on with."""
        queue = await _queue(store)
        await _filled(queue, 1)
        (job,) = await queue.claim(lease=_LEASE)
        free = await queue.release(job)
        assert cast(Any, free).leased_until is None
        assert free.version == 3
        with pytest.raises(StaleVersionError):
            await queue.extend(job, lease=_LEASE)
        (again,) = await queue.claim(lease=_LEASE)
        assert (again.id, again.version) == (job.id, 4)
        await queue.delete(again.id, version=again.version)
        with pytest.raises(NotFoundError):
            await queue.release(again)

    @proves("T14")
    @needs_transactions
    async def test_a_claim_in_a_unit_is_of_the_unit(self, store: Backend) -> None:
        """It is dropped with the unit, and kept with it; one that only reads refuses it."""
        queue = await _queue(store)
        await _filled(queue, 3)
        unit = await store.begin()
        mine = Repository(_Job, unit, attempts=1, clock=_Clock())
        assert [each.rank for each in await mine.claim(n=2, lease=_LEASE)] == [2, 1]
        assert [each.rank for each in await mine.claim(n=2, lease=_LEASE)] == [0]
        await unit.rollback()
        assert {each.version for each in (await queue.find()).items} == {1}
        async with transaction(store, UnitOptions()) as tx:
            jobs = tx.repository(_Job)
            for each in await jobs.claim(n=2, lease=_LEASE):
                await jobs.update(each.id, {"state": "done"}, version=each.version)
        assert sorted(each.version for each in (await queue.find()).items) == [1, 3, 3]
        reading = await store.begin(UnitOptions(read_only=True))
        try:
            with pytest.raises(ReadOnlyError):
                await Repository(_Job, reading).claim(lease=_LEASE)
        finally:
            await reading.rollback()

    @proves("T14")
    async def test_what_cannot_be_claimed_is_refused(self, store: Backend) -> None:
        """Before anything is asked; nor is a lease set by hand."""
        queue = await _queue(store)
        await store.execute(Ensure((collection_of(_Plain),)))
        (job,) = await _filled(queue, 1)
        plain = Repository(_Plain, store)
        with pytest.raises(InvalidRequestError) as refused:
            await plain.claim(lease=_LEASE)
        assert refused.value.hint
        with pytest.raises(InvalidRequestError):
            await plain.extend(_Plain(), lease=_LEASE)
        for n in (0, -1, 1_001, True, 1.0):
            with pytest.raises(InvalidRequestError):
                await queue.claim(n=cast(int, n), lease=_LEASE)
        for lease in (timedelta(), timedelta(seconds=-1), timedelta(days=31), 300):
            with pytest.raises(InvalidRequestError):
                await queue.claim(lease=cast(timedelta, lease))
        with pytest.raises(InvalidRequestError):
            await queue.claim(F.id.in_(queue.query().field("id")), lease=_LEASE)
        with pytest.raises(InvalidRequestError):
            await queue.claim(F.nmae == "Ann", lease=_LEASE)
        with pytest.raises(InvalidRequestError):
            await queue.update(job.id, {"leased_until": _START})
        assert await queue.get(job.id) == job

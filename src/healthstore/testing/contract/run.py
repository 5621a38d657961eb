"""Work that is run in a unit, the whole again when the unit gave way."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from healthstore.abc import Backend, UnitOptions
from healthstore.entity import Entity, collection_of
from healthstore.errors import (
    ConflictError,
    DuplicateKeyError,
    InvalidRequestError,
    OutcomeUnknownError,
    SerializationError,
    StaleVersionError,
)
from healthstore.model.ops import Ensure
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, needs_transactions, proves
from healthstore.testing.faults import Faults
from healthstore.transaction import Transaction, run

__all__ = ("TestRun",)


class _Account(Entity, collection="contract_accounts_of_runs"):
    balance: int = 0


async def _accounts(store: Backend) -> Repository[_Account]:
    await store.execute(Ensure((collection_of(_Account),)))
    return Repository(_Account, store)


class TestRun(Contract):
    """``db.run(work)`` keeps the work whole, and calls it again while its units give way."""

    @proves("T6")
    @needs_transactions
    async def test_rivals_on_one_counter_all_succeed(self, store: Backend) -> None:
        """Each of fifteen units that read, wait and write is counted once."""
        accounts = await _accounts(store)
        account = await accounts.add(_Account())

        async def work(tx: Transaction) -> int:
            mine = tx.repository(_Account)
            found = await mine.get(account.id)
            assert found is not None
            await asyncio.sleep(0.001)
            return (await mine.update(account.id, {"balance": found.balance + 1})).balance

        runs = (run(store, work, UnitOptions(), attempts=100) for _ in range(15))
        counted = await asyncio.gather(*runs)
        assert sorted(counted) == list(range(1, 16))
        after = await accounts.get(account.id)
        assert after is not None
        assert after.balance == 15

    @proves("T6")
    @needs_transactions
    async def test_a_unit_that_gave_way_is_run_again_whole(self, store: Backend) -> None:
        """Nothing of the attempts that gave way is kept, and the last one's answer is returned."""
        accounts = await _accounts(store)
        called = 0

        async def work(tx: Transaction) -> str:
            nonlocal called
            called += 1
            await tx.repository(_Account).add(_Account(balance=called))
            if called < 3:
                raise SerializationError("gave way")
            return "done"

        assert await run(store, work, UnitOptions(), attempts=3) == "done"
        assert [each.balance for each in (await accounts.find()).items] == [3]

    @proves("T6")
    @needs_transactions
    async def test_it_is_tried_so_often_and_no_more(self, store: Backend) -> None:
        """After the last attempt, or when the time is over, the conflict is raised."""
        accounts = await _accounts(store)
        called = 0

        async def work(tx: Transaction) -> None:
            nonlocal called
            called += 1
            await tx.repository(_Account).add(_Account())
            raise ConflictError("always")

        with pytest.raises(ConflictError):
            await run(store, work, UnitOptions(), attempts=4)
        assert called == 4
        with pytest.raises(ConflictError):
            await run(store, work, UnitOptions(deadline=1.0), attempts=1_000_000)
        assert await accounts.count() == 0

    @proves("T6")
    @needs_transactions
    async def test_what_would_fail_again_is_not_repeated(self, store: Backend) -> None:
        """A stale version, a key that is taken and a program's own error are raised at once."""
        accounts = await _accounts(store)
        account = await accounts.add(_Account())
        called = 0

        async def stale(tx: Transaction) -> None:
            nonlocal called
            called += 1
            await tx.repository(_Account).update(account.id, {"balance": 1}, version=9)

        async def twice(tx: Transaction) -> None:
            nonlocal called
            called += 1
            await tx.repository(_Account).add(account)

        async def broken(tx: Transaction) -> None:
            nonlocal called
            called += 1
            await tx.repository(_Account).add(_Account())
            raise ZeroDivisionError

        for work, error in (
            (stale, StaleVersionError),
            (twice, DuplicateKeyError),
            (broken, ZeroDivisionError),
        ):
            with pytest.raises(error):
                await run(store, work, UnitOptions(), attempts=8)
        assert called == 3
        assert await accounts.count() == 1

    @proves("T6")
    @needs_transactions
    async def test_a_commit_without_an_answer_is_not_repeated(self, store: Backend) -> None:
        """It may have been kept, so the work is done once, and the error says that it is not known."""
        accounts, faults = await _accounts(store), Faults()
        called = 0

        async def work(tx: Transaction) -> None:
            nonlocal called
            called += 1
            await tx.repository(_Account).add(_Account())

        faults.lose("commit")
        with pytest.raises(OutcomeUnknownError):
            await run(faults.layer(store), work, UnitOptions(), attempts=8)
        assert called == 1
        assert await accounts.count() == 1

    @proves("T6")
    @needs_transactions
    async def test_what_cannot_be_run_is_refused(self, store: Backend) -> None:
        """Work that is not asynchronous, and attempts that are no number of them, keep nothing."""
        accounts = await _accounts(store)

        async def work(tx: Transaction) -> None:
            await tx.repository(_Account).add(_Account())

        for wrong in (0, -1, True, 1.0, "8", None):
            with pytest.raises(InvalidRequestError):
                await run(store, work, UnitOptions(), attempts=cast(int, wrong))
        with pytest.raises(InvalidRequestError) as refused:
            await run(store, lambda _: cast("asyncio.Future[int]", 7), UnitOptions(), attempts=8)
        assert refused.value.hint
        assert await accounts.count() == 0

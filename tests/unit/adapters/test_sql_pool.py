"""The pool of SQL connections: its figures, and what an exhausted one says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from math import inf

import pytest

from healthstore.abc import PoolFigures
from healthstore.adapters.sql.dialect import BulkInsert, BulkUpdate, Row
from healthstore.adapters.sql.pool import Pool, PoolOptions
from healthstore.errors import Condition, Outcome, UnavailableError


class Line:
    """A connection to nothing."""

    def __init__(self) -> None:
        self.reusable = True
        self.closed = False
        self.pings = 0

    async def fetch(self, sql: str, parameters: Row) -> Sequence[Row]:
        """Return nothing."""
        return ()

    async def execute(self, sql: str, parameters: Row) -> int:
        """Match nothing."""
        return 0

    async def insert_rows(self, insert: BulkInsert, rows: Iterable[Row], count: int) -> None:
        """Do nothing."""

    async def update_rows(self, update: BulkUpdate, rows: Sequence[Row]) -> int:
        """Match nothing."""
        return 0

    async def run(self, sql: str) -> None:
        """Do nothing."""

    async def ping(self) -> None:
        """Answer."""
        self.pings += 1

    async def discard(self) -> None:
        """Close."""
        self.closed = True

    async def abort(self) -> None:
        """Close."""
        self.closed = True


async def new() -> Line:
    """Return a connection."""
    return Line()


async def test_the_figures_follow_what_is_lent() -> None:
    """Size, open, in use and waiting, at every moment."""
    pool = Pool(new, PoolOptions(size=2, acquire_seconds=5))
    assert pool.figures() == PoolFigures(2, 0, 0, 0)
    first, second = await pool.acquire(), await pool.acquire()
    assert pool.figures() == PoolFigures(2, 2, 2, 0)
    third = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    assert pool.figures() == PoolFigures(2, 2, 2, 1)
    await pool.release(first)
    assert await third is first
    await pool.discard(second)
    assert pool.figures() == PoolFigures(2, 1, 1, 0)
    await pool.release(first)
    assert pool.figures() == PoolFigures(2, 1, 0, 0)
    await pool.close()
    assert pool.figures() == PoolFigures(2, 0, 0, 0)


async def test_a_cancelled_wait_leaves_no_trace() -> None:
    """Whoever gives up is counted no more."""
    pool = Pool(new, PoolOptions(size=1, acquire_seconds=5))
    held = await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert pool.figures() == PoolFigures(1, 1, 1, 0)
    await pool.release(held)


async def test_an_exhausted_pool_is_no_dead_server() -> None:
    """The error says that there is no capacity, and nothing was attempted."""
    pool = Pool(new, PoolOptions(size=1, acquire_seconds=0.01))
    held = await pool.acquire()
    with pytest.raises(UnavailableError) as error:
        await pool.acquire()
    assert error.value.condition is Condition.OVERLOADED
    assert error.value.outcome is Outcome.NOT_APPLIED
    await pool.release(held)
    assert pool.figures() == PoolFigures(1, 1, 0, 0)


async def test_a_queue_that_moves_refuses_nobody() -> None:
    """Two thousand wait for five connections, each for longer than one may stay taken; in order."""
    pool = Pool(new, PoolOptions(size=5, acquire_seconds=0.5))
    served: list[int] = []

    async def use(number: int) -> None:
        async with pool.lend():
            served.append(number)
            await asyncio.sleep(0.002)

    await asyncio.gather(*map(use, range(2_000)))
    assert served == list(range(2_000))
    assert pool.figures() == PoolFigures(5, 5, 0, 0)


async def test_a_program_that_stood_still_refuses_nobody() -> None:
    """While the loop is blocked nothing can come back; who waits gets it a moment later."""
    pool = Pool(new, PoolOptions(size=1, acquire_seconds=0.1))

    async def use() -> None:
        async with pool.lend():
            await asyncio.sleep(0.05)

    users = [asyncio.create_task(use()) for _ in range(3)]
    await asyncio.sleep(0.01)
    time.sleep(0.3)  # noqa: ASYNC251 - it is the program that stands still
    await asyncio.gather(*users)
    assert pool.figures() == PoolFigures(1, 1, 0, 0)


async def test_an_error_for_all_is_told_to_all_who_waited_as_long() -> None:
    """Who came together with the one that failed hears of it; who came later is served."""
    options = PoolOptions(size=1, acquire_seconds=30)
    pool = Pool(new, options, common=lambda error: ValueError() if error.args else None)
    held = await pool.acquire()
    others = [asyncio.create_task(pool.acquire()) for _ in range(3)]
    await asyncio.sleep(0.3)
    late = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    await pool.take_back(held, KeyError("for all"))
    results = await asyncio.gather(*others, return_exceptions=True)
    assert [type(each) for each in results] == [ValueError] * 3
    assert len({id(each) for each in results}) == 3
    await pool.take_back(await late, KeyError())
    assert pool.figures() == PoolFigures(1, 1, 0, 0)


async def test_only_those_who_waited_in_full_are_refused() -> None:
    """Who came later gets the connection that comes back, and its whole time before."""
    pool = Pool(new, PoolOptions(size=1, acquire_seconds=0.2))
    held = await pool.acquire()
    first = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0.15)
    second = asyncio.create_task(pool.acquire())
    with pytest.raises(UnavailableError):
        await first
    assert not second.done()
    await pool.release(held)
    assert await second is held
    await pool.release(held)
    assert pool.figures() == PoolFigures(1, 1, 0, 0)


async def test_a_place_that_comes_with_a_cancellation_goes_to_the_next() -> None:
    """Nobody takes a place away with him."""
    pool = Pool(new, PoolOptions(size=1, acquire_seconds=5))
    held = await pool.acquire()
    first, second = (asyncio.create_task(pool.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    await pool.release(held)
    first.cancel()  # its place has come, and it has not noticed yet
    assert await second is held
    await asyncio.wait({first})
    assert first.cancelled()
    assert pool.figures() == PoolFigures(1, 1, 1, 0)
    await pool.release(held)


async def test_a_server_that_does_not_answer_is_a_suspicion() -> None:
    """Connecting is bounded, handshake included; the place in the pool is free again."""

    async def never() -> Line:
        await asyncio.sleep(60)
        return Line()

    pool = Pool(never, PoolOptions(size=1, connect_seconds=0.01))
    for _ in range(2):
        with pytest.raises(UnavailableError) as error:
            await pool.acquire()
        assert error.value.condition is Condition.SUSPECT
    assert pool.figures() == PoolFigures(1, 0, 0, 0)


async def test_an_idle_connection_that_broke_is_not_lent() -> None:
    """It is replaced without a round trip."""
    pool = Pool(new, PoolOptions(size=1))
    first = await pool.acquire()
    await pool.release(first)
    assert isinstance(first, Line)
    first.reusable = False
    second = await pool.acquire()
    assert second is not first
    assert first.closed
    await pool.release(second)


async def test_a_refused_lending_takes_no_place() -> None:
    """What is asked before each lending may refuse it, any number of times."""

    async def refuse() -> None:
        raise UnavailableError("no")

    pool = Pool(new, PoolOptions(size=1), refuse)
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await pool.acquire()
    assert pool.figures() == PoolFigures(1, 0, 0, 0)


@pytest.mark.parametrize(("trusted", "asked"), [(0.0, 1), (inf, 0)])
async def test_an_idle_connection_is_tried_unless_it_is_trusted(trusted: float, asked: int) -> None:
    """A server may have hung up meanwhile; a file does not."""
    pool = Pool(new, PoolOptions(size=1, trusted_seconds=trusted))
    first = await pool.acquire()
    await pool.release(first)
    assert await pool.acquire() is first
    assert isinstance(first, Line)
    assert first.pings == asked
    await pool.release(first)


async def test_whoever_waits_is_served_first() -> None:
    """A connection that comes back goes to who has waited longest, not to who comes next."""
    pool = Pool(new, PoolOptions(size=1))
    held, order = await pool.acquire(), list[str]()

    async def take(name: str) -> None:
        connection = await pool.acquire()
        order.append(name)
        await pool.release(connection)

    waiting = asyncio.create_task(take("waiting"))
    await asyncio.sleep(0)
    await pool.release(held)
    await take("late")
    await waiting
    assert order == ["waiting", "late"]

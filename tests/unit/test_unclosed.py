"""A manager that nobody closes: it says so, and its store can be used again."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import warnings
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import pytest
from pydantic import SecretStr

from healthstore import DatabaseManager, Entity, FailoverPolicy, MaxLength, Probe, Unique
from healthstore.abc import Backend, Layer
from healthstore.config import MemberSettings, Settings
from healthstore.errors import DeadlineExceededError, LifecycleError
from healthstore.model.ops import Op
from healthstore.testing.plugin import LendDatabase

R = TypeVar("R")
QUICK = FailoverPolicy(probe=Probe(interval=0.02, fast_interval=0.01))


class User(Entity, collection="unclosed"):
    """Somebody."""

    name: Annotated[str, Unique(), MaxLength(100)]


@contextmanager
def collected() -> Generator[list[str], None, None]:
    """Lend the warnings about what was not closed, complete behind the block."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
        gc.collect()
    said += [str(each.message) for each in caught if each.category is ResourceWarning]


async def test_a_lost_manager_warns_and_its_checks_end() -> None:
    """Nobody can close it any more: its tasks end, and its members are closed."""

    async def lose() -> None:
        db = DatabaseManager(members={"a": "memory://", "b": "memory://"}, policy=QUICK)
        await db.open()

    before = asyncio.all_tasks()
    with collected() as said:
        await lose()
        async with asyncio.timeout(5):
            while asyncio.all_tasks() != before:
                gc.collect()
                await asyncio.sleep(0.01)
    assert [each for each in said if "the manager of a, b was not closed" in each]


async def test_a_repository_keeps_its_manager_open() -> None:
    """What still serves somebody is not lost."""

    async def repository() -> object:
        db = DatabaseManager("memory://")
        await db.open()
        await db.initialize(User)
        made.append(db)
        return db.repository(User)

    made: list[DatabaseManager] = []
    users = await repository()
    lost = made.pop()
    failover = lost._failover
    del lost
    with collected() as said:
        gc.collect()
        await asyncio.sleep(0.02)
        assert failover.is_open
    assert said == []
    assert users is not None
    await failover.close()


async def test_a_closed_manager_says_nothing() -> None:
    """Neither after a block, nor when it was never opened."""
    with collected() as said:
        DatabaseManager("memory://")
        async with DatabaseManager("memory://"):
            pass
    assert said == []


def use_in_loops(url: str, *, cancels: bool) -> None:
    """Open, use and close one manager in several event loops, which end before it is closed."""
    db = DatabaseManager(url, policy=QUICK)
    users = db.repository(User)

    def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if cancels:
            asyncio.run(work())
            return
        loop = asyncio.new_event_loop()
        loop.run_until_complete(work())
        loop.close()

    async def begin() -> None:
        await db.open()
        await db.initialize(User)
        async for each in users.stream():  # of a test before
            await users.delete(each.id)
        await asyncio.gather(*(users.add(User(name=f"{number}")) for number in range(5)))

    async def go_on() -> None:
        assert not db.alive()
        with pytest.raises(LifecycleError):
            await users.count()
        await db.open()
        await users.add(User(name="another"))
        assert await users.count() == 6

    async def end() -> None:
        async with db:
            assert await users.count() == 6

    for work in (begin, go_on, db.close, db.open, db.close, end):
        run(work)


BACKENDS = ["memory", "sqlite", "postgresql", "mysql", "mariadb", "mongodb", "mongodb-rs"]


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_manager_is_opened_again_in_another_loop(
    healthstore_database: LendDatabase, backend: str
) -> None:
    """Its loop has ended without close(): it can be closed, opened and used, whatever it was."""
    async with healthstore_database(backend) as lent:
        with collected() as said:
            await asyncio.to_thread(use_in_loops, lent.url, cancels=True)
        assert [each for each in said if "unclosed" in each or "before being closed" in each] == []
        assert len([each for each in said if "was not closed" in each]) == 3


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_manager_is_opened_again_after_a_loop_that_ended_at_once(
    healthstore_database: LendDatabase, backend: str
) -> None:
    """Also where nothing was cancelled: what the collector finds then is another program's."""
    call = "from tests.unit.test_unclosed import use_in_loops; import sys"
    program = f"{call}; use_in_loops(sys.argv[1], cancels=False); print('done')"
    async with healthstore_database(backend) as lent:
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", program, lent.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr


class StuckLayer(Layer):
    """A store that never answers, once it is told to."""

    rank = 99
    stuck = False

    async def execute(self, op: Op[R]) -> R:
        """Answer, or wait for ever."""
        if self.stuck:
            await asyncio.Event().wait()
        return await super().execute(op)


def test_a_deadline_holds_in_another_loop_as_well() -> None:
    """The loop in which the manager was used before has taken its timers along."""
    stuck: list[StuckLayer] = []

    def layer(backend: Backend) -> Layer:
        stuck.append(StuckLayer(backend))
        return stuck[0]

    url = SecretStr("memory://")
    member = MemberSettings(name="memory", url=url, timeout=0.3)
    policy = FailoverPolicy(probe=Probe(query_timeout=0.1))
    db = DatabaseManager.from_settings(Settings(members=(member,), policy=policy), layers=[layer])
    users = db.repository(User)

    async def begin() -> None:
        await db.open()
        await db.initialize(User)
        assert await users.count() == 0

    async def hang() -> None:
        async with db:
            stuck[0].stuck = True
            with pytest.raises(DeadlineExceededError):
                await users.count()

    with collected():
        asyncio.run(begin())
        asyncio.run(hang())

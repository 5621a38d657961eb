"""One transaction for a whole test: nothing stays, and in it everything works as ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import pytest

from healthstore import Check, DatabaseManager, Entity, F, MaxLength, Ref, Unique
from healthstore.abc import Backend, UnitOptions
from healthstore.abc.registry import connect
from healthstore.abc.url import BackendURL
from healthstore.adapters.memory import MemoryAdapter
from healthstore.entity import collection_of
from healthstore.errors import (
    CapabilityError,
    CheckError,
    DeadlineExceededError,
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    LifecycleError,
    StaleVersionError,
)
from healthstore.layers.guard import GuardLayer
from healthstore.model.ops import Ensure
from healthstore.repository import Repository
from healthstore.testing import contract
from healthstore.testing.plugin import LendDatabase
from healthstore.testing.rollback import RollbackLayer, can_roll_back, rolled_back

SQL = ["sqlite", "postgresql", "mysql", "mariadb"]


class User(Entity, collection="users", checks=[Check("named", F.name != "nobody")]):
    name: Annotated[str, Unique(), MaxLength(40)]
    boss_id: Annotated[UUID, Ref("self")] | None = None


@pytest.fixture(params=SQL)
async def url(
    request: pytest.FixtureRequest, healthstore_database: LendDatabase
) -> AsyncIterator[str]:
    """Lend the URL of a disposable database with savepoints."""
    async with healthstore_database(request.param) as lent:
        yield lent.url


@pytest.fixture
async def db(url: str) -> AsyncIterator[DatabaseManager]:
    """Lend a manager on which everything is rolled back."""
    async with rolled_back(url, User) as db:
        yield db


async def names(db: DatabaseManager) -> list[str]:
    """Return the names of all users, sorted."""
    found = await db.repository(User).find(order=["name"])
    return [each.name for each in found.items]


async def test_nothing_stays(url: str) -> None:
    """What was written, kept in transactions too, is gone afterwards; the collection stays."""
    for _ in range(2):
        async with rolled_back(url, User) as db:
            assert await names(db) == []
            await db.repository(User).add(User(name="Ann"))
            async with db.transaction() as tx:
                await tx.repository(User).add(User(name="Ben"))
            assert await names(db) == ["Ann", "Ben"]
            async with DatabaseManager(url) as other:
                assert await other.repository(User).count() == 0
    async with DatabaseManager(url) as db:
        assert (await db.initialize(User)).present == ("users",)
        assert await names(db) == []


async def test_an_error_leaves_the_rest_alone(db: DatabaseManager) -> None:
    """Each operation that fails is undone by itself, and the test goes on."""
    users = db.repository(User)
    ann = await users.add(User(name="Ann"))
    with pytest.raises(DuplicateKeyError) as taken:
        await users.add(User(name="Ann"))
    assert taken.value.fields == ("name",)
    with pytest.raises(CheckError):
        await users.add(User(name="nobody"))
    with pytest.raises(DuplicateKeyError):
        await users.add_many([User(name="Ben"), User(name="Ann")])
    with pytest.raises(StaleVersionError):
        await users.update(ann.id, {"name": "Anne"}, version=7)
    ben = await users.add(User(name="Ben", boss_id=ann.id))
    with pytest.raises(ForeignKeyError):
        await users.delete(ann.id)
    assert await names(db) == ["Ann", "Ben"]
    assert (await users.upsert(User(name="Ben"), on="name")).id == ben.id


async def test_a_transaction_is_a_part(db: DatabaseManager) -> None:
    """One that fails is undone by itself; one inside of another is, too."""
    await db.repository(User).add(User(name="Ann"))

    async def fail() -> None:
        async with db.transaction() as tx:
            await tx.repository(User).add(User(name="Ben"))
            await tx.repository(User).add(User(name="Ann"))

    with pytest.raises(DuplicateKeyError):
        await fail()
    assert await names(db) == ["Ann"]
    async with db.transaction() as outer:
        await outer.repository(User).add(User(name="Cid"))
        with pytest.raises(DuplicateKeyError):
            await fail()
        async with db.transaction() as inner:
            await inner.repository(User).add(User(name="Dan"))
        assert await outer.repository(User).count() == 3
        assert await db.repository(User).count() == 3, "an operation beside it is part of it"
    assert await names(db) == ["Ann", "Cid", "Dan"]


async def test_what_surrounds_a_transaction_decides(db: DatabaseManager) -> None:
    """An inner transaction that was kept goes with the outer one that is dropped."""
    member = await db.member(db.active)
    outer = await member.begin()
    async with db.transaction() as inner:
        await inner.repository(User).add(User(name="Ann"))
    assert await names(db) == ["Ann"]
    await outer.rollback()
    assert await names(db) == []


async def test_units_end_from_the_inside(db: DatabaseManager) -> None:
    """An outer unit is not kept before an inner one; dropped, it takes the inner one along."""
    member = await db.member(db.active)
    outer = await member.begin()
    inner = await member.begin()
    with pytest.raises(LifecycleError, match="still open"):
        await outer.commit()
    outer = await member.begin()
    last = await member.begin()
    await outer.rollback()
    await last.rollback()
    await inner.rollback()
    await db.repository(User).add(User(name="Ann"))


async def test_concurrent_transactions_take_turns(db: DatabaseManager) -> None:
    """Tasks wait for each other's transactions: what one keeps, another does not drop."""

    async def add(number: int) -> None:
        async with db.transaction() as tx:
            await tx.repository(User).add(User(name=f"user {number}"))
            await asyncio.sleep(0.01)
            if number % 2:
                raise ValueError

    tasks = [asyncio.create_task(add(number)) for number in range(6)]
    await asyncio.sleep(0.005)
    others = [db.repository(User).add(User(name=f"other {number}")) for number in range(3)]
    results = await asyncio.gather(*tasks, *others, return_exceptions=True)
    assert [each for each in results if isinstance(each, HealthstoreError)] == []
    kept = ["other 0", "other 1", "other 2", "user 0", "user 2", "user 4"]
    assert await names(db) == kept


async def test_a_turn_that_never_comes_is_an_error(db: DatabaseManager) -> None:
    """A unit whose turn does not come within its deadline is refused; nobody waits for ever."""
    member = await db.member(db.active)

    async def hold() -> None:
        unit = await member.begin()
        held.set()
        await release.wait()
        await unit.rollback()

    held, release = asyncio.Event(), asyncio.Event()
    holder = asyncio.create_task(hold())
    await held.wait()
    with pytest.raises(DeadlineExceededError):
        await member.begin(UnitOptions(deadline=0.05))
    release.set()
    await holder


async def test_a_unit_ends_at_its_deadline(db: DatabaseManager) -> None:
    """A forgotten unit is undone, and the test goes on."""
    member = await db.member(db.active)
    unit = await member.begin(UnitOptions(deadline=0.1))
    await asyncio.sleep(0.2)
    with pytest.raises(DeadlineExceededError):
        await unit.commit()
    await db.repository(User).add(User(name="Ann"))
    assert await names(db) == ["Ann"]


class Later(Entity, collection="later"):
    number: int


async def test_collections_are_made_first(db: DatabaseManager) -> None:
    """After reading still, after the first write no more; what is there may be asked for again."""
    assert await names(db) == []
    await db.initialize(User, Later)
    assert await db.repository(Later).count() == 0
    await db.repository(Later).add(Later(number=1))
    assert (await db.initialize(User)).present == ("users",)

    class Latest(Entity, collection="latest"):
        number: int

    with pytest.raises(LifecycleError, match="before the first write"):
        await db.initialize(Latest)


async def test_a_cancelled_call_gives_the_transaction_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it did is not known: the test cannot go on, and says so; nothing of it stays."""
    adapter = connect(BackendURL.parse(url))
    store = GuardLayer(RollbackLayer(adapter))
    await store.open()
    await store.execute(Ensure((collection_of(User),)))
    users = Repository(User, store)
    await users.add(User(name="Ann"))
    running = asyncio.Event()

    async def hang(*_: object) -> None:
        running.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(adapter, "run", hang)
        task = asyncio.create_task(users.count())
        await running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(LifecycleError, match="lost"):
        await users.count()
    await store.close()
    await store.open()
    assert await users.count() == 0
    await store.close()


async def test_a_manager_opens_again_empty(db: DatabaseManager) -> None:
    """Closing rolls back; the same manager can be opened again."""
    await db.repository(User).add(User(name="Ann"))
    await db.close()
    with pytest.raises(HealthstoreError):
        await db.repository(User).count()
    await db.open()
    assert await names(db) == []


def test_a_backend_without_savepoints_is_refused() -> None:
    """Its documents could not be told from those that were there before."""
    memory = MemoryAdapter("memory")
    assert not can_roll_back(memory)
    with pytest.raises(CapabilityError, match="healthstore_manager"):
        RollbackLayer(memory)


class TestContractInOneTransaction(
    contract.TestAggregates,
    contract.TestChecks,
    contract.TestFilters,
    contract.TestOrderAndPages,
    contract.TestPatches,
    contract.TestReferences,
    contract.TestUniques,
    contract.TestValues,
):
    """The parts of the contract that make their collections first, within one transaction."""

    @pytest.fixture
    async def backend(self, healthstore_database: LendDatabase) -> AsyncIterator[Backend]:
        """Lend SQLite under the layer, opened and empty."""
        async with healthstore_database("sqlite") as lent:
            adapter = connect(BackendURL.parse(lent.url), name="sqlite-rolled-back")
            backend = RollbackLayer(adapter)
            await backend.open()
            yield backend
            await backend.close()

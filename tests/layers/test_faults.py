"""The contract through the fault layer without a fault, and what each planned fault does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import pytest

from healthstore import DatabaseManager, Entity, F, MaxLength
from healthstore.abc import Backend
from healthstore.errors import (
    Condition,
    ConfigurationError,
    DeadlineExceededError,
    LifecycleError,
    Outcome,
    OutcomeUnknownError,
    ReadOnlyError,
    SerializationError,
    UnavailableError,
)
from healthstore.model.ops import Effect
from healthstore.testing.contract import ContractTests
from healthstore.testing.faults import Faults
from healthstore.testing.plugin import EmptyBackend


@pytest.mark.slow
class TestFaultLayer(ContractTests):
    @pytest.fixture
    async def backend(self, healthstore_empty: EmptyBackend) -> AsyncIterator[Backend]:
        """Lend an empty memory backend under the layer."""
        async with healthstore_empty("memory") as backend:
            yield Faults().layer(backend)


class User(Entity, collection="users"):
    name: Annotated[str, MaxLength(40)]


class Note(Entity, collection="notes"):
    text: str


@pytest.fixture
def faults() -> Faults:
    """Return an empty plan."""
    return Faults()


@pytest.fixture
async def db(faults: Faults) -> AsyncIterator[DatabaseManager]:
    """Lend an empty memory under the plan."""
    async with DatabaseManager("memory://", layers=[faults.layer]) as db:
        await db.initialize(User, Note)
        yield db


async def test_an_error_before_the_effect_leaves_nothing(
    db: DatabaseManager, faults: Faults
) -> None:
    """A failed insert has stored nothing, says so, and names the member."""
    fault = faults.fail("insert", times=None)
    with pytest.raises(UnavailableError) as raised:
        await db.repository(User).add(User(name="Ann"))
    assert raised.value.outcome is Outcome.NOT_APPLIED
    assert raised.value.backend == "memory"
    assert fault.struck > 1, "the manager tries again what was surely not applied"
    assert await db.repository(User).count() == 0


async def test_a_passing_fault_is_survived(db: DatabaseManager, faults: Faults) -> None:
    """What fails once and was not applied is repeated by the manager: a service sees nothing."""
    fault = faults.fail("insert")
    await db.repository(User).add(User(name="Ann"))
    assert fault.struck == 1
    assert await db.repository(User).count() == 1


async def test_a_lost_answer_is_ambiguous(db: DatabaseManager, faults: Faults) -> None:
    """The insert is applied and its caller cannot know: OutcomeUnknownError."""
    faults.lose("insert")
    with pytest.raises(OutcomeUnknownError) as raised:
        await db.repository(User).add(User(name="Ann"))
    assert raised.value.outcome is Outcome.UNKNOWN
    assert await db.repository(User).count() == 1


async def test_an_error_of_one_s_own_strikes(db: DatabaseManager, faults: Faults) -> None:
    """Any error of the tree can be raised, before the effect or behind it."""
    faults.fail("patch", error=ReadOnlyError("no writes now"))
    ann = await db.repository(User).add(User(name="Ann"))
    with pytest.raises(ReadOnlyError):
        await db.repository(User).update(ann.id, {"name": "Anne"})
    faults.fail("patch", error=DeadlineExceededError("late"), applied=True)
    with pytest.raises(DeadlineExceededError):
        await db.repository(User).update(ann.id, {"name": "Anne"})
    found = await db.repository(User).get(ann.id)
    assert found is not None
    assert found.name == "Anne"


async def test_a_fault_strikes_where_it_is_planned(db: DatabaseManager, faults: Faults) -> None:
    """Other operations and other collections pass; ``count`` is the operation's short name."""
    faults.fail("insert", collection=User, times=None)
    faults.fail("count", collection="notes", times=None)
    await db.repository(Note).add(Note(text="a"))
    assert await db.repository(User).count() == 0
    with pytest.raises(UnavailableError):
        await db.repository(User).add(User(name="Ann"))
    with pytest.raises(UnavailableError):
        await db.repository(Note).count()


async def test_the_first_operations_pass(db: DatabaseManager, faults: Faults) -> None:
    """With ``after=3`` the fourth matching operation fails, and then as often as asked."""
    fault = faults.fail("find", error=SerializationError("x"), after=3, times=5)
    for _ in range(3):
        await db.repository(User).exists(F.name == "Ann")
    assert fault.struck == 0
    with pytest.raises(SerializationError):
        await db.repository(User).exists()  # five attempts
    assert fault.struck == 5
    assert not await db.repository(User).exists()


async def test_an_effect_stands_for_its_operations(db: DatabaseManager, faults: Faults) -> None:
    """Every write fails, and no read."""
    fault = faults.fail(Effect.WRITE, times=None)
    ann = User(name="Ann")
    for call in (db.repository(User).add(ann), db.repository(User).delete(ann.id)):
        with pytest.raises(UnavailableError):
            await call
    assert await db.repository(User).get(ann.id) is None
    faults.clear(fault)
    await db.repository(User).add(ann)


async def test_a_delay_only_waits(db: DatabaseManager, faults: Faults) -> None:
    """The operation succeeds, later."""
    faults.delay("count", seconds=0.05)
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert await db.repository(User).count() == 0
    assert loop.time() - started >= 0.05
    started = loop.time()
    await db.repository(User).count()
    assert loop.time() - started < 0.05, "it strikes once"


@pytest.mark.parametrize("applied", [False, True])
async def test_a_hang_lasts_until_the_caller_gives_up(
    db: DatabaseManager, faults: Faults, *, applied: bool
) -> None:
    """A call that hangs is cancelled; whether it was applied is as planned."""
    faults.hang("insert", applied=applied)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await db.repository(User).add(User(name="Ann"))
    assert await db.repository(User).count() == applied


async def test_a_fault_ends_a_unit(db: DatabaseManager, faults: Faults) -> None:
    """Inside a transaction a fault strikes too; the unit only rolls back then."""
    faults.fail("insert", after=1)
    refused: list[LifecycleError] = []

    async def add_two() -> None:
        async with db.transaction() as tx:
            await tx.repository(User).add(User(name="Ann"))
            try:
                await tx.repository(User).add(User(name="Ben"))
            finally:
                with pytest.raises(LifecycleError) as raised:
                    await tx.repository(User).count()
                refused.append(raised.value)

    with pytest.raises(UnavailableError):
        await add_two()
    assert len(refused) == 1
    assert await db.repository(User).count() == 0


@pytest.mark.parametrize("applied", [False, True])
async def test_a_commit_fails_before_or_behind_its_effect(
    db: DatabaseManager, faults: Faults, *, applied: bool
) -> None:
    """A commit that is lost has kept everything, one that fails has kept nothing."""
    planned = faults.lose("commit") if applied else faults.fail("commit")
    with pytest.raises(OutcomeUnknownError if applied else UnavailableError):
        async with db.transaction() as tx:
            await tx.repository(User).add(User(name="Ann"))
    assert planned.struck == 1
    assert await db.repository(User).count() == applied


async def test_a_failed_commit_is_not_repeated(faults: Faults) -> None:
    """Behind a commit that failed the unit can only be rolled back."""
    async with DatabaseManager("memory://", layers=[faults.layer]) as db:
        faults.fail("commit")
        unit = await (await db.member("memory")).begin()
        with pytest.raises(UnavailableError):
            await unit.commit()
        with pytest.raises(LifecycleError):
            await unit.commit()
        await unit.rollback()


async def test_a_unit_that_cannot_begin_says_so(db: DatabaseManager, faults: Faults) -> None:
    """``begin`` is a step that can fail."""
    faults.fail("begin", times=None)
    with pytest.raises(UnavailableError):
        async with db.transaction():
            pass


async def test_a_fault_waits_for_an_effect(db: DatabaseManager, faults: Faults) -> None:
    """An answer can only be lost of an operation that was applied."""
    ann = await db.repository(User).add(User(name="Ann"))
    fault = faults.lose("insert")
    with pytest.raises(Exception, match="same id"):
        await db.repository(User).add(ann)
    assert fault.struck == 0
    with pytest.raises(OutcomeUnknownError):
        await db.repository(User).add(User(name="Ben"))


async def test_a_member_goes_down_alone(faults: Faults) -> None:
    """Everything on it fails, its checks too; another member is well."""
    members = {"a": "memory://", "b": "memory://"}
    async with DatabaseManager(members=members, layers=[faults.layer]) as db:
        a, b = await db.member("a"), await db.member("b")
        down = faults.down("a")
        for call in (a.ping(), a.begin(), a.prober().connect(), a.prober().check()):
            with pytest.raises(UnavailableError) as raised:
                await call
            assert raised.value.condition is Condition.DOWN
        await b.ping()
        await b.prober().check()
        faults.clear(down)
        await a.ping()
        await a.prober().check()


async def test_opening_fails(faults: Faults) -> None:
    """``open`` is a step that can fail; the next attempt may succeed."""
    layer = faults.layer
    db = DatabaseManager("memory://", layers=[layer])
    faults.fail("open", times=None)
    with pytest.raises(UnavailableError):
        await db.open()
    faults.clear()
    async with db:
        await db.initialize(User)


async def test_an_error_keeps_no_trace_of_an_earlier_one(
    db: DatabaseManager, faults: Faults
) -> None:
    """Each strike raises an error of its own."""
    given = UnavailableError("gone")
    faults.fail("count", error=given, times=None)
    raised: list[UnavailableError] = []
    for _ in range(2):
        with pytest.raises(UnavailableError) as caught:
            await db.repository(User).count()
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert given.__traceback__ is None
    assert given.backend is None


@pytest.mark.parametrize(
    ("on", "hint"), [("inser", "did you mean 'insert'"), ("x", "known: "), (None, "insert")]
)
def test_an_unknown_operation_is_refused(faults: Faults, on: str | None, hint: str) -> None:
    """A fault that could never strike is a mistake of the test."""
    with pytest.raises(ConfigurationError, match=hint):
        faults.fail(*([on] if on else []))


def test_a_step_without_an_effect_cannot_be_applied(faults: Faults) -> None:
    """There is no answer to lose of a ping."""
    with pytest.raises(ConfigurationError, match="ping"):
        faults.lose("ping")

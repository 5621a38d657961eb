"""Many tasks at once, on every backend: errors stay with their callers, and so do cancellations."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.layers.company import AbleLayer

from healthstore import DatabaseManager, Entity
from healthstore.abc import Backend
from healthstore.abc.layer import Layer
from healthstore.adapters.memory import MemoryAdapter
from healthstore.config import MemberSettings, Settings
from healthstore.errors import (
    CheckError,
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    Outcome,
    OutOfRangeError,
    StaleVersionError,
)
from healthstore.layers.coalesce import CoalesceLayer
from healthstore.layers.retry import RetryLayer
from healthstore.model import evaluate
from healthstore.model.ops import Delete, Ensure, Find, Get, Insert, Op, Patch
from healthstore.model.query import Operator, Test
from healthstore.model.schema import Check, Collection, Field, Reference, Unique
from healthstore.model.values import Document, FieldType, Kind, Value
from healthstore.testing.plugin import EmptyBackend, LendDatabase

R = TypeVar("R")

ID = Field("id", FieldType(Kind.UUID))
VERSION = Field("version", FieldType(Kind.INTEGER))
PARENTS = Collection("parents", (ID, VERSION))
THINGS = Collection(
    "things",
    (
        *(ID, VERSION),
        Field("name", FieldType(Kind.TEXT, max_length=40)),
        Field("size", FieldType(Kind.INTEGER)),
        Field("parent", FieldType(Kind.UUID), nullable=True),
        Field("count", FieldType(Kind.INTEGER)),
    ),
    uniques=(Unique("name"),),
    checks=(Check("not_negative", Test("size", Operator.GE, 0)),),
    references=(Reference("parent", "parents"),),
)
PARENT: Document = {"id": uuid4(), "version": 1}
NOBODY = uuid4()
IDS = [uuid4() for _ in range(4)]
THERE = [uuid4() for _ in range(12)]
SERVERS = ("postgresql", "mysql", "mariadb", "mongodb-rs")


class SlowLayer(Layer):
    """Gives way before and after each operation, as a backend behind a wire does."""

    rank = 120

    async def execute(self, op: Op[R]) -> R:
        """Run the operation a little later, and answer a little later."""
        for _ in range(3):
            await asyncio.sleep(0)
        result = await self.inner.execute(op)
        await asyncio.sleep(0)
        return result


@dataclass(frozen=True, slots=True)
class Draft:
    """An insert of one or two documents, some of which may be refused."""

    ids: tuple[UUID | None, ...]
    names: tuple[str | None, ...]
    size: int
    parent: UUID | None

    def made(self) -> Insert:
        """Return the operation; what is None in the draft is unique."""
        documents: list[Document] = []
        for identity, name in zip(self.ids, self.names, strict=True):
            new = identity or uuid4()
            documents.append(
                {
                    "id": new,
                    "version": 1,
                    "name": name or str(new),
                    "size": self.size,
                    "parent": self.parent,
                    "count": 0,
                }
            )
        return Insert(THINGS, tuple(documents))


def mostly(usual: object, *others: object) -> st.SearchStrategy[object]:
    """Return a strategy that draws one thing most of the time."""
    return st.sampled_from([usual] * 6 + list(others))


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    """Draw a good insert, or one with a taken id or name, a broken check or no parent."""
    number = draw(st.sampled_from((1, 1, 1, 2)))
    return Draft(
        tuple(draw(mostly(None, *IDS)) for _ in range(number)),  # type: ignore[arg-type]  # what is drawn
        tuple(draw(mostly(None, "a", "b")) for _ in range(number)),  # type: ignore[arg-type]  # as above
        draw(mostly(1, -1)),  # type: ignore[arg-type]  # as above
        draw(mostly(PARENT["id"], None, NOBODY)),  # type: ignore[arg-type]  # as above
    )


def drawn(seed: int) -> list[Draft]:
    """Return drafts as above, from a seed: for where hypothesis would take too long."""
    chance = random.Random(seed)  # noqa: S311 - no secret

    def one(usual: R, *others: R) -> R:
        return chance.choice([usual] * 6 + list(others))

    made: list[Draft] = []
    for _ in range(64):
        numbers = range(chance.choice((1, 1, 1, 2)))
        parent = PARENT["id"]
        assert isinstance(parent, UUID)
        made.append(
            Draft(
                tuple(one(None, *IDS) for _ in numbers),
                tuple(one(None, "a", "b") for _ in numbers),
                one(1, -1),
                one(parent, None, NOBODY),
            )
        )
    return made


def drawn_changes(seed: int) -> list[Patch]:
    """Return changes, some of which are refused."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    return [changed_by(lambda *choices: chance.choice(choices)).made() for _ in range(64)]


async def attempted(work: Awaitable[R]) -> R | HealthstoreError:
    """Return a result, or an error of ours."""
    try:
        return await work
    except HealthstoreError as error:
        return error


async def require_as_alone(store: Backend, ops: Sequence[Insert]) -> None:
    """Let each operation be a task's, and fail unless they did what each would have done alone.

    There is an order in which it would: first those that were made, then those that were refused.
    """
    answers = await asyncio.gather(*(attempted(store.execute(op)) for op in ops))
    stored = {each["id"]: each for each in await store.execute(Find(THINGS, limit=1_000))}
    names = {each["name"] for each in stored.values()}
    made: list[Document] = []
    for op, answer in zip(ops, answers, strict=True):
        if not isinstance(answer, HealthstoreError):
            assert answer == len(op.documents)
            made += op.documents
            continue
        reasons: set[type[HealthstoreError]] = set()
        taken: set[tuple[str, ...]] = set()
        ids, own = [each["id"] for each in op.documents], [each["name"] for each in op.documents]
        if len(set(ids)) < len(ids) or stored.keys() & set(ids):
            taken.add(("id",))
        if len(set(own)) < len(own) or names & set(own):
            taken.add(("name",))
        if taken:
            reasons.add(DuplicateKeyError)
        if any(each["size"] == -1 for each in op.documents):
            reasons.add(CheckError)
        if any(each["parent"] == NOBODY for each in op.documents):
            reasons.add(ForeignKeyError)
        assert type(answer) in reasons, (answer, reasons)
        if isinstance(answer, DuplicateKeyError):
            assert answer.fields in taken
    assert len(made) == len(stored), "a refused one was stored, or an acknowledged one was not"
    assert all(stored[each["id"]] == each for each in made)
    failed = [each for each in answers if isinstance(each, HealthstoreError)]
    assert len({id(each) for each in failed}) == len(failed), "two callers share an error"
    await emptied(store)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one of some things, of some version or of any, which may be refused."""

    thing: UUID
    name: str | None
    size: int
    step: int
    parent: UUID | None
    version: int | None

    def made(self) -> Patch:
        """Return the operation; a name that is None in the draft is unique."""
        sets: tuple[tuple[str, Value], ...] = (
            ("name", self.name or str(uuid4())),
            ("size", self.size),
            ("parent", self.parent),
        )
        versions = None if self.version is None else (self.version,)
        steps = (("version", 1), ("count", self.step))
        return Patch(THINGS, (self.thing,), sets, steps, versions)


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Draw a good change, or one with a taken name, a broken check, no parent, or a sum too large."""
    return changed_by(lambda *choices: draw(st.sampled_from(choices)))


def changed_by(choose: Callable[..., Any]) -> Change:
    """Return a change whose parts are chosen, most often good ones."""

    def mostly(usual: object, *others: object) -> Any:
        return choose(*[usual] * 8, *others)

    return Change(
        mostly(choose(*THERE), NOBODY),
        mostly(None, "a", "b"),
        mostly(1, -1),
        mostly(1, 2**63 - 1),
        mostly(PARENT["id"], None, NOBODY),
        mostly(None, 1, 2),
    )


def at_first() -> list[Document]:
    """Return the things that are changed, as they are added."""
    return [
        {"id": each, "version": 1, "name": str(each), "size": 0, "parent": None, "count": 1}
        for each in THERE
    ]


async def require_changed_as_alone(store: Backend, ops: Sequence[Patch]) -> None:
    """Let each change be a task's, and fail unless they did what each would have done alone.

    Of each thing the answers are its states, one after the other: each version is told once.
    """
    things = at_first()
    await store.execute(Insert(THINGS, tuple(things)))
    answers = await asyncio.gather(*(attempted(store.execute(op)) for op in ops))
    found = await store.execute(Find(THINGS, limit=1_000))
    states = {each["id"]: [each] for each in things}
    told = zip(ops, answers, strict=True)
    applied = [(op, each[0]) for op, each in told if isinstance(each, tuple) and each[0]]
    for op, document in sorted(applied, key=lambda one: one[1]["version"]):  # type: ignore[arg-type, return-value]  # integers
        before = states[document["id"]][-1]
        assert op.versions in {None, (before["version"],)}
        assert document == evaluate.patched(op, before), "it is not what came of the one before"
        states[document["id"]].append(document)
    assert {each["id"]: each for each in found} == {key: each[-1] for key, each in states.items()}
    for op, answer in zip(ops, answers, strict=True):
        if isinstance(answer, HealthstoreError):
            require_reason(op, answer, states.get(op.ids[0], []))
        else:
            assert (answer == (None,)) is (op.ids[0] == NOBODY)
    failed = [each for each in answers if isinstance(each, HealthstoreError)]
    assert len({id(each) for each in failed}) == len(failed), "two callers share an error"
    await emptied(store)


def require_reason(op: Patch, error: HealthstoreError, states: Sequence[Document]) -> None:
    """Fail unless a change was refused for what is wrong with it, at some time."""
    sets, reasons = dict(op.sets), set[type[HealthstoreError]]()
    if sets["name"] in {"a", "b"}:
        reasons.add(DuplicateKeyError)
    if sets["size"] == -1:
        reasons.add(CheckError)
    if sets["parent"] == NOBODY:
        reasons.add(ForeignKeyError)
    if dict(op.increments)["count"] != 1:
        reasons.add(OutOfRangeError)
    if op.versions and any((each["version"],) != op.versions for each in states):
        reasons.add(StaleVersionError)
    assert type(error) in reasons, (error, reasons)
    assert error.outcome is Outcome.NOT_APPLIED


async def emptied(store: Backend) -> None:
    """Remove every thing."""
    found = await store.execute(Find(THINGS, limit=1_000))
    if found:
        ids = tuple(each["id"] for each in found)
        await store.execute(Delete(THINGS, ids))  # type: ignore[arg-type]  # they are ids


@asynccontextmanager
async def prepared(backend: Backend) -> AsyncIterator[CoalesceLayer]:
    """Lend the layer over a backend with its collections and a parent."""
    store = CoalesceLayer(AbleLayer(backend))
    await store.execute(Ensure((PARENTS, THINGS)))
    await store.execute(Insert(PARENTS, (PARENT,)))
    yield store
    for _ in range(5):
        await asyncio.sleep(0)
    assert not store._lanes, "a lane is left"
    assert not store._batches, "a joint request is left"


# --- errors stay with their callers --------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(st.lists(drafts(), max_size=40))
def test_any_mix_of_inserts_is_as_each_alone(mix: list[Draft]) -> None:
    """Good ones are stored, others are refused for their own reason, whoever travels with them."""

    async def run() -> None:
        memory = MemoryAdapter()
        await memory.open()
        async with prepared(SlowLayer(memory)) as store:
            await require_as_alone(store, [each.made() for each in mix])
        await memory.close()

    asyncio.run(run())


async def test_any_mix_on_sqlite(healthstore_empty: EmptyBackend) -> None:
    """The same on SQLite, for some seeds."""
    async with healthstore_empty("sqlite") as backend, prepared(backend) as store:
        for seed in range(10):
            await require_as_alone(store, [each.made() for each in drawn(seed)])


@settings(deadline=None, max_examples=150)
@given(st.lists(changes(), max_size=40))
def test_any_mix_of_changes_is_as_each_alone(mix: list[Change]) -> None:
    """Each is told what it made of its thing, or why not, whoever travels with it."""

    async def run() -> None:
        memory = MemoryAdapter()
        await memory.open()
        async with prepared(SlowLayer(memory)) as store:
            await require_changed_as_alone(store, [each.made() for each in mix])
        await memory.close()

    asyncio.run(run())


async def test_any_mix_of_changes_on_sqlite(healthstore_empty: EmptyBackend) -> None:
    """The same on SQLite, for some seeds."""
    async with healthstore_empty("sqlite") as backend, prepared(backend) as store:
        for seed in range(10):
            await require_changed_as_alone(store, drawn_changes(seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
async def test_any_mix_of_changes_on_a_server(name: str, healthstore_empty: EmptyBackend) -> None:
    """The same on the servers; a deadlock among rivals is repeated, as a member does."""
    async with healthstore_empty(name) as backend, prepared(backend) as store:
        for seed in range(20):
            rivals = RetryLayer(store, attempts=20, seconds=20)
            await require_changed_as_alone(rivals, drawn_changes(seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["postgresql", "mysql", "mariadb"])
async def test_a_document_that_is_held_delays_nobody_else(
    name: str, healthstore_empty: EmptyBackend
) -> None:
    """A unit holds a document: who changes it waits, and those who leave with him do not."""
    async with healthstore_empty(name) as backend, prepared(backend) as store:
        things = at_first()
        await store.execute(Insert(THINGS, tuple(things)))
        counted = [Patch(THINGS, (each,), increments=(("count", 1),)) for each in THERE]
        unit = await backend.begin()
        await unit.execute(counted[5])
        tasks = [asyncio.create_task(store.execute(op)) for op in counted]
        others = [task for place, task in enumerate(tasks) if place != 5]
        async with asyncio.timeout(8):  # a lock is waited for longer
            await asyncio.gather(*others)
        assert not tasks[5].done()
        await unit.commit()
        assert await tasks[5] == ({**things[5], "count": 3},)


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
async def test_any_mix_on_a_server(name: str, healthstore_empty: EmptyBackend) -> None:
    """The same on the servers; a deadlock among rivals is repeated, as a member does."""
    async with healthstore_empty(name) as backend, prepared(backend) as store:
        for seed in range(20):
            rivals = RetryLayer(store, attempts=20, seconds=20)
            await require_as_alone(rivals, [each.made() for each in drawn(seed)])


# --- and so do cancellations ---------------------------------------------------------------------


@dataclass(slots=True)
class Told:
    """What callers were told of the things that they added."""

    made: set[UUID] = field(default_factory=set[UUID])
    doubtful: set[UUID] = field(default_factory=set[UUID])
    cancelled: int = 0


async def cancelled_at_random(store: Backend, chance: random.Random, told: Told) -> None:
    """Add, read, change and remove things; some of the calls are cancelled on the way."""
    for _ in range(20):
        identity = uuid4()
        thing: Document = {
            "id": identity,
            "version": 1,
            "name": str(identity),
            "size": 1,
            "parent": PARENT["id"],
            "count": 0,
        }
        told.doubtful.add(identity)
        if await unless_cancelled(store.execute(Insert(THINGS, (thing,))), chance, told) is None:
            continue
        told.made.add(identity)
        found = await unless_cancelled(store.execute(Get(THINGS, (identity,))), chance, told)
        assert found is None or found == (thing,)
        raised = Patch(THINGS, (identity,), (("size", 2),), (("version", 1), ("count", 1)))
        changed = await unless_cancelled(store.execute(raised), chance, told)
        assert changed is None or changed == ({**thing, "size": 2, "version": 2, "count": 1},)
        if chance.random() < 0.3:
            told.made.discard(identity)
            gone = await unless_cancelled(store.execute(Delete(THINGS, (identity,))), chance, told)
            if gone is not None:
                assert gone == (True,)
                told.doubtful.discard(identity)


async def unless_cancelled(call: Awaitable[R], chance: random.Random, told: Told) -> R | None:
    """Return the answer; None if the call was cancelled, as one in four is, at any moment."""
    task = asyncio.ensure_future(call)
    if chance.random() < 0.25:
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0 if chance.random() < 0.5 else 0.0005)
        if task.cancel():
            told.cancelled += 1
            (answer,) = await asyncio.gather(task, return_exceptions=True)
            return None if isinstance(answer, BaseException) else answer
    return await task


async def require_unhurt(backend: Backend, tasks: int) -> None:
    """Fail unless nobody noticed that others were cancelled, and nothing is left of it."""
    before = asyncio.all_tasks()
    async with prepared(backend) as store:
        rivals = RetryLayer(store, attempts=20, seconds=20)
        told, chance = Told(), random.Random(20)  # noqa: S311 - no secret
        async with asyncio.TaskGroup() as group:  # which fails if any call does
            for _ in range(tasks):
                group.create_task(cancelled_at_random(rivals, chance, told))
        assert told.cancelled > tasks, "calls must have been cancelled"
        there = {each["id"] for each in await store.execute(Find(THINGS, limit=10_000))}
        assert told.made <= there, "an acknowledged write is lost"
        assert there <= told.doubtful, "a removed one is there"
    await asyncio.sleep(0.3)  # connections that were discarded say farewell
    assert asyncio.all_tasks() <= before, "a task is left"
    figures = backend.pool()
    assert figures is None or (figures.in_use, figures.waiting) == (0, 0)


async def test_cancellations_hurt_nobody_else() -> None:
    """64 tasks on a memory behind a wire, of whose calls some are cancelled at any moment."""
    memory = MemoryAdapter()
    await memory.open()
    await require_unhurt(SlowLayer(memory), 64)
    await memory.close()


async def test_cancellations_on_sqlite(healthstore_empty: EmptyBackend) -> None:
    """The same on SQLite."""
    async with healthstore_empty("sqlite") as backend:
        await require_unhurt(backend, 16)


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
async def test_cancellations_on_a_server(name: str, healthstore_empty: EmptyBackend) -> None:
    """The same on the servers."""
    async with healthstore_empty(name) as backend:
        await require_unhurt(backend, 64)


# --- many tasks, few connections -----------------------------------------------------------------


class Visit(Entity, collection="visits"):
    reason: str


@pytest.mark.slow
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
async def test_2000_tasks_share_five_connections(
    name: str, healthstore_database: LendDatabase
) -> None:
    """None is refused as overloaded, and each has what it wrote."""
    async with healthstore_database(name) as lent:
        member = MemberSettings.model_validate({"name": name, "url": lent.url, "pool_size": 5})
        chosen = Settings(members=(member,))
        async with DatabaseManager.from_settings(chosen, layers=lent.layers) as db:
            await db.initialize(Visit)
            visits = db.repository(Visit)

            async def visit(number: int) -> None:
                made = await visits.add(Visit(reason=f"reason {number}"))
                assert await visits.get(made.id) == made

            await asyncio.gather(*map(visit, range(2_000)))
            assert await visits.count() == 2_000

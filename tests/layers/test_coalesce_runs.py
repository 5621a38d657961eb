"""Many tasks at once, on every backend: errors stay with their callers, and so do cancellations."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar
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
)
from healthstore.layers.coalesce import CoalesceLayer
from healthstore.layers.retry import RetryLayer
from healthstore.model.ops import Delete, Ensure, Find, Get, Insert, Op
from healthstore.model.query import Operator, Test
from healthstore.model.schema import Check, Collection, Field, Reference, Unique
from healthstore.model.values import Document, FieldType, Kind
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
    ),
    uniques=(Unique("name"),),
    checks=(Check("not_negative", Test("size", Operator.GE, 0)),),
    references=(Reference("parent", "parents"),),
)
PARENT: Document = {"id": uuid4(), "version": 1}
NOBODY = uuid4()
IDS = [uuid4() for _ in range(4)]
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
    """Add, read and remove things for a while; some of the calls are cancelled on the way."""
    for _ in range(20):
        identity = uuid4()
        thing: Document = {
            "id": identity,
            "version": 1,
            "name": str(identity),
            "size": 1,
            "parent": PARENT["id"],
        }
        told.doubtful.add(identity)
        if await unless_cancelled(store.execute(Insert(THINGS, (thing,))), chance, told) is None:
            continue
        told.made.add(identity)
        found = await unless_cancelled(store.execute(Get(THINGS, (identity,))), chance, told)
        assert found is None or found == (thing,)
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

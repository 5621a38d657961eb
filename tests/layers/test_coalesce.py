"""What coalescing does to each caller: company, answers, errors, cancellation and order."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid4

import pytest

from healthstore.abc import Backend, Capabilities
from healthstore.adapters.memory import MemoryAdapter
from healthstore.errors import (
    BackendError,
    DeadlineExceededError,
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    LifecycleError,
    Outcome,
    OutcomeUnknownError,
    SerializationError,
    StaleVersionError,
    UnavailableError,
)
from healthstore.layers.coalesce import Apart, CoalesceLayer
from healthstore.model.ops import Delete, Ensure, Find, Get, Insert, Op, Patch, Patches
from healthstore.model.schema import Collection, Field, Reference, Unique
from healthstore.model.values import Document, FieldType, Kind

R = TypeVar("R")

ID = Field("id", FieldType(Kind.UUID))
VERSION = Field("version", FieldType(Kind.INTEGER))
NOTES = Collection(
    "notes",
    (
        ID,
        VERSION,
        Field("text", FieldType(Kind.TEXT, max_length=100)),
        Field("data", FieldType(Kind.JSON)),
    ),
    uniques=(Unique("text"),),
)
LINES = Collection(
    "lines",
    (ID, VERSION, Field("note", FieldType(Kind.UUID))),
    references=(Reference("note", "notes"),),
)
ALL = frozenset({Delete, Get, Insert, Patch})
CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


def note(text: str = "") -> Document:
    """Return a new note."""
    identity = uuid4()
    return {"id": identity, "version": 1, "text": text or str(identity), "data": {"tags": ["a"]}}


def add(document: Document) -> Insert:
    """Return the operation that adds one document."""
    return Insert(NOTES, (document,))


def get(identity: object) -> Get:
    """Return the operation that reads one document."""
    assert isinstance(identity, UUID)
    return Get(NOTES, (identity,))


def delete(identity: object) -> Delete:
    """Return the operation that removes one document."""
    assert isinstance(identity, UUID)
    return Delete(NOTES, (identity,))


def change(identity: object, text: str, version: int | None = None) -> Patch:
    """Return the operation that changes one document, of some version if one is given."""
    assert isinstance(identity, UUID)
    versions = None if version is None else (version,)
    return Patch(NOTES, (identity,), (("text", text),), (("version", 1),), versions)


class Wire(MemoryAdapter):
    """A memory at the end of a wire: it keeps what was sent, and answers when it may.

    ``strike`` is awaited before the effect of what is sent, ``lose`` behind it.
    """

    capabilities: ClassVar[Capabilities] = replace(MemoryAdapter.capabilities, coalesced=ALL)  # type: ignore[misc] - as in MemoryAdapter

    def __init__(self) -> None:
        super().__init__("wire")
        self.sent: list[Op[Any]] = []
        self.tasks: list[asyncio.Task[Any] | None] = []
        self.callers: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.strike: Callable[[Op[Any]], Awaitable[None]] | None = None
        self.lose: Callable[[Op[Any]], Awaitable[None]] | None = None

    async def execute(self, op: Op[R]) -> R:
        """Note the operation, and run it when it may be answered."""
        self.sent.append(op)
        self.tasks.append(asyncio.current_task())
        self.callers.append(CALLER.get())
        await asyncio.sleep(0)
        await self.answers.wait()
        if self.strike is not None:
            await self.strike(op)
        result = await super().execute(op)
        if self.lose is not None:
            await self.lose(op)
        return result


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """Lend an opened wire with its collections."""
    wire = Wire()
    await wire.open()
    await wire.execute(Ensure((NOTES, LINES)))
    wire.sent.clear()
    wire.tasks.clear()
    wire.callers.clear()
    yield wire
    await wire.close()


@pytest.fixture
async def store(wire: Wire) -> AsyncIterator[CoalesceLayer]:
    """Lend the layer over it; nothing is under way when a test is over."""
    store = CoalesceLayer(wire)
    yield store
    await settled()
    assert not store._lanes, "a lane is left"
    assert not store._batches, "a joint request is left"


async def settled() -> None:
    """Let everything happen that can happen now."""
    for _ in range(20):
        await asyncio.sleep(0)


async def together(
    store: Backend, wire: Wire, *ops: Op[Any], ahead: Op[Any] | None = None
) -> list[Any]:
    """Send operations so that they leave together: two others of their lane are on the wire.

    Returns their results and errors, in order.
    """
    tasks = await waiting(store, wire, *ops, ahead=ahead)
    wire.answers.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def waiting(
    store: Backend, wire: Wire, *ops: Op[Any], ahead: Op[Any] | None = None
) -> list[asyncio.Task[Any]]:
    """Send operations behind two others that get no answer yet; return their tasks."""
    wire.answers.clear()
    first = ahead or harmless(ops[0])
    before = [asyncio.create_task(store.execute(first)) for _ in range(2)]
    for task in before:
        task.add_done_callback(asyncio.Task.exception)
    await settled()
    tasks = [asyncio.create_task(store.execute(op)) for op in ops]
    await settled()
    return tasks


def sizes(wire: Wire) -> list[int]:
    """Return how many ids or documents each request had that was sent."""
    return [len(getattr(op, "documents", ())) or len(getattr(op, "ids", ())) for op in wire.sent]


def harmless(op: Op[Any]) -> Op[Any]:
    """Return an operation of the same lane that changes nothing."""
    if isinstance(op, Insert):
        twice = note()
        return Insert(op.collection, (twice, twice))  # refused
    if isinstance(op, Patch):
        return replace(op, ids=(uuid4(),))
    assert isinstance(op, Delete | Get)
    return replace(op, ids=(uuid4(),))


# --- company -----------------------------------------------------------------------------------


async def test_a_free_lane_is_taken_at_once(store: CoalesceLayer, wire: Wire) -> None:
    """The caller's own task sends its request, as it is, and gets the answer."""
    made, op = note(), get(uuid4())
    assert await store.execute(add(made)) == 1
    assert await store.execute(op) == (None,)
    assert wire.sent[-1] is op
    assert wire.tasks == [asyncio.current_task()] * 2


async def test_requests_that_wait_leave_together(store: CoalesceLayer, wire: Wire) -> None:
    """Five that wait are one request, and each gets its own document."""
    made = [note() for _ in range(5)]
    for each in made:
        await store.execute(add(each))
    wire.sent.clear()
    found = await together(store, wire, *(get(each["id"]) for each in made))
    assert found == [(each,) for each in made]
    assert sizes(wire) == [1, 1, 5]


async def test_who_waits_alone_goes_by_itself(store: CoalesceLayer, wire: Wire) -> None:
    """A single one that waits is sent by its caller's own task."""
    (task,) = await waiting(store, wire, get(uuid4()))
    wire.answers.set()
    assert await task == (None,)
    assert wire.tasks[-1] is task


async def test_a_document_is_nobody_else_s(store: CoalesceLayer, wire: Wire) -> None:
    """Of a document that several asked for, each gets a copy; it is asked for once."""
    made = note()
    await store.execute(add(made))
    found = await together(store, wire, *(get(made["id"]) for _ in range(3)))
    assert wire.sent[-1] == get(made["id"])
    for (each,) in found:
        assert each == made
        each["data"]["tags"].append("mine")
        each["text"] = "mine"


async def test_what_was_told_is_kept_by_its_caller_alone(store: CoalesceLayer, wire: Wire) -> None:
    """No document waits for the collector of cycles, which could be after many more requests."""
    made = [note() for _ in range(5)]
    gc.collect()
    gc.disable()
    try:
        assert await together(store, wire, *map(add, made)) == [1] * 5
        found = await together(store, wire, *(get(each["id"]) for each in made))
        await asyncio.sleep(0)
        holders = [each for answer in found for each in gc.get_referrers(answer)]
        assert all(each is found for each in holders)
    finally:
        gc.enable()


async def test_inserts_leave_together(store: CoalesceLayer, wire: Wire) -> None:
    """Several inserts, of one or more documents, are one, and each learns how many were its own."""
    ops = [add(note()), Insert(NOTES, (note(), note())), add(note())]
    assert await together(store, wire, *ops) == [1, 2, 1]
    assert len(await store.execute(Find(NOTES))) == 4
    assert sizes(wire)[:3] == [2, 2, 4]


async def test_deletes_leave_together(store: CoalesceLayer, wire: Wire) -> None:
    """Each learns whether it removed the document: of two for the same one, the first."""
    made = [note() for _ in range(2)]
    for each in made:
        await store.execute(add(each))
    one, two = (delete(each["id"]) for each in made)
    answers = await together(store, wire, one, delete(uuid4()), two, one)
    assert answers == [(True,), (False,), (True,), (False,)]
    assert await store.execute(Find(NOTES)) == ()


async def test_changes_leave_together(store: CoalesceLayer, wire: Wire) -> None:
    """Patches are one request, in order; each caller gets its own document."""
    made = [note() for _ in range(2)]
    for each in made:
        await store.execute(add(each))
    wire.sent.clear()
    ops = [
        change(each["id"], text)
        for each, text in ((made[0], "a"), (made[1], "b"), (made[0], "c"), (note(), "d"))
    ]
    answers = await together(store, wire, *ops)
    assert [each and each["text"] for (each,) in answers] == ["a", "b", "c", None]
    assert wire.sent[2:] == [Patches(NOTES, tuple(ops)), ops[3]], "what is missing is asked alone"


async def test_a_change_whose_version_is_another_harms_nobody(
    store: CoalesceLayer, wire: Wire
) -> None:
    """It is told so, and the others are stored: of two for one version, the first."""
    made = [note() for _ in range(4)]
    for each in made:
        await store.execute(add(each))
    ops = [change(each["id"], f"new {at}", 1) for at, each in enumerate(made)]
    ops[2] = change(made[2]["id"], "late", 7)
    *answers, late = await together(store, wire, *ops, change(made[0]["id"], "later", 1))
    stale = answers.pop(2)
    assert isinstance(stale, StaleVersionError)
    assert isinstance(late, StaleVersionError)
    assert [each["text"] for (each,) in answers] == ["new 0", "new 1", "new 3"]


async def test_changes_of_other_fields_go_their_own_way(store: CoalesceLayer, wire: Wire) -> None:
    """A lane is that of the fields that are set and incremented, with a version or without."""
    identity = uuid4()
    ops = [
        change(identity, "a"),
        change(identity, "a", 1),
        Patch(NOTES, (identity,), (("text", "a"),)),
        Patch(NOTES, (identity,), (("data", {}),), (("version", 1),)),
    ]
    wire.answers.clear()
    tasks = [asyncio.create_task(store.execute(op)) for op in ops for _ in range(2)]
    await settled()
    assert wire.sent == [op for op in ops for _ in range(2)]
    wire.answers.set()
    assert await asyncio.gather(*tasks) == [(None,)] * 8


async def test_what_cannot_be_told_apart_goes_by_itself(store: CoalesceLayer, wire: Wire) -> None:
    """Versions, several ids to remove, inserts of which a part may stay, and large requests."""
    identity = uuid4()
    many = tuple(note() for _ in range(101))
    ops: list[Op[Any]] = [
        Delete(NOTES, (identity,), versions=(1,)),
        Delete(NOTES, (identity, uuid4())),
        Delete(NOTES, (identity,), checked_references=False),
        Insert(NOTES, (note(),), atomic=False),
        Insert(NOTES, (note(),), checked_references=False),
        Insert(NOTES, many),
        Insert(NOTES, ()),
        Get(NOTES, tuple(uuid4() for _ in range(101))),
        Get(NOTES, ()),
        Patch(NOTES, (identity, uuid4()), (("text", "a"),)),
        Find(NOTES),
    ]
    wire.answers.clear()
    tasks = [asyncio.create_task(store.execute(op)) for op in ops for _ in range(5)]
    await settled()
    assert wire.sent == [op for op in ops for _ in range(5)]
    wire.answers.set()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_joint_request_is_bounded(store: CoalesceLayer, wire: Wire) -> None:
    """At most 256 ids or changes, 1,024 documents, and about 2 MB of text, leave together."""
    await together(store, wire, *(get(uuid4()) for _ in range(300)))
    assert sizes(wire) == [1, 1, 256, 44]
    wire.sent.clear()
    large = [{**note(), "data": {"text": "x" * 650_000}} for _ in range(7)]
    assert await together(store, wire, *map(add, large)) == [1] * 7
    assert sizes(wire) == [2, 2, 3, 3, 1]
    wire.sent.clear()
    hundreds = [Insert(NOTES, tuple(note() for _ in range(100))) for _ in range(11)]
    assert await together(store, wire, *hundreds) == [100] * 11
    assert sizes(wire) == [2, 2, 1_000, 100]
    wire.sent.clear()
    await together(store, wire, *(change(uuid4(), "a") for _ in range(300)))
    assert [len(op.patches) for op in wire.sent if isinstance(op, Patches)] == [256, 44]
    wire.sent.clear()
    data = {"text": "x" * 650_000}
    ops = [Patch(NOTES, (uuid4(),), (("data", data),)) for _ in range(7)]
    await together(store, wire, *ops)
    assert [len(op.patches) for op in wire.sent if isinstance(op, Patches)] == [3, 3]


async def test_nothing_is_sent_together_without_the_capability(wire: Wire) -> None:
    """A backend that does not say that it gains gets every request by itself."""
    wire.capabilities = replace(Wire.capabilities, coalesced=frozenset({Insert}))  # type: ignore[misc] - of this one
    store = CoalesceLayer(wire)
    await together(store, wire, *(get(uuid4()) for _ in range(5)))
    assert len(wire.sent) == 7


async def test_inside_a_unit_nothing_is_sent_together(store: CoalesceLayer, wire: Wire) -> None:
    """A unit is that of the backend below, and so is what is laid over it."""
    unit = await store.begin()
    assert store.over(unit) is unit
    assert await unit.execute(get(uuid4())) == (None,)
    await unit.rollback()


async def test_one_can_stay_apart(store: CoalesceLayer, wire: Wire) -> None:
    """Who asks for it never waits for others, and travels with nobody."""
    apart = Apart(store)
    assert (apart.name, apart.capabilities) == ("wire", wire.capabilities)
    tasks = await waiting(store, wire, get(uuid4()), get(uuid4()))
    mine = [asyncio.create_task(apart.execute(get(uuid4()))) for _ in range(3)]
    await settled()
    assert len(wire.sent) == 5, "two ahead, and those that are apart"
    wire.answers.set()
    await asyncio.gather(*mine, *tasks)
    assert sizes(wire) == [1, 1, 1, 1, 1, 2]


async def test_lanes_do_not_wait_for_each_other(store: CoalesceLayer, wire: Wire) -> None:
    """Another collection, and another kind of operation, is served while one hangs."""
    hung = asyncio.Event()

    async def strike(op: Op[Any]) -> None:
        if isinstance(op, Get) and op.collection is NOTES:
            await hung.wait()

    wire.strike = strike
    tasks = [asyncio.create_task(store.execute(get(uuid4()))) for _ in range(10)]
    await settled()
    made = note()
    assert await store.execute(add(made)) == 1
    assert await store.execute(Get(LINES, (uuid4(),))) == (None,)
    assert await store.execute(delete(made["id"])) == (True,)
    hung.set()
    assert await asyncio.gather(*tasks) == [(None,)] * 10


async def test_nobody_waits_long_behind_what_hangs(store: CoalesceLayer, wire: Wire) -> None:
    """A request that waits for a lock holds up only those that left with it."""
    locked, hung = uuid4(), asyncio.Event()

    async def strike(op: Op[Any]) -> None:
        if isinstance(op, Get) and locked in op.ids:
            await hung.wait()

    wire.strike = strike
    stuck = [asyncio.create_task(store.execute(get(locked))) for _ in range(2)]
    await settled()
    async with asyncio.timeout(10):
        for _ in range(10):
            found = await asyncio.gather(*(store.execute(get(uuid4())) for _ in range(5)))
            assert found == [(None,)] * 5
    assert not any(task.done() for task in stuck)
    assert len(wire.sent) < 2 + 10 * 5, "they went together"
    hung.set()
    await asyncio.gather(*stuck)


# --- errors ------------------------------------------------------------------------------------


async def test_an_error_is_that_of_its_caller(store: CoalesceLayer, wire: Wire) -> None:
    """Of ten inserts one has a key that is taken: nine are stored, one is told which key."""
    taken = note("taken")
    await store.execute(add(taken))
    made = [note() for _ in range(10)]
    made[6] = note("taken")
    answers = await together(store, wire, *map(add, made))
    error = answers.pop(6)
    assert isinstance(error, DuplicateKeyError)
    assert error.fields == ("text",)
    assert answers == [1] * 9
    assert len(await store.execute(Find(NOTES))) == 10


async def test_of_two_with_one_key_one_wins(store: CoalesceLayer, wire: Wire) -> None:
    """Two with the same id, and two with the same unique key: the others are not harmed."""
    same = note()
    made = [note("a"), same, note("b"), same, note("a")]
    answers = await together(store, wire, *map(add, made))
    losers = [each for each in answers if isinstance(each, DuplicateKeyError)]
    assert sorted(each.fields for each in losers) == [("id",), ("text",)]
    assert answers.count(1) == 3
    found = await store.execute(Find(NOTES))
    assert {each["text"] for each in found} == {"a", "b", same["text"]}


async def test_a_document_that_is_needed_stays(store: CoalesceLayer, wire: Wire) -> None:
    """Of three deletes one is refused: the others are done."""
    made = [note() for _ in range(3)]
    for each in made:
        await store.execute(add(each))
    line = {"id": uuid4(), "version": 1, "note": made[1]["id"]}
    await store.execute(Insert(LINES, (line,)))
    answers = await together(store, wire, *(delete(each["id"]) for each in made))
    assert isinstance(answers.pop(1), ForeignKeyError)
    assert answers == [(True,), (True,)]


async def test_a_stale_change_harms_nobody(store: CoalesceLayer, wire: Wire) -> None:
    """Of three changes one expects another version: the others are made."""
    made = [note() for _ in range(3)]
    for each in made:
        await store.execute(add(each))
    ops = [
        Patch(NOTES, (each["id"],), (("text", f"new {place}"),), versions=(1 + place % 2,))  # type: ignore[arg-type]  # an id
        for place, each in enumerate(made)
    ]
    answers = await together(store, wire, *ops)
    assert isinstance(answers.pop(1), StaleVersionError)
    assert [each["text"] for (each,) in answers] == ["new 0", "new 2"]


def failing_joint(error: HealthstoreError | Exception) -> Callable[[Op[Any]], Awaitable[None]]:
    """Return a strike at joint requests only."""

    async def strike(op: Op[Any]) -> None:
        if len(getattr(op, "documents", ())) > 2 or len(getattr(op, "ids", ())) > 1:
            raise error

    return strike


async def test_an_unknown_outcome_is_told_to_each(store: CoalesceLayer, wire: Wire) -> None:
    """Each caller gets an error object of its own about its own write; nothing is repeated."""
    lost = OutcomeUnknownError("lost", outcome=Outcome.UNKNOWN, backend="wire")
    wire.lose = failing_joint(lost)
    made = [note() for _ in range(5)]
    answers = await together(store, wire, *map(add, made))
    assert all(type(each) is OutcomeUnknownError for each in answers)
    assert all(each.outcome is Outcome.UNKNOWN and each.backend == "wire" for each in answers)
    assert len({id(each) for each in (*answers, lost)}) == 6
    assert len(wire.sent) == 3, "it was sent once"
    assert len(await store.execute(Find(NOTES))) == 5


async def test_a_backend_that_is_away_is_told_to_each(store: CoalesceLayer, wire: Wire) -> None:
    """Each caller gets an error of its own, which a retry above may act on."""
    wire.strike = failing_joint(UnavailableError("away", backend="wire"))
    answers = await together(store, wire, *(add(note()) for _ in range(5)))
    assert all(type(each) is UnavailableError for each in answers)
    assert len({id(each) for each in answers}) == 5
    assert len(wire.sent) == 3


async def test_a_conflict_of_all_is_a_conflict_of_nobody(store: CoalesceLayer, wire: Wire) -> None:
    """What the database always ends in favour of another unit is sent again, each by itself."""
    wire.strike = failing_joint(SerializationError("deadlock"))
    answers = await together(store, wire, *(add(note()) for _ in range(5)))
    assert answers == [1] * 5
    assert sizes(wire) == [2, 2, *([5] * 4), 1, 1, 1, 1, 1]


async def test_a_defect_leaves_nobody_waiting(store: CoalesceLayer, wire: Wire) -> None:
    """An error that is none of ours: a read goes again by itself, a write is in doubt."""
    wire.strike = failing_joint(RuntimeError("a defect"))
    assert await together(store, wire, *(get(uuid4()) for _ in range(3))) == [(None,)] * 3
    answers = await together(store, wire, *(add(note()) for _ in range(3)))
    assert all(type(each) is BackendError for each in answers)
    assert all(each.outcome is Outcome.UNKNOWN for each in answers)


async def test_a_joint_request_has_a_deadline(wire: Wire) -> None:
    """One that hangs ends, and each caller is told; of a write the outcome is unknown."""
    store = CoalesceLayer(wire, seconds=0.05)

    async def strike(op: Op[Any]) -> None:
        if len(getattr(op, "documents", ())) > 2 or len(getattr(op, "ids", ())) > 1:
            await asyncio.Event().wait()

    wire.strike = strike
    async with asyncio.timeout(10):
        reads = await together(store, wire, *(get(uuid4()) for _ in range(3)))
        writes = await together(store, wire, *(add(note()) for _ in range(3)))
    assert {type(each) for each in (*reads, *writes)} == {DeadlineExceededError}
    assert {each.outcome for each in reads} == {Outcome.NOT_APPLIED}
    assert {each.outcome for each in writes} == {Outcome.UNKNOWN}
    assert len({id(each) for each in (*reads, *writes)}) == 6


# --- cancellation and closing ------------------------------------------------------------------


async def test_one_that_leaves_while_it_waits_is_not_sent(store: CoalesceLayer, wire: Wire) -> None:
    """Cancelled before it was sent, an insert is surely not made; the others are."""
    made = [note() for _ in range(4)]
    tasks = await waiting(store, wire, *map(add, made))
    tasks[1].cancel()
    wire.answers.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers.pop(1), asyncio.CancelledError)
    assert answers == [1] * 3
    assert await store.execute(get(made[1]["id"])) == (None,)


async def on_the_wire(store: Backend, wire: Wire, *ops: Op[Any]) -> list[asyncio.Task[Any]]:
    """Send operations together, and let them be on the wire."""
    hung = asyncio.Event()

    async def strike(op: Op[Any]) -> None:
        if len(getattr(op, "documents", ())) > 2 or len(getattr(op, "ids", ())) > 1:
            await hung.wait()

    wire.strike = strike
    tasks = await waiting(store, wire, *ops)
    wire.answers.set()
    await settled()
    wire.strike = None
    asyncio.get_running_loop().call_later(0.02, hung.set)
    return tasks


async def test_one_that_leaves_on_the_wire_harms_nobody(store: CoalesceLayer, wire: Wire) -> None:
    """Cancelled when it was sent already, its write may be made; the others are."""
    tasks = await on_the_wire(store, wire, *(add(note()) for _ in range(4)))
    tasks[1].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers.pop(1), asyncio.CancelledError)
    assert answers == [1] * 3


async def test_when_all_have_left_it_ends(store: CoalesceLayer, wire: Wire) -> None:
    """A joint request that nobody waits for any more is cancelled."""
    tasks = await on_the_wire(store, wire, *(add(note()) for _ in range(4)))
    (batch,) = store._batches
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await settled()
    assert batch.task is not None
    assert batch.task.cancelled()
    assert await store.execute(Find(NOTES)) == ()


async def test_a_turn_that_is_not_taken_is_passed_on(store: CoalesceLayer, wire: Wire) -> None:
    """One that is cancelled just when it may go does not block its lane."""
    (task,) = await waiting(store, wire, get(uuid4()))
    (request,) = next(iter(store._lanes.values())).waiting
    request.answer.add_done_callback(lambda _: task.cancel())
    wire.answers.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await together(store, wire, get(uuid4()), get(uuid4())) == [(None,)] * 2


async def test_who_has_left_is_not_sent_again(store: CoalesceLayer, wire: Wire) -> None:
    """When a joint request is resolved, the write of a caller who has gone is left out."""
    made = [note("same") for _ in range(6)]
    tasks = await on_the_wire(store, wire, *map(add, made))
    tasks[0].cancel()
    await settled()
    wire.sent.clear()
    answers = await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert answers.count(1) == 1
    resent = [each["id"] for op in wire.sent if isinstance(op, Insert) for each in op.documents]
    assert made[0]["id"] not in resent
    assert made[1]["id"] in resent


async def test_closing_ends_what_is_on_the_wire(store: CoalesceLayer, wire: Wire) -> None:
    """Writers are told that their outcome is unknown; readers read again, or are refused."""
    writes = await on_the_wire(store, wire, *(add(note()) for _ in range(3)))
    reads = await on_the_wire(store, wire, *(get(uuid4()) for _ in range(3)))
    assert len(store._batches) == 2
    await store.close()
    told = await asyncio.gather(*writes, return_exceptions=True)
    assert {type(each) for each in told} == {OutcomeUnknownError}
    assert len({id(each) for each in told}) == 3
    refused = await asyncio.gather(*reads, return_exceptions=True)
    assert all(each == (None,) or type(each) is LifecycleError for each in refused)


async def test_closing_ends_what_has_not_begun(store: CoalesceLayer, wire: Wire) -> None:
    """A joint request that is ended before its first step leaves nobody waiting."""
    tasks = await waiting(store, wire, *(add(note()) for _ in range(3)))
    (lane,) = store._lanes.values()
    store._send(lane)
    await store.close()
    wire.answers.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in told} == {OutcomeUnknownError}


async def test_closing_refuses_who_waits(store: CoalesceLayer, wire: Wire) -> None:
    """What waits when the backend is closed is refused, and never sent."""
    tasks = await waiting(store, wire, *(add(note()) for _ in range(3)))
    await store.close()
    wire.answers.set()
    refused = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in refused} == {LifecycleError}
    await wire.open()
    assert await store.execute(Find(NOTES)) == ()


def test_it_can_be_opened_in_another_loop() -> None:
    """What was under way when an event loop ended is forgotten when it is opened again."""
    wire = Wire()
    store = CoalesceLayer(wire)

    async def leave() -> None:
        await store.open()
        await store.execute(Ensure((NOTES,)))
        await waiting(store, wire, *(get(uuid4()) for _ in range(3)))

    async def again() -> None:
        await store.open()
        assert await together(store, wire, *(get(uuid4()) for _ in range(3))) == [(None,)] * 3
        await store.close()

    asyncio.run(leave())
    wire.answers = asyncio.Event()
    asyncio.run(again())


# --- order and context -------------------------------------------------------------------------


async def test_a_read_joins_nothing_that_is_on_the_wire(store: CoalesceLayer, wire: Wire) -> None:
    """A read that begins after a write was acknowledged sees it, whatever is under way."""
    made, seen = note(), asyncio.Event()

    async def lose(op: Op[Any]) -> None:
        if isinstance(op, Get):
            await seen.wait()  # it was read, and the answer is on its way

    wire.lose = lose
    early = [asyncio.create_task(store.execute(get(made["id"]))) for _ in range(2)]
    await settled()
    await store.execute(add(made))
    late = [asyncio.create_task(store.execute(get(made["id"]))) for _ in range(2)]
    await settled()
    seen.set()
    assert await asyncio.gather(*early) == [(None,)] * 2
    assert await asyncio.gather(*late) == [(made,)] * 2


async def test_the_first_come_go_first(store: CoalesceLayer, wire: Wire) -> None:
    """Documents of a joint insert stand in the order in which their callers came."""
    made = [note() for _ in range(5)]
    await together(store, wire, *map(add, made))
    joint = wire.sent[-1]
    assert isinstance(joint, Insert)
    assert list(joint.documents) == made


async def test_a_joint_request_has_nobody_s_context(store: CoalesceLayer, wire: Wire) -> None:
    """What one caller has set is not seen where its request travels with others."""

    async def as_caller(name: str) -> None:
        CALLER.set(name)
        await store.execute(get(uuid4()))

    wire.answers.clear()
    tasks = [asyncio.create_task(as_caller(name)) for name in "abcd"]
    await settled()
    wire.answers.set()
    await asyncio.gather(*tasks)
    assert wire.callers == ["a", "b", "nobody"]

"""Migration: everything arrives as it was, or an error says what did not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.transfer.samples import (
    EVERYTHING,
    NAMED_NODES,
    NODES,
    PEOPLE,
    READINGS,
    Watched,
    everything,
    fill,
    identity,
    narrow,
    node,
    opened,
    person,
    reading,
    stored,
    tasks,
)

from healthstore.abc import Backend, Capabilities
from healthstore.abc.registry import connect
from healthstore.abc.url import BackendURL
from healthstore.errors import (
    ConfigurationError,
    ForeignKeyError,
    IntegrityError,
    Outcome,
    RefusedValueError,
    SchemaMismatchError,
    UnavailableError,
    VerificationError,
)
from healthstore.model.catalog import CATALOG, catalog_id
from healthstore.model.ops import CountDocuments, Ensure, Get, Insert, Op, Patch, Replace
from healthstore.model.query import F
from healthstore.model.schema import Check, Collection, Field
from healthstore.model.values import Document, FieldType, Kind
from healthstore.testing.strategies import documents
from healthstore.transfer import (
    CollectionFinished,
    Consistency,
    Finished,
    Mismatch,
    PageMoved,
    Planned,
    TransferEvent,
    Verified,
    migrate,
    verify,
)


@pytest.fixture(params=["memory", "sqlite"])
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """Lend an open, empty store of each embedded kind."""
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/target.db"
    store = connect(BackendURL.parse(url), "target")
    await store.open()
    yield store
    await store.close()
    assert not tasks()


async def clinic(name: str = "source") -> Backend:
    """Return a store with people, some with mentors, and their readings."""
    people = [person(number, mentor=99 - number if number % 4 else None) for number in range(100)]
    readings = [reading(number, of=number % 100) for number in range(1_000)]
    return await opened(name, (PEOPLE, people), (READINGS, readings))


async def test_everything_arrives_as_it_was(target: Backend) -> None:
    """Every document of every collection is equal, and the report says what was moved."""
    source = await clinic()
    await fill(source, (EVERYTHING, [everything(number) for number in range(50)]))
    report = await migrate(source, target, page_rows=64)
    for collection in (PEOPLE, READINGS, EVERYTHING):
        assert await stored(target, collection) == await stored(source, collection)
    assert [each.collection for each in report.collections] == ["everything", "people", "readings"]
    assert report.rows == 1_150
    assert report.verified
    assert report.consistency is Consistency.SNAPSHOT
    assert (await verify(source, target)).equal


@given(st.lists(documents(EVERYTHING), max_size=12, unique_by=lambda row: row["id"]))
@settings(deadline=None, max_examples=40)
async def test_generated_documents_arrive_as_they_were(rows: list[Document]) -> None:
    """Values of every kind, at their edges, are the same in the target."""
    source, target = await opened("source", (EVERYTHING, rows)), await opened("target")
    await migrate(source, target, page_rows=5)
    assert await stored(target, EVERYTHING) == await stored(source, EVERYTHING)


@given(st.lists(st.integers(0, 29), min_size=30, max_size=30), st.integers(1, 31))
@settings(deadline=None, max_examples=40)
async def test_references_to_later_documents_arrive(parents: list[int], page_rows: int) -> None:
    """A tree in any order arrives, also where its root is its own parent."""
    source = await opened("source")
    await source.execute(Ensure((NODES,)))
    rows = tuple(node(number, parent) for number, parent in enumerate(parents))
    await source.execute(Insert(NODES, rows))
    target = await opened("target")
    await migrate(source, target, page_rows=page_rows)
    assert await stored(target, NODES) == list(rows)


def ranked(parents: list[int]) -> tuple[list[Document], Collection]:
    """Return a tree of named nodes in any order of ids, and its collection with a check.

    Each node's rank among its siblings is one that its parent has, too; the first is the root.
    """
    size = len(parents) + 1
    numbers = [(7 * number + 3) % size for number in range(size)]  # 7 and the sizes share nothing
    above = [0, *(parent % (place + 1) for place, parent in enumerate(parents))]
    ranks = [above[:place].count(parent) for place, parent in enumerate(above)]
    rows: list[Document] = [
        {
            "id": identity(numbers[place]),
            "version": 1,
            "parent": identity(numbers[parent]),
            "rank": rank,
        }
        for place, (parent, rank) in enumerate(zip(above, ranks, strict=True))
    ]
    allowed = tuple({row["parent"] for row in rows})
    check = Check("parent_has_children", F.parent.in_(allowed))
    return sorted(rows, key=lambda row: str(row["id"])), replace(NAMED_NODES, checks=(check,))


@given(st.lists(st.integers(0, 29), min_size=29, max_size=29), st.integers(1, 31))
@settings(deadline=None, max_examples=40)
async def test_a_parent_that_a_key_or_a_check_holds_arrives(
    parents: list[int], page_rows: int
) -> None:
    """A required reference in a unique key and a check has no stand-in, and none is needed."""
    rows, nodes = ranked(parents)
    source, target = await opened("source", (nodes, rows)), await opened("target")
    await migrate(source, target, page_rows=page_rows)
    assert await stored(target, nodes) == rows


async def test_a_parent_that_a_key_or_a_check_holds_arrives_where_it_is_enforced(
    target: Backend,
) -> None:
    """So it is in a database that checks each row at once, and through a chain of ids downwards."""
    rows, nodes = ranked(list(range(29)))
    source = await opened("source", (nodes, rows))
    await migrate(source, target, page_rows=4)
    assert await stored(target, nodes) == rows


async def test_references_to_later_documents_arrive_where_they_are_enforced(
    target: Backend,
) -> None:
    """A database that checks each row at once accepts the documents in order of their ids."""
    numbers = list(range(300))
    shuffled = [(7 * number + 3) % 300 for number in numbers]
    people = [person(number, mentor) for number, mentor in zip(numbers, shuffled, strict=True)]
    nodes = [node(number, parent) for number, parent in zip(numbers, shuffled, strict=True)]
    source = await opened("source", (PEOPLE, people), (NODES, nodes))
    await migrate(source, target, page_rows=50)
    assert await stored(target, PEOPLE) == people
    assert await stored(target, NODES) == nodes


async def test_only_what_is_named_is_moved() -> None:
    """Collections are chosen by name or by definition."""
    for wanted in ("people", ["people"], [PEOPLE]):
        source, target = await clinic(), await opened("target")
        report = await migrate(source, target, wanted)
        assert [each.collection for each in report.collections] == ["people"]
        with pytest.raises(ConfigurationError):
            await stored(target, READINGS)


async def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    """A misspelt collection is named, with what may have been meant; nothing is written."""
    source, target = await clinic(), Watched(await opened("target"))
    with pytest.raises(ConfigurationError, match="no collection 'reading'") as error:
        await migrate(source, target, ["reading"])
    assert "did you mean 'readings'?" in str(error.value)
    with pytest.raises(ConfigurationError, match="no collection is named"):
        await migrate(source, target, [])
    assert not target.seen


async def test_a_source_without_collections_is_refused() -> None:
    """An empty source is more likely a wrong URL than what was meant."""
    with pytest.raises(ConfigurationError, match="no collection that healthstore made") as error:
        await migrate(await opened("source"), await opened("target"))
    assert error.value.backend == "source"


async def test_another_definition_is_refused() -> None:
    """An entity that is not what the source holds is told apart, field by field."""
    other = Collection("people", (*PEOPLE.fields, Field("age", FieldType(Kind.INTEGER))))
    with pytest.raises(SchemaMismatchError, match="field age is new"):
        await migrate(await clinic(), await opened("target"), [other])


async def test_a_target_with_documents_is_refused_before_anything_is_written() -> None:
    """Nothing is mixed: the error names the collections that are not empty, and what to do."""
    source = await clinic()
    target = Watched(await opened("target", (PEOPLE, [person(500)])))
    with pytest.raises(IntegrityError, match="already holds documents of people") as error:
        await migrate(source, target)
    assert "empty database" in error.value.hint
    assert error.value.outcome is Outcome.NOT_APPLIED
    assert not target.writes
    with pytest.raises(ConfigurationError):
        await stored(target, READINGS)


async def test_a_catalog_that_cannot_be_read_is_no_empty_store() -> None:
    """A definition that this release does not know is an error; nothing is moved beside it."""
    source = await opened("source", (PEOPLE, [person(1)]))
    target = await opened("target", (EVERYTHING, []))
    (row,) = await target.execute(Get(CATALOG, (catalog_id(EVERYTHING.name),)))
    assert row is not None
    await target.execute(Replace(CATALOG, ({**row, "definition": {"name": "everything"}},)))
    with pytest.raises(ConfigurationError, match="malformed") as error:
        await migrate(source, target)
    assert error.value.backend == "target"
    assert await target.execute(CountDocuments(CATALOG)) == 1


async def test_a_target_with_another_definition_is_refused() -> None:
    """A collection of the same name and another form stops the migration at once."""
    other = Collection("people", (*PEOPLE.fields, Field("age", FieldType(Kind.INTEGER))))
    target = Watched(await opened("target", (other, [])))
    with pytest.raises(SchemaMismatchError, match="people"):
        await migrate(await clinic(), target)
    assert not target.writes


async def test_an_empty_collection_of_the_target_is_used() -> None:
    """What is there and empty is filled."""
    source = await clinic()
    target = await opened("target", (PEOPLE, []), (READINGS, []))
    assert (await migrate(source, target)).rows == 1_100


async def test_a_store_cannot_be_moved_onto_itself() -> None:
    """Source and target are two stores."""
    source = await clinic()
    with pytest.raises(ConfigurationError, match="the same store"):
        await migrate(source, source)


async def test_a_parent_that_stays_behind_is_missed() -> None:
    """Documents whose parents are not in the target are refused, and the error says what is there."""
    source, target = await clinic(), await opened("target", (PEOPLE, [person(0)]))
    with pytest.raises(ForeignKeyError):
        await migrate(source, target, ["readings"], page_rows=1)
    with pytest.raises(ConfigurationError, match="refers to 'people'"):
        await migrate(source, await opened("other"), ["readings"])


async def test_the_migration_is_of_one_moment() -> None:
    """A writer during the migration is not seen where the source can keep a snapshot."""
    source, target = await clinic(), Watched(await opened("target"))
    before = await stored(source, READINGS)

    async def write(op: Op[object]) -> None:
        if isinstance(op, Insert) and op.collection == PEOPLE:
            target.before = nothing
            await source.execute(Insert(READINGS, (reading(5_000),)))
            await source.execute(Patch(PEOPLE, (identity(3),), (("email", "new@example.org"),)))

    async def nothing(_: Op[object]) -> None:
        return

    target.before = write
    report = await migrate(source, target, page_rows=10)
    assert report.consistency is Consistency.SNAPSHOT
    assert await stored(target, READINGS) == before
    assert (await stored(target, PEOPLE))[3]["email"] == "p3@example.org"


class Plain(Watched):
    """A store without transactions and without references."""

    @property
    def capabilities(self) -> Capabilities:
        """Those of a single MongoDB server."""
        return Capabilities(transactions=False, references=False, serializable=False)


async def test_stores_without_transactions_are_served() -> None:
    """Without transactions nothing is asked to be atomic, and the report says fuzzy."""
    # The store in memory checks references all the same: only to documents that came before.
    rows = (PEOPLE, [person(1), person(2, mentor=1)]), (READINGS, [reading(1, of=2)])
    source, target = Plain(await opened("source", *rows)), Plain(await opened("target"))
    report = await migrate(source, target)
    assert report.consistency is Consistency.FUZZY
    inserts = [
        op for op in target.writes if isinstance(op, Insert) and op.collection is not CATALOG
    ]
    assert inserts
    assert not any(op.atomic for op in inserts)
    assert not any(isinstance(op, Replace) for op in target.writes)


@pytest.mark.parametrize(("consistency", "checked"), [("snapshot", {False}), ("fuzzy", {True})])
async def test_references_are_checked_again_unless_they_are_known_to_hold(
    consistency: Consistency, checked: set[bool]
) -> None:
    """Of one moment of a store, with all parents, they hold; otherwise the target checks."""
    source, target = await clinic(), Watched(await opened("target"))
    report = await migrate(source, target, consistency=consistency)
    assert report.consistency == consistency
    inserts = [
        op for op in target.writes if isinstance(op, Insert) and op.collection is not CATALOG
    ]
    assert {op.checked_references for op in inserts} == checked


async def test_a_copy_that_differs_is_reported() -> None:
    """What is read back is held against what was read, and a difference is an error."""
    source, target = await clinic(), Watched(await opened("target"))
    events: list[TransferEvent] = []

    async def disturb(op: Op[object]) -> None:
        if isinstance(op, Insert) and op.collection == READINGS:
            await target.inner.execute(Patch(PEOPLE, (identity(7),), (("version", 9),)))

    target.before = disturb
    with pytest.raises(VerificationError, match=r"people \(100 expected, 100 found\)") as error:
        await migrate(source, target, on_event=events.append)
    assert error.value.backend == "target"
    mismatches = [each for each in events if isinstance(each, Mismatch)]
    assert [each.collection for each in mismatches] == ["people"]
    assert not any(isinstance(each, Finished) for each in events)
    unchecked = await migrate(source, await opened("other"), verify=False)
    assert not unchecked.verified


async def test_a_document_that_the_target_does_not_keep_is_refused() -> None:
    """It is not sent there, where the answer could be anything."""
    large = {**everything(1), "blob": bytes(6_000)}
    source = await opened("source", (EVERYTHING, [everything(0), large]))
    target = Watched(await narrow(5_000))
    with pytest.raises(RefusedValueError, match="more than 5000 bytes") as caught:
        await migrate(source, target)
    assert (caught.value.entity, caught.value.backend) == ("everything", "narrow")
    assert not any(isinstance(op, Insert) and op.collection == EVERYTHING for op in target.seen)
    assert (await migrate(source, await narrow(8_000))).verified


async def test_a_failure_says_what_the_target_holds() -> None:
    """An error half-way tells how many documents were written, and what to do."""
    source, target = await clinic(), Watched(await opened("target"))

    async def fail(op: Op[object]) -> None:
        if isinstance(op, Insert) and op.collection == READINGS:
            raise UnavailableError("gone", hint="look at its health")

    target.before = fail
    with pytest.raises(UnavailableError) as error:
        await migrate(source, target)
    assert "look at its health; 100 documents of this transfer are in target" in error.value.hint
    assert error.value.outcome is Outcome.UNKNOWN
    assert not tasks()


@pytest.mark.parametrize("step", [1, 5, 20, 60])
async def test_cancelling_leaves_no_task_and_no_snapshot(step: int) -> None:
    """Wherever a migration is cancelled, nothing of it goes on and its snapshot has ended."""
    source = Watched(await clinic())
    target = Watched(await opened("target"))
    running: asyncio.Task[object]

    async def slow(_: Op[object]) -> None:
        if len(source.seen) + len(target.seen) == step:
            running.cancel()
        await asyncio.sleep(0)

    source.before = target.before = slow
    running = asyncio.ensure_future(migrate(source, target, page_rows=50))
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not tasks()
    assert source.inner._units == 0  # type: ignore[attr-defined]  # of the memory adapter


async def test_events_tell_what_happens() -> None:
    """The plan, each page, and each verified collection are reported, in order."""
    source, target = await clinic(), await opened("target")
    events: list[TransferEvent] = []
    await migrate(source, target, page_rows=100, on_event=events.append)
    assert events[0] == Planned({"people": 100, "readings": 1_000})
    pages = [each for each in events if isinstance(each, PageMoved) and each.stage == "copy"]
    assert sum(each.rows for each in pages) == 1_100
    assert [each.done for each in pages if each.collection == "people"][-1] == 100
    assert all(each.total in {100, 1_000} and each.size > 0 for each in pages)
    copied = {
        each.collection: each.digest
        for each in events
        if isinstance(each, CollectionFinished) and each.stage == "copy"
    }
    verified = {each.collection: each.digest for each in events if isinstance(each, Verified)}
    assert copied == verified
    assert isinstance(events[-1], Finished)
    assert events[-1].rows == 1_100


async def test_a_callback_that_raises_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A broken progress bar is logged; the migration goes on."""

    def broken(_: TransferEvent) -> None:
        raise RuntimeError("broken")

    report = await migrate(await clinic(), await opened("target"), on_event=broken)
    assert report.verified
    assert "progress callback failed" in caplog.text

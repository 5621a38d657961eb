"""Emptying a store: every document goes, whatever refers to it, and definitions stay."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.transfer.samples import (
    EVERYTHING,
    NODES,
    PEOPLE,
    READINGS,
    Watched,
    everything,
    node,
    opened,
    person,
    reading,
    stored,
)

from healthstore.abc import Backend, Capabilities
from healthstore.errors import (
    ConfigurationError,
    ForeignKeyError,
    IncompleteStoreError,
    IntegrityError,
    UnavailableError,
)
from healthstore.model.filling import Filling
from healthstore.model.ops import Delete, Insert, Op
from healthstore.transfer import clear, migrate, verify
from healthstore.transfer.filling import filling, mark_of
from healthstore.transfer.selection import catalog


async def clinic() -> Backend:
    """Return a store whose people refer to each other, and whose readings refer to them."""
    people = [person(number, mentor=9 - number) for number in range(10)]
    readings = [reading(number, of=number % 10) for number in range(30)]
    return await opened(
        "clinic",
        (PEOPLE, people),
        (READINGS, readings),
        (EVERYTHING, [everything(number) for number in range(5)]),
    )


async def marked(store: Backend, *names: str) -> None:
    """Leave the mark of a transfer that was killed."""

    async def killed() -> None:
        async with filling(store, Filling.begun("migrate", "old", names)) as fill:
            fill.begun = True
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await killed()


def failing(store: Backend, *, after: int) -> Backend:
    """Return a store that removes some pages of documents, and is gone then."""
    removed = 0

    async def before(op: Op[object]) -> None:
        nonlocal removed
        if isinstance(op, Delete):
            removed += 1
            if removed > after:
                raise UnavailableError("gone")

    watched = Watched(store)
    watched.before = before  # type: ignore[assignment]  # as other tests do
    return watched


async def test_a_whole_store_is_emptied() -> None:
    """Children and parents, those that refer to each other too; the catalog stays."""
    store = await clinic()
    report = await clear(store)
    assert dict(report.collections) == {"people": 10, "readings": 30, "everything": 5}
    assert report.rows == 45
    for each in (PEOPLE, READINGS, EVERYTHING):
        assert await stored(store, each) == []
    assert set(await catalog(store)) == {"people", "readings", "everything"}
    assert (await clear(store)).rows == 0


async def test_an_empty_store_is_emptied() -> None:
    """Nothing is there, nothing is made, and that is no error."""
    store = await opened("new")
    assert (await clear(store)).collections == {}


async def test_only_what_is_named_is_emptied() -> None:
    """Others keep their documents; an unknown name is refused with a suggestion."""
    store = await clinic()
    assert (await clear(store, ["readings"])).rows == 30
    assert len(await stored(store, PEOPLE)) == 10
    with pytest.raises(ConfigurationError, match="readng"):
        await clear(store, ["readng"])


async def test_what_others_refer_to_is_not_removed_alone() -> None:
    """Also where the database would not notice: nothing is removed."""
    store = await clinic()
    with pytest.raises(ForeignKeyError, match="documents of readings refer") as caught:
        await clear(store, ["people"])
    assert (caught.value.entity, caught.value.field) == (READINGS.entity, "person")
    assert len(await stored(store, PEOPLE)) == 10
    assert (await clear(store, [PEOPLE, READINGS])).rows == 40
    assert len(await stored(store, EVERYTHING)) == 5


async def test_required_references_within_a_collection_are_no_obstacle() -> None:
    """A chain in which each document must have a parent."""
    store = await opened("tree", (NODES, [node(0, parent=0)]))
    await store.execute(Insert(NODES, tuple(node(n, parent=n - 1) for n in range(1, 30))))
    assert (await clear(store)).rows == 30


async def test_a_store_without_transactions_is_emptied() -> None:
    """Document by document."""
    store = await clinic()
    store.capabilities = Capabilities(transactions=False)  # type: ignore[misc] - of this instance
    assert (await clear(store)).rows == 45


async def test_a_store_that_was_left_half_full_serves_again() -> None:
    """Once all that the transfer filled is empty, not before."""
    store = await clinic()
    await marked(store, "people", "readings")
    await clear(store, ["readings"])
    assert await mark_of(store) is not None
    await clear(store, ["people", "readings"])
    assert await mark_of(store) is None


async def test_a_failure_leaves_the_rest_for_the_next_call() -> None:
    """What is gone is gone, and clearing goes on."""
    inner = await clinic()
    store = failing(inner, after=1)
    with pytest.raises(UnavailableError):
        await clear(store)
    assert (await clear(inner)).rows < 45


# --- replacing -------------------------------------------------------------------------------


async def test_a_migration_replaces_what_is_there() -> None:
    """Also collections that the source does not have are empty then."""
    source = await opened("source", (PEOPLE, [person(number) for number in range(3)]))
    target = await clinic()
    with pytest.raises(IntegrityError, match="already holds documents") as caught:
        await migrate(source, target)
    assert "replace=True" in caught.value.hint
    assert (await migrate(source, target, replace=True)).rows == 3
    assert await stored(target, PEOPLE) == await stored(source, PEOPLE)
    assert await stored(target, READINGS) == await stored(target, EVERYTHING) == []
    assert (await verify(source, target, ["people"])).equal


async def test_a_migration_of_some_replaces_those() -> None:
    """Others stay, and what they refer to is not taken from them."""
    rows = [everything(number) for number in range(50, 52)]
    source = await opened(
        "source", (PEOPLE, [person(number) for number in range(3)]), (EVERYTHING, rows)
    )
    target = await clinic()
    await migrate(source, target, ["everything"], replace=True)
    assert await stored(target, EVERYTHING) == rows
    assert len(await stored(target, READINGS)) == 30
    with pytest.raises(ForeignKeyError, match="documents of readings refer"):
        await migrate(source, target, ["people"], replace=True)
    assert len(await stored(target, PEOPLE)) == 10
    assert await mark_of(target) is None


async def test_half_a_copy_is_replaced_by_a_whole_one() -> None:
    """What a killed transfer has left is filled anew; half of it alone is not."""
    source, target = await clinic(), await clinic()
    await marked(target, "people", "readings")
    with pytest.raises(IncompleteStoreError):
        await migrate(source, target)
    with pytest.raises(IncompleteStoreError):
        await migrate(source, target, ["readings"], replace=True)
    await migrate(source, target, replace=True)
    assert await mark_of(target) is None
    assert (await verify(source, target)).equal


async def test_a_replacement_that_fails_leaves_a_mark() -> None:
    """From the first document that it removes the target is not whole."""
    source, inner = await clinic(), await clinic()
    with pytest.raises(UnavailableError) as caught:
        await migrate(source, failing(inner, after=0), replace=True)
    assert "replace=True" in caught.value.hint
    assert await mark_of(inner) is not None


async def test_a_store_does_not_replace_itself() -> None:
    """Nothing is removed."""
    store = await clinic()
    with pytest.raises(ConfigurationError, match="the same store"):
        await migrate(store, store, replace=True)
    assert len(await stored(store, READINGS)) == 30

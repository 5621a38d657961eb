"""A transfer that ends with its process, wherever: no half of it is taken for a whole store."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

import pytest
from tests.unit.transfer.samples import (
    EVERYTHING,
    PEOPLE,
    READINGS,
    Watched,
    opened,
    person,
    reading,
    stored,
)

from healthstore.abc import Backend, Capabilities
from healthstore.abc.registry import connect
from healthstore.abc.url import BackendURL
from healthstore.errors import IncompleteStoreError
from healthstore.model.catalog import CATALOG, to_document
from healthstore.model.filling import Filling
from healthstore.model.ops import Ensure, Insert, Op
from healthstore.model.schema import Collection
from healthstore.transfer import backup, clear, load, migrate, restore
from healthstore.transfer.filling import mark_of, require_whole
from healthstore.transfer.selection import catalog

Transfer: TypeAlias = Callable[[Backend, Path], Awaitable[object]]


class Killed(BaseException):
    """The process ends here."""


class Plain(Watched):
    """A store without transactions, which is never spoken to again once the process has ended."""

    @property
    def capabilities(self) -> Capabilities:
        """Those of a single server of documents."""
        return Capabilities(transactions=False, references=True, serializable=False)


async def clinic() -> Backend:
    """Return a store with documents of three collections, the last one empty."""
    people = [person(number) for number in range(4)]
    rows = [reading(number, of=number) for number in range(4)]
    return await opened("clinic", (PEOPLE, people), (READINGS, rows), (EVERYTHING, []))


async def nothing() -> Backend:
    """Return a store without collections."""
    return await opened("target")


async def other() -> Backend:
    """Return a store with other people, and without readings."""
    return await opened("target", (PEOPLE, [person(number) for number in range(50, 54)]))


async def empty() -> Backend:
    """Return a store with one of the collections, which holds nothing."""
    return await opened("target", (PEOPLE, []))


async def migrated(target: Backend, _: Path) -> object:
    """Copy everything."""
    return await migrate(await clinic(), target)


async def replaced(target: Backend, _: Path) -> object:
    """Copy everything in the place of what is there."""
    return await migrate(await clinic(), target, replace=True)


async def replaced_some(target: Backend, _: Path) -> object:
    """Copy two collections in the place of what is there."""
    return await migrate(await clinic(), target, ["people", "readings"], replace=True)


async def restored(target: Backend, folder: Path) -> object:
    """Restore a backup."""
    await backup(await clinic(), folder / "backup.json")
    return await restore(folder / "backup.json", target)


async def loaded(target: Backend, folder: Path) -> object:
    """Load a file."""
    file = folder / "people.jsonl"
    people = [{**person(number), "id": str(person(number)["id"])} for number in range(4)]
    file.write_text("".join(json.dumps(each) + "\n" for each in people))
    return await load(file, PEOPLE, target, lambda row: {**row, "id": UUID(str(row["id"]))})


async def seen(store: Backend) -> dict[Collection, list[object]]:
    """Return everything that a store holds, by its collections."""
    return {each: [*await stored(store, each)] for each in (await catalog(store)).values()}


async def stopped(run: Transfer, inner: Backend, folder: Path, at: int) -> bool:
    """Run a transfer whose process ends at an operation on its target; tell whether it did."""
    target = Plain(inner)

    async def end(_: Op[object]) -> None:
        if len(target.seen) > at:  # nothing reaches the store any more, not even a tidying up
            raise Killed

    target.before = end
    try:
        await run(target, folder)
    except Killed:
        return True
    return False


@pytest.mark.parametrize(
    ("run", "made", "again"),
    [
        (migrated, nothing, replaced),
        (migrated, empty, replaced),
        (replaced, other, replaced),
        (replaced_some, other, replaced_some),
        (restored, nothing, restored),
        (restored, empty, restored),
        (loaded, nothing, loaded),
    ],
)
async def test_whatever_a_stopped_transfer_has_changed_is_marked(
    run: Transfer, made: Callable[[], Awaitable[Backend]], again: Transfer, tmp_path: Path
) -> None:
    """From before its first collection until it has ended well, whichever operation is its last."""
    at = marked = 0
    while await stopped(run, inner := await made(), tmp_path, at):
        mark = await mark_of(inner)
        if mark is None:
            now = await seen(inner)
            assert now in (await seen(await made()), await _whole(run, made, tmp_path)), at
        else:
            marked += 1
            if again not in {replaced, replaced_some}:
                with pytest.raises(IncompleteStoreError):
                    await again(inner, tmp_path)
                await clear(inner)
            await again(inner, tmp_path)
            assert await seen(inner) == await _whole(run, made, tmp_path)
            await require_whole(inner)
        at += 1
    assert marked > 3
    assert await mark_of(inner) is None


async def _whole(
    run: Transfer, made: Callable[[], Awaitable[Backend]], folder: Path
) -> dict[Collection, list[object]]:
    """Return what a target holds when nothing stops the transfer."""
    target = await made()
    await run(Plain(target), folder)
    return await seen(target)


async def test_a_half_made_collection_is_cleared_with_its_mark(tmp_path: Path) -> None:
    """A transfer may end between the catalog's word of a collection and its table."""
    store = connect(BackendURL.parse(f"sqlite:///{tmp_path}/half.db"), "half")
    await store.open()
    try:
        await store.execute(Ensure(()))
        mark = Filling.begun("restore", "backup.json", ["people"])
        await store.execute(Insert(CATALOG, (mark.as_row(), to_document(PEOPLE))))
        await clear(store)
        await require_whole(store)
        await restored(store, tmp_path)
        assert len(await stored(store, PEOPLE)) == 4
    finally:
        await store.close()

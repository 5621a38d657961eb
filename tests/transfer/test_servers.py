"""Transfers to and from every backend: the same documents, the same digests."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.unit.transfer.samples import (
    EVERYTHING,
    OFFICES,
    PEOPLE,
    READINGS,
    STAFF,
    agency,
    everything,
    exact,
    fill,
    identity,
    opened,
    person,
    reading,
    stored,
    tasks,
)

from healthstore.abc import Backend
from healthstore.abc.registry import connect
from healthstore.errors import (
    CheckError,
    ConfigurationError,
    DuplicateKeyError,
    IntegrityError,
)
from healthstore.model.ops import Alter, Ensure, Find, Insert, Patch
from healthstore.model.schema import Collection
from healthstore.testing.contract.definitions import SPELLED
from healthstore.testing.plugin import EmptyBackend
from healthstore.testing.provision import PROVISIONS, server_url
from healthstore.transfer import Change, backup, clear, load, migrate, restore, verify

NAMES = ("memory", "sqlite", "postgresql", "mysql", "mariadb", "mongodb", "mongodb-rs")


@pytest.fixture(params=NAMES)
async def store(
    request: pytest.FixtureRequest, healthstore_empty: EmptyBackend
) -> AsyncIterator[Backend]:
    """Lend a member of each kind, opened, over a database of its own.

    Documents that refer to each other cannot be removed one by one everywhere: the database
    is dropped instead.
    """
    name: str = request.param
    async with healthstore_empty(name):  # skips, or fails, where there is no server
        url = server_url(name, os.environ)
    assert url is not None
    provision = PROVISIONS[url.scheme]
    made = await provision.create(url, f"healthstore_transfer_{uuid4().hex[:12]}")
    try:
        member = connect(made, name)
        await member.open()
        yield member
        await member.close()
        assert not tasks()
    finally:
        await provision.drop(made)


async def clinic() -> Backend:
    """Return a store in memory with references forth and back, and values of every kind."""
    people = [person(number, mentor=399 - number) for number in range(400)]
    readings = [reading(number, of=number % 400) for number in range(7_000)]
    rows = [everything(number) for number in range(300)]
    empty = dict.fromkeys(EVERYTHING.names)
    rows.append({**empty, "id": identity(999), "version": 1})
    return await opened("clinic", (PEOPLE, people), (READINGS, readings), (EVERYTHING, rows))


async def test_a_store_is_moved_there_and_back(store: Backend) -> None:
    """What comes back from a backend is what went there, with the digest that it had."""
    source, back = await clinic(), await opened("back")
    there = await migrate(source, store)
    home = await migrate(store, back)
    assert there.rows == home.rows == 7_701
    assert [each.digest for each in there.collections] == [each.digest for each in home.collections]
    (await verify(source, back)).require()
    for collection in (EVERYTHING, PEOPLE, READINGS):
        left, right = await stored(source, collection), await stored(back, collection)
        assert exact(left) == exact(right)


async def test_a_store_is_emptied_and_filled_anew(store: Backend) -> None:
    """References forth and back are no obstacle; a migration does both in one."""
    source = await clinic()
    await migrate(source, store)
    assert (await clear(store)).rows == 7_701
    assert await stored(store, PEOPLE) == await stored(store, READINGS) == []
    await migrate(source, store)
    first = (await stored(store, READINGS))[0]
    await store.execute(Patch(READINGS, (first["id"],), (("note", "changed"),)))
    assert (await migrate(source, store, replace=True)).rows == 7_701
    (await verify(source, store)).require()


async def test_a_backup_of_any_backend_restores_into_any_other(
    store: Backend, tmp_path: Path
) -> None:
    """A file from memory restores into the backend, and a file from there into memory."""
    source, back = await clinic(), await opened("back")
    await backup(source, tmp_path / "one.json")
    await restore(tmp_path / "one.json", store)
    await backup(store, tmp_path / "two.json")
    await restore(tmp_path / "two.json", back)
    (await verify(source, back)).require()
    one, two = (
        (tmp_path / name).read_bytes().split(b'"entities":{\n')[1].rpartition(b'"footer"')
        for name in ("one.json", "two.json")
    )
    assert one[0] == two[0]


async def test_what_was_there_before_a_field_is_covered_as_null(
    store: Backend, tmp_path: Path
) -> None:
    """Digests, backups and comparisons do not tell it from what was written with null."""
    ids = [identity(number) for number in range(20)]
    bare = replace(EVERYTHING, fields=EVERYTHING.fields[:2])
    await store.execute(Ensure((bare,)))
    for each in ids:
        await store.execute(Insert(bare, ({"id": each, "version": 1},)))
    await store.execute(Alter(bare, EVERYTHING))
    await store.execute(Insert(EVERYTHING, (everything(99),)))
    nulls = dict.fromkeys(EVERYTHING.names)
    rows = [{**nulls, "id": each, "version": 1} for each in ids]
    written = await opened("written", (EVERYTHING, [*rows, everything(99)]))
    (await verify(written, store)).require()
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    one, two = await backup(written, files[0]), await backup(store, files[1])
    assert [each.digest for each in one.collections] == [each.digest for each in two.collections]
    lines = [file.read_bytes().partition(b'"entities":')[2] for file in files]
    assert lines[0].rpartition(b'"footer"')[0] == lines[1].rpartition(b'"footer"')[0]


async def test_collections_that_refer_to_each_other_arrive(store: Backend, tmp_path: Path) -> None:
    """References to a later collection are set when that one is filled, in copies and backups."""
    source, back = await agency(), await opened("back")
    assert [each.collection for each in (await migrate(source, store)).collections] == [
        "offices",
        "staff",
    ]
    await backup(store, tmp_path / "backup.json")
    await restore(tmp_path / "backup.json", back)
    (await verify(source, back)).require()
    for collection in (OFFICES, STAFF):
        assert await stored(store, collection) == await stored(source, collection)


async def test_differences_are_named(store: Backend) -> None:
    """A changed and an added document are found in the backend."""
    source = await opened("source", (PEOPLE, [person(number) for number in range(100)]))
    await migrate(source, store)
    await source.execute(Patch(PEOPLE, (identity(7),), (("email", "new@example.org"),)))
    await source.execute(Insert(PEOPLE, (person(500),)))
    report = await verify(source, store)
    (found,) = report.collections
    assert found.changed == (Change(identity(7), ("email",)),)
    assert found.missing == (identity(500),)
    assert not found.extra


async def test_a_target_with_documents_is_refused(store: Backend) -> None:
    """Nothing is written beside documents that are there."""
    source = await opened("source", (EVERYTHING, [everything(1)]))
    await fill(store, (EVERYTHING, [everything(2)]))
    with pytest.raises(IntegrityError, match="already holds documents of everything"):
        await migrate(source, store)
    assert len(await _stored(store)) == 1


async def test_a_source_without_collections_is_refused(store: Backend, tmp_path: Path) -> None:
    """An empty database is told apart from an empty collection, and nothing is written."""
    with pytest.raises(ConfigurationError, match="no collection that healthstore made"):
        await migrate(store, await opened("target"))
    with pytest.raises(ConfigurationError, match="no collection that healthstore made"):
        await backup(store, tmp_path / "backup.json")
    assert not _listed(tmp_path)


async def test_a_file_is_loaded_whole_or_not_at_all(store: Backend, tmp_path: Path) -> None:
    """A duplicate on the last line removes every row before it, and names the line."""
    rows = [{"id": str(identity(number)), "flag": number % 2 == 0} for number in range(6_000)]
    path = tmp_path / "rows.jsonl"
    _write(path, rows)
    rows.append({"id": str(identity(17)), "flag": None})
    _write(tmp_path / "bad.jsonl", rows)
    await store.execute(Ensure((EVERYTHING,)))
    with pytest.raises(DuplicateKeyError, match="line 6001: has the same id as line 18"):
        await load(tmp_path / "bad.jsonl", EVERYTHING, store, _converted)
    assert not await _stored(store)
    assert (await load(path, EVERYTHING, store, _converted)).rows == 6_000


def _listed(path: Path) -> list[Path]:
    return list(path.iterdir())


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def _converted(values: Mapping[str, object]) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(EVERYTHING.names)
    return {**row, **values, "version": 1, "id": UUID(str(values["id"]))}


async def _stored(store: Backend) -> list[object]:
    return list(await store.execute(Find(EVERYTHING, limit=100)))


@pytest.mark.parametrize("path", ["migrate", "backup"])
async def test_a_moved_store_serves_whichever_spelling_made_it(
    store: Backend, tmp_path: Path, path: str
) -> None:
    """Checks are the same there and back, initialized with the other spelling of each value."""
    source, back = await opened("source"), await opened("back")
    made: dict[str, tuple[Collection, Collection]] = {}
    for number, spelled in enumerate(SPELLED.values()):
        name = f"spelled_{number}"
        first, second = (spelled.collection(name, each) for each in (spelled.one, spelled.other))
        made[name] = first, second
        await fill(source, (first, spelled.documents(spelled.accepted)))
    for left, right in ((source, store), (store, back)):
        if path == "migrate":
            await migrate(left, right)
        else:
            await backup(left, tmp_path / right.name)
            await restore(tmp_path / right.name, right)
        for either in zip(*made.values(), strict=True):
            assert set((await right.execute(Ensure(either))).present) == set(made)
    (await verify(source, back)).require()
    for (first, _), spelled in zip(made.values(), SPELLED.values(), strict=True):
        for member in (store, back):
            with pytest.raises(CheckError):
                await member.execute(Insert(first, spelled.documents(spelled.refused)[:1]))

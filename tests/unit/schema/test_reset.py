"""A store is taken to nothing and back, by its name; what was cut short is completed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest

from healthstore import DatabaseManager, sync
from healthstore.abc import Backend, Layer
from healthstore.errors import (
    BackendError,
    ConfigurationError,
    HealthstoreError,
    IncompleteStoreError,
    InvalidRequestError,
    MigrationError,
    SchemaMismatchError,
)
from healthstore.model.catalog import CATALOG, catalog_id, to_renaming
from healthstore.model.change import changed
from healthstore.model.ops import Drop, Get, Op, Replace
from healthstore.schema import RenameField, ledger
from healthstore.transfer.filling import mark_of
from healthstore.transfer.ledger import read_book
from healthstore.transfer.selection import catalog

from .releases import FILES, write
from .test_upgrade import URLS, add, rows

IDS = tuple(FILES)
R = TypeVar("R")
CIRCLE = """
from healthstore.schema import (
    CreateCollection, Index, Migration, Reference, Uuid, collection,
)

migration = Migration(operations=[
    CreateCollection(collection(
        "wards", {"head": Uuid(nullable=True)},
        indexes=[Index("head")], references=[Reference("head", "nurses", "restrict")],
    )),
    CreateCollection(collection(
        "nurses", {"ward": Uuid()},
        indexes=[Index("ward")], references=[Reference("ward", "wards", "restrict")],
    )),
])
"""


@pytest.fixture(params=URLS, ids=["memory", "sqlite"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseManager]:
    """Return an opened manager of an empty store."""
    async with DatabaseManager(request.param.format(tmp_path)) as manager:
        yield manager


async def test_a_store_is_taken_to_nothing_and_back(db: DatabaseManager, tmp_path: Path) -> None:
    """Every document goes, and the files are applied from the first one on; they are counted."""
    folder = write(tmp_path)
    await db.schema.upgrade(1, folder)
    await add(db, "Ann Lee", "Bob Fox")
    planned = await db.schema.reset(db.active, folder, dry_run=True)
    assert (planned.collections, planned.rows, planned.applied) == (
        {"patients": 2, "notes": 2},
        4,
        (),
    )
    assert len(await rows(db)) == 2
    done = await db.schema.reset(db.active, folder)
    assert (done.collections, done.applied) == (planned.collections, IDS)
    assert await db.schema.current() == IDS[-1]
    assert await rows(db) == []
    assert "last_name" in (await catalog(await db.member(db.active)))["patients"].by_name


async def test_without_files_a_store_stays_empty(db: DatabaseManager, tmp_path: Path) -> None:
    """Nothing is made that no file says, and the store has no migration any more."""
    await db.schema.upgrade(directory=write(tmp_path))
    assert (await db.schema.reset(db.active, tmp_path / "none")).applied == ()
    assert await catalog(await db.member(db.active)) == {}
    assert await db.schema.current() is None


async def test_a_file_that_is_wrong_removes_nothing(db: DatabaseManager, tmp_path: Path) -> None:
    """Files are read first; and there must be such a member."""
    folder = write(tmp_path)
    await db.schema.upgrade(1, folder)
    await add(db, "Ann Lee")
    (folder / f"{IDS[2]}.py").write_text("migration = 1\n", "utf-8")
    with pytest.raises(MigrationError, match="defines no migration"):
        await db.schema.reset(db.active, folder)
    with pytest.raises(ConfigurationError, match="there is no member 'another'"):
        await db.schema.reset("another", folder)
    assert len(await rows(db)) == 1


async def test_in_production_nothing_is_reset(tmp_path: Path) -> None:
    """Not even the member's own name confirms it there."""
    folder = write(tmp_path)
    url = f"sqlite:///{tmp_path}/store.db"
    async with DatabaseManager(url, profile="production") as db:
        await db.schema.upgrade(1, folder)
        await add(db, "Ann Lee")
        with pytest.raises(InvalidRequestError, match="sqlite is in production"):
            await db.schema.reset("sqlite", folder)
        assert len(await rows(db)) == 1


async def test_collections_that_refer_to_each_other_go_too(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """None of a circle could be dropped first."""
    (tmp_path / "0001_circle.py").write_text(CIRCLE, "utf-8")
    await db.schema.upgrade(directory=tmp_path)
    assert (await db.schema.reset(db.active, tmp_path)).applied == ("0001_circle",)
    await db.schema.reset(db.active, tmp_path / "none")
    assert await catalog(await db.member(db.active)) == {}


async def test_a_migration_that_is_under_way_goes_too(db: DatabaseManager, tmp_path: Path) -> None:
    """A function that fails stands in the way of nothing."""
    folder = write(tmp_path)
    await db.schema.upgrade(2, folder)
    third = folder / f"{IDS[2]}.py"
    text = third.read_text("utf-8")
    third.write_text(text.replace('row["name"]', 'row["nmae"]'), "utf-8")
    store = await db.member(db.active)
    await add_one(db)
    with pytest.raises(MigrationError, match="KeyError"):
        await db.schema.upgrade(directory=folder, allow_loss=True)
    assert (await read_book(store)).under_way is not None
    assert (await db.schema.reset(db.active, folder)).applied == IDS  # no document, no function


async def add_one(db: DatabaseManager) -> None:
    """Add a patient of the second release."""
    from uuid import UUID

    from healthstore.model.ops import Insert

    store = await db.member(db.active)
    row = {"id": UUID(int=1), "version": 1, "name": "Ann Lee", "code": None, "visits": 0}
    definition = (await catalog(store))["patients"]
    await store.execute(Insert(definition, ({**row, "phone": None, "ward": "w"},)))


async def test_a_rename_that_was_cut_short_is_no_obstacle(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """It is completed first: until then the collection is known by no name."""
    folder = write(tmp_path)
    await db.schema.upgrade(1, folder)
    store = await db.member(db.active)
    before = await catalog(store)
    state = changed(before, [RenameField("patients", "name", "label")])
    (row,) = await store.execute(Get(CATALOG, (catalog_id("patients"),)))
    assert row is not None
    marked = to_renaming(row, state["patients"])
    await store.execute(Replace(CATALOG, (marked,)))
    with pytest.raises(SchemaMismatchError, match="is being renamed"):
        await store.execute(Drop(before["patients"]))
    assert (await db.schema.reset(db.active, folder)).applied == IDS


class Breaking(Layer):
    """Breaks one request of a store, also of those to its catalog, before its effect or behind."""

    rank: ClassVar[int] = 110
    part_of_store: ClassVar[bool] = True
    left = -1
    """How many requests pass before that one; below 0 all do."""
    applied = False

    async def execute(self, op: Op[R]) -> R:
        """Run a request, or break it."""
        self.left -= 1
        result = None if self.left == -1 and not self.applied else await self.inner.execute(op)
        if result is None or self.left == -1:
            raise BackendError("broken by the test")
        return result


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("circle", [False, True], ids=["tree", "circle"])
async def test_a_reset_that_is_cut_short_is_completed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, applied: bool, circle: bool
) -> None:
    """Broken at any request; until then the store is whole, or marked so that it serves nobody."""
    monkeypatch.setattr(ledger, "_LEASE", 0.5)  # seconds until a lock ends that was not given back
    folder = write(tmp_path, IDS[0])
    if circle:
        folder = tmp_path / "circle"
        folder.mkdir()
        (folder / "0001_circle.py").write_text(CIRCLE, "utf-8")
    marked = 0
    for step in range(100):
        layers: list[Breaking] = []

        def breaking(inner: Backend, layers: list[Breaking] = layers) -> Breaking:
            layers.append(Breaking(inner))
            return layers[-1]

        breaking.part_of_store = True  # type: ignore[attr-defined]  # what the manager asks
        async with DatabaseManager("memory://", layers=[breaking]) as db:
            ids = await db.schema.upgrade(directory=folder)
            store = await db.member(db.active)
            (layer,) = layers
            layer.left, layer.applied = step, applied
            try:
                await db.schema.reset(db.active, folder)
            except HealthstoreError:
                if await mark_of(store) is not None:
                    marked += 1
                    with pytest.raises(IncompleteStoreError, match="schema reset"):
                        await db.schema.upgrade(directory=folder)
                await db.schema.reset(db.active, folder)
            broken, layer.left = layer.left < 0, -1
            assert await db.schema.current() == ids[-1]
            assert await mark_of(store) is None
            if not broken:
                assert marked > 4
                return
    raise AssertionError("every run was broken")


def test_code_without_an_event_loop_has_it_too(tmp_path: Path) -> None:
    """The synchronous manager has the same call."""
    folder = write(tmp_path)
    with sync.DatabaseManager(f"sqlite:///{tmp_path}/store.db") as db:
        assert db.schema.reset("sqlite", folder).applied == IDS

"""The layer of references: what it sends below, in which unit, and when it looks again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar
from uuid import UUID, uuid4

import pytest

from healthstore import DatabaseManager, Entity, Ref
from healthstore.abc import Backend, Layer, UnitOptions
from healthstore.adapters.memory import MemoryAdapter
from healthstore.build import build_guard
from healthstore.errors import (
    ConfigurationError,
    ForeignKeyError,
    LifecycleError,
    SerializationError,
)
from healthstore.model.ops import (
    Batch,
    CountDocuments,
    Delete,
    Ensure,
    Get,
    Insert,
    Op,
    Patch,
)
from healthstore.testing.contract._samples import PEOPLE, family, ids, member, person
from healthstore.testing.statements import assert_statements

R = TypeVar("R")


class Recording(Layer):
    """Notes what reaches the store, and how units are begun; fails some deletes."""

    rank: ClassVar[int] = 96

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.seen: list[Op[Any]] = []
        self.begun: list[UnitOptions] = []
        self.conflicts = 0

    async def execute(self, op: Op[R]) -> R:
        """Note the operation, and run it."""
        self.seen.append(op)
        return await self.inner.execute(op)

    async def begin(self, options: UnitOptions = UnitOptions()) -> Any:  # noqa: B008 - frozen
        """Note how a unit begins; be in conflict as often as is wanted."""
        self.begun.append(options)
        if self.conflicts:
            self.conflicts -= 1
            raise SerializationError("a rival came first", hint="repeat it")
        return await super().begin(options)

    def names(self) -> list[str]:
        """Return what was seen, and forget it."""
        names = [
            f"{type(op).__name__} {getattr(op, 'collection', PEOPLE).name}" for op in self.seen
        ]
        self.seen.clear()
        return names


@pytest.fixture
async def below() -> Recording:
    """Return an open store in memory that notes what reaches it."""
    adapter = MemoryAdapter()
    await adapter.open()
    return Recording(adapter)


async def test_what_nothing_refers_to_is_deleted_as_it_is(below: Recording) -> None:
    """After the first delete, which reads the catalog, one operation and no unit is all."""
    store = build_guard(below)
    people = [person(number) for number in range(3)]
    await store.execute(Ensure((PEOPLE,)))
    await store.execute(Insert(PEOPLE, tuple(people)))
    await store.execute(Delete(PEOPLE, ids(people[:1])))
    below.seen.clear()
    await store.execute(Delete(PEOPLE, ids(people[1:2])))
    await store.execute(Batch((Delete(PEOPLE, ids(people[2:])),)))
    assert below.names() == ["Delete contract_people", "Batch contract_people"]
    assert not below.begun


async def test_what_is_only_restricted_is_left_to_the_database(below: Recording) -> None:
    """A foreign key says the same about it, in one operation."""
    store = build_guard(below)
    parents, children, _ = family("restrict")
    await store.execute(Ensure((parents, children)))
    first, second = member(parents), member(parents)
    await store.execute(Insert(parents, (first, second)))
    await store.execute(Insert(children, (member(children, first["id"]),)))
    assert await store.execute(Delete(parents, ids([second]))) == (True,)
    below.seen.clear()
    with pytest.raises(ForeignKeyError):
        await store.execute(Delete(parents, ids([first])))
    # The catalog is read again: what refers to it may be new, and no restriction.
    assert below.names() == ["Delete contract_restrict_parents", "Find healthstore_catalog"]


async def test_a_cascade_is_plain_operations_in_one_unit(below: Recording) -> None:
    """A layer below sees the documents that it removes, children before their parent."""
    store = build_guard(below, lambda: 7.0)
    parents, children, _ = family("cascade")
    await store.execute(Ensure((parents, children)))
    parent = member(parents)
    rows = tuple(member(children, parent["id"]) for _ in range(3))
    await store.execute(Insert(parents, (parent,)))
    await store.execute(Insert(children, rows))
    below.seen.clear()
    await store.execute(Delete(parents, ids([parent])))
    assert [op.ids for op in below.seen if isinstance(op, Delete)] == [
        tuple(sorted(ids(rows))),
        ids([parent]),
    ]
    assert below.names() == [
        "Find healthstore_catalog",
        "Find contract_cascade_children",
        "Delete contract_cascade_children",
        "Delete contract_cascade_parents",
    ]
    assert below.begun == [UnitOptions(deadline=7.0)]


async def test_set_null_is_one_patch(below: Recording) -> None:
    """However many documents lose a reference, they are changed together."""
    store = build_guard(below)
    parents, children, _ = family("set_null")
    await store.execute(Ensure((parents, children)))
    parent = member(parents)
    await store.execute(Insert(parents, (parent,)))
    await store.execute(Insert(children, tuple(member(children, parent["id"]) for _ in range(100))))
    below.seen.clear()
    await store.execute(Delete(parents, ids([parent])))
    (patch,) = (op for op in below.seen if isinstance(op, Patch))
    assert len(patch.ids) == 100
    assert (patch.sets, patch.increments) == ((("parent", None),), (("version", 1),))


async def test_a_rival_is_given_way_to(below: Recording) -> None:
    """A delete that has a unit of its own is repeated, some times."""
    store = build_guard(below)
    parents, children, _ = family("cascade")
    await store.execute(Ensure((parents, children)))
    first, second = member(parents), member(parents)
    await store.execute(Insert(parents, (first, second)))
    below.conflicts = 4
    assert await store.execute(Delete(parents, ids([first]))) == (True,)
    below.conflicts = 5
    with pytest.raises(SerializationError):
        await store.execute(Delete(parents, ids([second])))
    assert below.conflicts == 0


async def test_a_referrer_that_another_process_made_ends_a_unit_as_a_conflict(
    below: Recording,
) -> None:
    """The unit cannot be planned anew; repeated, it knows the referrer."""
    store = build_guard(below)
    parents, children, _ = family("cascade")
    await store.execute(Ensure((parents,)))
    first, second = member(parents), member(parents)
    await store.execute(Insert(parents, (first, second)))
    await store.execute(Delete(parents, ids([first])))
    await below.execute(Ensure((children,)))
    await below.execute(Insert(children, (member(children, second["id"]),)))
    for expected in (SerializationError, None):
        unit = await store.begin()
        if expected is None:
            assert await unit.execute(Delete(parents, ids([second]))) == (True,)
            await unit.commit()
        else:
            with pytest.raises(expected):
                await unit.execute(Delete(parents, ids([second])))
            await unit.rollback()
    assert await store.execute(CountDocuments(children)) == 0


async def test_a_refused_delete_ends_its_unit(below: Recording) -> None:
    """Though nothing was sent that failed, only rollback works, as after any error."""
    store = build_guard(below)
    parents, children, grandchildren = family("cascade")
    held = family("restrict")[1]
    await store.execute(Ensure((parents, children, grandchildren)))
    parent = member(parents)
    await store.execute(Insert(parents, (parent,)))
    unit = await store.begin()
    with pytest.raises(ConfigurationError):
        await unit.execute(Get(held, (uuid4(),)))
    with pytest.raises(LifecycleError):
        await unit.execute(Delete(parents, ids([parent])))
    await unit.rollback()


async def test_a_store_without_a_catalog_has_no_collection(below: Recording) -> None:
    """The error names the collection that is asked for, in a unit, too."""
    store = build_guard(below)
    unit = await store.begin()
    for executor in (store, unit):
        with pytest.raises(ConfigurationError, match="'contract_people'") as error:
            await executor.execute(Delete(PEOPLE, (uuid4(),)))
        assert error.value.entity == "Person"
        assert error.value.hint
    await unit.rollback()


class Department(Entity, collection="departments"):
    """Has a head who works in it."""

    name: str
    head: Annotated[UUID | None, Ref("clerks", on_delete="set_null")] = None


class Clerk(Entity, collection="clerks"):
    """Works in a department."""

    department: Annotated[UUID, Ref(Department, on_delete="cascade")]


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{path}/test.db"])
async def test_entities_that_refer_to_each_other_work(url: str, tmp_path: Path) -> None:
    """They are initialized in one call, and deleted from either side."""
    async with DatabaseManager(url.format(path=tmp_path)) as db:
        with pytest.raises(ConfigurationError, match="clerks"):
            await db.initialize(Department)
        await db.initialize(Department, Clerk)
        departments, clerks = db.repository(Department), db.repository(Clerk)
        sales = await departments.add(Department(name="sales"))
        ann = await clerks.add(Clerk(department=sales.id))
        sales = await departments.update(sales.id, {"head": ann.id})
        assert await clerks.delete(ann.id)
        left = await departments.get(sales.id)
        assert (left.head, left.version) == (None, sales.version + 1)
        ann = await clerks.add(Clerk(department=sales.id))
        await departments.update(sales.id, {"head": ann.id})
        assert await departments.delete(sales.id)
        assert await clerks.count() == 0


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{path}/test.db"])
async def test_ten_thousand_children_are_few_operations(url: str, tmp_path: Path) -> None:
    """A cascade costs by pages, not by documents; the program's own layer sees them all."""
    layers: list[Recording] = []

    def recording(inner: Backend) -> Recording:
        layers.append(Recording(inner))
        return layers[-1]

    async with DatabaseManager(url.format(path=tmp_path), layers=[recording]) as db:
        await db.initialize(Department, Clerk)
        sales = await db.repository(Department).add(Department(name="sales"))
        clerks = [Clerk(department=sales.id) for _ in range(10_000)]
        await db.repository(Clerk).add_many(clerks)
        with assert_statements(db, at_most=12):
            assert await db.repository(Department).delete(sales.id)
        assert await db.repository(Clerk).count() == 0
    seen = [op for layer in layers for op in layer.seen]
    deleted = {each for op in seen if isinstance(op, Delete) for each in op.ids}
    assert deleted == {sales.id, *(each.id for each in clerks)}

"""The catalog's word through a whole manager: other classes, other processes, half a copy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

import pytest

from healthstore import DatabaseManager, Entity, MaxLength
from healthstore.abc.layer import Layer
from healthstore.abc.prober import Vitals
from healthstore.adapters.memory import MemoryAdapter
from healthstore.build import Build
from healthstore.entity import collection_of
from healthstore.errors import (
    BackendError,
    IncompleteStoreError,
    SchemaMismatchError,
    UnavailableError,
)
from healthstore.events import OperationFinished
from healthstore.layers.catalog import CatalogLayer
from healthstore.model.catalog import CATALOG, to_document
from healthstore.model.filling import Filling
from healthstore.model.ops import CountDocuments, Ensure, Insert, Op, Replace
from healthstore.routing.machine import State
from healthstore.routing.policy import FailoverMode, FailoverPolicy, Probe
from healthstore.testing.faults import Faults
from healthstore.transfer import PageMoved, Stage, release

R = TypeVar("R")
QUICK = Probe(interval=0.05, fast_interval=0.02, connect_timeout=0.5, query_timeout=0.5)


class Note(Entity, collection="notes"):
    text: Annotated[str, MaxLength(40)]


class Newer(Note, collection="notes"):
    mood: int


@asynccontextmanager
async def pair(folder: Path, layers: Sequence[Build] = ()) -> AsyncIterator[DatabaseManager]:
    """Lend a manager with a standby."""
    members = {name: f"sqlite:///{folder / name}.db" for name in ("primary", "standby")}
    policy = FailoverPolicy(mode=FailoverMode.STANDBY_READONLY, probe=QUICK)
    async with DatabaseManager(members=members, policy=policy, layers=layers) as db:
        yield db


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110 - what checks find has no event of its own
            await asyncio.sleep(0.01)


def state(db: DatabaseManager, name: str, wanted: State) -> Callable[[], Awaitable[bool]]:
    """Return the condition that a member is in a state."""

    async def holds() -> bool:
        return (await db.health()).member(name).state is wanted

    return holds


async def test_what_another_process_made_of_a_store_is_noticed(tmp_path: Path) -> None:
    """A service that runs on is refused once the store has been made anew for another class."""
    url, policy = f"sqlite:///{tmp_path}/app.db", FailoverPolicy(probe=QUICK)
    async with DatabaseManager(url, policy=policy) as service:
        await service.initialize(Note)
        notes = service.repository(Note)
        await notes.add(Note(text="one"))
        async with DatabaseManager(url) as other:
            with pytest.raises(SchemaMismatchError, match="field mood is new"):
                await other.repository(Newer).add(Newer(text="two", mood=5))
            store = await other.member("sqlite")
            replaced = collection_of(Newer)
            await store.execute(Replace(CATALOG, (to_document(replaced),)))

        async def refused() -> bool:
            try:
                await notes.count()
            except SchemaMismatchError as error:
                return "field mood is gone" in error.message
            return False

        await until(refused)


async def test_half_a_copy_does_not_stand_in(tmp_path: Path) -> None:
    """A standby that another process fills serves nobody, and stands in when it is whole."""
    async with pair(tmp_path) as db:
        await db.initialize(Note)
        notes = db.repository(Note)
        await notes.add(Note(text="one"))
        await db.migrate("primary", "standby")
        store = await db.member("standby")
        await store.execute(Insert(CATALOG, (Filling.begun("migrate", "x", ()).as_row(),)))
        await until(state(db, "standby", State.INCOMPLETE))
        (tmp_path / "primary.db").rename(tmp_path / "away.db")
        await until(state(db, "primary", State.DOWN))
        with pytest.raises(UnavailableError, match="no member serves reads"):
            await notes.count()
        await release(store)
        await until(state(db, "standby", State.UP))
        assert await notes.count() == 1


async def test_a_store_serves_as_soon_as_it_is_whole(tmp_path: Path) -> None:
    """While a restore fills the active member nobody is served; in the next moment everybody is."""
    seen: list[object] = []
    async with DatabaseManager(f"sqlite:///{tmp_path}/a.db") as db:
        await db.initialize(Note)
        await db.repository(Note).add_many([Note(text=f"note {n}") for n in range(50)])
        await db.backup(tmp_path / "backup.json")
    async with DatabaseManager(
        f"sqlite:///{tmp_path}/b.db", policy=FailoverPolicy(probe=QUICK)
    ) as db:
        await db.initialize(Note)
        notes = db.repository(Note)
        assert await notes.count() == 0

        async def asked() -> None:
            try:
                seen.append(await notes.count())
            except IncompleteStoreError as error:
                seen.append(error)

        asking: list[asyncio.Task[None]] = []

        def during(event: object) -> None:
            if isinstance(event, PageMoved) and event.stage is not Stage.CHECK:
                asking.append(asyncio.ensure_future(asked()))

        await db.restore(tmp_path / "backup.json", on_event=during)
        assert await notes.count() == 50
        await asyncio.gather(*asking)
    assert any(isinstance(each, IncompleteStoreError) for each in seen)
    assert set(seen) - {50} == {each for each in seen if isinstance(each, IncompleteStoreError)}


class Scope(Layer):
    """A view that cannot do with any collection but its own."""

    rank: ClassVar[int] = 98

    async def execute(self, op: Op[R]) -> R:
        """Refuse every other collection."""
        named = getattr(op, "collection", None)
        if named is not None and named.name != "notes":
            raise BackendError(f"the view met {named.name}")
        return await self.inner.execute(op)


async def test_views_and_statistics_never_meet_the_catalog() -> None:
    """A program's own layers see the program's operations, and only those are counted."""
    finished: list[OperationFinished] = []
    async with DatabaseManager(
        "memory://", layers=[Scope], policy=FailoverPolicy(probe=QUICK)
    ) as db:
        db.on(OperationFinished, finished.append)
        await db.initialize(Note)
        await db.repository(Note).add(Note(text="one"))
        assert await db.repository(Note).count() == 1
    assert [each.operation for each in finished] == ["ensure", "insert", "countdocuments"]


class Late(Layer):
    """Answers nothing about the catalog while it is told so."""

    rank: ClassVar[int] = 98
    hangs: ClassVar[bool] = False

    async def execute(self, op: Op[R]) -> R:
        """Run the operation below, or hang."""
        if self.hangs and getattr(op, "collection", None) is CATALOG:
            await asyncio.Event().wait()
        return await self.inner.execute(op)


async def test_a_look_that_takes_long_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an exhausted pool the check passes, and what was known stays known."""
    layer = CatalogLayer(Late(MemoryAdapter()))
    await layer.open()
    notes = collection_of(Note)
    await layer.execute(Ensure((notes,)))
    monkeypatch.setattr(Late, "hangs", True)
    prober = layer.prober()
    await prober.connect()
    for _ in range(3):
        assert await prober.check() == Vitals()
        assert await layer.execute(CountDocuments(notes)) == 0
    await layer.close()


async def test_a_transfer_that_wrote_nothing_leaves_no_mark(tmp_path: Path) -> None:
    """One that fails before its first document lets the target be; a later failure does not."""
    faults, failure = Faults(), BackendError("a test says so")
    async with pair(tmp_path, layers=[faults.layer]) as db:
        await db.initialize(Note)
        await db.repository(Note).add_many([Note(text=f"note {n}") for n in range(50)])
        faults.fail("find", collection=Note, member="primary", error=failure)
        with pytest.raises(BackendError):
            await db.migrate("primary", "standby")
        assert not (await db.verify("primary", "standby")).unfinished
        faults.fail("find", collection=Note, member="standby", after=1, error=failure)
        with pytest.raises(BackendError) as half:
            await db.migrate("primary", "standby")
        assert "50 documents of this transfer are in standby" in half.value.hint
        assert "replace=True" in half.value.hint
        assert (await db.health()).member("standby").state is State.INCOMPLETE
        assert (await db.verify("primary", "standby")).unfinished

"""Transfers see every row of a store, whatever a program lays over its repositories."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeVar, cast

import pytest

from healthstore import DatabaseManager, Entity, F, MaxLength
from healthstore.abc import Layer
from healthstore.errors import ConfigurationError, VerificationError
from healthstore.events import MemberDegraded
from healthstore.model.catalog import CATALOG
from healthstore.model.filling import FILLING_ID, Filling
from healthstore.model.ops import Aggregate, CountDocuments, Delete, Effect, Find, Insert, Op
from healthstore.routing.policy import FailoverMode, FailoverPolicy
from healthstore.testing.faults import Faults

if TYPE_CHECKING:
    from pathlib import Path

    from healthstore.abc import Backend

R = TypeVar("R")


class Note(Entity, collection="notes"):
    """What somebody wrote for a tenant."""

    tenant: Annotated[str, MaxLength(10)]


class ScopeLayer(Layer):
    """Shows the rows of tenant ``a`` only."""

    rank: ClassVar[int] = 98

    async def execute(self, op: Op[R]) -> R:
        """Run the operation below; a read finds no row of another tenant."""
        if isinstance(op, Find | CountDocuments | Aggregate) and op.collection.name == "notes":
            op = cast("Op[R]", replace(op, where=op.where & (F.tenant == "a")))
        return await self.inner.execute(op)


class ForgetfulLayer(Layer):
    """Loses every write."""

    rank: ClassVar[int] = 96

    async def execute(self, op: Op[R]) -> R:
        """Run reads and changes of the schema below."""
        if op.effect is Effect.WRITE:
            return cast("R", 1)
        return await self.inner.execute(op)


def urls(folder: Path) -> dict[str, str]:
    """Return two members."""
    return {name: f"sqlite:///{folder}/{name}.db" for name in ("first", "second")}


async def fill(db: DatabaseManager) -> None:
    """Add one row in scope and two outside of it."""
    await db.initialize(Note)
    await db.repository(Note).add_many([Note(tenant=name) for name in "abb"])


async def test_a_backup_has_the_rows_that_a_layer_hides(tmp_path: Path) -> None:
    """All rows, and the snapshot of its unit sees them, too."""
    async with DatabaseManager(members=urls(tmp_path), layers=[ScopeLayer]) as db:
        await fill(db)
        assert await db.repository(Note).count() == 1, "the layer hides two"
        assert (await db.backup(tmp_path / "b.json")).rows == 3
        await db.restore(tmp_path / "b.json", into="second")
        report = await db.verify("first", "second")
        assert (report.equal, report.rows) == (True, 3)


async def test_a_copy_has_the_rows_that_a_layer_hides(tmp_path: Path) -> None:
    """Migrate copies all, and a switch compares all."""
    async with DatabaseManager(members=urls(tmp_path), layers=[ScopeLayer]) as db:
        await fill(db)
        assert (await db.migrate("first", "second")).rows == 3
        assert (await db.switch("second")).possible
    async with DatabaseManager(members=urls(tmp_path)) as db:
        hidden = (await db.repository(Note).find(F.tenant == "b")).items[0]
        await db.repository(Note).delete(hidden.id)
    async with DatabaseManager(members=urls(tmp_path), layers=[ScopeLayer]) as db:
        with pytest.raises(VerificationError):
            await db.switch("second")


async def test_a_copy_is_written_around_a_layer(tmp_path: Path) -> None:
    """What a layer does to the writes of repositories, it does to no transfer."""
    members = urls(tmp_path)
    async with DatabaseManager(members["first"]) as db:
        await fill(db)
    async with DatabaseManager(members=members, layers=[ForgetfulLayer]) as db:
        assert (await db.migrate("first", "second")).rows == 3
        assert await db.repository(Note).count() == 3


async def test_a_layer_that_is_part_of_the_store_is_passed(tmp_path: Path) -> None:
    """Faults that a test plans strike in transfers; a view over them is passed by."""
    faults = Faults()
    layers = [ScopeLayer, faults.layer]
    async with DatabaseManager(members=urls(tmp_path), layers=layers) as db:
        await fill(db)
        planned = faults.delay("insert", seconds=0.001, member="second")
        assert (await db.migrate("first", "second")).rows == 3
        assert planned.struck == 1


async def test_a_rebuilt_member_is_seen_whole(tmp_path: Path) -> None:
    """A reload puts another store in its place, and transfers use that one."""
    members = urls(tmp_path)

    async with DatabaseManager(members=members, layers=[ScopeLayer]) as db:
        await fill(db)
        settings = db._settings
        slow = tuple(each.model_copy(update={"slow_seconds": 9.0}) for each in settings.members)
        await db.reload(settings.model_copy(update={"members": slow}))
        assert (await db.backup(tmp_path / "b.json")).rows == 3


async def test_one_file_that_was_made_under_two_names_is_no_copy_of_itself(
    tmp_path: Path,
) -> None:
    """When the members are made it cannot be known; before anything is removed it is."""
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    policy = FailoverPolicy(mode=FailoverMode.NONE)
    db = DatabaseManager(members={n.stem: f"sqlite:///{n}" for n in (one, two)}, policy=policy)
    async with DatabaseManager(f"sqlite:///{one}") as alone:
        await alone.initialize(Note)
        await alone.repository(Note).add(Note(tenant="a"))
    two.hardlink_to(one)
    async with db:
        for compared in (
            lambda: db.migrate("one", "two", replace=True),
            lambda: db.verify("one", "two"),
            lambda: db.switch("two"),
            lambda: db.switch("two", verify=False),
        ):
            with pytest.raises(ConfigurationError, match="the same database"):
                await compared()
        report = await db.switch("two", dry_run=True)
        assert not report.possible
        assert "the same database" in report.reasons[0]
        assert db.active == "one"
        with pytest.raises(ConfigurationError, match="the same member"):
            await db.verify("one", "one")
    async with DatabaseManager(f"sqlite:///{one}") as alone:
        assert await alone.repository(Note).count() == 1


class NestedLayer(Layer):
    """What stands in for a database, as a test could have it."""

    rank: ClassVar[int] = 96
    part_of_store: ClassVar[bool] = True
    built: ClassVar[list[str]] = []

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.built.append(inner.name)


def hidden(inner: Backend) -> Layer:
    """Return a layer that is part of the store, and do not say so."""
    return NestedLayer(inner)


def test_what_is_part_of_the_store_says_so_and_lies_under_the_rest() -> None:
    """Otherwise a transfer would go around it; a manager builds each layer once."""
    NestedLayer.built.clear()
    DatabaseManager("memory://", layers=[ScopeLayer, partial(NestedLayer)])
    assert NestedLayer.built == ["memory"]
    for layers in ([NestedLayer, ScopeLayer], [hidden]):
        with pytest.raises(ConfigurationError, match="NestedLayer is part of the store") as error:
            DatabaseManager("memory://", layers=layers)
        assert error.value.hint


async def test_the_manager_s_own_transfer_degrades_nothing(tmp_path: Path) -> None:
    """A check during it finds half a store, and no event tells of trouble; one of another does."""
    degraded: list[MemberDegraded] = []
    async with DatabaseManager(members=urls(tmp_path)) as db:
        db.on(MemberDegraded, degraded.append)
        await fill(db)
        await db.migrate("first", "second")
        standby = await db.member("second")
        mark = Filling.begun("migrate", "first", ("notes",))
        for own, told in ((True, 0), (False, 1)):
            await db.health(probe=True)
            await standby.execute(Insert(CATALOG, (mark.as_row(),)))
            async with db._failover.filling("second") if own else nullcontext():
                state = (await db.health(probe=True)).members[1].state
                assert (state, len(degraded)) == ("incomplete", told)
                await standby.execute(Delete(CATALOG, (FILLING_ID,)))

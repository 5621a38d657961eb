"""``db.schema.evolve``: additive changes are applied at once, and no others."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated
from uuid import UUID

import pytest
from pydantic import SecretStr, StringConstraints, field_validator

from healthstore import DatabaseManager, Entity, FailoverPolicy, Index, MaxLength, Ref, Unique, sync
from healthstore.config import MemberSettings, Settings
from healthstore.errors import (
    ConfigurationError,
    InvalidRequestError,
    ReadOnlyError,
    SchemaChangeError,
    SchemaMismatchError,
)
from healthstore.schema import ChangeEffect


class Visit(Entity, collection="visits"):
    """What refers to patients."""

    patient: Annotated[UUID, Ref("patients", on_delete="cascade")]


class Patient(Entity, collection="patients"):
    """The first release."""

    name: Annotated[str, MaxLength(40)]


class NewPatient(Entity, collection="patients", indexes=[Index("visits")]):
    """The second one, by additive changes."""

    name: Annotated[str, MaxLength(60)]
    phone: Annotated[str, MaxLength(20)] | None = None
    visits: int = 3


class StrictPatient(Entity, collection="patients"):
    """One that needs data: a field that nobody has a value for, and a key."""

    name: Annotated[str, MaxLength(40), Unique()]
    born: int
    fine: int = 1


class Extra(Entity, collection="extras"):
    """A new collection."""

    about: Annotated[UUID, Ref("patients")]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a file that is not there yet."""
    return f"sqlite:///{tmp_path}/first.db"


async def test_additive_changes_are_applied_and_returned_as_a_plan(url: str) -> None:
    """Rows that were there have what is new; a second call finds nothing to do."""
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        ann = await db.repository(Patient).add(Patient(name="Ann"))
        applied = await db.schema.evolve(NewPatient, Extra)
        assert applied.effect is ChangeEffect.ADDITIVE
        assert [type(each.operation).__name__ for each in applied.operations] == [
            "ChangeField",
            "AddField",
            "AddField",
            "AddIndex",
            "CreateCollection",
        ]
        patients = db.repository(NewPatient)
        there = await patients.get(ann.id)
        assert there is not None
        assert (there.name, there.phone, there.visits, there.version) == ("Ann", None, 3, 1)
        await db.repository(Extra).add(Extra(about=ann.id))
        old = await db.repository(Patient).get(ann.id)
        assert old is not None
        assert (old.name, old.version) == ("Ann", 1)
        assert not await db.schema.evolve(NewPatient, Extra)
        assert (await db.initialize(NewPatient, Extra)).created == ()


async def test_a_dry_run_changes_nothing(url: str) -> None:
    """The plan is returned, and the store serves the definition of before."""
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        assert await db.schema.evolve(NewPatient, dry_run=True)
        await db.repository(Patient).add(Patient(name="Ann"))


async def test_more_than_additive_changes_are_refused_before_anything_is_done(url: str) -> None:
    """The error names the changes that need data, and no others; also new collections wait."""
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        with pytest.raises(SchemaChangeError) as error:
            await db.schema.evolve(StrictPatient, Extra)
        assert isinstance(error.value, SchemaMismatchError)
        assert "patients: add the field born" in error.value.message
        assert "patients: add the unique key (name)" in error.value.message
        assert "fine" not in error.value.message
        assert error.value.hint
        assert error.value.backend == "sqlite"
        await db.repository(Patient).add(Patient(name="Ann"))
        with pytest.raises(ConfigurationError):
            await db.repository(Extra).find()


async def test_every_member_is_compared_before_one_is_changed(tmp_path: Path) -> None:
    """One that needs more keeps all of them as they are; then all are changed."""
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("first", "second")]
    async with DatabaseManager(*urls) as db:
        await db.initialize(Patient)
        await db.migrate("sqlite", "sqlite-2")
        async with DatabaseManager(urls[1]) as other:
            await other.schema.evolve(NewPatient)
        plan = await db.schema.evolve(NewPatient, members="all")
        assert plan.store == "sqlite, sqlite-2"
        assert len(plan.operations) == 4  # the second one is as it should be
        assert not await db.schema.plan(NewPatient, member="sqlite-2")
        assert not await db.schema.evolve(NewPatient, members=["sqlite-2", "sqlite"])
        assert not await db.schema.evolve(NewPatient, members="sqlite-2")


async def test_a_member_that_needs_more_keeps_all_as_they_are(tmp_path: Path) -> None:
    """The error names that member."""
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("first", "second")]
    async with DatabaseManager(urls[1]) as other:
        await other.initialize(StrictPatient)
    async with DatabaseManager(*urls) as db:
        await db.initialize(Patient)
        with pytest.raises(SchemaChangeError) as error:
            await db.schema.evolve(NewPatient, members="all")
        assert error.value.backend == "sqlite-2"
        await db.repository(Patient).add(Patient(name="Ann"))


async def test_what_refers_to_a_changed_collection_is_deleted_with_it(url: str) -> None:
    """A delete that was planned by the definitions of before is planned anew."""
    async with DatabaseManager(url) as db:
        await db.initialize(Patient, Visit)
        patients = db.repository(Patient)
        first, second = await patients.add(Patient(name="A")), await patients.add(Patient(name="B"))
        for each in (first, second):
            await db.repository(Visit).add(Visit(patient=each.id))
        assert await patients.delete(first.id)

        class NewVisit(Entity, collection="visits"):
            patient: Annotated[UUID, Ref("patients", on_delete="cascade")]
            note: Annotated[str, MaxLength(9)] | None = None

        await db.schema.evolve(NewPatient, NewVisit)
        assert await db.repository(NewPatient).delete(second.id)
        assert await db.repository(NewVisit).count() == 0


async def test_another_manager_sees_it_with_its_next_check(url: str) -> None:
    """The class of before goes on all the while, and knows nothing of what is new."""
    async with DatabaseManager(url) as old, DatabaseManager(url) as new:
        await old.initialize(Patient)
        await old.repository(Patient).add(Patient(name="Ann"))
        await new.schema.evolve(NewPatient)
        await old.repository(Patient).add(Patient(name="Bob"))
        await old.health(probe=True)
        cid = await old.repository(Patient).add(Patient(name="Cid"))
        changed = await new.repository(NewPatient).update(cid.id, {"visits": 9})
        assert changed.visits == 9
        stale = await old.repository(Patient).get(cid.id)
        assert stale is not None
        await old.repository(Patient).upsert(stale.model_copy(update={"name": "Cyd"}))
        found = await new.repository(NewPatient).find(order=["name"])
        visits = [(each.name, each.visits) for each in found.items]
        assert visits == [("Ann", 3), ("Bob", 3), ("Cyd", 9)]
        assert (await old.initialize(Patient)).present == ("patients",)
        assert (await old.initialize(Patient, evolve="additive")).present == ("patients",)


async def test_two_managers_may_do_it_at_once(url: str) -> None:
    """One of them does it, and both find it done."""
    async with DatabaseManager(url) as first, DatabaseManager(url) as second:
        await first.initialize(Patient)
        await asyncio.gather(first.schema.evolve(NewPatient), second.schema.evolve(NewPatient))
        assert not await first.schema.plan(NewPatient)


async def test_a_default_that_differs_is_remembered(url: str) -> None:
    """Rows keep what they have; from then on there is nothing to do."""

    class Other(Entity, collection="patients", indexes=[Index("visits")]):
        name: Annotated[str, MaxLength(60)]
        phone: Annotated[str, MaxLength(20)] | None = None
        visits: int = 5

    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        await db.repository(Patient).add(Patient(name="Ann"))
        await db.schema.evolve(NewPatient)
        assert await db.schema.evolve(Other)
        assert not await db.schema.evolve(Other)
        assert [each.visits for each in (await db.repository(Other).find()).items] == [3]


async def test_a_wrong_call_is_refused_by_name(url: str) -> None:
    """No entity, no member, an unknown one, and a deadline that is none."""
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        with pytest.raises(InvalidRequestError, match="no entity"):
            await db.schema.evolve()
        with pytest.raises(InvalidRequestError, match="no member"):
            await db.schema.evolve(NewPatient, members=[])
        with pytest.raises(ConfigurationError, match="primary"):
            await db.schema.evolve(NewPatient, members="primary")
        with pytest.raises(InvalidRequestError, match="deadline"):
            await db.schema.evolve(NewPatient, deadline=0)
        with pytest.raises(InvalidRequestError, match="named twice"):
            await db.schema.evolve(NewPatient, StrictPatient)


def test_code_without_an_event_loop_has_it_too(url: str) -> None:
    """The synchronous manager evolves by the same call."""
    with sync.DatabaseManager(url) as db:
        db.initialize(Patient)
        db.repository(Patient).add(Patient(name="Ann"))
        assert db.schema.evolve(NewPatient, members="all")
        assert [each.visits for each in db.repository(NewPatient).find().items] == [3]


async def test_initialize_evolves_where_it_is_asked_to(url: str) -> None:
    """Collections that differ additively are altered, those that are missing made; others refused."""
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        ann = await db.repository(Patient).add(Patient(name="Ann"))
        with pytest.raises(SchemaMismatchError, match="field phone is new") as strict:
            await db.initialize(NewPatient)
        assert "db.schema.evolve()" in strict.value.hint
        with pytest.raises(SchemaChangeError):
            await db.initialize(StrictPatient, Extra, evolve="additive")
        done = await db.initialize(NewPatient, Extra, evolve="additive")
        assert (done.created, done.present) == (("extras",), ("patients",))
        assert (await db.repository(NewPatient).get(ann.id)).visits == 3
        done = await db.initialize(NewPatient, Extra, evolve="additive")
        assert (done.created, done.present) == ((), ("patients", "extras"))
        with pytest.raises(InvalidRequestError, match="neither 'off' nor 'additive'"):
            await db.initialize(NewPatient, evolve="always")


async def test_the_setting_is_the_default_of_initialize(url: str) -> None:
    """``evolve = "additive"`` stands outside of the tables, and an argument says otherwise."""
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
    environ = {"HEALTHSTORE_PRIMARY": url, "HEALTHSTORE_EVOLVE": "additive"}
    async with DatabaseManager.from_env(environ) as db:
        with pytest.raises(SchemaMismatchError):
            await db.initialize(NewPatient, evolve="off")
        assert (await db.initialize(NewPatient)).present == ("patients",)
    with pytest.raises(ConfigurationError, match="evolve"):
        DatabaseManager.from_env({**environ, "HEALTHSTORE_EVOLVE": "yes"})


async def test_a_mock_has_the_new_definition_from_the_start(url: str) -> None:
    """What the active member is altered to, the mock is made as."""
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
    policy = FailoverPolicy(mock="reads", mode="none")
    async with DatabaseManager(url, policy=policy) as db:
        assert (await db.initialize(NewPatient, evolve="additive")).present == ("patients",)
        await db.repository(NewPatient).add(NewPatient(name="Bob"))


async def test_a_new_collection_that_could_not_be_made_is_no_plan(url: str) -> None:
    """One that refers to nothing is refused by the plan, before anything is changed."""

    class Lost(Entity, collection="losts"):
        at: Annotated[UUID, Ref("nowhere")]

    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        for asked in (db.schema.plan, db.schema.evolve):
            with pytest.raises(ConfigurationError, match="refers to 'nowhere'") as error:
                await asked(NewPatient, Lost)
            assert error.value.backend == "sqlite"
        await db.repository(Patient).add(Patient(name="Ann"))


async def test_a_default_that_its_field_refuses_is_none(url: str) -> None:
    """Rows would get what could never be read: a value is needed first."""

    class Doubtful(Entity, collection="patients"):
        name: Annotated[str, MaxLength(40)]
        code: Annotated[str, MaxLength(9), StringConstraints(min_length=3)] = ""

    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        await db.repository(Patient).add(Patient(name="Ann"))
        with pytest.raises(SchemaChangeError, match="add the field code"):
            await db.schema.evolve(Doubtful)


async def test_a_default_that_a_validator_changes_is_none(url: str) -> None:
    """Filters would see another value than who reads the row."""

    class Lower(Entity, collection="patients"):
        name: Annotated[str, MaxLength(40)]
        code: str = "ABC"
        other: str = "abc"

        @field_validator("code", "other")
        @classmethod
        def lowered(cls, value: str) -> str:
            return value.lower()

    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        await db.repository(Patient).add(Patient(name="Ann"))
        planned = await db.schema.plan(Lower)
        assert [str(each.effect) for each in planned.operations] == ["needs data", "additive"]


async def test_a_default_that_is_too_large_for_a_server_is_none(url: str) -> None:
    """It is refused on every backend, before anything is tried."""

    class Large(Entity, collection="patients"):
        name: Annotated[str, MaxLength(40)]
        text: str = "x" * 5_000

    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        with pytest.raises(SchemaChangeError, match="add the field text") as error:
            await db.schema.evolve(Large)
        assert "4,000 characters" in error.value.hint


async def test_columns_of_others_keep_a_table_from_being_copied(url: str) -> None:
    """On SQLite they would be lost: the error names them, and nothing is changed."""

    class Loose(Entity, collection="patients"):
        name: Annotated[str, MaxLength(40)] | None

    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        await db.repository(Patient).add(Patient(name="Ann"))
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
        other.execute("ALTER TABLE patients ADD COLUMN note TEXT")
        other.execute("CREATE INDEX mine ON patients (note)")
        other.execute("UPDATE patients SET note = 'kept'")
        other.commit()
    async with DatabaseManager(url) as db:
        with pytest.raises(
            SchemaMismatchError, match="columns that healthstore did not make: note"
        ):
            await db.schema.evolve(Loose)
        assert (await db.schema.evolve(NewPatient)).operations  # columns alone are added
        assert [each.visits for each in (await db.repository(NewPatient).find()).items] == [3]
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
        assert other.execute("SELECT note FROM patients").fetchall() == [("kept",)]


async def test_a_member_that_is_not_written_to_says_so_before_another_is_changed(
    tmp_path: Path,
) -> None:
    """All members are as they were."""
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("first", "second")]
    for each in urls:
        async with DatabaseManager(each) as db:
            await db.initialize(Patient)
    members = tuple(
        MemberSettings(name=name, url=SecretStr(text), read_only=name == "b")
        for name, text in zip("ab", urls, strict=True)
    )
    async with DatabaseManager(settings=Settings(members=members)) as db:
        with pytest.raises(ReadOnlyError):
            await db.schema.evolve(NewPatient, members="all")
        await db.repository(Patient).add(Patient(name="Ann"))


async def test_a_difference_tells_no_default(url: str) -> None:
    """It is a value of the program's."""

    class Secret(Entity, collection="patients"):
        name: Annotated[str, MaxLength(41)] = "secret"

    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        with pytest.raises(SchemaMismatchError) as error:
            await db.initialize(Secret)
        assert "secret" not in str(error.value)

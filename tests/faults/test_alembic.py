"""``healthstore.alembic`` in an environment of Alembic's, on a file and on real servers."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import pytest
from pydantic import JsonValue
from sqlalchemy import Connection
from tests.faults.conftest import NewDatabase
from tests.unit.revisions import Revisions

from healthstore import Check, DatabaseManager, Digits, Entity, F, Index, MaxLength, Ref, Unique
from healthstore.errors import CheckError, DuplicateKeyError
from healthstore.model.ops import Insert
from healthstore.transfer.selection import catalog

STORES = ("sqlite", "postgresql", "mysql", "mariadb")


class State(StrEnum):
    """Members with what is quoted in SQL."""

    OPEN = "open"
    ODD = 'it\'s \\ "odd"'


class Patient(Entity, collection="patients"):
    """The first release."""

    name: Annotated[str, MaxLength(40)]


class NewPatient(Entity, collection="patients", indexes=[Index("visits")]):
    """The second one: a wider text, fields with and without a default, an index."""

    name: Annotated[str, MaxLength(60)]
    phone: Annotated[str, MaxLength(20)] | None = None
    visits: int = 3
    rate: float = 1.5
    price: Annotated[Decimal, Digits(28, 2)] = Decimal("-1.50")
    born: date = date(2000, 2, 29)
    seen: datetime = datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    at: time = time(1, 2, 3)
    takes: timedelta = timedelta(seconds=3)
    token: bytes = b"\x00a:b"
    owner: UUID = UUID(int=5)
    note: Annotated[str, MaxLength(50)] = ":a 50% 'b' \\"
    tags: list[str] = []  # noqa: RUF012 - pydantic copies it


class Visit(
    Entity,
    collection="visits",
    indexes=[Index("patient", "-at"), Unique("patient", "nurse"), Index("state", "-cost")],
    checks=[Check("costs", F.cost >= 0)],
):
    """One with every kind of key, and CHECKs of the types and of its own."""

    patient: Annotated[UUID, Ref("patients", on_delete="cascade")]
    nurse: Annotated[UUID, Ref("patients", on_delete="set_null")] | None = None
    before: Annotated[UUID, Ref("visits")] | None = None
    at: datetime
    state: State = State.ODD
    paid: bool = False
    cost: Annotated[Decimal, Digits(8, 2)] = Decimal(1)
    code: Annotated[str, MaxLength(300), Unique()] | None = None
    data: dict[str, JsonValue] = {}  # noqa: RUF012 - pydantic copies it


class Coded(Entity, collection="patients"):
    """Another one: a key, and fields that need a CHECK."""

    name: Annotated[str, MaxLength(40), Unique()]
    state: State = State.ODD


def definition_row(visit: Visit, **changes: object) -> dict[str, object]:
    """Return a visit as a document of another id, with what no entity would take."""
    return visit.model_dump() | {"id": UUID(int=1), "state": str(visit.state)} | changes


async def url_of(store: str, new_database: NewDatabase, tmp_path: Path) -> str:
    """Return the URL of an empty database."""
    return f"sqlite:///{tmp_path}/first.db" if store == "sqlite" else await new_database(store)


@pytest.mark.parametrize("store", STORES)
async def test_alembic_finds_nothing_in_a_store_that_healthstore_made(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Also not in the CHECKs, nor in what was evolved; with other entities it finds what differs."""
    url = await url_of(store, new_database, tmp_path)
    revisions = Revisions(tmp_path, url)
    async with DatabaseManager(url) as db:
        await db.initialize(Patient, Visit)
        assert await revisions.differences(Patient, Visit) == []
        text = await revisions.revise(Patient, Visit)
        assert "op." not in text.partition("def upgrade")[2].replace("stamp(op", "")
        found = await revisions.differences(NewPatient, Visit)
        added = {each[0] for each in found if isinstance(each, tuple)}
        assert added == {"add_column", "add_index"}
        await db.schema.evolve(NewPatient, Visit)
    assert await revisions.differences(NewPatient, Visit) == []


@pytest.mark.parametrize("store", STORES)
async def test_a_database_that_alembic_made_is_a_store(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """From nothing: what a revision has made and stamped, healthstore serves, with its CHECKs."""
    url = await url_of(store, new_database, tmp_path)
    revisions = Revisions(tmp_path, url)
    text = await revisions.revise(NewPatient, Visit)
    assert text.count("op.create_table(") == 3
    await revisions.upgrade(NewPatient, Visit)
    async with DatabaseManager(url) as db:
        assert (await db.initialize(NewPatient, Visit)).created == ()
        ann = await db.repository(NewPatient).add(NewPatient(name="Ann"))
        visit = await db.repository(Visit).add(Visit(patient=ann.id, at=ann.created_at))
        assert await db.repository(Visit).get(visit.id) == visit
        member = await db.member(db.active)
        definition = (await catalog(member))["visits"]
        row = definition_row(visit, cost=Decimal(-1))
        with pytest.raises(CheckError):
            await member.execute(Insert(definition, (row,)))
    assert await revisions.differences(NewPatient, Visit) == []


@pytest.mark.parametrize("store", STORES)
async def test_a_revision_changes_a_store_that_is_in_use(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Rows get the defaults of new fields; once stamped, the new entity is served, and back."""
    url = await url_of(store, new_database, tmp_path)
    revisions = Revisions(tmp_path, url)
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        ann = await db.repository(Patient).add(Patient(name="Ann"))
    await revisions.revise(Patient)
    await revisions.upgrade(Patient)
    text = await revisions.revise(NewPatient)
    assert "op.add_column('patients', sa.Column('phone'" in text
    await revisions.upgrade(NewPatient)
    async with DatabaseManager(url) as db:
        await db.initialize(NewPatient)
        patients = db.repository(NewPatient)
        assert await patients.get(ann.id) == NewPatient(**ann.model_dump())
        long = await patients.add(NewPatient(name="Ann" * 20))
        assert (await db.initialize(Patient)).present == ("patients",)  # it is served
        assert await revisions.differences(NewPatient) == []
        await patients.delete(long.id)
    revisions.before = (Patient,)
    await revisions.downgrade(NewPatient)
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        assert await db.repository(Patient).get(ann.id) == ann


@pytest.mark.parametrize("store", STORES[1:])
async def test_keys_and_checks_come_with_a_revision(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Where the database can alter a table, also the CHECK of an enum, if Alembic compares them."""
    url = await url_of(store, new_database, tmp_path)
    revisions = Revisions(tmp_path, url)
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        await db.repository(Patient).add(Patient(name="Ann"))
        text = await revisions.revise(Coded)
        assert text.count("op.create_check_constraint(") == 1
        assert text.count("op.create_unique_constraint(") == 1
        await revisions.upgrade(Coded)
        await db.initialize(Coded)
        with pytest.raises(DuplicateKeyError):
            await db.repository(Coded).add(Coded(name="Ann"))
        assert await revisions.differences(Coded) == []


async def test_texts_of_postgresql_keep_their_collation(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    """Also one that became longer, which PostgreSQL takes to its own collation unless told."""
    url = await new_database("postgresql")
    revisions = Revisions(tmp_path, url)
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
    text = await revisions.revise(NewPatient)
    assert "op.alter_column('patients', 'name'" in text
    await revisions.upgrade(NewPatient)

    def collations(connection: Connection) -> dict[str, str]:
        query = (
            "SELECT column_name, collation_name FROM information_schema.columns "
            "WHERE table_name = 'patients' AND column_name IN ('name', 'phone', 'note')"
        )
        return {row[0]: row[1] for row in connection.exec_driver_sql(query)}

    assert await revisions.call(collations) == dict.fromkeys(("name", "phone", "note"), "C")

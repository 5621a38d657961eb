"""``healthstore.alembic``: what it gives, notes and refuses; tests/faults has it on servers."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, cast
from uuid import UUID

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from pydantic import JsonValue
from sqlalchemy import Connection, DefaultClause, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from tests.unit.model.test_change import KEY, definitions
from tests.unit.revisions import CHECKS, Revisions

from healthstore import DatabaseManager, Entity, Index, MaxLength, Ref
from healthstore.adapters.sql.compile import Statements
from healthstore.adapters.sql.metadata import DIALECTS, dialect_of, metadata_of, recording
from healthstore.adapters.sql.tables import (
    create_indexes,
    create_table,
    references_of,
    table_of,
)
from healthstore.alembic import metadata, stamp
from healthstore.errors import ConfigurationError, InvalidRequestError, SchemaMismatchError
from healthstore.model.catalog import CATALOG, from_definition
from healthstore.model.schema import Collection
from healthstore.schema import Text, collection
from healthstore.transfer.selection import catalog


class Patient(Entity, collection="patients"):
    """The first release."""

    name: Annotated[str, MaxLength(40)]


class NewPatient(Entity, collection="patients", indexes=[Index("visits")]):
    """The second one."""

    name: Annotated[str, MaxLength(40)]
    phone: Annotated[str, MaxLength(20)] | None = None
    visits: int = 3


class Visit(Entity, collection="visits"):
    """What refers to patients."""

    patient: Annotated[UUID, Ref("patients", on_delete="cascade")]


class Odd(Entity, collection="odd"):
    """Defaults that Alembic writes in several ways."""

    number: int = 3
    text: str = ":a 50% 'b' \\"
    quoted: Annotated[str, MaxLength(20)] = "'a'"
    parameter: Annotated[str, MaxLength(20)] = "':a'"
    data: dict[str, JsonValue] = {"a": 1}  # noqa: RUF012 - pydantic copies it
    nothing: int | None = None


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a file that is not there yet."""
    return f"sqlite:///{tmp_path}/first.db"


# --- the tables --------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_the_tables_are_those_of_the_entities_and_the_catalog(dialect: str) -> None:
    """On each database, and a foreign key leads to a table that is there."""
    tables = metadata(Visit, Patient, dialect=dialect).tables
    assert set(tables) == {"healthstore_catalog", "patients", "visits"}
    (key,) = tables["visits"].foreign_keys
    assert key.column is tables["patients"].columns["id"]


def test_texts_of_postgresql_are_compared_by_code_points() -> None:
    """It is the default, and a text's column says its collation, also when its type changes."""
    column = metadata(Patient).tables["patients"].columns["name"]
    assert cast(Any, column.type).collation == "C"


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_a_default_is_kept_or_there_is_none(dialect: str) -> None:
    """One that a revision would not hold as it is, is left out; no other value comes in its place."""
    columns = metadata(Odd, dialect=dialect).tables["odd"].columns
    given = {
        each.name: each.server_default.arg
        for each in columns
        if isinstance(each.server_default, DefaultClause)
    }
    assert str(cast(Any, given.pop("number")).value) == "3"
    assert "parameter" not in given
    assert given.pop("quoted") is not None
    long = {"text": ":a 50% 'b' \\", "data": '{"a":1}'}
    assert given in ({}, long)
    assert (given == long) is (dialect in {"postgresql", "sqlite"})


# Neither SQLAlchemy nor Alembic looks at an index of a part of JSON on SQLite.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based")
@settings(deadline=None, max_examples=50)
@given(definitions())
def test_alembic_finds_nothing_between_a_table_and_its_definition(drawn: Collection) -> None:
    """Whatever is defined, also its CHECKs; and the catalog gives it back once it is stamped."""
    dialect = dialect_of("sqlite")
    targets = (Collection("people", KEY), Collection("teams", KEY))
    table = table_of(CATALOG, dialect)
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        for each in (CATALOG, *targets, drawn):
            made = table_of(each, dialect)
            connection.exec_driver_sql(create_table(made, dialect, references_of(made)))
            for statement in create_indexes(made, dialect).values():
                connection.exec_driver_sql(statement)
        context = MigrationContext.configure(connection, opts={"autogenerate_plugins": CHECKS})
        assert compare_metadata(context, metadata_of((*targets, drawn), dialect)) == []
        for _ in range(2):
            for executable in recording(drawn, dialect):
                connection.execute(executable)
        rows = connection.exec_driver_sql("SELECT * FROM healthstore_catalog").fetchall()
        (row,) = Statements(CATALOG, table, dialect).documents([tuple(each) for each in rows])
        assert from_definition(row["definition"]) == drawn
        assert (row["version"], row["fingerprint"]) == (2, drawn.fingerprint)
    engine.dispose()


# --- what is refused ---------------------------------------------------------------------------


def test_entities_are_named_once() -> None:
    """None, one twice, or two of one collection: the mistake is told, and how to write it."""
    with pytest.raises(InvalidRequestError, match="no entity is named") as error:
        metadata()
    assert error.value.hint
    for entities in ((Patient, Patient), (Patient, NewPatient)):
        with pytest.raises(InvalidRequestError, match="'patients' is named twice"):
            metadata(*entities)


def test_what_is_referred_to_is_named_too() -> None:
    """Alembic would not find its table."""
    with pytest.raises(ConfigurationError, match="refers to 'patients'") as error:
        metadata(Visit)
    assert (error.value.entity, error.value.field) == ("Visit", "patient")
    assert "in one call" in error.value.hint


def test_another_database_is_refused_with_those_that_are_known() -> None:
    """Such as one for which SQLAlchemy has a dialect, and healthstore has none."""
    with pytest.raises(ConfigurationError, match="'oracle'") as error:
        metadata(Patient, dialect="oracle")
    assert "mariadb, mysql, postgresql, sqlite" in error.value.hint


def test_an_import_loads_no_alembic() -> None:
    """Neither the library nor the bridge needs it."""
    script = "import sys, healthstore.alembic; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0


async def test_a_stamp_needs_something_to_note_once(url: str) -> None:
    """What is wrong with a call is told before anything is written."""
    engine = create_engine(url)
    with engine.connect() as connection:
        with pytest.raises(InvalidRequestError, match="no entity is named"):
            stamp(connection)
        with pytest.raises(InvalidRequestError, match="named twice"):
            stamp(connection, Patient, NewPatient)
        with pytest.raises(InvalidRequestError, match="named as dropped"):
            stamp(connection, Patient, dropped=["patients"])
        with pytest.raises(InvalidRequestError, match="dropped is no list"):
            stamp(connection, dropped="patients")
        with pytest.raises(ConfigurationError, match="no table 'healthstore_catalog'"):
            stamp(connection, Patient)
    engine.dispose()


async def test_a_stamp_is_written_by_a_connection(url: str) -> None:
    """An engine, or a connection that is awaited, is refused with the way to do it."""
    engine = create_async_engine(url.replace("sqlite", "sqlite+aiosqlite"))
    async with engine.connect() as connection:
        for given in (connection, engine, engine.sync_engine, None):
            with pytest.raises(InvalidRequestError) as error:
                stamp(cast(Connection, given), Patient)
            assert "run_sync" in error.value.hint
    await engine.dispose()


# --- in a revision -----------------------------------------------------------------------------


async def test_without_a_stamp_the_store_says_what_is_missing(url: str, tmp_path: Path) -> None:
    """Tables that Alembic made or changed are not known before: the error names the call."""
    revisions = Revisions(tmp_path, url)
    revisions.stamps = False
    await revisions.revise(Patient)
    await revisions.upgrade(Patient)
    async with DatabaseManager(url) as db:
        with pytest.raises(SchemaMismatchError, match="did not make it") as error:
            await db.initialize(Patient)
        assert "healthstore.alembic.stamp" in error.value.hint
    await revisions.call(lambda connection: stamp(connection, Patient))
    await revisions.revise(NewPatient)
    await revisions.upgrade(NewPatient)
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        with pytest.raises(SchemaMismatchError, match="field phone is new") as error:
            await db.initialize(NewPatient)
        assert "healthstore.alembic.stamp" in error.value.hint
        await revisions.call(lambda connection: stamp(connection, NewPatient))
        await db.initialize(NewPatient)


async def test_a_stamp_is_a_part_of_the_transaction(url: str, tmp_path: Path) -> None:
    """What is rolled back is not known; the version of what was there rises by one."""
    async with DatabaseManager(url) as db:
        await db.initialize(Patient)
        engine = create_engine(url)
        with engine.connect() as connection:
            stamp(connection, NewPatient)
            connection.rollback()
        await db.initialize(Patient)
        with engine.begin() as connection:
            stamp(connection, NewPatient)
            row = connection.exec_driver_sql(
                "SELECT version FROM healthstore_catalog WHERE name = 'patients'"
            ).one()
            assert tuple(row) == (2,)
        engine.dispose()
        await db.initialize(NewPatient)


async def test_a_collection_that_is_dropped_is_forgotten(url: str) -> None:
    """The store does not look for its table any more; the others stay."""
    async with DatabaseManager(url) as db:
        await db.initialize(Patient, Visit)
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE visits")
            stamp(connection, dropped=["visits"])
        engine.dispose()
        assert set(await catalog(await db.member(db.active))) == {"patients"}
        assert (await db.initialize(Patient, Visit)).created == ("visits",)


async def test_a_definition_may_be_written_in_the_revision(url: str) -> None:
    """So a downgrade says what its tables are, though no entity of the program is as before."""
    async with DatabaseManager(url) as db:
        await db.initialize(Visit, Patient)
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE notes (id BLOB, version INTEGER, text TEXT)")
            stamp(connection, collection("notes", {"text": Text(100)}))
        engine.dispose()
        assert (await catalog(await db.member(db.active)))["notes"].field("text").type.max_length


async def test_offline_it_is_a_part_of_the_script(url: str, tmp_path: Path) -> None:
    """``alembic upgrade --sql`` writes a script, after which the store knows its definitions."""
    revisions = Revisions(tmp_path, url)
    await revisions.revise(NewPatient, Visit)
    with closing(sqlite3.connect(tmp_path / "second.db")) as file:
        file.executescript(revisions.script(NewPatient, Visit))
    async with DatabaseManager(f"sqlite:///{tmp_path}/second.db") as db:
        assert (await db.initialize(NewPatient, Visit)).created == ()
        await db.repository(NewPatient).add(NewPatient(name="Ann"))

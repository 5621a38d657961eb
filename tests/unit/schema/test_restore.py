"""A backup, or a copy, carries definitions and migrations of its time; a restore goes on from there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC
from itertools import count
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore import Check, DatabaseManager, Entity, F, Index, MaxLength, sync
from healthstore.abc import Layer
from healthstore.abc.backend import Unit, UnitOptions
from healthstore.errors import (
    BackupCorruptError,
    IncompleteStoreError,
    IntegrityError,
    InvalidRequestError,
    MigrationError,
    SchemaChangeError,
    SchemaMismatchError,
    SerializationError,
    UnavailableError,
)
from healthstore.model.catalog import CATALOG
from healthstore.model.ledger import LEDGER_ID, Applied, UnderWay
from healthstore.model.ops import CountDocuments, Delete, Effect, Insert, Op
from healthstore.model.values import Document
from healthstore.schema.ledger import Ledger
from healthstore.testing.faults import Faults
from healthstore.transfer import Consistency, PageMoved, Stage, backup, migrate, restore
from healthstore.transfer.filling import mark_of
from healthstore.transfer.format import header_line, new_header, read_header
from healthstore.transfer.selection import catalog

from .releases import FILES, write
from .test_squash import NAME, squash

R = TypeVar("R")
IDS = tuple(FILES)
TARGETS = ("memory", "sqlite")
SAME = """
from healthstore.schema import Migration, Transform

def up(row):
    return row | {"visits": row["visits"] + 1}

migration = Migration(after="0001_patients", operations=[Transform("patients", up=up, down=up)])
"""


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[DatabaseManager]:
    """Return a manager of a store to back up, and of empty ones to restore into."""
    source = f"sqlite:///{tmp_path}/source.db"
    members = {"source": source, "memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/b.db"}
    async with DatabaseManager(members=members) as manager:
        yield manager


async def add(db: DatabaseManager, *names: str) -> None:
    """Add patients of the first release, and a note on each, to the source."""
    store = await db.member("source")
    known = await catalog(store)
    for number, name in enumerate(names, 1):
        key: Document = {"id": UUID(int=number), "version": 1}
        patient: Document = {**key, "name": name, "code": None, "visits": number}
        note: Document = {**key, "patient": UUID(int=number), "text": "x"}
        await store.execute(Insert(known["patients"], (patient,)))
        await store.execute(Insert(known["notes"], (note,)))


async def backup_at(db: DatabaseManager, folder: Path, place: int, path: Path) -> None:
    """Back up the source as it is after so many migrations, then take it to the head."""
    await db.schema.upgrade(1, folder, member="source")
    await add(db, "Ann Lee", "Bob Ray Fox")
    await db.schema.upgrade(place, folder, member="source", allow_loss=True)
    await db.backup(path, source="source")
    await db.schema.upgrade(directory=folder, member="source", allow_loss=True)


async def forget(db: DatabaseManager, name: str) -> None:
    """Take its ledger from a member, which is as one that initialize has made then."""
    await (await db.member(name)).execute(Delete(CATALOG, (LEDGER_ID,)))


# --- through the migrations ------------------------------------------------------------------


@pytest.mark.parametrize("into", TARGETS)
@pytest.mark.parametrize("place", range(1, len(IDS) + 1))
async def test_a_backup_of_each_release_is_restored_as_the_upgraded_original(
    db: DatabaseManager, tmp_path: Path, place: int, into: str
) -> None:
    """Row by row, versions included; the target knows its migrations, also those before."""
    folder, path = write(tmp_path), tmp_path / "backup.json"
    await backup_at(db, folder, place, path)
    report = await db.restore(path, into=into, migrations=folder, allow_loss=True)
    assert (report.rows, report.migrated) == (4, IDS[place:])
    (await db.verify("source", into)).require()
    told = [await db.schema.history(folder, member=each) for each in ("source", into)]
    assert [each.id for each in told[0]] == [each.id for each in told[1]] == list(IDS)
    assert told[0][:place] == told[1][:place]  # when they were applied, too
    assert await db.schema.upgrade(directory=folder, member=into) == ()


async def test_what_is_restored_is_verified_before_the_migrations_run(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Its digests are those of the backup."""
    folder, path = write(tmp_path), tmp_path / "backup.json"
    await backup_at(db, folder, 1, path)
    seen: list[object] = []
    report = await db.restore(
        path, into="memory", migrations=folder, allow_loss=True, on_event=seen.append
    )
    stated = json.loads(path.read_text("utf-8"))["footer"]["digests"]
    assert {each.collection: each.digest for each in report.collections} == stated
    assert [each for each in seen if isinstance(each, PageMoved) and each.stage is Stage.VERIFY]


@pytest.mark.parametrize("place", range(1, len(IDS) + 1))
async def test_a_backup_without_a_ledger_is_known_by_its_definitions(
    db: DatabaseManager, tmp_path: Path, place: int
) -> None:
    """One that an earlier release wrote, or of a store that initialize made."""
    folder, path = write(tmp_path), tmp_path / "backup.json"
    await backup_at(db, folder, place, path)
    head = json.loads(path.read_text("utf-8").splitlines()[0][:-1] + "}")
    assert [each["id"] for each in head["header"]["migrations"]] == list(IDS[:place])
    await db.restore(path, into="memory")
    await forget(db, "memory")
    await db.backup(tmp_path / "old.json", source="memory")
    assert b'"migrations"' not in (tmp_path / "old.json").read_bytes()
    report = await db.restore(
        tmp_path / "old.json", into="sqlite", migrations=folder, allow_loss=True
    )
    assert report.migrated == IDS[place:]
    (await db.verify("source", "sqlite")).require()


async def test_definitions_of_no_place_or_of_two_are_refused_with_the_way_out(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Nothing is guessed, and nothing written; stamp says what the file does not."""
    folder, path = write(tmp_path, IDS[0]), tmp_path / "backup.json"
    (folder / "0002_one_more.py").write_text(SAME, "utf-8")
    await db.schema.upgrade(1, folder, member="source")
    await add(db, "Ann")
    await forget(db, "source")
    await db.backup(path, source="source")
    with pytest.raises(MigrationError, match="after '0001_patients' and '0002_one_more'") as error:
        await db.restore(path, into="memory", migrations=folder)
    assert "db.schema.stamp()" in error.value.hint
    await backup(await db.member("source"), tmp_path / "part.json", ["patients"])
    with pytest.raises(MigrationError, match="after none in"):
        await db.restore(tmp_path / "part.json", into="memory", migrations=folder)
    assert not await catalog(await db.member("memory"))
    await db.restore(path, into="memory")
    await db.schema.stamp(1, folder, member="memory")
    assert await db.schema.upgrade(directory=folder, member="memory") == ("0002_one_more",)


def _patient() -> type[Entity]:
    class Patient(
        Entity,
        collection="patients",
        indexes=[Index("name")],
        checks=[Check("counted", F.visits >= 0)],
    ):
        name: Annotated[str, MaxLength(100)]
        code: Annotated[str, MaxLength(20)] | None = None
        visits: int = 0

    return Patient


async def test_a_backup_that_the_files_do_not_lead_from_is_refused_as_by_upgrade(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """A file that is gone or changed, a folder without any, a store changed in another way."""
    folder, path = write(tmp_path), tmp_path / "backup.json"
    await backup_at(db, folder, len(IDS), path)
    last = folder / f"{IDS[-1]}.py"
    text = last.read_text("utf-8")
    last.write_text(text.replace('"body"', '"words"'), "utf-8")
    with pytest.raises(MigrationError, match="was changed after it was applied"):
        await db.restore(path, into="memory", migrations=folder)
    last.unlink()
    with pytest.raises(MigrationError, match=f"the backup has the migration '{IDS[-1]}'"):
        await db.restore(path, into="memory", migrations=folder)
    with pytest.raises(MigrationError, match="there is no migration in"):
        await db.restore(path, into="memory", migrations=tmp_path / "nowhere")
    last.write_text(text, "utf-8")
    with pytest.raises(InvalidRequestError, match="a part of it is wanted"):
        await db.restore(path, into="memory", migrations=folder, entities=[_patient()])
    store = await db.member("memory")
    assert not await catalog(store)


async def test_a_backup_has_the_migration_that_took_the_place_of_its_own(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """One of all that were squashed is restored by the files of today, one of a part is refused."""
    folder = write(tmp_path)
    await backup_at(db, folder, 1, tmp_path / "part.json")
    await db.backup(tmp_path / "all.json", source="source")
    squash(folder)
    report = await db.restore(tmp_path / "all.json", into="memory", migrations=folder)
    assert (report.rows, report.migrated) == (4, ())
    assert await db.schema.current(member="memory") == NAME
    assert await db.schema.upgrade(directory=folder, member="memory") == ()
    (await db.verify("source", "memory")).require()
    with pytest.raises(MigrationError, match="the backup has a part of the migrations that"):
        await db.restore(tmp_path / "part.json", into="sqlite", migrations=folder)
    assert not await catalog(await db.member("sqlite"))


async def test_a_store_that_was_changed_beside_its_migrations_is_told(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """The definitions are held against those after the migration that the backup states."""

    class Visit(Entity, collection="visits"):
        day: int

    class Longer(Visit, collection="visits"):
        ward: Annotated[str, MaxLength(9)] | None = None

    folder, path = tmp_path / "migrations", tmp_path / "backup.json"
    folder.mkdir()
    (folder / "0001_visits.py").write_text(
        "from healthstore.schema import *\n"
        "migration = Migration(operations=[CreateCollection(collection('visits', {\n"
        "    'created_at': Instant(), 'updated_at': Instant(), 'day': Integer()}))])\n",
        "utf-8",
    )
    await db.schema.upgrade(directory=folder, member="source")
    await db.schema.evolve(Longer, members="source")
    await db.backup(path, source="source")
    with pytest.raises(MigrationError, match="'visits' is not as it is after '0001_visits'"):
        await db.restore(path, into="memory", migrations=folder)


async def test_loss_wants_the_word_and_upgrade_goes_on(db: DatabaseManager, tmp_path: Path) -> None:
    """The backup is restored then, and the error says so."""
    folder, path = write(tmp_path), tmp_path / "backup.json"
    await backup_at(db, folder, 1, path)
    with pytest.raises(SchemaChangeError, match="would lose what 2 documents hold") as error:
        await db.restore(path, into="sqlite", migrations=folder)
    assert "allow_loss=True" in error.value.hint
    assert "db.schema.upgrade() goes on" in error.value.hint
    assert await db.schema.current(member="sqlite") == IDS[1]
    await db.schema.upgrade(directory=folder, member="sqlite", allow_loss=True)
    (await db.verify("source", "sqlite")).require()


async def test_a_target_of_another_release_is_refused_untouched(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """With migrations and without; taken back to the backup's, an empty one serves."""
    folder, path = write(tmp_path), tmp_path / "backup.json"
    await backup_at(db, folder, 1, path)
    await db.schema.upgrade(directory=folder, member="sqlite")
    for migrations in (None, folder):
        with pytest.raises(MigrationError, match=f"up to '{IDS[-1]}'") as error:
            await db.restore(path, into="sqlite", migrations=migrations)
        assert ('migrations="migrations"' in error.value.hint) is (migrations is None)
        assert "an empty database" in error.value.hint
        assert "db.schema.downgrade()" in error.value.hint
    await forget(db, "sqlite")
    with pytest.raises(SchemaMismatchError, match="another definition") as mismatch:
        await db.restore(path, into="sqlite")
    assert 'migrations="migrations"' in mismatch.value.hint
    await db.schema.stamp(directory=folder, member="sqlite")
    await db.schema.downgrade(1, folder, member="sqlite")
    await db.restore(path, into="sqlite", migrations=folder, allow_loss=True)
    (await db.verify("source", "sqlite")).require()
    with pytest.raises((IntegrityError, MigrationError)):
        await db.restore(path, into="sqlite", migrations=folder, allow_loss=True)


async def test_a_collection_that_a_later_migration_makes_may_not_be_there(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """What it holds would be taken for that of the backup."""
    folder, path = write(tmp_path, IDS[0]), tmp_path / "backup.json"
    await db.schema.upgrade(directory=folder, member="source")
    await db.backup(path, source="source")
    (folder / "0002_wards.py").write_text(
        "from healthstore.schema import *\n"
        "migration = Migration(after='0001_patients', operations=[\n"
        "    CreateCollection(collection('wards', {'name': Text(9)}))])\n",
        "utf-8",
    )

    class Ward(Entity, collection="wards"):
        name: Annotated[str, MaxLength(9)]

    store = await db.member("memory")
    await db.schema.evolve(Ward, members="memory")
    with pytest.raises(MigrationError, match="the target has wards, which the backup does not"):
        await db.restore(path, into="memory", migrations=folder)
    assert (await catalog(store)).keys() == {"wards"}


async def test_a_part_is_no_release(db: DatabaseManager, tmp_path: Path) -> None:
    """A backup, copy or restore of some collections says nothing of migrations."""
    folder = write(tmp_path)
    await db.schema.upgrade(1, folder, member="source")
    await db.backup(tmp_path / "whole.json", source="source")
    source, one, other = [await db.member(each) for each in db.members]
    await migrate(source, one, ["patients"])
    assert await db.schema.current(member="memory") is None
    await restore(tmp_path / "whole.json", other, ["patients"])
    assert await db.schema.current(member="sqlite") is None


async def test_a_class_of_another_release_is_told_of_the_way(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Entities that are named differ from the backup's definitions."""
    folder, path = write(tmp_path), tmp_path / "backup.json"
    await backup_at(db, folder, 2, path)
    with pytest.raises(SchemaMismatchError, match="another definition") as error:
        await db.restore(path, into="memory", entities=[_patient()])
    assert 'migrations="migrations" (--migrations)' in error.value.hint


# --- cut short -------------------------------------------------------------------------------


async def test_whatever_fails_meanwhile_it_is_completed(tmp_path: Path) -> None:
    """Cut short at each write: half a copy is emptied and restored again, the rest upgraded."""
    folder, path = write(tmp_path), tmp_path / "backup.json"
    source = f"sqlite:///{tmp_path}/source.db"
    async with DatabaseManager(members={"source": source}) as db:
        await backup_at(db, folder, 1, path)
    found: set[str] = set()
    for effect in (Effect.WRITE, Effect.ADMIN):
        for writes in count():
            faults = Faults()
            faults.fail(effect, member="target", after=writes, times=None)
            members = {"source": source, "target": "memory://"}
            async with DatabaseManager(members=members, layers=[faults.layer]) as db:
                store = await db.member("target")
                options: Any = {"into": "target", "migrations": folder, "allow_loss": True}
                try:
                    await db.restore(path, **options)
                    break
                except UnavailableError:
                    faults.clear()
                if await mark_of(store):
                    found.add("half a copy")
                    with pytest.raises(IncompleteStoreError):
                        await db.schema.upgrade(directory=folder, member="target")
                    await db.clear("target")
                    await db.restore(path, **options)
                elif not await catalog(store):
                    found.add("nothing")
                    await db.restore(path, **options)
                else:
                    found.add("a release between")
                    await db.schema.upgrade(directory=folder, member="target", allow_loss=True)
                (await db.verify("source", "target")).require()
    assert found == {"nothing", "half a copy", "a release between"}


# --- copies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("into", TARGETS)
async def test_a_copy_has_the_migrations_of_its_source(
    db: DatabaseManager, tmp_path: Path, into: str
) -> None:
    """What is applied, with its times; no lock comes along, and no stamp is needed."""
    folder = write(tmp_path)
    await db.schema.upgrade(2, folder, member="source")
    store = await db.member("source")
    async with Ledger.locked(store, 0):
        await db.migrate("source", into)
    assert await db.schema.current(member=into) == IDS[1]
    both = [await db.schema.history(folder, member=each) for each in ("source", into)]
    assert both[0] == both[1]
    assert await db.schema.upgrade(directory=folder, member=into, wait=0) == IDS[2:]
    await db.schema.upgrade(directory=folder, member="source")
    await db.migrate("source", into, replace=True)
    assert await db.schema.current(member=into) == IDS[-1]


async def test_a_target_with_other_migrations_is_refused(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Also where the definitions are equal: its documents would be taken for changed ones."""
    folder = write(tmp_path, IDS[0])
    (folder / "0002_one_more.py").write_text(SAME, "utf-8")
    await db.schema.upgrade(1, folder, member="source")
    await db.schema.upgrade(2, folder, member="memory")
    for replaces in (False, True):
        with pytest.raises(MigrationError, match="up to '0002_one_more', and the documents are of"):
            await db.migrate("source", "memory", replace=replaces)
    await db.schema.downgrade(1, folder, member="memory")
    await db.migrate("source", "memory")
    assert await db.schema.current(member="memory") == IDS[0]
    await db.schema.downgrade("zero", folder, member="sqlite")
    await db.migrate("source", "sqlite")
    assert await db.schema.current(member="sqlite") == IDS[0]


async def test_a_store_between_two_releases_is_no_source_and_no_target(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Backup and copy are refused while a migration is under way, with what to do."""
    folder = write(tmp_path)
    await db.schema.upgrade(1, folder, member="source")
    await db.migrate("source", "memory")
    store = await db.member("source")
    async with Ledger.locked(store, 0) as ledger:
        await ledger.write(replace(ledger.book, under_way=UnderWay(IDS[1], "x", down=False)))
    with pytest.raises(MigrationError, match="'0002_add_phone' is under way") as error:
        await db.migrate("source", "sqlite")
    assert "complete it first" in error.value.hint
    with pytest.raises(MigrationError, match="is under way"):
        await db.backup(tmp_path / "backup.json", source="source")
    assert not (tmp_path / "backup.json").exists()
    with pytest.raises(MigrationError, match="is under way"):
        await db.migrate("memory", "source", replace=True)


class Migrating(Layer):
    """A store on which a migration begins when its documents are about to be read."""

    rank = 99

    async def execute(self, op: Op[R]) -> R:
        """Run an operation; before documents are counted, a migration begins."""
        counts: object = op
        if isinstance(counts, CountDocuments):
            await self._begin()
        return await self.inner.execute(op)

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a snapshot in which a migration has begun."""
        await self._begin()
        return await self.inner.begin(options)

    async def _begin(self) -> None:
        async with Ledger.locked(self.inner, 0) as ledger:
            under_way = UnderWay(IDS[1], "x", down=False)
            await ledger.write(replace(ledger.book, under_way=under_way))


@pytest.mark.parametrize("consistency", Consistency)
async def test_a_migration_that_begins_meanwhile_is_seen(
    db: DatabaseManager, tmp_path: Path, consistency: Consistency
) -> None:
    """Definitions were read before it, and documents after: neither file nor copy is made."""
    await db.schema.upgrade(1, write(tmp_path), member="source")
    source, target = await db.member("source"), await db.member("memory")
    reads = Migrating(source)
    with pytest.raises(SerializationError, match="migrations were applied while"):
        await backup(reads, tmp_path / "backup.json", consistency=consistency)
    assert not (tmp_path / "backup.json").exists()
    async with Ledger.locked(source, 0) as ledger:
        await ledger.write(replace(ledger.book, under_way=None))
    with pytest.raises(SerializationError, match="migrations were applied while"):
        await migrate(reads, target, consistency=consistency)
    assert await db.schema.current(member="memory") is None


# --- the header, and code without an event loop ----------------------------------------------

NOTED = st.builds(
    Applied,
    st.text(),
    st.text(),
    st.datetimes(timezones=st.just(UTC)).map(lambda each: each.isoformat(timespec="milliseconds")),
)


@given(st.lists(NOTED, max_size=4).map(tuple))
def test_a_header_says_which_migrations_it_was_given(applied: tuple[Applied, ...]) -> None:
    """Whatever they are called; without any it says nothing of them, as earlier releases."""
    header = new_header("x", Consistency.SNAPSHOT, (), applied)
    line = header_line(header)
    assert read_header(line).migrations == applied
    assert (b'"migrations"' in line) == bool(applied)


@pytest.mark.parametrize("damage", [{"at": "yesterday"}, {"id": None, "checksum": None, "at": ""}])
def test_what_a_header_says_of_migrations_is_checked(damage: dict[str, str]) -> None:
    """A damaged entry is no migration."""
    noted = Applied("0001_x", "c", "2026-01-01T00:00:00.000+00:00")
    line = header_line(new_header("x", Consistency.SNAPSHOT, (), [replace(noted, **damage)]))
    with pytest.raises(BackupCorruptError, match="the header is malformed"):
        read_header(line)


def test_code_without_an_event_loop_restores_so_too(tmp_path: Path) -> None:
    """The synchronous manager has the same arguments."""
    folder, path = write(tmp_path), tmp_path / "backup.json"
    with sync.DatabaseManager(f"sqlite:///{tmp_path}/a.db", "memory://") as db:
        db.schema.upgrade(2, folder)
        db.backup(path)
        report = db.restore(path, into="memory", migrations=folder, allow_loss=True)
        assert report.migrated == IDS[2:]

"""Migration files: a store goes up and down by them, and what was cut short goes on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest

from healthstore import Check, DatabaseManager, Entity, F, Index, MaxLength, Unique, sync
from healthstore.abc import Backend
from healthstore.entity import collection_of
from healthstore.errors import (
    BackendError,
    CapabilityError,
    HealthstoreError,
    MigrationError,
    SchemaChangeError,
    SchemaMismatchError,
    SerializationError,
    StaleVersionError,
)
from healthstore.model.ops import Ensure, Find, Insert
from healthstore.schema import ledger
from healthstore.testing.faults import Faults
from healthstore.transfer.ledger import read_book
from healthstore.transfer.selection import catalog

from .releases import FILES, write

IDS = tuple(FILES)
URLS = ("memory://", "sqlite:///{}/store.db")


def _first(name: str = "patients") -> type[Entity]:
    """Return the patients of the first release, as migrations and not a program made them."""

    class Patient(
        Entity,
        collection=name,
        indexes=[Index("name")],
        checks=[Check("counted", F.visits >= 0)],
    ):
        name: Annotated[str, MaxLength(100)]
        code: Annotated[str, MaxLength(20)] | None = None
        visits: int = 0

    return Patient


@pytest.fixture(params=URLS, ids=["memory", "sqlite"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseManager]:
    """Return an opened manager of an empty store."""
    async with DatabaseManager(request.param.format(tmp_path)) as manager:
        yield manager


async def rows(db: DatabaseManager, name: str = "patients") -> list[dict[str, Any]]:
    """Return the documents of a collection, as its store's own definition reads them."""
    store = await db.member(db.active)
    definition = (await catalog(store))[name]
    return list(await store.execute(Find(definition)))


async def add(db: DatabaseManager, *names: str) -> None:
    """Add patients of the first release, and a note on each."""
    store = await db.member(db.active)
    known = await catalog(store)
    for number, name in enumerate(names, 1):
        patient = {
            "id": UUID(int=number),
            "version": 1,
            "name": name,
            "code": None,
            "visits": number,
        }
        note = {"id": UUID(int=number), "version": 1, "patient": UUID(int=number), "text": "x"}
        await store.execute(Insert(known["patients"], (patient,)))
        await store.execute(Insert(known["notes"], (note,)))


async def test_a_store_goes_up_and_down_by_the_files(db: DatabaseManager, tmp_path: Path) -> None:
    """Each release has the rows of the one before; back again, they are what they were."""
    folder = write(tmp_path)
    assert await db.schema.current() is None
    assert await db.schema.upgrade(1, folder) == IDS[:1]
    await add(db, "Ann Lee", "Bob Ray Fox")
    before = await rows(db), await rows(db, "notes")
    assert await db.schema.upgrade("0002_add_phone", folder) == IDS[1:2]
    assert [each["ward"] for each in await rows(db)] == ["east", "east"]
    with pytest.raises(SchemaChangeError, match="drop the field name would lose what 2 documents"):
        await db.schema.upgrade(directory=folder)
    assert await db.schema.current() == IDS[1]
    assert await db.schema.upgrade(directory=folder, allow_loss=True) == IDS[2:]
    names = ("first_name", "last_name", "number", "contacts")
    assert [tuple(each[name] for name in names) for each in await rows(db)] == [
        ("Ann", "Lee", "PAnn", 1),
        ("Bob", "Ray Fox", "PBob", 2),
    ]
    assert [each["body"] for each in await rows(db, "remarks")] == [
        each["text"] for each in before[1]
    ]
    history = await db.schema.history(folder)
    assert [each.id for each in history] == list(IDS)
    assert all(each.applied is not None for each in history)
    assert await db.schema.upgrade(directory=folder) == ()
    assert await db.schema.downgrade(directory=folder) == IDS[4:]
    assert await db.schema.downgrade(1, folder, allow_loss=True) == IDS[3:0:-1]
    after = await rows(db), await rows(db, "notes")
    told = [[{**row, "version": 0, "code": None} for row in each] for each in (*before, *after)]
    assert told[:2] == told[2:]
    with pytest.raises(SchemaChangeError, match="would lose what 2 documents hold"):
        await db.schema.downgrade("zero", folder)
    assert await db.schema.downgrade("zero", folder, allow_loss=True) == IDS[:1]
    assert await db.schema.current() is None
    assert await db.schema.upgrade(directory=folder) == IDS


async def test_an_entity_of_the_last_release_uses_the_store(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Files and classes say the same; without them initialize makes nothing else."""

    class Patient(
        Entity, collection="people", indexes=[Index("born")], checks=[Check("c", F.name != "")]
    ):
        name: Annotated[str, MaxLength(40), Unique()]
        born: int | None = None

    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_people.py").write_text(
        "from healthstore.schema import *\n"
        "migration = Migration(operations=[CreateCollection(collection('people', {\n"
        "    'created_at': Instant(), 'updated_at': Instant(),\n"
        "    'name': Text(40), 'born': Integer(nullable=True)},\n"
        "    uniques=[Unique('name')], indexes=[Index('born')],\n"
        "    checks=[Check('c', F.name != '')]))])\n",
        "utf-8",
    )
    await db.schema.upgrade(directory=folder)
    assert not await db.schema.plan(Patient)
    assert (await db.initialize(Patient)).present == ("people",)
    await db.repository(Patient).add(Patient(name="Ann"))


async def test_what_is_cut_short_goes_on_where_it_was(tmp_path: Path) -> None:
    """Broken before any request, the next call ends with the same rows as an undisturbed one."""
    folder = write(tmp_path)
    wanted: object = None
    for step in range(200):
        faults = Faults()
        url = f"sqlite:///{tmp_path}/store{step}.db"
        async with DatabaseManager(url, layers=[faults.layer]) as db:
            await db.schema.upgrade(1, folder)
            await add(db, *(f"N{number} L{number}" for number in range(6)))
            kinds = ("get", "find", "replace", "alter", "countdocuments", "commit", "insert")
            if wanted is not None:
                faults.fail(*kinds, after=step, times=1, error=_broken())
            broken = False
            try:
                await db.schema.upgrade(directory=folder, allow_loss=True)
            except HealthstoreError:
                broken = True
            faults.clear()
            if broken:
                await db.schema.upgrade(directory=folder, allow_loss=True, wait=40)
            found = [{**each, "version": 0} for each in await rows(db)]
            assert await db.schema.current() == IDS[-1]
            wanted = wanted or found
            assert found == wanted
            if not broken and step:
                assert step > 10
                return
    raise AssertionError("every run was broken")


def _broken() -> HealthstoreError:
    return BackendError("broken by the test")


async def test_a_function_that_fails_names_the_document_and_can_be_mended(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """The error says which, and nothing of it; the file may be changed before it goes on."""
    folder = write(tmp_path)
    await db.schema.upgrade(2, folder)
    text = (folder / f"{IDS[2]}.py").read_text("utf-8")
    (folder / f"{IDS[2]}.py").write_text(text.replace('row["name"]', 'row["nmae"]'), "utf-8")

    store = await db.member(db.active)
    definition = (await catalog(store))["patients"]
    row = {"id": UUID(int=1), "version": 1, "name": "Ann Lee", "code": None, "visits": 0}
    await store.execute(Insert(definition, ({**row, "phone": None, "ward": "w"},)))
    with pytest.raises(MigrationError, match="KeyError for the document 00000000") as error:
        await db.schema.upgrade(directory=folder, allow_loss=True)
    assert "Ann" not in str(error.value)
    assert error.value.message.startswith(f"in the migration {IDS[2]!r}: ")
    assert await db.schema.current() == IDS[1]
    (folder / f"{IDS[2]}.py").write_text(text, "utf-8")
    assert await db.schema.upgrade(directory=folder, allow_loss=True) == IDS[2:]
    assert [each["last_name"] for each in await rows(db)] == ["Lee"]


async def test_a_function_deletes_documents_with_what_refers_to_them(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """None takes the document away, and its notes as their reference says."""
    folder = write(tmp_path, IDS[0])
    await db.schema.upgrade(directory=folder)
    await add(db, "Ann Lee", "Bob Fox")
    (folder / "0002_no_ann.py").write_text(
        "from healthstore.schema import Migration, Transform\n"
        "migration = Migration(after='0001_patients', operations=[Transform(\n"
        "    'patients', up=lambda row: None if row['name'] == 'Ann Lee' else row)])\n",
        "utf-8",
    )
    await db.schema.upgrade(directory=folder)
    assert [each["name"] for each in await rows(db)] == ["Bob Fox"]
    assert [each["patient"] for each in await rows(db, "notes")] == [UUID(int=2)]
    with pytest.raises(MigrationError, match="no function for this direction"):
        await db.schema.downgrade(directory=folder)
    assert await db.schema.current() == "0002_no_ann"


async def test_documents_that_stand_against_a_change_refuse_it_before_it_begins(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """The error counts them; nothing is under way then."""
    folder = write(tmp_path, IDS[0])
    await db.schema.upgrade(directory=folder)
    await add(db, "Ann", "Ann", "Ann")
    (folder / "0002_unique.py").write_text(
        "from healthstore.schema import AddUnique, ChangeField, Migration, Text, Unique\n"
        "migration = Migration(after='0001_patients', operations=[\n"
        "    AddUnique('patients', Unique('name')), ChangeField('patients', 'code', Text(20))])\n",
        "utf-8",
    )
    with pytest.raises(SchemaChangeError) as error:
        await db.schema.upgrade(directory=folder, allow_loss=True)
    assert "add the unique key (name): 2 documents" in error.value.message
    assert "change the field code: text, max_length 20: 3 documents" in error.value.message
    (folder / "0002_unique.py").unlink()
    assert await db.schema.upgrade(directory=folder) == ()


async def test_files_that_are_others_than_those_of_the_store_are_refused(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """A changed one, one that is gone, and one in its place; comments and line ends do not count."""
    folder = write(tmp_path)
    await db.schema.upgrade(2, folder)
    first = folder / f"{IDS[0]}.py"
    text = first.read_text("utf-8")
    first.write_bytes(f"# a comment\r\n{text}".replace("\n", "\r\n").encode())
    assert await db.schema.upgrade(2, folder) == ()
    first.write_text(text.replace("Text(100)", "Text(101)"), "utf-8")
    with pytest.raises(MigrationError, match="'0001_patients' was changed after it was applied"):
        await db.schema.upgrade(directory=folder)
    first.write_text(text, "utf-8")
    for name in IDS[1:]:
        (folder / f"{name}.py").unlink()
    with pytest.raises(MigrationError, match="the program is older than the store"):
        await db.schema.upgrade(directory=folder)
    (folder / "0002_other.py").write_text(
        "from healthstore.schema import Migration\nmigration = Migration(after='0001_patients')\n",
        "utf-8",
    )
    with pytest.raises(MigrationError, match="at place 2, where the files have another one"):
        await db.schema.upgrade(directory=folder)


async def test_of_two_processes_one_applies_them(tmp_path: Path) -> None:
    """The other one waits, and finds them applied."""
    folder = write(tmp_path)
    url = f"sqlite:///{tmp_path}/store.db"
    async with DatabaseManager(url) as one, DatabaseManager(url) as other:
        done = await asyncio.gather(
            one.schema.upgrade(directory=folder), other.schema.upgrade(directory=folder)
        )
        assert sorted(done, key=len) == [(), IDS]


async def test_who_waits_too_long_is_told_who_applies_them(
    db: DatabaseManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the process; a lock that is not renewed is free after a while."""
    folder = write(tmp_path)
    store = await db.member(db.active)
    async with ledger.Ledger.locked(store, 0):
        with pytest.raises(SerializationError, match="another process applies migrations: process"):
            await db.schema.upgrade(directory=folder, wait=0)
    assert await db.schema.upgrade(1, folder, wait=0) == IDS[:1]
    monkeypatch.setattr(ledger, "_LEASE", 0.2)
    async with ledger.Ledger.locked(store, 0) as frozen:
        monkeypatch.setattr(frozen, "_turn", _Never())
        await asyncio.sleep(0.3)
        assert await db.schema.upgrade(2, folder, wait=5) == IDS[1:2]
        monkeypatch.undo()
        with pytest.raises(StaleVersionError):  # woken, its next write is refused
            await frozen.write(frozen.book)


class _Never:
    """A lock that is never free: its owner is frozen."""

    async def __aenter__(self) -> None:
        await asyncio.sleep(3600)

    async def __aexit__(self, *_: object) -> None:
        """Do nothing."""


async def test_a_store_that_was_made_otherwise_is_stamped(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Its definitions are compared; then it has the migrations, and goes on from there."""

    class Person(Entity, collection="people"):
        name: Annotated[str, MaxLength(40)]

    folder = tmp_path / "migrations"
    folder.mkdir()
    text = (
        "from healthstore.schema import *\n"
        "migration = Migration(operations=[CreateCollection(collection('people', {\n"
        "    'created_at': Instant(), 'updated_at': Instant(), 'name': Text(40)}))])\n"
    )
    (folder / "0001_people.py").write_text(text.replace("40", "50"), "utf-8")
    await db.initialize(Person)
    with pytest.raises(MigrationError, match="'people' is not as it is after that migration"):
        await db.schema.stamp(directory=folder)
    (folder / "0001_people.py").write_text(text, "utf-8")
    await db.schema.stamp(directory=folder)
    assert await db.schema.current() == "0001_people"
    assert await db.schema.upgrade(directory=folder) == ()
    await db.schema.stamp("zero", folder)
    assert await db.schema.current() is None


async def test_a_store_without_transactions_wants_functions_that_may_run_twice(
    tmp_path: Path,
) -> None:
    """Without that word the migration is refused before anything is changed."""
    from healthstore.adapters.memory import MemoryAdapter
    from healthstore.schema.files import read_chain
    from healthstore.schema.upgrade import move

    class Plain(MemoryAdapter):
        capabilities = replace(MemoryAdapter.capabilities, transactions=False, references=False)

    folder = write(tmp_path, references=False)
    store: Backend = Plain("plain")
    await store.open()
    assert len(await move(store, read_chain(folder), "head", allow_loss=True, wait=0)) == 5
    third = folder / f"{IDS[2]}.py"
    await move(store, read_chain(folder), 2, allow_loss=True, wait=0)
    third.write_text(third.read_text("utf-8").replace(", idempotent=True", ""), "utf-8")
    with pytest.raises(CapabilityError, match="needs transactions"):
        await move(store, read_chain(folder), "head", allow_loss=True, wait=0)
    await store.close()


def test_code_without_an_event_loop_has_them_too(tmp_path: Path) -> None:
    """The synchronous manager has the same calls."""
    folder = write(tmp_path)
    with sync.DatabaseManager(f"sqlite:///{tmp_path}/store.db") as db:
        assert db.schema.upgrade(directory=folder) == IDS
        assert db.schema.current() == IDS[-1]
        assert db.schema.downgrade(directory=folder) == IDS[-1:]


async def test_what_is_renamed_and_dropped_in_one_migration_is_counted(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """What goes is looked for by the name that the store has for it, up and down."""
    folder = write(tmp_path, IDS[0])
    (folder / "0002_gone.py").write_text(
        "from healthstore.schema import *\n"
        "migration = Migration(after='0001_patients', operations=[\n"
        "    RenameField('notes', 'text', 'body'), RenameCollection('notes', 'remarks'),\n"
        "    DropField('remarks', 'body'),\n"
        "    RenameField('patients', 'code', 'number'), DropField('patients', 'number')])\n",
        "utf-8",
    )
    await db.schema.upgrade(1, folder)
    await add(db, "Ann Lee")
    with pytest.raises(SchemaChangeError, match="drop the field body would lose what 1 document"):
        await db.schema.upgrade(directory=folder)
    assert await db.schema.current() == IDS[0]
    assert len(await rows(db, "notes")) == 1
    await db.schema.upgrade(directory=folder, allow_loss=True)
    assert [set(each) for each in await rows(db, "remarks")] == [{"id", "version", "patient"}]
    with pytest.raises(SchemaChangeError, match="documents stand against"):
        await db.schema.downgrade(directory=folder)  # the text is required, and there is none


async def test_a_function_that_is_taken_back_finds_the_names_of_its_place(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """A field that a function gives back is required only after that, whatever it was called."""
    folder = write(tmp_path, IDS[0])
    (folder / "0002_split.py").write_text(
        "from healthstore.schema import *\n"
        "def up(row): return row | {'given': row['name'].upper()}\n"
        "def down(row): return row | {'name': row['given'].lower()}\n"
        "migration = Migration(after='0001_patients', operations=[\n"
        "    AddField('patients', 'given', Text(100, nullable=True)),\n"
        "    Transform('patients', up=up, down=down),\n"
        "    RenameCollection('patients', 'people'), RenameField('people', 'name', 'full'),\n"
        "    DropIndex('people', Index('full')), DropField('people', 'full'),\n"
        "    RenameField('people', 'given', 'name'), AddIndex('people', Index('name'))])\n",
        "utf-8",
    )
    await db.schema.upgrade(1, folder)
    await add(db, "Ann Lee", "Bob Ray")
    await db.schema.upgrade(directory=folder, allow_loss=True)
    assert [each["name"] for each in await rows(db, "people")] == ["ANN LEE", "BOB RAY"]
    await db.schema.downgrade(directory=folder, allow_loss=True)
    assert [each["name"] for each in await rows(db)] == ["ann lee", "bob ray"]
    (definition,) = [
        each
        for each in (await catalog(await db.member(db.active))).values()
        if each.name == "patients"
    ]
    assert not definition.nullable("name")


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        ("RenameField('patients', 'nope', 'x')", "cannot rename the field nope"),
        ("RenameField('patients', 'code', 'name')", "the name of another one, name"),
        ("RenameField('patients', 'id', 'key')", "the library's own"),
        ("RenameField('nope', 'a', 'b')", "there is no collection 'nope'"),
        ("RenameField('patients', 'code', 'a b')", "a b"),
        ("RenameCollection('patients', 'notes')", "the name of another one, notes"),
        ("RenameCollection('nope', 'x')", "there is no collection 'nope'"),
        ("RenameCollection('patients', 'healthstore_catalog')", "library's own"),
    ],
)
async def test_a_rename_that_cannot_be_is_refused_with_the_file(
    db: DatabaseManager, tmp_path: Path, operation: str, says: str
) -> None:
    """Before anything is changed; the error names the migration."""
    folder = write(tmp_path, IDS[0])
    (folder / "0002_other.py").write_text(
        "from healthstore.schema import *\n"
        f"migration = Migration(after='0001_patients', operations=[{operation}])\n",
        "utf-8",
    )
    with pytest.raises(HealthstoreError, match=f"'0002_other'.*{says}"):
        await db.schema.upgrade(directory=folder)


async def _upgraded(db: DatabaseManager, folder: Path, text: str) -> tuple[str, ...]:
    """Apply another migration, of which only the operations and functions are given."""
    (folder / "0002_other.py").write_text(
        "from uuid import UUID\nfrom healthstore.schema import *\n" + text, "utf-8"
    )
    return await db.schema.upgrade(directory=folder)


_AFTER = "migration = Migration(after='0001_patients', operations="


async def test_a_store_that_is_another_one_refuses_a_migration_before_it_begins(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """It is told to be stamped, and nothing is under way."""
    folder = write(tmp_path)

    class Other(_first(), collection="patients"):  # type: ignore[misc] - made by a function
        more: str

    await db.initialize(Other)
    with pytest.raises(MigrationError, match="'patients' is another one") as error:
        await db.schema.upgrade(directory=folder)
    assert "stamp" in error.value.hint
    assert (await read_book(await db.member(db.active))).under_way is None


async def test_a_name_that_is_in_use_refuses_the_way_back(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Before anything is changed; when it is free again, the way back is."""
    folder = write(tmp_path, IDS[0])
    await _upgraded(db, folder, f"{_AFTER}[RenameCollection('patients', 'people')])")
    with pytest.raises(SchemaMismatchError, match="dropped or renamed the collection 'patients'"):
        await db.initialize(_first())
    store = await db.member(db.active)
    await store.execute(Ensure((collection_of(_first()),)))  # by somebody else
    with pytest.raises(MigrationError, match="has a collection 'patients'"):
        await db.schema.downgrade(directory=folder)
    assert await db.schema.current() == "0002_other"
    assert (await read_book(store)).under_way is None


async def test_a_function_that_returns_nothing_deletes_nothing(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """What was forgotten is no wish; said, it is done."""
    folder = write(tmp_path, IDS[0])
    await db.schema.upgrade(directory=folder)
    await add(db, "Ann Lee", "Bob Ray")
    text = f"def up(row): row['visits'] += 1\n{_AFTER}[Transform('patients', up=up)])"
    with pytest.raises(SchemaChangeError, match="returned None for each of 2 documents"):
        await _upgraded(db, folder, text)
    assert len(await rows(db)) == 2
    await db.schema.upgrade(directory=folder, allow_loss=True)
    assert await rows(db) == []


async def test_what_was_done_of_a_migration_stays_in_its_file(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """What failed may be mended; a function before it that nobody has called is told."""
    folder = write(tmp_path, IDS[0])
    await db.schema.upgrade(directory=folder)
    await add(db, "Ann Lee")
    rename = "RenameField('notes', 'text', 'body')"
    bad = "def up(row): raise ValueError\ndef ok(row): return row | {'body': 'T' + row['body']}\n"
    with pytest.raises(MigrationError, match="raised ValueError"):
        await _upgraded(db, folder, f"{bad}{_AFTER}[{rename}, Transform('notes', up=up)])")
    with pytest.raises(MigrationError, match="that was done is another one"):
        await _upgraded(db, folder, f"{bad}{_AFTER}[Transform('patients', up=ok), {rename}])")
    await _upgraded(db, folder, f"{bad}{_AFTER}[{rename}, Transform('notes', up=ok)])")
    assert [each["body"] for each in await rows(db, "notes")] == ["Tx"]


async def test_what_stands_against_another_collection_is_counted_before_it_begins(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """A rename before it has nothing to do with it, and is not done."""
    folder = write(tmp_path, IDS[0])
    await db.schema.upgrade(directory=folder)
    await add(db, "Ann Lee")
    nowhere = "AddField('notes', 'other', Uuid(default=UUID(int=77)))"
    reference = "AddReference('notes', Reference('other', 'patients', 'restrict'))"
    operations = f"[RenameField('patients', 'visits', 'contacts'), {nowhere}, {reference}]"
    with pytest.raises(SchemaChangeError, match=r"add the reference other .*: 1 document"):
        await _upgraded(db, folder, f"{_AFTER}{operations})")
    assert [each["visits"] for each in await rows(db)] == [1]


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        ("None", "its operations are no list"),
        ("['x']", "operation 1 is a str"),
        ("[AddField('patients', 'q', Text)]", "the form of operation 1, AddField, is a function"),
        ("[AddUnique('patients', 'name')]", "the unique of operation 1, AddUnique, is a str"),
        ("[CreateCollection('x')]", "the definition of operation 1, CreateCollection, is a str"),
        ("[Transform('patients', up='up')]", "cannot be read|a function of a Transform is none"),
        ("[DropField('patients', 'name')]", "which an index, a key, a check or a reference"),
        (
            "[AddReference('notes', Reference('id', 'nope', 'cascade'))]",
            "refers to 'nope', which is not there",
        ),
        ("[RenameCollection('patients', 'healthstore_new')]", "a name of the library's own"),
    ],
)
async def test_a_wrong_operation_is_told_with_its_file(
    db: DatabaseManager, tmp_path: Path, operations: str, says: str
) -> None:
    """Where it is read, before anything is changed."""
    folder = write(tmp_path, IDS[0])
    with pytest.raises(HealthstoreError, match="'0002_other'") as error:
        await _upgraded(db, folder, f"{_AFTER}{operations})")
    assert re.search(says, error.value.message)


async def test_a_folder_that_is_not_there_is_no_empty_one(db: DatabaseManager) -> None:
    """A deployment with a wrong path does not pass."""
    with pytest.raises(MigrationError, match="there is no folder nowhere"):
        await db.schema.upgrade(directory="nowhere")

"""``otherwise=`` of a ``ChangeField``: what a document gets whose value does not fit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from healthstore import DatabaseManager
from healthstore.adapters.memory import MemoryAdapter
from healthstore.errors import BackendError, HealthstoreError, MigrationError, SchemaChangeError
from healthstore.model.change import changes
from healthstore.model.ops import Delete, Insert
from healthstore.schema import PageTransformed, lint, rewrite, upgrade
from healthstore.schema.files import read_chain
from healthstore.schema.offline import asking
from healthstore.schema.script import script
from healthstore.schema.squash import squashed
from healthstore.schema.steps import Rewriting, is_marked, mark_of
from healthstore.testing.faults import Faults
from healthstore.transfer.ledger import read_book
from healthstore.transfer.selection import catalog

from .narrowed import AFTER, IDS, add, expected, people, rows, write
from .test_upgrade import URLS


@pytest.fixture(params=URLS, ids=["memory", "sqlite"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseManager]:
    """Return an opened manager of a store with people of the first release."""
    async with DatabaseManager(request.param.format(tmp_path)) as manager:
        await manager.schema.upgrade(1, write(tmp_path, IDS[0]))
        await add(await manager.member(manager.active), people())
        yield manager


async def stored(db: DatabaseManager) -> list[dict[str, Any]]:
    """Return the people."""
    return await rows(await db.member(db.active))


async def upgraded(
    db: DatabaseManager, folder: Path, operations: str, functions: str = "", *, loss: bool = True
) -> None:
    """Apply a second migration of these operations."""
    text = AFTER.replace("migration =", f"{functions}\nmigration =")
    (folder / "migrations" / "0002_other.py").write_text(f"{text}[{operations}])", "utf-8")
    await db.schema.upgrade(directory=folder / "migrations", allow_loss=loss)


async def test_what_does_not_fit_is_replaced_and_nothing_else_is(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Too long, null, too many digits, a member that goes; who fits keeps values and version."""
    folder = write(tmp_path)
    assert await db.schema.upgrade(directory=folder, allow_loss=True) == IDS[1:]
    assert await stored(db) == expected()
    store = await db.member(db.active)
    assert await catalog(store) == read_chain(folder).state


async def test_without_the_word_it_is_refused_with_the_number(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Before anything is changed, or under way."""
    folder = write(tmp_path)
    with pytest.raises(SchemaChangeError) as error:
        await db.schema.upgrade(directory=folder)
    assert "max_length 10 would give another value to 1 document" in error.value.message
    assert error.value.message.startswith(f"in the migration {IDS[1]!r}: people: ")
    assert "allow_loss=True" in error.value.hint
    assert await stored(db) == people()
    assert (await read_book(await db.member(db.active))).under_way is None


async def test_each_kind_of_it_is_counted(db: DatabaseManager, tmp_path: Path) -> None:
    """Nulls, digits and places, members; where all fit, no word is needed."""
    for field, form, count in (
        ("born", "Integer(), otherwise=0", "1 document"),
        ("price", "Number(6, 2), otherwise=0", "2 documents"),
        ("state", "Enum('HERE'), otherwise='HERE'", "1 document"),
    ):
        with pytest.raises(SchemaChangeError, match=f"another value to {count}:"):
            await upgraded(db, tmp_path, f"ChangeField('people', '{field}', {form})", loss=False)
    operations = "ChangeField('people', 'name', Text(16), otherwise='')"
    await upgraded(db, tmp_path, operations, loss=False)
    assert await stored(db) == people()


@pytest.mark.parametrize("field", ["name", "state"])
async def test_without_a_value_it_is_refused_with_the_word_too(
    db: DatabaseManager, tmp_path: Path, field: str
) -> None:
    """None is a value; nothing said is none."""
    form = {"name": "Text(10", "state": "Enum('HERE', 'LOST'"}[field]
    with pytest.raises(SchemaChangeError, match="documents stand against"):
        await upgraded(db, tmp_path, f"ChangeField('people', '{field}', {form}, nullable=True))")
    assert await stored(db) == people()
    await upgraded(
        db, tmp_path, f"ChangeField('people', '{field}', {form}, nullable=True), otherwise=None)"
    )
    assert sum(each[field] is None for each in await stored(db)) == 1


async def test_others_that_stand_against_it_refuse_it_before_it_begins(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """A field of the same part without a value, and a key of another field."""
    operations = (
        "ChangeField('people', 'name', Text(10), otherwise=''), "
        "ChangeField('people', 'note', Text(10)), AddUnique('people', Unique('state'))"
    )
    with pytest.raises(SchemaChangeError) as error:
        await upgraded(db, tmp_path, operations)
    assert "change the field note: text, max_length 10: 1 document" in error.value.message
    assert "add the unique key (state): 4 documents" in error.value.message
    assert await stored(db) == people()
    assert (await read_book(await db.member(db.active))).under_way is None


async def test_what_follows_it_meets_the_values_that_took_their_place(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """A check, a key and a required field that the old values would have broken."""
    operations = (
        "ChangeField('people', 'born', Integer(), otherwise=1900), "
        "ChangeField('people', 'name', Text(10, nullable=True), otherwise=None), "
        "AddCheck('people', Check('told', F.born >= 1900)), AddField('people', 'ward', Text(9, "
        "default='east')), DropIndex('people', Index('born'))"
    )
    await upgraded(db, tmp_path, operations)
    assert [each["name"] for each in await stored(db)].count(None) == 1
    assert {each["ward"] for each in await stored(db)} == {"east"}


async def test_it_is_counted_where_a_rename_comes_before(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """By the names that the store has, before it begins."""
    operations = (
        "RenameCollection('people', 'ones'), RenameField('ones', 'name', 'title'), "
        "ChangeField('ones', 'title', Text(10), otherwise='')"
    )
    with pytest.raises(SchemaChangeError, match=r"ones: .* another value to 1 document"):
        await upgraded(db, tmp_path, operations, loss=False)
    assert (await read_book(await db.member(db.active))).under_way is None
    await upgraded(db, tmp_path, operations)
    titles = [each["title"] for each in await rows(await db.member(db.active), "ones")]
    assert titles == ["Ann", "", "Ann", "Ann", "Ann", "Ann"]


_CUT = "def up(row): return row | {'name': row['name'][:10]}"
_KEEP = "def up(row): return row | {'note': row['note'].upper()}"
_AFTER_A_FUNCTION = "Transform('people', up), ChangeField('people', 'name', Text(10), otherwise='')"


async def test_a_function_before_it_may_make_values_fit(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Then nothing is replaced, and no word is needed."""
    await upgraded(db, tmp_path, _AFTER_A_FUNCTION, _CUT, loss=False)
    assert [each["name"] for each in await stored(db)][1] == "Wilhelmine"


async def test_what_a_function_leaves_is_counted_when_its_turn_is_there(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """The migration is under way then, and goes on with the word."""
    with pytest.raises(SchemaChangeError, match="another value to 1 document"):
        await upgraded(db, tmp_path, _AFTER_A_FUNCTION, _KEEP, loss=False)
    assert (await read_book(await db.member(db.active))).under_way is not None
    assert [each["name"] for each in await stored(db)][1] == "Wilhelmine Luise"
    await upgraded(db, tmp_path, _AFTER_A_FUNCTION, _KEEP)
    assert [(each["name"], each["note"]) for each in await stored(db)][1] == ("", "FINE")


async def test_taken_back_the_values_stay_as_they_are(db: DatabaseManager, tmp_path: Path) -> None:
    """What was lost is lost; a value that the old form does not take refuses the way back."""
    folder = write(tmp_path)
    await db.schema.upgrade(directory=folder, allow_loss=True)
    with pytest.raises(SchemaChangeError) as error:
        await db.schema.downgrade(directory=folder, allow_loss=True)
    assert "change the field note: text: 1 document" in error.value.message
    assert "change the field state: enum, 3 members: 1 document" in error.value.message
    assert (await read_book(await db.member(db.active))).under_way is None
    store = await db.member(db.active)
    await store.execute(Delete((await catalog(store))["people"], (UUID(int=len(people())),)))
    assert await db.schema.downgrade(1, folder) == IDS[:0:-1]
    assert await stored(db) == expected(len(people()) - 1)
    assert (await catalog(store))["people"] == read_chain(folder).links[0].state["people"]


async def test_what_is_cut_short_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken before any request, the next call ends with the same rows as an undisturbed one."""
    monkeypatch.setattr(rewrite, "_PAGE", 2)
    folder = write(tmp_path)
    kinds = ("get", "find", "replace", "alter", "countdocuments", "commit", "insert")
    for step in range(200):
        faults = Faults()
        async with DatabaseManager(f"sqlite:///{tmp_path}/{step}.db", layers=[faults.layer]) as db:
            await db.schema.upgrade(1, folder)
            await add(await db.member(db.active), people())
            faults.fail(*kinds, after=step, times=1, error=BackendError("broken by the test"))
            broken = False
            try:
                await db.schema.upgrade(directory=folder, allow_loss=True)
            except HealthstoreError:
                broken = True
            faults.clear()
            if broken:
                await db.schema.upgrade(directory=folder, allow_loss=True, wait=40)
            assert await stored(db) == expected()
            if not broken:
                assert step > 20
                return
    raise AssertionError("every run was broken")


async def test_what_others_write_meanwhile_is_replaced_by_the_next_call(
    db: DatabaseManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the last page it refuses the change; then all are looked at once more."""
    folder = write(tmp_path, *IDS[:2])
    rewrite = upgrade._Moving._rewrite

    async def disturbed(moving: Any, step: Rewriting) -> None:
        await rewrite(moving, step)
        late = people(2)[1] | {"id": UUID(int=99)}
        await moving._store.execute(Insert(step.rows, (late,)))

    with monkeypatch.context() as patched:
        patched.setattr(upgrade._Moving, "_rewrite", disturbed)
        with pytest.raises(SchemaChangeError, match="documents stand against") as error:
            await db.schema.upgrade(directory=folder, allow_loss=True)
    assert "call it again" in error.value.hint
    assert await db.schema.upgrade(directory=folder, allow_loss=True) == IDS[1:2]
    assert [each["name"] for each in await stored(db)][-1] == ""


async def test_each_page_is_told(db: DatabaseManager, tmp_path: Path) -> None:
    """As that of a Transform."""
    told: list[PageTransformed] = []
    folder = write(tmp_path)
    await db.schema.upgrade(directory=folder, allow_loss=True, on_event=told.append)
    assert [(each.migration, each.done, each.total) for each in told] == [
        (name, len(people()), len(people())) for name in IDS[1:]
    ]


async def test_a_store_without_transactions_needs_no_other_word(tmp_path: Path) -> None:
    """A document may be looked at twice: what has fitted stays."""

    class Plain(MemoryAdapter):
        capabilities = replace(MemoryAdapter.capabilities, transactions=False, references=False)

    store = Plain("plain")
    await store.open()
    chain = read_chain(write(tmp_path))
    await upgrade.move(store, chain, 1, allow_loss=False, wait=0)
    await add(store, people())
    await upgrade.move(store, chain, "head", allow_loss=True, wait=0)
    assert await rows(store) == expected()
    await store.close()


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        ("'name', Text(3), otherwise='none'", "holds 4 characters; at most 3 are allowed"),
        ("'name', Text(3), otherwise=3", "str"),
        ("'name', Text(3), otherwise=None", "null is forbidden"),
        ("'price', Number(6, 2), otherwise=0.5", "Decimal"),
        ("'price', Number(4, 2), otherwise=100", r"does not fit Digits\(4, 2\)"),
        ("'state', Enum('HERE'), otherwise='GONE'", "is none of HERE"),
    ],
)
def test_a_value_that_does_not_fit_either_is_told_with_its_file(
    tmp_path: Path, operation: str, says: str
) -> None:
    """Where it is read; the message does not hold it."""
    folder = write(tmp_path, IDS[0])
    (folder / "0002_other.py").write_text(
        f"{AFTER}[DropIndex('people', Index('born')), ChangeField('people', {operation})])", "utf-8"
    )
    with pytest.raises(MigrationError, match="'0002_other': the otherwise of operation 2") as error:
        read_chain(folder)
    assert re.search(says, error.value.hint)
    assert "GONE" not in f"{error.value}"


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        ("ChangeField('people', 'name', Integer(), otherwise=0)", "people.name gets another type"),
        (
            (
                "AddField('people', 'at', Instant(nullable=True)), "
                "ChangeField('people', 'at', Instant(milliseconds=True, nullable=True), otherwise=None)"
            ),
            "people.at gets another type",
        ),
        (
            (
                "ChangeField('people', 'name', Text(9), otherwise=''), "
                "AddUnique('people', Unique('name'))"
            ),
            "people.name is of a unique key",
        ),
        (
            (
                "AddUnique('people', Unique('name')), "
                "ChangeField('people', 'name', Text(9), otherwise='')"
            ),
            "people.name is of a unique key",
        ),
        (
            (
                "ChangeField('people', 'name', Text(9), otherwise=''), "
                "AddUnique('people', Unique('born', 'name'))"
            ),
            "people.name is of a unique key",
        ),
        (
            (
                "ChangeField('people', 'born', Integer(), otherwise=0), "
                "AddField('people', 'died', Integer(nullable=True)), "
                "AddCheck('people', Check('told', (F.born > 0) | (F.died > 0)))"
            ),
            "people.born is compared with other fields by the check told",
        ),
        (
            (
                "AddField('people', 'doctor', Uuid(nullable=True)), "
                "AddReference('people', Reference('doctor', 'people', 'restrict')), "
                "ChangeField('people', 'doctor', Uuid(), otherwise=__import__('uuid').UUID(int=5))"
            ),
            "people.doctor refers to other documents",
        ),
        (
            (
                "ChangeField('people', 'born', Integer(), otherwise=0), "
                "AddCheck('people', Check('told', F.born > 0))"
            ),
            "people.born gets otherwise breaks the check told",
        ),
        ("ChangeField('people', 'nope', Text(9), otherwise='')", "field nope: .* is not there"),
        ("ChangeField('nope', 'name', Text(9), otherwise='')", "there is no collection 'nope'"),
        ("ChangeField('people', 'name', Text, otherwise='')", "the form of operation 1"),
    ],
)
def test_a_value_that_cannot_stand_there_is_told_with_its_file(
    tmp_path: Path, operations: str, says: str
) -> None:
    """Another type, one value for a unique key, and a check that it breaks."""
    folder = write(tmp_path, IDS[0])
    (folder / "0002_other.py").write_text(f"{AFTER}[{operations}])", "utf-8")
    with pytest.raises(MigrationError, match=f"'0002_other'.*{says}") as error:
        read_chain(folder)
    assert error.value.hint


def test_a_step_is_told_from_one_of_another_value_or_field(tmp_path: Path) -> None:
    """What was done of a migration under way is not taken for something else."""
    folder, marks = write(tmp_path, IDS[0]), set[str]()
    operations = (
        "'name', Text(9), otherwise=''",
        "'name', Text(9), otherwise='?'",
        "'name', Text(8), otherwise=''",
        "'name', Text(9)",
        "'note', Text(9), otherwise=''",
    )
    for each in operations:
        (folder / "0002_other.py").write_text(f"{AFTER}[ChangeField('people', {each})])", "utf-8")
        steps = read_chain(folder).links[1].steps
        assert is_marked(steps, mark_of(read_chain(folder).links[1].steps))
        marks.add(mark_of(steps))
    assert len(marks) == len(operations)


def test_fields_that_stand_together_are_replaced_in_one_pass(tmp_path: Path) -> None:
    """What stands before them, and a second change of one of them, is a step of its own."""
    folder = write(tmp_path, IDS[0])

    def kinds(*operations: str) -> list[str]:
        (folder / "0002_other.py").write_text(f"{AFTER}[{', '.join(operations)}])", "utf-8")
        return [type(each).__name__ for each in read_chain(folder).links[1].steps]

    name = "ChangeField('people', 'name', Text({}), otherwise='')".format
    born = "ChangeField('people', 'born', Integer(), otherwise=0)"
    index = "AddIndex('people', Index('name'))"
    assert kinds(name(9), born, index) == ["Narrowing"]
    assert kinds(index, name(9), born) == ["Alteration", "Narrowing"]
    assert kinds(name(9), index, born) == ["Narrowing", "Narrowing"]
    assert kinds(name(9), name(5)) == ["Narrowing", "Narrowing"]
    assert kinds(name(9), "DropField('people', 'name')") == ["Narrowing", "Alteration"]
    assert kinds(name(200)) == ["Alteration"]  # all fit
    unknown = "ChangeField('people', 'state', Enum('NEW'), otherwise='NEW')"
    assert kinds(unknown) == ["Alteration", "Narrowing"]  # which is allowed first


def test_the_other_ways_of_a_file_know_it(tmp_path: Path) -> None:
    """Lint, a script, and what takes the place of several."""
    folder = write(tmp_path)
    found = [(each.operation, each.rule.name) for each in lint(folder, 1)]
    assert ("change the field name: text, max_length 10", "narrower-field") in found
    chain = read_chain(folder)
    text = asyncio.run(script(chain, 1, 2, asking("postgresql")))
    assert "-- healthstore schema upgrade 0002_shorter" in text.splitlines()
    assert "ALTER" in asyncio.run(script(chain, 2, 1, asking("postgresql")))
    assert squashed(chain, None, "head").operations == changes({}, [chain.state["people"]])
    with pytest.raises(MigrationError, match="'0002_shorter' replaces what does not fit"):
        squashed(chain, IDS[1], IDS[2])

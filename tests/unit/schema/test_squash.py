"""One migration takes the place of several: whatever a store has of those, it ends as by them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.model.test_change import definitions

from healthstore import DatabaseManager
from healthstore.errors import MigrationError
from healthstore.model.change import changes
from healthstore.model.ops import Insert
from healthstore.model.schema import Collection
from healthstore.schema import Migration, upgrade
from healthstore.schema.files import Chain, Link, read_chain
from healthstore.schema.squash import squashed
from healthstore.schema.steps import steps_of
from healthstore.schema.written import written
from healthstore.transfer.ledger import read_book
from healthstore.transfer.selection import catalog

from .releases import FILES, write
from .test_upgrade import URLS, add, rows

IDS = tuple(FILES)
NAME = f"{IDS[-1][:4]}_all"


@pytest.fixture(params=URLS, ids=["memory", "sqlite"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseManager]:
    """Return an opened manager of an empty store."""
    async with DatabaseManager(request.param.format(tmp_path)) as manager:
        yield manager


def squash(folder: Path, first: str | None = None, last: str = "head", name: str = NAME) -> None:
    """Write a file in the place of others, and remove those."""
    made = squashed(read_chain(folder), first, last)
    text = written("All", made.after, made.operations, made.replaces)
    (folder / f"{name}.py").write_text(text, "utf-8")
    for each in made.names:
        (folder / f"{each}.py").unlink()


def text_of(operations: str, after: str | None = None) -> str:
    """Return the text of a migration."""
    return (
        "from healthstore.schema import *\n"
        f"migration = Migration(after={after!r}, operations=[{operations}])\n"
    )


def state(definitions: Mapping[str, Collection]) -> dict[str, str]:
    """Return the fingerprints of definitions by name."""
    return {name: each.fingerprint for name, each in definitions.items()}


async def test_a_store_that_has_them_all_has_it(db: DatabaseManager, tmp_path: Path) -> None:
    """Its documents stay, the ledger names it from the next upgrade on, and it goes down to zero."""
    folder = write(tmp_path)
    await db.schema.upgrade(1, folder)
    await add(db, "Ann Lee")
    await db.schema.upgrade(directory=folder, allow_loss=True)
    before, history = await rows(db), await db.schema.history(folder)
    squash(folder)
    (told,) = await db.schema.history(folder)
    assert (told.id, told.applied) == (NAME, history[-1].applied)
    assert await db.schema.current() == IDS[-1]
    assert await db.schema.upgrade(directory=folder) == ()
    assert await db.schema.current() == NAME
    assert await rows(db) == before
    assert await db.schema.downgrade(directory=folder, allow_loss=True) == (NAME,)
    assert await catalog(await db.member(db.active)) == {}


async def test_a_store_that_has_none_of_them_gets_it(db: DatabaseManager, tmp_path: Path) -> None:
    """Its definitions are those that the others had led to."""
    folder = write(tmp_path)
    wanted = read_chain(folder).state
    squash(folder)
    assert await db.schema.upgrade(directory=folder) == (NAME,)
    assert state(await catalog(await db.member(db.active))) == state(wanted)


@pytest.mark.parametrize("had", [1, 2, len(IDS) - 1])
async def test_a_store_that_has_a_part_is_refused(
    db: DatabaseManager, tmp_path: Path, had: int
) -> None:
    """It is told where to take it, and nothing is changed."""
    folder = write(tmp_path)
    await db.schema.upgrade(had, folder, allow_loss=True)
    squash(folder)
    with pytest.raises(MigrationError, match=f"has a part of the migrations that '{NAME}'") as told:
        await db.schema.upgrade(directory=folder, allow_loss=True)
    assert IDS[-1] in told.value.hint
    with pytest.raises(MigrationError, match="has a part of"):
        await db.schema.downgrade("zero", folder, allow_loss=True)
    assert await db.schema.current() == IDS[had - 1]
    write(tmp_path)
    (folder / f"{NAME}.py").unlink()
    await db.schema.upgrade(directory=folder, allow_loss=True)
    squash(folder)
    assert await db.schema.upgrade(directory=folder) == ()
    assert await db.schema.current() == NAME


async def test_a_store_in_which_one_of_them_is_under_way_is_refused(
    db: DatabaseManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that was the first one, or is the last one on its way down."""
    folder = write(tmp_path)

    async def broken(*_: object) -> None:
        raise MigrationError("broken by the test")

    for there, target in (("zero", 1), ("head", len(IDS) - 1)):
        await db.schema.upgrade(there, folder, allow_loss=True)
        with monkeypatch.context() as patched:
            patched.setattr(upgrade._Moving, "_step", broken)
            with pytest.raises(MigrationError, match="broken by the test"):
                await db.schema.upgrade(target, folder, allow_loss=True)
        squash(folder)
        with pytest.raises(MigrationError, match="has a part of"):
            await db.schema.upgrade(directory=folder)
        write(tmp_path)
        (folder / f"{NAME}.py").unlink()


async def test_what_followed_the_last_one_follows_it(db: DatabaseManager, tmp_path: Path) -> None:
    """That file stays as it is, applied or not; and the place of all of them can be taken again."""
    folder = write(tmp_path)
    after = text_of("AddField('remarks', 'seen', Boolean(default=False))", IDS[-1])
    await db.schema.upgrade(directory=folder, allow_loss=True)
    (folder / "0090_seen.py").write_text(after, "utf-8")
    squash(folder, last=IDS[-1])
    assert read_chain(folder).ids == (NAME, "0090_seen")
    assert await db.schema.upgrade(directory=folder) == ("0090_seen",)
    squash(folder, name="0090_again")
    assert read_chain(folder).links[0].replaces == (*IDS, NAME, "0090_seen")
    assert await db.schema.upgrade(directory=folder) == ()
    assert await db.schema.current() == "0090_again"


async def test_a_store_may_miss_one_of_two_squashes(db: DatabaseManager, tmp_path: Path) -> None:
    """It has the ids of the files, though the second one replaced the first one, too."""
    folder = write(tmp_path)
    after = text_of("AddField('remarks', 'seen', Boolean(default=False))", IDS[-1])
    (folder / "0090_seen.py").write_text(after, "utf-8")
    await db.schema.upgrade(directory=folder)
    squash(folder, last=IDS[-1])
    squash(folder, name="0090_again")
    assert await db.schema.upgrade(directory=folder) == ()
    assert [each.id for each in (await read_book(await db.member(db.active))).applied] == [
        "0090_again"
    ]


LATER = {
    "0001_a": (
        "CreateCollection(collection('people', "
        "{'name': Text(20), 'old': Text(nullable=True), 'rank': Integer()}))"
    ),
    "0002_b": (
        "AddField('people', 'ward', Text(9, default='east')), DropField('people', 'old'), "
        "CreateCollection(collection('beds', {'name': Text(9)}))"
    ),
    "0003_c": "ChangeField('people', 'name', Text(90)), AddIndex('people', Index('ward'))",
    "0004_d": "DropCollection('beds'), AddUnique('people', Unique('name'))",
}


async def test_a_later_range_is_what_its_migrations_did(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """A store that has none of it, and documents, ends as by one after the other."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    after: str | None = None
    for name, operations in LATER.items():
        (folder / f"{name}.py").write_text(text_of(operations, after), "utf-8")
        after = name
    await db.schema.upgrade(1, folder)
    store = await db.member(db.active)
    row = {"id": UUID(int=1), "version": 1, "name": "Ann", "old": None, "rank": 1}
    await store.execute(Insert((await catalog(store))["people"], (row,)))
    wanted = read_chain(folder).state
    squash(folder, "2", name="0004_later")
    assert await db.schema.upgrade(directory=folder) == ("0004_later",)
    assert state(await catalog(store)) == state(wanted)
    (found,) = await rows(db, "people")
    assert found == {"id": UUID(int=1), "version": 1, "name": "Ann", "ward": "east", "rank": 1}
    assert await db.schema.downgrade(directory=folder, allow_loss=True) == ("0004_later",)
    assert await db.schema.current() == "0001_a"


PEOPLE = "CreateCollection(collection('people', {'name': Text(20, nullable=True)}))"


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("Transform('people', up=lambda row: row)", "", "'0002_b' has a function"),
        ("RenameField('people', 'name', 'label')", "", "'0002_b' renames"),
        (
            "AddField('people', 'ward', Text(default='east'))",
            "ChangeField('people', 'ward', Text(default='west'))",
            "the field people.ward comes and changes",
        ),
        (
            "DropField('people', 'name')",
            "AddField('people', 'name', Text(20, nullable=True))",
            "the field people.name goes and comes again",
        ),
        (
            "DropField('people', 'name'), AddField('people', 'name', Text(20, nullable=True))",
            "",
            "the field people.name goes and comes again",
        ),
        ("DropCollection('people')", PEOPLE, "the collection 'people' goes and comes again"),
    ],
)
def test_a_later_range_that_is_more_than_a_difference_is_refused(
    tmp_path: Path, first: str, second: str, says: str
) -> None:
    """Documents that are there would not end as they should; from the start there are none."""
    (tmp_path / "0001_a.py").write_text(text_of(PEOPLE), "utf-8")
    (tmp_path / "0002_b.py").write_text(text_of(first, "0001_a"), "utf-8")
    (tmp_path / "0003_c.py").write_text(text_of(second, "0002_b"), "utf-8")
    chain = read_chain(tmp_path)
    with pytest.raises(MigrationError, match=says):
        squashed(chain, 2, "head")
    made = squashed(chain, None, "head")
    _, ends = steps_of({}, Migration(made.operations))
    assert state(ends) == state(chain.state)


def test_a_function_of_the_whole_store_is_never_left_out(tmp_path: Path) -> None:
    """It may add documents, also where there were none."""
    (tmp_path / "0001_a.py").write_text(text_of(PEOPLE), "utf-8")
    run = "async def up(documents): await documents.add('people', {'name': 'Ann'})\n"
    (tmp_path / "0002_b.py").write_text(run + text_of("Run(up)", "0001_a"), "utf-8")
    (tmp_path / "0003_c.py").write_text(text_of("", "0002_b"), "utf-8")
    with pytest.raises(MigrationError, match="'0002_b' has a function"):
        squashed(read_chain(tmp_path), None, "head")


def test_one_migration_is_no_range(tmp_path: Path) -> None:
    """Nor is none, nor one that ends with a migration in the place of others."""
    folder = write(tmp_path)
    for first, last in ((None, "1"), ("2", "2"), ("3", "2"), ("zero", "head")):
        with pytest.raises(MigrationError, match="fewer than two migrations"):
            squashed(read_chain(folder), first, last)
    squash(folder, "1", "2", name="0002_both")
    (folder / "0001_before.py").write_text(text_of(""), "utf-8")
    both = folder / "0002_both.py"
    both.write_text(both.read_text("utf-8").replace("Migration(", "Migration(after='0001_before',"))
    with pytest.raises(MigrationError, match="'0002_both' is in the place of others itself"):
        squashed(read_chain(folder), None, "2")


def test_the_files_that_it_replaces_may_still_be_there(tmp_path: Path) -> None:
    """They are passed over, as a command that was killed leaves them."""
    folder = write(tmp_path)
    squash(folder)
    alone = read_chain(folder)
    write(tmp_path)
    assert read_chain(folder) == alone


@settings(deadline=None, max_examples=100)
@given(st.lists(definitions(), min_size=2, max_size=4))
def test_from_the_start_it_leads_where_they_led(releases: Sequence[Collection]) -> None:
    """Whatever the definitions on the way were."""
    links: list[Link] = []
    now: Mapping[str, Collection] = {}
    for number, drawn in enumerate(releases, 1):
        each = replace(drawn, references=())  # no migration here makes what they lead to
        steps, now = steps_of(now, Migration(changes(now, [each])))
        links.append(Link(f"{number:04d}_x", "", tuple(steps), now))
    made = squashed(Chain(Path(), tuple(links)), None, "head")
    _, ends = steps_of({}, Migration(made.operations))
    assert state(ends) == state(now)

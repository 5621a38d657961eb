"""A migration that ends what running programs know: they end first, and nothing of theirs is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from enum import Enum
from pathlib import Path
from textwrap import dedent
from typing import Annotated
from uuid import UUID

import pytest
from tests.faults.conftest import NewDatabase

from healthstore import DatabaseManager, Entity, MaxLength
from healthstore.errors import SchemaMismatchError
from healthstore.model.catalog import CATALOG
from healthstore.model.lease import Lease, leases_of
from healthstore.model.ops import Find
from healthstore.schema import fence

STORES = ("sqlite", "postgresql", "mysql", "mariadb", "mongodb", "mongodb-rs")
ROWS = 300
FILES = {
    "0001_people": """
        from healthstore.schema import CreateCollection, Instant, Integer, Migration, Text
        from healthstore.schema import collection

        people = {"created_at": Instant(), "updated_at": Instant(), "name": Text(100)}
        migration = Migration(operations=[
            CreateCollection(collection("people", people | {"visits": Integer(default=0)})),
        ])
    """,
    "0002_split": """
        from healthstore.schema import AddField, DropField, Migration, Text, Transform

        def up(row):
            first, _, last = row["name"].partition(" ")
            return row | {"first": first, "last": last}

        def down(row):
            return row | {"name": f"{row['first']} {row['last']}"}

        migration = Migration(
            after="0001_people",
            operations=[
                AddField("people", "first", Text(100, nullable=True)),
                AddField("people", "last", Text(100, nullable=True)),
                Transform("people", up=up, down=down, idempotent=True),
                DropField("people", "name"),
            ],
        )
    """,
    "0003_shorter": """
        from healthstore.schema import ChangeField, Migration, Text

        migration = Migration(
            after="0002_split", operations=[ChangeField("people", "first", Text(20, nullable=True))]
        )
    """,
}


class Person(Entity, collection="people"):
    """The people of the first release."""

    name: Annotated[str, MaxLength(100)]
    visits: int = 0


class Split(Entity, collection="people"):
    """The people of the second release."""

    first: Annotated[str, MaxLength(100)] | None = None
    last: Annotated[str, MaxLength(100)] | None = None
    visits: int = 0


def write(folder: Path) -> Path:
    """Write the migrations into a folder, and return it."""
    migrations = folder / "migrations"
    migrations.mkdir()
    for name, text in FILES.items():
        (migrations / f"{name}.py").write_text(dedent(text), "utf-8")
    return migrations


async def url_of(store: str, new_database: NewDatabase, folder: Path) -> str:
    """Return the URL of a new database."""
    return f"sqlite:///{folder}/store.db" if store == "sqlite" else await new_database(store)


async def leases(db: DatabaseManager) -> list[Lease]:
    """Return the leases that programs hold on the active store."""
    store = await db.member(db.active)
    return [each for each, _ in leases_of(await store.execute(Find(CATALOG, limit=1_000)))]


async def leased(db: DatabaseManager, count: int) -> None:
    """Wait until so many programs hold a lease."""
    async with asyncio.timeout(10):
        while len(await leases(db)) != count:  # noqa: ASYNC110 - it is in the database
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("store", STORES)
async def test_nothing_that_an_old_program_writes_is_lost(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """What it wrote while a function ran over the documents is in the fields that the function gives."""
    folder, url = write(tmp_path), await url_of(store, new_database, tmp_path)
    async with DatabaseManager(url) as old, DatabaseManager(url) as new:
        await new.schema.upgrade(1, folder)
        people = old.repository(Person)
        added = [Person(name=f"Ann{at} Lee") for at in range(ROWS)]
        assert not (await people.add_many(added, mode="best_effort")).errors
        acknowledged = {each.id: each.name for each in added}
        await leased(new, 2)

        async def works(program: int) -> None:
            for turn in range(100_000):
                one = added[(turn * 7 + program) % len(added)]
                if turn % 3:
                    changed = await people.update(one.id, {"name": f"Bea{turn} Fox{program}"})
                    acknowledged[changed.id] = changed.name
                else:
                    made = await people.add(Person(name=f"Eve{turn} Roe{program}"))
                    acknowledged[made.id] = made.name

        programs = [asyncio.create_task(works(each)) for each in range(3)]
        await asyncio.sleep(0.3)
        await new.schema.upgrade("0002_split", folder, allow_loss=True)
        ends = await asyncio.wait_for(asyncio.gather(*programs, return_exceptions=True), 10)
        assert all(isinstance(each, SchemaMismatchError) for each in ends), ends
        found = {
            each.id: f"{each.first} {each.last}" async for each in new.repository(Split).stream()
        }
        assert found == acknowledged


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("instead", ["", None])
async def test_what_an_old_program_writes_is_there_when_it_is_looked_at_whether_it_fits(
    store: str, instead: str | None, new_database: NewDatabase, tmp_path: Path
) -> None:
    """It ends before values that do not fit are replaced: they need no second look."""
    folder, url = write(tmp_path), await url_of(store, new_database, tmp_path)
    (folder / "0003_shorter.py").unlink()
    (folder / "0002_split.py").write_text(
        dedent(f"""
        from healthstore.schema import ChangeField, Migration, Text

        form = Text(10, nullable={instead is None})
        migration = Migration(
            after="0001_people",
            operations=[ChangeField("people", "name", form, otherwise={instead!r})],
        )
        """)
    )

    class Shorter(Entity, collection="people"):
        name: Annotated[str, MaxLength(10)] | None
        visits: int = 0

    class ShorterAndThere(Entity, collection="people"):
        name: Annotated[str, MaxLength(10)]
        visits: int = 0

    async with DatabaseManager(url) as old, DatabaseManager(url) as new:
        await new.schema.upgrade(1, folder)
        people = old.repository(Person)
        added = [Person(name=f"Ann{at}{' Lee' * (at % 3)}") for at in range(ROWS)]
        assert not (await people.add_many(added, mode="best_effort")).errors
        acknowledged = {each.id: each.name for each in added}
        await leased(new, 2)

        async def works(program: int) -> None:
            for turn in range(100_000):
                one = added[(turn * 7 + program) % len(added)]
                name = f"Bea{turn}{' Fox' * (turn % 4)}"
                changed = await people.update(one.id, {"name": name})
                acknowledged[changed.id] = changed.name
                made = await people.add(Person(name=name))
                acknowledged[made.id] = made.name

        programs = [asyncio.create_task(works(each)) for each in range(3)]
        await asyncio.sleep(0.2)
        await new.schema.upgrade(directory=folder, allow_loss=True)
        ends = await asyncio.wait_for(asyncio.gather(*programs, return_exceptions=True), 10)
        assert all(isinstance(each, SchemaMismatchError) for each in ends), ends
        entity = Shorter if instead is None else ShorterAndThere
        found = {each.id: each.name async for each in new.repository(entity).stream()}
        wanted = acknowledged.items()
        assert found == {one: name if len(name) <= 10 else instead for one, name in wanted}


@pytest.mark.parametrize("store", STORES)
async def test_a_program_that_was_served_goes_on(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Who does not know what is dropped writes before, while and after it goes."""
    folder, url = write(tmp_path), await url_of(store, new_database, tmp_path)
    (folder / "0002_split.py").write_text(
        dedent("""
        from healthstore.schema import ChangeField, DropField, Migration, Text

        migration = Migration(after="0001_people", operations=[DropField("people", "visits")])
        """)
    )
    (folder / "0003_shorter.py").unlink()

    class Later(Entity, collection="people"):
        name: Annotated[str, MaxLength(100)]

    async with DatabaseManager(url) as served, DatabaseManager(url) as new:
        await new.schema.upgrade(1, folder)
        people = served.repository(Later)
        done: set[UUID] = set()
        applied = False

        async def works() -> None:
            after = 20
            while after:
                done.add((await people.add(Later(name="Ann Lee"))).id)
                after -= applied

        program = asyncio.create_task(works())
        await leased(new, 2)
        await new.schema.upgrade(directory=folder, allow_loss=True)
        applied = True
        await program
        assert {each.id async for each in new.repository(Later).stream()} == done


class Mood(Enum):
    """Of the first release."""

    BAD = "bad"


class More(Enum):
    """Of the second one."""

    BAD = "bad"
    GOOD = "good"


class Day(Entity, collection="days"):
    mood: Mood


class LaterDay(Entity, collection="days"):
    mood: More


@pytest.mark.parametrize("store", STORES)
async def test_who_could_not_read_what_is_new_ends_before_it_is_written(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """A new member of an enum is met by no program that does not know it."""
    url = await url_of(store, new_database, tmp_path)
    async with DatabaseManager(url) as old, DatabaseManager(url) as new:
        await old.initialize(Day)
        days = old.repository(Day)
        await days.add(Day(mood=Mood.BAD))
        await new.schema.evolve(LaterDay)
        good = await new.repository(LaterDay).add(LaterDay(mood=More.GOOD))
        for call in (days.get(good.id), days.find(), days.add(Day(mood=Mood.BAD))):
            with pytest.raises(SchemaMismatchError):
                await call


_PROGRAM = """
import asyncio, sys
from typing import Annotated
from healthstore import DatabaseManager, Entity, MaxLength

class Person(Entity, collection="people"):
    name: Annotated[str, MaxLength(100)]
    visits: int = 0

async def main():
    async with DatabaseManager(sys.argv[1]) as db:
        await db.repository(Person).add(Person(name="Ann Lee"))
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("store", STORES[:2])
async def test_a_program_that_was_killed_is_not_waited_for(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Of one of this machine it is known at once; of another, when its lease has ended."""
    folder, url = write(tmp_path), await url_of(store, new_database, tmp_path)
    async with DatabaseManager(url) as db:
        await db.schema.upgrade(1, folder)
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _PROGRAM, url), stdout=asyncio.subprocess.PIPE
        )
        assert program.stdout is not None
        assert await program.stdout.readline() == b"ready\n"
        await leased(db, 2)
        os.kill(program.pid, signal.SIGKILL)
        await program.wait()
        async with asyncio.timeout(8):
            await db.schema.upgrade(2, folder, allow_loss=True)
        assert len(await leases(db)) == 1


async def test_a_stopped_program_is_waited_for_until_its_lease_ends(
    new_database: NewDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It wakes to a store that has gone on, and is refused: it reads the catalog again first."""
    folder, url = write(tmp_path), await new_database("postgresql")
    monkeypatch.setattr(fence, "LEASE_SECONDS", 3.5)
    async with DatabaseManager(url) as db:
        await db.schema.upgrade(1, folder)
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _PROGRAM, url), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert program.stdout is not None
            assert await program.stdout.readline() == b"ready\n"
            await leased(db, 2)
            os.kill(program.pid, signal.SIGSTOP)
            loop = asyncio.get_running_loop()
            began = loop.time()
            await db.schema.upgrade(2, folder, allow_loss=True)
            assert loop.time() - began >= 3.5
            assert f"people waits for process {program.pid} on" in caplog.text
        finally:
            os.kill(program.pid, signal.SIGKILL)
            await program.wait()


@pytest.mark.parametrize("store", STORES)
async def test_who_cannot_be_served_later_is_served_again_when_it_was_refused(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """A change that documents stand against ends no program."""
    folder, url = write(tmp_path), await url_of(store, new_database, tmp_path)
    async with DatabaseManager(url) as old, DatabaseManager(url) as new:
        await new.schema.upgrade(2, folder)
        people = old.repository(Split)
        long = await people.add(Split(first="x" * 30))
        with pytest.raises(SchemaMismatchError, match="1 document"):
            await new.schema.upgrade(directory=folder)
        await people.update(long.id, {"first": "x"})
        assert await new.schema.upgrade(directory=folder) == ("0003_shorter",)
        with pytest.raises(SchemaMismatchError):
            await people.add(Split(first="y" * 30))
        with pytest.raises(SchemaMismatchError):
            await people.count()

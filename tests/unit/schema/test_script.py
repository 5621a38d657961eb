"""``db.schema.sql``: a script that somebody else runs does what upgrade would do."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.schema import releases

from healthstore import DatabaseManager
from healthstore.errors import CapabilityError, ConfigurationError, MigrationError
from healthstore.schema.files import read_chain
from healthstore.schema.offline import asking
from healthstore.schema.script import script
from healthstore.transfer.selection import catalog

FIRST, SECOND, THIRD, *_ = releases.FILES


def run(file: Path, text: str) -> None:
    """Run a script as any program for SQLite would."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(text)


async def test_a_script_makes_what_upgrade_makes(tmp_path: Path) -> None:
    """An empty file gets the tables and the catalog; stamped, it goes on with what has functions."""
    folder = releases.write(tmp_path)
    chain, file = read_chain(folder), tmp_path / "by_hand.db"
    run(file, await script(chain, 0, 2, asking("sqlite")))
    async with (
        DatabaseManager(f"sqlite:///{file}") as by_hand,
        DatabaseManager(f"sqlite:///{tmp_path}/upgraded.db") as upgraded,
    ):
        await by_hand.schema.stamp(SECOND, folder)
        assert await by_hand.schema.current() == SECOND
        await by_hand.schema.upgrade("head", folder)
        await upgraded.schema.upgrade("head", folder)
        states = [await catalog(await db.member(db.active)) for db in (by_hand, upgraded)]
        assert states[0] == states[1] == chain.state


async def test_it_begins_where_the_store_is(tmp_path: Path) -> None:
    """Up and down; renamed collections are known by their new names, and to those that refer."""
    folder, file = releases.write(tmp_path), tmp_path / "one.db"
    chain = read_chain(folder)
    async with DatabaseManager(f"sqlite:///{file}") as db:
        await db.schema.upgrade("0004", folder)
        up = await db.schema.sql(directory=folder)
        assert up == await script(chain, 4, 5, asking("sqlite"))
        assert await db.schema.current() == "0004_codes_are_unique"  # nothing was run
    run(file, up)
    async with DatabaseManager(f"sqlite:///{file}") as db:
        await db.schema.stamp("head", folder)
        assert await catalog(await db.member(db.active)) == chain.state
        down = await db.schema.sql("0004", folder)
    run(file, down)
    async with DatabaseManager(f"sqlite:///{file}") as db:
        await db.schema.stamp("0004", folder)
        assert await catalog(await db.member(db.active)) == chain.links[3].state
        assert await db.schema.downgrade("0002", folder) == (
            "0004_codes_are_unique",
            "0003_split_the_name",
        )


async def test_a_function_is_in_no_script(tmp_path: Path) -> None:
    """In the place of its migration it says how to go on; nothing of that is run."""
    chain = read_chain(releases.write(tmp_path))
    text = await script(chain, 2, 3, asking("postgresql"))
    assert [line for line in text.splitlines() if line and not line.startswith("--")] == []
    for line in (f"-- healthstore schema stamp {SECOND}", f"-- healthstore schema upgrade {THIRD}"):
        assert line in text.splitlines()
    text = await script(chain, 3, 2, asking("postgresql"))
    assert f"-- healthstore schema downgrade {SECOND}" in text.splitlines()


async def test_nothing_to_do_runs_nothing(tmp_path: Path) -> None:
    """A script from a place to itself is what lets the store know, as a comment."""
    chain = read_chain(releases.write(tmp_path))
    text = await script(chain, 5, 5, asking("mysql"))
    assert all(line.startswith("--") for line in text.splitlines())


async def test_what_has_no_script_is_refused(tmp_path: Path) -> None:
    """A store that is changed by no statements, a kind that is unknown, a migration that is."""
    folder = releases.write(tmp_path)
    with pytest.raises(CapabilityError, match="not changed by a script"):
        await script(read_chain(folder), 0, 1, asking("mongodb"))
    with pytest.raises(
        CapabilityError, match="not changed by a script"
    ):  # it begins with a function
        await script(read_chain(folder), 2, 3, asking("mongodb"))
    with pytest.raises(ConfigurationError, match="use one of"):
        asking("oracle")
    async with DatabaseManager("memory://") as db:
        with pytest.raises(CapabilityError):
            await db.schema.sql(directory=folder)
        with pytest.raises(MigrationError):
            await db.schema.sql("0009", folder)

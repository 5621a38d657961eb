"""A store on a real server is taken to nothing and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults.conftest import NewDatabase
from tests.unit.schema.releases import FILES, write
from tests.unit.schema.test_reset import CIRCLE
from tests.unit.schema.test_upgrade import add, rows

from healthstore import DatabaseManager
from healthstore.transfer.selection import catalog


@pytest.mark.parametrize("store", ["postgresql", "mongodb-rs"])
async def test_every_collection_goes_and_comes_again(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Also those that refer to each other in a circle, and without files nothing comes."""
    folder = write(tmp_path)
    (circle := tmp_path / "circle").mkdir()
    (circle / "0001_circle.py").write_text(CIRCLE, "utf-8")
    async with DatabaseManager(members={"main": await new_database(store)}) as db:
        await db.schema.upgrade(1, folder)
        await add(db, "Ann Lee", "Bob Fox")
        done = await db.schema.reset("main", folder)
        assert (done.rows, done.applied) == (4, tuple(FILES))
        assert await rows(db) == []
        assert (await db.schema.reset("main", circle)).applied == ("0001_circle",)
        assert set(await catalog(await db.member("main"))) == {"wards", "nurses"}
        assert (await db.schema.reset("main", tmp_path / "none")).applied == ()
        assert await catalog(await db.member("main")) == {}
        assert await db.schema.current() is None

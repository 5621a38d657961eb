"""A function of a whole store in a migration: what it does and that it was done are one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import UUID

import pytest

from healthstore import DatabaseManager
from healthstore.adapters.memory import MemoryAdapter
from healthstore.errors import (
    BackendError,
    CapabilityError,
    DuplicateKeyError,
    HealthstoreError,
    MigrationError,
)
from healthstore.model.ops import Find, Insert
from healthstore.schema.files import read_chain
from healthstore.schema.upgrade import move
from healthstore.testing.faults import Faults
from healthstore.transfer.selection import catalog

from .releases import write
from .test_upgrade import URLS, add, rows

IDS = ("0001_patients", "0002_wards")
WARDS = '''
    """Wards are a collection."""
    from healthstore.schema import *

    async def up(documents):
        ids = {}
        async for row in documents.rows("patients"):
            first = row["name"][0]
            if first not in ids:
                (ids[first],) = await documents.add("wards", {"name": first})
            await documents.replace("patients", row | {"ward": ids[first]})
        assert await documents.count("wards") == len(ids)

    async def down(documents):
        async for row in documents.rows("patients", F.visits >= 0):
            ward = await documents.get("wards", row["ward"])
            await documents.replace("patients", row | {"code": ward["name"], "ward": None})
            if await documents.count("patients", F.ward == ward["id"]) == 0:
                assert await documents.delete("wards", ward["id"]) == 1

    migration = Migration(after="0001_patients", operations=[
        CreateCollection(collection("wards", {"name": Text(20)}, uniques=[Unique("name")])),
        AddField("patients", "ward", Uuid(nullable=True)),
        AddReference("patients", Reference("ward", "wards")),
        Run(up, down),
    ])
'''


@pytest.fixture(params=URLS, ids=["memory", "sqlite"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseManager]:
    """Return an opened manager of an empty store."""
    async with DatabaseManager(request.param.format(tmp_path)) as manager:
        yield manager


def wards(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """Write the migrations, with some changes of the second one's text."""
    folder = write(tmp_path, IDS[0])
    text = dedent(WARDS).lstrip()
    for one, other in changes:
        assert one in text
        text = text.replace(one, other)
    (folder / "0002_wards.py").write_text(text, "utf-8")
    return folder


async def test_a_collection_is_filled_from_another_one(db: DatabaseManager, tmp_path: Path) -> None:
    """It reads what it wrote, is kept to the keys, and is taken back by the other function."""
    folder = wards(tmp_path)
    await db.schema.upgrade(1, folder)
    await add(db, "Ann Lee", "Al Ray", "Bob Fox")
    assert await db.schema.upgrade(directory=folder) == IDS[1:]
    found = {each["id"]: each["name"] for each in await rows(db, "wards")}
    assert sorted(found.values()) == ["A", "B"]
    assert [found[each["ward"]] for each in await rows(db)] == ["A", "A", "B"]
    assert [each["version"] for each in await rows(db)] == [2, 2, 2]
    await db.schema.downgrade(directory=folder, allow_loss=True)
    assert [each["code"] for each in await rows(db)] == ["A", "A", "B"]
    assert "wards" not in await catalog(await db.member(db.active))


async def test_what_fails_has_done_nothing_and_can_be_mended(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """The error names the migration and not a value; mended, it goes on from that step."""
    folder = wards(tmp_path, ("    assert", "    raise ValueError(row['name'])\n    assert"))
    await db.schema.upgrade(1, folder)
    await add(db, "Ann Lee")
    with pytest.raises(MigrationError, match=r"'0002_wards'.* raised ValueError") as error:
        await db.schema.upgrade(directory=folder)
    assert "Ann" not in str(error.value)
    assert await rows(db, "wards") == []
    wards(tmp_path, ('{"name": first})', '{"name": "one"})'))
    await add_more(db, "Bob Fox")
    with pytest.raises(DuplicateKeyError, match="'0002_wards'"):
        await db.schema.upgrade(directory=folder)
    assert await rows(db, "wards") == []
    wards(tmp_path)
    assert await db.schema.upgrade(directory=folder) == IDS[1:]
    assert len(await rows(db, "wards")) == 2


async def add_more(db: DatabaseManager, name: str) -> None:
    """Add a patient while the migration is half done."""
    store = await db.member(db.active)
    (first,) = await store.execute(Find((await catalog(store))["patients"]))
    other = {**first, "id": UUID(int=77), "name": name}
    await store.execute(Insert((await catalog(store))["patients"], (other,)))


async def test_what_is_cut_short_is_done_once(tmp_path: Path) -> None:
    """Broken at any request, the next one ends with the same rows as one that was not."""
    kinds = ("get", "find", "replace", "alter", "countdocuments", "commit", "insert", "ensure")
    for at in range(60):
        broken = False
        place = tmp_path / str(at)
        place.mkdir()
        folder, faults = wards(place), Faults()
        async with DatabaseManager(f"sqlite:///{place}/s.db", layers=[faults.layer]) as db:
            await db.schema.upgrade(1, folder)
            await add(db, "Ann Lee", "Bob Fox")
            faults.fail(*kinds, after=at, times=1, error=BackendError("cut short"))
            try:
                await db.schema.upgrade(directory=folder)
            except HealthstoreError:
                broken = True
            faults.clear()
            await db.schema.upgrade(directory=folder, wait=40)
            assert len(await rows(db, "wards")) == 2
            assert [each["version"] for each in await rows(db)] == [2, 2]
        if not broken:
            assert at > 5
            return
    raise AssertionError("every run was broken")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("async def up", "def up"), "cannot be read|not asynchronous"),
        (('documents.rows("patients")', 'documents.rows("nope")'), "no collection 'nope'"),
        (("Run(up, down)", "Run(up)"), "has no function for this direction"),
    ],
)
async def test_a_wrong_function_is_told(
    db: DatabaseManager, tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    """It is refused with the migration's name."""
    folder = wards(tmp_path, change)

    async def up_and_down() -> None:
        await db.schema.upgrade(directory=folder)
        await db.schema.downgrade(directory=folder)

    with pytest.raises(HealthstoreError, match=says):
        await up_and_down()


async def test_a_store_without_transactions_wants_the_word(tmp_path: Path) -> None:
    """A function that may be called twice says so."""

    class Plain(MemoryAdapter):
        capabilities = replace(MemoryAdapter.capabilities, transactions=False, references=False)

    folder = write(tmp_path, IDS[0], references=False)
    text = dedent("""
        from healthstore.schema import *
        async def up(documents):
            ann, bob = await documents.add("patients", {"name": "Ann"}, {"name": "Bob"})
            await documents.delete("patients", bob, bob)
        migration = Migration(after="0001_patients", operations=[Run(up)])
    """)
    (folder / "0002_wards.py").write_text(text, "utf-8")
    store: Any = Plain("plain")
    await store.open()
    with pytest.raises(CapabilityError, match="a Run needs transactions"):
        await move(store, read_chain(folder), "head", allow_loss=False, wait=0)
    (folder / "0002_wards.py").write_text(
        text.replace("Run(up)", "Run(up, idempotent=True)"), "utf-8"
    )
    await move(store, read_chain(folder), "head", allow_loss=False, wait=0)
    (row,) = await store.execute(Find((await catalog(store))["patients"]))
    assert (row["name"], row["visits"], row["version"]) == ("Ann", 0, 1)
    await store.close()

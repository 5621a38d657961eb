"""What a backup replaces: an older backup, and no other file."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.transfer.samples import PEOPLE, Watched, opened, person

from healthstore import DatabaseManager, Entity
from healthstore.errors import BackupError
from healthstore.transfer import TransferEvent, backup


class Note(Entity, collection="notes"):
    text: str


class Weight(Entity, collection="weights"):
    grams: int


def listed(path: Path) -> list[str]:
    """Return the names in a directory."""
    return sorted(each.name for each in path.iterdir())


async def filled(path: Path) -> None:
    """Make a database with a note and a weight, and close it."""
    async with DatabaseManager(f"sqlite:///{path}") as db:
        await db.initialize(Note, Weight)
        await db.repository(Note).add(Note(text="slept well"))
        await db.repository(Weight).add(Weight(grams=1))


async def test_a_backup_never_replaces_a_database(tmp_path: Path) -> None:
    """Neither its source nor another one, open or closed; all their documents stay."""
    own, other, link = tmp_path / "own.db", tmp_path / "other.db", tmp_path / "link"
    await filled(own)
    await filled(other)
    link.symlink_to(own)
    async with DatabaseManager(f"sqlite:///{own}") as db:
        for path in (own, other, link, *(Path(f"{own}-{each}") for each in ("wal", "shm"))):
            with pytest.raises(BackupError, match="no backup") as refused:
                await db.backup(path, [Note])
            assert "another path" in refused.value.hint
        await db.repository(Weight).add(Weight(grams=2))
    for path, weights in ((own, 2), (other, 1)):
        async with DatabaseManager(f"sqlite:///{path}") as db:
            assert await db.repository(Weight).count() == weights
    assert listed(tmp_path) == ["link", "other.db", "own.db"]


@pytest.mark.parametrize(
    "content",
    [b"x", b"{}", b'{"format":"healthstore.other","version":1}', b"\0" * 4096, b'{"format"'],
)
async def test_any_other_file_stays(tmp_path: Path, content: bytes) -> None:
    """What does not begin as a backup does is not replaced, and nothing is laid beside it."""
    path = tmp_path / "notes.json"
    path.write_bytes(content)
    with pytest.raises(BackupError, match="no backup"):
        await backup(await opened("source", (PEOPLE, [person(0)])), path)
    assert path.read_bytes() == content
    assert listed(tmp_path) == ["notes.json"]


async def test_an_empty_file_is_replaced(tmp_path: Path) -> None:
    """As those are that a program made to reserve a name."""
    path = tmp_path / "notes.json"
    path.touch()
    source = await opened("source", (PEOPLE, [person(0)]))
    await backup(source, path)
    assert (await backup(source, path)).rows == 1


async def test_a_file_that_came_meanwhile_stays(tmp_path: Path) -> None:
    """It is looked at again before the backup takes its name."""
    path = tmp_path / "notes.json"

    def meanwhile(_: TransferEvent) -> None:
        path.write_bytes(b"mine")

    with pytest.raises(BackupError, match="no backup"):
        await backup(
            Watched(await opened("source", (PEOPLE, [person(0)]))), path, on_event=meanwhile
        )
    assert path.read_bytes() == b"mine"
    assert listed(tmp_path) == ["notes.json"]

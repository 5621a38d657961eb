"""Where requests are sent together, and how that is switched off."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from healthstore import DatabaseManager, Entity
from healthstore.abc import Backend, Layer
from healthstore.config.read import read_settings
from healthstore.model.ops import Get, Op
from healthstore.repository import Repository

R = TypeVar("R")


class Note(Entity, collection="notes"):
    text: str


class Wire(Layer):
    """Notes how many ids each read of notes has that reaches the store."""

    rank: ClassVar[int] = 120
    part_of_store: ClassVar[bool] = True
    sizes: ClassVar[list[int]]

    async def execute(self, op: Op[R]) -> R:
        """Run the operation below."""
        if isinstance(op, Get) and op.collection.name == "notes":
            self.sizes.append(len(op.ids))
        return await self.inner.execute(op)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes that a test's wire has seen, in order."""
    sizes: list[int] = []
    monkeypatch.setattr(Wire, "sizes", sizes, raising=False)
    return sizes


async def read_at_once(notes: Repository[Note]) -> None:
    """Read twenty notes, each in a task of its own."""
    made = [await notes.add(Note(text=str(number))) for number in range(20)]
    found = await asyncio.gather(*(notes.get(each.id) for each in made))
    assert found == made


async def test_a_manager_sends_together(tmp_path: Path, sizes: list[int]) -> None:
    """Twenty reads are three requests: two that find the lane free, and one for all others."""
    async with DatabaseManager(f"sqlite:///{tmp_path}/a.db", layers=[Wire]) as db:
        await db.initialize(Note)
        await read_at_once(db.repository(Note))
        (counted,) = [each for each in db.statistics() if each.operation == "get"]
    assert sizes == [1, 1, 18]
    assert counted.count == 20, "callers are counted, not requests"


async def test_a_manager_can_send_each_by_itself(tmp_path: Path, sizes: list[int]) -> None:
    """With ``coalesce=False`` each call is a request."""
    url = f"sqlite:///{tmp_path}/a.db"
    async with DatabaseManager(url, layers=[Wire], coalesce=False) as db:
        await db.initialize(Note)
        await read_at_once(db.repository(Note))
    assert sizes == [1] * 20


async def test_a_repository_can_send_each_by_itself(tmp_path: Path, sizes: list[int]) -> None:
    """Of one repository each call is a request; those of another one go together."""
    async with DatabaseManager(f"sqlite:///{tmp_path}/a.db", layers=[Wire]) as db:
        await db.initialize(Note)
        await read_at_once(db.repository(Note, coalesce=False))
        assert sizes == [1] * 20
        await read_at_once(db.repository(Note))
    assert sizes[20:] == [1, 1, 18]


async def test_transfers_go_around_it(tmp_path: Path, sizes: list[int]) -> None:
    """What a transfer asks a member for is its own."""
    async with DatabaseManager(f"sqlite:///{tmp_path}/a.db", layers=[Wire]) as db:
        await db.initialize(Note)
        made = [await db.repository(Note).add(Note(text=str(number))) for number in range(20)]
        member = await db.member("sqlite")
        ops: list[Get] = [Get(db.repository(Note).collection, (each.id,)) for each in made]
        await asyncio.gather(*(member.execute(op) for op in ops))
    assert sizes == [1] * 20


def said(**environ: str) -> list[bool]:
    """Return what the settings say of each member."""
    loaded: Any = read_settings(environ=environ, file=Path("healthstore.toml"))
    return [each.coalesce for each in loaded.settings.members]


def test_it_is_switched_off_by_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the file, for all members or one, and by variables, which go before the file."""
    monkeypatch.chdir(tmp_path)
    members = '[[members]]\nurl = "memory://"\n[[members]]\nurl = "sqlite:///a.db"\n'
    file = Path("healthstore.toml")
    file.write_text(members)
    assert said() == [True, True]
    assert said(HEALTHSTORE_COALESCE="false") == [False, False]
    assert said(HEALTHSTORE_MEMBERS__SQLITE__COALESCE="false") == [True, False]
    file.write_text(f"coalesce = false\n{members}coalesce = true\n")
    assert said() == [False, True]
    assert said(HEALTHSTORE_COALESCE="true") == [True, True]


def test_the_layer_is_left_out(tmp_path: Path) -> None:
    """A manager that is told so has no such layer at all: nothing is paid for it."""

    def layers(db: DatabaseManager) -> list[str]:
        backend: Backend = db._failover.members["sqlite"]
        found: list[str] = []
        while isinstance(backend, Layer):
            found.append(type(backend).__name__)
            backend = backend.inner
        return found

    url = f"sqlite:///{tmp_path}/a.db"
    assert layers(DatabaseManager(url))[-2:] == ["CatalogLayer", "CoalesceLayer"]
    assert layers(DatabaseManager(url, coalesce=False))[-1] == "CatalogLayer"

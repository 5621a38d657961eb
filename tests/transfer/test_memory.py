"""Memory: what a transfer holds does not grow with what it moves."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.unit.transfer.samples import identity

from healthstore.abc import Backend
from healthstore.abc.registry import connect
from healthstore.abc.url import BackendURL
from healthstore.model.ops import Ensure, Insert
from healthstore.model.schema import Collection, Field, Reference
from healthstore.model.values import Document, FieldType, Kind
from healthstore.transfer import backup, load, migrate, restore, verify

NOTES = Collection(
    "notes",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("text", FieldType(Kind.TEXT)),
        Field("next", FieldType(Kind.UUID), nullable=True),
    ),
    references=(Reference("next", "notes"),),
)
# Even the few are several full pages.
_FEW, _MANY = 4_000, 16_000


@asynccontextmanager
async def store(path: Path) -> AsyncGenerator[Backend, None]:
    """Lend an open SQLite store."""
    backend = connect(BackendURL.parse(f"sqlite:///{path}"), path.stem)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def note(number: int, following: int | None = None) -> Document:
    """Return a note of 2 kB that refers to another one."""
    later = None if following is None else identity(following)
    return {"id": identity(number), "version": 1, "text": f"{number:2000}", "next": later}


async def filled(path: Path, count: int) -> None:
    """Make a SQLite file of notes that all refer to the last one: those references must wait."""
    async with store(path) as backend:
        await backend.execute(Ensure((NOTES,)))
        await backend.execute(Insert(NOTES, (note(count),)))
        for start in range(0, count, 1_000):
            rows = tuple(note(number, count) for number in range(start, start + 1_000))
            await backend.execute(Insert(NOTES, rows))


async def peak(work: Callable[[], Awaitable[object]]) -> int:
    """Return the most bytes that Python held during some work, beyond what it held before."""
    tracemalloc.start()
    try:
        await work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _converted(values: Mapping[str, object]) -> Document:
    return note(int(str(values["number"])))


def _write(path: Path, count: int) -> None:
    with path.open("w") as file:
        for number in range(count):
            file.write(f'{{"number": {number}}}\n')


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["migrate", "verify", "backup", "restore", "load"])
async def test_memory_does_not_grow_with_the_number_of_documents(tmp_path: Path, verb: str) -> None:
    """Four times the documents take no more memory, but for a page that a thread still holds."""
    few = max([await _peak_of(verb, tmp_path / f"few{turn}", _FEW) for turn in range(3)])
    many = await _peak_of(verb, tmp_path / "many", _MANY)
    assert many < 1.5 * few
    assert many < 40_000_000


async def _peak_of(verb: str, folder: Path, count: int) -> int:
    """Return the peak of one verb over so many documents."""
    await asyncio.to_thread(folder.mkdir)
    await filled(folder / "source.db", count)
    file, rows = folder / "backup.json", folder / "rows.jsonl"
    async with store(folder / "source.db") as source, store(folder / "target.db") as target:
        if verb == "verify":
            await migrate(source, target)
        elif verb == "restore":
            await backup(source, file)
        elif verb == "load":
            _write(rows, count)
        works: dict[str, Callable[[], Awaitable[object]]] = {
            "migrate": lambda: migrate(source, target),
            "verify": lambda: verify(source, target),
            "backup": lambda: backup(source, file),
            "restore": lambda: restore(file, target),
            "load": lambda: load(rows, NOTES, target, _converted),
        }
        return await peak(works[verb])

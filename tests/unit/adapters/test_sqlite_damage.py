"""A damaged SQLite file is called damaged, however it is damaged."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import pytest

from healthstore.adapters.sql.sqlite import SqliteAdapter
from healthstore.errors import Condition, HealthstoreError
from healthstore.model.ops import CountDocuments, Ensure, Find, Insert, Op
from healthstore.testing.contract._samples import EVERYTHING, every_row, everything

PAGE = 4_096
Damage: TypeAlias = Callable[[bytearray, random.Random], None]


def _cut(raw: bytearray, dice: random.Random) -> None:
    del raw[dice.randrange(100, len(raw)) :]


def _blank_page(raw: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(raw) // PAGE) * PAGE
    raw[start : start + PAGE] = bytes(PAGE)


def _random_page(raw: bytearray, dice: random.Random) -> None:
    start = dice.randrange(1, len(raw) // PAGE) * PAGE
    raw[start : start + PAGE] = dice.randbytes(PAGE)


def _random_header(raw: bytearray, dice: random.Random) -> None:
    raw[:100] = dice.randbytes(100)


def _random_schema(raw: bytearray, dice: random.Random) -> None:
    raw[100:200] = dice.randbytes(100)


def _kinds_of_pages(raw: bytearray, dice: random.Random) -> None:
    for start in range(PAGE, len(raw), PAGE):
        raw[start] = dice.randrange(256)


def _cells_of_pages(raw: bytearray, dice: random.Random) -> None:
    for start in range(PAGE, len(raw), PAGE):
        raw[start + 3 : start + 8] = dice.randbytes(5)


def _swapped_pages(raw: bytearray, dice: random.Random) -> None:
    one, other = (place * PAGE for place in dice.sample(range(1, len(raw) // PAGE), 2))
    raw[one : one + PAGE], raw[other : other + PAGE] = (
        raw[other : other + PAGE],
        raw[one : one + PAGE],
    )


def _scattered_bytes(raw: bytearray, dice: random.Random) -> None:
    for _ in range(len(raw) // 100):
        raw[dice.randrange(len(raw))] = dice.randrange(256)


def _flipped_bits(raw: bytearray, dice: random.Random) -> None:
    for _ in range(3_000):
        raw[dice.randrange(4 * PAGE, len(raw))] ^= 1 << dice.randrange(8)


DAMAGES = (
    *(_cut, _blank_page, _random_page, _random_header, _random_schema),
    *(_kinds_of_pages, _cells_of_pages, _swapped_pages, _scattered_bytes, _flipped_bits),
)


async def make(path: Path) -> None:
    """Make a file with values of every kind."""
    backend = SqliteAdapter("sqlite", path)
    await backend.open()
    await backend.execute(Ensure((EVERYTHING,)))
    await backend.execute(Insert(EVERYTHING, tuple(every_row(200))))
    await backend.close()


def damaged(path: Path, damage: Damage, seed: int) -> Path:
    """Return the path of a copy that is damaged in some way."""
    raw = bytearray(path.read_bytes())
    damage(raw, random.Random(f"{damage.__name__} {seed}"))  # noqa: S311 - no secret
    copy = path.with_suffix(f".{seed}.db")
    copy.write_bytes(raw)
    return copy


async def seen(path: Path) -> list[HealthstoreError]:
    """Open a file, read and write it; return the errors."""
    backend = SqliteAdapter("sqlite", path)
    errors: list[HealthstoreError] = []
    calls: tuple[Op[object], ...] = (
        Find(EVERYTHING, limit=1_000),
        CountDocuments(EVERYTHING),
        Insert(EVERYTHING, (everything(id=uuid4(), label="another"),)),
    )
    try:
        await backend.open()
        for call in calls:
            try:
                await backend.execute(call)
            except HealthstoreError as error:
                errors.append(error)
    except HealthstoreError as error:
        errors.append(error)
    finally:
        await backend.close()
    return errors


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__.strip("_"))
async def test_every_kind_of_damage_is_called_damage(tmp_path: Path, damage: Damage) -> None:
    """Whichever call meets it: an operator must look, and no failover mends it."""
    path = tmp_path / "whole.db"
    await make(path)
    noticed = 0
    for seed in range(6):
        errors = await seen(damaged(path, damage, seed))
        noticed += bool(errors)
        assert {error.condition for error in errors} <= {Condition.DAMAGED}
    assert noticed

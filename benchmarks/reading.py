"""What every contender keeps: readings of nine fields of their own, and how they are compared."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec
from pydantic import AwareDatetime, BaseModel

__all__ = ("Digest", "Reading", "digest", "digest_of_sums", "make", "owner")

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_KINDS = ("glucose", "pressure", "pulse", "steps", "temperature", "weight")
_PER_OWNER = 100
_V7 = (7 << 76) | (2 << 62)  # the version and the variant of a UUID of version 7


class Reading(BaseModel):
    """A reading: nine fields, one of them 300 bytes of JSON, besides id, instants and version."""

    id: UUID
    created_at: AwareDatetime
    updated_at: AwareDatetime
    version: int
    owner: UUID
    taken_at: AwareDatetime
    kind: str
    value: float
    unit: str
    steps: int
    valid: bool
    note: str | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Digest:
    """How many rows there were, and what was in them."""

    rows: int
    text: str


def make(number: int, *, owned_by: UUID | None = None) -> Reading:
    """Return the reading with this number, always the same one.

    Instants are of whole milliseconds, which is what MongoDB's own type keeps, and values are
    quarters, whose sums are exact: so the answers of all contenders can be equal.
    """
    chance = random.Random(number)
    created = _EPOCH + timedelta(milliseconds=number)
    return Reading(
        id=UUID(int=(number << 80) | _V7 | chance.getrandbits(62)),
        created_at=created,
        updated_at=created,
        version=1,
        owner=owned_by or owner(number // _PER_OWNER),
        taken_at=created - timedelta(minutes=chance.randrange(100_000), seconds=number % 60),
        kind=_KINDS[chance.randrange(len(_KINDS))],
        value=chance.randrange(4_000) / 4,
        unit="mmol/l",
        steps=chance.randrange(1_000_000),
        valid=chance.random() < 0.9,
        note=None if number % 3 else "after a walk, sitting, left arm, Zürich",
        detail=_detail(chance),
    )


def _detail(chance: random.Random) -> dict[str, Any]:
    """Return about 300 bytes of JSON, as devices send it."""
    return {
        "device": {
            "maker": "Example Medical",
            "model": "WX-200",
            "serial": chance.randrange(10**9),
        },
        "samples": [chance.randrange(4_000) / 4 for _ in range(20)],
        "context": {"posture": "sitting", "meal": None, "calibrated": True},
        "tags": ["home", "morning", "self-measured"],
    }


def owner(number: int) -> UUID:
    """Return the id of the owner with this number."""
    return UUID(int=(number << 80) | _V7 | random.Random(-1 - number).getrandbits(62))


def digest(readings: Iterable[Reading], *, ordered: bool = False) -> Digest:
    """Return the number of readings and a digest of what they hold, their order too if asked.

    ``updated_at`` is left out: each contender sets it by its own clock.
    """
    total, rows = 0, 0
    for reading in readings:
        seed = rows if ordered else 0
        total += int.from_bytes(blake2b(_text(reading, seed), digest_size=8).digest(), "big")
        rows += 1
    return Digest(rows, f"{total & (1 << 64) - 1:016x}")


def digest_of_sums(sums: Mapping[str, tuple[int, float]]) -> Digest:
    """Return the number and a digest of the rows of an aggregate: kind, count and mean."""
    text = msgspec.json.encode(sorted((kind, *row) for kind, row in sums.items()))
    return Digest(len(sums), blake2b(text, digest_size=8).hexdigest())


def _text(reading: Reading, seed: int) -> bytes:
    """Return one text for equal readings; another type of a value gives another text."""
    values = (
        *(seed, str(reading.id), str(reading.owner), reading.version),
        *(reading.created_at, reading.taken_at, reading.kind, reading.value, reading.unit),
        *(reading.steps, reading.valid, reading.note, reading.detail),
    )
    return msgspec.json.encode(values, order="deterministic")

"""What an update says is canonical is what the guard would make of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, TypeVar, cast
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, JsonValue

from healthstore import Digits, Entity, MaxLength, Repository
from healthstore.adapters.memory import MemoryAdapter
from healthstore.errors import HealthstoreError, NotFoundError
from healthstore.layers.guard import check
from healthstore.model.ops import Op, Patch
from healthstore.testing.strategies import json_values

R = TypeVar("R")


class Mood(StrEnum):
    """A field's choices."""

    FINE = "fine"
    POOR = "poor"


class Everything(Entity, collection="everything"):
    """A field of each kind, one that may be null, and JSON with types and without."""

    text: Annotated[str, MaxLength(8)]
    maybe: str | None
    whole: int
    truth: bool
    number: float
    amount: Annotated[Decimal, Digits(6, 2)]
    at: AwareDatetime
    day: date
    hour: time
    span: timedelta
    key: UUID
    raw: bytes
    mood: Mood
    json_: dict[str, JsonValue]
    anything: dict[str, Any]
    days: list[date]


_ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
_OBJECTS: st.SearchStrategy[Any] = st.dictionaries(st.text(max_size=3), json_values(), max_size=3)
_VALUES: Mapping[str, st.SearchStrategy[object]] = {
    "text": st.text(max_size=10),
    "maybe": st.none() | st.text(max_size=3),
    "whole": st.integers() | st.none(),
    "truth": st.booleans(),
    "number": st.floats() | st.integers(-9, 9),
    "amount": st.decimals(allow_nan=False, allow_infinity=False, places=2) | st.just(Decimal(7)),
    "at": st.datetimes(timezones=_ZONES),
    "day": st.dates(),
    "hour": st.times(),
    "span": st.timedeltas(),
    "key": st.uuids() | st.uuids().map(str),
    "raw": st.binary(max_size=4),
    "mood": st.sampled_from([*Mood, "fine", "other"]),
    "json_": _OBJECTS,
    "anything": _OBJECTS | st.just({"b": -0.0, "a": (1, 2)}),
    "days": st.lists(st.dates(), max_size=2),
}


class _Recorder:
    """An executor that keeps what it is asked."""

    name = "recorder"
    capabilities = MemoryAdapter.capabilities

    def __init__(self) -> None:
        self.asked: list[Op[Any]] = []

    async def execute(self, op: Op[R]) -> R:
        """Find nothing."""
        self.asked.append(op)
        return cast(R, (None,))


@given(
    st.fixed_dictionaries({}, optional=_VALUES),
    st.datetimes(timezones=_ZONES),
)
def test_what_an_update_calls_canonical_is_canonical(
    changes: Mapping[str, object], now: datetime
) -> None:
    """The guard would return the same values, of the same types, and refuse none."""
    recorder = _Recorder()
    repository = Repository(Everything, recorder, clock=lambda: now)
    with suppress(HealthstoreError):
        asyncio.run(repository.update(uuid4(), changes))
    for op in recorder.asked:
        assert isinstance(op, Patch)
        if op.canonical:
            assert repr(check(replace(op, canonical=False), recorder)) == repr(op)


async def test_plain_values_are_canonical_where_an_update_makes_them() -> None:
    """The guard has nothing left to look at; what it alone can tell is left to it."""
    recorder = _Recorder()
    repository = Repository(Everything, recorder)
    for changes in ({"text": "a", "json_": {"b": 1, "a": 2}}, {"maybe": None}):
        with suppress(NotFoundError):
            await repository.update(uuid4(), changes)
    with suppress(NotFoundError):
        await repository.increment(uuid4(), "whole")
    assert [cast(Patch, op).canonical for op in recorder.asked] == [True, False, False]

"""Retries: only what was surely not applied is repeated, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from healthstore.errors import (
    BackendError,
    DeadlineExceededError,
    DuplicateKeyError,
    HealthstoreError,
    LifecycleError,
    Outcome,
    OutcomeUnknownError,
    ReadOnlyError,
    SerializationError,
    StaleVersionError,
    UnavailableError,
)
from healthstore.layers.retry import RetryLayer
from healthstore.model.ops import CountDocuments, Insert, Op
from healthstore.testing.contract._samples import PEOPLE, person

if TYPE_CHECKING:
    from .conftest import RecordingLayer

COUNT = CountDocuments(PEOPLE)


def failing(error: HealthstoreError, times: int) -> Callable[[Op[Any]], None]:
    """Return what raises the error a number of times."""
    left = [error] * times

    def before(_: Op[Any]) -> None:
        if left:
            raise left.pop()

    return before


@pytest.mark.parametrize("kind", [SerializationError, UnavailableError])
async def test_a_conflict_or_an_outage_is_tried_again(
    recording: RecordingLayer, kind: type[HealthstoreError]
) -> None:
    """What was not applied is repeated until it succeeds; the write is there once."""
    recording.before = failing(kind("not now"), 3)
    layer = RetryLayer(recording, wait=0.001)
    assert await layer.execute(Insert(PEOPLE, (person(1),))) == 1
    assert len(recording.seen) == 4
    recording.before = lambda _: None
    assert await layer.execute(COUNT) == 1


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_attempts_are_limited(recording: RecordingLayer, attempts: int) -> None:
    """After the last attempt its error is raised, as it is."""
    error = UnavailableError("not now", backend="m")
    recording.before = failing(error, 100)
    with pytest.raises(UnavailableError) as raised:
        await RetryLayer(recording, attempts=attempts, wait=0.001).execute(COUNT)
    assert raised.value is error
    assert len(recording.seen) == attempts


async def test_the_time_is_limited(recording: RecordingLayer) -> None:
    """No attempt begins after the time for all of them is over."""

    async def fail() -> None:
        await asyncio.sleep(0.05)
        raise UnavailableError("not now")

    recording.before = lambda _: fail()
    with pytest.raises(UnavailableError):
        await RetryLayer(recording, attempts=1_000, seconds=0.12, wait=0.001).execute(COUNT)
    assert 2 <= len(recording.seen) <= 5


@pytest.mark.parametrize(
    "error",
    [
        SerializationError("lost", outcome=Outcome.UNKNOWN),
        UnavailableError("lost", outcome=Outcome.UNKNOWN),
        OutcomeUnknownError("lost", outcome=Outcome.UNKNOWN),
        DeadlineExceededError("late"),
        StaleVersionError("stale"),
        DuplicateKeyError("taken"),
        ReadOnlyError("read-only"),
        BackendError("broken"),
        LifecycleError("closed"),
    ],
    ids=lambda error: f"{type(error).__name__}-{error.outcome}",
)
async def test_nothing_else_is_tried_again(
    recording: RecordingLayer, error: HealthstoreError
) -> None:
    """A write of unknown outcome is never repeated, nor what would fail again."""
    recording.before = failing(error, 1)
    with pytest.raises(type(error)) as raised:
        await RetryLayer(recording).execute(Insert(PEOPLE, (person(1),)))
    assert raised.value is error
    assert len(recording.seen) == 1


async def test_a_step_of_a_unit_is_never_repeated(recording: RecordingLayer) -> None:
    """Inside a unit a conflict is passed on: only the whole unit can be repeated."""
    recording.before = failing(SerializationError("conflict"), 1)
    unit = await RetryLayer(recording).begin()
    with pytest.raises(SerializationError):
        await unit.execute(COUNT)
    await unit.rollback()
    assert len(recording.seen) == 1


async def test_cancelling_ends_the_attempts(recording: RecordingLayer) -> None:
    """A cancelled caller does not wait for the next attempt."""
    recording.before = failing(UnavailableError("not now"), 1_000_000)
    layer = RetryLayer(recording, attempts=1_000_000, seconds=60, wait=30)
    task = asyncio.create_task(layer.execute(COUNT))
    await asyncio.sleep(0.05)
    task.cancel()
    async with asyncio.timeout(1):
        with pytest.raises(asyncio.CancelledError):
            await task
    attempts = len(recording.seen)
    await asyncio.sleep(0.05)
    assert len(recording.seen) == attempts


async def test_callers_do_not_share_their_attempts(recording: RecordingLayer) -> None:
    """Each of many calls at once has all of its attempts."""
    seen: dict[int, int] = {}

    def before(_: Op[Any]) -> None:
        task = id(asyncio.current_task())
        seen[task] = seen.get(task, 0) + 1
        if seen[task] < 4:
            raise SerializationError("conflict")

    recording.before = before
    layer = RetryLayer(recording, attempts=4, wait=0.001)
    assert await asyncio.gather(*(layer.execute(COUNT) for _ in range(20))) == [0] * 20
    assert set(seen.values()) == {4}

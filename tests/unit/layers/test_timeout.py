"""Deadlines: no caller waits without end, and a late write has an unknown outcome."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from healthstore.abc.backend import UnitOptions
from healthstore.abc.layer import LayeredUnit
from healthstore.errors import DeadlineExceededError, Outcome
from healthstore.layers.timeout import TimeoutLayer
from healthstore.model.ops import CountDocuments, Ensure, Insert, Op
from healthstore.testing.contract._samples import PEOPLE, person

if TYPE_CHECKING:
    from .conftest import RecordingLayer

COUNT = CountDocuments(PEOPLE)


class Hanging:
    """Something to wait for that never comes, and knows how it ended."""

    def __init__(self) -> None:
        self.cancelled = 0

    async def __call__(self, _: object = None) -> None:
        """Wait for ever."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.mark.parametrize(
    ("op", "outcome"),
    [
        (COUNT, Outcome.NOT_APPLIED),
        (Insert(PEOPLE, (person(1),)), Outcome.UNKNOWN),
        (Ensure((PEOPLE,)), Outcome.UNKNOWN),
    ],
    ids=["read", "write", "admin"],
)
async def test_an_operation_ends_at_its_deadline(
    recording: RecordingLayer, op: Op[Any], outcome: Outcome
) -> None:
    """The operation below is cancelled; the error says whether something may be written."""
    hanging = Hanging()
    recording.before = hanging
    layer = TimeoutLayer(recording, seconds=0.05, admin_seconds=0.05)
    async with asyncio.timeout(2):
        with pytest.raises(DeadlineExceededError) as late:
            await layer.execute(op)
    assert hanging.cancelled == 1
    assert late.value.outcome is outcome
    assert late.value.backend == "m"
    assert late.value.hint


async def test_a_change_of_the_schema_has_more_time(recording: RecordingLayer) -> None:
    """Making a collection has a deadline of its own."""
    recording.before = lambda _: asyncio.sleep(0.1)
    layer = TimeoutLayer(recording, seconds=0.02, admin_seconds=5)
    assert (await layer.execute(Ensure((PEOPLE,)))).present == (PEOPLE.name,)
    with pytest.raises(DeadlineExceededError):
        await layer.execute(COUNT)


@pytest.mark.parametrize("call", ["open", "ping"])
async def test_connecting_has_a_deadline(
    recording: RecordingLayer, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A server that accepts and never answers does not hold up opening or a ping."""
    monkeypatch.setattr(recording, call, Hanging())
    layer = TimeoutLayer(recording, seconds=0.05, admin_seconds=0.05)
    async with asyncio.timeout(2):
        with pytest.raises(DeadlineExceededError) as late:
            await getattr(layer, call)()
    assert late.value.outcome is Outcome.NOT_APPLIED
    assert late.value.backend == "m"


async def test_a_commit_has_a_deadline(
    recording: RecordingLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transfer's unit may have a day; a server that hangs at its end does not get that."""
    layer = TimeoutLayer(recording, seconds=5, admin_seconds=0.05)
    unit = await layer.begin(UnitOptions(deadline=86_400))
    await unit.execute(Insert(PEOPLE, (person(1),)))
    monkeypatch.setattr(LayeredUnit, "commit", Hanging())
    async with asyncio.timeout(2):
        with pytest.raises(DeadlineExceededError) as late:
            await unit.commit()
    assert late.value.outcome is Outcome.UNKNOWN
    assert late.value.backend == "m"
    await unit.rollback()


async def test_a_unit_that_cannot_begin_has_a_deadline(
    recording: RecordingLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was done then."""
    monkeypatch.setattr(recording, "begin", Hanging())
    layer = TimeoutLayer(recording, seconds=0.05)
    async with asyncio.timeout(2):
        with pytest.raises(DeadlineExceededError) as late:
            await layer.begin(UnitOptions(deadline=86_400))
    assert late.value.outcome is Outcome.NOT_APPLIED


async def test_a_step_of_a_unit_has_a_deadline(recording: RecordingLayer) -> None:
    """Inside a unit the deadline holds for each step, and the unit can be rolled back."""
    layer = TimeoutLayer(recording, seconds=0.05)
    recording.before = Hanging()
    unit = await layer.begin()
    with pytest.raises(DeadlineExceededError):
        await unit.execute(Insert(PEOPLE, (person(1),)))
    await unit.rollback()
    recording.before = lambda _: None
    assert await layer.execute(COUNT) == 0


async def test_a_cancelled_call_is_cancelled_not_late(recording: RecordingLayer) -> None:
    """The caller's own cancellation and deadline are passed on as they are."""
    recording.before = Hanging()
    layer = TimeoutLayer(recording, seconds=30)
    task = asyncio.create_task(layer.execute(COUNT))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await layer.execute(COUNT)

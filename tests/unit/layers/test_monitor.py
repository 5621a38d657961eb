"""Monitoring: every attempt is counted and reported once, without a value."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

import healthstore.layers.monitor as module
from healthstore.errors import DuplicateKeyError, HealthstoreError
from healthstore.events import Event, EventBus, OperationFinished, SlowQuery
from healthstore.layers.monitor import MonitorLayer
from healthstore.model.ops import Batch, CountDocuments, Find, Insert
from healthstore.model.query import F
from healthstore.statistics import Statistics
from healthstore.testing.contract._samples import PEOPLE, person

if TYPE_CHECKING:
    from healthstore.abc import Backend

    from .conftest import RecordingLayer

COUNT = CountDocuments(PEOPLE)


def listened(
    inner: Backend, *, slow_seconds: float | None = None
) -> tuple[MonitorLayer, list[OperationFinished]]:
    """Return a layer over a backend, and the list in which its events of operations arrive."""
    bus, events = EventBus(), list[OperationFinished]()
    bus.on(OperationFinished, events.append)
    return MonitorLayer(inner, bus=bus, slow_seconds=slow_seconds), events


async def test_each_operation_is_reported_once(recording: RecordingLayer) -> None:
    """An event names member, operation and collection, and says how long it took."""
    layer, events = listened(recording)
    recording.before = lambda _: asyncio.sleep(0.02)
    await layer.execute(COUNT)
    (event,) = events
    assert (event.backend, event.operation) == ("m", "countdocuments")
    assert (event.collection, event.error) == (PEOPLE.name, None)
    assert 0.015 <= event.seconds < 5


async def test_a_failure_is_reported_with_its_code(recording: RecordingLayer) -> None:
    """The event carries the error's code; the error itself is passed on."""
    layer, events = listened(recording)
    await layer.execute(Insert(PEOPLE, (person(1),)))
    with pytest.raises(DuplicateKeyError):
        await layer.execute(Insert(PEOPLE, (person(1),)))
    assert [event.error for event in events] == [None, DuplicateKeyError.code]


async def test_a_cancelled_operation_is_reported(recording: RecordingLayer) -> None:
    """A caller that gave up is seen too."""
    layer, events = listened(recording)
    recording.before = lambda _: asyncio.sleep(30)
    task = asyncio.create_task(layer.execute(COUNT))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [event.error for event in events] == ["cancelled"]


async def test_a_failure_of_an_adapter_is_no_success(recording: RecordingLayer) -> None:
    """An exception that is none of ours is counted as an error of no class, and passed on."""

    async def broken() -> None:
        raise ZeroDivisionError

    layer, events = listened(recording)
    recording.before = lambda _: broken()
    with pytest.raises(ZeroDivisionError):
        await layer.execute(COUNT)
    assert [event.error for event in events] == [HealthstoreError.code]


async def test_operations_of_a_unit_are_reported(recording: RecordingLayer) -> None:
    """What happens inside a unit is seen like everything else; a batch names no collection."""
    layer, events = listened(recording)
    unit = await layer.begin()
    await unit.execute(Batch((Insert(PEOPLE, (person(1),)), COUNT)))
    await unit.commit()
    assert [(event.operation, event.collection) for event in events] == [("batch", None)]


async def test_nothing_that_is_reported_holds_a_value(
    recording: RecordingLayer, caplog: pytest.LogCaptureFixture
) -> None:
    """What was written or searched for appears in no event and in no record of the log."""
    canary = uuid4().hex
    bus, events = EventBus(), list[Event]()
    bus.on(Event, events.append)
    layer = MonitorLayer(recording, bus=bus, slow_seconds=1e-9)
    await layer.execute(Insert(PEOPLE, (person(1, name=canary),)))
    await layer.execute(CountDocuments(PEOPLE, F.name == canary))
    assert len(events) == 4
    assert len(caplog.records) == 2
    assert canary not in repr(events)
    assert canary not in repr([vars(record) for record in caplog.records])


async def test_nobody_has_to_listen(recording: RecordingLayer) -> None:
    """Without a listener the layer forwards, and that is all."""
    assert await MonitorLayer(recording).execute(COUNT) == 0


async def test_no_event_is_made_for_nobody(
    recording: RecordingLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event costs more than all the rest: it is made only while somebody listens."""
    made: list[tuple[Any, ...]] = []

    def make(*parts: Any) -> OperationFinished:
        made.append(parts)
        return OperationFinished(*parts)

    monkeypatch.setattr(module, "OperationFinished", make)
    bus = EventBus()
    bus.on(SlowQuery, lambda _: None)
    layer = MonitorLayer(recording, bus=bus)
    monkeypatch.setattr(bus, "wants", lambda _: False)
    await layer.execute(COUNT)
    assert made == []
    monkeypatch.setattr(bus, "wants", lambda _: True)
    await layer.execute(COUNT)
    assert len(made) == 1


async def test_every_attempt_is_in_the_statistics(recording: RecordingLayer) -> None:
    """Successes, errors and steps of units are counted for the member and the operation."""
    statistics = Statistics()
    layer = MonitorLayer(recording, statistics=statistics)
    await layer.execute(Insert(PEOPLE, (person(1),)))
    with pytest.raises(DuplicateKeyError):
        await layer.execute(Insert(PEOPLE, (person(1),)))
    unit = await layer.begin()
    await unit.execute(COUNT)
    await unit.commit()
    await layer.execute(COUNT)
    count, insert = statistics.snapshot()
    assert (count.backend, count.operation, count.count, count.errors) == (
        "m",
        "countdocuments",
        2,
        0,
    )
    assert (insert.operation, insert.count, insert.errors) == ("insert", 2, 1)
    assert 0 < insert.p50 <= insert.maximum < 5


async def test_a_slow_operation_is_reported_and_logged(
    recording: RecordingLayer, caplog: pytest.LogCaptureFixture
) -> None:
    """The event and the record hold member, operation, shape, time and threshold."""
    bus, slow = EventBus(), list[SlowQuery]()
    bus.on(SlowQuery, slow.append)
    layer = MonitorLayer(recording, bus=bus, slow_seconds=0.02)
    await layer.execute(COUNT)
    recording.before = lambda _: asyncio.sleep(0.03)
    await layer.execute(Find(PEOPLE, F.email == "ada@example.org", limit=1))
    (event,) = slow
    assert (event.backend, event.operation, event.collection) == ("m", "find", PEOPLE.name)
    assert event.shape == "find contract_people where email = ? order id limit 1"
    assert event.seconds >= event.threshold == 0.02
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("healthstore.slow", logging.WARNING)
    assert record.getMessage() == "slow query"
    logged = vars(record)
    assert logged["healthstore_shape"] == event.shape
    assert logged["healthstore_seconds"] == event.seconds


async def test_a_slow_failure_is_slow(recording: RecordingLayer) -> None:
    """An operation that was given up after a long time is the slowest of all: it is reported."""
    bus, slow = EventBus(), list[SlowQuery]()
    bus.on(SlowQuery, slow.append)
    layer = MonitorLayer(recording, bus=bus, slow_seconds=0.02)
    recording.before = lambda _: asyncio.sleep(30)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03):
            await layer.execute(COUNT)
    assert [event.operation for event in slow] == ["countdocuments"]


@pytest.mark.parametrize("never", [None, 0, 0.0])
async def test_without_a_threshold_nothing_is_slow(
    recording: RecordingLayer, caplog: pytest.LogCaptureFixture, never: float | None
) -> None:
    """None and 0 switch the report off."""
    bus, events = EventBus(), list[Event]()
    bus.on(Event, events.append)
    layer = MonitorLayer(recording, bus=bus, slow_seconds=never)
    recording.before = lambda _: asyncio.sleep(0.02)
    await layer.execute(COUNT)
    assert [type(event) for event in events] == [OperationFinished]
    assert caplog.records == []


async def test_a_listener_that_fails_breaks_nothing(
    recording: RecordingLayer, caplog: pytest.LogCaptureFixture
) -> None:
    """The operation's result arrives, whatever a handler does."""

    def broken(_: Event) -> None:
        raise ZeroDivisionError

    bus = EventBus()
    bus.on(Event, broken)
    layer = MonitorLayer(recording, bus=bus, slow_seconds=1e-9)
    assert await layer.execute(COUNT) == 0
    assert "a handler of OperationFinished failed" in caplog.messages

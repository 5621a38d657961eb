"""Monitoring: every attempt is reported once, without a value."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from healthstore.errors import DuplicateKeyError
from healthstore.events import OperationFinished
from healthstore.layers.monitor import MonitorLayer
from healthstore.model.ops import Batch, CountDocuments, Insert
from healthstore.model.query import F
from healthstore.testing.contract._samples import PEOPLE, person

if TYPE_CHECKING:
    from .conftest import RecordingLayer


async def test_each_operation_is_reported_once(recording: RecordingLayer) -> None:
    """An event names member, operation and collection, and says how long it took."""
    events: list[OperationFinished] = []
    layer = MonitorLayer(recording, emit=events.append)
    recording.before = lambda _: asyncio.sleep(0.02)
    await layer.execute(CountDocuments(PEOPLE))
    (event,) = events
    assert (event.backend, event.operation) == ("m", "countdocuments")
    assert (event.collection, event.error) == (PEOPLE.name, None)
    assert 0.015 <= event.seconds < 5


async def test_a_failure_is_reported_with_its_code(recording: RecordingLayer) -> None:
    """The event carries the error's code; the error itself is passed on."""
    events: list[OperationFinished] = []
    layer = MonitorLayer(recording, emit=events.append)
    await layer.execute(Insert(PEOPLE, (person(1),)))
    with pytest.raises(DuplicateKeyError):
        await layer.execute(Insert(PEOPLE, (person(1),)))
    assert [event.error for event in events] == [None, DuplicateKeyError.code]


async def test_a_cancelled_operation_is_reported(recording: RecordingLayer) -> None:
    """A caller that gave up is seen too."""
    events: list[OperationFinished] = []
    layer = MonitorLayer(recording, emit=events.append)
    recording.before = lambda _: asyncio.sleep(30)
    task = asyncio.create_task(layer.execute(CountDocuments(PEOPLE)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [event.error for event in events] == ["cancelled"]


async def test_operations_of_a_unit_are_reported(recording: RecordingLayer) -> None:
    """What happens inside a unit is seen like everything else; a batch names no collection."""
    events: list[OperationFinished] = []
    layer = MonitorLayer(recording, emit=events.append)
    unit = await layer.begin()
    await unit.execute(Batch((Insert(PEOPLE, (person(1),)), CountDocuments(PEOPLE))))
    await unit.commit()
    assert [(event.operation, event.collection) for event in events] == [("batch", None)]


async def test_no_event_holds_a_value(recording: RecordingLayer) -> None:
    """What was written or searched for appears in no event."""
    canary = uuid4().hex
    events: list[OperationFinished] = []
    layer = MonitorLayer(recording, emit=events.append)
    await layer.execute(Insert(PEOPLE, (person(1, name=canary),)))
    await layer.execute(CountDocuments(PEOPLE, F.name == canary))
    assert len(events) == 2
    assert canary not in repr(events)


async def test_nobody_has_to_listen(recording: RecordingLayer) -> None:
    """Without a listener the layer forwards, and that is all."""
    assert await MonitorLayer(recording).execute(CountDocuments(PEOPLE)) == 0

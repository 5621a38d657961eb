"""Events: handlers cannot break what they listen to, streams lose only what they must."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import FrozenInstanceError
from typing import Any, cast

import pytest

import healthstore.events as module
from healthstore.errors import InvalidRequestError
from healthstore.events import (
    Event,
    EventBus,
    EventStream,
    MockLeft,
    OperationFinished,
    Recovered,
    SlowQuery,
)


def left(number: int) -> MockLeft:
    """Return an event that can be told from others."""
    return MockLeft(number)


async def rest(stream: EventStream) -> list[Event]:
    """Return what a stream has until it ends."""
    return [event async for event in stream]


def test_an_event_cannot_be_changed() -> None:
    """What one handler gets is what the next one gets."""
    with pytest.raises(FrozenInstanceError):
        left(1).writes = 2  # type: ignore[misc]  # that is what is tested


def test_a_handler_gets_the_events_of_its_type() -> None:
    """Others do not concern it; a handler of ``Event`` gets all, each one once."""
    bus = EventBus()
    some, every = list[Event](), list[Event]()
    bus.on(MockLeft, some.append)
    bus.on(Event, every.append)
    events = [left(1), Recovered("m", 2.0), left(3)]
    for event in events:
        bus.emit(event)
    assert some == [events[0], events[2]]
    assert every == events


def test_handlers_are_called_in_the_order_of_registration() -> None:
    """Handlers of a type come before those of all; the same function twice is called twice."""
    bus, called = EventBus(), list[str]()
    bus.on(Event, lambda _: called.append("all"))
    bus.on(MockLeft, lambda _: called.append("first"))
    bus.on(MockLeft, lambda _: called.append("second"))
    bus.emit(left(1))
    assert called == ["first", "second", "all"]


async def test_a_handler_that_raises_is_contained_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The emitter, the other handlers and the streams do not notice; the log has the traceback."""

    def broken(_: MockLeft) -> None:
        raise ZeroDivisionError

    bus, got = EventBus(), list[Event]()
    bus.on(MockLeft, broken)
    bus.on(MockLeft, got.append)
    stream = bus.stream()
    bus.emit(left(1))
    assert got == [left(1)]
    assert await anext(stream) == left(1)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("healthstore.events", logging.ERROR)
    assert record.getMessage() == "a handler of MockLeft failed"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("kind", [int, "MockLeft", left(1), None])
def test_only_types_of_events_have_handlers(kind: object) -> None:
    """A wrong type is refused when it is registered: its handler would never be called."""
    with pytest.raises(InvalidRequestError) as refused:
        EventBus().on(cast("Any", kind), lambda _: None)
    assert refused.value.hint


def test_what_nobody_listens_to_is_not_wanted() -> None:
    """An event needs to be made only for a handler of its type or of all, or for a stream."""
    bus = EventBus()
    assert not bus.wants(OperationFinished)
    bus.on(SlowQuery, lambda _: None)
    assert bus.wants(SlowQuery)
    assert not bus.wants(OperationFinished)
    streamed = EventBus()
    with streamed.stream() as seldom:
        assert streamed.wants(SlowQuery)
        assert not streamed.wants(OperationFinished)
        with streamed.stream(OperationFinished):
            assert streamed.wants(OperationFinished)
        assert not streamed.wants(OperationFinished)
        assert seldom.lost == 0
    assert not streamed.wants(SlowQuery)
    bus.on(Event, lambda _: None)
    assert bus.wants(OperationFinished)


async def test_a_stream_has_the_events_since_it_was_asked_for() -> None:
    """Earlier ones are not kept for it; those that came before it is read are."""
    bus = EventBus()
    bus.emit(left(0))
    stream = bus.stream()
    for number in (1, 2, 3):
        bus.emit(left(number))
    bus.end()
    assert await rest(stream) == [left(1), left(2), left(3)]
    assert stream.lost == 0


async def test_a_stream_waits_for_events_and_ends_with_the_bus() -> None:
    """A reader that waits gets each event as it comes, and its loop ends."""
    bus = EventBus()
    stream = bus.stream()
    reading = asyncio.create_task(rest(stream))
    for number in range(3):
        await asyncio.sleep(0)
        bus.emit(left(number))
    await asyncio.sleep(0)
    assert not reading.done()
    bus.end()
    async with asyncio.timeout(2):
        assert await reading == [left(0), left(1), left(2)]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_an_ended_stream_gets_nothing_more() -> None:
    """A stream that is asked for after the end has ended, until the bus begins again."""
    bus = EventBus()
    early = bus.stream()
    bus.end()
    late = bus.stream()
    bus.emit(left(1))
    assert await rest(early) == []
    assert await rest(late) == []
    bus.begin()
    again = bus.stream()
    bus.emit(left(2))
    bus.end()
    assert await rest(again) == [left(2)]


@pytest.mark.parametrize("handler", [3, None, asyncio.sleep])
def test_only_plain_functions_are_handlers(handler: object) -> None:
    """What could never be called, or only started, is refused when it is registered."""
    with pytest.raises(InvalidRequestError):
        EventBus().on(MockLeft, cast("Any", handler))


async def test_a_slow_reader_loses_the_oldest_and_knows_how_many() -> None:
    """A stream holds a bounded number of events; what is dropped is counted."""
    bus = EventBus()
    stream = bus.stream()
    for number in range(module._KEPT + 7):
        bus.emit(left(number))
    bus.end()
    got = await rest(stream)
    assert stream.lost == 7
    assert got == [left(number) for number in range(7, module._KEPT + 7)]


async def test_each_stream_has_every_event() -> None:
    """Streams do not take events from one another, however fast each is read."""
    bus = EventBus()
    fast, slow = bus.stream(), bus.stream()
    reading = asyncio.create_task(rest(fast))
    events = [left(number) for number in range(50)]
    for event in events:
        bus.emit(event)
        await asyncio.sleep(0)
    bus.end()
    async with asyncio.timeout(2):
        assert await reading == events
        assert await rest(slow) == events


async def test_two_readers_of_a_stream_share_its_events() -> None:
    """Each event goes to one of them, none is lost, and both loops end."""
    bus = EventBus()
    stream = bus.stream()
    readers = [asyncio.create_task(rest(stream)) for _ in range(2)]
    events: list[Event] = [left(number) for number in range(20)]
    for event in events:
        await asyncio.sleep(0)
        bus.emit(event)
    bus.end()
    async with asyncio.timeout(2):
        first, second = await asyncio.gather(*readers)
    assert sorted([*first, *second], key=events.index) == events


@pytest.mark.parametrize("together", [False, True], ids=["before", "in the same moment"])
async def test_a_cancelled_wait_loses_nothing(*, together: bool) -> None:
    """An event that comes after a reader gave up, or just as it does, is the next one read."""
    bus = EventBus()
    stream = bus.stream()
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    if together:
        bus.emit(left(1))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not together:
        bus.emit(left(1))
    bus.emit(left(2))
    bus.end()
    assert await rest(stream) == [left(1), left(2)]


async def test_a_reader_may_wait_with_a_deadline() -> None:
    """Asking again and again with a time-out sees every event once."""
    bus = EventBus()
    stream = bus.stream()
    asyncio.get_running_loop().call_later(0.03, bus.emit, left(1))
    got: list[Event] = []
    async with asyncio.timeout(2):
        while not got:
            try:
                got.append(await asyncio.wait_for(anext(stream), 0.01))
            except TimeoutError:
                continue
    assert got == [left(1)]

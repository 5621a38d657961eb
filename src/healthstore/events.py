"""Events: what happened inside the library, as frozen values without any field's value."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, Self, TypeVar

from healthstore.errors import InvalidRequestError

__all__ = (
    "ConfigReloaded",
    "ConnectionLost",
    "Event",
    "EventBus",
    "EventStream",
    "FailedBack",
    "FailedOver",
    "MemberDegraded",
    "MockEntered",
    "MockLeft",
    "OperationFinished",
    "Recovered",
    "SlowQuery",
    "Switched",
)

E = TypeVar("E", bound="Event")
_log = logging.getLogger("healthstore.events")
_KEPT = 1_000  # events that wait for a slow listener of a stream


@dataclass(frozen=True, slots=True)
class Event:
    """The root of all events."""


@dataclass(frozen=True, slots=True)
class OperationFinished(Event):
    """An attempt of an operation on a member has ended.

    ``error`` is the stable code of the error, ``"cancelled"``, or None on success.
    """

    backend: str
    operation: str
    collection: str | None
    seconds: float
    error: str | None


@dataclass(frozen=True, slots=True)
class SlowQuery(Event):
    """An operation took at least ``threshold`` seconds on a member.

    ``shape`` is the request without its values: ``find users where email = ? limit 1``.
    """

    backend: str
    operation: str
    collection: str | None
    shape: str
    seconds: float
    threshold: float


@dataclass(frozen=True, slots=True)
class ConnectionLost(Event):
    """A member is down: its checks failed. ``reason`` is the last error's code and message."""

    backend: str
    reason: str


@dataclass(frozen=True, slots=True)
class Recovered(Event):
    """A member is up again, ``seconds`` after it was found down or degraded."""

    backend: str
    seconds: float


@dataclass(frozen=True, slots=True)
class MemberDegraded(Event):
    """A member answers, but not fully: ``state`` is its new state, ``reason`` says why."""

    backend: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class FailedOver(Event):
    """Reads go on at another member, ``seconds`` after the first sign of trouble."""

    source: str
    target: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class FailedBack(Event):
    """Reads and writes are at the active member again, ``seconds`` after it was left."""

    source: str
    target: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Switched(Event):
    """The active member was changed on request; ``seconds`` is how long writes waited."""

    source: str
    target: str
    seconds: float


@dataclass(frozen=True, slots=True)
class MockEntered(Event):
    """No member can serve: the mock does, with data of its own. Nothing of it is durable."""

    policy: str
    reason: str


@dataclass(frozen=True, slots=True)
class MockLeft(Event):
    """A member serves again; ``writes`` acknowledged by the mock are gone with it."""

    writes: int


@dataclass(frozen=True, slots=True)
class ConfigReloaded(Event):
    """The configuration was read again; ``changed`` names the members that were rebuilt."""

    changed: tuple[str, ...]


_SELDOM: tuple[type[Event], ...] = (
    ConfigReloaded,
    ConnectionLost,
    FailedBack,
    FailedOver,
    MemberDegraded,
    MockEntered,
    MockLeft,
    Recovered,
    SlowQuery,
    Switched,
)


class EventStream:
    """Events of some types from now on, for ``async for``; ends when it or the bus is closed.

    A listener that is slower than the events loses the oldest ones, which ``lost`` counts: it
    never slows down what it listens to. One that leaves early closes the stream, or uses it
    with ``with``.
    """

    def __init__(self, kinds: Iterable[type[Event]], closed: Callable[[EventStream], None]) -> None:
        self.lost = 0
        self.kinds = frozenset(kinds)
        self._closed = closed
        self._waiting: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    def put(self, event: Event) -> None:
        """Add an event, in place of the oldest one if too many wait."""
        if len(self._waiting) == _KEPT:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(event)
        self._arrived.set()

    def close(self) -> None:
        """End the stream behind the events that wait, and take no more."""
        self._ended = True
        self._arrived.set()
        self._closed(self)


class EventBus:
    """Passes each event to the handlers of its type; a handler that raises is logged."""

    def __init__(self) -> None:
        self._handlers: dict[type[Event], list[Callable[[Any], None]]] = {}
        self._streams: set[EventStream] = set()
        self._ended = False

    def on(self, kind: type[E], handler: Callable[[E], None]) -> None:
        """Call ``handler`` with every event of this type from now on; ``Event`` means all."""
        _require_kind(kind)
        given: object = handler
        if not callable(given) or iscoroutinefunction(given):
            raise InvalidRequestError(
                "a handler is a plain function of one event",
                hint="for asynchronous work use `async for event in db.events()`",
            )
        self._handlers.setdefault(kind, []).append(handler)

    def stream(self, *kinds: type[Event]) -> EventStream:
        """Return a stream of events of these types from now on.

        Without types: of all but OperationFinished, which comes with every operation.
        """
        for kind in kinds:
            _require_kind(kind)
        stream = EventStream(kinds or _SELDOM, self._streams.discard)
        self._streams.add(stream)
        if self._ended:
            stream.close()
        return stream

    def begin(self) -> None:
        """Let new streams wait for events again."""
        self._ended = False

    def end(self) -> None:
        """End every stream, and each that is asked for from now on."""
        self._ended = True
        for stream in tuple(self._streams):
            stream.close()

    def wants(self, kind: type[Event]) -> bool:
        """Tell whether anybody listens to a type: if not, the event need not be made."""
        if kind in self._handlers or Event in self._handlers:
            return True
        return any(kind in stream.kinds for stream in self._streams)

    def emit(self, event: Event) -> None:
        """Pass an event on, at once and in the order of registration."""
        for kind in (type(event), Event):
            for handler in self._handlers.get(kind, ()):
                try:
                    handler(event)
                except Exception:  # noqa: BLE001 - a listener must not break what it listens to
                    _log.exception("a handler of %s failed", type(event).__name__)
        for stream in self._streams:
            if type(event) in stream.kinds:
                stream.put(event)


def _require_kind(kind: object) -> None:
    if not (isinstance(kind, type) and issubclass(kind, Event)):
        raise InvalidRequestError("this is not a type of event", hint="db.on(SlowQuery, handler)")

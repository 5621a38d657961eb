"""Events: what happened inside the library, as frozen values without any field's value."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ("Event", "EventBus", "OperationFinished")

E = TypeVar("E", bound="Event")
_log = logging.getLogger("healthstore.events")


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


class EventBus:
    """Passes each event to the handlers of its type; a handler that raises is logged."""

    def __init__(self) -> None:
        self._handlers: dict[type[Event], list[Callable[[Any], None]]] = {}

    def on(self, kind: type[E], handler: Callable[[E], None]) -> None:
        """Call ``handler`` with every event of exactly this type from now on."""
        self._handlers.setdefault(kind, []).append(handler)

    def emit(self, event: Event) -> None:
        """Pass an event on, at once and in the order of registration."""
        for handler in self._handlers.get(type(event), ()):
            try:
                handler(event)
            except Exception:  # noqa: BLE001 - a listener must not break what it listens to
                _log.exception("a handler of %s failed", type(event).__name__)

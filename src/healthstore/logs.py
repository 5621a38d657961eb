"""Logs: events as records of the standard library's ``logging``, and formatters for them.

The message of a record is constant for its kind; what happened to whom is in its attributes,
each named ``healthstore_`` and the field of the event (``healthstore_backend``,
``healthstore_seconds``, …), so that it collides with nothing that an application or another
library adds. No record holds a field's value.

As a library should, healthstore sets no level and prints nothing: without handlers of the
application its records go nowhere.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from types import MappingProxyType

from healthstore.events import (
    ConfigReloaded,
    ConnectionLost,
    Event,
    FailedBack,
    FailedOver,
    MemberDegraded,
    MockEntered,
    MockLeft,
    Recovered,
    SlowQuery,
    Switched,
)

__all__ = ("LEVELS", "JsonFormatter", "TextFormatter", "extra", "log_event", "log_slow")

logging.getLogger("healthstore").addHandler(logging.NullHandler())
_events = logging.getLogger("healthstore.events")
_slow = logging.getLogger("healthstore.slow")

LEVELS: Mapping[type[Event], int] = MappingProxyType(
    {
        ConfigReloaded: logging.INFO,
        ConnectionLost: logging.WARNING,
        FailedBack: logging.INFO,
        FailedOver: logging.ERROR,  # writes are refused from now on
        MemberDegraded: logging.WARNING,
        MockEntered: logging.ERROR,  # nothing that is written is kept
        MockLeft: logging.WARNING,
        Recovered: logging.INFO,
        Switched: logging.INFO,
    }
)
"""The events that are logged, and at which level."""


def _message(kind: type[Event]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()


_PREFIX = "healthstore_"
_MESSAGES = {kind: _message(kind) for kind in LEVELS}
# What a record has by itself; everything else was added by somebody.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "taskName"}


def extra(event: Event) -> dict[str, object]:
    """Return an event's fields as the attributes of a log record."""
    return {f"{_PREFIX}{each.name}": getattr(event, each.name) for each in fields(event)}


def log_event(event: Event) -> None:
    """Log an event to ``healthstore.events`` at its level; an event without one is not logged."""
    level = LEVELS.get(type(event))
    if level is not None and _events.isEnabledFor(level):
        _events.log(level, _MESSAGES[type(event)], extra=extra(event))


def log_slow(event: SlowQuery) -> None:
    """Log a slow operation to ``healthstore.slow``, as a warning."""
    if _slow.isEnabledFor(logging.WARNING):
        _slow.warning("slow query", extra=extra(event))


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object on one line.

    Its keys are ``time`` (ISO 8601, UTC, microseconds), ``level``, ``logger``, ``message``,
    ``exception`` and ``stack`` where there are such, and each attribute that was added to the
    record. What is no JSON is written as its ``str``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = self.formatStack(record.stack_info)
        # The record's own keys come first, and win.
        return json.dumps({**entry, **_added(record), **entry}, default=str)


class TextFormatter(logging.Formatter):
    """Formats a record for people: time (UTC), level, message, and what was added to it.

    ``2026-02-03T04:05:06+00:00 WARNING slow query backend=sqlite shape="get users 1 id"``
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """Return the line; ``format`` adds an exception on lines of its own."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="seconds")
        added = [
            f"{name.removeprefix(_PREFIX)}={_brief(value)}"
            for name, value in _added(record).items()
        ]
        return " ".join((time, record.levelname, record.getMessage(), *added))


def _added(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _OWN}


def _brief(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if re.fullmatch(r"[\w.:/+-]+", text) else json.dumps(text, ensure_ascii=False)

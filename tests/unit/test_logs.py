"""Logs: one record for each event that matters, with attributes, in text or JSON."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from healthstore import events
from healthstore.events import Event, FailedOver, MockLeft, OperationFinished, SlowQuery
from healthstore.logs import (
    LEVELS,
    JsonFormatter,
    TextFormatter,
    extra,
    log_event,
    log_slow,
)

FAILED_OVER = FailedOver("postgresql", "sqlite", "HS-6000 no answer", 1.25)
SLOW = SlowQuery("m", "find", "users", "find users where email = ? limit 1", 0.75, 0.5)
KINDS: tuple[type[Event], ...] = tuple(
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
)


def example(kind: type[Event]) -> Event:
    """Return an event of a kind; what its fields hold does not matter."""
    return kind(*(each.name for each in fields(kind)))


def record(message: str = "hello", **attributes: Any) -> logging.LogRecord:
    """Return a record of a fixed moment, with attributes that somebody added."""
    moment = datetime(2026, 2, 3, 4, 5, 6, 789_000, UTC)
    made = logging.LogRecord("app", logging.WARNING, "app.py", 7, message, (), None)
    made.created = moment.timestamp()
    vars(made).update(attributes)
    return made


def test_every_event_but_those_of_operations_is_logged() -> None:
    """A new kind of event needs a level; operations are too many, and slow ones have their log."""
    assert set(LEVELS) == set(KINDS) - {OperationFinished, SlowQuery}


@pytest.mark.parametrize("kind", LEVELS, ids=lambda kind: kind.__name__)
def test_an_event_is_one_record_with_its_fields(
    caplog: pytest.LogCaptureFixture, kind: type[Event]
) -> None:
    """The message is constant for the kind; each field is an attribute with our prefix."""
    caplog.set_level(logging.DEBUG, "healthstore")
    event = example(kind)
    log_event(event)
    (logged,) = caplog.records
    assert (logged.name, logged.levelno) == ("healthstore.events", LEVELS[kind])
    assert logged.getMessage().replace(" ", "") == kind.__name__.lower()
    assert vars(logged).items() >= extra(event).items()
    assert set(extra(event)) == {f"healthstore_{each.name}" for each in fields(kind)}


def test_events_of_operations_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A handler of all events may be ``log_event``: what has no level is left out."""
    caplog.set_level(logging.DEBUG, "healthstore")
    for kind in (OperationFinished, SlowQuery):
        log_event(example(kind))
    assert caplog.records == []


def test_what_stops_writes_is_an_error() -> None:
    """Alarms are made from levels: losing writes is an error, coming back is information."""
    assert LEVELS[events.FailedOver] == LEVELS[events.MockEntered] == logging.ERROR
    assert LEVELS[events.FailedBack] == LEVELS[events.Recovered] == logging.INFO


def test_a_slow_operation_has_a_log_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """Slow operations can be kept or dropped apart from everything else."""
    log_slow(SLOW)
    (logged,) = caplog.records
    assert (logged.name, logged.levelno) == ("healthstore.slow", logging.WARNING)
    assert logged.getMessage() == "slow query"
    assert vars(logged)["healthstore_shape"] == SLOW.shape
    caplog.clear()
    caplog.set_level(logging.ERROR, "healthstore.slow")
    log_slow(SLOW)
    assert caplog.records == []


def test_a_record_factory_of_the_application_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Attributes such as ``source`` and ``backend`` that others add do not collide with ours."""
    plain = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = plain(*args, **kwargs)
        for each in fields(FailedOver):
            setattr(made, each.name, "theirs")
        return made

    monkeypatch.setattr(logging, "_logRecordFactory", factory)
    log_event(FAILED_OVER)
    (logged,) = caplog.records
    assert vars(logged)["source"] == "theirs"
    assert vars(logged)["healthstore_source"] == "postgresql"


def test_json_is_one_object_on_one_line() -> None:
    """Time in UTC, level, logger and message come first, then what was added."""
    line = JsonFormatter().format(record("two\nlines", **extra(FAILED_OVER)))
    assert "\n" not in line
    assert list(json.loads(line).items()) == [
        ("time", "2026-02-03T04:05:06.789000+00:00"),
        ("level", "WARNING"),
        ("logger", "app"),
        ("message", "two\nlines"),
        ("healthstore_source", "postgresql"),
        ("healthstore_target", "sqlite"),
        ("healthstore_reason", "HS-6000 no answer"),
        ("healthstore_seconds", 1.25),
    ]


def test_json_keeps_what_others_add() -> None:
    """Attributes of the application are there, as text where they are no JSON; none replaces ours."""
    line = JsonFormatter().format(record(user_id=7, price=Decimal("1.50"), level="theirs"))
    entry = json.loads(line)
    assert (entry["user_id"], entry["price"], entry["level"]) == (7, "1.50", "WARNING")


def test_json_has_the_exception_and_the_stack() -> None:
    """A traceback is one value of the object, not further lines."""
    with pytest.raises(ZeroDivisionError) as raised:
        divmod(1, 0)
    error = raised.value
    failed = record(
        exc_info=(type(error), error, error.__traceback__),
        stack_info="Stack (most recent call last):\n  x",
    )
    line = JsonFormatter().format(failed)
    entry = json.loads(line)
    assert "\n" not in line
    assert entry["exception"].startswith("Traceback")
    assert "ZeroDivisionError: " in entry["exception"]
    assert entry["stack"].startswith("Stack")
    assert "exc_info" not in entry


def test_text_has_what_was_added_as_pairs() -> None:
    """A line for people says what happened to whom; text with spaces is quoted."""
    assert TextFormatter().format(record("failed over", **extra(FAILED_OVER))) == (
        "2026-02-03T04:05:06+00:00 WARNING failed over source=postgresql target=sqlite "
        'reason="HS-6000 no answer" seconds=1.25'
    )
    left = TextFormatter().format(record("mock left", **extra(MockLeft(3))))
    assert left.endswith(" mock left writes=3")
    assert TextFormatter().format(record()) == "2026-02-03T04:05:06+00:00 WARNING hello"


def test_a_formatter_can_be_used_twice() -> None:
    """Two handlers with two formatters on one record see the same attributes."""
    made = record("failed over", **extra(FAILED_OVER))
    first = JsonFormatter().format(made)
    TextFormatter().format(made)
    logging.Formatter("%(asctime)s %(message)s").format(made)
    assert JsonFormatter().format(made) == first


@pytest.mark.parametrize("home", ["healthstore.logs", "healthstore.manager"])
def test_a_library_is_silent_by_itself(home: str) -> None:
    """Without logging set up by the application, not even an error is printed."""
    script = (
        f"import {home}, logging\n"
        "from healthstore.events import FailedOver\n"
        "from healthstore.logs import log_event\n"
        "log_event(FailedOver('a', 'b', 'c', 1.0))\n"
        "assert logging.getLogger('healthstore').level == logging.NOTSET\n"
        "assert logging.getLogger().handlers == []\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_package_itself_does_not_wait_for_logging() -> None:
    """``import healthstore`` loads no logging: its silence comes with the first module that logs."""
    script = "import healthstore, sys; assert 'logging' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")

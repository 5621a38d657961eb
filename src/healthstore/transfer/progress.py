"""What a transfer tells while it runs: frozen events, none with a value of a document."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, TypeVar

from healthstore.events import Event

__all__ = (
    "CollectionFinished",
    "CollectionStarted",
    "Finished",
    "Mismatch",
    "PageMoved",
    "Planned",
    "Progress",
    "Reporter",
    "Stage",
    "TransferEvent",
    "Verified",
    "told",
)

E = TypeVar("E", bound=Event)

_log = logging.getLogger("healthstore.transfer")


class Stage(StrEnum):
    """A part of a transfer that goes over documents once."""

    CHECK = "check"
    """A file is read and checked; nothing is written yet."""
    COPY = "copy"
    """Documents are written."""
    VERIFY = "verify"
    """Documents are read back and compared."""


@dataclass(frozen=True, slots=True)
class TransferEvent(Event):
    """The root of a transfer's events."""


@dataclass(frozen=True, slots=True)
class Planned(TransferEvent):
    """What will be moved: the number of documents of each collection, parents first."""

    collections: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CollectionStarted(TransferEvent):
    """A stage begins with a collection; ``total`` is None when it is not known yet."""

    stage: Stage
    collection: str
    total: int | None


@dataclass(frozen=True, slots=True)
class PageMoved(TransferEvent):
    """A page is done: ``rows`` in it, ``size`` in bytes, ``done`` of ``total`` so far.

    ``share`` is the part of a file that has been read, from 0 to 1, where there is a file.
    """

    stage: Stage
    collection: str
    rows: int
    size: int
    done: int
    total: int | None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class CollectionFinished(TransferEvent):
    """A stage has ended with a collection; ``digest`` is that of the documents seen."""

    stage: Stage
    collection: str
    rows: int
    seconds: float
    digest: str


@dataclass(frozen=True, slots=True)
class Verified(TransferEvent):
    """A collection was read back and is equal."""

    collection: str
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Mismatch(TransferEvent):
    """A collection that must be equal differs: numbers of documents, and digests."""

    collection: str
    expected_rows: int
    found_rows: int
    expected_digest: str
    found_digest: str


@dataclass(frozen=True, slots=True)
class Finished(TransferEvent):
    """The transfer has succeeded."""

    rows: int
    seconds: float


Progress: TypeAlias = Callable[[TransferEvent], None]


def told(on_event: Callable[[E], None] | None, event: E) -> None:
    """Pass an event to a callback, if there is one; one that raises is logged, and no more."""
    if on_event is None:
        return
    try:
        on_event(event)
    except Exception:  # noqa: BLE001 - a progress bar must not break what it shows
        _log.exception("a progress callback failed on %s", type(event).__name__)


class Reporter:
    """Passes a transfer's events to a callback."""

    def __init__(self, on_event: Progress | None) -> None:
        self._on_event = on_event

    def __call__(self, event: TransferEvent) -> None:
        """Pass an event on, at once."""
        told(self._on_event, event)

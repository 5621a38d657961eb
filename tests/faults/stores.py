"""A manager over a server to break and a SQLite standby, and callers that note what they saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Annotated
from uuid import UUID

from pydantic import SecretStr
from tests.faults.notes import MARGIN
from tests.faults.turning import turning

from healthstore import DatabaseManager, Entity, MaxLength, Unique
from healthstore.config import MemberSettings, Settings
from healthstore.errors import DeadlineExceededError, HealthstoreError, UnavailableError
from healthstore.events import (
    ConnectionLost,
    Event,
    FailedBack,
    FailedOver,
    MemberDegraded,
    MockEntered,
    MockLeft,
    Recovered,
)
from healthstore.repository import Repository
from healthstore.routing.policy import FailoverPolicy, Probe

__all__ = ("FAST", "Call", "Calls", "Note", "Pair", "callers", "pair")

FAST = Probe(
    interval=0.3, fast_interval=0.1, connect_timeout=0.4, query_timeout=0.4, hold_down=0.5, jitter=0
)
"""Checks that find out what happened in less than a second."""
_KINDS = (ConnectionLost, FailedBack, FailedOver, MemberDegraded, MockEntered, MockLeft, Recovered)


class Note(Entity, collection="notes"):
    """What is written and read."""

    text: Annotated[str, Unique(), MaxLength(100)]


@dataclass(slots=True)
class Pair:
    """A manager of ``primary`` and ``standby``, with one note in both; ``timeout`` is a call's."""

    db: DatabaseManager
    settings: Settings
    timeout: float
    known: UUID
    events: list[Event] = field(default_factory=list[Event])
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def notes(self) -> Repository[Note]:
        """The repository."""
        return self.db.repository(Note)

    @property
    def kinds(self) -> list[str]:
        """The names of the events about members, in order."""
        return [type(event).__name__ for event in self.events]

    def noted(self, event: Event) -> None:
        """Keep an event about a member."""
        if isinstance(event, _KINDS):
            self.events.append(event)
            self._changed.set()

    async def happened(self, kind: type[Event], backend: str | None = None) -> float:
        """Wait for an event, of a member if one is named; return the seconds that it took.

        They are those that the loop had its turns in, as the times of calls are.
        """
        with turning() as clock:
            while not any(
                isinstance(event, kind) and backend in {None, getattr(event, "backend", None)}
                for event in self.events
            ):
                self._changed.clear()
                await self._changed.wait()
            return clock.now()

    async def read(self) -> None:
        """Read the note that is in both."""
        found = await self.notes.get(self.known)
        assert found is not None
        assert found.text == "known"


@asynccontextmanager
async def pair(
    url: str,
    folder: Path,
    *,
    probe: Probe = FAST,
    timeout: float = 1.0,  # noqa: ASYNC109 - the deadline of a call of the manager that is made
    **more: float,
) -> AsyncGenerator[Pair, None]:
    """Lend a manager over a database and its copy in a SQLite file; ``more`` sets the primary."""
    primary = MemberSettings.model_validate(
        {"name": "primary", "url": url, "timeout": timeout, **more}
    )
    file = SecretStr(f"sqlite:///{folder / 'standby.db'}")
    standby = MemberSettings(name="standby", url=file, timeout=timeout)
    policy = FailoverPolicy(probe=probe)
    settings = Settings(members=(primary, standby), policy=policy)
    async with DatabaseManager.from_settings(settings) as db:
        await db.initialize(Note)
        known = (await db.repository(Note).add(Note(text="known"))).id
        await db.migrate("primary", "standby")
        made = Pair(db, settings, timeout, known)
        db.on(Event, made.noted)
        yield made


@dataclass(frozen=True, slots=True)
class Call:
    """One call: when it began, how long it took, in all and of the loop's turns, and its error."""

    began: float
    elapsed: float
    seconds: float
    error: HealthstoreError | None = None

    @property
    def is_good(self) -> bool:
        """It succeeded, or its time ran out while the process itself got hardly a turn."""
        starved = isinstance(self.error, DeadlineExceededError) and self.seconds < self.elapsed / 2
        return self.error is None or starved


class Calls(list[Call]):
    """What callers saw."""

    def require_bounded(self, seconds: float) -> None:
        """Fail if a call took longer than its deadline and the margin."""
        assert self
        longest = max(self, key=lambda call: call.seconds)
        assert longest.seconds <= seconds + MARGIN, longest

    def require_good(self, *, since: float = 0.0) -> None:
        """Fail if a call that began since then failed."""
        bad = [call for call in self if not call.is_good and call.began >= since]
        assert not bad, bad[0]

    def require_understood(self) -> None:
        """Fail if an error says anything else than that a member is not there."""
        for call in self:
            assert isinstance(call.error, DeadlineExceededError | UnavailableError | None), call


@asynccontextmanager
async def callers(
    work: Callable[[], Awaitable[object]], number: int = 4
) -> AsyncGenerator[Calls, None]:
    """Let callers do the same again and again, and lend what they see.

    Each has made a call when the block begins, and has ended its last one behind it.
    """
    calls = Calls()
    warm, over = asyncio.Barrier(number + 1), asyncio.Event()

    async def call() -> None:
        began, turned, error = perf_counter(), clock.now(), None
        try:
            await work()
        except HealthstoreError as caught:
            error = caught
        calls.append(Call(began, perf_counter() - began, clock.now() - turned, error))

    async def run() -> None:
        await call()
        await warm.wait()
        while not over.is_set():
            await call()
            await asyncio.sleep(0.01)

    with turning() as clock:
        async with asyncio.TaskGroup() as group:
            for _ in range(number):
                group.create_task(run())
            await warm.wait()
            try:
                yield calls
            finally:
                over.set()

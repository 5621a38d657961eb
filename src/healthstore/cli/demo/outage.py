"""The demo's outage: the active member is lost under load, and comes back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter
from uuid import UUID

from healthstore.cli.demo.card import Card
from healthstore.cli.demo.primary import Primary
from healthstore.cli.demo.program import Patient, Reading, patients, readings
from healthstore.cli.output import Output, events_unlogged
from healthstore.errors import HealthstoreError, OutcomeUnknownError
from healthstore.events import ConnectionLost, Event, FailedBack, FailedOver, Recovered
from healthstore.manager import DatabaseManager
from healthstore.routing.policy import FailoverPolicy, Probe

__all__ = ("Outage",)

_SHOWN = (ConnectionLost, FailedOver, Recovered, FailedBack)
_PRIMARY, _STANDBY = "primary", "standby"
_WRITERS, _READERS = 4, 2
_COPIED = 200  # readings that both members have before it begins
_NEW = 1_000_000  # the number of the first reading that a writer adds
_LOAD_SECONDS = 0.5  # of work before, during and after the outage
_PATIENCE = 5.0  # seconds until nothing more is expected to happen
_REST = 0.005  # seconds between a failed call and the next one
# Quicker than a service wants it: people watch.
_POLICY = FailoverPolicy(
    probe=Probe(interval=0.1, fast_interval=0.05, fall=2, rise=2, figures_every=0, jitter=0)
)


@dataclass(slots=True)
class _Tally:
    """What writers and readers saw."""

    acknowledged: list[UUID] = field(default_factory=list[UUID])
    unknown: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])
    said: str = ""
    """How the last refusal of a write reads."""
    reads: int = 0
    failed_reads: Counter[str] = field(default_factory=Counter[str])


@dataclass(slots=True)
class Outage:
    """An ordered pair, a primary and a copy of it in a SQLite file; the first is lost for a while."""

    output: Output
    card: Card
    primary: Primary
    standby: Path
    _tally: _Tally = field(default_factory=_Tally)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _since: float = 0.0

    async def run(self) -> None:
        """Run it, and count every acknowledged write afterwards."""
        members = {_PRIMARY: self.primary.url, _STANDBY: f"sqlite:///{self.standby}"}
        for name, url in members.items():
            async with DatabaseManager(members={name: url}) as db:
                await db.initialize(Patient, Reading)
        async with DatabaseManager(members=members, policy=_POLICY) as db:
            await db.repository(Patient).add_many(patients())
            await db.repository(Reading).add_many(readings(_COPIED))
            await db.migrate(_PRIMARY, _STANDBY)
            failed_over, failed_back = _happens(db, FailedOver), _happens(db, FailedBack)
            for kind in _SHOWN:
                db.on(kind, self._show)
            with events_unlogged():
                async with self._load(db):
                    await asyncio.sleep(_LOAD_SECONDS)
                    await self._lose(db, failed_over)
                    await self._return(db, failed_back)
        await self._count()

    def _show(self, event: Event) -> None:
        """Show an event, with the seconds since the primary was lost, or told to come back."""
        seconds = perf_counter() - self._since
        parts = ", ".join(
            f"{name}: {value:.2f}" if isinstance(value, float) else f"{name}: {value}"
            for name, value in asdict(event).items()
        )
        self.output.show(f"  +{seconds:.2f} s  {type(event).__name__}  {parts}")

    async def _lose(self, db: DatabaseManager, failed_over: asyncio.Future[float]) -> None:
        """Lose the primary, and see who goes on."""
        tally = self._tally
        before = f"{_WRITERS} writers and {_READERS} readers are at work on {db.reads}"
        self._since = perf_counter()
        self.output.show(f"\n{before} ({self.primary.name}). {self.primary.lose()}")
        seconds = await _seconds(failed_over, self._since)
        counts = (len(tally.acknowledged), tally.reads, tally.failed_reads.total())
        tally.refused.clear()
        await asyncio.sleep(_LOAD_SECONDS)
        written, read, failed = (
            len(tally.acknowledged) - counts[0],
            tally.reads - counts[1],
            tally.failed_reads.total() - counts[2],
        )
        serves, writes = db.reads, db.writes
        self.output.show(f"Reads go on at {serves}. Each write ends with: {tally.said}")
        self.card.add(
            f"{self.primary.lost}: reads go on at the standby",
            f"{_told(seconds)}, then {read:,} reads, {failed} failed; "
            f"{tally.failed_reads.total() - failed} failed before",
            held=seconds is not None and serves == _STANDBY and read > 0 and not failed,
        )
        classes = ", ".join(f"{number:,} {name}" for name, number in tally.refused.items())
        self.card.add(
            f"without {self.primary.name} every write is refused, and says so",
            f"{classes or 'none refused'}, {written} accepted",
            held=bool(tally.refused) and not written and writes is None,
        )

    async def _return(self, db: DatabaseManager, failed_back: asyncio.Future[float]) -> None:
        """Let the primary come back, and see that writes go on by themselves."""
        tally = self._tally
        self._since = perf_counter()
        self.output.show(await self.primary.come_back())
        seconds = await _seconds(failed_back, self._since)
        before = len(tally.acknowledged)
        await asyncio.sleep(_LOAD_SECONDS)
        written = len(tally.acknowledged) - before
        self.card.add(
            f"{self.primary.name} is back: reads and writes return to it by themselves",
            f"{_told(seconds)}, then {written:,} writes",
            held=seconds is not None and db.reads == db.writes == _PRIMARY and written > 0,
        )

    async def _count(self) -> None:
        """Read the primary as it is now, with nothing of what the outage had in memory."""
        tally = self._tally
        async with DatabaseManager(members={_PRIMARY: self.primary.url}) as db:
            there = {each.id async for each in db.repository(Reading).stream()}
        found = sum(identity in there for identity in tally.acknowledged)
        unknown = f"; {tally.unknown} without an answer" if tally.unknown else ""
        self.card.add(
            f"{self.primary.name}: every acknowledged write is there afterwards",
            f"{found:,} of {len(tally.acknowledged):,}{unknown}",
            held=found == len(tally.acknowledged) > 0,
        )

    @asynccontextmanager
    async def _load(self, db: DatabaseManager) -> AsyncGenerator[None, None]:
        """Keep writers and readers at work."""
        async with asyncio.TaskGroup() as group:
            for number in range(_WRITERS):
                group.create_task(self._write(db, _NEW + number))
            for _ in range(_READERS):
                group.create_task(self._read(db))
            try:
                yield
            finally:
                self._stop.set()

    async def _write(self, db: DatabaseManager, first: int) -> None:
        tally, values = self._tally, db.repository(Reading)
        for number in count(first, _WRITERS):
            if self._stop.is_set():
                return
            (reading,) = readings(1, number)
            try:
                await values.add(reading)
            except OutcomeUnknownError:
                tally.unknown += 1
            except HealthstoreError as error:
                tally.refused[type(error).__name__] += 1
                tally.said = str(error)
                await asyncio.sleep(_REST)
            else:
                tally.acknowledged.append(reading.id)

    async def _read(self, db: DatabaseManager) -> None:
        tally, people = self._tally, db.repository(Patient)
        known = [each.id for each in patients()]
        for number in count():
            if self._stop.is_set():
                return
            try:
                await people.get(known[number % len(known)])
            except HealthstoreError as error:
                tally.failed_reads[type(error).__name__] += 1
                await asyncio.sleep(_REST)
            else:
                tally.reads += 1


def _happens(db: DatabaseManager, kind: type[FailedOver | FailedBack]) -> asyncio.Future[float]:
    """Return when an event of this kind first comes, from now on."""
    moment: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def settle(_: FailedOver | FailedBack) -> None:
        if not moment.done():
            moment.set_result(perf_counter())

    db.on(kind, settle)
    return moment


async def _seconds(moment: asyncio.Future[float], started: float) -> float | None:
    """Return how long it took until something happened; None if it does not."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await moment - started
    except TimeoutError:
        return None


def _told(seconds: float | None) -> str:
    return f"not within {_PATIENCE:g} s" if seconds is None else f"after {seconds:.2f} s"

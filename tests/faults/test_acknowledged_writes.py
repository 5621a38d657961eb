"""Nothing acknowledged is lost: writers go on while a real server is killed, frozen and cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from uuid import UUID

from tests.faults.proxy import proxy
from tests.faults.servers import PrivateServer
from tests.faults.stores import Note, Pair, callers, pair

from healthstore.errors import HealthstoreError, Outcome
from healthstore.events import FailedBack, FailedOver


@dataclass(slots=True)
class Ledger:
    """What callers were told about each note that they added."""

    store: Pair
    acknowledged: set[UUID] = field(default_factory=set[UUID])
    unknown: set[UUID] = field(default_factory=set[UUID])
    refused: set[UUID] = field(default_factory=set[UUID])
    numbers: Iterator[int] = field(default_factory=count)
    _wanted: int = 0
    _reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def add(self) -> None:
        """Add a note."""
        made = Note(text=f"note {next(self.numbers)}")
        try:
            await self.store.notes.add(made)
        except HealthstoreError as error:
            (self.unknown if error.outcome is Outcome.UNKNOWN else self.refused).add(made.id)
            raise
        self.acknowledged.add(made.id)
        if len(self.acknowledged) >= self._wanted:
            self._reached.set()

    async def more(self, number: int) -> None:
        """Wait until so many more are acknowledged."""
        self._wanted = len(self.acknowledged) + number
        self._reached.clear()
        await self._reached.wait()

    async def require_kept(self) -> None:
        """Fail unless what is there is what was told."""
        there = [each.id async for each in self.store.notes.stream()]
        found = set(there) - {self.store.known}
        assert len(there) == len(set(there))
        assert self.acknowledged <= found, "an acknowledged write is lost"
        assert not self.refused & found, "a refused write was made"
        assert found <= self.acknowledged | self.unknown


async def test_every_acknowledged_write_survives_a_kill(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """What was acknowledged is there once, what was refused is not, the unknown is 0 or 1 times."""
    url = await private_postgresql.database()
    async with asyncio.timeout(14), pair(url, tmp_path) as store:
        ledger = Ledger(store)
        async with callers(ledger.add) as writes:
            await ledger.more(200)
            private_postgresql.kill()
            await store.happened(FailedOver)
            await private_postgresql.restart()
            await store.happened(FailedBack)
            await ledger.more(100)
        assert ledger.refused, "writes must have been refused while the server was away"
        await ledger.require_kept()
        writes.require_bounded(store.timeout)


async def test_every_acknowledged_write_survives_a_hang(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """A frozen server may finish a write when it goes on, long after its caller has left."""
    url = await private_postgresql.database()
    async with asyncio.timeout(14), pair(url, tmp_path) as store:
        ledger = Ledger(store)
        async with callers(ledger.add) as writes:
            await ledger.more(200)
            private_postgresql.stop()
            await store.happened(FailedOver)
            private_postgresql.cont()
            await store.happened(FailedBack)
            await ledger.more(100)
        assert ledger.unknown, "writes must have been under way when the server froze"
        await ledger.require_kept()
        writes.require_bounded(store.timeout)


async def test_every_acknowledged_write_survives_lost_replies(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """Connections are reset right after the server has committed: never a double, never a loss."""
    url = await private_postgresql.database()
    async with (
        asyncio.timeout(14),
        proxy("127.0.0.1", private_postgresql.port) as between,
        pair(between.url(url), tmp_path) as store,
    ):
        ledger = Ledger(store)
        async with callers(ledger.add) as writes:
            for strike in (between.reset_on_reply, between.reset_on_request) * 10:
                await ledger.more(5)
                strike()
                await between.struck()
            await ledger.more(5)
        assert ledger.unknown, "replies must have been lost"
        await ledger.require_kept()
        writes.require_bounded(store.timeout)

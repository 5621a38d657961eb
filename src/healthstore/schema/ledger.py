"""The ledger of a store that is changed: locked by who applies migrations, and written by them.

It is one row of the store's catalog, so it is there where the definitions are, and each change of
it is one write that is guarded by its version: of two processes one comes first, and who has lost
the lock meanwhile writes nothing any more.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import uuid4

from healthstore.abc.backend import Backend, Executor, UnitOptions
from healthstore.abc.process import Process, this_process
from healthstore.errors import (
    DuplicateKeyError,
    HealthstoreError,
    MigrationError,
    SerializationError,
    StaleVersionError,
)
from healthstore.model.catalog import CATALOG
from healthstore.model.ledger import Book, Lock, UnderWay
from healthstore.model.ops import Ensure, Insert, Replace
from healthstore.transfer.ledger import read_ledger

__all__ = ("Ledger", "now")

_LEASE = 30.0  # seconds that a lock holds without being renewed
_POLL = 0.5  # seconds between two looks whether a lock is free
_RELEASES = 3


class Ledger:
    """A ledger that this process has locked, and the version of its row."""

    def __init__(self, store: Backend, book: Book, version: int) -> None:
        self.book = book
        self._store = store
        self._version = version
        self._turn = asyncio.Lock()  # between who applies, and what renews the lock

    @property
    def under_way(self) -> UnderWay:
        """The migration that is being applied, or taken back."""
        found = self.book.under_way
        assert found is not None, "a step is taken after its migration was noted"
        return found

    @classmethod
    @asynccontextmanager
    async def locked(cls, store: Backend, wait: float) -> AsyncGenerator[Self, None]:
        """Lock a store's ledger for a block.

        Another process's lock is waited for, ``wait`` seconds at most; then SerializationError
        names its owner. A lock whose owner is gone is free after half a minute.
        """
        await store.execute(Ensure(()))
        ledger = await cls._taken(store, wait)
        renewing = asyncio.create_task(ledger.renewed())
        try:
            yield ledger
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})
            with suppress(HealthstoreError):  # it is free after a while in any case
                await ledger.release()

    @classmethod
    async def _taken(cls, store: Backend, wait: float) -> Self:
        token = str(uuid4())
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            book, version = await read_ledger(store)
            if not _is_held(book.lock):
                ledger = cls(store, replace(book, lock=_lock(token)), version)
                with suppress(StaleVersionError, DuplicateKeyError):  # somebody was faster
                    await ledger.write(ledger.book)
                    return ledger
            elif loop.time() >= until:
                assert book.lock is not None
                raise SerializationError(
                    f"another process applies migrations: {book.lock.owner}",
                    hint=f"wait for it; if it is gone, its lock ends at {book.lock.until}",
                    backend=store.name,
                )
            await asyncio.sleep(_POLL * random.uniform(0.5, 1))  # noqa: S311 - no secret

    async def release(self) -> None:
        """Free the lock, as it is stored: a write that was cut short may have been kept."""
        for _ in range(_RELEASES):
            book, version = await read_ledger(self._store)
            mine = self.book.lock
            if book.lock is None or mine is None or book.lock.token != mine.token:
                return
            self._version = version
            with suppress(StaleVersionError):  # what was cut short is kept just now
                await self.write(replace(book, lock=None))
                return

    async def write(self, book: Book) -> None:
        """Write the ledger; raise StaleVersionError if another process has the lock by now."""
        async with self._turn:
            await self._put(book, self._store)
            self._kept(book)

    async def require_held(self) -> None:
        """Raise MigrationError if another process has the lock by now."""
        lock = self.book.lock
        try:
            book, _ = await read_ledger(self._store)
        except HealthstoreError:
            return  # what is told of the store is what has failed before
        if lock is not None and (book.lock is None or book.lock.token != lock.token):
            raise MigrationError(
                "another process applies migrations by now: this one was not heard of for "
                f"{_LEASE:g} seconds",
                hint="look where the store is: db.schema.current(), healthstore schema current",
                backend=self._store.name,
            ) from None

    def _kept(self, book: Book) -> None:
        """Know that a book has been written."""
        self.book = book
        self._version += 1

    @asynccontextmanager
    async def unit(
        self, store: Backend, done: UnderWay, seconds: float
    ) -> AsyncGenerator[Executor, None]:
        """Lend a unit that ends by noting what is done then: both, or nothing.

        It may take so many seconds. The lock is not renewed meanwhile.
        """
        async with self._turn:
            book = replace(self.book, under_way=done)
            unit = await store.begin(UnitOptions(deadline=seconds))
            try:
                yield unit
                await self._put(book, unit)
                await unit.commit()
            finally:
                await unit.rollback()
            self._kept(book)

    async def _put(self, book: Book, executor: Executor) -> None:
        row = book.as_row(self._version + 1)
        if self._version == 0:
            await executor.execute(Insert(CATALOG, (row,)))
            return
        (done,) = await executor.execute(Replace(CATALOG, (row,), (self._version,)))
        if not done:
            raise StaleVersionError(
                "the ledger of migrations is gone",
                hint="look at the store",
                backend=self._store.name,
            )

    async def renewed(self) -> None:
        """Renew the lock until cancelled."""
        while True:
            await asyncio.sleep(_LEASE / 3)
            async with self._turn:
                lock = self.book.lock
                assert lock is not None
                book = replace(self.book, lock=_lock(lock.token))
                with suppress(HealthstoreError):  # the next write will tell
                    await self._put(book, self._store)
                    self._kept(book)


def now() -> str:
    """Return this moment, as the ledger writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _lock(token: str) -> Lock:
    until = datetime.now(UTC) + timedelta(seconds=_LEASE)
    me = this_process()
    return Lock(me.host, me.number, token, until.isoformat(timespec="milliseconds"), me.space)


def _is_held(lock: Lock | None) -> bool:
    if lock is None or datetime.fromisoformat(lock.until) <= datetime.now(UTC):
        return False
    return not Process(lock.host, lock.space, lock.process).has_ended()

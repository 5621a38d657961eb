"""Transactions: a connection of the engine held per session, at REPEATABLE READ.

A transaction is named by the session's id and the client's number. It ends with its commit or
abort, with any error, after a time without a statement, and soon after the last connection that
took part in it closes: a driver that empties its pool goes on with it on a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from enum import Enum, auto
from typing import Final

import asyncpg

from .engine import Engine, Link
from .errors import (
    MAX_TIME_EXPIRED,
    NO_SUCH_TRANSACTION,
    SHUTDOWN,
    TRANSIENT,
    UNKNOWN_COMMIT,
    CommandError,
    from_engine,
)

__all__ = ("Key", "Transactions")

IDLE_SECONDS: Final = 60.0  # transactionLifetimeLimitSeconds of MongoDB
GRACE_SECONDS: Final = 1.0  # for a driver to come back on another connection
REMEMBERED: Final = 10_000  # sessions whose last outcome is kept
CONFLICTING_OPERATION: Final = 117
TRANSACTION_TOO_OLD: Final = 225
TRANSACTION_COMMITTED: Final = 256

Key = tuple[bytes, int]
"""The session's id and the number of the transaction in it."""


class Outcome(Enum):
    """How a transaction ended."""

    COMMITTED = auto()
    ABORTED = auto()
    UNKNOWN = auto()


class Transaction:
    """One open transaction."""

    def __init__(self, key: Key, link: Link) -> None:
        self.key = key
        self.link = link
        self.lock = asyncio.Lock()
        self.clients: set[object] = set()
        self.timer: asyncio.TimerHandle | None = None
        self.ended = False


class Transactions:
    """All open transactions, and how the last one of each session ended."""

    def __init__(self, engine: Engine, ended: Callable[[Key], None]) -> None:
        self._engine = engine
        self._tell = ended
        self._open: dict[bytes, Transaction] = {}
        self._outcomes: OrderedDict[bytes, tuple[int, Outcome]] = OrderedDict()

    @contextlib.asynccontextmanager
    async def statement(self, key: Key, client: object, *, start: bool) -> AsyncIterator[Link]:
        """Lend the link of a transaction to one statement; any error in it ends the transaction.

        Raises CommandError 251, 256, 225 or 117 when there is no such open transaction.
        """
        if start:
            await self._start(key)
        transaction = self._find(key)
        transaction.clients.add(client)
        async with self._held(transaction):
            try:
                yield transaction.link
            except BaseException:
                await self._roll_back(transaction)
                raise

    async def _start(self, key: Key) -> None:
        session, number = key
        if (older := self._open.get(session)) is not None:
            if number < older.key[1]:
                raise CommandError(TRANSACTION_TOO_OLD, "a later transaction has begun")
            await self._end(older)
            if number == older.key[1]:
                raise CommandError(CONFLICTING_OPERATION, "this transaction has begun already")
        last, _ = self._outcomes.get(session, (-1, Outcome.ABORTED))
        if number < last:
            raise CommandError(TRANSACTION_TOO_OLD, "a later transaction has ended already")
        link = await self._engine.acquire()
        try:
            await link.begin()
        except BaseException:
            await self._engine.recycle(link)
            raise
        if session in self._open:  # begun by another connection meanwhile
            await self._engine.recycle(link)
            raise CommandError(CONFLICTING_OPERATION, "two transactions begin in one session")
        self._open[session] = Transaction(key, link)

    def _find(self, key: Key) -> Transaction:
        session, number = key
        transaction = self._open.get(session)
        if transaction is not None and transaction.key == key:
            return transaction
        if self._outcomes.get(session) == (number, Outcome.COMMITTED):
            raise CommandError(TRANSACTION_COMMITTED, "this transaction is committed")
        raise CommandError(NO_SUCH_TRANSACTION, "no such transaction is open", (TRANSIENT,))

    @contextlib.asynccontextmanager
    async def _held(self, transaction: Transaction) -> AsyncIterator[None]:
        """Keep a transaction for one statement, its time limit stopped."""
        async with transaction.lock:
            if transaction.ended:
                raise CommandError(NO_SUCH_TRANSACTION, "the transaction has ended", (TRANSIENT,))
            if transaction.timer is not None:
                transaction.timer.cancel()
            try:
                yield
            finally:
                if not transaction.ended:
                    transaction.timer = asyncio.get_running_loop().call_later(
                        IDLE_SECONDS, self._expire, transaction
                    )

    async def commit(self, key: Key) -> None:
        """Commit; a second time for the same transaction succeeds as well.

        Raises CommandError 112 when the engine refuses, 251 when there is nothing to commit, and
        50 when an earlier try left open whether it is committed.
        """
        session, number = key
        transaction = self._open.get(session)
        if transaction is not None and transaction.key == key:
            await self._engine.finish(self._commit(transaction))
        ended = self._outcomes.get(session)
        if ended == (number, Outcome.UNKNOWN):
            message = "whether it was committed is not known: the engine was lost meanwhile"
            raise CommandError(MAX_TIME_EXPIRED, message, (UNKNOWN_COMMIT,))
        if ended != (number, Outcome.COMMITTED):
            raise CommandError(NO_SUCH_TRANSACTION, "nothing to commit", (TRANSIENT,))

    async def _commit(self, transaction: Transaction) -> None:
        async with transaction.lock:
            if transaction.ended:
                return
            outcome = Outcome.UNKNOWN
            try:
                committed = await transaction.link.commit()
                outcome = Outcome.COMMITTED if committed else Outcome.ABORTED
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                failure = from_engine(error)
                if failure.code != SHUTDOWN:  # the engine refused, so it has rolled back
                    outcome = Outcome.ABORTED
                    failure.labels = (TRANSIENT,)
                raise failure from error
            finally:
                self._forget(transaction, outcome)
                if outcome is Outcome.COMMITTED:
                    self._engine.release(transaction.link)
                else:
                    await self._engine.recycle(transaction.link)

    async def abort(self, key: Key) -> None:
        """Roll back. Raises CommandError 251 or 256 when there is nothing to roll back."""
        transaction = self._find(key)
        async with self._held(transaction):
            await self._roll_back(transaction)

    async def _roll_back(self, transaction: Transaction) -> None:
        if not transaction.ended:
            self._forget(transaction, Outcome.ABORTED)
            await self._engine.recycle(transaction.link)

    def _forget(self, transaction: Transaction, outcome: Outcome) -> None:
        session, number = transaction.key
        transaction.ended = True
        if transaction.timer is not None:
            transaction.timer.cancel()
        if self._open.get(session) is transaction:
            del self._open[session]
        self._outcomes[session] = (number, outcome)
        self._outcomes.move_to_end(session)
        if len(self._outcomes) > REMEMBERED:
            self._outcomes.popitem(last=False)
        self._tell(transaction.key)

    async def _end(self, transaction: Transaction) -> None:
        """Roll back once its statement, if one runs, is over."""
        async with transaction.lock:
            await self._roll_back(transaction)

    def _expire(self, transaction: Transaction) -> None:
        self._engine.start(self._end(transaction))

    def leave(self, client: object) -> None:
        """Note that a connection has closed: what it alone took part in ends soon."""
        loop = asyncio.get_running_loop()
        for transaction in self._open.values():
            if client in transaction.clients:
                transaction.clients.discard(client)
                if not transaction.clients:
                    loop.call_later(GRACE_SECONDS, self._expire_if_left, transaction)

    def _expire_if_left(self, transaction: Transaction) -> None:
        if not (transaction.clients or transaction.ended):
            self._expire(transaction)

    async def end_sessions(self, sessions: Iterable[bytes] | None) -> None:
        """End what is open in these sessions; None means all."""
        for session in list(self._open) if sessions is None else sessions:
            if (transaction := self._open.get(session)) is not None:
                await self._end(transaction)

"""The server behind the wire: it runs commands, and knows sessions, transactions and cursors."""

from __future__ import annotations

import asyncio
import datetime
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import asyncpg
import bson
from bson import ObjectId

from .command import Command, session_id
from .commands import COMMANDS, OK, Entry, Work
from .cursors import Cursor, Cursors
from .engine import Engine, Link
from .errors import (
    BAD_VALUE,
    RETRYABLE_WRITE,
    SHUTDOWN,
    TRANSIENT,
    WRITE_CONFLICT,
    CommandError,
    from_engine,
)
from .transactions import Transactions
from .wire import MAX_MESSAGE, Request

__all__ = ("Gateway",)

SET_NAME: Final = "rs0"
VERSION: Final = (7, 0, 0, 0)  # the release whose commands and replies these are
MAX_WIRE_VERSION: Final = 21  # that of MongoDB 7.0
MAX_DOCUMENT: Final = 16 * 1024 * 1024  # bytes
MAX_BATCH: Final = 100_000  # writes in one command
SESSION_MINUTES: Final = 30
ATTEMPTS: Final = 6  # of a command outside of transactions that lost to a concurrent one

COMMAND_NOT_FOUND: Final = 59
OPERATION_NOT_SUPPORTED_IN_TRANSACTION: Final = 263
_LOST: Final = (OSError, asyncpg.InterfaceError)


class Gateway:
    """One server; address is what clients reach it by, as host:port."""

    def __init__(self, engine: Engine, address: str) -> None:
        self._engine = engine
        self._address = address
        self._cursors = Cursors(engine)
        self._transactions = Transactions(engine, self._cursors.end_transaction)
        self._here: Mapping[str, Callable[[Command], Awaitable[bytes]]] = {
            "aborttransaction": self._abort,
            "buildinfo": self._build_info,
            "committransaction": self._commit,
            "endsessions": self._end_sessions,
            "getmore": self._get_more,
            "hello": self._hello,
            "ismaster": self._hello,
            "killallsessions": self._end_all_sessions,
            "killcursors": self._kill_cursors,
            "killsessions": self._end_sessions,
            "ping": self._ping,
            "refreshsessions": self._ping,
        }

    async def answer(self, request: Request, client: object) -> bytes:
        """Run the command of a request and return the reply, also that of a failure."""
        try:
            command = Command(request, client)
            try:
                return await self._run(command)
            except (asyncpg.PostgresError, *_LOST) as error:
                raise self._labelled(command, from_engine(error)) from error
        except CommandError as error:
            return error.document()

    @staticmethod
    def _labelled(command: Command, error: CommandError) -> CommandError:
        """Add the labels by which a driver decides to repeat."""
        if command.in_transaction and error.code in {SHUTDOWN, WRITE_CONFLICT}:
            error.labels = (TRANSIENT,)
        elif error.code == SHUTDOWN and command.retry_id:
            error.labels = (RETRYABLE_WRITE,)
        return error

    async def _run(self, command: Command) -> bytes:
        here = self._here.get(command.name)
        if here is not None:
            return await here(command)
        entry = COMMANDS.get(command.name)
        if entry is None:
            raise CommandError(COMMAND_NOT_FOUND, f"no such command: '{command.given_name}'")
        if command.in_transaction:
            if not entry.transactional:
                message = f"{command.given_name} cannot run in a transaction"
                raise CommandError(OPERATION_NOT_SUPPORTED_IN_TRANSACTION, message)
            return await self._in_transaction(command, entry.run)
        if entry.writes:
            return await self._engine.finish(self._alone(command, entry))
        return await self._alone(command, entry)

    async def _in_transaction(
        self, command: Command, run: Callable[[Work], Awaitable[bytes]]
    ) -> bytes:
        async with self._transactions.statement(
            command.key, command.client, start=command.starts
        ) as link:
            result = await run(Work(command, link, self._cursors))
            if b"writeErrors" in result[: 1 << 16] and "writeErrors" in bson.decode(result):
                ...
            return result

"""The server behind the wire: it runs commands, and knows sessions, transactions and cursors."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

import asyncpg
import bson
from bson import ObjectId

from .command import Command, session_id
from .commands import COMMANDS, OK, Entry, Work
from .cursors import Cursors
from .engine import Engine
from .errors import (
    BAD_VALUE,
    INTERNAL_ERROR,
    MAX_TIME_EXPIRED,
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
REPEATS: Final = 20  # of a command outside of transactions that lost to a concurrent one

COMMAND_NOT_FOUND: Final = 59
OPERATION_NOT_SUPPORTED_IN_TRANSACTION: Final = 263
_log = logging.getLogger(__name__)
_LOST: Final = (OSError, asyncpg.InterfaceError)


class Gateway:
    """One server; address is what clients reach it by, as host:port."""

    def __init__(self, engine: Engine, address: str) -> None:
        self._engine = engine
        self._address = address
        self._cursors = Cursors(engine)
        self._transactions = Transactions(engine, self._cursors.end_transaction)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
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
            "startsession": self._start_session,
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
        except Exception as error:  # noqa: BLE001 - the server outlives a fault in one command
            _log.exception("a command was not understood")
            return CommandError(INTERNAL_ERROR, f"{type(error).__name__} here").document()

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
        # Only with one of these two stages does a pipeline write.
        pipeline_writes = command.name == "aggregate" and (
            b"$out" in command.raw or b"$merge" in command.raw
        )
        if entry.writes or pipeline_writes:
            return await self._engine.finish(self._alone(command, entry))
        return await self._alone(command, entry)

    async def _in_transaction(
        self, command: Command, run: Callable[[Work], Awaitable[bytes]]
    ) -> bytes:
        async with self._transactions.statement(
            command.key, command.client, start=command.starts
        ) as link:
            return await run(Work(command, link, self._cursors))

    async def _alone(self, command: Command, entry: Entry) -> bytes:
        """Run a command outside of transactions, again if a concurrent one was first."""
        try:
            return await self._once(command, entry.run)
        except (asyncpg.PostgresError, CommandError) as error:
            if not _is_conflict(error):
                raise
        # Those that lost take turns: side by side they would meet, and deadlock, again.
        place = f"{command.database}.{command.fields[command.given_name]}"
        turn = self._turns.setdefault(place, asyncio.Lock())
        try:
            async with asyncio.timeout(command.milliseconds / 1000 or None):
                await turn.acquire()
        except TimeoutError:
            raise CommandError(MAX_TIME_EXPIRED, "others write the same") from None
        try:
            for _ in range(REPEATS):
                try:
                    return await self._once(command, entry.run)
                except (asyncpg.PostgresError, CommandError) as error:
                    if not _is_conflict(error):
                        raise
            return await self._once(command, entry.run)
        finally:
            turn.release()

    async def _once(self, command: Command, run: Callable[[Work], Awaitable[bytes]]) -> bytes:
        link = await self._engine.acquire()
        try:
            result = await run(Work(command, link, self._cursors))
        except (asyncpg.PostgresError, CommandError):
            self._engine.release(link)  # the statement is over, whatever it said
            raise
        except BaseException:
            await self._engine.recycle(link)
            raise
        if not link.pinned:
            self._engine.release(link)
        return result

    # ------------------------------------------------------------ cursors
    async def _get_more(self, command: Command) -> bytes:
        number = command.fields[command.given_name]
        if not isinstance(number, int):
            raise CommandError(BAD_VALUE, "getMore must be a cursor's number")
        cursor = self._cursors.take(int(number))
        if (command.key if command.in_transaction else None) != cursor.transaction:
            self._cursors.add(cursor)
            raise CommandError(BAD_VALUE, "the cursor was opened in another transaction")

        async def run(work: Work) -> bytes:
            row = await work.call(
                "SELECT * FROM documentdb_api.cursor_get_more($1, $2, $3)",
                cursor.database,
                command.raw,
                cursor.continuation,
            )
            cursor.continuation = row["continuation"]
            return bytes(row["cursorpage"])

        try:
            if cursor.transaction is not None:
                page = await self._in_transaction(command, run)
            elif cursor.link is not None:
                page = await run(Work(command, cursor.link, self._cursors))
            else:
                page = await self._once(command, run)
        except BaseException:
            self._cursors.close(cursor)
            raise
        if cursor.continuation:
            self._cursors.add(cursor)
        else:
            self._cursors.close(cursor)
        return page

    async def _kill_cursors(self, command: Command) -> bytes:
        numbers = _listed(command, "cursors")
        if not all(isinstance(number, int) for number in numbers):
            raise CommandError(BAD_VALUE, "cursors must be numbers")
        killed, missing = self._cursors.kill(numbers)
        return bson.encode(
            {
                "cursorsKilled": [bson.Int64(number) for number in killed],
                "cursorsNotFound": [bson.Int64(number) for number in missing],
                "cursorsAlive": [],
                "cursorsUnknown": [],
                "ok": 1.0,
            }
        )

    # ------------------------------------------------------------ sessions and transactions
    async def _commit(self, command: Command) -> bytes:
        await self._transactions.commit(command.key)
        return OK

    async def _abort(self, command: Command) -> bytes:
        await self._transactions.abort(command.key)
        return OK

    async def _start_session(self, command: Command) -> bytes:
        session = {"id": bson.Binary.from_uuid(uuid.uuid4())}
        return bson.encode({"id": session, "timeoutMinutes": SESSION_MINUTES, "ok": 1.0})

    async def _end_sessions(self, command: Command) -> bytes:
        await self._end([session_id(item) for item in _listed(command, command.given_name)])
        return OK

    async def _end_all_sessions(self, command: Command) -> bytes:
        await self._end(None)
        return OK

    async def _end(self, sessions: Iterable[bytes] | None) -> None:
        await self._transactions.end_sessions(sessions)
        self._cursors.end_sessions(sessions)

    def leave(self, client: object) -> None:
        """Note that a connection has closed."""
        self._transactions.leave(client)

    # ------------------------------------------------------------ what the server is
    async def _ping(self, command: Command) -> bytes:
        return OK

    async def _hello(self, command: Command) -> bytes:
        return bson.encode(
            {
                "helloOk": True,
                "isWritablePrimary": True,
                "ismaster": True,
                "secondary": False,
                "setName": SET_NAME,
                "setVersion": 1,
                "electionId": ObjectId("7fffffff0000000000000001"),
                "hosts": [self._address],
                "me": self._address,
                "primary": self._address,
                "localTime": dt.datetime.now(dt.UTC),
                "logicalSessionTimeoutMinutes": SESSION_MINUTES,
                "maxBsonObjectSize": MAX_DOCUMENT,
                "maxMessageSizeBytes": MAX_MESSAGE,
                "maxWriteBatchSize": MAX_BATCH,
                "minWireVersion": 0,
                "maxWireVersion": MAX_WIRE_VERSION,
                "readOnly": False,
                "ok": 1.0,
            }
        )

    async def _build_info(self, command: Command) -> bytes:
        return bson.encode(
            {
                "version": ".".join(str(number) for number in VERSION[:3]),
                "versionArray": list(VERSION),
                "gitVersion": "healthstore test gateway over DocumentDB",
                "modules": [],
                "bits": 64,
                "debug": False,
                "maxBsonObjectSize": MAX_DOCUMENT,
                "ok": 1.0,
            }
        )


def _is_conflict(error: Exception) -> bool:
    """Tell whether a command that failed so may succeed when it is repeated."""
    failure = error if isinstance(error, CommandError) else from_engine(error)
    return failure.code == WRITE_CONFLICT


def _listed(command: Command, field: str) -> list[Any]:
    """Return a field that must be an array. Raises CommandError 2."""
    value = command.fields.get(field)
    if not isinstance(value, list):
        raise CommandError(BAD_VALUE, f"{field} must be an array")
    return value

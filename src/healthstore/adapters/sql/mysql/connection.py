"""A connection to MySQL or MariaDB, on the line that a driver has opened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TypeAlias

import pymysql
from pymysql.constants import COMMAND

from healthstore.abc.farewell import farewell
from healthstore.adapters.sql.dialect import (
    BulkInsert,
    BulkUpdate,
    CommitError,
    Connection,
    Row,
)
from healthstore.adapters.sql.mysql.line import Answer, Line
from healthstore.adapters.sql.mysql.literals import as_file, inserts, literal, updates

__all__ = ("LogIn", "dial")

LogIn: TypeAlias = Callable[[], Awaitable[Line]]

_KILL_SECONDS = 0.2
_STEP = 0.002  # seconds between looks whether it has ended
_LOADED_ROWS = 500  # fewer are not worth a savepoint
_BEFORE_LOAD = "healthstore_load"
# Characters: to a longer statement a trip is little, and while it lasts all is surely undone.
_LASTING = 1 << 17


class _MySqlConnection:
    """A connection; values are written into the statement by our own converters.

    No cursor of a driver is used: it would ask for the text of each warning, with a round trip.
    In strict mode what would change a value is an error, and what is left is noise, such as a
    zero date for the MIN() of nothing on the way through MySQL's temporary table.
    """

    def __init__(self, line: Line, log_in: LogIn) -> None:
        self._line = line
        self._log_in = log_in
        self._open = True
        self._loads = False
        self._begin = ""  # goes with the next statement
        self._committed = False

    async def prepare(self, statements: Iterable[str]) -> None:
        """Run the statements that every connection begins with."""
        *_, answer = await self._query(";".join([*statements, "SELECT @@local_infile"]))
        self._loads = self._line.uploads and bool(answer.rows[0][0])

    async def fetch(self, sql: str, parameters: Row) -> Sequence[Row]:
        answers = await self._query(sql % tuple(map(literal, parameters)))
        return next((each.rows for each in answers if each.rows), ())

    async def execute(self, sql: str, parameters: Row, *, last: bool = False) -> int:
        (answer,) = await self._query(sql % tuple(map(literal, parameters)), last=last)
        return answer.matched

    async def update_rows(
        self, update: BulkUpdate, rows: Sequence[Row], *, last: bool = False
    ) -> int:
        return await self._write(updates(update, rows), last=last)

    async def insert_rows(
        self, insert: BulkInsert, rows: Iterable[Row], count: int, *, last: bool = False
    ) -> None:
        left, sent = iter(rows), list[Row]()
        loads = self._loads and count >= _LOADED_ROWS
        if loads and await self._load(insert, _kept(left, sent), count):
            return
        await self._write(inserts(insert.head, [*sent, *left]), last=last)

    async def _write(self, statements: Iterator[str], *, last: bool) -> int:
        """Run statements, each when the one before has succeeded; return how many rows matched."""
        statement, matched = next(statements), 0
        for following in statements:
            (answer,) = await self._query(statement)
            matched += answer.matched
            statement = following
        (answer,) = await self._query(statement, last=last and len(statement) < _LASTING)
        return matched + answer.matched

    async def _load(self, insert: BulkInsert, rows: Iterable[Row], count: int) -> bool:
        """Send rows as a file, which a server reads in half the time; return whether all are in.

        Where that would be an error of an insert it is a warning: a row that is left out, or a
        value that is changed. Then nothing is kept, and an insert says what is wrong.
        """
        load, pieces = as_file(insert, rows)
        text = f"SAVEPOINT {_BEFORE_LOAD}; {load}"
        try:
            *_, loaded = await self._query(text, upload=pieces)
        except pymysql.err.MySQLError:
            if not self._line.is_ready():
                raise
            self._loads = False  # something between may not know how
            try:
                await self._query(f"ROLLBACK TO SAVEPOINT {_BEFORE_LOAD}")
            except pymysql.err.MySQLError as error:
                del error  # a deadlock, say, has undone the whole transaction
            else:
                return False
            raise
        if loaded.matched == count and not loaded.warnings:
            return True
        await self._query(f"ROLLBACK TO SAVEPOINT {_BEFORE_LOAD}")
        return False

    async def run(self, sql: str) -> None:
        await self._query(sql)

    async def begin(self, sql: str) -> None:
        self._begin, self._committed = sql, False

    async def commit(self) -> None:
        begun, committed = not self._begin, self._committed
        self._begin, self._committed = "", False
        if begun and not committed:
            await self._query("COMMIT")

    async def ping(self) -> None:
        await self._query("", COMMAND.COM_PING)

    @property
    def reusable(self) -> bool:
        return self._open and self._line.is_ready() and not self._line.in_transaction

    async def discard(self) -> None:
        was_open, self._open = self._open, False
        self._line.close()
        if was_open and self._line.waiting:
            # The server goes on with a statement whose client is gone, and would commit it.
            try:
                async with asyncio.timeout(_KILL_SECONDS):
                    await self._kill()
            except Exception as error:  # noqa: BLE001 - a sick server ends it by its own deadline
                del error

    async def _kill(self) -> None:
        """End the connection, and what runs on it, from another connection.

        A commit that has begun goes on to its end all the same: that is waited for.
        """
        other, thread = await self._log_in(), self._line.thread
        there = f"SELECT 1 FROM information_schema.processlist WHERE id = {thread}".encode()
        try:
            await other.ask(f"KILL {thread}".encode())
            while (await other.ask(there))[0].rows:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(_STEP)
        finally:
            other.close()

    async def abort(self) -> None:
        self._open = False
        self._line.close()

    def abandon(self) -> None:
        self._open = False
        self._line.hang_up()

    async def _query(
        self,
        sql: str,
        command: int = COMMAND.COM_QUERY,
        upload: Iterable[bytes] | None = None,
        *,
        last: bool = False,
    ) -> Sequence[Answer]:
        """Run one or several statements in one round trip; one that is the ``last`` with a COMMIT.

        If one fails, those after it are not run, and a transaction that began in the text is
        undone. Raises CommitError unless it is known that the COMMIT has not run.
        """
        line = self._line
        if not (self._open and line.is_ready()):
            # It is known before anything is sent: whatever it is, it was not applied.
            await self.discard()
            raise pymysql.err.InterfaceError("the server has closed the connection")
        begin, self._begin = self._begin, ""
        texts = [text for text in (begin, sql, "COMMIT" if last else "") if text]
        in_transaction = line.in_transaction or bool(begin)
        try:
            answers = await line.ask("; ".join(texts).encode(), command, upload)
        except Exception as error:
            answered = line.is_ready()
            if not answered:
                # A protocol out of step never comes back into step (aio-libs/aiomysql#614).
                await self.discard()
            elif line.in_transaction and not in_transaction:
                with suppress(pymysql.err.MySQLError):  # lost: that undoes it, too
                    await self._query("ROLLBACK")
            if last and not (answered and line.answered < len(texts) - 1):
                raise CommitError(error) from None
            raise
        self._committed = last
        return answers[bool(begin) : len(answers) - last]


def _kept(rows: Iterable[Row], kept: list[Row]) -> Iterator[Row]:
    """Yield rows, and keep them."""
    for row in rows:
        kept.append(row)
        yield row


async def dial(log_in: LogIn, prelude: Callable[[str], Iterable[str]]) -> Connection:
    """Return a connection on which the statements of ``prelude(version)`` have run.

    Who calls sets the deadline. Raises what pymysql raises.
    """
    line = await log_in()
    connection = _MySqlConnection(line, log_in)
    try:
        await connection.prepare(prelude(line.version))
    except BaseException:
        await farewell(connection.discard())
        raise
    return connection

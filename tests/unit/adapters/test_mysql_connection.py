"""What a connection to MySQL sends in one trip, and what its errors say of the COMMIT in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import pymysql
import pytest
from pymysql.constants import COMMAND, CR

from healthstore.adapters.sql.dialect import BulkInsert, CommitError, Connection
from healthstore.adapters.sql.mysql.connection import dial
from healthstore.adapters.sql.mysql.line import Answer
from healthstore.model.values import Kind

BULK = BulkInsert("t", ("a",), (Kind.TEXT,), "INSERT INTO t (a) VALUES ", "")
REFUSED = pymysql.err.IntegrityError(1062, "refused")
LOST = pymysql.err.OperationalError(CR.CR_SERVER_LOST, "lost")


class Scripted:
    """A line that notes what it is asked; of one text, the statement at ``fails`` fails.

    A file is refused when ``taken`` pieces of it have been sent, or all.
    """

    version, thread, uploads = "8", 1, True
    waiting = in_transaction = False

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answered = 0
        self.ended = False
        self.fails: tuple[int, Exception] | None = None
        self.taken: int | None = None

    def is_ready(self) -> bool:
        """Tell whether the connection is there."""
        return not self.ended

    async def ask(
        self, text: bytes, command: int = COMMAND.COM_QUERY, upload: Iterable[bytes] | None = None
    ) -> Sequence[Answer]:
        """Answer each statement with one row that was matched, until one fails."""
        del command
        self.asked.append(text.decode())
        if upload is not None:
            for _ in islice(upload, self.taken):
                pass
            raise REFUSED
        answers = [Answer([[1]], matched=1) for _ in text.split(b"; ")]
        self.answered = len(answers)
        if self.fails is not None:
            self.answered, error = self.fails
            self.ended = error is LOST
            raise error
        return answers

    def close(self) -> None:
        """Close."""
        self.ended = True

    def hang_up(self) -> None:
        """Close."""
        self.ended = True


@pytest.fixture
def line() -> Scripted:
    """Return a line."""
    return Scripted()


@pytest.fixture
async def connection(line: Scripted) -> Connection:
    """Return a connection on it in which a transaction begins."""

    async def log_in() -> Scripted:
        return line

    connection = await dial(log_in, lambda _: ())
    line.asked.clear()
    await connection.begin("BEGIN")
    return connection


async def test_a_transaction_of_one_write_is_one_trip(
    line: Scripted, connection: Connection
) -> None:
    """It begins with its first statement and ends with its last one."""
    await connection.insert_rows(BULK, [(1,), (2,)], 2, last=True)
    await connection.commit()
    assert line.asked == ["BEGIN; INSERT INTO t (a) VALUES (1),(2); COMMIT"]


async def test_each_statement_gets_its_own_answer(line: Scripted, connection: Connection) -> None:
    """What was sent with it is not its answer."""
    assert await connection.fetch("SELECT 1", ()) == [[1]]
    assert await connection.execute("DELETE FROM t", (), last=True) == 1
    await connection.commit()
    assert line.asked == ["BEGIN; SELECT 1", "DELETE FROM t; COMMIT"]


async def test_what_has_no_last_write_is_committed_by_itself(
    line: Scripted, connection: Connection
) -> None:
    """And the next transaction, too: that one has committed is forgotten."""
    for last in (True, False):
        await connection.begin("BEGIN")
        await connection.execute("DELETE FROM t", (), last=last)
        await connection.commit()
    assert line.asked == ["BEGIN; DELETE FROM t; COMMIT", "BEGIN; DELETE FROM t", "COMMIT"]


async def test_a_transaction_in_which_nothing_happens_sends_nothing(
    line: Scripted, connection: Connection
) -> None:
    """There was nothing to begin with; what comes later is in no transaction."""
    await connection.commit()
    await connection.run("SELECT 1")
    assert line.asked == ["SELECT 1"]


@pytest.mark.parametrize("place", [0, 1])
async def test_an_error_before_the_commit_is_that_of_the_statement(
    line: Scripted, connection: Connection, place: int
) -> None:
    """The server stops at the first error, so nothing was committed."""
    line.fails = place, REFUSED
    with pytest.raises(pymysql.err.IntegrityError):
        await connection.execute("DELETE FROM t", (), last=True)
    assert connection.reusable


async def test_an_error_of_the_commit_is_told_apart(line: Scripted, connection: Connection) -> None:
    """Whether it was kept is another question then."""
    line.fails = 2, REFUSED
    with pytest.raises(CommitError) as caught:
        await connection.execute("DELETE FROM t", (), last=True)
    assert caught.value.error is REFUSED


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_connection_that_is_lost_with_a_commit_leaves_it_in_doubt(
    line: Scripted, connection: Connection, place: int
) -> None:
    """However many statements were answered, the server goes on with the rest."""
    line.fails = place, LOST
    with pytest.raises(CommitError) as caught:
        await connection.execute("DELETE FROM t", (), last=True)
    assert caught.value.error is LOST


async def test_a_commit_that_was_never_sent_is_in_no_doubt(
    line: Scripted, connection: Connection
) -> None:
    """A connection whose end was seen before is not written to."""
    line.ended = True
    with pytest.raises(pymysql.err.InterfaceError):
        await connection.execute("DELETE FROM t", (), last=True)
    assert line.asked == []


async def test_a_long_statement_is_committed_by_itself(
    line: Scripted, connection: Connection
) -> None:
    """While it lasts, a loss is a clear one: nothing was kept."""
    await connection.insert_rows(BULK, [("x" * (1 << 17),)], 1, last=True)
    await connection.commit()
    assert [text[-6:] for text in line.asked] == ["xxxx')", "COMMIT"]


@pytest.mark.parametrize("taken", [0, 1, None])
async def test_of_a_file_that_is_refused_each_row_is_inserted(
    line: Scripted, connection: Connection, taken: int | None
) -> None:
    """However much of it was sent: its rows are made once."""
    line.taken = taken
    await connection.insert_rows(BULK, ((number,) for number in range(1_200)), 1_200)
    load, undo, insert = line.asked
    assert load.startswith("BEGIN; SAVEPOINT ")
    assert undo.startswith("ROLLBACK TO SAVEPOINT ")
    assert insert == BULK.head + ",".join(f"({number})" for number in range(1_200))

"""The protocol of MySQL, read from a stream that comes in pieces of any size."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

import pymysql
import pytest
from pymysql.constants import FIELD_TYPE, SERVER_STATUS

from healthstore.adapters.sql.mysql.line import Answer
from healthstore.adapters.sql.mysql.wire import Wire

_UTF8, _BINARY = 45, 63
_FULL = 0xFF_FFFF


class Written:
    """Keeps what would go to the server."""

    def __init__(self) -> None:
        self.sent = bytearray()

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.sent += data

    async def drain(self) -> None:
        """Do nothing: nothing is waited for."""


def text(value: bytes) -> bytes:
    """Return a value with its length before it."""
    size = len(value)
    if size < 251:
        return bytes((size,)) + value
    if size < 1 << 16:
        return b"\xfc" + size.to_bytes(2, "little") + value
    return b"\xfd" + size.to_bytes(3, "little") + value


def packets(*payloads: bytes, first: int = 1) -> bytes:
    """Return payloads as packets, numbered."""
    found, number = bytearray(), first
    for payload in payloads:
        for start in range(0, len(payload) + 1, _FULL):
            part = payload[start : start + _FULL]
            found += len(part).to_bytes(3, "little") + bytes((number & 0xFF,)) + part
            number += 1
    return bytes(found)


def column(name: bytes, kind: int, collation: int = _UTF8) -> bytes:
    """Return the description of a column."""
    names = b"".join(map(text, (b"def", b"db", b"t", b"t", name, name)))
    return (
        names + b"\x0c" + collation.to_bytes(2, "little") + bytes(4) + bytes((kind, 0, 0, 0, 0, 0))
    )


def end(status: int = 2, warnings: int = 0) -> bytes:
    """Return the end of columns, or of rows."""
    return b"\xfe" + warnings.to_bytes(2, "little") + status.to_bytes(2, "little")


def fine(matched: int = 0, status: int = 2, warnings: int = 0) -> bytes:
    """Return the answer to a statement without rows."""
    both = status.to_bytes(2, "little") + warnings.to_bytes(2, "little")
    return b"\x00" + bytes((matched, 0)) + both


_ERROR = b"\xff" + (1062).to_bytes(2, "little") + b"#23000Duplicate entry"
_COLUMNS = (
    column(b"id", FIELD_TYPE.STRING, _BINARY),
    column(b"name", FIELD_TYPE.VAR_STRING),
    column(b"n", FIELD_TYPE.LONGLONG, _BINARY),
    column(b"price", FIELD_TYPE.NEWDECIMAL, _BINARY),
    column(b"ratio", FIELD_TYPE.DOUBLE, _BINARY),
    column(b"at", FIELD_TYPE.DATETIME, _BINARY),
)
_VALUES = (b"\x00\xff", "Ärzte".encode(), b"-7", b"1.50", b"0.1", b"2026-01-01 00:00:00.000001")
_READ = [b"\x00\xff", "Ärzte", -7, Decimal("1.50"), 0.1, "2026-01-01 00:00:00.000001"]
_ROW = b"".join(map(text, _VALUES))


async def asked(
    data: bytes, size: int | None = None, upload: Sequence[bytes] | None = None
) -> tuple[Wire, Written, list[Answer] | Exception]:
    """Ask something, and feed an answer in pieces; the stream ends after it."""
    reader, written = asyncio.StreamReader(), Written()
    wire = Wire(reader, cast(Any, written), 2)
    waiting = asyncio.ensure_future(wire.ask(b"SELECT 1", upload=upload))
    await asyncio.sleep(0)
    size = size or len(data) or 1
    for start in range(0, len(data), size):
        await asyncio.sleep(0)
        reader.feed_data(data[start : start + size])
    for _ in range(10):
        await asyncio.sleep(0)
    if not waiting.done():
        reader.feed_eof()
    (result,) = await asyncio.gather(waiting, return_exceptions=True)
    return wire, written, cast("list[Answer] | Exception", result)


@pytest.mark.parametrize("size", [1, 3, 7, 64, 1 << 20])
async def test_rows_are_the_same_in_pieces_of_any_size(size: int) -> None:
    """Nothing depends on where the network cuts the stream."""
    nothing = b"\xfb" * len(_COLUMNS)
    data = packets(bytes((len(_COLUMNS),)), *_COLUMNS, end(), _ROW, nothing, _ROW, end(warnings=3))
    wire, _, answers = await asked(data, size)
    assert answers == [Answer([_READ, [None] * len(_COLUMNS), _READ], warnings=3)]
    assert wire.is_ready()


@pytest.mark.parametrize("length", [0, 250, 251, 65_535, 65_536, _FULL - 4, _FULL, 2 * _FULL + 5])
async def test_a_value_of_any_length_comes_whole(length: int) -> None:
    """A row that is longer than a packet goes on in the next one."""
    long = b"x" * length
    row = (b"\xfe" + length.to_bytes(8, "little") + long) if length >= 1 << 24 else text(long)
    described = column(b"t", FIELD_TYPE.BLOB)
    data = packets(b"\x01", described, end(), row, text(b"next"), end())
    _, _, answers = await asked(data, 1 << 20)
    assert isinstance(answers, list)
    assert [len(each[0]) for each in answers[0].rows] == [length, 4]


async def test_each_statement_of_a_text_has_its_answer() -> None:
    """Statements that travel together are answered in order; the last status is kept."""
    more = SERVER_STATUS.SERVER_MORE_RESULTS_EXISTS
    data = packets(
        fine(status=more | 1),
        fine(1, status=more | 1),
        bytes((1,)),
        column(b"n", FIELD_TYPE.LONG, _BINARY),
        end(more | 1),
        text(b"5"),
        end(more | 1),
        fine(status=2),
    )
    wire, _, answers = await asked(data, 5)
    assert answers == [Answer(), Answer(matched=1), Answer([[5]]), Answer()]
    assert wire.is_ready()
    assert not wire.in_transaction


@pytest.mark.parametrize("begun", [False, True])
async def test_an_error_ends_the_answer_and_the_connection_stays_in_step(begun: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    """What failed is raised, and what the server said of its transaction before is kept."""
    more = SERVER_STATUS.SERVER_MORE_RESULTS_EXISTS
    before = (fine(status=more | SERVER_STATUS.SERVER_STATUS_IN_TRANS),) if begun else ()
    wire, _, error = await asked(packets(*before, _ERROR))
    assert isinstance(error, pymysql.err.IntegrityError)
    assert wire.is_ready()
    assert wire.in_transaction is begun


async def test_an_error_between_rows_is_raised() -> None:
    """A statement may be ended by its deadline when some rows are on their way."""
    data = packets(bytes((len(_COLUMNS),)), *_COLUMNS, end(), _ROW, _ERROR)
    wire, _, error = await asked(data, 11)
    assert isinstance(error, pymysql.err.IntegrityError)
    assert wire.is_ready()


@pytest.mark.parametrize("size", [1, 30])
async def test_a_stream_that_ends_within_an_answer_is_a_lost_connection(size: int) -> None:
    """Part of an answer is never taken for all of it."""
    whole = packets(bytes((len(_COLUMNS),)), *_COLUMNS, end(), _ROW, end())
    for cut in (0, 3, 40, len(whole) - 1):
        wire, _, error = await asked(whole[:cut], size)
        assert isinstance(error, pymysql.err.OperationalError)
        assert error.args[0] == 2013
        assert not wire.is_ready()
        assert not wire.waiting


async def test_a_farewell_in_the_place_of_an_answer_is_a_lost_connection() -> None:
    """A server that shuts down says so with a packet of number 0."""
    wire, _, error = await asked(packets(_ERROR, first=0))
    assert isinstance(error, pymysql.err.OperationalError)
    assert not wire.is_ready()


async def test_packets_out_of_step_are_never_read() -> None:
    """An answer that belongs to something else is not given to whoever waits."""
    wire, _, error = await asked(packets(fine(), first=5))
    assert isinstance(error, pymysql.err.InternalError)
    assert wire.waiting
    assert not wire.is_ready()


async def test_a_server_that_asks_for_a_file_unasked_gets_nothing() -> None:
    """Whoever answers in the place of a server cannot read the files of a client."""
    wire, written, error = await asked(packets(b"\xfb/etc/passwd"))
    assert isinstance(error, pymysql.err.InternalError)
    assert not wire.is_ready()
    assert bytes(written.sent) == packets(b"\x03SELECT 1", first=0)


async def test_only_what_was_offered_is_sent_as_a_file() -> None:
    """The name of the file that the server asks for means nothing."""
    data = packets(b"\xfb/etc/passwd") + packets(fine(2, warnings=1), first=5)
    wire, written, answers = await asked(data, upload=[b"a\n", b"b\n"])
    assert answers == [Answer(matched=2, warnings=1)]
    assert wire.is_ready()
    assert bytes(written.sent) == packets(b"\x03SELECT 1", first=0) + packets(
        b"a\n", b"b\n", b"", first=2
    )


async def test_a_long_statement_goes_in_several_packets() -> None:
    """A packet holds less than 16 MiB; one of exactly that length is followed by an empty one."""
    written = Written()
    ended = asyncio.StreamReader()
    ended.feed_eof()
    wire = Wire(ended, cast(Any, written), 2)
    statement = b"x" * (_FULL - 1)
    with pytest.raises(pymysql.err.OperationalError):
        await wire.ask(statement)
    assert bytes(written.sent) == packets(b"\x03" + statement, first=0)
    assert bytes(written.sent).endswith(b"\0\0\0\x01")

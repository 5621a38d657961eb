"""The protocol of MySQL after the login: commands out, and answers in, read in whole pieces.

aiomysql waits twice for each packet, and describes each column anew with each answer. Here one
piece of the stream is cut into as many packets as it holds, and columns that were described
before are recognised by their bytes.

Packets: https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias, cast

import pymysql
from pymysql.constants import COMMAND, CR, FIELD_TYPE, SERVER_STATUS
from pymysql.protocol import FieldDescriptorPacket

from healthstore.adapters.sql.mysql.line import Answer
from healthstore.model.collector import collector_paused

__all__ = ("Wire",)

_HEADER = 4  # of a packet: three bytes of length, one of its number
_FULL = 0xFF_FFFF  # the length of a packet that the next one continues
_PIECE = 1 << 18  # bytes that are taken from the stream at once
_LAYOUTS = 256  # of columns that a connection knows

_OK, _LOCAL_FILE, _END, _ERROR = 0x00, 0xFB, 0xFE, 0xFF
_NULL = 0xFB
_WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}  # of a length that does not fit into one byte
_BINARY = 63  # the collation of what is no text

Read: TypeAlias = Callable[[bytes], Any]


def _decimal(value: bytes) -> Decimal:
    return Decimal(value.decode())


# Numbers come as text; the rest stays text or bytes.
_NUMBERS: dict[int, Read] = {
    **dict.fromkeys(
        (
            FIELD_TYPE.TINY,
            FIELD_TYPE.SHORT,
            FIELD_TYPE.LONG,
            FIELD_TYPE.LONGLONG,
            FIELD_TYPE.INT24,
        ),
        int,
    ),
    **dict.fromkeys((FIELD_TYPE.DOUBLE, FIELD_TYPE.FLOAT), float),
    **dict.fromkeys((FIELD_TYPE.NEWDECIMAL, FIELD_TYPE.DECIMAL), _decimal),
}
# What holds text or, by its collation, bytes.
_STRINGS = frozenset(
    {
        FIELD_TYPE.BIT,
        FIELD_TYPE.BLOB,
        FIELD_TYPE.LONG_BLOB,
        FIELD_TYPE.MEDIUM_BLOB,
        FIELD_TYPE.STRING,
        FIELD_TYPE.TINY_BLOB,
        FIELD_TYPE.VAR_STRING,
        FIELD_TYPE.VARCHAR,
    }
)


class Wire:
    """The streams of a connection that has logged in.

    ``status`` is what the server said last of its session: flags of ``SERVER_STATUS``;
    ``answered`` counts the statements of the last text that have succeeded.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int
    ) -> None:
        self.status = status
        self._reader = reader
        self._writer = writer
        self._data = b""
        self._at = 0
        self._number = 0  # of the next packet
        self._asked = False
        self._ended = False
        self._layouts: dict[bytes, tuple[Read, ...]] = {}
        self.answered = 0

    @property
    def waiting(self) -> bool:
        """Whether an answer is due, or was cut short."""
        return self._asked

    def is_ready(self) -> bool:
        """Tell whether a command can be sent: the server has not hung up, nor sent anything unasked.

        It sends only a farewell unasked, which would be taken for the next answer.
        """
        reader: Any = self._reader
        ended = self._ended or reader.at_eof() or reader.exception() is not None
        unread = self._at < len(self._data) or reader._buffer  # noqa: SLF001 - asyncio does not tell
        return not (self._asked or ended or unread)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return bool(self.status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    async def ask(
        self,
        text: bytes,
        command: int = COMMAND.COM_QUERY,
        upload: Iterable[bytes] | None = None,
    ) -> Sequence[Answer]:
        """Send a command and return the answers; see :meth:`Line.ask`.

        A server that asks for a file when there is no ``upload`` gets nothing.
        """
        self._asked = True
        self._number = 0
        self._send(bytes((command,)) + text)
        found: list[Answer] = []
        self.answered = 0
        while True:
            answer = await self._answer(upload)
            found.append(answer)
            self.answered += 1
            if not self.status & SERVER_STATUS.SERVER_MORE_RESULTS_EXISTS:
                self._asked = False
                return found

    # --- answers ---------------------------------------------------------------------------

    async def _answer(self, upload: Iterable[bytes] | None) -> Answer:
        first = await self._packet()
        if first[0] == _OK:
            return self._ok(first)
        if first[0] == _ERROR:
            self._fail(first)
        if first[0] == _LOCAL_FILE:
            if upload is None:
                raise pymysql.err.InternalError("the server asks for a file that nobody offered")
            return await self._upload(upload)
        count, _ = _integer(first, 0)
        return await self._rows(await self._layout(count))

    def _ok(self, packet: bytes) -> Answer:
        matched, at = _integer(packet, 1)
        _, at = _integer(packet, at)
        self.status = int.from_bytes(packet[at : at + 2], "little")
        return Answer(matched=matched, warnings=int.from_bytes(packet[at + 2 : at + 4], "little"))

    def _fail(self, packet: bytes) -> NoReturn:
        self._asked = False  # that was all
        pymysql.err.raise_mysql_exception(packet)
        raise AssertionError

    async def _upload(self, pieces: Iterable[bytes]) -> Answer:
        for piece in pieces:
            for start in range(0, len(piece), _PIECE):  # an empty packet ends the file
                self._send(piece[start : start + _PIECE])
            await self._writer.drain()
        self._send(b"")
        packet = await self._packet()
        if packet[0] == _ERROR:
            self._fail(packet)
        return self._ok(packet)

    async def _layout(self, count: int) -> tuple[Read, ...]:
        """Return how each column is read, from the packets that describe them."""
        while (packets := self._whole(count + 1)) is None:  # one more ends them
            await self._more()
        described = self._data[self._at : packets[-1][0] - _HEADER]
        self._at = packets[-1][1]
        found = self._layouts.get(described)
        if found is None:
            if len(self._layouts) >= _LAYOUTS:
                self._layouts.clear()
            found = tuple(_reading(self._data[start:end]) for start, end in packets[:count])
            self._layouts[described] = found
        return found

    async def _rows(self, layout: Sequence[Read]) -> Answer:
        rows: list[list[Any]] = []
        while True:
            with collector_paused():
                end = self._take(layout, rows)
            if end is not None:
                break
            await self._more()
        self.status = int.from_bytes(end[3:5], "little")
        return Answer(rows, warnings=int.from_bytes(end[1:3], "little"))

    def _take(self, layout: Sequence[Read], rows: list[list[Any]]) -> bytes | None:
        """Read the rows that are here; return the packet that ends them, if it is here too."""
        data, at = self._data, self._at
        have = len(data)
        while at + _HEADER <= have:
            size = data[at] | data[at + 1] << 8 | data[at + 2] << 16
            if size == _FULL:
                if (whole := self._joined(at)) is None:
                    break
                row, at = whole
                rows.append(_row(row, 0, layout))
                continue
            start = at + _HEADER
            if start + size > have:
                break
            self._count(data[at + 3])
            at = self._at = start + size
            mark = data[start]
            if mark == _END and size < 9:
                return data[start:at]
            if mark == _ERROR:
                self._fail(data[start:at])
            rows.append(_row(data, start, layout))
        return None

    # --- packets ---------------------------------------------------------------------------

    async def _packet(self) -> bytes:
        """Return the next packet."""
        while True:
            if (whole := self._joined(self._at)) is not None:
                return whole[0]
            await self._more()

    def _joined(self, at: int) -> tuple[bytes, int] | None:
        """Take a packet with all that continue it, if they are here; return it and its end."""
        parts: list[bytes] = []
        data, number, size = self._data, self._number, _FULL
        while size == _FULL:
            start = at + _HEADER
            size = int.from_bytes(data[at : at + 3], "little")
            if len(data) < start + size or len(data) < start:
                self._number = number
                return None
            self._count(data[at + 3])
            at = start + size
            parts.append(data[start:at])
        self._at = at
        return (parts[0] if len(parts) == 1 else b"".join(parts)), at

    def _whole(self, count: int) -> list[tuple[int, int]] | None:
        """Return where the next packets begin and end, if they are all here."""
        data, at, number = self._data, self._at, self._number
        found: list[tuple[int, int]] = []
        for _ in range(count):
            start = at + _HEADER
            if len(data) < start:
                break
            at = start + int.from_bytes(data[at : at + 3], "little")
            if len(data) < at:
                break
            self._count(data[start - 1])
            found.append((start, at))
        else:
            return found
        self._number = number
        return None

    def _count(self, number: int) -> None:
        """Raise an error unless this is the number of the next packet."""
        if number != self._number:
            if number == 0:  # a farewell
                raise self._lost()
            raise pymysql.err.InternalError("a packet of the server has a wrong number")
        self._number = number + 1 & 0xFF

    async def _more(self) -> None:
        """Wait for another piece of the stream; where a packet is long, for all of it."""
        rest = self._data[self._at :]
        pieces = [rest]
        have = len(rest)
        needed = _HEADER + int.from_bytes(rest[:3], "little") if have >= _HEADER else 0
        while True:
            try:
                piece = await self._reader.read(_PIECE)
            except OSError:
                piece = b""
            if not piece:
                raise self._lost()
            pieces.append(piece)
            have += len(piece)
            if have >= needed:
                break
        self._data = b"".join(pieces) if rest or len(pieces) > 2 else piece
        self._at = 0

    def _lost(self) -> pymysql.err.OperationalError:
        self._asked, self._ended = False, True  # no answer will come
        return pymysql.err.OperationalError(CR.CR_SERVER_LOST, "the connection was lost")

    def _send(self, payload: bytes) -> None:
        at = 0
        while True:
            part = payload[at : at + _FULL] if at or len(payload) >= _FULL else payload
            self._writer.write(len(part).to_bytes(3, "little") + bytes((self._number,)) + part)
            self._number = self._number + 1 & 0xFF
            at += _FULL
            if len(part) < _FULL:
                return


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """Return a number whose length depends on its first byte, and where it ends."""
    first = data[at]
    width = _WIDTHS.get(first)
    if width is None:
        return first, at + 1
    end = at + 1 + width
    return int.from_bytes(data[at + 1 : end], "little"), end


def _row(data: bytes, at: int, layout: Sequence[Read]) -> list[Any]:
    values: list[Any] = []
    append = values.append
    for read in layout:
        size = data[at]
        at += 1
        if size >= _NULL:
            if size == _NULL:
                append(None)
                continue
            size, at = _integer(data, at - 1)
        end = at + size
        append(read(data[at:end]))
        at = end
    return values


def _reading(description: bytes) -> Read:
    """Return how the values of a column are read."""
    column: Any = FieldDescriptorPacket(description, "utf-8")
    number = _NUMBERS.get(column.type_code)
    if number is not None:
        return number
    if column.type_code in _STRINGS and column.charsetnr == _BINARY:
        return bytes
    return cast(Read, bytes.decode)

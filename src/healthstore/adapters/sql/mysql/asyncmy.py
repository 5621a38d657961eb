"""asyncmy, which reads in C: for pages in less than half the time of :mod:`.wire`.

What it does not do: send a file for LOAD DATA, so bulk inserts go as statements.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import asyncmy
import pymysql
from pymysql.constants import CLIENT, COMMAND, CR, FIELD_TYPE, SERVER_STATUS

from healthstore.abc.url import BackendURL
from healthstore.adapters.sql.mysql.line import Answer, Line, credentials
from healthstore.adapters.sql.pool import hang_up

__all__ = ("log_in",)

# It wants a limit and waits by asyncio.wait_for; the one that counts is that of who calls.
_CONNECT_SECONDS = 3600
_FAREWELL = 0.05  # seconds, each time, for an opening that is given up
_CLIENT_ERRORS = range(2000, 3000)
_LOST = frozenset({CR.CR_SERVER_LOST, CR.CR_SERVER_GONE_ERROR})

# How numbers are read; the rest stays text or bytes.
_READERS: dict[int, type] = {
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
    **dict.fromkeys((FIELD_TYPE.NEWDECIMAL, FIELD_TYPE.DECIMAL), Decimal),
}


class _AsyncmyLine:
    """A connection of asyncmy, without its cursors."""

    uploads = False

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._asked = self._ended = False
        self.answered = 0

    @property
    def version(self) -> str:
        return str(self._inner.get_server_info())

    @property
    def thread(self) -> int:
        return int(self._inner.thread_id())

    @property
    def waiting(self) -> bool:
        return self._asked

    @property
    def in_transaction(self) -> bool:
        return bool(self._inner.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    def is_ready(self) -> bool:
        inner = self._inner
        received = inner._proto  # noqa: SLF001 - the driver does not look before it asks
        return not (
            self._asked or self._ended or inner._stream_broken or received.pos < received.length  # noqa: SLF001 - as above
        )

    async def ask(
        self,
        text: bytes,
        command: int = COMMAND.COM_QUERY,
        upload: Iterable[bytes] | None = None,
    ) -> Sequence[Answer]:
        del upload
        inner = self._inner
        self._asked = True
        answers: list[Answer] = []
        try:
            if command == COMMAND.COM_PING:
                await inner.ping(reconnect=False)
                answers.append(Answer())
            else:
                await inner.query(text)
                answers.append(_answer(inner))
                while inner._result.has_next:  # noqa: SLF001 - only its cursors tell
                    await inner.next_result()
                    answers.append(_answer(inner))
        except asyncmy.errors.MySQLError as error:
            code = error.args[0] if error.args else None
            if code in _LOST:
                self._asked, self._ended = False, True
            elif isinstance(code, int) and code and code not in _CLIENT_ERRORS:
                self._asked = False  # the server has answered
            kind = getattr(pymysql.err, type(error).__name__, pymysql.err.InternalError)
            raise kind(*error.args) from None
        finally:
            self.answered = len(answers)
        self._asked = False
        return answers

    def close(self) -> None:
        self._inner.close()

    def hang_up(self) -> None:
        transport, self._inner._transport = self._inner._transport, None  # noqa: SLF001 - close() needs the loop
        hang_up(transport)


def _answer(inner: Any) -> Answer:
    result = inner._result  # noqa: SLF001 - as above
    rows = result.rows or ()
    return Answer(rows, 0 if rows else int(result.affected_rows or 0), result.warning_count)


async def log_in(url: BackendURL, tls: ssl.SSLContext | None) -> Line:
    """Open a line; who calls sets the deadline. Raises what pymysql raises."""
    connection: Any = asyncmy.Connection
    inner = connection(
        **credentials(url, tls),
        database=url.database,
        client_flag=CLIENT.FOUND_ROWS,
        conv=_READERS,
        connect_timeout=_CONNECT_SECONDS,
    )
    opening = asyncio.ensure_future(inner.connect())
    try:
        await asyncio.shield(opening)
    except asyncmy.errors.MySQLError as error:
        kind = getattr(pymysql.err, type(error).__name__, pymysql.err.InternalError)
        raise kind(*error.args) from error.__cause__
    except asyncio.CancelledError:
        # Before Python 3.12, wait_for drops a cancellation that comes together with the result
        # (python/cpython#86296): once may not be enough.
        for _ in range(2):
            opening.cancel()
            await asyncio.wait({opening}, timeout=_FAREWELL)
        with suppress(Exception):
            inner.close()
        raise
    return _AsyncmyLine(inner)

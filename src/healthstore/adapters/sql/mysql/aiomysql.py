"""aiomysql logs in (authentication, TLS); :mod:`.wire` does the rest."""

from __future__ import annotations

import ssl
from typing import Any

import aiomysql
import pymysql
from pymysql.constants import CLIENT

from healthstore.abc.url import BackendURL
from healthstore.adapters.sql.mysql.line import Line, credentials
from healthstore.adapters.sql.mysql.wire import Wire
from healthstore.adapters.sql.pool import hang_up

__all__ = ("log_in",)


class _AiomysqlLine(Wire):
    """The streams of a connection that aiomysql has logged in."""

    uploads = True

    def __init__(self, inner: Any) -> None:
        super().__init__(inner._reader, inner._writer, inner.server_status)  # noqa: SLF001 - as said above
        self._inner = inner

    @property
    def version(self) -> str:
        return str(self._inner.get_server_info())

    @property
    def thread(self) -> int:
        return int(self._inner.thread_id())

    def close(self) -> None:
        self._inner.close()

    def hang_up(self) -> None:
        # close(), which the collector would call as well, needs the loop.
        writer, self._inner._writer = self._inner._writer, None  # noqa: SLF001 - as said
        hang_up(writer and writer.transport)


class _EncryptedConnection(aiomysql.Connection):  # type: ignore[misc]  # aiomysql is not typed
    """A connection that logs in on TLS, if TLS was asked for, or not at all.

    aiomysql goes on in plain text where the server, or somebody between, offers no TLS.
    """

    async def _request_authentication(self) -> None:
        if self._ssl_context and not self.server_capabilities & CLIENT.SSL:
            raise pymysql.err.OperationalError(2026, "the server offers no TLS")
        await super()._request_authentication()


async def log_in(url: BackendURL, tls: ssl.SSLContext | None) -> Line:
    """Open a line; who calls sets the deadline. Raises what aiomysql raises."""
    inner = _EncryptedConnection(
        **credentials(url, tls),
        db=url.database,
        client_flag=CLIENT.FOUND_ROWS | CLIENT.LOCAL_FILES,
        # With a timeout it waits by asyncio.wait_for, which before Python 3.12 drops a
        # cancellation that comes together with the result (python/cpython#86296): a deadline
        # would be heard by nobody.
        connect_timeout=None,
    )
    try:
        await inner._connect()  # noqa: SLF001 - what aiomysql.connect() does
    except BaseException:
        inner.close()  # the driver forgets its socket when it is cancelled
        raise
    return _AiomysqlLine(inner)

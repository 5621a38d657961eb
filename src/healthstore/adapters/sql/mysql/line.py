"""What a driver gives: a line to the server, logged in, on which one asks and is answered."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pymysql.constants import COMMAND

from healthstore.abc.url import BackendURL
from healthstore.adapters.sql.dialect import Row

__all__ = ("Answer", "Line", "credentials")


@dataclass(slots=True)
class Answer:
    """The answer to one statement: its rows, or how many it matched; and how many warnings."""

    rows: Sequence[Row] = ()
    matched: int = 0
    warnings: int = 0


class Line(Protocol):
    """A connection of a driver, used by one task at a time. Errors are those of pymysql."""

    @property
    def version(self) -> str:
        """What the server says of itself."""
        ...

    @property
    def thread(self) -> int:
        """The server's number of the connection."""
        ...

    @property
    def uploads(self) -> bool:
        """Whether :meth:`ask` can send a file."""
        ...

    @property
    def waiting(self) -> bool:
        """Whether an answer is due, or was cut short."""
        ...

    @property
    def answered(self) -> int:
        """How many statements of the last text have succeeded."""
        ...

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, as far as the server has said."""
        ...

    def is_ready(self) -> bool:
        """Tell whether it can be asked: the server has not hung up, nor sent anything unasked.

        It sends only a farewell unasked, which would be taken for the next answer.
        """
        ...

    async def ask(
        self,
        text: bytes,
        command: int = COMMAND.COM_QUERY,
        upload: Iterable[bytes] | None = None,
    ) -> Sequence[Answer]:
        """Return the answer to each statement of a text.

        ``upload`` is the file for a LOAD DATA LOCAL. Raises the error of the first statement that
        failed, those after it have not run; and an OperationalError for a lost connection, an
        InternalError for one that is out of step.
        """
        ...

    def close(self) -> None:
        """Close at once, without a word."""
        ...

    def hang_up(self) -> None:
        """Close when the event loop has ended."""
        ...


def credentials(url: BackendURL, tls: ssl.SSLContext | None) -> Mapping[str, Any]:
    """Return where and as whom to log in, by the names that both drivers have for it."""
    host = url.hosts[0] if url.hosts else None
    socket = host.name if host is not None and host.name.startswith("/") else None
    return {
        "host": host.name if host else "localhost",
        "unix_socket": socket,
        "port": (host.port if host else None) or 3306,
        "user": url.user,
        "password": url.password or "",
        "charset": "utf8mb4",
        "autocommit": True,
        "ssl": None if socket else tls,
    }

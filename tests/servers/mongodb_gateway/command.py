"""One command as a client sent it: what the gateway must know of it, the rest stays raw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from .errors import BAD_VALUE, CommandError
from .transactions import Key
from .wire import Request

__all__ = ("RAW", "Command")

# Documents inside a decoded one stay raw, so reading a command costs its top level only.
RAW: Final = CodecOptions(document_class=RawBSONDocument)
INVALID_BSON: Final = 22
# Nothing of a command is longer; PostgreSQL's statement_timeout is a 32-bit number.
MAX_MILLISECONDS: Final = 2**31 - 1


class Command:
    """A command: its fields at the top level, and who sent it."""

    def __init__(self, request: Request, client: object) -> None:
        try:
            self.fields: Mapping[str, Any] = RawBSONDocument(request.body, RAW)
            self.given_name = next(iter(self.fields))
        except (bson.errors.BSONError, StopIteration) as error:
            raise CommandError(INVALID_BSON, "the command is no valid document") from error
        self.name = self.given_name.lower()
        self.raw = request.body
        self.sequences = request.sequences
        self.client = client
        self.database = self.text("$db", default="admin")
        self.session: bytes | None = None
        if "lsid" in self.fields:
            self.session = session_id(self.fields["lsid"])
        self.in_transaction = self.fields.get("autocommit") is False
        self.starts = self.fields.get("startTransaction") is True

    @property
    def target(self) -> str:
        """The collection that the command names first."""
        return self.text(self.given_name)

    def text(self, field: str, *, default: str | None = None) -> str:
        """Return a field that must be text. Raises CommandError 2."""
        value = self.fields.get(field, default)
        if not isinstance(value, str):
            raise CommandError(BAD_VALUE, f"{field} must be text")
        return value

    @property
    def key(self) -> Key:
        """The transaction that it belongs to. Raises CommandError 2 if it names none."""
        number = self.fields.get("txnNumber")
        if self.session is None or not isinstance(number, int):
            raise CommandError(BAD_VALUE, "a transaction needs lsid and txnNumber")
        return self.session, int(number)

    @property
    def retry_id(self) -> str | None:
        """What names a retryable write: it is applied once however often it is sent."""
        if self.in_transaction or "txnNumber" not in self.fields:
            return None
        session, number = self.key
        return f"{session.hex()}:{number}"

    @property
    def milliseconds(self) -> int:
        """The client's time limit, 0 for none."""
        limit = self.fields.get("maxTimeMS", 0)
        if isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0:
            raise CommandError(BAD_VALUE, "maxTimeMS must be a number that is not negative")
        return min(int(limit), MAX_MILLISECONDS)


def session_id(document: Any) -> bytes:
    """Return the id in a session's document. Raises CommandError 2."""
    value = document.get("id") if isinstance(document, Mapping) else None
    if not isinstance(value, bytes):
        raise CommandError(BAD_VALUE, "a session's id must be binary")
    return bytes(value)

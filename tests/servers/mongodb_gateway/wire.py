"""MongoDB's wire protocol: messages to requests, documents to replies. No I/O.

Source: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/ (opcodes, flags and
layouts). Documents stay raw BSON: nothing here decodes one.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ("MAX_MESSAGE", "Request", "WireError", "parse", "reply", "size_of_next")

MAX_MESSAGE: Final = 48_000_000  # bytes; maxMessageSizeBytes of every MongoDB since 2.6

OP_REPLY: Final = 1
OP_QUERY: Final = 2004
OP_MSG: Final = 2013

CHECKSUM_PRESENT: Final = 1
MORE_TO_COME: Final = 2
REQUIRED_FLAGS: Final = 0xFFFF  # a receiver must know every flag among these
AWAIT_CAPABLE: Final = 8  # OP_REPLY's flag, which every server sets

_HEADER: Final = struct.Struct("<iiii")
_MSG_START: Final = struct.Struct("<iiiiIB")
_REPLY_START: Final = struct.Struct("<iiiiiqii")
_INT32: Final = struct.Struct("<i")
_UINT32: Final = struct.Struct("<I")
_SMALLEST_DOCUMENT: Final = 5


class WireError(Exception):
    """The bytes are no message of this protocol; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class Request:
    """One message of a client."""

    number: int
    """The client's number of it, repeated in the reply."""
    body: bytes
    """The command, one raw document."""
    sequences: Mapping[str, bytes]
    """Document sequences by name, each the raw documents one after the other."""
    answered: bool = True
    """Whether the client waits for a reply."""
    query: bool = False
    """Whether it came as ``OP_QUERY``, as the first handshake does."""


def size_of_next(buffer: bytes | bytearray) -> int | None:
    """Return the size in bytes of the message that starts here, None if that is not known yet.

    Raises WireError for a size that no message has.
    """
    if len(buffer) < _INT32.size:
        return None
    size: int = _INT32.unpack_from(buffer)[0]
    if not _HEADER.size < size <= MAX_MESSAGE:
        raise WireError(f"a message of {size} bytes")
    return size


def parse(message: bytes) -> Request:
    """Read one whole message. Raises WireError if it is none of ours."""
    _, number, _, opcode = _HEADER.unpack_from(message)
    try:
        if opcode == OP_MSG:
            return _parse_msg(message, number)
        if opcode == OP_QUERY:
            return _parse_query(message, number)
    except (struct.error, ValueError) as error:
        raise WireError("a message that ends too early") from error
    raise WireError(f"opcode {opcode}")


def _parse_msg(message: bytes, number: int) -> Request:
    """Read an ``OP_MSG``: flags, then sections of kind 0 (the command) and 1 (a sequence)."""
    flags: int = _UINT32.unpack_from(message, _HEADER.size)[0]
    if flags & REQUIRED_FLAGS & ~(CHECKSUM_PRESENT | MORE_TO_COME):
        raise WireError(f"unknown flags {flags:#x}")
    # The checksum (CRC-32C) guards a network; on loopback TCP's own is enough.
    end = len(message) - (_UINT32.size if flags & CHECKSUM_PRESENT else 0)
    at = _HEADER.size + _UINT32.size
    body: bytes | None = None
    sequences: dict[str, bytes] = {}
    while at < end:
        kind = message[at]
        at += 1
        size: int = _INT32.unpack_from(message, at)[0]
        if size < _SMALLEST_DOCUMENT or at + size > end:
            raise WireError("a section that leaves its message")
        if kind == 0 and body is None:
            body = message[at : at + size]
        elif kind == 1:
            name_end = message.index(0, at + _INT32.size, at + size)
            name = message[at + _INT32.size : name_end].decode()
            if name in sequences:
                raise WireError("two sequences of one name")
            sequences[name] = message[name_end + 1 : at + size]
        else:
            raise WireError(f"a section of kind {kind}")
        at += size
    if body is None:
        raise WireError("a message without a command")
    return Request(number, body, sequences, answered=not flags & MORE_TO_COME)


def _parse_query(message: bytes, number: int) -> Request:
    """Read an ``OP_QUERY``: flags, namespace, two numbers, the command."""
    start = message.index(0, _HEADER.size + _INT32.size) + 1 + 2 * _INT32.size
    size: int = _INT32.unpack_from(message, start)[0]
    if size < _SMALLEST_DOCUMENT or start + size > len(message):
        raise WireError("a document that leaves its message")
    return Request(number, message[start : start + size], {}, query=True)


def reply(request: Request, document: bytes) -> bytes:
    """Wrap the reply to a request."""
    if request.query:
        size = _REPLY_START.size + len(document)
        start = _REPLY_START.pack(size, 0, request.number, OP_REPLY, AWAIT_CAPABLE, 0, 0, 1)
    else:
        size = _MSG_START.size + len(document)
        start = _MSG_START.pack(size, 0, request.number, OP_MSG, 0, 0)
    return start + document

"""What the tests of the replica set share: its address, types, and questions to a collection.

`HEALTHSTORE_TEST_MONGODB_RS_URL` names the server: our gateway, or a real MongoDB, of which the
same holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from typing import Any, Self, TypeAlias

import bson
import pytest
from pymongo import ASCENDING, AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.uri_parser import parse_uri

URL = os.environ.get("HEALTHSTORE_TEST_MONGODB_RS_URL", "")
needs_server = pytest.mark.skipif(not URL, reason="HEALTHSTORE_TEST_MONGODB_RS_URL is not set")

Document: TypeAlias = dict[str, Any]
Client: TypeAlias = AsyncMongoClient[Document]
Database: TypeAlias = AsyncDatabase[Document]
Collection: TypeAlias = AsyncCollection[Document]


async def ids(rows: Collection, session: AsyncClientSession | None = None) -> list[Any]:
    """Return the ids of all documents, in order."""
    found = rows.find({}, {"_id": 1}, sort=[("_id", ASCENDING)], session=session)
    return [document["_id"] for document in await found.to_list()]


class RawConnection:
    """One connection that speaks the protocol without a driver: it is closed when a test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls) -> Self:
        """Connect to the first server of the address."""
        host, port = parse_uri(URL)["nodelist"][0]
        return cls(*await asyncio.open_connection(host, port))

    def write(self, data: bytes) -> None:
        """Send bytes, whatever they mean."""
        self._writer.write(data)

    def send(self, command: Document, *, flags: int = 0) -> None:
        """Send a command as ``OP_MSG`` and do not wait for its reply."""
        body = struct.pack("<IB", flags, 0) + bson.encode(command)
        self.write(struct.pack("<iiii", 16 + len(body), 7, 0, 2013) + body)

    async def receive(self) -> tuple[int, int, bytes]:
        """Return the opcode, the number of the request it answers, and the rest of a message."""
        async with asyncio.timeout(10):
            head = await self._reader.readexactly(16)
            size, _, answered, opcode = struct.unpack("<iiii", head)
            return opcode, answered, await self._reader.readexactly(size - 16)

    async def ask(self, command: Document, *, flags: int = 0) -> Document:
        """Send a command and return its reply."""
        self.send(command, flags=flags)
        opcode, answered, rest = await self.receive()
        assert (opcode, answered) == (2013, 7)
        reply: Document = bson.decode(rest[5:])
        return reply

    async def ends(self) -> bool:
        """Wait until the server closes it; tell whether it said nothing before."""
        async with asyncio.timeout(10):
            try:
                return not await self._reader.read()
            except ConnectionError:
                return True

    async def close(self) -> None:
        """Close without a word."""
        self._writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

"""The listening side: one connection of a client, its messages in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from .gateway import Gateway
from .wire import Request, WireError, parse, reply, size_of_next

__all__ = ("Connection", "serve")

QUEUED: Final = 16  # requests of one client that wait; drivers send one at a time


class Connection(asyncio.Protocol):
    """One client: requests are answered one after the other."""

    def __init__(self, gateway: Gateway, connections: set[Connection]) -> None:
        self._gateway = gateway
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting: deque[Request] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Collect bytes, and take each whole message out of them."""
        self._buffer += data
        try:
            while (size := size_of_next(self._buffer)) and len(self._buffer) >= size:
                self._waiting.append(parse(bytes(memoryview(self._buffer)[:size])))
                del self._buffer[:size]
        except WireError:
            self.close()
            return
        if self._waiting and self._worker is None:
            self._worker = asyncio.create_task(self._work())
        if len(self._waiting) > QUEUED and self._transport is not None:
            self._transport.pause_reading()

    async def _work(self) -> None:
        try:
            while self._waiting and self._transport is not None:
                request = self._waiting.popleft()
                self._transport.resume_reading()
                document = await self._gateway.answer(request, self)
                if request.answered:
                    await self._writable.wait()
                    self._transport.write(reply(request, document))
        finally:
            self._worker = None

    def pause_writing(self) -> None:
        """Wait: the client reads slower than it asks."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what only a client that listens needs, and end its transactions."""
        self._connections.discard(self)
        self._transport = None
        self._waiting.clear()
        if self._worker is not None:
            self._worker.cancel()
        self._gateway.leave(self)

    def close(self) -> None:
        """Close it from this side."""
        if self._transport is not None:
            self._transport.abort()


async def serve(gateway: Gateway, host: str, port: int, until: asyncio.Event) -> None:
    """Answer clients until told to stop. Raises OSError when the port is taken."""
    loop = asyncio.get_running_loop()
    connections: set[Connection] = set()
    server = await loop.create_server(lambda: Connection(gateway, connections), host, port)
    try:
        await until.wait()
    finally:
        server.close()
        for connection in list(connections):
            connection.close()
        await asyncio.sleep(0)  # connection_lost of each has its turn
        await server.wait_closed()

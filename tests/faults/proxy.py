"""A TCP proxy that breaks connections at the moment that a test names."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from urllib.parse import urlsplit, urlunsplit

__all__ = ("Proxy", "Way", "proxy")

_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 seconds: closing sends RST


class Way(StrEnum):
    """A direction."""

    REQUEST = "to the server"
    REPLY = "to the client"


class _Strike(Enum):
    """What befalls one request; each is done once."""

    RESET_BEFORE = auto()
    RESET_REPLY = auto()
    DROP_REPLY = auto()
    CUT_REPLY = auto()


@dataclass(slots=True, eq=False)
class _Connection:
    """A client's connection; ``doom`` is what befalls the next reply."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    doom: _Strike | None = None
    left: int = 0
    """Bytes of the reply that still pass."""

    def abort(self, *, reset: bool = False) -> None:
        """Close both sides at once, the client's with RST if ``reset``."""
        if reset and not self.client.is_closing():
            sock: socket.socket = self.client.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        for writer in (self.client, self.server):
            if writer is not None:
                writer.transport.abort()


@dataclass(slots=True, eq=False)
class Proxy:
    """Forwards to ``host:port`` from a port of its own, and breaks what it is told to break.

    One-shot faults strike the next request that contains ``containing``; await :meth:`struck`
    to know that they did. The others hold until :meth:`heal`.
    """

    host: str
    port: int
    own_port: int = 0
    accepted: int = 0
    """Connections that clients have opened so far."""
    delays: dict[Way, float] = field(default_factory=dict[Way, float])
    _swallowed: set[Way] = field(default_factory=set[Way])
    _silent: bool = False
    _armed: tuple[_Strike, bytes, int] | None = None
    _struck: asyncio.Event = field(default_factory=asyncio.Event)
    _listener: asyncio.Server | None = None
    _open: set[_Connection] = field(default_factory=set[_Connection])
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def url(self, text: str) -> str:
        """Return the URL of the real server with the proxy's address in it."""
        parts = urlsplit(text)
        login, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{self.own_port}"))

    # --- faults that hold ------------------------------------------------------------------

    def delay(self, seconds: float, *ways: Way) -> None:
        """Hold back each piece for some seconds, both ways unless told otherwise."""
        self.delays = dict.fromkeys(ways or tuple(Way), seconds)

    def blackhole(self, *ways: Way) -> None:
        """Swallow what is sent, both ways unless told otherwise; connections stay open."""
        self._swallowed = set(ways or tuple(Way))

    def silence(self) -> None:
        """Accept new connections, and never say a word on them."""
        self._silent = True

    async def refuse(self) -> None:
        """Close the port: new connections are refused; those that are open go on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            await asyncio.sleep(0)  # the loop closes the socket at its next turn

    async def heal(self) -> None:
        """Forward everything again, also new connections; what was swallowed is lost."""
        self.delays.clear()
        self._swallowed.clear()
        self._silent = False
        self._armed = None
        if self._listener is None:
            await self.listen()

    def break_all(self) -> None:
        """Reset every connection that is open."""
        for connection in tuple(self._open):
            connection.abort(reset=True)

    # --- faults that strike once -----------------------------------------------------------

    def reset_on_request(self, containing: bytes = b"") -> None:
        """Reset the connection on the next request, which never reaches the server."""
        self._arm(_Strike.RESET_BEFORE, containing)

    def reset_on_reply(self, containing: bytes = b"") -> None:
        """Let the next request through, and reset the connection in place of the reply."""
        self._arm(_Strike.RESET_REPLY, containing)

    def drop_reply(self, containing: bytes = b"") -> None:
        """Let the next request through, and swallow what is sent back on its connection."""
        self._arm(_Strike.DROP_REPLY, containing)

    def cut_reply(self, after: int, containing: bytes = b"") -> None:
        """Let the next request through, and close after that many bytes of the reply."""
        self._arm(_Strike.CUT_REPLY, containing, after)

    def _arm(self, strike: _Strike, containing: bytes, after: int = 0) -> None:
        self._struck.clear()
        self._armed = (strike, containing, after)

    async def struck(self) -> None:
        """Wait until the fault that was armed last has struck."""
        await self._struck.wait()

    # --- forwarding ------------------------------------------------------------------------

    async def listen(self) -> None:
        """Take connections, on the same port as before if there was one."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.own_port)
        self.own_port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Close the port and every connection."""
        await self.refuse()
        for connection in tuple(self._open):
            connection.abort()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = _Connection(writer)
        self._tasks.add(task)
        self._open.add(connection)
        self.accepted += 1
        try:
            if self._silent:
                await reader.read()
                return
            inner, connection.server = await asyncio.open_connection(self.host, self.port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests(reader, connection.server, connection))
                group.create_task(self._replies(inner, writer, connection))
        except* OSError:
            connection.abort()  # one side is gone: so is the other
        finally:
            connection.abort()
            self._open.discard(connection)
            self._tasks.discard(task)

    async def _requests(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, connection: _Connection
    ) -> None:
        while data := await source.read(_CHUNK):
            if self._armed is not None and self._armed[1] in data:
                connection.doom, _, connection.left = self._armed
                self._armed = None
                if connection.doom is _Strike.RESET_BEFORE:
                    self._reset(connection)
                    return
            await self._pass(data, sink, Way.REQUEST)
        connection.abort()

    async def _replies(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, connection: _Connection
    ) -> None:
        while data := await source.read(_CHUNK):
            if connection.doom is _Strike.RESET_REPLY:
                self._reset(connection)
                return
            if connection.doom is _Strike.DROP_REPLY:
                self._struck.set()
                continue
            if connection.doom is _Strike.CUT_REPLY:
                if len(data) >= connection.left:
                    sink.write(data[: connection.left])
                    sink.close()
                    self._struck.set()
                    return
                connection.left -= len(data)
            await self._pass(data, sink, Way.REPLY)
        sink.close()  # what is buffered still arrives

    def _reset(self, connection: _Connection) -> None:
        connection.abort(reset=True)
        self._struck.set()

    async def _pass(self, data: bytes, sink: asyncio.StreamWriter, way: Way) -> None:
        if seconds := self.delays.get(way):
            await asyncio.sleep(seconds)
        if way not in self._swallowed:
            sink.write(data)
            await sink.drain()


@asynccontextmanager
async def proxy(host: str, port: int) -> AsyncGenerator[Proxy, None]:
    """Lend a proxy before ``host:port``, which forwards everything until it is told otherwise."""
    made = Proxy(host, port)
    await made.listen()
    try:
        yield made
    finally:
        await made.close()

"""Servers of the tests' own, which may be killed and stopped, and a fake of MongoDB.

A private server is what ``scripts/test-servers`` starts, with a folder and a port of its own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from struct import pack, unpack
from typing import Any, TypeAlias
from uuid import uuid4

import bson

from healthstore.abc import BackendURL
from healthstore.testing.provision import PROVISIONS

__all__ = ("KINDS", "FakeMongo", "Kind", "PrivateServer", "fake_mongo", "free_port")

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "test-servers"
_SECONDS = 120.0  # for a start, also one that must recover, on a busy machine


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- private servers -------------------------------------------------------------------------


async def _ask_postgresql(home: Path, port: int, statements: Iterable[str]) -> None:
    asyncpg: Any = import_module("asyncpg")
    connection = await asyncpg.connect(
        host=str(home), port=port, user="postgres", database="postgres", timeout=_SECONDS
    )
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close(timeout=_SECONDS)


async def _ask_mariadb(home: Path, _: int, statements: Iterable[str]) -> None:
    aiomysql: Any = import_module("aiomysql")
    connection = await aiomysql.connect(
        unix_socket=str(home / "server.sock"), user="root", connect_timeout=_SECONDS
    )
    try:
        async with connection.cursor() as cursor:
            for statement in statements:
                await cursor.execute(statement)
    finally:
        await connection.ensure_closed()


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs from one kind of server to the other.

    ``binaries`` is a pattern below ``/`` that finds the program; ``sessions`` ends those of the
    tests' user, ``waiting`` those of them that wait for a lock to insert something.
    """

    program: str
    binaries: str
    ask: Callable[[Path, int, Iterable[str]], Awaitable[None]]
    sessions: tuple[str, ...]
    waiting: tuple[str, ...]


_INSERTING = "information_schema.processlist WHERE user = 'hs' AND info LIKE 'INSERT%'"
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'hs'"
KINDS: Mapping[str, Kind] = {
    "postgresql": Kind(
        "postgres",
        "usr/lib/postgresql/*/bin/postgres",
        _ask_postgresql,
        sessions=(_TERMINATE,),
        waiting=(f"{_TERMINATE} AND wait_event_type = 'Lock'",),
    ),
    "mariadb": Kind(
        "mariadbd",
        "usr/sbin/mariadbd",
        _ask_mariadb,
        sessions=("KILL HARD USER hs",),
        waiting=(
            f"SELECT id INTO @waiting FROM {_INSERTING}",
            "EXECUTE IMMEDIATE CONCAT('KILL ', @waiting)",
        ),
    ),
}


class PrivateServer:
    """A server that nobody else uses. Its data is gone when it is closed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self._kind = KINDS[name]
        # Not below the folder of the tests, which other accounts may not enter.
        self._state = Path(tempfile.mkdtemp(prefix="healthstore-faults-", dir="/var/tmp"))
        self._state.chmod(0o755)
        self._home = self._state / "data" / name
        self.url = ""

    @staticmethod
    def absent(name: str) -> str:
        """Say why a server of this kind cannot be had here, or nothing."""
        if next(Path("/").glob(KINDS[name].binaries), None) is None:
            return f"the programs of {name} are not installed: /{KINDS[name].binaries}"
        return ""

    def up(self) -> None:
        """Start it, after a crash as well, and wait until it answers."""
        self._script("up")
        text = self._script("env")
        self.url = text.partition("=")[2].strip()

    def close(self) -> None:
        """End it and remove its data."""
        self.cont()
        self._signal(signal.SIGQUIT)  # killed, PostgreSQL would leave its shared memory behind
        until = time.monotonic() + 2
        while self.processes() and time.monotonic() < until:
            time.sleep(0.02)
        self.kill()
        shutil.rmtree(self._state)

    def _script(self, command: str) -> str:
        variable = f"HEALTHSTORE_TEST_{self.name.upper()}_PORT"
        own = {"HEALTHSTORE_TEST_STATE": str(self._state), variable: str(self.port)}
        done = subprocess.run(
            [sys.executable, _SCRIPT, command, self.name],
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def processes(self) -> list[int]:
        """Return the ids of its processes, the first of them first."""
        found: list[int] = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile
                program = (process / "exe").readlink().name
                if program == self._kind.program and (process / "cwd").samefile(self._home):
                    found.append(int(process.name))
        return sorted(found)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes, also to those that are born meanwhile."""
        told: set[int] = set()
        while new := set(self.processes()) - told:
            for pid in sorted(new):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            told |= new

    def kill(self) -> None:
        """End all its processes with SIGKILL, and wait until they are gone."""
        self._signal(signal.SIGKILL)
        self._wait_until_gone()

    def shut_down(self) -> None:
        """End it in its orderly way, which ends its sessions."""
        self._script("down")
        self._wait_until_gone()

    def stand_by(self) -> None:
        """Make PostgreSQL, while it is down, come back in recovery, to end it when promoted."""
        signal_file = self._home / "standby.signal"
        signal_file.touch()
        owner = self._home.stat()
        os.chown(signal_file, owner.st_uid, owner.st_gid)

    def _wait_until_gone(self) -> None:
        """Wait until the kernel has closed the port, too: later than the process vanishes."""
        until = time.monotonic() + _SECONDS
        while self.processes() or _is_open(self.port):
            assert time.monotonic() < until, "the server does not end"
            time.sleep(0.005)

    def stop(self) -> None:
        """Freeze all its processes: it hangs, and its kernel still takes connections."""
        self._signal(signal.SIGSTOP)

    def cont(self) -> None:
        """Let all its processes go on."""
        self._signal(signal.SIGCONT)

    async def restart(self) -> None:
        """Start it again; the loop goes on meanwhile."""
        await asyncio.to_thread(self.up)

    async def ask(self, *statements: str) -> None:
        """Run statements as the superuser, over the socket in its folder."""
        await self._kind.ask(self._home, self.port, statements)

    async def terminate_sessions(self) -> None:
        """End every session of the tests' user."""
        await self.ask(*self._kind.sessions)

    async def terminate_waiting(self) -> None:
        """End the session of the tests' user that waits for a lock."""
        await self.ask(*self._kind.waiting)

    async def database(self) -> str:
        """Make a database and return its URL."""
        server = BackendURL.parse(self.url)
        name = f"faults_{uuid4().hex[:12]}"
        made = await PROVISIONS[server.scheme].create(server, name)
        return f"{self.url.rpartition('/')[0]}/{made.database}"


# --- a fake of MongoDB -----------------------------------------------------------------------

Document: TypeAlias = dict[str, Any]
Answer: TypeAlias = "Document | Callable[[Document], Document | None] | None"

_HELLO: Document = {
    "ok": 1,
    "isWritablePrimary": True,
    "helloOk": True,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "maxBsonObjectSize": 16 << 20,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "readOnly": False,
}
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013


@dataclass(slots=True, eq=False)
class FakeMongo:
    """Speaks MongoDB's protocol and answers each command as it is told.

    ``answers`` maps the name of a command to its reply, or to a function of the command; None
    as the reply closes the connection. What is not listed gets ``{"ok": 1}``. ``seen`` lists
    the commands that arrived, without handshakes.
    """

    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    seen: list[Document] = field(default_factory=list[Document])
    hello: Document = field(default_factory=lambda: dict(_HELLO))
    _clients: dict[asyncio.Task[None], asyncio.StreamWriter] = field(
        default_factory=dict[asyncio.Task[None], asyncio.StreamWriter]
    )

    @property
    def url(self) -> str:
        """The URL of a database on it."""
        return f"mongodb://127.0.0.1:{self.port}/faults?directConnection=true"

    def fail(self, command: str, code: int, *labels: str) -> None:
        """Answer a command with an error."""
        self.answers[command] = {
            "ok": 0,
            "code": code,
            "errmsg": "as told",
            "errorLabels": list(labels),
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it leaves."""
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = writer
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while (message := await self._answered(reader)) is not None:
                    writer.write(message)
                    await writer.drain()
        finally:
            writer.transport.abort()
            del self._clients[task]

    async def end(self) -> None:
        """Leave every client."""
        for writer in self._clients.values():
            writer.transport.abort()
        await asyncio.gather(*self._clients)

    async def _answered(self, reader: asyncio.StreamReader) -> bytes | None:
        """Read one message and return the bytes of the answer, None for none at all."""
        size, number, _, opcode = unpack("<iiii", await reader.readexactly(16))
        body = await reader.readexactly(size - 16)
        if opcode == _OP_QUERY:  # the first handshake
            head, reply = pack("<iqii", 8, 0, 0, 1), self.hello
            opcode = _OP_REPLY
        else:
            found = self._reply(_command(body))
            if found is None:
                return None
            head, reply = pack("<IB", 0, 0), found
        rest = head + bson.encode(reply)
        return pack("<iiii", 16 + len(rest), number, number, opcode) + rest

    def _reply(self, command: Document) -> Document | None:
        name = next(iter(command))
        if name in {"hello", "isMaster", "ismaster"}:
            return self.hello
        self.seen.append(command)
        answer = self.answers.get(name, {"ok": 1})
        return answer(command) if callable(answer) else answer


def _command(body: bytes) -> Document:
    """Return the command in an OP_MSG, with the documents of its sequences in their places."""
    rest, command = memoryview(body)[4:], Document()
    while rest:
        kind, (size,) = rest[0], unpack("<i", rest[1:5])
        if kind == 0:
            command |= bson.decode(rest[1 : 1 + size])
        else:
            name, _, documents = bytes(rest[5 : 1 + size]).partition(b"\0")
            command[name.decode()] = bson.decode_all(documents)
        rest = rest[1 + size :]
    return command


@asynccontextmanager
async def fake_mongo() -> AsyncGenerator[FakeMongo, None]:
    """Lend a fake server on a port of its own."""
    fake = FakeMongo()
    listener = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.port = listener.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        listener.close()
        await fake.end()

"""A private PostgreSQL for the demo: made in a folder of its own, killed, started again, removed.

It needs PostgreSQL's own programs and nothing else of PostgreSQL: no service, no configuration.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen, TimeoutExpired, run

from healthstore.cli.demo.primary import Primary
from healthstore.cli.signals import ended_as_by_interrupt, undisturbed
from healthstore.errors import UnavailableError

__all__ = ("postgresql",)

_PROGRAMS = ("postgres", "initdb")
_INSTALLED = "usr/lib/postgresql/[0-9]*/bin"  # below /; Debian keeps servers out of PATH
_ACCOUNT = "postgres"  # runs it if the demo is root's, whom PostgreSQL refuses
_PROCESSES = Path("/proc")
_USER, _HOST = "healthstore", "127.0.0.1"
_SECONDS = 15.0  # for a start, recovery included
_END_SECONDS = 3.0  # for an end in order; then it is killed
_STEP = 0.005  # seconds between two looks
# A kill must leave nothing outside the folder: no socket, no segments in /dev/shm.
_SETTINGS = {
    "listen_addresses": _HOST,
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "16MB",
    "fsync": "on",
    "log_line_prefix": "",
}
_RECOVERS = "not properly shut down"  # what its log says, in English by --no-locale


@asynccontextmanager
async def postgresql() -> AsyncGenerator[Primary, None]:
    """Lend a PostgreSQL that runs, and remove it: its processes, its folder, its shared memory.

    While it is lent, SIGTERM and SIGHUP end the program as Ctrl-C does, so that they leave
    nothing either.

    Raises:
        UnavailableError: it cannot be run on this machine; says why, and nothing is left.
    """
    programs, account = _programs(), _account()
    with ended_as_by_interrupt():
        folder = tempfile.TemporaryDirectory(prefix="healthstore-demo-")
        port, secret = _free_port(), secrets.token_urlsafe()
        cluster = _Cluster(Path(folder.name), programs, account, port, secret)
        try:
            try:
                await cluster.make()
                await cluster.start()
            except OSError as error:
                reason = f"PostgreSQL cannot be run here: {error.strerror}"
                raise UnavailableError(reason) from None
            yield Primary(
                "PostgreSQL", "PostgreSQL is killed", cluster.url, cluster.lose, cluster.come_back
            )
        finally:
            with undisturbed():  # by a second Ctrl-C
                cluster.close()
                folder.cleanup()


@dataclass(frozen=True, slots=True)
class _Account:
    """Who runs the programs; None: whoever runs the demo."""

    user: int | None = None
    group: int | None = None

    def own(self, path: Path) -> None:
        """Make it theirs, and nobody else's."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group)


@dataclass(slots=True)
class _Cluster:
    """One server on a new folder, with at most one process of ours: initdb or the server."""

    folder: Path
    programs: Path
    account: _Account
    port: int
    secret: str
    _process: Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of a database on it; its password keeps other users of this machine out."""
        return f"postgresql://{_USER}:{self.secret}@{_HOST}:{self.port}/postgres"

    async def make(self) -> None:
        """Make an empty cluster."""
        self.account.own(self.folder)
        word = self.folder / "secret"
        word.touch(0o600)
        word.write_text(self.secret, "utf-8")
        self.account.own(word)
        process = self._begin(
            *("initdb", "-D", self._data, "--no-sync", "-U", _USER, "-A", "scram-sha-256"),
            *(f"--pwfile={word}", "-E", "UTF8", "--no-locale"),
        )
        await self._until(lambda: process.poll() is not None)
        if process.returncode:
            raise UnavailableError(f"initdb fails: {self._last_words()}")
        word.unlink()

    async def start(self) -> None:
        """Start it, after a kill as well, and wait until it takes connections."""
        options = [word for each in _SETTINGS.items() for word in ("-c", "=".join(each))]
        process = self._begin("postgres", "-D", self._data, "-p", str(self.port), *options)
        await self._until(lambda: self._ready(process.pid) or process.poll() is not None)
        if process.poll() is not None:
            raise UnavailableError(f"PostgreSQL does not start: {self._last_words()}")

    def lose(self) -> str:
        """End all its processes with SIGKILL, and wait until they are gone."""
        return f"PostgreSQL's {self._kill()} processes are killed with SIGKILL."

    async def come_back(self) -> str:
        """Start it on what the kill left, and return what its log says about that."""
        known = self._log.stat().st_size
        await self.start()
        lines = self._log.read_bytes()[known:].decode(errors="replace").splitlines()
        said = next((each for each in lines if _RECOVERS in each), "it was not killed")
        return f"PostgreSQL is started again. Its log: {said.partition(':')[2].strip() or said}."

    def close(self) -> None:
        """End what runs, in order if it can be; without this no folder could be removed."""
        process = self._process
        if process is not None and process.poll() is None:
            # To the group: initdb has programs of its own. The server ends at once on it.
            os.killpg(process.pid, signal.SIGQUIT)
            try:
                process.wait(_END_SECONDS)
            except TimeoutExpired:
                self._kill()
        with suppress(OSError, IndexError):  # it ended in order, or ipcrm is not here
            # The one thing that a kill leaves until the next start: some bytes that mark the
            # folder as in use.
            segment = self._status()[6].split()[1]
            run(["ipcrm", "-m", segment], check=False, stdout=DEVNULL, stderr=DEVNULL)  # noqa: S603, S607 - a number that PostgreSQL wrote; where ipcrm is differs

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _begin(self, program: str, *options: str | Path) -> Popen[bytes]:
        """Start a program as its account, in a session of its own: Ctrl-C is not for it."""
        account = self.account
        with self._log.open("ab") as log:
            self._process = Popen(  # noqa: S603 - no shell, and no word of anybody else's
                [self.programs / program, *options],
                cwd=self.folder,
                env={name: text for name, text in os.environ.items() if name[:2] != "PG"},
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                user=account.user,
                group=account.group,
                extra_groups=None if account.user is None else [],
                start_new_session=True,
            )
        return self._process

    async def _until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                while not condition():  # noqa: ASYNC110 - another process has no event to wait for
                    await asyncio.sleep(_STEP)
        except TimeoutError:
            reason = f"PostgreSQL is not ready after {_SECONDS:g} s: {self._last_words()}"
            raise UnavailableError(reason) from None

    def _status(self) -> list[str]:
        """Return the lines that a server keeps about itself in its folder."""
        return (self._data / "postmaster.pid").read_text("utf-8").splitlines()

    def _ready(self, pid: int) -> bool:
        """Tell whether this process says that it is ready; what was killed may have said so."""
        with suppress(OSError, IndexError):  # it has not written it yet, or not all of it
            lines = self._status()
            return (lines[0], lines[7].strip()) == (str(pid), "ready")
        return False

    def _last_words(self) -> str:
        *_, last = ["no reason given", *self._log.read_text("utf-8", "replace").splitlines()]
        return last

    def _kill(self) -> int:
        """Kill the process and all that descend from it; return how many they were.

        This takes milliseconds; nothing else of the program runs meanwhile.
        """
        process = self._process
        if process is None or process.poll() is not None:
            return 0
        process.send_signal(signal.SIGSTOP)  # it has no more children from now on
        family = _family(process.pid)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(_END_SECONDS)
        until = time.monotonic() + _END_SECONDS
        while not _running().keys().isdisjoint(family) and time.monotonic() < until:
            time.sleep(_STEP)
        return len(family)


def _programs() -> Path:
    """Return the folder of PostgreSQL's programs: on PATH, or of the newest installed version."""
    on_path = shutil.which(_PROGRAMS[0])
    installed = sorted(
        Path("/").glob(_INSTALLED),
        key=lambda folder: [int(part) for part in re.findall(r"\d+", folder.parent.name)],
        reverse=True,
    )
    for folder in [*([Path(on_path).resolve().parent] if on_path else []), *installed]:
        if all((folder / name).is_file() for name in _PROGRAMS):
            return folder
    where = f"neither on PATH nor in /{_INSTALLED}"
    raise UnavailableError(f"PostgreSQL's programs {' and '.join(_PROGRAMS)} are {where}")


def _account() -> _Account:
    """Return who can run the programs."""
    if not (_PROCESSES / "self" / "stat").exists():
        raise UnavailableError(f"there is no {_PROCESSES} here, which names all its processes")
    if os.geteuid() != 0:
        return _Account()
    import pwd  # noqa: PLC0415 - not everywhere where the demo runs

    try:
        found = pwd.getpwnam(_ACCOUNT)
    except KeyError:
        reason = f"PostgreSQL refuses to run as root, and there is no account {_ACCOUNT}"
        raise UnavailableError(reason) from None
    return _Account(found.pw_uid, found.pw_gid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _running() -> dict[int, int]:
    """Return the parent of each process that has not ended."""
    found: dict[int, int] = {}
    for stat in _PROCESSES.glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            state, parent, *_ = stat.read_bytes().rpartition(b")")[2].split()
            if state not in {b"Z", b"X"}:
                found[int(stat.parent.name)] = int(parent)
    return found


def _family(first: int) -> list[int]:
    """Return a process and all that descend from it."""
    parents = _running()
    found = [first]
    for pid in found:  # grows meanwhile: their children, too
        found += [child for child, parent in parents.items() if parent == pid]
    return found

"""One member, from its URL to its settings: every step bounded, and none stops the report."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from healthstore.abc.backend import Backend
from healthstore.abc.examination import Examination, Examiner, Setting
from healthstore.abc.prober import Figures, PoolFigures, Prober
from healthstore.abc.registry import BUILT_IN
from healthstore.abc.url import BackendURL
from healthstore.cli.doctor.line import Grade, Line
from healthstore.cli.doctor.network import Found, look_up, reach
from healthstore.cli.exits import EXITS, Exit
from healthstore.cli.failures import CommandError, failure_of
from healthstore.cli.named import require_stored
from healthstore.transfer.filling import mark_of

__all__ = (
    "STEP_SECONDS",
    "Checkup",
    "absent_file",
    "failed",
    "of_clock",
    "of_connections",
    "of_encryption",
    "of_setting",
)

STEP_SECONDS = 3.0
_SKEW_SECONDS = 1.0
_VERIFY = "set tls=verify in the URL; tls_ca names a file with an authority of your own"
Step = Callable[[], Awaitable[Sequence[Line]]]


@dataclass(slots=True)
class Checkup:
    """The steps of one member's examination; ``lines`` holds what was found so far.

    A step whose lines all fail stops the later ones, which are then skipped: each needs those
    before it.
    """

    url: BackendURL
    backend: Backend
    lines: list[Line] = field(default_factory=list[Line])
    _found: Found = field(default_factory=dict)
    _figures: Figures | None = None
    _stopped: str = ""

    async def run(self) -> None:
        """Take every step, and leave nothing open."""
        prober = self.backend.prober()
        try:
            await self._step("DNS", self._dns)
            await self._step("TCP", self._tcp)
            await self._step("log in", lambda: self._log_in(prober))
            await self._step("server", lambda: self._server(prober), needed=False)
            await self._step("role", lambda: self._role(prober), needed=False)
            await self._step("contents", self._contents, needed=False)
            await self._step("settings", lambda: self._settings(prober), needed=False)
        finally:
            await _bounded(prober.close)
            await _bounded(self.backend.close)

    async def _step(self, check: str, step: Step, *, needed: bool = True) -> None:
        if self._stopped:
            self.lines.append(Line(check, Grade.SKIP, f"{self._stopped} failed"))
            return
        try:
            async with asyncio.timeout(STEP_SECONDS):
                lines = await step()
        except TimeoutError:
            seen = f"no answer within {STEP_SECONDS:g} s"
            remedy = "look at the load of the server and the way to it"
            lines = [Line(check, Grade.FAIL, seen, remedy, unreachable=needed)]
        except Exception as error:  # noqa: BLE001 - whatever comes up is a finding
            lines = [failed(check, error)]
        self.lines += lines
        if needed and lines and all(each.grade is Grade.FAIL for each in lines):
            self._stopped = check

    async def _dns(self) -> Sequence[Line]:
        hosts = [host for host in self.url.hosts if not host.name.startswith("/")]
        if self.url.driver == "srv":
            return [Line("DNS", Grade.SKIP, "the driver asks for the servers' names")]
        if not hosts:
            return [Line("DNS", Grade.SKIP, "the URL names no host")]
        self._found, lines = await look_up(hosts)
        return lines

    async def _tcp(self) -> Sequence[Line]:
        built_in = BUILT_IN.get(self.url.scheme)
        port = built_in.port if built_in else None
        found = {host: each for host, each in self._found.items() if host.port or port}
        if not found:
            return [Line("TCP", Grade.SKIP, "there is no address to connect to")]
        return await reach(found, port or 0)

    async def _log_in(self, prober: Prober) -> Sequence[Line]:
        await self.backend.open()
        await prober.connect()
        return [Line("log in", Grade.OK, "the store is open")]

    async def _contents(self) -> Sequence[Line]:
        mark = await mark_of(self.backend)
        if mark is None:
            return [Line("contents", Grade.OK, "no transfer into it is unfinished")]
        return [Line("contents", Grade.FAIL, str(mark), mark.remedy)]

    async def _server(self, prober: Prober) -> Sequence[Line]:
        self._figures = await prober.measure()
        return [Line("server", Grade.OK, self._figures.server)]

    async def _role(self, prober: Prober) -> Sequence[Line]:
        vitals = await prober.check()
        if vitals.writable:
            return [Line("role", Grade.OK, "takes writes")]
        remedy = "as a standby it is well; as the active member it needs to take writes"
        return [Line("role", Grade.WARN, f"takes no writes: {vitals.reason}", remedy)]

    async def _settings(self, prober: Prober) -> Sequence[Line]:
        if not isinstance(prober, Examiner):
            return [Line("settings", Grade.SKIP, "this kind of store has none to look at")]
        examined = await prober.examine()
        lines = [*map(of_setting, examined.settings)]
        lines += of_encryption(examined, local=self.url.local)
        lines += of_clock(examined)
        lines += of_connections(examined, self._figures, self.backend.pool())
        return lines


def absent_file(url: BackendURL) -> Line | None:
    """Return what to say about a store whose file is not there yet, None if it is there."""
    try:
        require_stored(url)
    except CommandError as error:
        failure = error.failure
        remedy = f"healthstore initialize makes it; {failure.hint}"
        return Line("file", Grade.WARN, f"{failure.message}: {failure.where}", remedy)
    return None


def of_setting(setting: Setting) -> Line:
    """Return the line of a setting."""
    if not setting.trouble:
        return Line(setting.name, Grade.OK, setting.value)
    grade = Grade.FAIL if setting.fatal else Grade.WARN
    return Line(setting.name, grade, f"{setting.value}: {setting.trouble}", setting.remedy)


def of_encryption(examined: Examination, *, local: bool) -> list[Line]:
    """Return the line of the encryption; on the way to this machine itself it is not needed."""
    protocol = examined.encryption
    if protocol is None:
        return []
    if protocol and examined.verified:
        return [Line("TLS", Grade.OK, f"{protocol}, the server proved its name")]
    seen = f"{protocol}, but the server need not prove its name" if protocol else "not encrypted"
    if local:
        return [Line("TLS", Grade.OK, f"{seen}; no other machine is on the way")]
    return [Line("TLS", Grade.WARN, seen, _VERIFY)]


def of_clock(examined: Examination) -> list[Line]:
    """Return the lines of the time zone and the clock."""
    lines = [] if examined.zone is None else [Line("time zone", Grade.OK, examined.zone)]
    skew = examined.skew
    if skew is None:
        return lines
    if abs(skew) <= _SKEW_SECONDS:
        return [*lines, Line("clock", Grade.OK, f"{skew:+.3f} s from this machine's")]
    seen = f"{skew:+.1f} s from this machine's"
    return [*lines, Line("clock", Grade.WARN, seen, "keep both machines' clocks with NTP")]


def of_connections(
    examined: Examination, figures: Figures | None, pool: PoolFigures | None
) -> list[Line]:
    """Return the line of the connections: whether the server has enough for the pool."""
    most = examined.connections
    if most is None or pool is None:
        return []
    used = figures.connections if figures else None
    others = "" if used is None else f", {used} in use now"
    seen = f"the pool takes up to {pool.size} of the server's {most}{others}"
    if pool.size <= most - (used or 0):
        return [Line("connections", Grade.OK, seen)]
    remedy = "lower pool_size, or raise the server's max_connections"
    return [Line("connections", Grade.WARN, seen, remedy)]


def failed(check: str, error: Exception) -> Line:
    """Return the line of an error: its code, its message, and its hint; none quotes a secret."""
    failure = failure_of(error)
    unreachable = EXITS.get(failure.code) is Exit.UNAVAILABLE
    seen = f"{failure.message} ({failure.code})"
    return Line(check, Grade.FAIL, seen, failure.hint, unreachable=unreachable)


async def _bounded(close: Callable[[], Awaitable[None]]) -> None:
    """Close something; what cannot be closed was told by the step that failed."""
    try:
        async with asyncio.timeout(STEP_SECONDS):
            await close()
    except Exception as error:  # noqa: BLE001 - the report is what counts
        del error

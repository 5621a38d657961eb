"""Failover: members in order, as one backend.

The active member serves everything while it is well. When it is not, reads go on where the
policy allows, writes are refused with the reason, and requests under way learn at once that
their member is down. Who serves is decided by the :mod:`~healthstore.routing.roster`, and
changed by :mod:`~healthstore.routing.changes`; this module carries requests there.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeVar

from healthstore.abc.backend import Backend, Capabilities, Unit, UnitOptions
from healthstore.abc.farewell import farewell
from healthstore.abc.prober import PoolFigures, Prober
from healthstore.errors import (
    Condition,
    ConfigurationError,
    DeadlineExceededError,
    HealthstoreError,
    LifecycleError,
    Outcome,
    UnavailableError,
)
from healthstore.events import Event
from healthstore.model.ops import Effect, Ensure, Op, Origin
from healthstore.routing.changes import Changes
from healthstore.routing.health import Finding
from healthstore.routing.machine import MOCK, Route, Source
from healthstore.routing.pages import came_from, elsewhere, placed
from healthstore.routing.patience import patiently
from healthstore.routing.policy import FailoverPolicy, Startup
from healthstore.routing.refusals import no_writes, nobody, without_copy
from healthstore.routing.report import Health, MemberHealth
from healthstore.routing.roster import Roster
from healthstore.routing.traffic import Gate, Traffic, drained_all
from healthstore.routing.unit import RoutedUnit

__all__ = ("Failover",)

R = TypeVar("R")
_SECONDS = 30.0  # for a request, where nothing else is said
_ADMIN_SECONDS = 120.0  # for a change of the schema
_ATTEMPTS = 3  # attempts of a request, each after a check has found the next member well


class Failover:
    """A backend made of members, the first of which is active.

    ``mock`` is the backend that serves when no member does, if the policy has one. A request
    has the ``seconds`` of the active member, in all.
    """

    def __init__(
        self,
        members: Mapping[str, Backend],
        policy: FailoverPolicy,
        emit: Callable[[Event], None],
        mock: Backend | None = None,
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        self.policy = policy
        self._emit = emit
        self._mock = mock
        self._seconds = dict(seconds or {})
        self._roster = Roster(
            members, policy, emit, admit=self._admit, down=lambda name: self._traffic[name].cut()
        )
        self._missed: dict[str, list[Ensure]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._was_open = False
        self._keeper: asyncio.Task[None] | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Make what belongs to one event loop."""
        self._traffic = {name: Traffic(name) for name in (*self.members, MOCK)}
        self._opening = {name: asyncio.Lock() for name in self.members}
        self._life = asyncio.Lock()
        self._gate = Gate()
        self.changes = Changes(
            self._roster,
            self._traffic,
            self._gate,
            self._seconds,
            self._opening,
            self._emit,
            open_member=self._open_member,
            require_open=self._require_here,
        )

    # --- what it is ------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The active member's name."""
        return self._roster.route.active

    @property
    def route(self) -> Route:
        """Who serves now: nobody, before it is opened and after it is closed."""
        route = self._roster.route
        if self._loop is None:
            return Route(route.active, None, None, "the manager is not open")
        return route

    @property
    def members(self) -> Mapping[str, Backend]:
        """The members by name, in order."""
        return self._roster.members

    @property
    def is_open(self) -> bool:
        """Requests are taken."""
        return self._loop is not None and not self._loop.is_closed()

    @property
    def capabilities(self) -> Capabilities:
        """Those of the member that takes writes."""
        route = self._roster.route
        return self._backend(route.writes or route.active).capabilities

    def prober(self) -> Prober:
        """Return a prober of the active member."""
        return self._backend(self.name).prober()

    def pool(self) -> PoolFigures | None:
        """Return the figures of the active member's pool."""
        return self._backend(self.name).pool()

    def report(self, name: str, kind: str) -> MemberHealth:
        """Return what is known about a member, without I/O."""
        return self._roster.report(name, kind)

    def health(self, kinds: Mapping[str, str], *, profile: str, initialized: bool) -> Health:
        """Return what is known about all members, whose kinds are given by name, without I/O."""
        return self._roster.health(self.route, kinds, profile=profile, initialized=initialized)

    async def probe(self) -> None:
        """Check every member that is watched now, with a write and figures."""
        self._require_here()
        await self._roster.check_all(thoroughly=True)

    def _backend(self, name: str) -> Backend:
        if name == MOCK and self._mock is not None:
            return self._mock
        return self._roster.members[name]

    # --- life ------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the active member and start the checks; standbys are opened by their checks.

        Raises what opening the active member raises, unless the policy is to start degraded:
        then each member is checked once, and who serves is decided by that. What was opened in
        an event loop that has ended is opened anew.
        """
        self._leave_ended_loop()
        async with self._life:
            if self._loop is not None:
                self._require_here()
                return
            self._loop, self._process = asyncio.get_running_loop(), os.getpid()
            try:
                await self._start()
            except BaseException:
                await farewell(self._stop())
                raise
            self._was_open = True
            self._keeper = asyncio.create_task(self._close_with_loop())

    async def _start(self) -> None:
        for name, before in self._traffic.items():  # an event loop that has ended took its timers
            self._traffic[name] = Traffic(name, begun=before.begun)
        if self._mock is not None:
            await self._mock.open()
        active, seconds = self.name, self.policy.startup_timeout
        self._roster.watch()
        problem: HealthstoreError | None = None
        finding = Finding(Condition.OK)
        try:
            async with asyncio.timeout(seconds):
                await self._open_member(active)
                finding = await self._roster.look(active)
        except TimeoutError:
            problem = UnavailableError(f"it was not opened within {seconds:g} s", backend=active)
        except HealthstoreError as error:
            problem = error
        if problem is None:
            self._roster.found(active, finding, Source.PROBE)
        elif self.policy.startup is Startup.FAIL:
            go_on = 'startup="degraded" starts without it'
            problem.hint = f"{problem.hint}; {go_on}" if problem.hint else go_on
            raise problem
        else:
            await self._roster.check_all(thoroughly=False)
        self._roster.start(at_once=problem is None)

    async def close(self) -> None:
        """Let requests end, for as long as the policy's ``drain``, then close every member."""
        self._leave_ended_loop()
        async with self._life:
            if self._loop is None:
                return
            if os.getpid() != self._process:
                # The connections are the parent's: closing them would end its requests.
                self._loop = None
                self._roster.abandon()
                return
            if self._loop is not asyncio.get_running_loop():
                raise self._misplaced()
            self._loop = None  # from here on, requests are refused
            self._gate.open()
            try:
                await drained_all(self._traffic.values(), self.policy.drain)
            finally:
                await farewell(self._stop())

    async def _close_with_loop(self) -> None:
        """Close everything when the event loop ends, or nobody is left who could."""
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if self._loop is not None:  # nobody is closing it
                self._keeper = None
                try:
                    await self._stop()
                finally:
                    self._warn()
            raise

    def unreachable(self) -> None:
        """Let everything end, without I/O: nobody can close this any more."""
        if self._loop is None or self._process != os.getpid():
            return
        if self._keeper is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._keeper.cancel)
        else:
            self._warn()

    def _warn(self) -> None:
        warnings.warn(
            f"the manager of {', '.join(self.members)} was not closed: "
            "use it as a context manager, or call close()",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )

    def _leave_ended_loop(self) -> None:
        """Forget what was open in an event loop that has ended: nothing of it can be awaited."""
        if self._loop is not None and self._loop.is_closed() and self._process == os.getpid():
            self._loop = self._keeper = None
            self._roster.abandon()
            self._begin_anew()

    async def _stop(self) -> None:
        self._loop = None
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None
        opened, self._roster.opened = self._roster.opened, set()
        stores = [self._backend(name) for name in opened]
        if self._mock is not None:
            stores.append(self._mock)
        results = await asyncio.gather(
            self._roster.stop(), *(store.close() for store in stores), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def member(self, name: str) -> Backend:
        """Return a member, opened. Raises LifecycleError if this is not open."""
        self._require_here()
        await self._open_member(name)
        return self._backend(name)

    async def _open_member(self, name: str) -> None:
        async with self._opening[name]:
            if name not in self._roster.opened:
                await self._backend(name).open()
                if self._loop is None:  # closed meanwhile: nobody else would close this one
                    await farewell(self._backend(name).close())
                    raise self._misplaced()
                self._roster.opened.add(name)

    async def _admit(self, name: str) -> None:
        """Make a member that answers ready to serve: open it, and create what it missed."""
        if name not in self._roster.opened:
            try:
                await patiently(self.policy.startup_timeout, partial(self._open_and_ping, name))
            except TimeoutError:
                raise UnavailableError("it answers, but could not be opened in time") from None
            except LifecycleError:
                if self._loop is not None:
                    raise
                return  # closed meanwhile: that says nothing about the member
        while self._missed.get(name):
            await self._backend(name).execute(self._missed[name][0])
            del self._missed[name][0]

    async def _open_and_ping(self, name: str) -> None:
        await self._open_member(name)
        await self._backend(name).ping()  # which tells half a copy

    def _require_here(self) -> None:
        if self._loop is not asyncio.get_running_loop() or self._process != os.getpid():
            raise self._misplaced()

    def _misplaced(self) -> LifecycleError:
        if self._loop is None:
            said = "is closed" if self._was_open else "is not open"
            hint = "use it as a context manager, or call open() first"
        elif self._process != os.getpid():
            said = "was opened in another process: a fork cannot share its connections"
            hint = "open a manager of its own in each process, after the fork"
        else:
            said = "was opened in another event loop"
            hint = "open it in the loop that uses it; healthstore.sync is for code without one"
        return LifecycleError(f"the manager {said}", hint=hint, backend=self.name)

    # --- requests --------------------------------------------------------------------------

    async def execute(self, op: Op[R]) -> R:
        """Run one operation where it may run; see :class:`~healthstore.abc.backend.Executor`."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._process != os.getpid():
            raise self._misplaced()
        # One deadline pays for everything: attempts, waiting for a verdict, and going elsewhere.
        until = loop.time() + (_ADMIN_SECONDS if op.effect is Effect.ADMIN else self.seconds())
        writes = op.effect is not Effect.READ
        left = _ATTEMPTS
        while True:
            while writes and not self._gate.is_open:
                await self._gate.passed(until)
            name = self._writer() if writes else self._reader(came_from(op))
            route = self._roster.route  # it may be another one when the answer comes
            traffic = self._traffic[name]
            try:
                with traffic.writing(until) if writes else traffic.reading(until):
                    result = await self._backend(name).execute(op)
                break
            except HealthstoreError as error:
                left -= 1
                if not await self._may_help(name, error, left, until):
                    if isinstance(error, ConfigurationError) and not writes:
                        raise without_copy(self._roster, error) from error.__cause__
                    raise
        if writes and name == MOCK:
            self._wrote_to_mock(op)
        return placed(op, result, partial(route.origin, name))

    def _reader(self, origin: Origin | None = None) -> str:
        """Name who serves a read; one that goes on from a page is served where that came from."""
        reads = self._roster.route.reads or nobody(self._roster, self.route)
        if origin is None:
            return reads
        if not self._roster.goes_on(origin):
            raise elsewhere(origin, reads)
        return origin.member

    def _writer(self) -> str:
        return self._roster.route.writes or no_writes(self._roster, self.route)

    def seconds(self) -> float:
        """Return how long a request may take that begins now."""
        return self._seconds.get(self._roster.route.active, _SECONDS)

    async def _may_help(self, name: str, error: HealthstoreError, left: int, until: float) -> bool:
        """Tell the checks of trouble; return whether their verdict makes it worth repeating."""
        if error.condition is Condition.OK or not self._roster.watches(name):
            return False
        self._roster.noticed(name, error)
        if error.outcome is Outcome.UNKNOWN or error.condition is Condition.OVERLOADED:
            return False  # it may have been done; or moving the load would only move the trouble
        if not left or isinstance(error, DeadlineExceededError):
            return False  # its attempts, or its time, are used up
        return await self._roster.verdict(name, until)

    def _wrote_to_mock(self, op: Op[R]) -> None:
        if isinstance(op, Ensure):
            self.missed(op)
        else:
            self._roster.mock_writes += 1

    def missed(self, op: Ensure) -> None:
        """Create collections on the active member before it serves again."""
        self._missed.setdefault(self.name, []).append(op)

    async def ping(self) -> None:
        """Ping the member that serves reads."""
        self._require_here()
        await self._backend(self.route.reads or nobody(self._roster, self.route)).ping()

    # --- units -----------------------------------------------------------------------------

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a unit where it may run; it stays on that member to its end."""
        self._require_here()
        until = asyncio.get_running_loop().time() + options.deadline
        writes = not options.read_only
        left = _ATTEMPTS
        while True:
            while writes and not self._gate.is_open:
                await self._gate.passed(until)
            name = self._writer() if writes else self._reader()
            try:
                return await self._begin_at(name, options, until)
            except HealthstoreError as error:
                left -= 1
                if not await self._may_help(name, error, left, until):
                    raise

    async def _begin_at(self, name: str, options: UnitOptions, until: float) -> Unit:
        traffic, writes = self._traffic[name], not options.read_only
        if writes:
            traffic.begin()
        try:
            with traffic.reading(until):
                unit = await self._backend(name).begin(options)
        except BaseException:
            if writes:
                traffic.ended()
            raise
        return RoutedUnit(
            unit,
            traffic,
            self._roster.noticed,
            origin=self._roster.route.origin(name),
            counted_for=options.deadline if writes else 0.0,
            committed=self._mock_commit if name == MOCK and writes else _nothing,
        )

    def _mock_commit(self) -> None:
        """Count a commit on the mock; refuse one that comes when the mock has left."""
        if self.route.writes != MOCK:
            raise UnavailableError(
                "the mock has left, and with it all that this unit wrote", hint="repeat the unit"
            )
        self._roster.mock_writes += 1

    # --- for transfers and changes ---------------------------------------------------------

    def filling(self, name: str) -> AbstractAsyncContextManager[None]:
        """Keep a member from standing in while a transfer fills it."""
        return self._roster.filling(name)

    def serves(self, name: str) -> bool:
        """Tell whether a member may be read from."""
        return self._roster.serves_reads(name)

    def writes_begun(self, name: str) -> int:
        """Return how many writes, and units that may write, ever began at a member here."""
        return self._traffic[name].begun


def _nothing() -> None:
    """Let a unit commit."""

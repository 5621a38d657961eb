"""Failover: members in order, as one backend.

The active member serves everything while it is well. When it is not, reads go on where the
policy allows, writes are refused with the reason, and requests under way learn at once that
their member is down. What is up is decided by :mod:`~healthstore.routing.machine` from what
:mod:`~healthstore.routing.health` finds; this module carries requests.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar

from healthstore.abc.backend import Backend, Capabilities, Unit, UnitOptions
from healthstore.abc.prober import PoolFigures, Prober
from healthstore.errors import (
    Condition,
    ConfigurationError,
    DeadlineExceededError,
    HealthstoreError,
    LifecycleError,
    Outcome,
    ReadOnlyError,
    UnavailableError,
)
from healthstore.events import (
    ConnectionLost,
    Event,
    FailedBack,
    FailedOver,
    MemberDegraded,
    MockEntered,
    MockLeft,
    Recovered,
    Switched,
)
from healthstore.model.ops import Effect, Ensure, Op
from healthstore.routing.health import Checks, Finding
from healthstore.routing.machine import MOCK, Member, Route, Source, State, next_route, observed
from healthstore.routing.policy import FailoverMode, FailoverPolicy, Startup
from healthstore.routing.report import Failover as LastFailover
from healthstore.routing.report import MemberHealth
from healthstore.routing.traffic import Gate, Traffic, drained_all
from healthstore.routing.unit import RoutedUnit

__all__ = ("Failover",)

R = TypeVar("R")
_CLEARED = frozenset({State.DOWN, State.MISCONFIGURED, State.QUARANTINED})


class Failover:
    """A backend made of members, the first of which is active.

    ``mock`` is the backend that serves when no member does, if the policy has one.
    """

    def __init__(
        self,
        members: Mapping[str, Backend],
        policy: FailoverPolicy,
        emit: Callable[[Event], None],
        mock: Backend | None = None,
    ) -> None:
        active = next(iter(members))
        self.policy = policy
        self.last_failover: LastFailover | None = None
        self._members = dict(members)
        self._mock = mock
        self._emit = emit
        self._route = Route(active, active, active)
        self._known: dict[str, Member] = {name: Member() for name in members}
        self._since: dict[str, datetime] = dict.fromkeys(members, datetime.now(UTC))
        self._traffic = {name: Traffic(name) for name in (*members, MOCK)}
        self._checks: dict[str, Checks] = {}
        self._opened: set[str] = set()
        self._opening = {name: asyncio.Lock() for name in members}
        self._ended = asyncio.Lock()
        self._gate = Gate()
        self._filling: Counter[str] = Counter()
        self._verdicts: set[asyncio.Future[None]] = set()
        self._pending: dict[str, list[Ensure]] = {}
        self._mock_writes = 0
        self._left: dict[str, float] = {}
        self._failed_over_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._was_open = False

    # --- what it is ------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The active member's name."""
        return self._route.active

    @property
    def route(self) -> Route:
        """Who serves now."""
        return self._route

    @property
    def members(self) -> Mapping[str, Backend]:
        """The members by name, in order."""
        return self._members

    @property
    def is_open(self) -> bool:
        """Requests are taken."""
        return self._loop is not None

    def serves(self, name: str) -> bool:
        """Tell whether a member may be read from."""
        return self._known[name].serves_reads

    @property
    def capabilities(self) -> Capabilities:
        """Those of the member that takes writes."""
        return self._backend(self._route.writes or self._route.active).capabilities

    def prober(self) -> Prober:
        """Return a prober of the active member."""
        return self._members[self._route.active].prober()

    def pool(self) -> PoolFigures | None:
        """Return the figures of the active member's pool."""
        return self._members[self._route.active].pool()

    # --- life ------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the active member and start the checks; standbys are opened by their checks.

        Raises what opening the active member raises, unless the policy is to start degraded:
        then each member is checked once, and who serves is decided by that.
        """
        async with self._ended:
            if self._loop is not None:
                return
            try:
                await self._start()
            except BaseException:
                await asyncio.shield(self._stop())
                raise

    async def _start(self) -> None:
        self._loop, self._process = asyncio.get_running_loop(), os.getpid()
        if self._mock is not None:
            await self._mock.open()
        active = self._route.active
        self._checks = {name: self._checks_of(name) for name in self._watched()}
        well = True
        try:
            async with asyncio.timeout(self.policy.startup_timeout):
                await self._open_member(active)
            self._found(active, Finding(Condition.OK), Source.PROBE)
        except TimeoutError:
            well = False
            seconds = f"{self.policy.startup_timeout:g} s"
            self._require_degraded(
                UnavailableError(f"not opened within {seconds}").at(backend=active)
            )
        except HealthstoreError as error:
            well = False
            self._require_degraded(error)
        if not well:
            async with asyncio.TaskGroup() as group:
                for checks in self._checks.values():
                    group.create_task(checks.once())
        for name, checks in self._checks.items():
            checks.start(at_once=well and name != active)
        self._was_open = True

    def _require_degraded(self, error: HealthstoreError) -> None:
        """Raise the error of the start, unless the policy is to go on without the member."""
        if self.policy.startup is Startup.DEGRADED:
            return
        go_on = 'startup="degraded" starts without it'
        error.hint = f"{error.hint}; {go_on}" if error.hint else go_on
        raise error

    def _watched(self) -> tuple[str, ...]:
        """Return the members that are checked: those that may have to serve."""
        if self.policy.mode is FailoverMode.NONE:
            return (self._route.active,)
        return tuple(self._members)

    def _checks_of(self, name: str) -> Checks:
        return Checks(
            self._members[name],
            self.policy.probe,
            report=lambda finding: self._found(name, finding, Source.PROBE),
            admit=lambda: self._admit(name),
            hurried=lambda: self._known[name].state not in {State.UP, State.QUARANTINED},
        )

    async def close(self) -> None:
        """Let requests end, for as long as the policy's ``drain``, then close every member."""
        async with self._ended:
            if self._loop is None:
                return
            self._loop = None  # from here on, requests are refused
            self._gate.open()
            if os.getpid() == self._process:
                await drained_all(self._traffic.values(), self.policy.drain)
            await asyncio.shield(self._stop())

    async def _stop(self) -> None:
        self._loop = None
        checks, self._checks = self._checks, {}
        opened, self._opened = self._opened, set()
        stores = [self._members[name] for name in opened]
        if self._mock is not None:
            stores.append(self._mock)
        results = await asyncio.gather(
            *(each.stop() for each in checks.values()),
            *(store.close() for store in stores),
            return_exceptions=True,
        )
        for name in self._known:
            self._known[name] = Member()
        self._route = Route(self._route.active, self._route.active, self._route.active)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _open_member(self, name: str) -> None:
        async with self._opening[name]:
            if name not in self._opened:
                await self._members[name].open()
                self._opened.add(name)

    async def member(self, name: str) -> Backend:
        """Return a member, opened. Raises LifecycleError if this is not open."""
        self._require_here()
        await self._open_member(name)
        return self._members[name]

    async def _admit(self, name: str) -> None:
        """Make a member that answers ready to serve: open it, and create what it missed."""
        if name not in self._opened:
            try:
                async with asyncio.timeout(self.policy.startup_timeout):
                    await self._open_member(name)
            except TimeoutError:
                raise UnavailableError("it answers, but could not be opened in time") from None
        for op in self._pending.pop(name, ()):
            await self._members[name].execute(op)

    def _require_here(self) -> None:
        if self._loop is not asyncio.get_running_loop() or self._process != os.getpid():
            raise self._misplaced()

    def _misplaced(self) -> LifecycleError:
        if self._loop is None:
            said = "is closed" if self._was_open else "is not open"
            hint = "use it inside `async with`, or call open() first"
        elif self._process != os.getpid():
            said = "was opened in another process: a fork cannot share its connections"
            hint = "open a manager of its own in each process, after the fork"
        else:
            said = "was opened in another event loop"
            hint = "open it in the loop that uses it; healthstore.sync is for code without one"
        return LifecycleError(f"the manager {said}", hint=hint, backend=self._route.active)

    # --- requests --------------------------------------------------------------------------

    async def execute(self, op: Op[R]) -> R:
        """Run one operation where it may run; see :class:`~healthstore.abc.backend.Executor`."""
        if self._loop is not asyncio.get_running_loop() or self._process != os.getpid():
            raise self._misplaced()
        if op.effect is Effect.READ:
            return await self._read(op)
        return await self._write(op)

    async def _read(self, op: Op[R]) -> R:
        name = self._route.reads or self._nobody()
        try:
            return await self._at(name, op)
        except HealthstoreError as error:
            if not await self._may_repeat(name, error):
                raise self._placed(name, error) from error.__cause__
        name = self._route.reads or self._nobody()
        try:
            return await self._at(name, op)
        except HealthstoreError as error:
            self.noticed(name, error)
            raise self._placed(name, error) from error.__cause__

    async def _write(self, op: Op[R]) -> R:
        if not self._gate.is_open:
            await self._gate.passed()
        name = self._route.writes or self._refusal()
        try:
            result = await self._at(name, op)
        except HealthstoreError as error:
            if not await self._may_repeat(name, error):
                raise
            name = self._route.writes or self._refusal()
            result = await self._at(name, op)
        if name == MOCK:
            self._wrote_to_mock(op)
        return result

    async def _at(self, name: str, op: Op[R]) -> R:
        """Run an operation at a member; it ends when the member is found to be down."""
        traffic = self._traffic[name]
        run = traffic.read if op.effect is Effect.READ else traffic.write
        return await run(self._backend(name).execute, op)

    async def _may_repeat(self, name: str, error: HealthstoreError) -> bool:
        """Tell the checks of trouble, wait for their verdict, and say whether to try again."""
        if error.condition is Condition.OK or name not in self._checks:
            return False
        self.noticed(name, error)
        if error.outcome is Outcome.UNKNOWN or error.condition is Condition.OVERLOADED:
            return False  # it may have been done; or moving the load would only move the trouble
        if isinstance(error, DeadlineExceededError):
            return False  # its time is used up
        return await self._verdict(name)

    async def _verdict(self, name: str) -> bool:
        """Wait until a check has found out whether a member is up; False if none does in time."""
        probe = self.policy.probe
        patience = 2 * (probe.connect_timeout + probe.query_timeout) + 2 * probe.fast_interval
        try:
            async with asyncio.timeout(patience):
                while self._known[name].state in _OPEN_QUESTIONS:
                    await self._next_finding()
                    if self._known[name].state is State.UP:
                        return True
        except TimeoutError:
            return False
        return True

    async def _next_finding(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._verdicts.add(future)
        try:
            await future
        finally:
            self._verdicts.discard(future)

    def _backend(self, name: str) -> Backend:
        if name == MOCK and self._mock is not None:
            return self._mock
        return self._members[name]

    def _nobody(self) -> str:
        """Raise the error for a read that nobody serves."""
        raise UnavailableError(
            f"no member serves reads: {self._route.reason}",
            hint=self._advice(),
            backend=self._route.active,
        )

    def _refusal(self) -> str:
        """Raise the error for a write that is not taken now."""
        route = self._route
        if route.reads is None:
            self._nobody()
        raise ReadOnlyError(
            f"writes are refused: {route.reason}; reads go on at {route.reads}",
            hint=self._advice(),
            backend=route.active,
        )

    def _advice(self) -> str:
        wait = "repeat it when the active member is up again"
        others = [name for name in self._members if name != self._route.active]
        return f"{wait}, or switch to {' or '.join(others)}" if others else wait

    def _placed(self, name: str, error: HealthstoreError) -> HealthstoreError:
        """Return the error of a read; at a standby a missing collection means: no copy there."""
        if name == self._route.active or not isinstance(error, ConfigurationError):
            return error
        return UnavailableError(
            f"{name} stands in for {self._route.active} and has no copy of this",
            hint=f"initialize and copy it: db.migrate({self._route.active!r}, {name!r})",
            entity=error.entity,
            backend=name,
        )

    def _wrote_to_mock(self, op: Op[object]) -> None:
        self._mock_writes += 1
        if isinstance(op, Ensure):  # the member that is away still has to get it
            self._pending.setdefault(self._route.active, []).append(op)

    async def ping(self) -> None:
        """Ping the member that serves reads."""
        self._require_here()
        await self._backend(self._route.reads or self._nobody()).ping()

    # --- units -----------------------------------------------------------------------------

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a unit where it may run; it stays on that member to its end."""
        self._require_here()
        if not options.read_only and not self._gate.is_open:
            await self._gate.passed()
        name = self._serving(options)
        try:
            return await self._begin_at(name, options)
        except HealthstoreError as error:
            if not await self._may_repeat(name, error):
                raise
        return await self._begin_at(self._serving(options), options)

    def _serving(self, options: UnitOptions) -> str:
        if options.read_only:
            return self._route.reads or self._nobody()
        return self._route.writes or self._refusal()

    async def _begin_at(self, name: str, options: UnitOptions) -> Unit:
        traffic, writes = self._traffic[name], not options.read_only
        if writes:
            traffic.begun()
        try:
            unit = await traffic.read(self._backend(name).begin, options)
        except BaseException:
            if writes:
                traffic.ended()
            raise
        return RoutedUnit(unit, traffic, self.noticed, writes=writes)

    def noticed(self, name: str, error: HealthstoreError) -> None:
        """Pass on what an error inside a unit tells about its member."""
        if error.condition is not Condition.OK and name in self._checks:
            finding = Finding(error.condition, f"{error.code} {error.message}")
            self._found(name, finding, Source.TRAFFIC)
            self._checks[name].wake()

    # --- findings --------------------------------------------------------------------------

    def _found(self, name: str, finding: Finding, source: Source) -> None:
        """Take a finding in: state, events, route."""
        if self._loop is None:
            return
        now = self._loop.time()
        before = self._known[name]
        after = observed(before, finding.condition, source, now, self.policy.probe)
        self._known[name] = after
        if after.state is not before.state:
            self._entered(name, before, after, finding.reason)
        if source is Source.PROBE:
            for future in self._verdicts:
                if not future.done():
                    future.set_result(None)

    def _entered(self, name: str, before: Member, after: Member, reason: str) -> None:
        now = after.since
        self._since[name] = datetime.now(UTC)
        if before.state is State.UP:
            self._left[name] = now
        if after.state in _EVENTS:
            self._emit(_EVENTS[after.state](name, after.state, reason))
        elif after.state is State.UP and before.state not in {State.UNKNOWN, State.SUSPECT}:
            self._emit(Recovered(name, now - self._left.pop(name, before.since)))
        self._reroute(now)
        if after.state is State.DOWN:
            self._traffic[name].cut()

    def _reroute(self, now: float) -> None:
        before = self._route
        after = next_route(tuple(self._members), self._known, before, self.policy, self._standbys())
        self._route = after
        if after.reads == before.reads:
            return
        if before.reads == MOCK:
            writes, self._mock_writes = self._mock_writes, 0
            self._emit(MockLeft(writes))
        if after.reads == MOCK:
            self._emit(MockEntered(self.policy.mock, after.reason))
        elif after.reads == after.active:
            if before.reads not in {None, MOCK}:
                source = before.reads or ""
                self._emit(FailedBack(source, after.active, now - self._failed_over_at))
        elif after.reads is not None:
            source = after.active if before.reads in {None, MOCK} else before.reads or ""
            began = self._known[after.active].trouble_since or now
            self._failed_over_at = now
            self.last_failover = LastFailover(source, after.reads, datetime.now(UTC), after.reason)
            self._emit(FailedOver(source, after.reads, after.reason, now - began))

    def _standbys(self) -> frozenset[str]:
        """Return the members that may stand in: what keeps nothing never does for what keeps all."""
        durable = self._members[self._route.active].capabilities.durable
        return frozenset(
            name
            for name, member in self._members.items()
            if name in self._opened
            and not self._filling[name]
            and (member.capabilities.durable or not durable)
        )

    @contextmanager
    def filling(self, name: str) -> Generator[None, None, None]:
        """Keep a member from standing in while a transfer fills it: half a copy is none."""
        self._filling[name] += 1
        try:
            yield
        finally:
            self._filling[name] -= 1

    # --- what is told ----------------------------------------------------------------------

    async def probe(self) -> None:
        """Check every member that is watched now, with a write and figures."""
        self._require_here()
        async with asyncio.TaskGroup() as group:
            for checks in self._checks.values():
                group.create_task(checks.once(write=True, measure=True))

    def report(self, name: str, kind: str) -> MemberHealth:
        """Return what is known about a member, without I/O."""
        known, checks = self._known[name], self._checks.get(name)
        seen = checks.seen if checks else None
        return MemberHealth(
            name=name,
            type=kind,
            state=known.state,
            since=self._since[name],
            writable=known.serves_writes,
            latency=seen.latency if seen else None,
            last_ok=seen.last_ok if seen else None,
            last_error=seen.last_error if seen else None,
            fails=known.fails,
            flaps=max(len(known.flaps) - 1, 0),
            pool=self._members[name].pool() if name in self._opened else None,
            figures=seen.figures if seen else None,
        )

    # --- changing the active member --------------------------------------------------------

    async def obstacles(self, target: str, *, force: bool = False) -> list[str]:
        """Check a member now and return why it cannot become the active one; [] if it can."""
        self._require_here()
        checks = self._checks.get(target) or self._checks_of(target)
        try:
            found = await checks.once(write=True)
        finally:
            if target not in self._checks:
                await checks.stop()
        if found is None:
            return ["the check was disturbed by this process itself"]
        if found.condition is not Condition.OK:
            return [f"{target} is not fit to take writes: {found.reason}"]
        if not force and not self._known[self._route.active].serves_reads:
            active = self._route.active
            return [f"{active} is not up: what it acknowledged may be missing (force=True)"]
        return []

    async def switch(self, target: str, require_current: Callable[[], Awaitable[None]]) -> float:
        """Make a member the active one; return the seconds that writes waited.

        Writes are held back, those under way and open units end, and what ``require_current``
        raises, or longer waiting than the policy's ``drain``, leaves everything as it was.
        Reads never stop.
        """
        source = self._route.active
        traffic = self._traffic[self._route.writes or source]
        started = asyncio.get_running_loop().time()
        self._gate.close()
        try:
            if not await traffic.drained(self.policy.drain, reads=False):
                raise _too_long(f"writes or units at {source} did not end")
            try:
                async with asyncio.timeout(self.policy.drain):
                    await require_current()
            except TimeoutError:
                raise _too_long(f"{target} was not compared") from None
            self._take_over(target)
        finally:
            self._gate.open()
        seconds = asyncio.get_running_loop().time() - started
        self._emit(Switched(source, target, seconds))
        return seconds

    def _take_over(self, target: str) -> None:
        source = self._route.active
        order = (target, *(name for name in self._members if name != target))
        self._members = {name: self._members[name] for name in order}
        now = asyncio.get_running_loop().time()
        # An operator has looked: what was held against the member is forgotten.
        self._known[target] = Member(State.UP, now)
        self._route = Route(target, target, target)
        if target not in self._checks:
            self._checks[target] = self._checks_of(target)
            self._checks[target].start(at_once=False)
        if self._known[source].state in _CLEARED and source in self._checks:
            self._checks[source].wake()

    async def exchange(self, name: str, member: Backend) -> None:
        """Put another backend in a member's place: opened first, the old one closed last."""
        self._require_here()
        await member.open()
        old, checks = self._members[name], self._checks.pop(name, None)
        self._members[name] = member
        was_open = name in self._opened
        self._opened.add(name)
        if checks is not None:
            await checks.stop()
            self._checks[name] = self._checks_of(name)
            self._checks[name].start(at_once=True)
        if was_open:
            await self._traffic[name].drained(self.policy.drain, reads=True)
            await old.close()


_OPEN_QUESTIONS = frozenset({State.UP, State.SUSPECT})
_EVENTS: Mapping[State, Callable[[str, State, str], Event]] = {
    State.READ_ONLY: MemberDegraded,
    State.DOWN: lambda name, _, reason: ConnectionLost(name, reason),
    State.MISCONFIGURED: MemberDegraded,
    State.QUARANTINED: MemberDegraded,
}


def _too_long(said: str) -> UnavailableError:
    return UnavailableError(f"{said} within the drain time", hint="repeat it, or raise drain")

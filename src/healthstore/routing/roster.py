"""The roster: what is known about each member, who serves because of it, and what is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from healthstore.abc.backend import Backend
from healthstore.errors import Condition, HealthstoreError, IncompleteStoreError
from healthstore.events import (
    ConnectionLost,
    Event,
    FailedBack,
    FailedOver,
    MemberDegraded,
    MockEntered,
    MockLeft,
    Recovered,
)
from healthstore.model.ops import Origin
from healthstore.model.release import Release
from healthstore.routing.health import Checks, Finding
from healthstore.routing.machine import (
    MOCK,
    Member,
    Route,
    Source,
    State,
    goes_on,
    next_route,
    observed,
)
from healthstore.routing.policy import FailoverMode, FailoverPolicy
from healthstore.routing.report import Failover as LastFailover
from healthstore.routing.report import Health, MemberHealth, Mode

__all__ = ("Roster",)


class Roster:
    """The members in order, with their checks, their states, and the route that follows.

    ``admit`` makes a member that answers ready to serve; ``down`` is told of each that went
    down. ``opened`` holds the names of the members that are open: only those may serve.
    """

    def __init__(
        self,
        members: Mapping[str, Backend],
        policy: FailoverPolicy,
        emit: Callable[[Event], None],
        *,
        admit: Callable[[str], Awaitable[None]],
        down: Callable[[str], None],
    ) -> None:
        active = next(iter(members))
        self.members = dict(members)
        self.policy = policy
        self.opened: set[str] = set()
        self.route = Route(active, active, active)
        self.last_failover: LastFailover | None = None
        self.mock_writes = 0
        self._emit = emit
        self._admit = admit
        self._down = down
        self._known: dict[str, Member] = {name: Member() for name in members}
        self._since: dict[str, datetime] = dict.fromkeys(members, datetime.now(UTC))
        self._why: dict[str, Finding] = {}
        self._releases: dict[str, Release] = {}
        self._apart: dict[str, str] = {}
        self._checks: dict[str, Checks] = {}
        self._waiting: dict[str, set[asyncio.Future[Finding]]] = {name: set() for name in members}
        self._filling: Counter[str] = Counter()
        self._left: dict[str, float] = {}
        self._failed_over_at = 0.0
        self._heard = False

    # --- checks ----------------------------------------------------------------------------

    def watch(self) -> None:
        """Make the checks of the members that may have to serve, and listen to findings."""
        alone = self.policy.mode is FailoverMode.NONE
        names = (self.route.active,) if alone else tuple(self.members)
        self._checks = {name: self._checks_of(name) for name in names}
        self._heard = True

    def start(self, *, at_once: bool) -> None:
        """Start the checks; with ``at_once`` those of standbys begin now."""
        for name, checks in self._checks.items():
            checks.start(at_once=at_once and name != self.route.active)

    async def stop(self) -> None:
        """Stop all checks and forget what they found."""
        self._heard = False
        checks, self._checks = self._checks, {}
        try:
            await asyncio.gather(*(each.stop() for each in checks.values()))
        finally:
            self._forget()

    def abandon(self) -> None:
        """Forget all checks and what is open, where nothing of it can be closed any more."""
        self._checks = {}
        self.opened = set()
        self._waiting = {name: set() for name in self.members}
        self._filling.clear()
        self._forget()

    def _forget(self) -> None:
        """Know nothing about any member."""
        self._heard = False
        self._known = {name: Member() for name in self.members}
        self._releases, self._apart = {}, {}
        active = self.route.active
        self.route = Route(active, active, active)

    def _checks_of(self, name: str) -> Checks:
        return Checks(
            self.members[name],
            self.policy.probe,
            report=lambda finding: self.found(name, finding, Source.PROBE),
            admit=lambda: self._admit(name),
            hurried=lambda: self._known[name].state not in {State.UP, State.QUARANTINED},
        )

    async def check_all(self, *, thoroughly: bool) -> None:
        """Check every member that is watched now; thoroughly is with a write and figures."""
        async with asyncio.TaskGroup() as group:
            for checks in self._checks.values():
                group.create_task(checks.once(write=thoroughly, measure=thoroughly))

    async def check(self, name: str) -> Finding:
        """Check one member now, with a write."""
        watched = self._checks.get(name)
        checks = watched or self._checks_of(name)
        try:
            return await checks.once(write=True)
        finally:
            if watched is None:
                await checks.stop()

    # --- findings --------------------------------------------------------------------------

    def noticed(self, name: str, error: HealthstoreError) -> None:
        """Take in what an error of a request tells about its member, and check that now."""
        if error.condition is not Condition.OK and name in self._checks:
            reason = f"{error.code} {error.message}"
            finding = Finding(error.condition, reason, remedy=error.hint)
            self.found(name, finding, Source.TRAFFIC)
            self._checks[name].wake()

    def found(self, name: str, finding: Finding, source: Source) -> None:
        """Take a finding in: the member's state, events, and the route."""
        if not self._heard:
            return
        now = asyncio.get_running_loop().time()
        before = self._known[name]
        after = observed(before, finding.condition, source, now, self.policy.probe)
        self._known[name] = after
        if finding.release is not None:
            self._releases[name] = finding.release
            self._compare(now)
        if after.state is not before.state:
            self._why[name] = finding
            self._entered(name, before, after, finding.reason)
        if source is Source.PROBE:
            for future in self._waiting[name]:
                if not future.done():
                    future.set_result(finding)

    def _compare(self, now: float) -> None:
        """Find out which members are of another release than the active one, and tell it."""
        active = self._releases.get(self.route.active)
        if active is None:
            return
        before, self._apart = (
            self._apart,
            {
                name: reason
                for name, each in self._releases.items()
                if name != self.route.active and (reason := each.against(active))
            },
        )
        for name, reason in self._apart.items():
            if before.get(name) != reason:
                self._emit(
                    MemberDegraded(name, self._known[name].state, f"it does not stand in: {reason}")
                )
        if before.keys() != self._apart.keys():
            self._reroute(now)

    async def verdict(self, name: str, until: float) -> bool:
        """Wait until a check has found out whether a member is up.

        Returns False if none does until a time of the loop's clock.
        """
        asked = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(until):
                while self._known[name].state in _OPEN_QUESTIONS:
                    finding = await self._next_finding(name)
                    # A check that began before the trouble may not have seen it.
                    if self._known[name].state is State.UP and finding.began >= asked:
                        return True
        except TimeoutError:
            return False
        return True

    async def _next_finding(self, name: str) -> Finding:
        future: asyncio.Future[Finding] = asyncio.get_running_loop().create_future()
        self._waiting[name].add(future)
        try:
            return await future
        finally:
            self._waiting[name].discard(future)

    def _entered(self, name: str, before: Member, after: Member, reason: str) -> None:
        now = after.since
        self._since[name] = datetime.now(UTC)
        if before.state is State.UP:
            self._left[name] = now
        if after.state is State.INCOMPLETE and self._filling[name]:
            pass  # the manager's own transfer, whose caller knows it: nothing has gone wrong
        elif after.state in _EVENTS:
            self._emit(_EVENTS[after.state](name, after.state, reason))
        elif after.state is State.UP and before.state not in {State.UNKNOWN, State.SUSPECT}:
            self._emit(Recovered(name, now - self._left.pop(name, before.since)))
        self._reroute(now)
        if after.state is State.DOWN:
            self._down(name)

    # --- who serves ------------------------------------------------------------------------

    def serves_reads(self, name: str) -> bool:
        """Tell whether a member may be read from."""
        return self._known[name].serves_reads

    def goes_on(self, origin: Origin) -> bool:
        """Tell whether a sequence of pages can go on where it began."""
        readable = frozenset(each for each in self._standbys() if self.serves_reads(each))
        return goes_on(origin, self.route, readable)

    def incomplete(self, name: str) -> Finding | None:
        """Return what was found if a member holds half a copy, else None."""
        return self._why[name] if self._known[name].state is State.INCOMPLETE else None

    def trouble(self, name: str) -> Finding | None:
        """Return what was found when a member ceased to serve, None while it takes writes."""
        return None if self._known[name].serves_writes else self._why.get(name)

    def apart(self, name: str) -> str:
        """Say why a member is of another release than the active one; nothing if it is not."""
        return self._apart.get(name, "")

    def watches(self, name: str) -> bool:
        """Tell whether a member is checked."""
        return name in self._checks

    def _reroute(self, now: float) -> None:
        before = self.route
        after = next_route(tuple(self.members), self._known, before, self.policy, self._standbys())
        self.route = after
        if after.reads == before.reads:
            return
        if before.reads == MOCK:
            writes, self.mock_writes = self.mock_writes, 0
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
        """Return who may stand in: what keeps nothing never does for what keeps all."""
        durable = self.members[self.route.active].capabilities.durable
        return frozenset(
            name
            for name, member in self.members.items()
            if name in self.opened
            and not self._filling[name]
            and name not in self._apart
            and (member.capabilities.durable or not durable)
        )

    @asynccontextmanager
    async def filling(self, name: str) -> AsyncGenerator[None]:
        """Keep a member from standing in while a transfer fills it; then look what it is."""
        self._filling[name] += 1
        try:
            try:
                yield
            finally:
                self._filling[name] -= 1
        except HealthstoreError:
            await self._look_again(name)
            raise
        await self._look_again(name)

    async def _look_again(self, name: str) -> None:
        if self.watches(name):
            try:
                self.found(name, await self.look(name), Source.PROBE)
            except HealthstoreError as error:
                self.noticed(name, error)

    async def look(self, name: str) -> Finding:
        """Ping a member that is open: that it holds half a copy is a finding, not a failure."""
        try:
            await self.members[name].ping()
        except IncompleteStoreError as error:
            return Finding(error.condition, error.message, remedy=error.hint)
        return Finding(Condition.OK)

    def take_over(self, target: str) -> None:
        """Make a member the active one, the first in order; what was held against it is gone."""
        before, now = self.route, asyncio.get_running_loop().time()
        order = (target, *(name for name in self.members if name != target))
        self.members = {name: self.members[name] for name in order}
        self._known[target] = Member(State.UP, now)
        self.route = Route(target, target, target)
        self._compare(now)
        if before.active == target and before.reads not in {None, target}:
            self._emit(FailedBack(before.reads or "", target, now - self._failed_over_at))
        if target not in self._checks:
            self._checks[target] = self._checks_of(target)
            self._checks[target].start(at_once=False)

    def is_open(self, name: str) -> bool:
        """Tell whether a member is open and not down: it may have to serve at any time."""
        return name in self.opened and self._known[name].state is not State.DOWN

    def exchange(self, name: str, member: Backend, *, opened: bool) -> Checks | None:
        """Put another backend in a member's place, and check that one from now on.

        Returns the checks of the old one, which report nothing any more, to be stopped.
        """
        self.members[name] = member
        self._releases.pop(name, None)
        self.opened.discard(name)
        if opened:
            self.opened.add(name)
        checks = self._checks.get(name)
        if checks is not None:
            checks.silence()
            self._checks[name] = self._checks_of(name)
            self._checks[name].start(at_once=True)
        return checks

    def report(self, name: str, kind: str) -> MemberHealth:
        """Return what is known about a member, without I/O."""
        known, checks = self._known[name], self._checks.get(name)
        seen = checks.seen if checks else None
        half = self.incomplete(name)
        return MemberHealth(
            name=name,
            type=kind,
            state=known.state,
            since=self._since[name],
            writable=known.serves_writes,
            latency=seen.latency if seen else None,
            last_ok=seen.last_ok if seen else None,
            last_error=half.reason if half else seen.last_error if seen else None,
            fails=known.fails,
            flaps=max(len(known.flaps) - 1, 0),
            pool=self.members[name].pool() if name in self.opened else None,
            figures=seen.figures if seen else None,
            apart=self.apart(name),
        )

    def health(
        self, route: Route, kinds: Mapping[str, str], *, profile: str, initialized: bool
    ) -> Health:
        """Return what is known about all members, whose kinds are given by name, without I/O."""
        return Health(
            mode=Mode.of(route),
            profile=profile,
            active=route.active,
            reads=route.reads,
            writes=route.writes,
            reason=route.reason,
            members=tuple(self.report(name, kind) for name, kind in kinds.items()),
            initialized=initialized,
            last_failover=self.last_failover,
            not_configured=tuple(kind for kind in _KINDS if kind not in kinds.values()),
        )


# What a health report names even when there is none of it.
_KINDS = ("mongodb", "mysql", "postgresql", "sqlite")
_OPEN_QUESTIONS = frozenset({State.UP, State.SUSPECT})
_EVENTS: Mapping[State, Callable[[str, State, str], Event]] = {
    State.READ_ONLY: MemberDegraded,
    State.DOWN: lambda name, _, reason: ConnectionLost(name, reason),
    State.MISCONFIGURED: MemberDegraded,
    State.QUARANTINED: MemberDegraded,
    State.INCOMPLETE: MemberDegraded,
}

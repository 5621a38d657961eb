"""The state of a member, and who serves: pure functions of what was seen and of the time.

No I/O and no clock: ``now`` is seconds of any clock that only goes forward. So each rule is a
row of a table in the tests. See docs/explanation/failover.md for the diagram.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from healthstore.errors import Condition
from healthstore.model.ops import Origin
from healthstore.routing.policy import Failback, FailoverMode, FailoverPolicy, Mock, Probe

__all__ = ("MOCK", "Member", "Route", "Source", "State", "goes_on", "next_route", "observed")

MOCK = "mock"
"""The name under which the mock serves; no member may have it."""


class State(StrEnum):
    """What is known about a member."""

    UNKNOWN = "unknown"
    """Not checked yet."""
    UP = "up"
    SUSPECT = "suspect"
    """A check failed; requests still go there until ``fall`` is reached."""
    READ_ONLY = "read_only"
    """It answers, and takes no writes."""
    DOWN = "down"
    RECOVERING = "recovering"
    """It answers again, and waits for its hold-down to pass."""
    MISCONFIGURED = "misconfigured"
    """It refuses this process: an alarm, never a reason to write elsewhere."""
    QUARANTINED = "quarantined"
    """Its storage is damaged: it serves nothing until an operator clears it by ``switch()``."""
    INCOMPLETE = "incomplete"
    """A transfer fills it, or was ended half-way: it serves nothing until it is whole."""


class Source(StrEnum):
    """Where a finding comes from."""

    PROBE = "probe"
    TRAFFIC = "traffic"


@dataclass(frozen=True, slots=True)
class Member:
    """What is known about one member."""

    state: State = State.UNKNOWN
    since: float = 0.0
    """When it entered the state."""
    fails: int = 0
    """Failed checks in a row."""
    passes: int = 0
    """Good checks in a row."""
    flaps: tuple[float, ...] = ()
    """When it went down, within the flap window."""
    held_until: float = 0.0
    """When its hold-down ends."""
    trouble_since: float = 0.0
    """When the first sign of the present trouble was seen; 0 if there is none."""

    @property
    def serves_reads(self) -> bool:
        """Requests to read may go there."""
        return self.state in _READABLE

    @property
    def serves_writes(self) -> bool:
        """Requests to write may go there."""
        return self.state in _WRITABLE


_WRITABLE = frozenset({State.UP, State.SUSPECT})
_READABLE = _WRITABLE | {State.READ_ONLY}


@dataclass(frozen=True, slots=True)
class Route:
    """Who serves: ``active`` is the member that may write, by configuration or ``switch()``.

    ``reads`` and ``writes`` name who serves them now, None for nobody; :data:`MOCK` is the mock.
    ``reason`` says why this is not simply ``active``.
    """

    active: str
    reads: str | None
    writes: str | None
    reason: str = ""

    def origin(self, member: str) -> Origin:
        """Return what an answer of a member is: one of another than the active may be behind."""
        return Origin(member, stale=member != self.active)


# --- one member ------------------------------------------------------------------------------


def observed(
    member: Member, condition: Condition, source: Source, now: float, probe: Probe
) -> Member:
    """Return what is known about a member after one more finding.

    Traffic alone never takes a member down, and a timeout in it tells nothing: it only makes
    the next check come at once. A clean refusal there counts as one failed check.
    """
    if member.state is State.QUARANTINED:
        return member
    if source is Source.TRAFFIC:
        return _TRAFFIC.get(condition, _unchanged)(member, now, probe)
    return _PROBED[condition](member, now, probe)


def _unchanged(member: Member, now: float, probe: Probe) -> Member:
    del now, probe
    return member


def _entered(member: Member, state: State, now: float) -> Member:
    if state is member.state:
        return member
    return replace(member, state=state, since=now)


def _answered(member: Member, state: State, now: float, probe: Probe) -> Member:
    """Count a good check; ``state`` is what it found: up, read-only or incomplete."""
    passed = replace(member, fails=0, passes=member.passes + 1)
    if member.state is State.READ_ONLY and state is State.UP:
        enough = passed.passes >= probe.rise
        return _well(passed, state, now) if enough else replace(passed, trouble_since=0.0)
    if member.state is State.RECOVERING:
        return _well(passed, state, now) if now >= member.held_until else passed
    if member.state in _AWAY:
        if passed.passes < probe.rise:
            return passed
        flaps = len(member.flaps) - 1
        hold = min(probe.hold_down * max(flaps, 0), probe.hold_down_limit)
        if hold == 0:
            return _well(passed, state, now)
        return replace(_entered(passed, State.RECOVERING, now), held_until=now + hold)
    return _well(passed, state, now)


def _well(member: Member, state: State, now: float) -> Member:
    passes = member.passes if state is member.state else 0
    return replace(_entered(member, state, now), passes=passes, trouble_since=0.0)


_AWAY = frozenset({State.DOWN, State.MISCONFIGURED})


def _failed(member: Member, count: int, now: float, probe: Probe) -> Member:
    """Count a failed check, once or twice."""
    worse = replace(
        member,
        fails=member.fails + count,
        passes=0,
        trouble_since=member.trouble_since or now,
    )
    if member.state is State.DOWN:
        return worse
    if worse.fails >= probe.fall or member.state in _FRAGILE:
        recent = tuple(when for when in member.flaps if now - when < probe.flap_window)
        return replace(_entered(worse, State.DOWN, now), flaps=(*recent, now))
    return _entered(worse, State.SUSPECT, now) if member.state is State.UP else worse


_FRAGILE = frozenset({State.UNKNOWN, State.RECOVERING})


def _refused(member: Member, state: State, now: float) -> Member:
    worse = replace(member, passes=0, trouble_since=member.trouble_since or now)
    return _entered(worse, state, now)


_Rule = Callable[[Member, float, Probe], Member]
_PROBED: Mapping[Condition, _Rule] = {
    Condition.OK: lambda member, now, probe: _answered(member, State.UP, now, probe),
    Condition.READ_ONLY: lambda member, now, probe: _answered(member, State.READ_ONLY, now, probe),
    Condition.SUSPECT: lambda member, now, probe: _failed(member, 1, now, probe),
    Condition.DOWN: lambda member, now, probe: _failed(member, 2, now, probe),
    # Moving the load would kill the next member as well.
    Condition.OVERLOADED: _unchanged,
    Condition.MISCONFIGURED: lambda member, now, _: _refused(member, State.MISCONFIGURED, now),
    Condition.DAMAGED: lambda member, now, _: _refused(member, State.QUARANTINED, now),
    Condition.INCOMPLETE: lambda member, now, probe: _answered(
        member, State.INCOMPLETE, now, probe
    ),
}
_TRAFFIC: Mapping[Condition, _Rule] = {
    Condition.DOWN: lambda member, now, probe: (
        _failed(member, 1, now, probe) if member.fails + 1 < probe.fall else member
    ),
    Condition.DAMAGED: lambda member, now, _: _refused(member, State.QUARANTINED, now),
    # What the store's own catalog says is no guess.
    Condition.INCOMPLETE: lambda member, now, _: (
        _entered(member, State.INCOMPLETE, now) if member.serves_reads else member
    ),
}


# --- who serves ------------------------------------------------------------------------------


def next_route(
    order: Sequence[str],
    members: Mapping[str, Member],
    route: Route,
    policy: FailoverPolicy,
    standbys: frozenset[str],
) -> Route:
    """Return who serves, given the members in order and who has served until now.

    ``standbys`` are the members that may serve reads in place of the active one. Only the order
    decides among them: there is no balancing.
    """
    active = route.active
    state = members[active].state
    if members[active].serves_writes:
        held = _held_back(members, route, policy, standbys)
        return held or Route(active, active, active)
    if state is State.READ_ONLY:
        return Route(active, active, None, f"{active} accepts no writes")
    return _away(order, members, active, policy, standbys)


def goes_on(origin: Origin, route: Route, readable: frozenset[str]) -> bool:
    """Tell whether a sequence of pages can go on where it began.

    One that began at the active member ends when that is not the one that serves: what was
    active may be behind. One that began at a standby goes on there while it is ``readable``.
    """
    if route.reads == origin.member:
        return origin.stale or origin.member == route.active
    return origin.stale and origin.member in readable


def _away(
    order: Sequence[str],
    members: Mapping[str, Member],
    active: str,
    policy: FailoverPolicy,
    standbys: frozenset[str],
) -> Route:
    """Return who serves while the active member does not."""
    state = members[active].state
    reason = f"{active} is {_SAID[state]}"
    if policy.mode is FailoverMode.STANDBY_READONLY:
        others = [name for name in order if name != active and name in standbys]
        readable = [name for name in others if members[name].serves_reads]
        # Rather one that has not served its time than nobody.
        readable += [name for name in (active, *others) if members[name].state is State.RECOVERING]
        if readable:
            return Route(active, readable[0], None, reason)
    elif state is State.RECOVERING:
        return Route(active, active, active)  # there is nothing to flap between
    if policy.mock is Mock.OFF:
        return Route(active, None, None, reason)
    return Route(active, MOCK, MOCK if policy.mock is Mock.ON else None, reason)


def _held_back(
    members: Mapping[str, Member], route: Route, policy: FailoverPolicy, standbys: frozenset[str]
) -> Route | None:
    """Return the route that is kept although the active member is well, if it must be."""
    active, reads = route.active, route.reads
    if reads is None or reads not in standbys or reads == active:
        return None
    if not members[reads].serves_reads:
        return None  # better the active one than nobody
    flaps = len(members[active].flaps)
    if policy.failback is Failback.MANUAL:
        return Route(active, reads, None, f"failback to {active} is manual: call switch()")
    if flaps > policy.probe.flap_limit:
        reason = f"{active} went down {flaps} times within an hour or so: call switch()"
        return Route(active, reads, None, reason)
    return None


_SAID: Mapping[State, str] = {
    State.UNKNOWN: "not checked yet",
    State.DOWN: "down",
    State.RECOVERING: "recovering",
    State.MISCONFIGURED: "refusing this process",
    State.QUARANTINED: "in quarantine: its storage is damaged",
    State.INCOMPLETE: "not whole: a transfer into it has not ended",
}

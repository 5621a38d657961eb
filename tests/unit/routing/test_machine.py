"""The state of a member and who serves, as tables: no clock, no I/O."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.errors import Condition
from healthstore.model.ops import Origin
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
from healthstore.routing.policy import Failback, FailoverMode, FailoverPolicy, Mock, Probe

OK, READ_ONLY, SUSPECT, DOWN, OVERLOADED, MISCONFIGURED, DAMAGED, INCOMPLETE = (
    Condition.OK,
    Condition.READ_ONLY,
    Condition.SUSPECT,
    Condition.DOWN,
    Condition.OVERLOADED,
    Condition.MISCONFIGURED,
    Condition.DAMAGED,
    Condition.INCOMPLETE,
)
PROBE = Probe()


def after(*findings: Condition | tuple[float, Condition], start: Member | None = None) -> Member:
    """Return a member after findings of checks, one a second unless a time stands before it."""
    member, now = start or Member(), 0.0
    for finding in findings:
        now, condition = finding if isinstance(finding, tuple) else (now + 1, finding)
        member = observed(member, condition, Source.PROBE, now, PROBE)
    return member


@pytest.mark.parametrize(
    ("findings", "state"),
    [
        # at the start the first answer decides
        ([OK], State.UP),
        ([SUSPECT], State.DOWN),
        ([DOWN], State.DOWN),
        ([READ_ONLY], State.READ_ONLY),
        ([MISCONFIGURED], State.MISCONFIGURED),
        ([DAMAGED], State.QUARANTINED),
        ([OVERLOADED], State.UNKNOWN),
        # one failure is no outage, three are; a clean refusal counts twice
        ([OK, SUSPECT], State.SUSPECT),
        ([OK, SUSPECT, SUSPECT], State.SUSPECT),
        ([OK, SUSPECT, SUSPECT, SUSPECT], State.DOWN),
        ([OK, SUSPECT, SUSPECT, OK, SUSPECT, SUSPECT], State.SUSPECT),
        ([OK, DOWN], State.SUSPECT),
        ([OK, DOWN, DOWN], State.DOWN),
        ([OK, SUSPECT, DOWN], State.DOWN),
        # overload moves nothing
        ([OK, *[OVERLOADED] * 9], State.UP),
        ([OK, SUSPECT, OVERLOADED, SUSPECT, SUSPECT], State.DOWN),
        # three good checks bring it back; one bad one in between starts anew
        ([OK, DOWN, DOWN, OK, OK], State.DOWN),
        ([OK, DOWN, DOWN, OK, OK, OK], State.UP),
        ([OK, DOWN, DOWN, OK, OK, SUSPECT, OK, OK], State.DOWN),
        # a role is believed at once, and given back after three
        ([OK, READ_ONLY], State.READ_ONLY),
        ([OK, READ_ONLY, OK, OK], State.READ_ONLY),
        ([OK, READ_ONLY, OK, OK, OK], State.UP),
        ([OK, READ_ONLY, SUSPECT], State.READ_ONLY),
        ([OK, READ_ONLY, SUSPECT, SUSPECT, SUSPECT], State.DOWN),
        ([OK, DOWN, DOWN, READ_ONLY, READ_ONLY, READ_ONLY], State.READ_ONLY),
        # a refused login is an alarm, and ends as it came
        ([OK, MISCONFIGURED], State.MISCONFIGURED),
        ([OK, MISCONFIGURED, OK, OK, OK], State.UP),
        # damage is for an operator
        ([OK, DAMAGED, OK, OK, OK, OK], State.QUARANTINED),
        # half a copy is believed at once, and serves as soon as it is whole
        ([INCOMPLETE], State.INCOMPLETE),
        ([OK, INCOMPLETE], State.INCOMPLETE),
        ([OK, INCOMPLETE, INCOMPLETE, OK], State.UP),
        ([OK, INCOMPLETE, READ_ONLY], State.READ_ONLY),
        ([OK, INCOMPLETE, SUSPECT], State.INCOMPLETE),
        ([OK, INCOMPLETE, SUSPECT, SUSPECT, SUSPECT], State.DOWN),
        ([OK, INCOMPLETE, DAMAGED], State.QUARANTINED),
        ([OK, DOWN, DOWN, INCOMPLETE, INCOMPLETE], State.DOWN),
        ([OK, DOWN, DOWN, INCOMPLETE, INCOMPLETE, INCOMPLETE], State.INCOMPLETE),
    ],
)
def test_findings_of_checks_lead_to_the_state(findings: list[Condition], state: State) -> None:
    """Each row is one rule of docs/explanation/failover.md."""
    assert after(*findings).state is state


@pytest.mark.parametrize(
    ("condition", "state", "fails"),
    [
        (SUSPECT, State.UP, 0),  # a timeout is no evidence: only the next check is
        (DOWN, State.SUSPECT, 1),
        (READ_ONLY, State.UP, 0),
        (OVERLOADED, State.UP, 0),
        (MISCONFIGURED, State.UP, 0),
        (DAMAGED, State.QUARANTINED, 0),
        (INCOMPLETE, State.INCOMPLETE, 0),
    ],
)
def test_traffic_alone_takes_no_member_down(condition: Condition, state: State, fails: int) -> None:
    """However many requests fail, a check has the last word; only what a store says is believed at once."""
    member = after(OK)
    for _ in range(10):
        member = observed(member, condition, Source.TRAFFIC, 5.0, PROBE)
    assert member.state is state
    assert (member.fails > 0) is (fails > 0)
    assert member.fails < PROBE.fall


def test_traffic_and_one_refused_check_suffice() -> None:
    """A refused request and a refused check are three failures: no second check is needed."""
    member = observed(after(OK), DOWN, Source.TRAFFIC, 5.0, PROBE)
    assert observed(member, DOWN, Source.PROBE, 5.1, PROBE).state is State.DOWN


def test_the_first_outage_is_not_held_down() -> None:
    """A member that went down once serves after three good checks."""
    assert after(OK, DOWN, DOWN, OK, OK, OK).state is State.UP


def test_each_flap_holds_a_member_down_longer() -> None:
    """The second outage within an hour costs 30 seconds, the third 60, at most 300."""
    member, now = after(OK), 10.0
    for held in (0.0, 30.0, 60.0, 90.0):
        for condition in (DOWN, DOWN, OK, OK, OK):
            now += 1
            member = observed(member, condition, Source.PROBE, now, PROBE)
        if held:
            assert member.state is State.RECOVERING
            early = observed(member, OK, Source.PROBE, now + held - 0.1, PROBE)
            assert early.state is State.RECOVERING
            now += held
            member = observed(member, OK, Source.PROBE, now, PROBE)
        assert member.state is State.UP


def test_old_flaps_are_forgotten() -> None:
    """A member that was well for the flap window starts anew."""
    member = after(OK, DOWN, DOWN, OK, OK, OK)
    later = after((5000.0, DOWN), (5001.0, DOWN), start=member)
    assert len(later.flaps) == 1


def test_a_failure_while_recovering_is_an_outage() -> None:
    """It did not even last its hold-down."""
    member = after(OK, DOWN, DOWN, OK, OK, OK, DOWN, DOWN, OK, OK, OK)
    assert member.state is State.RECOVERING
    assert after((20.0, SUSPECT), start=member).state is State.DOWN


@given(st.lists(st.tuples(st.sampled_from(Condition), st.sampled_from(Source)), max_size=60))
def test_no_sequence_serves_a_member_that_has_just_failed_for_good(
    findings: list[tuple[Condition, Source]],
) -> None:
    """After ``fall`` failed checks in a row nothing serves writes; time never goes back."""
    member, now = after(OK), 1.0
    for condition, source in findings:
        now += 1
        member = observed(member, condition, source, now, PROBE)
        assert member.since <= now
        if member.fails >= PROBE.fall:
            assert not member.serves_writes
    for _ in range(PROBE.fall):
        now += 1
        member = observed(member, SUSPECT, Source.PROBE, now, PROBE)
    assert member.state in {State.DOWN, State.QUARANTINED}


@given(st.lists(st.tuples(st.sampled_from(Condition), st.sampled_from(Source)), max_size=60))
def test_no_sequence_serves_from_half_a_copy(findings: list[tuple[Condition, Source]]) -> None:
    """Whatever was seen before: a member that was found incomplete serves nothing."""
    member, now = after(OK), 1.0
    for condition, source in (*findings, (INCOMPLETE, Source.PROBE)):
        now += 1
        member = observed(member, condition, source, now, PROBE)
        if condition is INCOMPLETE:
            assert not member.serves_reads
            assert not member.serves_writes


# --- who serves ------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
STANDBYS = frozenset({"b", "c"})
NORMAL = Route("a", "a", "a")
STANDBY = FailoverPolicy(mode=FailoverMode.STANDBY_READONLY)
NONE = FailoverPolicy(mode=FailoverMode.NONE)


def serves(
    *states: State, policy: FailoverPolicy = STANDBY, route: Route = NORMAL, flaps: int = 0
) -> tuple[str | None, str | None]:
    """Return who serves reads and who writes, given the members' states in order."""
    members = {
        name: Member(state, flaps=(1.0,) * flaps)
        for name, state in zip(NAMES, states, strict=False)
    }
    found = next_route(NAMES[: len(states)], members, route, policy, STANDBYS)
    assert (found.reason == "") is (found.reads == found.writes == "a")
    return found.reads, found.writes


U, S, R, D, G, M, Q, H = (
    State.UP,
    State.SUSPECT,
    State.READ_ONLY,
    State.DOWN,
    State.RECOVERING,
    State.MISCONFIGURED,
    State.QUARANTINED,
    State.INCOMPLETE,
)


@pytest.mark.parametrize(
    ("states", "reads", "writes"),
    [
        ((U, U, U), "a", "a"),
        ((S, U, U), "a", "a"),
        ((R, U, U), "a", None),
        ((D, U, U), "b", None),
        ((M, U, U), "b", None),
        ((Q, U, U), "b", None),
        ((G, U, U), "b", None),
        ((H, U, U), "b", None),
        ((D, H, U), "c", None),
        ((D, H, D), None, None),
        ((H, D, D), None, None),
        ((D, D, U), "c", None),
        ((D, R, U), "b", None),
        ((D, S, U), "b", None),
        ((D, G, D), "b", None),
        ((G, D, D), "a", None),
        ((D, D, D), None, None),
    ],
)
def test_only_the_order_decides(
    states: tuple[State, ...], reads: str | None, writes: str | None
) -> None:
    """Reads go on at the next member that can serve them; nobody but the active one is written."""
    assert serves(*states) == (reads, writes)


@pytest.mark.parametrize(
    ("state", "reads", "writes"),
    [
        (U, "a", "a"),
        (S, "a", "a"),
        (G, "a", "a"),
        (R, "a", None),
        (D, None, None),
        (M, None, None),
        (H, None, None),
    ],
)
def test_without_failover_nobody_stands_in(
    state: State, reads: str | None, writes: str | None
) -> None:
    """In mode none an outage is an outage; a member that answers again serves at once."""
    assert serves(state, U, policy=NONE) == (reads, writes)


def test_a_member_that_may_not_stand_in_never_serves() -> None:
    """What keeps nothing durable is no standby of what does."""
    members = {"a": Member(D), "b": Member(U)}
    assert next_route(("a", "b"), members, NORMAL, STANDBY, frozenset()).reads is None


@pytest.mark.parametrize(
    ("mock", "reads", "writes"),
    [(Mock.OFF, None, None), (Mock.READS, MOCK, None), (Mock.ON, MOCK, MOCK)],
)
def test_the_mock_serves_last_and_as_its_policy_says(
    mock: Mock, reads: str | None, writes: str | None
) -> None:
    """It takes over only when no member can serve."""
    for mode in FailoverMode:
        policy = FailoverPolicy(mode=mode, mock=mock)
        assert serves(D, D, policy=policy) == (reads, writes)
    policy = FailoverPolicy(mode=FailoverMode.STANDBY_READONLY, mock=mock)
    assert serves(D, U, policy=policy) == ("b", None)


def test_failback_waits_for_an_operator_if_the_policy_says_so() -> None:
    """With manual failback reads stay, and writes stay refused, until switch()."""
    manual = FailoverPolicy(mode=FailoverMode.STANDBY_READONLY, failback=Failback.MANUAL)
    over = Route("a", "b", None, "a is down")
    assert serves(U, U, policy=manual, route=over) == ("b", None)
    assert serves(U, D, policy=manual, route=over) == ("a", "a")  # better than nobody
    assert serves(U, U, policy=manual) == ("a", "a")  # it never left


def test_a_member_that_flaps_too_often_does_not_come_back_by_itself() -> None:
    """After the flap limit failback is manual."""
    over = Route("a", "b", None, "a is down")
    assert serves(U, U, route=over, flaps=3) == ("a", "a")
    assert serves(U, U, route=over, flaps=4) == ("b", None)


@pytest.mark.parametrize(
    ("origin", "active", "reads", "readable", "expected"),
    [
        ("a", "a", "a", "b", True),
        ("a", "a", "b", "b", False),  # a is down
        ("a", "a", None, "", False),
        ("a", "b", "b", "ab", False),  # after a switch, writes go to b: a falls behind
        ("a", "b", "a", "ab", False),  # and stands in for it
        ("b stale", "a", "b", "b", True),
        ("b stale", "a", "a", "ab", True),  # a is back, and the sequence ends where it began
        ("b stale", "a", "a", "a", False),  # b is down, or being filled
        ("b stale", "b", "b", "b", True),  # b became the active one
        ("mock stale", "a", "mock", "", True),
        ("mock stale", "a", "a", "a", False),
        ("gone", "a", "a", "ab", False),  # of another configuration
    ],
)
def test_pages_go_on_where_they_began_or_not_at_all(
    *, origin: str, active: str, reads: str | None, readable: str, expected: bool
) -> None:
    """What began at the active member needs the active one; a copy goes on while it is there."""
    member, _, stale = origin.partition(" ")
    route = Route(active, reads, reads)
    assert goes_on(Origin(member, bool(stale)), route, frozenset(readable)) is expected

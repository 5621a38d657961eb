"""What is told about the members: values made from what the checks last saw, without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from healthstore.abc.prober import Figures, PoolFigures
from healthstore.model.values import Json
from healthstore.routing.machine import MOCK, Route, State

__all__ = ("Failover", "Health", "MemberHealth", "Mode")


class Mode(StrEnum):
    """How the whole store serves."""

    NORMAL = "normal"
    READ_ONLY = "read_only"
    """Reads are served, writes are refused."""
    MOCK = "mock"
    """The mock serves: nothing that is written is kept."""
    DOWN = "down"
    """Nothing is served."""

    @classmethod
    def of(cls, route: Route) -> Mode:
        """Return how a store serves whose requests take this route."""
        if route.reads == MOCK:
            return cls.MOCK
        if route.reads is None:
            return cls.DOWN
        return cls.READ_ONLY if route.writes is None else cls.NORMAL


@dataclass(frozen=True, slots=True)
class MemberHealth:
    """One member. ``latency`` is that of its checks in seconds, smoothed; times are in UTC.

    ``last_error`` is a code and a message without any value or secret; ``apart`` says why a member
    that is well does not stand in for the active one: it is of another release.
    """

    name: str
    type: str
    state: State
    since: datetime
    writable: bool
    latency: float | None = None
    last_ok: datetime | None = None
    last_error: str | None = None
    fails: int = 0
    flaps: int = 0
    pool: PoolFigures | None = None
    figures: Figures | None = None
    apart: str = ""

    @property
    def status(self) -> str:
        """``connected``, ``degraded`` or ``disconnected``."""
        status = _STATUS[self.state]
        return "degraded" if self.apart and status == "connected" else status


_STATUS: Mapping[State, str] = {
    State.UNKNOWN: "disconnected",
    State.UP: "connected",
    State.SUSPECT: "degraded",
    State.READ_ONLY: "degraded",
    State.DOWN: "disconnected",
    State.RECOVERING: "degraded",
    State.MISCONFIGURED: "disconnected",
    State.QUARANTINED: "disconnected",
    State.INCOMPLETE: "degraded",
}


@dataclass(frozen=True, slots=True)
class Failover:
    """The last time that reads moved to another member."""

    source: str
    target: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Health:
    """The store as its checks last saw it.

    ``active`` is the member that takes writes when all is well; ``reads`` and ``writes`` name
    who serves them now (None: nobody; ``"mock"``: the mock).
    """

    mode: Mode
    profile: str
    active: str
    reads: str | None
    writes: str | None
    reason: str
    members: tuple[MemberHealth, ...]
    initialized: bool
    last_failover: Failover | None = None
    not_configured: tuple[str, ...] = field(default=())

    def member(self, name: str) -> MemberHealth:
        """Return a member by name; raise KeyError if there is none."""
        return {each.name: each for each in self.members}[name]

    def as_json(self) -> dict[str, Json]:
        """Return a JSON object of the shape that health endpoints give.

        ``service``, ``initialized``, ``active_database`` and ``database_status`` with
        ``connections`` (by member, each with a ``status`` of ``connected``, ``degraded``,
        ``disconnected`` or ``not_configured``) and ``overall_status``; the rest is added to it.
        """
        connections: dict[str, Json] = {each.name: _member(each) for each in self.members}
        connections |= {name: {"status": "not_configured"} for name in self.not_configured}
        last = self.last_failover
        return {
            "service": "database",
            "initialized": self.initialized,
            "active_database": self.active,
            "profile": self.profile,
            "mode": str(self.mode),
            "reads": self.reads,
            "writes": self.writes,
            "reason": self.reason,
            "database_status": {
                "connections": connections,
                "overall_status": _OVERALL[self.mode],
            },
            "last_failover": None
            if last is None
            else {
                "source": last.source,
                "target": last.target,
                "at": last.at.isoformat(),
                "reason": last.reason,
            },
        }


_OVERALL: Mapping[Mode, str] = {
    Mode.NORMAL: "healthy",
    Mode.READ_ONLY: "degraded",
    Mode.MOCK: "mock",
    Mode.DOWN: "unhealthy",
}


def _member(member: MemberHealth) -> dict[str, Json]:
    pool, figures = member.pool, member.figures
    return {
        "status": member.status,
        "type": member.type,
        "state": str(member.state),
        "since": member.since.isoformat(),
        "writable": member.writable,
        "latency_ms": None if member.latency is None else round(member.latency * 1000, 3),
        "last_ok": member.last_ok.isoformat() if member.last_ok else None,
        "last_error": member.last_error,
        "fails": member.fails,
        "flaps": member.flaps,
        "apart": member.apart,
        "pool": None
        if pool is None
        else {
            "size": pool.size,
            "open": pool.open,
            "in_use": pool.in_use,
            "waiting": pool.waiting,
        },
        "server": figures.server if figures else None,
        "size_bytes": figures.bytes if figures else None,
        "documents": dict(figures.documents) if figures else None,
        "connections": figures.connections if figures else None,
        "waiting": figures.waiting if figures else None,
    }

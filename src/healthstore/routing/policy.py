"""What is configured about checks and failover: plain values, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from healthstore.errors import ConfigurationError

__all__ = ("Failback", "FailoverMode", "FailoverPolicy", "Mock", "Probe", "Startup")


class FailoverMode(StrEnum):
    """What happens to requests while the active member is down."""

    NONE = "none"
    """They are refused at once."""
    STANDBY_READONLY = "standby_readonly"
    """Reads go on at the next healthy member, as fresh as its copy is; writes are refused."""


class Failback(StrEnum):
    """How requests return to the active member when it is up again."""

    AUTO = "auto"
    MANUAL = "manual"
    """On ``switch()`` only."""


class Startup(StrEnum):
    """What :meth:`open` does when the active member cannot be opened."""

    FAIL = "fail"
    DEGRADED = "degraded"
    """Open all the same: reads where a member serves them, writes when the active one is up."""


class Mock(StrEnum):
    """What the mock, a memory backend with data of its own, may do when no member serves."""

    OFF = "off"
    READS = "reads"
    ON = "on"
    """Reads and writes; they are lost when a member serves again."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How members are checked. Times are in seconds, each +- ``jitter`` as a fraction.

    Sources of the defaults: HAProxy's inter, fall and rise, MongoDB's immediate second check,
    Envoy's growing ejection time; see docs/explanation/failover.md.
    """

    interval: float = 2.0
    fast_interval: float = 0.5
    """While a member is failing or recovering."""
    connect_timeout: float = 1.0
    query_timeout: float = 1.0
    fall: int = 3
    """Failed checks until a member is down; a clean refusal counts as two."""
    rise: int = 3
    """Good checks until a member that was down may serve again."""
    hold_down: float = 30.0
    """Times the number of flaps: the wait after ``rise`` checks; at most ``hold_down_limit``."""
    hold_down_limit: float = 300.0
    flap_window: float = 3600.0
    """A member that goes down again within this time flaps."""
    flap_limit: int = 3
    """Flaps after which failback is no longer automatic."""
    canary_every: int = 10
    """Every so many checks also write; 0 means never."""
    figures_every: float = 60.0
    """Seconds between measurements of sizes and counts; 0 means only when asked."""
    jitter: float = 0.2

    def __post_init__(self) -> None:
        for name in ("interval", "fast_interval", "connect_timeout", "query_timeout"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"probe.{name} must be more than 0 seconds")
        for name in ("fall", "rise"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"probe.{name} must be at least 1")
        if not 0 <= self.jitter < 1:
            raise ConfigurationError("probe.jitter is a fraction from 0 to below 1")


@dataclass(frozen=True, slots=True)
class FailoverPolicy:
    """What happens when a member fails. ``mode`` None: by the number of members.

    Times are in seconds. ``drain`` bounds how long a switch, or a close, waits for writes and
    units that are under way.
    """

    mode: FailoverMode | None = None
    failback: Failback = Failback.AUTO
    startup: Startup = Startup.FAIL
    startup_timeout: float = 10.0
    drain: float = 5.0
    mock: Mock = Mock.OFF
    probe: Probe = field(default_factory=Probe)

    def resolved(self, members: int) -> Self:
        """Return the policy with the mode that a number of members gets if none was chosen."""
        if self.mode is not None:
            return self
        alone = members == 1
        return replace(self, mode=FailoverMode.NONE if alone else FailoverMode.STANDBY_READONLY)

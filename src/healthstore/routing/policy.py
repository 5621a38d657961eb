"""What is configured about checks and failover: plain values, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from math import inf
from typing import Self, cast

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
        for each in fields(self):
            least = _LEAST.get(each.name, 0)
            _require_number("probe", each.name, getattr(self, each.name), type(each.default), least)
        if self.jitter >= 1:
            raise ConfigurationError("probe.jitter is a fraction from 0 to below 1")


# The smallest value of what may not be 0.
_LEAST = {"fall": 1, "rise": 1} | dict.fromkeys(
    ("interval", "fast_interval", "connect_timeout", "query_timeout"), 0.001
)


def _require_number(table: str, name: str, value: object, kind: type, least: float) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole or (kind is float and isinstance(value, float))
    if not number or not least <= cast(float, value) < inf:
        what = "number" if kind is float else "whole number"
        raise ConfigurationError(f"{table}.{name} must be a {what} of at least {least:g}")


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

    def __post_init__(self) -> None:
        """Take a text for what it names, and refuse anything else."""
        for name, kind in _CHOICES.items():
            value = getattr(self, name)
            if value is not None or name != "mode":
                object.__setattr__(self, name, _chosen(name, kind, value))
        for name in ("startup_timeout", "drain"):
            _require_number("failover", name, getattr(self, name), float, 0)
        if not isinstance(self.probe, Probe):
            raise ConfigurationError("failover.probe is not a Probe", hint="pass Probe(interval=1)")

    def resolved(self, members: int) -> Self:
        """Return the policy with the mode that a number of members gets if none was chosen."""
        if self.mode is not None:
            return self
        alone = members == 1
        return replace(self, mode=FailoverMode.NONE if alone else FailoverMode.STANDBY_READONLY)


_CHOICES: dict[str, type[StrEnum]] = {
    "mode": FailoverMode,
    "failback": Failback,
    "startup": Startup,
    "mock": Mock,
}


def _chosen(name: str, kind: type[StrEnum], value: object) -> StrEnum:
    try:
        return kind(cast(str, value))
    except ValueError:
        known = ", ".join(repr(str(each)) for each in kind)
        raise ConfigurationError(f"failover.{name} must be one of {known}") from None

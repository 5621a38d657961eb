"""From settings to members, and from members to one backend: the order of the layers.

A member is Retry over Monitor over its adapter. Failover gives each request one deadline for all
its attempts; who talks to a member alone, as transfers do, lays one over it. The guard lies over
whatever a repository talks to. See :mod:`healthstore.abc.layer` for ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from healthstore.abc.backend import Backend
from healthstore.abc.layer import Layer, stack
from healthstore.abc.registry import connect
from healthstore.config.settings import MemberSettings
from healthstore.events import EventBus
from healthstore.layers.guard import GuardLayer
from healthstore.layers.monitor import MonitorLayer
from healthstore.layers.read_only import ReadOnlyLayer
from healthstore.layers.retry import RetryLayer
from healthstore.layers.timeout import TimeoutLayer
from healthstore.statistics import Statistics

__all__ = ("Build", "build_bounded", "build_guard", "build_member", "timeout_of")

Build = Callable[[Backend], Layer]
_TIMEOUT = 30.0  # seconds, where the settings say nothing


def build_member(
    settings: MemberSettings,
    bus: EventBus,
    statistics: Statistics,
    layers: Sequence[Build] = (),
) -> Backend:
    """Return the member for its settings, not opened.

    ``layers`` are laid directly over the adapter, the outermost first.
    """
    narrowed: list[Build] = [ReadOnlyLayer] if settings.read_only else []
    return stack(
        connect(settings.backend_url(), settings.name),
        [
            *narrowed,
            RetryLayer,
            partial(
                MonitorLayer, bus=bus, statistics=statistics, slow_seconds=settings.slow_seconds
            ),
            *layers,
        ],
    )


def timeout_of(settings: MemberSettings) -> float:
    """Return how many seconds a request to a member may take in all."""
    said = settings.backend_url().options.get("timeout")
    return _TIMEOUT if said is None else float(said)


def build_bounded(member: Backend, settings: MemberSettings) -> Backend:
    """Return a member each of whose requests has a deadline."""
    return stack(member, [partial(TimeoutLayer, seconds=timeout_of(settings))])


def build_guard(backend: Backend) -> Backend:
    """Return the backend that repositories use: checked before any I/O."""
    return stack(backend, [GuardLayer])

"""From a URL to a member: the one place that names the order of the layers.

A member is Retry over Timeout over Monitor over its adapter; the guard lies over whatever a
repository talks to. See :mod:`healthstore.abc.layer` for ranks.
"""

from __future__ import annotations

from collections.abc import Callable

from healthstore.abc.backend import Backend
from healthstore.abc.layer import stack
from healthstore.abc.registry import connect
from healthstore.abc.url import BackendURL
from healthstore.events import OperationFinished
from healthstore.layers.guard import GuardLayer
from healthstore.layers.monitor import MonitorLayer
from healthstore.layers.retry import RetryLayer
from healthstore.layers.timeout import TimeoutLayer

__all__ = ("build_guard", "build_member")


def build_member(
    url: BackendURL, name: str | None, emit: Callable[[OperationFinished], None]
) -> Backend:
    """Return the member for a URL, not opened; its events go to ``emit``."""
    return stack(
        connect(url, name),
        [RetryLayer, TimeoutLayer, lambda inner: MonitorLayer(inner, emit=emit)],
    )


def build_guard(backend: Backend) -> Backend:
    """Return the backend that repositories use: checked before any I/O."""
    return stack(backend, [GuardLayer])

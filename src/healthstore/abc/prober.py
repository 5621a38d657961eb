"""Probing: how a member is looked at from outside of its traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from healthstore.model.filling import Filling
from healthstore.model.release import Release

__all__ = ("Figures", "PoolFigures", "Prober", "Vitals")


@dataclass(frozen=True, slots=True)
class Vitals:
    """What one check of a member saw. ``reason`` says why it takes no writes, if it does not.

    ``filling`` is the mark of a transfer into it that has not ended, ``release`` what its catalog
    says of definitions and migrations; None if that was not looked at.
    """

    writable: bool = True
    reason: str = ""
    filling: Filling | None = None
    release: Release | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """A store in numbers, as its server gives them; None where it has none.

    ``server`` is product and version. ``documents`` counts by collection, and may be the
    server's estimate. ``connections`` are those of all clients; ``waiting`` requests wait for a
    lock.
    """

    server: str
    bytes: int | None = None
    documents: Mapping[str, int] = field(default_factory=dict[str, int])
    connections: int | None = None
    waiting: int | None = None


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """A pool of connections: ``size`` at most, ``open`` now, ``in_use``, and callers ``waiting``."""

    size: int
    open: int
    in_use: int
    waiting: int


class Prober(Protocol):
    """A connection of its own to a member, for checks: an exhausted pool does not look like death.

    Every method raises HealthstoreError only, whose ``condition`` is the finding. The caller
    bounds each call; after a failure or a cancellation it calls :meth:`close`, and connects anew.
    """

    async def connect(self) -> None:
        """Connect and log in; does nothing when connected."""
        ...

    async def check(self) -> Vitals:
        """Make one round trip, and tell whether the member takes writes."""
        ...

    async def write(self) -> None:
        """Write one small document durably: only this sees a full disk or a hidden replica."""
        ...

    async def measure(self) -> Figures:
        """Return the store's figures."""
        ...

    async def close(self) -> None:
        """Drop the connection at once, without waiting for a server that may hang."""
        ...

"""Examination: what a server says about how it is set up, for the person who runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ("Examination", "Examiner", "Setting")


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting and its value; ``trouble`` says what is wrong with it, ``remedy`` what to do.

    ``fatal`` trouble loses acknowledged writes.
    """

    name: str
    value: str
    trouble: str = ""
    remedy: str = ""
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Examination:
    """How a store is set up; None where there is no such thing, or the server does not tell.

    ``encryption`` is the protocol that was negotiated, empty for none; ``verified`` says whether
    the server had to prove who it is. ``skew`` is the server's clock minus ours, in seconds;
    ``zone`` the time zone of our sessions; ``connections`` the most that the server takes.
    """

    settings: tuple[Setting, ...] = ()
    encryption: str | None = None
    verified: bool = False
    skew: float | None = None
    zone: str | None = None
    connections: int | None = None


@runtime_checkable
class Examiner(Protocol):
    """A prober that can also examine: an optional part of :class:`~healthstore.abc.prober.Prober`.

    Raises HealthstoreError only; the caller bounds the call.
    """

    async def examine(self) -> Examination:
        """Ask the server how it is set up; changes nothing."""
        ...

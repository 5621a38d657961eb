"""The figures of a run: plain values, as JSON too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec

__all__ = ("Entrant", "Figures", "Line", "Part", "read", "write")


@dataclass(slots=True)
class Entrant:
    """A contender in a part; ``problem`` says why it takes no part, or stopped."""

    name: str
    version: str
    uses: str = ""
    returns: str = ""
    problem: str = ""


@dataclass(slots=True)
class Line:
    """One contender at one operation: a rate per second for each round.

    ``rows`` and ``digest`` are of what was found; ``problem`` is empty if it is what had to be
    found in every round. A line that ``failed`` has no further rates.
    """

    operation: str
    tasks: int
    contender: str
    unit: str
    rates: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    rows: int = 0
    digest: str = ""
    problem: str = ""
    failed: bool = False

    @property
    def rate(self) -> float | None:
        """The median of the rates."""
        return median(self.rates) if self.rates else None

    @property
    def ratio(self) -> float | None:
        """The median of the ratios to the raw driver, each within one round."""
        return median(self.ratios) if self.ratios else None


@dataclass(slots=True)
class Part:
    """The figures of one backend; ``problem`` says why there are none."""

    backend: str
    raw: str
    server: str = ""
    durability: str = ""
    problem: str = ""
    entrants: list[Entrant] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


@dataclass(slots=True)
class Figures:
    """The figures of a run, and where, when and how they were measured."""

    when: str
    machine: str
    python: str
    rounds: int
    rows: int
    calls: int
    parts: list[Part] = field(default_factory=list)


def write(figures: Figures, path: Path) -> None:
    """Write figures as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")


def read(paths: Sequence[Path]) -> list[Figures]:
    """Read the figures of several runs."""
    return [msgspec.json.decode(path.read_bytes(), type=Figures) for path in paths]

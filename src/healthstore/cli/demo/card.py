"""The score card: what was claimed, what was measured, and whether it held."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ("Card", "Claim")


@dataclass(frozen=True, slots=True)
class Claim:
    """One line: a promise, what was measured to test it, and whether it held."""

    promise: str
    measured: str
    held: bool


@dataclass(slots=True)
class Card:
    """All lines so far."""

    claims: list[Claim] = field(default_factory=list)

    def add(self, promise: str, measured: str, *, held: bool) -> None:
        """Add a line."""
        self.claims.append(Claim(promise, measured, held))

    @property
    def held(self) -> bool:
        """Whether something was claimed and every claim held."""
        return bool(self.claims) and all(each.held for each in self.claims)

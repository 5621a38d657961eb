"""What an outage needs to know of a primary: how it is lost, and how it comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ("Primary", "sqlite_file")


@dataclass(frozen=True, slots=True)
class Primary:
    """A member that can be lost for a while; all that differs from one kind to another.

    ``lose`` and ``come_back`` return what they did, as a sentence for people. ``come_back``
    ends when requests can reach it again, and raises ``UnavailableError`` if it does not start.
    """

    name: str
    """How the score card names it."""
    lost: str
    """What ``lose`` does to it, as the beginning of a sentence."""
    url: str
    lose: Callable[[], str]
    come_back: Callable[[], Awaitable[str]]


def sqlite_file(file: Path) -> Primary:
    """Return a primary in this file; it is renamed away, and put back."""
    away = file.with_name(f"{file.name}.away")

    def lose() -> str:
        _move(file, away)
        return f"{file.name} is taken away."

    async def come_back() -> str:
        _move(away, file)
        return f"{file.name} is put back."

    return Primary("SQLite", "the SQLite file is taken away", f"sqlite:///{file}", lose, come_back)


def _move(file: Path, to: Path) -> None:
    file.rename(to)

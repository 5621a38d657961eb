"""What the doctor says: one line for each thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ("Grade", "Line")


class Grade(StrEnum):
    """How a check ended."""

    OK = "OK"
    WARN = "WARN"
    """It works, and could do harm one day."""
    FAIL = "FAIL"
    SKIP = "SKIP"
    """It was not looked at: what it needs failed, or is not there."""


@dataclass(frozen=True, slots=True)
class Line:
    """What was looked at, how it is, what was seen, and what to do about it.

    ``unreachable`` tells that the store cannot be reached, as opposed to wrongly set up.
    """

    check: str
    grade: Grade
    seen: str
    remedy: str = ""
    unreachable: bool = False

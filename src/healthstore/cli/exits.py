"""Exit codes: what a script can tell from the end of a command."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

__all__ = ("EXITS", "Exit")


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    MISSING = 3
    """A driver or an extra is not installed."""
    CONFIGURATION = 4
    UNAVAILABLE = 5
    MISMATCH = 6
    """Two stores that must be equal differ, or a backup is damaged."""
    REFUSED = 7
    """The command wants a confirmation that it did not get."""
    PARTIAL = 8
    """A part is done; the same command completes it."""
    BEHIND = 9
    """A store's definitions are not those of the entities."""
    UNANSWERED = 10
    """An answer is needed, and there is no terminal to ask at."""
    INTERRUPTED = 130


# The stable code of an error -> how the command ends. Every code of healthstore.errors is here.
EXITS: Mapping[str, Exit] = {
    "HS-0000": Exit.FAILURE,
    "HS-1000": Exit.CONFIGURATION,
    "HS-1001": Exit.MISSING,
    "HS-1002": Exit.CONFIGURATION,
    "HS-1003": Exit.CONFIGURATION,
    "HS-1004": Exit.BEHIND,
    "HS-1005": Exit.CONFIGURATION,
    "HS-2000": Exit.FAILURE,
    "HS-2001": Exit.FAILURE,
    "HS-2002": Exit.FAILURE,
    "HS-3000": Exit.FAILURE,
    "HS-4000": Exit.FAILURE,
    "HS-4001": Exit.FAILURE,
    "HS-4002": Exit.FAILURE,
    "HS-4003": Exit.FAILURE,
    "HS-4004": Exit.FAILURE,
    "HS-4005": Exit.FAILURE,
    "HS-5000": Exit.FAILURE,
    "HS-5001": Exit.FAILURE,
    "HS-5002": Exit.FAILURE,
    "HS-6000": Exit.UNAVAILABLE,
    "HS-6001": Exit.UNAVAILABLE,
    "HS-6002": Exit.UNAVAILABLE,
    "HS-6003": Exit.UNAVAILABLE,
    "HS-6004": Exit.FAILURE,
    "HS-6005": Exit.UNAVAILABLE,
    "HS-7000": Exit.MISMATCH,
    "HS-7001": Exit.FAILURE,
    "HS-7002": Exit.MISMATCH,
    "HS-8000": Exit.FAILURE,
}

"""What a change of a definition may do to the documents that are there."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

__all__ = ("ChangeEffect", "worst")


class ChangeEffect(StrEnum):
    """What a change may do to the rows that are there."""

    ADDITIVE = "additive"
    """No row can stand against it, and none is lost."""
    NEEDS_DATA = "needs data"
    """Rows may stand against it, or must be given values first."""
    LOSES_DATA = "loses data"
    """What rows hold goes, or may go."""


def worst(effects: Iterable[ChangeEffect]) -> ChangeEffect:
    """Return the worst of these effects; additive if there are none."""
    order = list(ChangeEffect)
    return max(effects, key=order.index, default=ChangeEffect.ADDITIVE)

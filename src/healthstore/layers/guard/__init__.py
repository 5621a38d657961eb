"""The guard: every operation is checked and made canonical before any I/O.

What passes the guard means the same on every backend, and can be kept exactly by each of them.
It is always the outermost layer of a member, so adapters never meet an unknown field, a value
of the wrong type, a negation, or a page position.
"""

from __future__ import annotations

from healthstore.layers.guard.blame import refused_index
from healthstore.layers.guard.layer import GuardLayer
from healthstore.layers.guard.operations import MAX_LIMIT, check

__all__ = ("MAX_LIMIT", "GuardLayer", "check", "refused_index")

"""Natural batching: requests that wait for the same lane leave together, as one.

See docs/decisions/0022-requests-that-wait-leave-together.md.
"""

from __future__ import annotations

from healthstore.layers.coalesce.layer import Apart, CoalesceLayer

__all__ = ("Apart", "CoalesceLayer")

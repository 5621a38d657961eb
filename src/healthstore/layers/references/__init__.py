"""References: what a delete means for all that refers to it, decided once for every database.

The first layer under the guard: over failover and over each layer of a program, which therefore
see every document that a delete removes or changes. See
:class:`~healthstore.layers.references.layer.ReferencesLayer`.
"""

from __future__ import annotations

from healthstore.layers.references.layer import ReferencesLayer

__all__ = ("ReferencesLayer",)

"""What a server without transactions cannot promise, and refuses."""

from __future__ import annotations

from healthstore.abc.backend import Capabilities
from healthstore.errors import CapabilityError
from healthstore.model.schema import Collection

__all__ = ("require_transactions",)


def require_transactions(
    capabilities: Capabilities, *, several: bool, references: bool, collection: Collection
) -> None:
    """Raise CapabilityError for what a server without transactions cannot promise."""
    reasons = (
        (several, "several documents cannot be written all or none"),
        (references, "references cannot be checked"),
    )
    for needed, reason in reasons:
        if needed and not capabilities.transactions:
            raise CapabilityError(
                f"on a standalone MongoDB server {reason}",
                hint="make it a replica set (one node is enough), or write one document at a time",
                entity=collection.entity,
            )

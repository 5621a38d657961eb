"""What a program says of itself in a store's catalog, so that a migration can wait for it.

A program that uses a store looks at its catalog again with each health check. Its lease says
which epoch of the store's ledger it has seen: from then on it goes by what the catalog says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self, cast
from uuid import UUID

from healthstore.errors import ConfigurationError
from healthstore.model.catalog import catalog_id, to_mark
from healthstore.model.query import Filter, Operator, Test
from healthstore.model.values import Document

__all__ = ("LEASES", "LEASE_SECONDS", "Lease", "lease_id", "leases_of")

LEASE_SECONDS = 30.0
"""How long a lease holds without being renewed: many health checks of the default interval."""
_PREFIX = "(lease) "  # no collection can have such a name
LEASES: Filter = Test("name", Operator.STARTS, _PREFIX)
"""Which rows of a catalog are leases."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease of one program on one store; ``renewed`` is when it was renewed, in UTC."""

    token: str
    host: str
    process: int
    epoch: str
    renewed: str
    space: str = ""

    @property
    def id(self) -> UUID:
        """The id of its row."""
        return lease_id(self.token)

    @property
    def owner(self) -> str:
        """The owner, in words."""
        return f"process {self.process} on {self.host}"

    @classmethod
    def of(cls, row: Document) -> Self:
        """Return what a row says; raise ConfigurationError for one of another release."""
        try:
            return cls(**cast("dict[str, Any]", row["definition"]))
        except TypeError:
            raise ConfigurationError(
                "the lease of a program is malformed",
                hint="it was written by another version of healthstore, or changed by hand",
            ) from None

    def as_row(self, version: int) -> Document:
        """Return the row of the catalog that says this."""
        return to_mark(f"{_PREFIX}{self.token}", version, asdict(self))


def lease_id(token: str) -> UUID:
    """Return the id of the row of a lease."""
    return catalog_id(f"{_PREFIX}{token}")


def leases_of(rows: Iterable[Document]) -> list[tuple[Lease, int]]:
    """Return the leases in the rows of a catalog, each with the version of its row."""
    return [
        (Lease.of(row), cast(int, row["version"]))
        for row in rows
        if str(row["name"]).startswith(_PREFIX)
    ]

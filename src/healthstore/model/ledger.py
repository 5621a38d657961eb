"""What a ledger says: which migrations a store has, and which one is under way.

It is one row of the store's catalog, beside those of the collections.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self, cast
from uuid import UUID

from healthstore.errors import ConfigurationError, SchemaMismatchError
from healthstore.model.catalog import catalog_id, to_mark
from healthstore.model.values import Document

__all__ = ("LEDGER_ID", "LEDGER_NAME", "Applied", "Book", "Lock", "UnderWay")

LEDGER_NAME = "(schema)"
"""The name in the ledger's row; no collection can have it."""
LEDGER_ID: UUID = catalog_id(LEDGER_NAME)


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that a store has; ``at`` is when it was applied, in UTC."""

    id: str
    checksum: str
    at: str


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A migration that has begun: the step that is to be taken, and how far that has come.

    ``checked`` says that what stands against the step has been counted; ``cursor`` is the id of
    the last document that a function has changed. ``done`` marks the steps that were taken.
    """

    id: str
    checksum: str
    down: bool
    step: int = 0
    checked: bool = False
    cursor: str | None = None
    done: str = ""


@dataclass(frozen=True, slots=True)
class Lock:
    """``until`` is when it ends, in UTC; of a process of this machine it is known when that ends."""

    host: str
    process: int
    token: str
    until: str
    space: str = ""

    @property
    def owner(self) -> str:
        """The owner, in words."""
        return f"process {self.process} on {self.host}"


@dataclass(frozen=True, slots=True)
class Book:
    """What a ledger says.

    ``epoch`` is another one each time programs have to look at the catalog again before the store
    goes on; ``gone`` are the names of collections that migrations have dropped or renamed.
    """

    applied: tuple[Applied, ...] = ()
    under_way: UnderWay | None = None
    lock: Lock | None = None
    epoch: str = ""
    gone: tuple[str, ...] = ()

    @property
    def current(self) -> str | None:
        """The id of the last migration that the store has; None if it has none."""
        return self.applied[-1].id if self.applied else None

    def require_not_gone(self, name: str, backend: str) -> None:
        """Raise SchemaMismatchError for a collection that a migration has dropped or renamed."""
        if name in self.gone:
            raise SchemaMismatchError(
                f"a migration has dropped or renamed the collection {name!r}, or was taken back",
                hint="deploy the program of the store's release; to have the collection again, "
                "upgrade, or let a migration create it: CreateCollection",
                backend=backend,
            )

    @classmethod
    def of(cls, row: Document) -> Self:
        """Return what a row says; raise ConfigurationError for one of another release."""
        said = cast("dict[str, Any]", row["definition"])
        try:
            under_way, lock = said["under_way"], said["lock"]
            return cls(
                tuple(Applied(**each) for each in said["applied"]),
                None if under_way is None else UnderWay(**under_way),
                None if lock is None else Lock(**lock),
                said.get("epoch", ""),
                tuple(said.get("gone", ())),
            )
        except (KeyError, TypeError):
            raise ConfigurationError(
                "the ledger of migrations is malformed",
                hint="it was written by another version of healthstore, or changed by hand",
            ) from None

    def as_row(self, version: int) -> Document:
        """Return the row of the catalog that says this."""
        return to_mark(LEDGER_NAME, version, asdict(self))

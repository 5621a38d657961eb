"""What a handler needs: the database, and the transaction if there is one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from healthstore.abc.unit import read_only_unit
from healthstore.adapters.mongo.codec import Stored

__all__ = ("Database", "Session")


class Database:
    """The driver's database, and its collections: making one anew costs as much as a decode."""

    def __init__(self, driver: AsyncDatabase[Stored]) -> None:
        self.driver = driver
        self._collections: dict[str, AsyncCollection[Stored]] = {}

    def collection(self, name: str) -> AsyncCollection[Stored]:
        """Return the driver's collection."""
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = self.driver[name]
        return found


@dataclass(slots=True, eq=False)
class Session:
    """A database, and the driver's session where a transaction is open.

    ``locked`` holds the documents that this transaction has locked as parents:
    (collection, id). ``limit`` ends an operation that has the session to itself.
    """

    database: Database
    transaction: AsyncClientSession | None = None
    read_only: bool = False
    locked: set[tuple[str, UUID]] = field(default_factory=set[tuple[str, UUID]])
    limit: asyncio.Timeout | None = None

    def collection(self, name: str) -> AsyncCollection[Stored]:
        """Return the driver's collection."""
        return self.database.collection(name)

    def require_writable(self) -> None:
        """Raise ReadOnlyError in a unit that only reads."""
        if self.read_only:
            raise read_only_unit()

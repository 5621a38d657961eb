"""The lease of a program on a store: taken and renewed as it looks at the catalog."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import uuid4

from healthstore.abc.backend import Backend
from healthstore.abc.process import this_process
from healthstore.errors import DuplicateKeyError, HealthstoreError
from healthstore.model.catalog import CATALOG
from healthstore.model.lease import LEASE_SECONDS, Lease, lease_id, leases_of
from healthstore.model.ops import Delete, Insert, Replace
from healthstore.model.values import Document

__all__ = ("Leasing",)

_FORGOTTEN = timedelta(hours=1)  # of programs that were killed, when no migration has waited


class Leasing:
    """A lease that is renewed when a third of its time is over, or for another epoch."""

    def __init__(self, store: Backend) -> None:
        self._store = store
        self._token = uuid4().hex
        self._version = 0
        self._epoch = ""
        self._due = 0.0  # of the clock `monotonic`
        self.until: float | None = None
        """When it ends, by the clock ``monotonic``; None while there is none."""

    def is_due(self, epoch: str) -> bool:
        """Tell whether it is to be renewed."""
        return epoch != self._epoch or monotonic() >= self._due

    async def renew(self, began: float, epoch: str, rows: Iterable[Document]) -> None:
        """Say that what the catalog said at a moment is known; ``rows`` are those of then.

        Who may not write has no lease, and a migration does not wait for it.
        """
        now = datetime.now(UTC)
        self._due = began + LEASE_SECONDS / 3
        me = this_process()
        lease = Lease(
            self._token, me.host, me.number, epoch, now.isoformat(timespec="seconds"), me.space
        )
        with suppress(HealthstoreError):  # the next check tries again, and says how the store is
            if not await self._put(lease):
                return
            self.until, self._epoch = began + LEASE_SECONDS, epoch
            old = tuple(
                each.id
                for each, _ in leases_of(rows)
                if datetime.fromisoformat(each.renewed) < now - _FORGOTTEN
            )
            if old:
                await self._store.execute(Delete(CATALOG, old))

    async def _put(self, lease: Lease) -> bool:
        row = lease.as_row(self._version + 1)
        if self._version == 0:
            with suppress(DuplicateKeyError):  # an answer was lost
                await self._store.execute(Insert(CATALOG, (row,)))
        else:
            (done,) = await self._store.execute(Replace(CATALOG, (row,)))
            if not done:  # somebody took it for one of a program that is gone
                self._version, self.until = 0, None
                return False
        self._version += 1
        return True

    async def end(self) -> None:
        """Give it back, if there is one."""
        if self._version:
            self._version, self.until = 0, None
            with suppress(HealthstoreError):  # it ends by itself
                await self._store.execute(Delete(CATALOG, (lease_id(self._token),)))

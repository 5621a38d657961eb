"""Adding documents to a store without transactions so that they can be removed again."""

from __future__ import annotations

import asyncio
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self, cast
from uuid import UUID

from healthstore.abc.backend import Backend
from healthstore.model.evaluate import duplicate_key
from healthstore.model.ops import Delete, Get, Insert
from healthstore.model.schema import Collection
from healthstore.transfer.digest import Digester, Page

__all__ = ("Undo",)

_IN_MEMORY = 1024 * 1024
_TOGETHER = 32


class Undo:
    """Adds pages, and keeps the ids of what it added in a file. Use it with ``with``."""

    def __init__(self, collection: Collection, target: Backend) -> None:
        self._collection = collection
        self._target = target
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by __exit__
        self._doubtful: Page | None = None
        self.left = 0
        """How many documents were added and not removed, as far as it is known."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    async def add(self, page: Page) -> None:
        """Add documents, none of which may be there: what is removed later must be ours."""
        ids = tuple(cast(UUID, row["id"]) for row in page.rows)
        if any(await self._target.execute(Get(self._collection, ids))):
            raise duplicate_key(self._collection, ("id",)).at(backend=self._target.name)
        self._doubtful = page
        self.left += len(ids)
        await self._target.execute(Insert(self._collection, tuple(page.rows), atomic=False))
        self._file.write(b"".join(identity.bytes for identity in ids))
        self._doubtful = None

    async def remove(self) -> None:
        """Remove everything that was added; raise what the store raises if it refuses."""
        page = self._doubtful
        if page is not None:
            # Some of them may be there. One that somebody else added meanwhile is not ours.
            ids = tuple(cast(UUID, row["id"]) for row in page.rows)
            stored = await self._target.execute(Get(self._collection, ids))
            found = Digester(self._collection).page([row for row in stored if row is not None])
            ours = set(page.digests)
            added = [
                cast(UUID, row["id"])
                for row, digest in zip(found.rows, found.digests, strict=True)
                if digest in ours
            ]
            self.left -= len(ids) - len(added)
            self._doubtful = None
            await self._delete(added)
        self._file.seek(0)
        while chunk := self._file.read(16 * _TOGETHER):
            await self._delete(
                [UUID(bytes=chunk[start : start + 16]) for start in range(0, len(chunk), 16)]
            )

    async def _delete(self, ids: list[UUID]) -> None:
        """Delete by single operations: several at once would need a transaction."""
        for start in range(0, len(ids), _TOGETHER):
            group = ids[start : start + _TOGETHER]
            results = await asyncio.gather(
                *(self._target.execute(Delete(self._collection, (each,))) for each in group),
                return_exceptions=True,
            )
            failures = [each for each in results if isinstance(each, BaseException)]
            self.left -= len(group) - len(failures)
            if failures:
                raise failures[0]

"""Whether what documents refer to comes along, found out with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Self, cast
from uuid import UUID

from healthstore.model.schema import Collection
from healthstore.transfer.digest import Page

__all__ = ("References",)

_IN_MEMORY = 1024 * 1024  # bytes of a file that are not on the disk
_SIZE = 16  # bytes of an id
_TOGETHER = 100_000  # ids that are looked for at a time


class References:
    """The ids of documents, and the ids that they refer to, within some collections.

    Its methods block. Use it with ``with``: it keeps files.
    """

    def __init__(self, collections: Sequence[Collection]) -> None:
        names = {each.name for each in collections}
        self._files = ExitStack()
        self._wanted = [
            (each, reference.field, reference.collection, self._file())
            for each in collections
            for reference in each.references
            if reference.collection in names
        ]
        self._there = {target: self._file() for _, _, target, _ in self._wanted}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()

    def add(self, collection: Collection, page: Page) -> None:
        """Note the documents of a page."""
        there = self._there.get(collection.name)
        if there is not None:
            there.write(b"".join(cast(UUID, row["id"]).bytes for row in page.rows))
        for each, field, _, wanted in self._wanted:
            if each is collection:
                values = (cast("UUID | None", row[field]) for row in page.rows)
                wanted.write(b"".join(value.bytes for value in values if value is not None))

    def missing(self) -> tuple[Collection, str, str] | None:
        """Return a collection, the field and the target of a reference to nothing, if any is."""
        for collection, field, target, wanted in self._wanted:
            for some in _ids(wanted):
                absent = set(some)
                for others in _ids(self._there[target]):
                    absent.difference_update(others)
                if absent:
                    return collection, field, target
        return None

    def _file(self) -> IO[bytes]:
        return self._files.enter_context(SpooledTemporaryFile(max_size=_IN_MEMORY))


def _ids(file: IO[bytes]) -> Iterator[list[bytes]]:
    """Yield the ids of a file, some at a time."""
    file.seek(0)
    while chunk := file.read(_SIZE * _TOGETHER):
        yield [chunk[start : start + _SIZE] for start in range(0, len(chunk), _SIZE)]

"""References of documents to later ones of their own collection.

A database accepts no reference to what is not there yet, and documents move in order of their
ids. So such a reference is left out at first, and set when every document is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import IO, cast
from uuid import UUID

from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value

__all__ = ("Later",)

_ENTRY = 1 + 16 + 16  # which field, the document's id, the id that the field holds
_TOGETHER = 1_000


class Later:
    """Keeps the references that were left out in a file: only ids, 33 bytes for each.

    ``held`` says whether the target holds references against what is stored; otherwise nothing
    is left out.
    """

    def __init__(self, collection: Collection, file: IO[bytes], *, held: bool) -> None:
        self._fields = [
            (reference.field, collection.nullable(reference.field))
            for reference in collection.references
            if held and reference.collection == collection.name
        ]
        self._file = file

    def without(self, rows: Sequence[Document]) -> tuple[Document, ...]:
        """Return the documents without their references to later ones, and keep those."""
        return tuple(map(self._without, rows)) if self._fields else tuple(rows)

    def _without(self, row: Document) -> Document:
        identity = cast(UUID, row["id"])
        for index, (field, nullable) in enumerate(self._fields):
            later = cast("UUID | None", row[field])
            if later is not None and later > identity:
                self._file.write(bytes([index]) + identity.bytes + later.bytes)
                # What may not be null refers to its own document for a while: that one is there.
                row = {**row, field: None if nullable else identity}
        return row

    def kept(self) -> Iterator[Mapping[UUID, Mapping[str, Value]]]:
        """Yield what was left out, some documents at a time: the fields to set, by id.

        No document comes twice.
        """
        self._file.seek(0)
        group: dict[UUID, dict[str, Value]] = {}
        while entry := self._file.read(_ENTRY):
            field, _ = self._fields[entry[0]]
            identity = UUID(bytes=entry[1:17])
            if identity not in group and len(group) == _TOGETHER:
                yield group
                group = {}
            group.setdefault(identity, {})[field] = UUID(bytes=entry[17:])
        if group:
            yield group

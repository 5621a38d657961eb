"""References of documents to what comes later: of their own collection, or of a later one.

A database accepts no reference to what is not there yet, and documents move collection by
collection, in order of their ids. So such a reference is left out at first, and set when every
document to which it may lead is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import IO, cast
from uuid import UUID

from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value

__all__ = ("Later",)

_ENTRY = 1 + 16 + 16  # which field, the document's id, the id that the field holds
_TOGETHER = 1_000


class Later:
    """Keeps the references that were left out in a file: only ids, 33 bytes for each.

    ``ahead`` names the collections that come later; references to them may be null. ``held``
    says whether the target holds references against what is stored; otherwise nothing is left
    out.
    """

    def __init__(
        self,
        collection: Collection,
        file: IO[bytes],
        *,
        held: bool,
        ahead: AbstractSet[str] = frozenset(),
    ) -> None:
        targets = {collection.name, *ahead} if held else set[str]()
        # Field, whether it may be null, whether all of its references lead to what comes later.
        self._fields = [
            (each.field, collection.nullable(each.field), each.collection in ahead)
            for each in collection.references
            if each.collection in targets
        ]
        self._file = file

    @property
    def waits(self) -> bool:
        """Whether later collections must be there before references can be set."""
        return any(ahead for _, _, ahead in self._fields)

    def without(self, rows: Sequence[Document]) -> tuple[Document, ...]:
        """Return the documents without their references to later ones, and keep those."""
        return tuple(map(self._without, rows)) if self._fields else tuple(rows)

    def _without(self, row: Document) -> Document:
        identity = cast(UUID, row["id"])
        for index, (field, nullable, ahead) in enumerate(self._fields):
            later = cast("UUID | None", row[field])
            if later is not None and (ahead or later > identity):
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
            field, _, _ = self._fields[entry[0]]
            identity = UUID(bytes=entry[1:17])
            if identity not in group and len(group) == _TOGETHER:
                yield group
                group = {}
            group.setdefault(identity, {})[field] = UUID(bytes=entry[17:])
        if group:
            yield group

"""References of documents to what comes later: of their own collection, or of a later one.

A database accepts no reference to what is not there yet, and documents move collection by
collection, in order of their ids. So such a reference is left out at first, and set when every
document to which it may lead is there.

What may not be null refers to its own document for a while, which is there. Where a check or a
unique key would see that, the whole document waits: see :class:`Postponed`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import IO, cast
from uuid import UUID

from healthstore.model.query import fields_in
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value
from healthstore.transfer.postponed import Postponed

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
        postponed: IO[bytes],
        *,
        held: bool,
        ahead: AbstractSet[str] = frozenset(),
    ) -> None:
        targets = {collection.name, *ahead} if held else set[str]()
        seen = {name for check in collection.checks for name in fields_in(check.rule)}
        seen.update(name for unique in collection.uniques for name in unique.fields)
        self._awaiting = [
            each.field
            for each in collection.references
            if held and each.collection == collection.name and each.field in seen
            if not collection.nullable(each.field)
        ]
        # Field, whether it may be null, whether all of its references lead to what comes later.
        self._fields = [
            (each.field, collection.nullable(each.field), each.collection in ahead)
            for each in collection.references
            if each.collection in targets
        ]
        self._file = file
        self._postponed = Postponed(collection, postponed)

    @property
    def waits(self) -> bool:
        """Whether later collections must be there before references can be set."""
        return any(ahead for _, _, ahead in self._fields)

    def without(self, rows: Sequence[Document]) -> tuple[Document, ...]:
        """Return the documents without their references to later ones, and keep those.

        Documents that must wait are kept as they are, and left out.
        """
        if not self._fields:
            return tuple(rows)
        if self._awaiting:
            rows = [row for row in rows if not self._wait(row)]
        return tuple(map(self._without, rows))

    def postponed(self) -> Iterator[tuple[Document, ...]]:
        """Yield the documents that waited, when all others are there, some at a time.

        As :meth:`without`, except that those they waited for come before them.
        """
        there = set[UUID]()
        for rows in self._postponed.groups():
            group: list[Document] = []
            for row in rows:
                there.add(cast(UUID, row["id"]))
                group.append(self._without(row, there))
            yield tuple(group)

    def _wait(self, row: Document) -> bool:
        """Keep a document that must refer to one that is not there; tell whether it is kept."""
        identity = cast(UUID, row["id"])
        parents = (cast(UUID, row[name]) for name in self._awaiting)
        awaited = [each for each in parents if each > identity or each in self._postponed]
        if awaited:
            self._postponed.add(row, awaited)
        return bool(awaited)

    def _without(self, row: Document, there: AbstractSet[UUID] | None = None) -> Document:
        """Return a document without its references to what is not there.

        All of the collection is there but what waits, of which ``there`` is; without that, what
        comes before this document.
        """
        identity = cast(UUID, row["id"])
        for index, (field, nullable, ahead) in enumerate(self._fields):
            later = cast("UUID | None", row[field])
            if later is None:
                continue
            waits = later in self._postponed
            missing = waits or later > identity if there is None else waits and later not in there
            if ahead or missing:
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

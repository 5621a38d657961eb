"""Whether one store may stand in for another: what their catalogs say of definitions and migrations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from healthstore.errors import ConfigurationError
from healthstore.model.catalog import from_definition
from healthstore.model.filling import is_mark
from healthstore.model.ledger import LEDGER_NAME, Book
from healthstore.model.values import Document

__all__ = ("Release",)


@dataclass(frozen=True, slots=True)
class Release:
    """What a store's catalog says: the rows of its collections, by name, and its ledger."""

    rows: Mapping[str, Document]
    book: Book

    @classmethod
    def of(cls, rows: Iterable[Document]) -> Self:
        """Return what the rows of a catalog say; raise ConfigurationError for another release's."""
        named = {str(each["name"]): each for each in rows}
        ledger = named.get(LEDGER_NAME)
        collections = {name: each for name, each in named.items() if not is_mark(name)}
        return cls(collections, Book() if ledger is None else Book.of(ledger))

    def against(self, active: Release) -> str:
        """Say why a store cannot stand in for an active one; nothing if it can.

        A collection that only one of the two has is no reason: who asks for it is told. Nor is a
        ledger that only one has.
        """
        for name, row in self.rows.items():
            other = active.rows.get(name)
            if other is not None and not _agree(row, other):
                return f"its definition of {name} is another one than that of the active member"
        if self.book.under_way is not None:
            return f"the migration {self.book.under_way.id!r} is under way there"
        mine, its = (
            [(each.id, each.checksum) for each in one.book.applied] for one in (self, active)
        )
        if mine and its and mine != its:
            return f"it has the migrations up to {mine[-1][0]!r}, the active member up to {its[-1][0]!r}"
        return ""


def _agree(row: Document, other: Document) -> bool:
    if row["fingerprint"] == other["fingerprint"]:
        return True
    try:
        # Another release may spell the same definition in another way.
        return from_definition(row["definition"]) == from_definition(other["definition"])
    except ConfigurationError:
        return False

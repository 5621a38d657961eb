"""What a program knows of a store by the store's catalog, and what the rows of that say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from healthstore.errors import ConfigurationError, SchemaMismatchError
from healthstore.layers.catalog.serving import Served, served_by
from healthstore.model.catalog import CATALOG, from_definition, is_renaming, require_same
from healthstore.model.filling import FILLING_ID, Filling
from healthstore.model.ledger import LEDGER_NAME, Book
from healthstore.model.release import Release
from healthstore.model.schema import Collection
from healthstore.model.serve import admits, serves
from healthstore.model.values import Document

__all__ = ("Known", "agrees", "book_of", "require_admitted", "stored_for", "told")


@dataclass(slots=True)
class Known:
    """What is known of a store: the definitions that it has, by name, and what was last seen.

    ``served`` are others that those serve, by name too: a program may know several. ``epoch`` is
    that of the ledger, ``changing`` says that what was read last is being changed, and after
    ``until``, of the clock ``monotonic``, all may be otherwise.
    """

    agreed: dict[str, Collection] = field(default_factory=lambda: {CATALOG.name: CATALOG})
    served: dict[str, tuple[Served, ...]] = field(default_factory=dict[str, tuple[Served, ...]])
    filling: Filling | None = None
    release: Release | None = None
    changing: bool = False
    epoch: str | None = None
    until: float = inf

    def forget(self) -> None:
        """Know nothing of any collection."""
        # Other mappings: a read that is under way may know less than whoever calls this.
        self.agreed = {CATALOG.name: CATALOG}
        self.served = {}

    def knows(self, wanted: Collection) -> bool:
        """Tell whether a definition is known to agree, or to be served."""
        return self.agreed.get(wanted.name) == wanted or (
            served_by(self.served, wanted) is not None
        )

    def note(self, wanted: Collection, stored: Collection | None) -> None:
        """Know that a definition agrees; or, with one that is stored, is served by that."""
        name, there = wanted.name, stored or wanted
        others = (each for each in self.served.get(name, ()) if each.stored == there != each.known)
        self.agreed[name] = there
        self.served[name] = tuple(each for each in others if each.known != wanted)
        if stored is not None:
            self.served[name] += (Served(wanted, stored),)


def told(found: Iterable[Document]) -> tuple[Mapping[str, Document], Filling | None]:
    """Return rows of the catalog by name, and the mark of a transfer that has not ended."""
    rows, filling = dict[str, Document](), None
    for row in found:
        if row["id"] == FILLING_ID:
            filling = Filling.of(row)
        else:
            rows[str(row["name"])] = row
    return rows, filling


def book_of(rows: Mapping[str, Document]) -> Book:
    """Return what the ledger among the rows of a catalog says; an empty book if it is none of them."""
    row = rows.get(LEDGER_NAME)
    return Book() if row is None else Book.of(row)


def agrees(row: Document | None, wanted: Collection) -> bool:
    """Tell whether a row of a catalog has a definition, and lets its programs in."""
    if row is None or not admits(row, wanted):
        return False
    try:
        require_same(row, wanted)
    except (ConfigurationError, SchemaMismatchError):
        return False
    return True


def require_admitted(row: Document, wanted: Collection) -> None:
    """Raise SchemaMismatchError for programs that a collection does not let in any more."""
    if not admits(row, wanted):
        raise SchemaMismatchError(
            f"a migration is changing the collection {wanted.name!r}, and serves this definition "
            "no more",
            hint="deploy the program of that release; if the migration was cut short, complete "
            "it: db.schema.upgrade(), healthstore schema upgrade",
        )


def stored_for(row: Document | None, wanted: Collection) -> Collection | None:
    """Return the stored definition if it is another one, and serves."""
    if row is None or is_renaming(row) or not admits(row, wanted) or agrees(row, wanted):
        return None
    stored = from_definition(row["definition"])
    return stored if stored.name == wanted.name and serves(stored, wanted) else None

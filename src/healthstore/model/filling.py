"""The mark of a store that a transfer fills: a row of its catalog that describes no collection.

It is written before the first collection of a transfer is made, and removed when the transfer
has ended well. A transfer that was killed leaves it, so that every process can tell half a copy
from a whole one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from healthstore.errors import IncompleteStoreError
from healthstore.model.catalog import catalog_id, to_mark
from healthstore.model.values import Document, Json

__all__ = ("FILLING_ID", "FILLING_NAME", "Filling", "collections_only", "is_mark")

FILLING_NAME = "(filling)"
"""The name in the mark's row; no collection can have it."""
FILLING_ID: UUID = catalog_id(FILLING_NAME)


@dataclass(frozen=True, slots=True)
class Filling:
    """A transfer into a store that has not ended well yet.

    ``operation`` is what runs (``migrate``, ``restore``, ``load``), ``source`` the member or file
    that it reads, ``collections`` what it fills, ``since`` when it began, and ``transfer`` tells
    it from every other one.
    """

    operation: str
    source: str
    collections: tuple[str, ...]
    since: str
    transfer: str

    @classmethod
    def begun(cls, operation: str, source: str, collections: Iterable[str]) -> Filling:
        """Return the mark of a transfer that begins at this moment."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(operation, source, tuple(collections), now, str(uuid4()))

    @classmethod
    def of(cls, row: Document) -> Filling:
        """Return what a mark's row says; one of another version says less, and is a mark still."""
        said = row["definition"]
        data = said if isinstance(said, dict) else {}
        names = data.get("collections")
        return cls(
            operation=str(data.get("operation", "a transfer")),
            source=str(data.get("source", "an unknown source")),
            collections=tuple(map(str, names)) if isinstance(names, list) else (),
            since=str(data.get("since", "an unknown time")),
            transfer=str(data.get("transfer", "")),
        )

    def as_row(self) -> Document:
        """Return the mark as a row of the catalog."""
        described: dict[str, Json] = {
            "operation": self.operation,
            "source": self.source,
            "collections": list(self.collections),
            "since": self.since,
            "transfer": self.transfer,
        }
        return to_mark(FILLING_NAME, 1, described)

    def __str__(self) -> str:
        return (
            f"the {self.operation} from {self.source} that began at {self.since} has not ended: "
            "the store may hold a part of the documents"
        )

    def error(self, backend: str) -> IncompleteStoreError:
        """Return the error for a request to the store."""
        return IncompleteStoreError(str(self), hint=self.remedy, backend=backend)

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return f"let it end; if it was killed, {self.again}"

    @property
    def again(self) -> str:
        """What to do if it was killed, or failed."""
        if self.operation == "migrate":
            return "migrate again with replace=True (`healthstore migrate --replace`)"
        if self.operation == "reset":
            return "reset it again with db.schema.reset() or `healthstore schema reset`"
        return f"empty it with db.clear() or `healthstore clear`, and {self.operation} again"


def collections_only(rows: Iterable[Document]) -> Iterator[Document]:
    """Yield the rows of a catalog that describe collections."""
    return (row for row in rows if not is_mark(str(row["name"])))


def is_mark(name: str) -> bool:
    """Tell whether a row of a catalog says something of the store, and describes no collection."""
    return name.startswith("(")  # no collection can have such a name

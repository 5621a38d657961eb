"""References between collections, which MongoDB does not know.

They hold because of two rules, both inside a transaction. Who writes a reference also writes
the parent: the counter :data:`LOCK`, which is no field of the entity. Who deletes documents
looks for others that refer to them. The two write the same parent, so that of two concurrent
transactions one gives way.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from healthstore.adapters.mongo.codec import Codec
from healthstore.adapters.mongo.session import Session
from healthstore.model.catalog import CATALOG, from_definition
from healthstore.model.evaluate import missing_parent, still_referenced
from healthstore.model.filling import collections_only
from healthstore.model.schema import Collection

__all__ = ("LOCK", "References", "Referrer", "lock_documents", "lock_parents", "remove")

# Names of fields begin with a letter, so that this is none.
LOCK = "_locked"
# Other processes may add references; this one notices within so many seconds.
_MAX_AGE = 10.0
# Ids in one `$in`: about 250 kB of a message.
_CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Referrer:
    """A field of a collection that refers to another collection."""

    collection: str
    field: str


class References:
    """Which collections refer to which, as the store's catalog says."""

    def __init__(self) -> None:
        self._referrers: Mapping[str, tuple[Referrer, ...]] = {}
        self._read_at: float | None = None

    def expire(self) -> None:
        """Read the catalog again at the next use."""
        self._read_at = None

    async def to(self, name: str, session: Session) -> tuple[Referrer, ...]:
        """Return what refers to a collection."""
        now = time.monotonic()
        if self._read_at is None or now - self._read_at > _MAX_AGE:
            # Outside of the transaction: its snapshot may be older than the catalog.
            self._referrers = await _read(session)
            self._read_at = now
        return self._referrers.get(name, ())


async def _read(session: Session) -> Mapping[str, tuple[Referrer, ...]]:
    codec = Codec(CATALOG)
    referrers: dict[str, tuple[Referrer, ...]] = {}
    rows = await session.collection(CATALOG.name).find({}).to_list()
    for row in collections_only(map(codec.decode, rows)):
        child = from_definition(row["definition"])
        for each in child.references:
            found = Referrer(child.name, each.field)
            referrers[each.collection] = (*referrers.get(each.collection, ()), found)
    return referrers


async def lock_parents(
    session: Session, collection: Collection, documents: Sequence[Mapping[str, Any]]
) -> None:
    """Lock the parents of documents of which these values were written, in a transaction.

    Raises ForeignKeyError for the first reference whose parent does not exist.
    """
    references = [each for each in collection.references if each.field in documents[0]]
    missing: set[tuple[str, UUID]] = set()
    for name in sorted({each.collection for each in references}):
        fields = [each.field for each in references if each.collection == name]
        wanted = {document[field] for document in documents for field in fields} - {None}
        parents = sorted(each for each in wanted if (name, each) not in session.locked)
        for chunk in _chunks(parents):
            found = await _lock(session, name, chunk)
            session.locked.update((name, each) for each in found)
            missing.update((name, each) for each in chunk if each not in found)
    if missing:
        first = next(
            reference
            for document in documents
            for reference in references
            if (reference.collection, document[reference.field]) in missing
        )
        raise missing_parent(collection, first)


async def lock_documents(session: Session, name: str, identities: Iterable[UUID]) -> None:
    """Lock documents by their ids, in a transaction: who writes one of them meanwhile gives way."""
    wanted = sorted(each for each in set(identities) if (name, each) not in session.locked)
    for chunk in _chunks(wanted):
        found = await _lock(session, name, chunk)
        session.locked.update((name, each) for each in found)


async def _lock(session: Session, name: str, parents: Sequence[UUID]) -> frozenset[UUID]:
    """Write to the documents with these ids; return the ids of those that exist."""
    driver = session.collection(name)
    condition = {"_id": {"$in": list(parents)}}
    done = await driver.update_many(condition, {"$inc": {LOCK: 1}}, session=session.transaction)
    if done.matched_count == len(parents):
        return frozenset(parents)
    found = await driver.find(condition, {"_id": True}, session=session.transaction).to_list()
    return frozenset(each["_id"] for each in found)


async def remove(
    session: Session, referrers: Iterable[Referrer], name: str, identities: Sequence[UUID]
) -> None:
    """Delete documents, in a transaction.

    Raises ForeignKeyError if a document that stays refers to one of them, as ``referrers`` may.
    """
    driver = session.collection(name)
    session.locked.difference_update((name, each) for each in identities)
    for chunk in _chunks(identities):
        condition = {"_id": {"$in": list(chunk)}}
        await driver.delete_many(condition, session=session.transaction)
    await _require_unreferenced(session, referrers, identities)


async def _require_unreferenced(
    session: Session, referrers: Iterable[Referrer], gone: Sequence[UUID]
) -> None:
    for referrer in referrers:
        for chunk in _chunks(gone):
            held = await session.collection(referrer.collection).find_one(
                {referrer.field: {"$in": list(chunk)}}, {"_id": True}, session=session.transaction
            )
            if held is not None:
                raise still_referenced(None)


def _chunks(items: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]

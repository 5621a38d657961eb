"""What an adapter does with each operation: those that an author writes, and plain versions.

A plain version is made of other operations; a database may do better.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from collections.abc import Collection as Several
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Generic, TypeVar, cast
from uuid import UUID

from healthstore.abc.backend import Capabilities
from healthstore.abc.claiming import claim_by_versions
from healthstore.errors import CapabilityError, SerializationError, StaleVersionError
from healthstore.model import evaluate
from healthstore.model.ops import (
    Aggregate,
    Alter,
    Claim,
    CountDocuments,
    Delete,
    DeleteWhere,
    Drop,
    Ensure,
    Explained,
    Find,
    Get,
    Group,
    Insert,
    Leading,
    Patch,
    Patches,
    PatchWhere,
    Rename,
    Replace,
)
from healthstore.model.plans import QueryPlan
from healthstore.model.query import (
    MAX_VALUES,
    FieldOrTerm,
    Filter,
    Lookup,
    Operator,
    Test,
    normalise,
)
from healthstore.model.schema import Collection
from healthstore.model.shape import shape
from healthstore.model.values import Document, Value

__all__ = ("Operations",)

S = TypeVar("S")

_SCAN_PAGE = 1_000


class Operations(ABC, Generic[S]):
    """The operations of an adapter, each in a session ``S`` of its author."""

    capabilities: Capabilities

    # --- what an author writes -------------------------------------------------------------

    @abstractmethod
    async def existing(self, session: S) -> frozenset[str]:
        """Return the names of all tables or collections that are there."""

    @abstractmethod
    async def create(self, session: S, collection: Collection) -> None:
        """Create a collection with its indexes, references and checks, as far as they are missing.

        Calling it again does nothing; a collection that was left half-made is completed. A
        collection to which it refers may come later: then this is called again afterwards.
        """

    @abstractmethod
    async def get(self, session: S, op: Get) -> tuple[Document | None, ...]:
        """See :class:`~healthstore.model.ops.Get`."""

    @abstractmethod
    async def insert(self, session: S, op: Insert) -> int:
        """See :class:`~healthstore.model.ops.Insert`."""

    @abstractmethod
    async def replace(self, session: S, op: Replace) -> tuple[bool, ...]:
        """See :class:`~healthstore.model.ops.Replace`."""

    @abstractmethod
    async def delete(self, session: S, op: Delete) -> tuple[bool, ...]:
        """See :class:`~healthstore.model.ops.Delete`."""

    @abstractmethod
    async def find(self, session: S, op: Find) -> tuple[Document, ...]:
        """See :class:`~healthstore.model.ops.Find`; all columns are asked for, see :meth:`select`."""

    # --- operations with a plain version ---------------------------------------------------

    async def patch(self, session: S, op: Patch) -> tuple[Document | None, ...]:
        """Read, change and replace, guarded by the version that was read."""
        stored = await self.get(session, Get(op.collection, op.ids))
        expected = op.versions or (None,) * len(op.ids)
        after: list[Document | None] = []
        for document, identity, version in zip(stored, op.ids, expected, strict=True):
            if document is not None:
                evaluate.check_version(op.collection, document, identity, version)
            after.append(None if document is None else evaluate.patched(op, document))
        found = [(old, new) for old, new in zip(stored, after, strict=True) if old and new]
        if found:
            versions = tuple(cast(int, old["version"]) for old, _ in found)
            documents = tuple(new for _, new in found)
            await self.replace(session, Replace(op.collection, documents, versions))
        return tuple(after)

    async def patches(self, session: S, op: Patches) -> tuple[tuple[Document] | None, ...]:
        """Read, change and replace, guarded by the versions that were read."""
        ids = tuple(dict.fromkeys(each.ids[0] for each in op.patches))
        found = await self.get(session, Get(op.collection, ids))
        stored = {cast(UUID, each["id"]): each for each in found if each is not None}
        results = evaluate.patched_each(op, stored)
        last = evaluate.changed_by_id(results)
        if last:
            versions = tuple(cast(int, stored[identity]["version"]) for identity in last)
            await self.replace(session, Replace(op.collection, tuple(last.values()), versions))
        return results

    async def claim(self, session: S, op: Claim) -> tuple[Document, ...]:
        """Find some, and change each under the version that was read."""
        return await claim_by_versions(
            op, partial(self.find, session), partial(self.patch, session)
        )

    async def patch_where(self, session: S, op: PatchWhere) -> int:
        """Find, and patch what was found, guarded by the versions that were read."""
        changed = 0
        for ids, versions in await self._ids_found(session, op):
            try:
                after = await self.patch(session, op.as_patch(ids, versions))
            except StaleVersionError:
                raise _overtaken(op.collection) from None
            changed += sum(each is not None for each in after)
        return changed

    async def delete_where(self, session: S, op: DeleteWhere) -> int:
        """Find, and delete what was found, guarded by the versions that were read."""
        found = await self._ids_found(session, op)
        if op.atomic:  # in one request: what forbids a removal may be removed by it
            every = (
                tuple(chain.from_iterable(ids for ids, _ in found)),
                tuple(chain.from_iterable(versions for _, versions in found)),
            )
            found = [every] if found else []
        removed = 0
        for ids, versions in found:
            delete = Delete(op.collection, ids, versions, op.checked_references)
            try:
                removed += sum(await self.delete(session, delete))
            except StaleVersionError:
                raise _overtaken(op.collection) from None
        return removed

    async def _ids_found(
        self, session: S, op: PatchWhere | DeleteWhere
    ) -> list[tuple[tuple[UUID, ...], tuple[int, ...]]]:
        """Return ids and versions of what an operation finds, as much as one request takes.

        All is read before anything is written: a filter may look into what is changed.
        """
        size = _SCAN_PAGE if self.capabilities.transactions else 1
        rows = await self.scan(session, op.collection, op.where, ("id", "version"))
        parts = (rows[start : start + size] for start in range(0, len(rows), size))
        return [
            (
                tuple([cast(UUID, each["id"]) for each in part]),
                tuple([cast(int, each["version"]) for each in part]),
            )
            for part in parts
        ]

    async def select(self, session: S, op: Find) -> tuple[Document, ...]:
        """Find columns of documents, by reading the whole of each; see :meth:`find`."""
        if not op.distinct:
            found = await self.find(session, replace(op, columns=None))
            return evaluate.picked(op, found)
        documents = await self.scan(session, op.collection, op.where, op.columns)
        return evaluate.selected(op, documents)

    async def count(self, session: S, op: CountDocuments) -> int:
        """Count by reading."""
        return len(await self.scan(session, op.collection, op.where))

    async def aggregate(self, session: S, op: Aggregate) -> tuple[Group, ...]:
        """Compute in memory by reading."""
        columns = evaluate.fields_of(op)
        documents = await self.scan(session, op.collection, op.where, columns)
        return evaluate.aggregate(op, documents)

    async def leading(self, session: S, op: Leading) -> tuple[Document, ...]:
        """Compute in memory by reading."""
        return evaluate.leading(op, await self.scan(session, op.collection, op.where))

    async def looked_up(self, session: S, lookup: Lookup) -> Several[Value]:
        """Return the distinct values that a query finds, and if there are too many some more."""
        found = set[Value]()
        collection, where, name = lookup.collection, lookup.where, lookup.field
        async for page in self._pages(session, collection, where, (name,)):
            found.update(each[name] for each in page)
            if len(found) > MAX_VALUES:
                break
        return found

    async def scan(
        self,
        session: S,
        collection: Collection,
        where: Filter,
        columns: tuple[FieldOrTerm, ...] | None = None,
    ) -> list[Document]:
        """Return every document that satisfies a filter, or columns and the id, page by page."""
        found: list[Document] = []
        async for page in self._pages(session, collection, where, columns):
            found.extend(page)
        return found

    async def _pages(
        self,
        session: S,
        collection: Collection,
        where: Filter,
        columns: tuple[FieldOrTerm, ...] | None,
    ) -> AsyncIterator[tuple[Document, ...]]:
        page_filter = where
        kept = None if columns is None else tuple(dict.fromkeys((*columns, "id")))
        read = self.find if columns is None else self.select
        while True:
            op = Find(collection, page_filter, limit=_SCAN_PAGE, columns=kept)
            page = await read(session, op)
            yield page
            if len(page) < _SCAN_PAGE:
                return
            beyond = Test("id", Operator.GT, page[-1]["id"])
            page_filter = normalise(where & beyond, collection.nullable)

    async def alter(self, session: S, before: Collection, after: Collection) -> None:
        """Make a collection of one definition into one of another; see :class:`~healthstore.model.ops.Alter`.

        What is done already is passed over: a change that was cut short is completed. Where the
        session is a transaction it is done in that. An adapter without it does not have the
        capability ``alters``.
        """
        del session, before
        raise CapabilityError(
            "this adapter has no way to change the definition of a collection",
            hint="declare Capabilities(alters=False), or write alter()",
            entity=after.entity,
        )

    async def rename(self, session: S, before: Collection, after: Collection) -> None:
        """Give a collection, or fields of it, other names; see :meth:`alter`.

        References of others lead to where it is afterwards.
        """
        del session, before
        raise CapabilityError(
            "this adapter has no way to rename what is stored",
            hint="declare Capabilities(alters=False), or write rename()",
            entity=after.entity,
        )

    async def drop(self, session: S, collection: Collection) -> None:
        """Remove a collection with its documents, if it is there; see :meth:`alter`."""
        del session
        raise CapabilityError(
            "this adapter has no way to remove a collection",
            hint="declare Capabilities(alters=False), or write drop()",
            entity=collection.entity,
        )

    def explain(self, change: Ensure | Alter | Rename | Drop) -> Explained:
        """Return how a change would be made, without any I/O, also while it is closed.

        Here it is none of statements.
        """
        del change
        return Explained()

    async def explain_find(self, session: S, op: Find) -> QueryPlan:
        """Return how a page would be read; here nothing is known but the request."""
        del session
        return QueryPlan(shape(op))

    async def refresh_statistics(self, session: S, collection: Collection) -> bool:
        """Renew what the planner knows of a collection, if it has a planner; here it has none."""
        del session, collection
        return False


def _overtaken(collection: Collection) -> SerializationError:
    return SerializationError(
        "a concurrent writer changed what was found, before it was written",
        hint="repeat the call, or the whole unit",
        entity=collection.entity,
    )

"""The adapter: sessions that see one moment of the store, and the operations on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import islice
from operator import itemgetter
from types import MappingProxyType
from typing import TypeVar, cast
from uuid import UUID

from healthstore.abc.adapter import Adapter
from healthstore.abc.backend import Capabilities, Isolation, UnitOptions
from healthstore.abc.options import common_options
from healthstore.abc.unit import Phase
from healthstore.abc.url import BackendURL
from healthstore.adapters.memory.session import Session, Single
from healthstore.adapters.memory.table import Table, kept_value, matcher, packed
from healthstore.errors import (
    BackendError,
    ConfigurationError,
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    SchemaMismatchError,
    SerializationError,
)
from healthstore.model import evaluate
from healthstore.model.evaluate import duplicate_key
from healthstore.model.guarded import check_same, require_present
from healthstore.model.ops import (
    Aggregate,
    Claim,
    CountDocuments,
    Delete,
    DeleteWhere,
    Effect,
    Find,
    Get,
    Group,
    Insert,
    Leading,
    Op,
    Patch,
    PatchWhere,
    Replace,
)
from healthstore.model.plans import PRIMARY, QueryPlan
from healthstore.model.query import ALL, Filter, Lookup, Order
from healthstore.model.schema import Collection, Index
from healthstore.model.shape import shape
from healthstore.model.values import Document, Value

__all__ = ("MemoryAdapter", "connect")

R = TypeVar("R")

_BY_ID = (Order("id"),)
_PATIENCE = 10.0  # seconds that a write waits for a unit that has locked the document
_PAUSE = 0.002
_MANY = 5_000  # documents that are looked at in some milliseconds


def connect(url: BackendURL, name: str) -> MemoryAdapter:
    """Return a new, empty store for a ``memory://`` URL.

    The options that every member has (``pool_size`` and so on) are known and have no effect.
    """
    url.read_options(common_options(url))
    if url.hosts or url.database:
        raise ConfigurationError(
            "a memory backend has no host and no database", hint="write memory://"
        )
    return MemoryAdapter(name)


class MemoryAdapter(Adapter[Session]):
    """A store in the memory of this process. Closing it keeps the data until it is dropped."""

    capabilities = Capabilities(durable=False, semi_joins=True, parts=True, locks=True)

    def __init__(self, name: str = "memory") -> None:
        super().__init__(name)
        self._tables: Mapping[str, Table] = MappingProxyType({})
        self._units = 0
        self._locks: dict[tuple[str, UUID], Session] = {}

    async def connect(self) -> None:
        """Do nothing: there is no server."""

    async def disconnect(self) -> None:
        """Do nothing: there is no server."""

    async def ping(self) -> None:
        """Fail only when the store is not open."""
        self._require_open()

    async def execute(self, op: Op[R]) -> R:
        """Run one operation; one that writes what a unit has locked waits for the unit's end."""
        until = None
        while True:
            try:
                return await super().execute(op)
            except SerializationError:
                now = asyncio.get_running_loop().time()
                until = until or now + _PATIENCE
                if not self._locks or now > until:
                    raise
            await asyncio.sleep(_PAUSE)

    def session(self, effect: Effect) -> Single:
        """Lend a view, and keep what was written unless it failed.

        No operation of this adapter gives way to another task, so none sees half of this one.
        """
        read_only = effect is Effect.READ
        return Single(
            Session(self._tables, self._locks, in_place=self._units == 0, read_only=read_only),
            self._merge,
        )

    async def begin_session(self, options: UnitOptions) -> Session:
        """Take a snapshot."""
        self._units += 1
        return Session(
            self._tables,
            self._locks,
            read_only=options.read_only,
            serializable=options.isolation is Isolation.SERIALIZABLE,
        )

    async def commit_session(self, session: Session) -> None:
        """Keep what the unit wrote, unless a concurrent unit was first."""
        self._units -= 1
        try:
            self._merge(session)
        finally:
            session.unlock()

    async def rollback_session(self, session: Session) -> None:
        """Forget what the unit wrote."""
        self._units -= 1
        session.unlock()

    def part(self, session: Session) -> AbstractAsyncContextManager[None]:
        """Run a block as a part of the unit: if it fails, only that is undone."""
        return session.part()

    def _merge(self, session: Session) -> None:
        if session.tables == session.before:
            return  # nothing was written, or it was written in place
        for key in session.written:
            session.require_free(*key)
        if all(self._tables.get(name) is table for name, table in session.before.items()):
            self._tables = MappingProxyType(session.tables)
        else:
            self._rebase(session)

    def _rebase(self, session: Session) -> None:
        """Repeat the unit's writes on what others have written since its snapshot."""
        if session.serializable:
            raise _conflict()
        current = Session(self._tables, {})
        for name, _ in session.written:
            table = self._tables.get(name)
            if table is None or session.before[name].collection is not table.collection:
                raise _conflict()  # it has another definition by now, or is gone
        for name, identity in session.written:
            seen = session.before[name].rows.get(identity)
            now = self._tables[name].rows.get(identity)
            if seen is not now:
                raise _conflict()
        # Removals first: a key that one document gives up may be taken by another.
        ordered = sorted(session.written, key=lambda one: one[1] in session.tables[one[0]].rows)
        try:
            for name, identity in ordered:
                after = session.tables[name]
                current.put(after.collection, identity, after.rows.get(identity))
            for name, identity in session.written:
                table = current.tables[name]
                document = table.rows.get(identity)
                if document is None:
                    current.require_unreferenced(name, identity)
                else:
                    self._require_parents(current, table.collection, document)
        except (
            DuplicateKeyError,
            ForeignKeyError,
        ):  # it held in the unit: somebody else came first
            raise _conflict() from None
        self._tables = MappingProxyType(current.tables)

    def translate(
        self, error: Exception, phase: Phase, collection: Collection | None
    ) -> HealthstoreError:
        """Report a defect of this adapter: there is no driver that could fail."""
        del phase, collection
        return BackendError(f"the memory backend failed with {type(error).__name__}")

    async def existing(self, session: Session) -> frozenset[str]:
        """Return the names of the tables."""
        return frozenset(session.tables)

    async def create(self, session: Session, collection: Collection) -> None:
        """Add an empty table."""
        session.tables.setdefault(collection.name, Table(collection))

    async def alter(self, session: Session, before: Collection, after: Collection) -> None:
        """Put a table of the new definition, with all documents, in the place of the old one."""
        del before
        session.alter(after)
        for row in session.tables[after.name].rows.values():
            self._require_parents(session, after, row)

    async def rename(self, session: Session, before: Collection, after: Collection) -> None:
        """Put a table of other names, with all documents, in the place of the old one."""
        session.rename(before, after)

    async def drop(self, session: Session, collection: Collection) -> None:
        """Remove the table."""
        session.tables.pop(collection.name, None)

    async def get(self, session: Session, op: Get) -> tuple[Document | None, ...]:
        """Return copies of documents by id, locked if that is asked for."""
        table = session.table(op.collection)
        if op.lock:
            for identity in op.ids:
                session.lock(op.collection, identity, self._tables.get(op.collection.name))
        read, rows = table.reader(op.collection), map(table.rows.get, op.ids)
        return tuple([None if each is None else read(each) for each in rows])

    async def find(self, session: Session, op: Find) -> tuple[Document, ...]:
        """Return copies of the documents that satisfy a filter, in order, or of columns."""
        where = self._answered(session, op.collection, op.where)
        holds = matcher(where)
        table = session.table(op.collection)
        if op.order == _BY_ID:  # a page of a walk over the collection: no reason to sort it all
            few = table.referring(where, op.limit)
            rows = table.by_id(where) if few is None else iter(few)
            found = list(islice(filter(holds, rows), op.limit))
        else:
            kept = [*table.rows.values()]
            found = await _aside(
                kept,
                lambda: evaluate.sort_documents(filter(holds, kept), op.order, kept_value),
            )
        return tuple(map(table.reader(op.collection, op.columns), found[: op.limit]))

    async def select(self, session: Session, op: Find) -> tuple[Document, ...]:
        """Return columns of documents, each row once if that is asked for."""
        if not op.distinct:
            return await self.find(session, op)
        where = self._answered(session, op.collection, op.where)
        table = session.table(op.collection)
        kept, holds = [*table.rows.values()], matcher(where)
        read = table.reader(op.collection, op.columns)
        return await _aside(kept, lambda: evaluate.selected(op, map(read, filter(holds, kept))))

    async def aggregate(self, session: Session, op: Aggregate) -> tuple[Group, ...]:
        """Group and measure the documents that satisfy a filter."""
        where = self._answered(session, op.collection, op.where)
        table = session.table(op.collection)
        kept, holds = [*table.rows.values()], matcher(where)
        read = table.reader(op.collection, evaluate.fields_of(op))
        return await _aside(kept, lambda: evaluate.aggregate(op, map(read, filter(holds, kept))))

    async def leading(self, session: Session, op: Leading) -> tuple[Document, ...]:
        """Return copies of the first documents of each group."""
        where = self._answered(session, op.collection, op.where)
        table = session.table(op.collection)
        kept, holds = [*table.rows.values()], matcher(where)
        found = await _aside(kept, lambda: evaluate.leading(op, filter(holds, kept), kept_value))
        return tuple(map(table.reader(op.collection), found))

    async def explain_find(self, session: Session, op: Find) -> QueryPlan:
        """Tell how :meth:`find` goes about it: by an index of a reference, by ids, or by all."""
        table, statement = session.table(op.collection), shape(op)
        if op.order != _BY_ID:
            native = "every document, then sorted"
            return QueryPlan(statement, None, len(table.rows), scan=True, sort=True, native=native)
        where = self._answered(session, op.collection, op.where)
        few = table.by_reference(where, op.limit)
        if few is None:
            native = "a walk by id"
            return QueryPlan(
                statement, PRIMARY, len(table.rows), scan=True, sort=False, native=native
            )
        name, ids = few
        native = f"those that {name} leads from, then sorted"
        index = op.collection.index_name(Index(name))
        return QueryPlan(statement, index, len(ids), scan=False, sort=True, native=native)

    async def count(self, session: Session, op: CountDocuments) -> int:
        """Count the documents that satisfy a filter."""
        rows = session.table(op.collection).rows
        where = self._answered(session, op.collection, op.where)
        if where == ALL:
            return len(rows)
        kept, holds = [*rows.values()], matcher(where)
        return await _aside(kept, lambda: sum(map(holds, kept)))

    def _answered(self, session: Session, collection: Collection, where: Filter) -> Filter:
        """Return a filter with lists of what queries inside of it find."""
        return evaluate.answered(where, partial(self._found, session), collection.nullable)

    def _found(self, session: Session, lookup: Lookup) -> AbstractSet[Value]:
        where = self._answered(session, lookup.collection, lookup.where)
        rows = filter(matcher(where), session.table(lookup.collection).rows.values())
        return set(map(itemgetter(lookup.field), rows))

    async def insert(self, session: Session, op: Insert) -> int:
        """Add documents."""
        for document in op.documents:
            if document["id"] in session.table(op.collection).rows:
                raise duplicate_key(op.collection, ("id",))
            self._store(session, op.collection, document)
        for document in op.documents:
            # Afterwards: documents of one batch may refer to each other.
            self._require_parents(session, op.collection, document)
        return len(op.documents)

    async def replace(self, session: Session, op: Replace) -> tuple[bool, ...]:
        """Replace documents that are there."""
        expected = op.versions or (None,) * len(op.documents)
        replaced: list[bool] = []
        for document, version in zip(op.documents, expected, strict=True):
            identity = cast(UUID, document["id"])
            stored = session.table(op.collection).get(identity)
            replaced.append(stored is not None)
            if stored is not None:
                evaluate.check_version(op.collection, stored, identity, version)
                check_same(op, stored, document)
                # As in a table, a field that is not known here stays as it is.
                self._store(session, op.collection, {**stored, **document})
                self._require_parents(session, op.collection, document)
        require_present(op, replaced)
        return tuple(replaced)

    async def patch(self, session: Session, op: Patch) -> tuple[Document | None, ...]:
        """Change documents and return them."""
        table = session.table(op.collection)
        expected = op.versions or (None,) * len(op.ids)
        after: list[Document | None] = []
        for identity, version in zip(op.ids, expected, strict=True):
            document = table.get(identity)
            if document is not None:
                evaluate.check_version(op.collection, document, identity, version)
            after.append(document and evaluate.patched(op, document))
        for document in filter(None, after):
            self._store(session, op.collection, document)
            self._require_parents(session, op.collection, document)
        return tuple(after)

    async def claim(self, session: Session, op: Claim) -> tuple[Document, ...]:
        """Change the first documents; nobody else is served between the search and the change."""
        table = session.table(op.collection)
        rows = filter(matcher(op.where), table.rows.values())
        first = evaluate.sort_documents(rows, op.order, kept_value)
        ids = [cast(UUID, each["id"]) for each in first]
        free = [each for each in ids if session.is_free(op.collection.name, each)][: op.limit]
        found = map(table.reader(op.collection), map(table.rows.__getitem__, free))
        after = tuple([evaluate.patched(op.change, each) for each in found])
        for document in after:
            self._store(session, op.collection, document)
        return after

    async def delete(self, session: Session, op: Delete) -> tuple[bool, ...]:
        """Remove documents to which no other one refers."""
        expected = op.versions or (None,) * len(op.ids)
        removed: list[bool] = []
        for identity, version in zip(op.ids, expected, strict=True):
            stored = session.table(op.collection).rows.get(identity)
            removed.append(stored is not None)
            if stored is not None:
                evaluate.check_version(op.collection, stored, identity, version)
                session.put(op.collection, identity, None)
        # Afterwards: what forbids a removal may itself be removed by the same request.
        for identity in op.ids:
            session.require_unreferenced(op.collection.name, identity)
        return tuple(removed)

    async def patch_where(self, session: Session, op: PatchWhere) -> int:
        """Change the documents that satisfy a filter, or none."""
        ids = self._chosen(session, op.collection, op.where)
        await self.patch(session, op.as_patch(ids))
        return len(ids)

    async def delete_where(self, session: Session, op: DeleteWhere) -> int:
        """Remove the documents that satisfy a filter, or none."""
        ids = self._chosen(session, op.collection, op.where)
        await self.delete(session, Delete(op.collection, ids))
        return len(ids)

    def _chosen(self, session: Session, collection: Collection, where: Filter) -> tuple[UUID, ...]:
        """Return the ids of the documents that satisfy a filter, as they are before a write."""
        where = self._answered(session, collection, where)
        table = session.table(collection)
        few = table.referring(where, len(table.rows) or 1)
        rows = table.by_id(where) if few is None else few
        return tuple([cast(UUID, each["id"]) for each in filter(matcher(where), rows)])

    def _store(self, session: Session, collection: Collection, document: Document) -> None:
        stored = session.table(collection).collection
        if document.keys() != stored.by_name.keys():
            raise SchemaMismatchError(
                f"the collection {stored.name!r} has other fields than the document",
                hint="write with the entity from which it was made",
            )
        evaluate.check_document(stored, document)
        session.put(collection, cast(UUID, document["id"]), packed(stored, document))

    def _require_parents(
        self, session: Session, collection: Collection, document: Document
    ) -> None:
        for reference in collection.references:
            parent = document[reference.field]
            table = session.tables.get(reference.collection)
            if parent is not None and (table is None or parent not in table.rows):
                raise evaluate.missing_parent(collection, reference)


def _conflict() -> SerializationError:
    return SerializationError(
        "a concurrent unit wrote the same documents, or what they refer to, first",
        hint="repeat the whole unit",
    )


async def _aside(kept: Sequence[Document], work: Callable[[], R]) -> R:
    """Do work on what is kept of many documents beside the loop, so that others go on meanwhile.

    Nobody changes a document that is kept: it is replaced by another one. The work of a caller
    who is cancelled is finished, and forgotten.
    """
    return await asyncio.to_thread(work) if len(kept) > _MANY else work()

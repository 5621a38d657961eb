"""The SQL adapter: one for every SQL database; what differs is in the dialect and the driver."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar, cast
from uuid import UUID

from healthstore.abc.unit import Phase
from healthstore.adapters.sql.changes import (
    delete_where,
    looks_into_itself,
    patch_where,
    with_values,
)
from healthstore.adapters.sql.claims import lock_first
from healthstore.adapters.sql.compiled import Lock
from healthstore.adapters.sql.connected import ConnectedAdapter
from healthstore.adapters.sql.deletes import IDS, delete_rows, own_reference, referenced, unguarded
from healthstore.adapters.sql.errors import Verdict
from healthstore.adapters.sql.floats import UnevenError
from healthstore.adapters.sql.groups import exact
from healthstore.adapters.sql.plans import plan_of
from healthstore.adapters.sql.references import broken_reference
from healthstore.adapters.sql.replaces import replaced_guarded, require_as_expected
from healthstore.adapters.sql.session import SqlSession
from healthstore.adapters.sql.tables import table_of
from healthstore.errors import ForeignKeyError, HealthstoreError, SerializationError
from healthstore.model import evaluate
from healthstore.model.ops import (
    Aggregate,
    Claim,
    CountDocuments,
    Delete,
    DeleteWhere,
    Find,
    Get,
    Group,
    Insert,
    Leading,
    Op,
    Patch,
    Patches,
    PatchWhere,
    Replace,
)
from healthstore.model.plans import QueryPlan
from healthstore.model.schema import Collection
from healthstore.model.values import Document

__all__ = ("SqlAdapter", "SqlSession")

R = TypeVar("R")


class SqlAdapter(ConnectedAdapter):
    """Runs operations on a pool of connections; see :class:`ConnectedAdapter`."""

    # --- reading ---------------------------------------------------------------------------

    async def get(self, session: SqlSession, op: Get) -> tuple[Document | None, ...]:
        """Select by id, and lock if that is asked for."""
        read = self._locked if op.lock else self._by_id
        found = await read(session, op.collection, op.ids)
        return tuple(found.get(identity) for identity in op.ids)

    async def find(self, session: SqlSession, op: Find) -> tuple[Document, ...]:
        """Select a page."""
        whole = self.dialect.sorts_whole and evaluate.shows_order(op)
        found = await self._find(session, op, whole=whole)
        if whole and not evaluate.sorted_whole(op, found):
            return await self._find(session, op, whole=False)
        return found

    async def select(self, session: SqlSession, op: Find) -> tuple[Document, ...]:
        """Select columns, each row once if that is asked for."""
        if not op.distinct:
            return await self.find(session, op)
        found = await self._find(session, op, whole=self.dialect.sorts_whole)
        # Texts that begin alike have no id that would decide.
        return found if evaluate.sorted_whole(op, found) else await super().select(session, op)

    async def _find(self, session: SqlSession, op: Find, *, whole: bool) -> tuple[Document, ...]:
        statements = self.statements(op.collection)
        compiled, parameters = statements.find(op, whole=whole)
        rows = await session.connection.fetch(compiled.sql, parameters)
        return statements.documents(rows, op.columns)

    async def leading(self, session: SqlSession, op: Leading) -> tuple[Document, ...]:
        """Select the first rows of each group."""
        statements = self.statements(op.collection)
        compiled, parameters = statements.leading(op)
        found = statements.documents(await session.connection.fetch(compiled.sql, parameters))
        if not self.dialect.sorts_whole and evaluate.begin_alike(op, found):
            return await super().leading(session, op)  # a window tells groups apart by sorting
        return found

    async def explain_find(self, session: SqlSession, op: Find) -> QueryPlan:
        """Ask for the plan of a page's statement, with its values: without them it is another."""
        whole = self.dialect.sorts_whole
        compiled, parameters = self.statements(op.collection).find(op, whole=whole)
        planner, connection = self.dialect.planner, session.connection
        return await plan_of(planner, connection, op.collection, compiled.sql, parameters)

    async def refresh_statistics(self, session: SqlSession, collection: Collection) -> bool:
        """Renew the statistics of the table."""
        table = self.dialect.ddl_compiler.identifier_preparer.format_table(
            table_of(collection, self.dialect)
        )
        await session.connection.fetch(self.dialect.planner.refresh.format(table), ())
        return True

    async def count(self, session: SqlSession, op: CountDocuments) -> int:
        """Count rows."""
        compiled, parameters = self.statements(op.collection).count(op.where)
        rows = await session.connection.fetch(compiled.sql, parameters)
        return int(rows[0][0])

    async def aggregate(self, session: SqlSession, op: Aggregate) -> tuple[Group, ...]:
        """Group and measure in the database, where it is exact; in memory otherwise."""
        if not exact(op, self.dialect):
            return await super().aggregate(session, op)
        statements = self.statements(op.collection)
        compiled, parameters = statements.aggregate(op)
        rows = await session.connection.fetch(compiled.sql, parameters)
        try:
            groups = statements.groups(op, rows)
        except UnevenError:
            return await super().aggregate(session, op)
        if evaluate.begins_alike(op, groups):
            return await super().aggregate(session, op)
        return groups

    async def _by_id(
        self,
        session: SqlSession,
        collection: Collection,
        ids: Sequence[UUID],
        lock: Lock = Lock.NONE,
    ) -> dict[UUID, Document]:
        statements = self.statements(collection)
        found: dict[UUID, Document] = {}
        for start in range(0, len(ids), IDS):
            chunk = ids[start : start + IDS]
            compiled, values = statements.get(chunk, lock)
            rows = await session.connection.fetch(compiled.sql, values)
            for document in statements.documents(rows):
                found[cast(UUID, document["id"])] = document
        return found

    # --- writing ---------------------------------------------------------------------------

    async def run(self, session: SqlSession, op: Op[R]) -> R:
        """Run one operation; of a reference to nothing say which, if the database does not."""
        try:
            return await super().run(session, op)
        except Exception as error:
            if self.dialect.names_references or not isinstance(
                op, Insert | Replace | Patch | PatchWhere
            ):
                raise
            collection = op.collection
            known = (
                error
                if isinstance(error, HealthstoreError)
                else self.ours(error, Phase.STEP, collection)
            )
            if not isinstance(known, ForeignKeyError) or known.field is not None:
                raise
            written = op.documents if isinstance(op, Insert | Replace) else (dict(op.sets),)
            reference = await broken_reference(partial(self._by_id, session), collection, written)
            if reference is None:  # its parent has come meanwhile
                raise
            raise evaluate.missing_parent(collection, reference) from None

    async def insert(self, session: SqlSession, op: Insert) -> int:
        """Insert rows, in one transaction."""
        statements = self.statements(op.collection)
        if len(op.documents) == 1:
            (row,) = statements.rows(op.documents)
            await session.connection.fetch(statements.bulk.single, row)
        elif op.documents:
            size, count = self.dialect.bulk_rows, len(op.documents)
            async with self._atomic(session, op.collection) as ends:
                for start in range(0, count, size):
                    part = op.documents[start : start + size]
                    rows = statements.rows_in_turn(part)
                    await session.connection.insert_rows(
                        statements.bulk, rows, len(part), last=ends and start + size >= count
                    )
        return len(op.documents)

    async def replace(self, session: SqlSession, op: Replace) -> tuple[bool, ...]:
        """Update whole rows: guarded by their versions, else under their locks."""
        ids = [cast(UUID, each["id"]) for each in op.documents]
        statements = self.statements(op.collection)
        names = [name for name in op.collection.stored.names if name != "id"]
        if (len(ids) > 1 or op.same) and op.versions is not None:
            async with self._atomic(session, op.collection):
                return await replaced_guarded(
                    session, statements, op, partial(self._by_id, session)
                )
        if len(ids) == 1 and (self.dialect.detects_conflicts or not session.in_unit):
            compiled = statements.update(names, versioned=op.versions is not None)
            (document,) = op.documents
            values = statements.values((*names, "id"), document)
            values.extend(op.versions or ())
            matched = await session.connection.execute(compiled.sql, compiled.bind(values))
            if matched or op.versions is None:
                return (matched == 1,)
        async with self._atomic(session, op.collection) as ends:
            there = await self._locked(session, op.collection, ids)
            require_as_expected(op, ids, there)
            known = [each for each in op.documents if each["id"] in there]
            if known:
                update = statements.bulk_update(names)
                rows = statements.changes(update, known)
                await session.connection.update_rows(update, rows, last=ends)
        return tuple(identity in there for identity in ids)

    async def patch(self, session: SqlSession, op: Patch) -> tuple[Document | None, ...]:
        """Change one row by a guarded UPDATE that returns it; others are read and locked first."""
        native = (
            len(op.ids) == 1 and not (session.in_unit and self.dialect.read_back) and self._adds(op)
        )
        if native and (changed := await self._patch_one(session, op)) is not None:
            return (changed,)
        async with self._atomic(session, op.collection) as ends:
            stored = await self._locked(session, op.collection, op.ids)
            expected = op.versions or (None,) * len(op.ids)
            after: list[Document | None] = []
            for identity, version in zip(op.ids, expected, strict=True):
                document = stored.get(identity)
                if document is None:
                    after.append(None)
                    continue
                evaluate.check_version(op.collection, document, identity, version)
                after.append(evaluate.patched(op, document))
            there = [each for each in after if each is not None]
            await self._write_changed(session, op, there, last=ends)
        return tuple(after)

    def _adds(self, op: Patch) -> bool:
        """Tell whether the database computes all increments exactly."""
        return all(self.dialect.adds(op.collection.field(name).type) for name, _ in op.increments)

    async def patches(self, session: SqlSession, op: Patches) -> tuple[tuple[Document] | None, ...]:
        """Read and lock what nobody else holds, and write what changes of it."""
        ids = sorted({each.ids[0] for each in op.patches})
        lock = Lock.ALL if session.in_unit else Lock.FREE
        async with self._atomic(session, op.collection) as ends:
            there = await self._locked(session, op.collection, ids, lock)
            results = evaluate.patched_each(op, there)
            changed = tuple(evaluate.changed_by_id(results).values())
            await self._write_changed(session, op.patches[0], changed, last=ends)
        return results

    async def claim(self, session: SqlSession, op: Claim) -> tuple[Document, ...]:
        """Change the first rows by an UPDATE that returns them, or read, lock and change them."""
        statements, first = self.statements(op.collection), self.dialect.first
        if first is not None:
            compiled, values = statements.claim(op, first)
            rows = await session.connection.fetch(compiled.sql, values)
            return tuple(evaluate.sort_documents(statements.documents(rows), op.order))
        lock = partial(self._by_id, session, op.collection, lock=Lock.FREE)
        async with self._atomic(session, op.collection) as ends:
            free = await lock_first(op, partial(self.find, session), lock, in_unit=session.in_unit)
            taken = tuple([evaluate.patched(op.change, each) for each in free])
            await self._write_changed(session, op.change, taken, last=ends)
        return taken

    async def _patch_one(self, session: SqlSession, op: Patch) -> Document | None:
        """Return the changed document; None if a guard did not hold or it is not there."""
        statements = self.statements(op.collection)
        compiled = statements.patch(op)
        values = compiled.bind(statements.patch_values(op))
        with self._in_range(op):
            rows = await session.connection.fetch(compiled.sql, values)
        return statements.documents(rows)[0] if rows else None

    @contextmanager
    def _in_range(self, op: Patch) -> Generator[None]:
        """Say of a value that is out of range that it is a sum: what is set was checked."""
        try:
            yield
        except Exception as error:
            failure = self.dialect.classify(error, Phase.WRITE, op.collection)
            if failure.verdict is not Verdict.RANGE:
                raise
            names = [name for name, _ in op.increments if name != "version"]
            field = names[0] if len(names) == 1 else None
            raise evaluate.out_of_range(op.collection, field, "an increment") from None

    async def patch_where(self, session: SqlSession, op: PatchWhere) -> int:
        """Change by one statement, or by ids where the database would see or compute another."""
        if not (self._sees_the_same(session, op) and self._adds(op.as_patch())):
            async with self._atomic(session, op.collection):
                return await super().patch_where(session, op)
        nulls, valued = with_values(op)
        compiled, values = patch_where(self.statements(op.collection), valued)
        if nulls is None:
            with self._in_range(op.as_patch()):
                return await session.connection.execute(compiled.sql, values)
        async with self._atomic(session, op.collection):
            with self._in_range(op.as_patch()):
                changed = await session.connection.execute(compiled.sql, values)
            for each in await self.find(session, Find(op.collection, nulls, limit=1)):
                evaluate.patched(op.as_patch(), each)
        return changed

    async def delete_where(self, session: SqlSession, op: DeleteWhere) -> int:
        """Delete by one statement, or by ids where rows must go in an order."""
        own = own_reference(op.collection) and not self.dialect.checks_statements
        if own or not self._sees_the_same(session, op):
            async with self._atomic(session, op.collection):
                return await super().delete_where(session, op)
        compiled, values = delete_where(self.statements(op.collection), op)
        with referenced(self.dialect, op.collection):
            return await session.connection.execute(compiled.sql, values)

    def _sees_the_same(self, session: SqlSession, op: PatchWhere | DeleteWhere) -> bool:
        """Tell whether a write finds what a read in the session finds, at one moment."""
        snapshot = session.in_unit and not self.dialect.detects_conflicts
        return not (snapshot or looks_into_itself(op.collection, op.where))

    async def _write_changed(
        self, session: SqlSession, op: Patch, documents: Sequence[Document], *, last: bool
    ) -> None:
        """Write the fields that a patch changes, of documents that are there."""
        if documents:
            statements = self.statements(op.collection)
            update = statements.bulk_update(name for name, _ in op.changes)
            rows = statements.changes(update, documents)
            await session.connection.update_rows(update, rows, last=last)

    async def delete(self, session: SqlSession, op: Delete) -> tuple[bool, ...]:
        """Delete rows; foreign keys refuse what would leave a reference to nothing."""
        statements, dialect = self.statements(op.collection), self.dialect
        single = len(op.ids) == 1 and op.versions is None and not session.in_unit
        if single and not unguarded(op.collection, dialect):
            compiled, values = statements.delete(op.ids)
            with referenced(dialect, op.collection):
                return (await session.connection.execute(compiled.sql, values) > 0,)
        async with self._atomic(session, op.collection) as ends:
            there = await self._locked(session, op.collection, op.ids)
            require_as_expected(op, op.ids, there)
            with referenced(dialect, op.collection):
                await delete_rows(session.connection, statements, dialect, there, last=ends)
        return tuple(identity in there for identity in op.ids)

    async def _locked(
        self,
        session: SqlSession,
        collection: Collection,
        ids: Sequence[UUID],
        lock: Lock = Lock.ALL,
    ) -> dict[UUID, Document]:
        """Return the documents that are there, locked until the end of the transaction.

        Raises SerializationError if one of them changed since the unit's snapshot: a locking
        read sees what is committed now, and not every database minds.
        """
        locked = await self._by_id(session, collection, ids, lock)
        if session.in_unit and not self.dialect.detects_conflicts:
            seen = await self._by_id(session, collection, ids)
            if seen != locked:
                raise SerializationError(
                    "a concurrent unit changed the same documents first",
                    hint="repeat the whole unit",
                )
        return locked

"""A session: what one operation or one unit sees of the store, and what it writes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

from healthstore.abc.unit import read_only_unit
from healthstore.adapters.memory.table import Table, packed
from healthstore.errors import (
    ConfigurationError,
    NotNullError,
    SchemaChangeError,
    SchemaMismatchError,
    SerializationError,
)
from healthstore.model import evaluate
from healthstore.model.catalog import references_led
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Document, Value, canonicaliser

__all__ = ("Session", "Single")


def _converted(value: Value, was: Field, now: Field) -> Value:
    """Return a value as it is kept from now on; raise NotNullError for a null that is forbidden."""
    if value is None:
        if not now.nullable:
            raise NotNullError("must have a value and has none", field=now.name)
        return None
    if was.type == now.type:
        return value
    try:
        return canonicaliser(now.type)(value)
    except (TypeError, ValueError):
        raise SchemaChangeError(
            "a stored value stands against the field's new type",
            hint="count such documents: db.schema.plan(), healthstore schema diff",
            field=now.name,
        ) from None


class Session:
    """A view of the store: the tables of one moment, and what was written since.

    A table is copied when it is first written; documents never change in place, so a copy is
    shallow and a snapshot is cheap. With ``in_place``, when nobody else holds a snapshot,
    tables are changed directly, and :meth:`undo` takes it back.
    """

    __slots__ = (
        "before",
        "in_place",
        "journal",
        "locks",
        "read_only",
        "serializable",
        "tables",
        "written",
    )

    def __init__(
        self,
        tables: Mapping[str, Table],
        locks: dict[tuple[str, UUID], Session],
        *,
        in_place: bool = False,
        read_only: bool = False,
        serializable: bool = False,
    ) -> None:
        self.before = tables
        self.tables = dict(tables)
        self.written: dict[tuple[str, UUID], Document | None] = {}
        # What was there before each write, while a part is open.
        self.journal: list[tuple[tuple[str, UUID], Document | None, bool]] | None = None
        self.locks = locks
        self.in_place = in_place
        self.read_only = read_only
        self.serializable = serializable

    def table(self, collection: Collection) -> Table:
        """Return the table to read from."""
        found = self.tables.get(collection.name)
        if found is None:
            raise ConfigurationError(
                f"there is no collection {collection.name!r}",
                hint="call initialize() with its entity first",
                entity=collection.entity,
            )
        if found.collection is not collection and found.collection != collection:
            raise SchemaMismatchError(
                f"the collection {collection.name!r} has another form",
                hint="compare again: db.schema.plan(), healthstore schema diff",
                entity=collection.entity,
            )
        return found

    def put(self, collection: Collection, identity: UUID, document: Document | None) -> None:
        """Write one document, or remove it."""
        if self.read_only:
            raise read_only_unit()
        table = self.table(collection)
        self.require_free(collection.name, identity)
        if not self.in_place and table is self.before.get(collection.name):
            table = self.tables[collection.name] = table.copy()
        old = table.rows.get(identity)
        table.put(identity, document)
        key = (collection.name, identity)
        if self.journal is not None:
            self.journal.append((key, old, key not in self.written))
        self.written.setdefault(key, old)

    def is_free(self, name: str, identity: UUID) -> bool:
        """Tell whether no other unit has locked a document."""
        return not self.locks or self.locks.get((name, identity), self) is self

    def require_free(self, name: str, identity: UUID) -> None:
        """Raise SerializationError if another unit has locked a document."""
        if not self.is_free(name, identity):
            raise SerializationError(
                "another unit has locked the same documents", hint="repeat the whole unit"
            )

    def lock(self, collection: Collection, identity: UUID, now: Table | None) -> None:
        """Lock a document, which ``now`` others see as the unit does; one that is not there stays free."""
        seen = self.before[collection.name].rows.get(identity)
        if now is None or now.rows.get(identity) is not seen:
            raise SerializationError(
                "a concurrent unit changed the same documents first", hint="repeat the whole unit"
            )
        self.require_free(collection.name, identity)
        if identity in self.table(collection).rows:
            self.locks[collection.name, identity] = self

    def unlock(self) -> None:
        """Let go of all that the unit has locked."""
        for key in [key for key, holder in self.locks.items() if holder is self]:
            del self.locks[key]

    def alter(self, after: Collection) -> None:
        """Give a collection another definition; documents get what is new in it."""
        table = self.tables[after.name]
        altered, before = Table(after), table.collection
        for identity in table.rows:
            row = table.get(identity)
            assert row is not None
            document = {each.name: each.default for each in after.fields}
            for each in after.fields:
                if (was := before.by_name.get(each.name)) is not None:
                    document[each.name] = _converted(row[each.name], was, each)
            evaluate.check_document(after, document)
            altered.put(identity, packed(after, document))
        self.tables[after.name] = altered

    def rename(self, before: Collection, after: Collection) -> None:
        """Give a collection, or fields of it, other names, and lead to it those that refer to it."""
        table = self.tables.pop(before.name, None) or self.tables[after.name]
        names = dict(zip(before.names, after.names, strict=True))
        moved = Table(after)
        for identity, row in table.rows.items():
            moved.put(identity, {names[name]: value for name, value in row.items()})
        for name, each in list(self.tables.items()):
            led = references_led(each.collection, before.name, after.name)
            if led is not None:
                self.tables[name] = each.copy()
                self.tables[name].collection = led
        self.tables[after.name] = moved

    @asynccontextmanager
    async def part(self) -> AsyncGenerator[None, None]:
        """Run a block as a part of the unit: if it fails, its writes are undone, the last first."""
        outermost = self.journal is None
        journal = self.journal = [] if self.journal is None else self.journal
        start = len(journal)
        try:
            yield
        except Exception:
            while len(journal) > start:
                (name, identity), old, first = journal.pop()
                self.tables[name].put(identity, old)
                if first:
                    del self.written[name, identity]
            raise
        finally:
            if outermost:
                self.journal = None

    def undo(self) -> None:
        """Restore every document as it was before."""
        for name, identity in self.written:  # free the keys that were taken since
            self.tables[name].put(identity, None)
        for (name, identity), old in self.written.items():
            self.tables[name].put(identity, old)

    def require_unreferenced(self, name: str, identity: UUID) -> None:
        """Raise ForeignKeyError if a document refers to one that is not there."""
        for table in self.tables.values():
            for reference in table.collection.references:
                if reference.collection == name and identity in table.children[reference.field]:
                    raise evaluate.still_referenced(self.tables[name].collection)


class Single:
    """A session for one operation: ``kept`` takes what was written, unless it failed."""

    __slots__ = ("_kept", "_session")

    def __init__(self, session: Session, kept: Callable[[Session], None]) -> None:
        self._session = session
        self._kept = kept

    async def __aenter__(self) -> Session:
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if kind is None:
            self._kept(self._session)
        elif self._session.in_place:
            self._session.undo()

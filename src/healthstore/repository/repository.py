"""The repository: an entity's documents, by typed verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, TypeVar, cast, overload
from uuid import UUID
from warnings import warn

from healthstore.abc.backend import Executor
from healthstore.abc.collector import collector_spaced
from healthstore.entity import (
    LEASED_UNTIL,
    Entity,
    as_stored,
    to_document,
    to_documents,
    utc_now,
)
from healthstore.errors import HealthstoreError, InvalidRequestError, Outcome
from healthstore.model.arguments import listed
from healthstore.model.ops import (
    Delete,
    Insert,
)
from healthstore.model.query import ALL, Condition, FieldPart, Filter, SortKey, parse_order
from healthstore.model.values import Document, Value
from healthstore.repository.adding import AddedMany, Adding, no_items
from healthstore.repository.bulk import Bulk
from healthstore.repository.changes import Change, Changes, parsed_changes
from healthstore.repository.queue import BY_AGE, Queue, require_claimable
from healthstore.repository.reading import Reading
from healthstore.repository.requests import REMEMBERED, Requests
from healthstore.repository.upserts_of_many import Existing, UpsertCounts, UpsertsOfMany
from healthstore.repository.writes import LIBRARY_FIELDS

__all__ = ("Repository",)

M = TypeVar("M", bound=Entity)

_ATTEMPTS = 50
_MODES = ("atomic", "best_effort")


class Repository(Reading[M]):
    """The documents of one entity on one backend, or inside one unit of work.

    Names of fields are checked against the entity, and values against its types, before any
    I/O. ``clock`` gives ``updated_at``, ``cursor_key`` signs positions, and requests with a key
    are ``remembered`` for so long. Queries of
    repositories of one ``source``, by default the executor, may stand in each other's filters.
    """

    def __init__(  # noqa: PLR0913 - each has a name where it is made
        self,
        entity: type[M],
        executor: Executor,
        *,
        attempts: int = _ATTEMPTS,
        clock: Callable[[], datetime] = utc_now,
        cursor_key: bytes | None = None,
        source: object = None,
        remembered: timedelta = REMEMBERED,
    ) -> None:
        super().__init__(entity, executor, cursor_key=cursor_key, source=source)
        self._writes = UpsertsOfMany(entity, executor, self.collection, attempts, clock)
        self._queue = Queue(entity, executor, self.collection, clock)
        self._requests = Requests(entity, executor, self.collection, attempts, clock, remembered)
        self._adding = Adding(entity, executor, self.collection)

    async def add(self, entity: M, *, idempotency_key: str | None = None) -> M:
        """Store a new entity and return it as it is stored.

        That is the object itself, or another one where reading gives equal values in another
        form: an instant in UTC, a decimal with the field's places, what is kept as JSON.
        Raises DuplicateKeyError, ForeignKeyError, CheckError or RefusedValueError; nothing is
        stored then.

        With ``idempotency_key``, a text that the caller makes once for a request, one that is
        repeated within the setting ``idempotency_hours`` stores nothing, and returns the entity
        as the first one stored it. Another content under a key that was used, ids, times and
        versions apart, is IntegrityError. A backend without transactions refuses that.
        """
        if idempotency_key is not None:
            self._require(entity)
            return await self._requests.add(entity, idempotency_key)
        document = self._document_of(entity)
        await self._executor.execute(Insert(self.collection, (document,), canonical=True))
        return as_stored(entity, document)

    @overload
    async def add_many(
        self, entities: Iterable[M], *, mode: Literal["atomic"] = "atomic", atomic: bool = True
    ) -> int: ...

    @overload
    async def add_many(
        self, entities: Iterable[M], *, mode: Literal["best_effort"], atomic: bool = True
    ) -> AddedMany: ...

    @overload
    async def add_many(
        self,
        entities: Iterable[M],
        *,
        mode: Literal["atomic", "best_effort"] = "atomic",
        atomic: bool = True,
    ) -> int | AddedMany: ...

    async def add_many(
        self,
        entities: Iterable[M],
        *,
        mode: Literal["atomic", "best_effort"] = "atomic",
        atomic: bool = True,
    ) -> int | AddedMany:
        """Store new entities, all or none, and return how many.

        A backend without transactions refuses that. The error's ``index`` tells which one is
        refused: always where its values are, and where the stored data refuses it, as far as what
        is stored still tells it afterwards.

        With ``mode="best_effort"`` each is stored that can be, on every backend: the answer says
        how many are ``stored``, and has the ``errors`` of the others, by their positions. An id
        that comes twice is refused before any I/O, and so is a call in a transaction, which an
        error would end. ``atomic=False`` is its deprecated form: the first error is raised when
        all others are stored, and its outcome is unknown.
        """
        given = listed(entities, "what is to be added", "add_many([first, second])")
        for index, each in enumerate(given):
            self._require(each, index)
        if mode not in _MODES:
            raise InvalidRequestError(
                'mode is neither "atomic" nor "best_effort"',
                hint="say whether others are stored if one is refused",
                entity=self.collection.entity,
            )
        if mode == "best_effort":
            return await self._add_each(given)
        if not atomic and not self._writes.in_unit:
            return await self._add_others(given)
        return await self._add_all(given)

    async def _add_others(self, given: Sequence[M]) -> int:
        """Store each entity that can be; raise the first error afterwards."""
        warn(
            "add_many(atomic=False) is deprecated: add_many(mode='best_effort') tells each error",
            DeprecationWarning,
            stacklevel=3,
        )
        added = await self._add_each(given)
        for first in added.errors[:1]:
            first.error.outcome = Outcome.UNKNOWN
            raise first.error
        return added.stored

    async def _add_each(self, given: Sequence[M]) -> AddedMany:
        if self._writes.in_unit:
            raise no_items(self.collection).at(backend=self._executor.name)
        async with collector_spaced():
            return await self._adding.best_effort(given)

    async def _add_all(self, given: Sequence[M]) -> int:
        if not given:
            return 0
        async with collector_spaced():
            try:
                documents = tuple(to_documents(given))
            except HealthstoreError as error:
                raise error.at(backend=self._executor.name) from None
            op = Insert(self.collection, documents, canonical=True)
            del documents
            try:
                return await self._executor.execute(op)
            finally:
                del op  # before the collector looks at all that it holds

    @overload
    async def update(
        self, identity: UUID, changes: Mapping[str, object], *, version: int | None = None
    ) -> M: ...

    @overload
    async def update(
        self,
        identity: UUID,
        changes: Mapping[str | FieldPart, object],
        *,
        version: int | None = None,
    ) -> M: ...

    async def update(self, identity: UUID, changes: Changes, *, version: int | None = None) -> M:
        """Change some fields and return the entity as it is afterwards.

        A field gets a value, or an operator says what becomes of what is there, ``{"likes":
        Add(1), "tags": Include("x"), "seen_at": Now()}``: whatever others write at once, nothing
        is lost. Numbers and instants are changed by one statement; what is inside JSON is read,
        changed and written under the version that was read.

        A part of JSON is set by its path, ``{F.profile["address"]["city"]: "Bonn"}``: the rest
        stays as it is, and objects on the way that are not there are made. Raises IntegrityError
        for a path that leads through what is no object, or to a place that a list does not have,
        and for an operator that does not find the list or object that it is for.

        With ``version``, StaleVersionError is raised unless the stored version is that one.
        Raises NotFoundError if there is no entity with this id, and RefusedValueError, before
        anything is written, if the entity's validators refuse the result.
        """
        return await self._writes.patch(identity, self._changed(changes), version)

    @overload
    async def update_where(
        self,
        where: Condition | None,
        changes: Mapping[str, object],
        *,
        batch: int | None = None,
        everything: bool = False,
    ) -> int: ...

    @overload
    async def update_where(
        self,
        where: Condition | None,
        changes: Mapping[str | FieldPart, object],
        *,
        batch: int | None = None,
        everything: bool = False,
    ) -> int: ...

    async def update_where(
        self,
        where: Condition | None,
        changes: Changes,
        *,
        batch: int | None = None,
        everything: bool = False,
    ) -> int:
        """Set some fields of all entities that satisfy a filter; return how many were found.

        The filter is of entities as they are before. Their versions and ``updated_at`` rise, also
        where nothing else differs. A filter that holds for everything, or None, is refused unless
        ``everything`` says that it is meant. Changes are as in :meth:`update`.

        All are changed or none, in one unit; a backend without transactions refuses that. With
        ``batch``, from 1 to 10,000, so many at a time are, by id, and each batch is a unit; or
        each entity, on a backend without transactions. What was changed before an error stays
        changed then, and whoever writes at the same time waits for one batch at most.

        Where validators, computed fields or the path of a part need the rest of an entity,
        entities are read, computed and written under the versions that were read, up to 100,000
        in one unit.
        """
        return await self._bulk.update_where(
            self._chosen(where), self._changed(changes), batch, everything=everything
        )

    async def update_many(self, changes: Mapping[UUID, Changes]) -> int:
        """Change entities, each in its own way, all or none; return how many.

        The changes of each id are as in :meth:`update`. Raises NotFoundError for the first id
        that is not there. It takes a read and a write, however many there are.
        """
        if not isinstance(cast(object, changes), Mapping):
            raise InvalidRequestError(
                "the changes are no mapping of ids",
                hint='write {first.id: {"name": "Ann"}, second.id: {"name": "Bob"}}',
                entity=self.collection.entity,
            )
        planned = {identity: self._changed(each) for identity, each in changes.items()}
        return await self._bulk.update_many(planned)

    async def increment(
        self, identity: UUID, field: str, by: Value = 1, *, version: int | None = None
    ) -> M:
        """Add to a number, atomically, and return the entity as it is afterwards.

        Raises NotNullError if the field has no value, OutOfRangeError if the sum does not fit.
        """
        self._require_free((field,))
        return await self._writes.patch(identity, Change(increments={field: by}), version)

    async def save(self, entity: M) -> M:
        """Store the whole entity in place of the one that it was read as; return it as it is then.

        The stored one must have the entity's version, which rises. Raises NotFoundError if there
        is none with its id, and StaleVersionError if somebody else has changed it, or it is
        another one that was added with this id; where all that a program says is stored as the
        entity has it, that one is returned instead, and nothing is written.
        """
        self._require(entity)
        return await self._writes.save(entity)

    async def upsert(
        self, entity: M, on: str | Sequence[str] = "id", *, add: Sequence[str] = ()
    ) -> M:
        """Add the entity, or give its values to the one that has the same key.

        ``on`` is ``"id"`` or names the fields of a unique key. The numbers of the fields in
        ``add`` are added to the stored ones: ``add=["total_scans"]`` counts. Raises NotNullError
        where the stored one is None, OutOfRangeError if a sum does not fit.

        The stored entity keeps its id and ``created_at``, and its version rises. Only a clash of
        that key is an update; any other raises DuplicateKeyError. An object whose own id is stored with a higher version is
        stale: StaleVersionError, unless what it says is what is stored. Raises ConflictError when
        rivals are faster many times; in a unit SerializationError when one is.
        """
        self._require(entity)
        addends = listed(add, "add", 'add=["scans"]')
        return await self._writes.upsert(entity, _key(on), addends)

    async def upsert_many(
        self,
        entities: Iterable[M],
        on: str | Sequence[str] = "id",
        *,
        existing: Existing = "update",
    ) -> UpsertCounts:
        """Upsert each of these entities, all or none; return how many were added and updated.

        What is stored with such a key is updated as :meth:`upsert` does, or kept with
        ``existing="keep"``. What is kept, or equal, is not written: it is ``unchanged``. A key
        that comes twice is refused with both places, before anything is read. An error's
        ``index`` tells which one is refused: inside a transaction as far as the entities
        themselves tell it.
        """
        given = listed(entities, "what is to be upserted", "upsert_many([first, second])")
        for index, each in enumerate(given):
            self._require(each, index)
        return await self._writes.upsert_many(given, _key(on), existing)

    async def get_or_add(self, entity: M, on: str | Sequence[str] = "id") -> tuple[M, bool]:
        """Return the entity that has the same key and False; or add this one: that, and True.

        ``on`` as in :meth:`upsert`. Of many that come at once exactly one is added, and each is
        given that one. What is there is returned as it is, whatever the given one says.
        """
        self._require(entity)
        return await self._writes.get_or_add(entity, _key(on))

    async def delete(self, identity: UUID, *, version: int | None = None) -> bool:
        """Delete the entity with this id; return whether it was there.

        Raises ForeignKeyError if another document refers to it and forbids that, and
        StaleVersionError as :meth:`update`.
        """
        versions = None if version is None else (version,)
        op = Delete(self.collection, (identity,), versions)
        return (await self._executor.execute(op))[0]

    async def claim(
        self,
        *filters: Condition,
        n: int = 1,
        lease: timedelta,
        order: Iterable[SortKey] = (),
    ) -> list[M]:
        """Lease at most ``n`` free entities that satisfy all filters, each to one caller.

        The class says ``claimable=True``. They come in ``order``, or the oldest first; where others
        claim at the same time there may be fewer. Nobody else gets one before the lease is over, or
        it is released: so a lost worker's come back. A claim raises the version: end a job by
        ``update(job.id, …, version=job.version)`` or ``delete``, which raise StaleVersionError for
        who has lost the lease.
        """
        require_claimable(self._entity, self.collection)
        orders = parse_order(order or BY_AGE)
        return await self._queue.claim(self._where(filters), n, lease, orders)

    async def extend(self, entity: M, *, lease: timedelta) -> M:
        """Lease a claimed entity from now on for so long; return it with the same version.

        Raises StaleVersionError if somebody else has changed or claimed it, NotFoundError if it is
        gone.
        """
        self._require(entity)
        require_claimable(self._entity, self.collection)
        return await self._queue.extend(entity, lease)

    async def release(self, entity: M) -> M:
        """Give a claimed entity back, so that it may be claimed at once; return it as it is then.

        Raises as :meth:`extend`.
        """
        self._require(entity)
        require_claimable(self._entity, self.collection)
        return await self._queue.release(entity)

    async def delete_where(
        self, where: Condition | None, *, batch: int | None = None, everything: bool = False
    ) -> int:
        """Delete all entities that satisfy a filter; return how many were found.

        What refers to them is treated as by :meth:`delete`, and is not counted. ``batch`` and
        ``everything`` as in :meth:`update_where`.
        """
        return await self._bulk.delete_where(self._chosen(where), batch, everything=everything)

    async def delete_many(self, ids: Iterable[UUID]) -> int:
        """Delete the entities with these ids, all or none; return how many were there.

        What refers to them is treated as by :meth:`delete`. At most 100,000, none of them twice.
        """
        return await self._bulk.delete_many(listed(ids, "ids", "delete_many([first, second])"))

    @property
    def _bulk(self) -> Bulk[M]:
        return Bulk(self._writes)

    def _chosen(self, where: Condition | None) -> Filter:
        """Return the filter of a write; None is one that holds for everything."""
        return ALL if where is None else self._where((where,))

    def _changed(self, changes: Changes) -> Change:
        """Return changes taken apart, with their values validated as far as each says it."""
        if not isinstance(cast(object, changes), Mapping):
            raise InvalidRequestError(
                "the changes are no mapping",
                hint='write {"name": "Ann"}',
                entity=self.collection.entity,
            )
        self._require_free(each for each in changes if isinstance(each, str))
        if not changes:
            raise InvalidRequestError("an update changes nothing", entity=self.collection.entity)
        return parsed_changes(self._entity, changes)

    def _document_of(self, entity: M) -> Document:
        self._require(entity)
        try:
            return to_document(entity)
        except HealthstoreError as error:
            raise error.at(backend=self._executor.name) from None

    def _require(self, entity: object, index: int | None = None) -> None:
        if type(entity) is not self._entity:
            raise InvalidRequestError(
                f"expects a {self._entity.__name__}, not {type(entity).__name__}",
                entity=self.collection.entity,
            ).at(index=index)

    def _require_free(self, names: Iterable[str]) -> None:
        own = LIBRARY_FIELDS | ({LEASED_UNTIL} if self._entity.__claimable__ else frozenset())
        for name in names:
            if self.collection.field(name).name in own:
                raise InvalidRequestError(
                    "is kept by the library and cannot be changed",
                    hint="leave it out: each write sees to it",
                    entity=self.collection.entity,
                    field=name,
                )


def _key(on: str | Sequence[str]) -> tuple[str, ...]:
    return (on,) if isinstance(on, str) else listed(on, "on", 'on="email" or on=["a", "b"]')

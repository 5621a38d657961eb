"""Many objects, each added or given to what has its key: one look, one write, all or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar, cast
from uuid import UUID

from healthstore.abc.backend import Backend, Executor, UnitOptions
from healthstore.abc.collector import collector_spaced
from healthstore.entity import Entity, to_documents
from healthstore.errors import (
    CapabilityError,
    DuplicateKeyError,
    HealthstoreError,
    IntegrityError,
    InvalidRequestError,
    SerializationError,
    StaleVersionError,
)
from healthstore.layers.guard import refused_index
from healthstore.model.evaluate import Key, key_test, keyed
from healthstore.model.ops import Find, Get, Insert, Op, Replace
from healthstore.model.query import And, Filter, Operator, Or, Test
from healthstore.model.schema import Collection
from healthstore.model.values import Document
from healthstore.repository.upserts import Upserts, differs, is_stale

__all__ = ("Existing", "UpsertCounts", "UpsertsOfMany", "require_once")

M = TypeVar("M", bound=Entity)
T = TypeVar("T")

Existing: TypeAlias = Literal["update", "keep"]
"""What becomes of what has the key of one that is given: it is updated, or kept as it is."""

_CHOICES = ("update", "keep")
_TOGETHER = 1_000  # keys of one field that are looked for at once
_TOGETHER_OF_SEVERAL = 100
_FEW = 3  # attempts where a clash of the key may be one with another case


@dataclass(frozen=True, slots=True)
class UpsertCounts:
    """How many objects were added, how many updated what was there, and how many changed nothing.

    What was kept, and what is stored as it was given, is ``unchanged``.
    """

    created: int
    updated: int
    unchanged: int


@dataclass(slots=True)
class _Plan:
    """What is to be written for objects, by their places: documents and the versions they replace."""

    added: dict[int, Document] = field(default_factory=dict[int, Document])
    replaced: dict[int, Document] = field(default_factory=dict[int, Document])
    versions: dict[int, int] = field(default_factory=dict[int, int])

    def sorted_by(self, key: tuple[str, ...]) -> _Plan:
        """Return the plan in order of the key: rivals that lock in one order wait, and go on."""
        places = {
            each: _key_of(document, key)
            for each, document in (*self.added.items(), *self.replaced.items())
        }

        def in_order(some: dict[int, T]) -> dict[int, T]:
            return {each: some[each] for each in sorted(some, key=places.__getitem__)}

        return _Plan(in_order(self.added), in_order(self.replaced), in_order(self.versions))


class UpsertsOfMany(Upserts[M]):
    """What a repository writes of many objects after it has looked what is there."""

    __slots__ = ()

    async def upsert_many(
        self, entities: Sequence[M], key: tuple[str, ...], existing: Existing
    ) -> UpsertCounts:
        """Add each entity, or give its values to the one that has the same key; all or none."""
        self.require_unique(key)
        if existing not in _CHOICES:
            raise InvalidRequestError(
                'existing is neither "update" nor "keep"',
                hint="say what becomes of what is there",
                entity=self.collection.entity,
            )
        if len(entities) > 1 and not self.executor.capabilities.transactions:
            raise CapabilityError(
                "writing several documents by their key needs transactions, which this backend "
                "does not have",
                hint="call upsert for each; MongoDB has transactions on a replica set (one node "
                "is enough)",
                entity=self.collection.entity,
                backend=self.executor.name,
            )
        if not entities:
            return UpsertCounts(0, 0, 0)
        async with collector_spaced():
            documents = self._documents(entities, key)
            return await self._upsert_documents(documents, key, existing)

    def _documents(self, entities: Sequence[M], key: tuple[str, ...]) -> list[Document]:
        """Return the documents of entities, of which no two have one id or one key."""
        try:
            documents = to_documents(entities)
            for index, document in enumerate(documents):
                try:
                    self.require_complete(key, document)
                except HealthstoreError as error:
                    raise error.at(index=index) from None
            require_once(self.collection, ("id",), documents)
            require_once(self.collection, key, documents)
        except HealthstoreError as error:
            raise error.at(backend=self.executor.name) from None
        return documents

    async def _upsert_documents(
        self, documents: Sequence[Document], key: tuple[str, ...], existing: Existing
    ) -> UpsertCounts:
        # Where the fields are another key, too, in which the case does not count, a clash of
        # that one is told by the same fields, and no look by the key finds it.
        folded = self._may_fold(key)
        attempts = min(self.attempts, _FEW) if folded else self.attempts
        for left in reversed(range(attempts)):
            plan = await self._planned(documents, key, existing)
            try:
                done = await self._is_written(plan)
            except IntegrityError as error:
                rival = isinstance(error, DuplicateKeyError) and set(error.fields) == set(key)
                if not rival or (left == 0 and (folded or not self.in_unit)):
                    await self._blame(error, plan)
                    raise
                done = False
            if done:
                added, replaced = len(plan.added), len(plan.replaced)
                return UpsertCounts(added, replaced, len(documents) - added - replaced)
            if self.in_unit:
                self.give_way()
            await self.pause()
        raise self._too_many()

    def _may_fold(self, key: tuple[str, ...]) -> bool:
        """Tell whether a clash of a key may be that of one with the same fields, but for the case."""
        return any(
            each.ignore_case and set(each.fields) == set(key) for each in self.collection.uniques
        )

    async def _planned(
        self, documents: Sequence[Document], key: tuple[str, ...], existing: Existing
    ) -> _Plan:
        """Return what is to be written by what is stored now.

        Raises StaleVersionError for an object that is older than its own document.
        """
        stored = await self._stored(documents, key)
        elsewhere = self._maybe_elsewhere(documents, stored, key, existing)
        own = {each["id"]: each for each in await self._own(elsewhere)}
        plan = _Plan()
        differing = differs(self.collection)
        for place, document in enumerate(documents):
            there = stored.get(_key_of(document, key))
            if there is not None and (existing == "keep" or not differing(there, document)):
                continue
            mine = there if there is not None and there["id"] == document["id"] else None
            mine = mine or own.get(document["id"])
            if mine is not None and is_stale(mine, document):
                raise self.stale(document).at(index=place)
            if there is None:
                plan.added[place] = document
            else:
                plan.replaced[place] = self._merged(there, document)
                plan.versions[place] = cast(int, there["version"])
        return plan.sorted_by(key)

    async def _stored(
        self, documents: Sequence[Document], key: tuple[str, ...]
    ) -> dict[Key, Document]:
        """Return what is stored by the keys of these documents."""
        found: dict[Key, Document] = {}
        together = _TOGETHER if len(key) == 1 else _TOGETHER_OF_SEVERAL
        for part in _parts(documents, together):
            where = self._any_of(key, [_key_of(each, key) for each in part])
            rows = await self.executor.execute(Find(self.collection, where, limit=len(part)))
            found.update((_key_of(each, key), each) for each in rows)
        return found

    def _any_of(self, key: tuple[str, ...], keys: Sequence[Key]) -> Filter:
        if len(key) == 1:
            return Test(key[0], Operator.IN, tuple(first for (first,) in keys))
        return Or(
            tuple(
                And(
                    tuple(
                        Test(name, Operator.EQ, value)
                        for name, value in zip(key, each, strict=True)
                    )
                )
                for each in keys
            )
        )

    def _maybe_elsewhere(
        self,
        documents: Sequence[Document],
        stored: Mapping[Key, Document],
        key: tuple[str, ...],
        existing: Existing,
    ) -> list[UUID]:
        """Return the ids of objects that are written, and whose own documents were not found."""
        if key == ("id",):
            return []
        found = ((each, stored.get(_key_of(each, key))) for each in documents)
        return [
            cast(UUID, each["id"])
            for each, there in found
            if there is None or (existing == "update" and there["id"] != each["id"])
        ]

    async def _own(self, ids: Sequence[UUID]) -> list[Document]:
        """Return what is stored with these ids."""
        found: list[Document] = []
        for part in _parts(ids, _TOGETHER):
            rows = await self.executor.execute(Get(self.collection, tuple(part)))
            found.extend(row for row in rows if row is not None)
        return found

    async def _is_written(self, plan: _Plan) -> bool:
        """Write all or nothing; False if nothing was, since somebody else was faster."""
        operations: list[Op[object]] = []
        if plan.added:
            documents = tuple(plan.added.values())
            operations.append(Insert(self.collection, documents, canonical=True))
        if plan.replaced:
            documents, versions = tuple(plan.replaced.values()), tuple(plan.versions.values())
            operations.append(Replace(self.collection, documents, versions, canonical=True))
        try:
            if self.in_unit or len(plan.added) + len(plan.replaced) == 1 or not plan.replaced:
                return await self._are_done(self.executor, operations)
            return await self._are_done_together(operations)
        except StaleVersionError:
            return False
        except SerializationError:
            if self.in_unit:
                raise
            return False

    async def _are_done_together(self, operations: Sequence[Op[object]]) -> bool:
        unit = await cast(Backend, self.executor).begin(UnitOptions())
        try:
            done = await self._are_done(unit, operations)
            if done:
                await unit.commit()
        finally:
            await unit.rollback()
        return done

    async def _are_done(self, executor: Executor, operations: Sequence[Op[object]]) -> bool:
        for each in operations:
            done = await executor.execute(each)
            if isinstance(done, tuple) and not all(cast("tuple[bool, ...]", done)):
                return False
        return True

    async def _blame(self, error: IntegrityError, plan: _Plan) -> None:
        """Let an error say which of the objects it is about, as far as that is told."""
        error.index = None
        fields = getattr(error, "fields", ())
        # What is replaced has its id already.
        places = sorted(plan.added if fields == ("id",) else (*plan.added, *plan.replaced))
        documents = tuple(plan.added.get(each) or plan.replaced[each] for each in places)
        with suppress(HealthstoreError):  # a unit that has failed reads nothing
            if isinstance(error, DuplicateKeyError):
                found = await self._clashing(fields or ("id",), documents)
            else:
                op = Insert(self.collection, documents, canonical=True)
                found = await refused_index(error, op, self.executor)
            error.index = None if found is None else places[found]

    async def _clashing(self, fields: tuple[str, ...], documents: Sequence[Document]) -> int | None:
        """Return the place of the first document whose key one before it has, or a stored one."""
        key_of = keyed(self.collection, fields)
        keys = [(place, key_of(each)) for place, each in enumerate(documents)]
        complete = [(place, key) for place, key in keys if None not in key]
        seen: set[Key] = set()
        for place, key in complete:
            if key in seen:
                return place
            seen.add(key)
        if self.in_unit:
            return None
        for part in _parts(complete, _TOGETHER_OF_SEVERAL):
            where = Or(tuple(key_test(self.collection, fields, key) for _, key in part))
            rows = await self.executor.execute(Find(self.collection, where, limit=len(part)))
            holders = {key_of(row): row["id"] for row in rows}
            for place, key in part:
                own = None if fields == ("id",) else documents[place]["id"]
                if holders.get(key, own) != own:
                    return place
        return None


def require_once(
    collection: Collection, key: tuple[str, ...], documents: Sequence[Document]
) -> None:
    """Raise InvalidRequestError, with both places, for a key that comes twice in a request."""
    seen: dict[Key, int] = {}
    for index, each in enumerate(documents):
        first = seen.setdefault(_key_of(each, key), index)
        if first != index:
            raise InvalidRequestError(
                f"{first} and {index} of the request have the same {', '.join(key)}",
                hint="give each once: which of them is meant, nobody can tell",
                entity=collection.entity,
                field=key[0] if len(key) == 1 else None,
            ).at(index=index)


def _key_of(document: Document, key: tuple[str, ...]) -> Key:
    return tuple([document[name] for name in key])


def _parts(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]

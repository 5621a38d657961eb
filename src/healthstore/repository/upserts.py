"""Writes that look first: add-or-replace by a key, add unless there, and a whole object saved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import random
from typing import NoReturn, TypeVar, cast
from uuid import UUID

from healthstore.entity import (
    Entity,
    as_stored,
    computed_fields,
    from_document,
    from_written,
    is_validated,
    to_document,
)
from healthstore.errors import (
    DuplicateKeyError,
    HealthstoreError,
    InvalidRequestError,
    SerializationError,
    StaleVersionError,
)
from healthstore.model.evaluate import patched
from healthstore.model.json import packed_json, sorted_json
from healthstore.model.ops import Find, Get, Insert, Patch, Replace
from healthstore.model.query import And, Operator, Test
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Json, Kind
from healthstore.repository.writes import LIBRARY_FIELDS, Writes

__all__ = ("Upserts", "differs", "is_stale")

M = TypeVar("M", bound=Entity)

_PAUSE = 0.005  # seconds, at most, before another attempt of what rivals were faster with


class Upserts(Writes[M]):
    """What a repository writes after it has looked what is there."""

    __slots__ = ()

    async def save(self, entity: M) -> M:
        """Replace the stored document by the entity's, if it has the entity's version."""
        document = to_document(entity)
        now = {"updated_at": self.now(), "version": cast(int, document["version"]) + 1}
        written: Document = {**document, **now}
        if is_validated(self.entity, ()):
            written = self.made(written)
        identity, versions = cast(UUID, document["id"]), (cast(int, document["version"]),)
        if self.in_unit:  # after an error nothing can be read there
            stored = await self._there(identity)
            if stored["version"] != document["version"]:
                if differs(self.collection)(stored, document):
                    raise self.stale(document)
                return from_document(self.entity, stored)
        op = Replace(self.collection, (written,), versions, canonical=True, same=("created_at",))
        try:
            found = (await self.executor.execute(op))[0]
        except StaleVersionError:
            if self.in_unit:
                self.give_way()
            stored = await self._there(identity)
            if differs(self.collection)(stored, document):
                raise
            return from_document(self.entity, stored)
        if not found:
            raise self.not_found(identity)
        return from_written(self.entity, written)

    async def get_or_add(self, entity: M, key: tuple[str, ...]) -> tuple[M, bool]:
        """Return what has the entity's key and False, or the entity, which was added, and True."""
        document = to_document(entity)
        self._require_key(key, document)
        for _ in range(self.attempts):
            stored = await self._by_key(key, document)
            if stored is not None:
                return from_document(self.entity, stored), False
            if await self._is_added(document, key):
                return as_stored(entity, document), True
            await self.pause()
        raise self._too_many()

    async def upsert(self, entity: M, key: tuple[str, ...], add: tuple[str, ...] = ()) -> M:
        """Add the entity, or give its values to the one that has the same key.

        Those of the fields in ``add`` are added to what is stored.
        """
        document = to_document(entity)
        self._require_key(key, document)
        self._require_addends(key, add, document)
        for _ in range(self.attempts):
            stored = await self._by_key(key, document)
            if stored is not None and is_stale(stored, document):
                if differs(self.collection, add)(stored, document):
                    raise self.stale(document)
                if not add:
                    return from_document(self.entity, stored)
            elif self._may_be_elsewhere(stored, document):
                await self._require_not_stale(document)
            if stored is None:
                if await self._is_added(document, key):
                    return as_stored(entity, document)
            else:
                merged = self._merged(stored, document, add)
                if await self._is_replaced(stored, merged):
                    return from_written(self.entity, merged)
            await self.pause()
        raise self._too_many()

    def _may_be_elsewhere(self, stored: Document | None, document: Document) -> bool:
        """Tell whether the object's own document must be looked for before a write.

        A document that is added tells by its id, but after an error a unit reads nothing.
        """
        return self.in_unit if stored is None else stored["id"] != document["id"]

    async def _is_added(self, document: Document, key: tuple[str, ...]) -> bool:
        """Add a document; False if somebody has taken the key since it was looked for."""
        try:
            await self.executor.execute(Insert(self.collection, (document,), canonical=True))
        except DuplicateKeyError as error:
            # Any other clash than that of the key is the caller's.
            if set(error.fields) != set(key):
                if not self.in_unit:  # of two clashes a database may tell the other one
                    await self._require_not_stale(document)
                raise
            if self.in_unit:
                self.give_way()
            return False
        except SerializationError:
            if self.in_unit:
                raise
            return False
        return True

    async def _is_replaced(self, stored: Document, merged: Document) -> bool:
        """Replace a document; False if it is another one by now, or is gone."""
        versions = (cast(int, stored["version"]),)
        op = Replace(self.collection, (merged,), versions, canonical=True)
        try:
            return (await self.executor.execute(op))[0]
        except StaleVersionError:
            if self.in_unit:
                self.give_way()
            return False
        except SerializationError:
            if self.in_unit:
                raise
            return False

    @property
    def in_unit(self) -> bool:
        """Whether nothing can be attempted twice, nor read after an error."""
        return self.attempts == 1

    async def pause(self) -> None:
        """Spread rivals over time."""
        await asyncio.sleep(random() * _PAUSE)  # noqa: S311 - no secret

    def give_way(self) -> NoReturn:
        """Raise SerializationError: a unit can only be repeated whole."""
        raise SerializationError(
            "another task has written what the unit was about to write",
            hint="repeat the whole unit",
            entity=self.collection.entity,
            backend=self.executor.name,
        ) from None

    def stale(self, document: Document) -> StaleVersionError:
        """Return the error for an object that is older than what is stored."""
        return StaleVersionError(
            f"the stored document {cast(UUID, document['id'])} has another version than the object",
            hint="read it again, and change that; what is made anew has an id of its own",
            entity=self.collection.entity,
            backend=self.executor.name,
        )

    async def _require_not_stale(self, document: Document) -> None:
        """Raise StaleVersionError if the object's own document has gone on, with another key."""
        identity = cast(UUID, document["id"])
        (stored,) = await self.executor.execute(Get(self.collection, (identity,)))
        if stored is not None and is_stale(stored, document):
            raise self.stale(document)

    def _require_key(self, key: tuple[str, ...], document: Document) -> None:
        self.require_unique(key)
        self.require_complete(key, document)

    def require_unique(self, key: tuple[str, ...]) -> None:
        """Raise InvalidRequestError for what is no key by which a document can be looked for."""
        if not key:
            raise InvalidRequestError(
                "there is no key to look for",
                hint="name the fields of a unique key, or leave `on` away: it is the id",
                entity=self.collection.entity,
            )
        # A key that ignores case is no place to look: who gives another case means another text.
        # Nor is one that binds some documents only: several others may have the same values.
        plain = (
            each for each in self.collection.uniques if not each.ignore_case and each.where is None
        )
        keys = {("id",), *(tuple(sorted(each.fields)) for each in plain)}
        for name in key:
            self.collection.field(name)
        if tuple(sorted(key)) not in keys:
            folded = any({*key} == {*each.fields} for each in self.collection.uniques)
            raise InvalidRequestError(
                f"{', '.join(key)} is no unique key"
                + (" in which case counts, of all documents" if folded else ""),
                hint="look by the id, or by fields that are Unique() without ignore_case and where"
                if folded
                else "look by the id, or declare the fields Unique",
                entity=self.collection.entity,
            )

    def require_complete(self, key: tuple[str, ...], document: Document) -> None:
        """Raise InvalidRequestError for a document with None in its key."""
        for name in key:
            if document[name] is None:
                raise InvalidRequestError(
                    "has no value, but is a field of the key to look for",
                    hint="give it one, or use add: a key with None in it is never taken",
                    entity=self.collection.entity,
                    field=name,
                )

    def _require_addends(
        self, key: tuple[str, ...], add: tuple[str, ...], document: Document
    ) -> None:
        """Refuse to add what is no number, or stands for something else."""
        for name in add:
            field = self.collection.field(name)
            kept = {*key, *LIBRARY_FIELDS, *computed_fields(self.entity)}
            if name in kept or add.count(name) > 1:
                raise InvalidRequestError(
                    "is of the key, kept by the library, computed, or named twice: "
                    "it cannot be added to",
                    hint="name other fields in `add`, each once",
                    entity=self.collection.entity,
                    field=name,
                )
            if not field.type.numeric:
                raise InvalidRequestError(
                    "is no number and cannot be added to",
                    hint="leave it out of `add`: its value is set then",
                    entity=self.collection.entity,
                    field=name,
                )
            if document[name] is None:
                raise InvalidRequestError(
                    "has no value that could be added",
                    hint="give it a number, or leave it out of `add`",
                    entity=self.collection.entity,
                    field=name,
                )

    async def _there(self, identity: UUID) -> Document:
        (stored,) = await self.executor.execute(Get(self.collection, (identity,)))
        if stored is None:
            raise self.not_found(identity)
        return stored

    async def _by_key(self, key: tuple[str, ...], document: Document) -> Document | None:
        where = And(tuple(Test(name, Operator.EQ, document[name]) for name in key))
        found = await self.executor.execute(Find(self.collection, where, limit=1))
        return found[0] if found else None

    def _merged(self, stored: Document, document: Document, add: tuple[str, ...] = ()) -> Document:
        merged: Document = {
            **document,
            **self._sums(stored, document, add),
            "id": stored["id"],
            "created_at": stored["created_at"],
            "updated_at": self.now(),
            "version": cast(int, stored["version"]) + 1,
        }
        return self.made(merged) if is_validated(self.entity, ()) else merged

    def _sums(self, stored: Document, document: Document, add: tuple[str, ...]) -> Document:
        """Return what the fields of ``add`` hold when a document's are added to the stored ones."""
        steps = tuple((name, document[name]) for name in add)
        op = Patch(self.collection, (cast(UUID, stored["id"]),), increments=steps)
        try:
            after = patched(op, stored)
        except HealthstoreError as error:
            raise error.at(backend=self.executor.name) from None
        return {name: after[name] for name in add}


def is_stale(stored: Document, document: Document) -> bool:
    """Tell whether a stored document is a later one of the same id."""
    later = cast(int, stored["version"]) > cast(int, document["version"])
    return later and stored["id"] == document["id"]


def differs(
    collection: Collection, but: tuple[str, ...] = ()
) -> Callable[[Document, Document], bool]:
    """Return what tells whether two documents differ in what a program says, but for these fields.

    In JSON, 1, 1.0 and true differ.
    """
    left_out = {*LIBRARY_FIELDS, *but}
    fields = [
        (each.name, each.type.kind is Kind.JSON)
        for each in collection.fields
        if each.name not in left_out
    ]

    def differing(one: Document, other: Document) -> bool:
        return any(
            one[name] != other[name] or (json and _packed(one[name]) != _packed(other[name]))
            for name, json in fields
        )

    return differing


def _packed(value: object) -> bytes:
    return packed_json(sorted_json(cast(Json, value)))

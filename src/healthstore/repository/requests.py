"""Requests that are repeated: the second one gets the answer of the first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import random
from typing import Generic, TypeVar, cast
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.entity import Entity, as_stored, from_written, to_document
from healthstore.errors import (
    CapabilityError,
    ConfigurationError,
    ConflictError,
    DuplicateKeyError,
    HealthstoreError,
    IntegrityError,
    SerializationError,
    StaleVersionError,
)
from healthstore.model.ops import Batch, Delete, Ensure, Find, Get, Insert, Operation
from healthstore.model.query import F, Order
from healthstore.model.requests import (
    REQUESTS,
    answer_of,
    content_digest,
    read_answer,
    request_id,
)
from healthstore.model.schema import Collection
from healthstore.model.values import Document
from healthstore.repository.writes import LIBRARY_FIELDS

__all__ = ("REMEMBERED", "Requests", "forget_requests")

M = TypeVar("M", bound=Entity)

REMEMBERED = timedelta(hours=24)
"""How long a request is remembered where nothing else is said."""
_PAUSE = 0.005  # seconds, at most, before another attempt
_ONE_IN = 100  # requests with a key: one of so many also removes rows of old ones
_AT_ONCE = 1_000  # of which so many at most, so that they never grow more than they are removed


@dataclass(frozen=True, slots=True)
class Requests(Generic[M]):
    """What a repository adds once, however often it is asked to."""

    entity: type[M]
    executor: Executor
    collection: Collection
    attempts: int
    clock: Callable[[], datetime]
    remembered: timedelta

    async def add(self, entity: M, key: str) -> M:
        """Add an entity in one transaction with its request, or return what that one added."""
        try:
            identity, document = request_id(self.collection, key), to_document(entity)
            self._require_transactions()
        except HealthstoreError as error:
            raise error.at(backend=self.executor.name) from None
        row: Document = {
            "id": identity,
            "version": 1,
            "collection": self.collection.name,
            "content": content_digest(self.collection, document, LIBRARY_FIELDS),
            "answer": answer_of(self.collection, document),
            "until": self.clock().astimezone(UTC) + self.remembered,
        }
        if self.attempts == 1:
            return await self._add_in_unit(entity, document, row)
        for _ in range(self.attempts):
            answer = await self._attempted(document, row)
            if answer is not None:
                return await self._answered(entity, document, answer)
            await asyncio.sleep(random() * _PAUSE)  # noqa: S311 - only spreads rivals over time
        raise ConflictError(
            f"the request was remembered and forgotten {self.attempts} times during one call",
            hint="try again later",
            entity=self.collection.entity,
            backend=self.executor.name,
        )

    async def _answered(self, entity: M, document: Document, answer: Document) -> M:
        if answer is not document:
            return from_written(self.entity, answer)
        if random() * _ONE_IN < 1:  # noqa: S311 - no secret
            with suppress(HealthstoreError):  # the answer is there; another one removes them
                await forget_requests(self.executor, self.clock())
        return as_stored(entity, document)

    async def _attempted(self, document: Document, row: Document) -> Document | None:
        """Return the document if it was added, or the answer of the first request; None: again."""
        try:
            await self._write(document, row, None)
        except DuplicateKeyError as error:
            return await self._first(document, row, error)
        except SerializationError:
            return None
        except ConfigurationError as error:
            if not _is_missing(error):
                raise
            await self.executor.execute(Ensure((REQUESTS,)))
            return None
        return document

    async def _first(
        self, document: Document, row: Document, error: DuplicateKeyError
    ) -> Document | None:
        """Return what the first request was answered, if it is that which is in the way."""
        (stored,) = await self.executor.execute(Get(REQUESTS, (cast(UUID, row["id"]),)))
        if stored is None:
            if error.entity == REQUESTS.entity:
                return None  # it has gone meanwhile
            raise error
        if self._is_over(stored):
            try:
                await self._write(document, row, stored)
            except (DuplicateKeyError, StaleVersionError, SerializationError) as again:
                if isinstance(again, DuplicateKeyError) and again.entity != REQUESTS.entity:
                    raise
                return None
            return document
        return self._answer(stored, row)

    async def _write(self, document: Document, row: Document, old: Document | None) -> None:
        """Write the request and what it adds, all or nothing, in place of one that is over.

        The request comes first: whatever else would be refused, it is what tells a repeated one.
        """
        await self.executor.execute(Batch(self._operations(document, row, old)))

    def _operations(
        self, document: Document, row: Document, old: Document | None
    ) -> tuple[Operation, ...]:
        writes = Insert(REQUESTS, (row,)), Insert(self.collection, (document,), canonical=True)
        if old is None:
            return writes
        identity, version = cast(UUID, old["id"]), cast(int, old["version"])
        return Delete(REQUESTS, (identity,), (version,)), *writes

    async def _add_in_unit(self, entity: M, document: Document, row: Document) -> M:
        """Look first: after an error a unit reads nothing."""
        try:
            (stored,) = await self.executor.execute(Get(REQUESTS, (cast(UUID, row["id"]),)))
        except ConfigurationError as error:
            if not _is_missing(error):
                raise
            raise ConfigurationError(
                "there is no collection for idempotency keys yet, and a transaction makes none",
                hint="add once with a key outside of a transaction: that makes it",
                entity=self.collection.entity,
                backend=self.executor.name,
            ) from None
        if stored is not None and not self._is_over(stored):
            return from_written(self.entity, self._answer(stored, row))
        try:
            for each in self._operations(document, row, stored):
                await self.executor.execute(each)
        except (DuplicateKeyError, StaleVersionError) as error:
            if error.entity != REQUESTS.entity:
                raise
            raise SerializationError(
                "another task has made the same request",
                hint="repeat the whole unit",
                entity=self.collection.entity,
                backend=self.executor.name,
            ) from None
        return as_stored(entity, document)

    def _is_over(self, stored: Document) -> bool:
        return cast(datetime, stored["until"]) <= self.clock()

    def _answer(self, stored: Document, row: Document) -> Document:
        """Return what a request was answered; refuse another one with its key."""
        if stored["content"] != row["content"]:
            raise IntegrityError(
                "the idempotency key was used for another content",
                hint="a request that is repeated says the same; another one has a key of its own",
                entity=self.collection.entity,
                backend=self.executor.name,
            )
        return read_answer(self.collection, str(stored["answer"]))

    def _require_transactions(self) -> None:
        if not self.executor.capabilities.transactions:
            raise CapabilityError(
                "remembering a request needs transactions, which this backend does not have",
                hint="give the entity an id that the caller makes once for each request, and use "
                "get_or_add; MongoDB has transactions on a replica set (one node is enough)",
                entity=self.collection.entity,
            )


async def forget_requests(executor: Executor, now: datetime) -> int:
    """Remove what is remembered of requests for longer than was asked, at most 1,000; say how many."""
    due = Find(REQUESTS, F.until <= now.astimezone(UTC), (Order("until"),), _AT_ONCE)
    ids = tuple(cast(UUID, row["id"]) for row in await executor.execute(due))
    if not ids:
        return 0
    return sum(await executor.execute(Delete(REQUESTS, ids)))


def _is_missing(error: ConfigurationError) -> bool:
    """Tell whether an error says that there is no collection for requests yet."""
    return type(error) is ConfigurationError and error.entity == REQUESTS.entity

"""Benchmarks: what one asks of an adapter so that it leaves nothing and can time the driver alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from healthstore.abc.adapter import Adapter
from healthstore.abc.unit import Phase
from healthstore.errors import ConfigurationError, HealthstoreError
from healthstore.model.ops import Effect, Op
from healthstore.model.schema import Collection

__all__ = ("Bench", "Benched", "Call", "Driver")

S = TypeVar("S")

Call: TypeAlias = Callable[[], Awaitable[object]]
"""Makes one call of the driver each time it is called."""
Driver: TypeAlias = Callable[[Op[Any]], Awaitable[Call]]
"""Makes a call of the driver from an operation on one document, or a page of them."""


class Bench(ABC, Generic[S]):
    """A collection that is in no catalog, and the driver alone. Raises HealthstoreError only.

    An author of an adapter writes ``drop`` and ``call``.
    """

    def __init__(self, adapter: Adapter[S]) -> None:
        self.adapter = adapter

    @abstractmethod
    async def drop(self, session: S, name: str) -> None:
        """Remove a collection with all it holds; do nothing if it is not there."""

    @abstractmethod
    async def call(self, session: S, op: Op[Any]) -> Call:
        """Return the call that sends what the adapter would send for an operation.

        Its values are converted already, and its answer is left as the driver gives it.
        """

    async def require_free(self, collection: Collection) -> None:
        """Raise ConfigurationError if there is a collection of this name."""
        async with self._session(Effect.READ) as session:
            if collection.name in await self.adapter.existing(session):
                raise ConfigurationError(
                    f"there is a collection {collection.name!r} already", hint="try again"
                )

    async def make(self, collection: Collection) -> None:
        """Create a collection of which no catalog, and so no backup and no other program, knows."""
        async with self._session(Effect.ADMIN) as session:
            await self.adapter.create(session, collection)

    async def remove(self, collection: Collection) -> None:
        """Remove a collection, if it is there."""
        async with self._session(Effect.ADMIN) as session:
            await self.drop(session, collection.name)

    @asynccontextmanager
    async def driver(self) -> AsyncGenerator[Driver, None]:
        """Lend a connection of the driver, to be used by one task."""
        async with self._session(Effect.WRITE) as session:

            async def made(op: Op[Any]) -> Call:
                return await self.call(session, op)

            yield made

    @asynccontextmanager
    async def _session(self, effect: Effect) -> AsyncGenerator[S, None]:
        """Lend a session; an error of the driver becomes one of ours."""
        phase = Phase.READ if effect is Effect.READ else Phase.WRITE
        try:
            async with self.adapter.session(effect) as session:
                yield session
        except HealthstoreError as error:
            raise error.at(backend=self.adapter.name) from error.__cause__
        except Exception as error:  # noqa: BLE001 - translated, as in Adapter.execute
            raise self.adapter.ours(error, phase, None) from None


@runtime_checkable
class Benched(Protocol):
    """An adapter that can be measured: an optional part of an adapter."""

    def bench(self) -> Bench[Any]:
        """Return what a benchmark asks of this adapter, which must be open."""
        ...

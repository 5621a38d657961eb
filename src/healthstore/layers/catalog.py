"""The catalog's word: what a store was made for is held against what is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from healthstore.abc.backend import Backend
from healthstore.abc.layer import Layer
from healthstore.abc.prober import Figures, Prober, Vitals
from healthstore.errors import (
    Condition,
    ConfigurationError,
    HealthstoreError,
    SchemaMismatchError,
)
from healthstore.model.catalog import CATALOG, catalog_id, require_same
from healthstore.model.filling import FILLING_ID, Filling
from healthstore.model.ops import Batch, Effect, Ensure, Get, Op
from healthstore.model.schema import Collection
from healthstore.model.values import Document

__all__ = ("CatalogLayer", "CatalogNoticeLayer")

R = TypeVar("R")
_PATIENCE = 0.1  # seconds that a check waits for the catalog; what comes later is for the next one


@dataclass(slots=True)
class _Known:
    """What is known of a store: the definitions that agree, by name, and the mark last seen."""

    agreed: dict[str, Collection] = field(default_factory=lambda: {CATALOG.name: CATALOG})
    filling: Filling | None = None

    def forget(self) -> None:
        # Another mapping: a read that is under way may know less than whoever calls this.
        self.agreed = {CATALOG.name: CATALOG}


class CatalogLayer(Layer):
    """Refuses what a store was not made for, and everything while a transfer fills the store.

    Before the first operation that names a collection, the store's own definition of it is read,
    in the unit if there is one. If that is the wanted one, later operations pass without a round
    trip, until a check finds that the store has changed. Raises ConfigurationError for a
    collection that is not there, SchemaMismatchError for one with another definition and
    IncompleteStoreError for half a copy, before anything is sent.
    """

    rank: ClassVar[int] = 100

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._known = _Known()
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the backend below, of which nothing is known then."""
        self._known, self._looking = _Known(), None
        await self.inner.open()

    async def close(self) -> None:
        """Close the backend below."""
        looking, self._looking = self._looking, None
        if looking is not None and looking.get_loop() is asyncio.get_running_loop():
            looking.cancel()
            await asyncio.wait({looking})
        await self.inner.close()

    async def ping(self) -> None:
        """Ping the backend below; raise IncompleteStoreError for half a copy."""
        await self.inner.ping()
        await self._require_whole()

    def prober(self) -> Prober:
        """Return a prober that also reads again what is known, after each good check."""
        return _CatalogProber(self.inner.prober(), self)

    def execute(self, op: Op[R]) -> Coroutine[Any, Any, R]:
        """Run the operation below if the store was made for it."""
        collection: Collection | None = getattr(op, "collection", None)
        if collection is not None and self._known.agreed.get(collection.name) is collection:
            return self.inner.execute(op)
        return self._execute_required(op)

    async def _execute_required(self, op: Op[R]) -> R:
        if op.effect is Effect.ADMIN:
            return await self._execute_change(op)
        await self._require(op)
        return await self.inner.execute(op)

    async def _execute_change(self, op: Op[R]) -> R:
        """Run a change of the schema; what was known of the store may be otherwise then."""
        await self._require_whole()
        try:
            result = await self.inner.execute(op)
        finally:
            if not isinstance(op, Ensure):
                self.forget()
        if isinstance(op, Ensure):
            self._known.agreed.update({each.name: each for each in op.collections})
        return result

    def forget(self) -> None:
        """Read the catalog again before the next operation."""
        self._known.forget()

    async def look(self) -> Filling | None:
        """Read again what is known; return the mark of a transfer that has not ended.

        A read that takes long, or fails, changes nothing for now: how the member is, other
        checks tell. It is not cancelled, which could cost a connection.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._renew())
        await asyncio.wait({self._looking}, timeout=_PATIENCE)
        return self._known.filling

    async def _renew(self) -> None:
        agreed = self._known.agreed
        collections = tuple(agreed.values())
        try:
            rows, filling = await self._read(collections)
        except HealthstoreError:
            return
        if self._known.agreed is not agreed:
            return  # the catalog has changed meanwhile
        self._known.filling = filling
        if filling is not None:
            self._known.forget()
        for each in collections:
            if each is not CATALOG and not _agrees(rows.get(each.name), each):
                agreed.pop(each.name, None)

    async def _require(self, op: Op[Any]) -> None:
        agreed = self._known.agreed
        unknown = [each for each in _named(op) if agreed.get(each.name) != each]
        if unknown:
            rows, filling = await self._read(unknown)
            self._require_ended(filling)
            for each in unknown:
                self._require_made(rows.get(each.name), each)
        agreed.update({each.name: each for each in _named(op)})

    async def _require_whole(self) -> None:
        _, filling = await self._read(())
        self._require_ended(filling)

    def _require_ended(self, filling: Filling | None) -> None:
        self._known.filling = filling
        if filling is not None:
            self._known.forget()
            raise filling.error(self.name)

    def _require_made(self, row: Document | None, wanted: Collection) -> None:
        if row is None:
            raise ConfigurationError(
                f"there is no collection {wanted.name!r}",
                hint="call initialize() with its entity first",
                entity=wanted.entity,
                backend=self.name,
            )
        try:
            require_same(row, wanted)
        except HealthstoreError as error:
            raise error.at(entity=wanted.entity, backend=self.name) from None

    async def _read(
        self, collections: Iterable[Collection]
    ) -> tuple[Mapping[str, Document], Filling | None]:
        """Return the catalog's rows by name, and the mark, in one round trip."""
        ids = (*(catalog_id(each.name) for each in collections), FILLING_ID)
        try:
            *found, mark = await self.inner.execute(Get(CATALOG, ids))
        except ConfigurationError as error:
            if type(error) is not ConfigurationError or error.condition is not Condition.OK:
                raise
            return {}, None  # the store has no catalog
        rows = {str(row["name"]): row for row in found if row is not None}
        return rows, None if mark is None else Filling.of(mark)


class CatalogNoticeLayer(Layer):
    """Calls ``changed`` after each operation below that may have changed the store's catalog."""

    rank: ClassVar[int] = 100

    def __init__(self, inner: Backend, *, changed: Callable[[], None]) -> None:
        super().__init__(inner)
        self._changed = changed

    async def execute(self, op: Op[R]) -> R:
        """Run the operation below."""
        try:
            return await self.inner.execute(op)
        finally:
            changes = op.effect is Effect.WRITE and CATALOG in _named(op)
            if changes or op.effect is Effect.ADMIN:
                self._changed()


class _CatalogProber:
    """A prober whose checks also look at the catalog."""

    def __init__(self, inner: Prober, layer: CatalogLayer) -> None:
        self._inner = inner
        self._layer = layer

    async def connect(self) -> None:
        """Connect."""
        await self._inner.connect()

    async def check(self) -> Vitals:
        """Check, and look at the catalog."""
        vitals = await self._inner.check()
        return replace(vitals, filling=await self._layer.look())

    async def write(self) -> None:
        """Write."""
        await self._inner.write()

    async def measure(self) -> Figures:
        """Return the store's figures."""
        return await self._inner.measure()

    async def close(self) -> None:
        """Drop the connection."""
        await self._inner.close()


def _agrees(row: Document | None, wanted: Collection) -> bool:
    if row is None:
        return False
    try:
        require_same(row, wanted)
    except (ConfigurationError, SchemaMismatchError):
        return False
    return True


def _named(op: Op[Any]) -> Iterator[Collection]:
    """Yield the collections that an operation names."""
    if isinstance(op, Batch):
        for each in op.operations:
            yield from _named(each)
    elif (collection := getattr(op, "collection", None)) is not None:
        yield collection

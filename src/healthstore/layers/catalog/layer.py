"""The catalog's word: what a store was made for is held against what is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar, cast

from healthstore.abc.backend import Backend, Executor, Unit
from healthstore.abc.layer import Layer
from healthstore.abc.prober import Figures, Prober, Vitals
from healthstore.errors import (
    Condition,
    ConfigurationError,
    HealthstoreError,
    Outcome,
    SchemaMismatchError,
    SerializationError,
)
from healthstore.layers.catalog.serving import Served, execute_served, served_by
from healthstore.model.catalog import (
    CATALOG,
    catalog_id,
    from_definition,
    is_renaming,
    require_same,
)
from healthstore.model.filling import FILLING_ID, Filling
from healthstore.model.ops import Batch, Effect, Ensure, Ensured, Find, Get, Op
from healthstore.model.release import Release
from healthstore.model.schema import Collection
from healthstore.model.serve import serves
from healthstore.model.values import Document

__all__ = ("CatalogLayer", "CatalogNoticeLayer")

R = TypeVar("R")
_FORM = frozenset({ConfigurationError, SchemaMismatchError})  # what a store says of another form
_MOST = 1_000  # rows of a catalog that are compared with those of another member
_PATIENCE = 0.1  # seconds that a check waits for the catalog; what comes later is for the next one


@dataclass(slots=True)
class _Known:
    """What is known of a store: the definitions that it has, by name, and what was last seen.

    ``served`` are others that those serve, by name too: a program may know several.
    """

    agreed: dict[str, Collection] = field(default_factory=lambda: {CATALOG.name: CATALOG})
    served: dict[str, tuple[Served, ...]] = field(default_factory=dict[str, tuple[Served, ...]])
    filling: Filling | None = None
    release: Release | None = None

    def forget(self) -> None:
        # Other mappings: a read that is under way may know less than whoever calls this.
        self.agreed = {CATALOG.name: CATALOG}
        self.served = {}

    def knows(self, wanted: Collection) -> bool:
        """Tell whether a definition is known to agree, or to be served."""
        return self.agreed.get(wanted.name) == wanted or (
            served_by(self.served, wanted) is not None
        )

    def note(self, wanted: Collection, stored: Collection | None) -> None:
        """Know that a definition agrees; or, with one that is stored, is served by that."""
        name, there = wanted.name, stored or wanted
        others = (each for each in self.served.get(name, ()) if each.stored == there != each.known)
        self.agreed[name] = there
        self.served[name] = tuple(each for each in others if each.known != wanted)
        if stored is not None:
            self.served[name] += (Served(wanted, stored),)


class CatalogLayer(Layer):
    """Refuses what a store was not made for, and everything while a transfer fills the store.

    Before the first operation that names a collection, the store's own definition of it is read,
    in the unit if there is one. If that is the wanted one, later operations pass without a round
    trip, until a check finds that the store has changed, or the store refuses one for its form.
    One that has gone on and serves the wanted one is used as it is stored. Raises
    ConfigurationError for a collection that is not there, SchemaMismatchError for one with another
    definition and IncompleteStoreError for half a copy, before anything is sent.
    """

    rank: ClassVar[int] = 100

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._known = _Known()
        self._looking: asyncio.Task[None] | None = None
        self.in_unit = False

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

    def over(self, unit: Unit) -> Executor:
        """Return this layer over a unit, in which nothing is asked twice."""
        laid = cast(CatalogLayer, super().over(unit))
        laid.in_unit = True
        return laid

    def execute(self, op: Op[R]) -> Coroutine[Any, Any, R]:
        """Run the operation below if the store was made for it."""
        collection: Collection | None = getattr(op, "collection", None)
        if collection is not None and self._known.agreed.get(collection.name) is collection:
            return self._execute(op, self.inner.execute(op))
        if op.effect is Effect.ADMIN:
            return self._execute_change(op)
        return self._execute(op, self._execute_required(op))

    async def _execute(self, op: Op[R], first: Coroutine[Any, Any, R]) -> R:
        """Run an operation; where the store has another form by now, look at that, and again.

        A unit that meets one is to be run again: it raises SerializationError.
        """
        try:
            return await first
        except ConfigurationError as error:
            if type(error) not in _FORM or error.outcome is not Outcome.NOT_APPLIED:
                raise
            known = all(map(self._known.knows, _named(op)))
            self.forget()
            if self.in_unit and known:
                raise _changed(error) from None
            if self.in_unit or not known:
                raise
            await self._require_changed(op, error)
        return await self._execute_required(op)

    async def _require_changed(self, op: Op[Any], error: ConfigurationError) -> None:
        """Look what the catalog says of an error; raise that, if it says nothing of another form."""
        try:
            await self._require(op)
        except SchemaMismatchError:
            raise
        except HealthstoreError:
            raise error from None

    async def _execute_required(self, op: Op[R]) -> R:
        await self._require(op)
        served = self._known.served
        if any(served_by(served, each) is not None for each in _named(op)):
            # As it is now: another task may learn of another definition meanwhile.
            return await execute_served(self.inner, op, {**served})
        return await self.inner.execute(op)

    async def _execute_change(self, op: Op[R]) -> R:
        """Run a change of the schema; what was known of the store may be otherwise then."""
        if isinstance(op, Ensure):
            return cast(R, await self._ensure(op))
        await self._require_whole()
        try:
            return await self.inner.execute(op)
        finally:
            self.forget()

    async def _ensure(self, op: Ensure) -> Ensured:
        """Make what is missing; a collection that has gone on and serves is there."""
        rows, filling = await self._read(op.collections)
        self._require_ended(filling)
        stored = {each.name: _serving(rows.get(each.name), each) for each in op.collections}
        asked = tuple(stored[each.name] or each for each in op.collections)
        result = await self.inner.execute(Ensure(asked))
        for each in op.collections:
            self._known.note(each, stored[each.name])
        return result

    def forget(self) -> None:
        """Read the catalog again before the next operation."""
        self._known.forget()

    async def look(self) -> tuple[Filling | None, Release | None]:
        """Read again what is known; return the mark of a transfer that has not ended, and the rest.

        A read that takes long, or fails, changes nothing for now: how the member is, other
        checks tell. It is not cancelled, which could cost a connection.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._renew())
        await asyncio.wait({self._looking}, timeout=_PATIENCE)
        return self._known.filling, self._known.release

    async def _renew(self) -> None:
        agreed, served = self._known.agreed, self._known.served
        collections = tuple(agreed.values())
        try:
            everything = await self._all()
            if len(everything) < _MOST:
                rows, filling = _told(everything)
            else:
                rows, filling = await self._read(collections)
        except HealthstoreError:
            return
        with suppress(HealthstoreError):  # another release's is compared by nobody
            self._known.release = Release.of(everything)
        if self._known.agreed is not agreed:
            return  # the catalog has changed meanwhile
        self._known.filling = filling
        if filling is not None:
            self._known.forget()
        for each in collections:
            if each is not CATALOG and not _agrees(rows.get(each.name), each):
                agreed.pop(each.name, None)
                served.pop(each.name, None)

    async def _require(self, op: Op[Any]) -> None:
        known = self._known
        unknown = [each for each in _named(op) if not known.knows(each)]
        if unknown:
            rows, filling = await self._read(unknown)
            self._require_ended(filling)
            for each in unknown:
                known.note(each, self._required(rows.get(each.name), each))
        for each in _named(op):
            if known.agreed.get(each.name) == each:
                known.agreed[each.name] = each  # this very one: it is told without comparing

    async def _require_whole(self) -> None:
        _, filling = await self._read(())
        self._require_ended(filling)

    def _require_ended(self, filling: Filling | None) -> None:
        self._known.filling = filling
        if filling is not None:
            self._known.forget()
            raise filling.error(self.name)

    def _required(self, row: Document | None, wanted: Collection) -> Collection | None:
        """Return the stored definition where another one serves; raise where none does."""
        if row is None:
            raise ConfigurationError(
                f"there is no collection {wanted.name!r}",
                hint="call initialize() with its entity first",
                entity=wanted.entity,
                backend=self.name,
            )
        serving = _serving(row, wanted)
        if serving is None:
            try:
                require_same(row, wanted)
            except HealthstoreError as error:
                raise error.at(entity=wanted.entity, backend=self.name) from None
        return serving

    async def _all(self) -> tuple[Document, ...]:
        """Return the catalog's rows, the first of them where there are more than anybody has."""
        return await self._of_catalog(Find(CATALOG, limit=_MOST), ())

    async def _read(
        self, collections: Iterable[Collection]
    ) -> tuple[Mapping[str, Document], Filling | None]:
        """Return the catalog's rows by name, and the mark, in one round trip."""
        ids = (*(catalog_id(each.name) for each in collections), FILLING_ID)
        found = await self._of_catalog(Get(CATALOG, ids), ())
        return _told(row for row in found if row is not None)

    async def _of_catalog(self, op: Op[R], otherwise: R) -> R:
        """Return what is found in the catalog; something else if the store has no catalog."""
        try:
            return await self.inner.execute(op)
        except ConfigurationError as error:
            if type(error) is not ConfigurationError or error.condition is not Condition.OK:
                raise
            return otherwise


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
        filling, release = await self._layer.look()
        return replace(vitals, filling=filling, release=release)

    async def write(self) -> None:
        """Write."""
        await self._inner.write()

    async def measure(self) -> Figures:
        """Return the store's figures."""
        return await self._inner.measure()

    async def close(self) -> None:
        """Drop the connection."""
        await self._inner.close()


def _told(found: Iterable[Document]) -> tuple[Mapping[str, Document], Filling | None]:
    """Return rows of the catalog by name, and the mark of a transfer that has not ended."""
    rows, filling = dict[str, Document](), None
    for row in found:
        if row["id"] == FILLING_ID:
            filling = Filling.of(row)
        else:
            rows[str(row["name"])] = row
    return rows, filling


def _agrees(row: Document | None, wanted: Collection) -> bool:
    if row is None:
        return False
    try:
        require_same(row, wanted)
    except (ConfigurationError, SchemaMismatchError):
        return False
    return True


def _changed(error: ConfigurationError) -> SerializationError:
    return SerializationError(
        "the store's definitions have changed meanwhile",
        hint="repeat the whole unit",
        entity=error.entity,
        backend=error.backend,
    )


def _serving(row: Document | None, wanted: Collection) -> Collection | None:
    """Return the stored definition if it is another one, and serves."""
    if row is None or _agrees(row, wanted) or is_renaming(row):
        return None
    stored = from_definition(row["definition"])
    return stored if stored.name == wanted.name and serves(stored, wanted) else None


def _named(op: Op[Any]) -> Iterator[Collection]:
    """Yield the collections that an operation names."""
    if isinstance(op, Batch):
        for each in op.operations:
            yield from _named(each)
    elif (collection := getattr(op, "collection", None)) is not None:
        yield collection

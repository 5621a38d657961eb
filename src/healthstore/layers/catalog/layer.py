"""The catalog's word: what a store was made for is held against what is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from time import monotonic
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
from healthstore.layers.catalog.known import (
    Known,
    agrees,
    book_of,
    require_admitted,
    stored_for,
    told,
)
from healthstore.layers.catalog.leasing import Leasing
from healthstore.layers.catalog.serving import execute_served, served_by
from healthstore.model.catalog import (
    CATALOG,
    catalog_id,
    is_changing,
    require_same,
)
from healthstore.model.filling import FILLING_ID, Filling
from healthstore.model.lease import LEASE_SECONDS
from healthstore.model.ledger import LEDGER_ID, Book
from healthstore.model.ops import Batch, Effect, Ensure, Ensured, ExplainFind, Find, Get, Op
from healthstore.model.query import Filter, lookups
from healthstore.model.release import Release
from healthstore.model.schema import Collection
from healthstore.model.values import Document

__all__ = ("CatalogLayer", "CatalogNoticeLayer")

R = TypeVar("R")
_FORM = frozenset({ConfigurationError, SchemaMismatchError})  # what a store says of another form
_MOST = 1_000  # rows of a catalog that are compared with those of another member
_CHANGING, _PAUSE = 5.0, 0.01  # seconds that a change is waited for, and between two attempts
_ATTEMPTS = 3  # where nothing is being changed: that may have ended between two looks
_MARKS = (FILLING_ID, LEDGER_ID)
_PATIENCE = 0.1  # seconds that a check waits for the catalog; what comes later is for the next one


class CatalogLayer(Layer):
    """Refuses what a store was not made for, and everything while a transfer fills the store.

    Before the first operation that names a collection, the store's own definition of it is read,
    in the unit if there is one. If that is the wanted one, later operations pass without a round
    trip, until a check finds that the store has changed, or the store refuses one for its form.
    One that has gone on and serves the wanted one is used as it is stored. With ``leases`` the
    checks keep a lease in the catalog of a durable store: a migration waits for its holder. Raises
    ConfigurationError for a collection that is not there, SchemaMismatchError for one with another
    definition and IncompleteStoreError for half a copy, before anything is sent.
    """

    rank: ClassVar[int] = 100

    def __init__(self, inner: Backend, *, leases: bool = False) -> None:
        super().__init__(inner)
        self._known = Known()
        self._looking: asyncio.Task[None] | None = None
        self._again = False
        # What is not durable is no other program's.
        self._leasing = Leasing(inner) if leases and inner.capabilities.durable else None
        self.in_unit = False

    async def open(self) -> None:
        """Open the backend below, of which nothing is known then."""
        self._known, self._looking, self._again = Known(), None, False
        await self.inner.open()

    async def close(self) -> None:
        """Close the backend below."""
        looking, self._looking = self._looking, None
        if looking is not None and looking.get_loop() is asyncio.get_running_loop():
            looking.cancel()
            await asyncio.wait({looking})
        if self._leasing is not None:
            await self._leasing.end()
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
        if self._known.until <= monotonic():  # the checks have not come to look
            self.forget()
            self._known.until = monotonic() + LEASE_SECONDS
        collection: Collection | None = getattr(op, "collection", None)
        if (
            collection is not None
            and self._known.agreed.get(collection.name) is collection
            and all(self._known.agreed.get(each.name) is each for each in _looked_up(op))
        ):
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
            if not _is_form(error):
                raise
            known = all(map(self._known.knows, _named(op)))
            self.forget()
            if self.in_unit and known:
                raise _changed(error) from None
            if self.in_unit or not known:
                raise
            failed = error
        return await self._execute_changed(op, failed)

    async def _execute_changed(self, op: Op[R], error: ConfigurationError) -> R:
        """Run an operation that met another form; while that is being changed, several times."""
        until, pause, attempt = monotonic() + _CHANGING, _PAUSE, 0
        while True:
            attempt += 1
            await self._require_changed(op, error)
            try:
                return await self._execute_required(op)
            except ConfigurationError as again:
                changing = self._known.changing or attempt < _ATTEMPTS
                if not _is_form(again) or not changing or monotonic() >= until:
                    raise
            # The form is the new one already, and the catalog did not say so yet.
            self.forget()
            await asyncio.sleep(pause)
            pause *= 1.5

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
        for each in op.collections:
            self._require_makeable(rows.get(each.name), each, book_of(rows))
        stored = {each.name: stored_for(rows.get(each.name), each) for each in op.collections}
        asked = tuple(stored[each.name] or each for each in op.collections)
        result = await self.inner.execute(Ensure(asked))
        for each in op.collections:
            self._known.note(each, stored[each.name])
        await self._take_lease()
        return result

    async def _take_lease(self) -> None:
        """Take a lease, if there is none: the next check may be far.

        Who waits for it is not in the middle of it when the program forks.
        """
        if self._leasing is not None and self._leasing.until is None and not self.in_unit:
            await self.look()

    def _require_makeable(self, row: Document | None, wanted: Collection, book: Book) -> None:
        """Raise SchemaMismatchError for one that has gone, or is about to."""
        try:
            if row is None:
                book.require_not_gone(wanted.name, self.name)
            else:
                require_admitted(row, wanted)
        except HealthstoreError as error:
            raise error.at(entity=wanted.entity, backend=self.name) from None

    def forget(self) -> None:
        """Read the catalog again before the next operation."""
        self._known.forget()

    def changed(self) -> None:
        """Know that the program has changed the catalog itself: read it again."""
        self.forget()
        if self._leasing is not None and self._leasing.until is not None:
            self._again = True
            self._look()

    def _look(self) -> asyncio.Task[None]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._renew())
        return self._looking

    async def look(self) -> tuple[Filling | None, Release | None]:
        """Read again what is known; return the mark of a transfer that has not ended, and the rest.

        A read that takes long, or fails, changes nothing for now: how the member is, other
        checks tell. It is not cancelled, which could cost a connection.
        """
        await asyncio.wait({self._look()}, timeout=_PATIENCE)
        return self._known.filling, self._known.release

    async def _renew(self) -> None:
        while True:
            self._again = False
            began, epoch = monotonic(), self._known.epoch
            try:
                rows = await self._all()
                self._compare(rows if len(rows) < _MOST else await self._some(), rows)
            except HealthstoreError:
                return
            if epoch is not None and epoch != self._known.epoch:
                continue  # rows and epoch may be of two moments
            if self._leasing is not None and rows and self._leasing.is_due(self._known.epoch or ""):
                await self._leasing.renew(began, self._known.epoch or "", rows)
                self._known.until = self._leasing.until or self._known.until
            if not self._again:
                return

    async def _some(self) -> Sequence[Document]:
        ids = (*map(catalog_id, self._known.agreed), *_MARKS)
        found = await self._of_catalog(Get(CATALOG, ids), ())
        return [each for each in found if each is not None]

    def _compare(self, found: Sequence[Document], everything: Sequence[Document]) -> None:
        """Hold what is known against rows of the catalog."""
        known = self._known
        rows, filling = told(found)
        with suppress(HealthstoreError):  # another release's is compared by nobody
            known.release = Release.of(everything)
        known.filling = filling
        if filling is not None:
            known.forget()
        for name, each in tuple(known.agreed.items()):
            if each is not CATALOG and not agrees(rows.get(name), each):
                known.agreed.pop(name)
                known.served.pop(name, None)
        known.epoch = book_of(rows).epoch

    async def _require(self, op: Op[Any]) -> None:
        known = self._known
        unknown = [each for each in _named(op) if not known.knows(each)]
        epoch, seen = known.epoch, False
        while unknown and not seen:
            rows, filling = await self._read(unknown)
            self._require_ended(filling)
            known.changing = any(
                map(is_changing, (rows[each.name] for each in unknown if each.name in rows))
            )
            for each in unknown:
                known.note(each, self._required(rows.get(each.name), each, book_of(rows)))
            epoch, seen = known.epoch, epoch == known.epoch  # or a check has seen more by now
        if unknown:
            await self._take_lease()
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

    def _required(self, row: Document | None, wanted: Collection, book: Book) -> Collection | None:
        """Return the stored definition where another one serves; raise where none does."""
        if row is None:
            self._require_makeable(row, wanted, book)
            raise ConfigurationError(
                f"there is no collection {wanted.name!r}",
                hint="call initialize() with its entity first",
                entity=wanted.entity,
                backend=self.name,
            )
        serving = stored_for(row, wanted)
        if serving is None:
            try:
                require_admitted(row, wanted)
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
        ids = (*(catalog_id(each.name) for each in collections), *_MARKS)
        found = await self._of_catalog(Get(CATALOG, ids), ())
        return told(row for row in found if row is not None)

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


def _is_form(error: ConfigurationError) -> bool:
    return type(error) in _FORM and error.outcome is Outcome.NOT_APPLIED


def _changed(error: ConfigurationError) -> SerializationError:
    return SerializationError(
        "the store's definitions have changed meanwhile",
        hint="repeat the whole unit",
        entity=error.entity,
        backend=error.backend,
    )


def _named(op: Op[Any]) -> Iterator[Collection]:
    """Yield the collections that an operation names."""
    if isinstance(op, Batch):
        for each in op.operations:
            yield from _named(each)
    elif (collection := getattr(op, "collection", None)) is not None:
        yield collection
        yield from _looked_up(op)


def _looked_up(op: Op[Any]) -> Iterator[Collection]:
    """Yield the collections of queries inside an operation's filter."""
    asked = op.find if isinstance(op, ExplainFind) else op
    where: Filter | None = getattr(asked, "where", None)
    waiting = [] if where is None else [where]
    while waiting:
        for each in lookups(waiting.pop()):
            yield each.collection
            waiting.append(each.where)

"""The catalog's word: a store serves only the definitions that it was made for, and only whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import ClassVar, TypeVar
from uuid import uuid4

import pytest

from healthstore.abc import Backend
from healthstore.abc.layer import Layer
from healthstore.errors import (
    Condition,
    ConfigurationError,
    HealthstoreError,
    IncompleteStoreError,
    Outcome,
    SchemaMismatchError,
)
from healthstore.layers.catalog import CatalogLayer
from healthstore.layers.guard import GuardLayer
from healthstore.model.catalog import CATALOG, catalog_id, to_document
from healthstore.model.filling import FILLING_ID, Filling
from healthstore.model.ops import (
    Aggregate,
    Batch,
    Count,
    CountDocuments,
    Delete,
    Ensure,
    Find,
    Get,
    Insert,
    Op,
    Patch,
    Replace,
)
from healthstore.model.query import F, parse_order
from healthstore.model.schema import Check, Collection, Field, Index, Unique
from healthstore.model.values import Document, FieldType, Kind, Value
from healthstore.testing.contract._promises import Contract, needs_transactions, proves
from healthstore.testing.contract._samples import identity

__all__ = ("TestCatalog",)

R = TypeVar("R")
_LABEL = FieldType(Kind.TEXT, max_length=40)
_NUMBER = FieldType(Kind.INTEGER)
_KEY = (Field("id", FieldType(Kind.UUID)), Field("version", _NUMBER))
_FIELDS = (*_KEY, Field("name", _LABEL), Field("rank", _NUMBER, nullable=True))


def _made(name: str | None = None) -> Collection:
    """Return the definition from which a store's collection is made."""
    return Collection(
        name or f"made_{uuid4().hex[:12]}",
        _FIELDS,
        uniques=(Unique("name"),),
        checks=(Check("rank_is_small", F.rank < 10),),
        entity="Worker",
    )


# How a worker's definition may differ from the stored one -> words of the refusal.
_OTHERS: dict[str, tuple[Callable[[Collection], Collection], str]] = {
    "one more field": (
        lambda made: replace(made, fields=(*_FIELDS, Field("extra", _LABEL, nullable=True))),
        "field extra is new",
    ),
    "one field less": (lambda made: replace(made, fields=_FIELDS[:-1], checks=()), "field rank"),
    "another type": (
        lambda made: replace(
            made,
            fields=(*_FIELDS[:-1], Field("rank", FieldType(Kind.FLOAT), nullable=True)),
            checks=(),
        ),
        "field rank was",
    ),
    "a field that may be null": (
        lambda made: replace(
            made, fields=(*_KEY, Field("name", _LABEL, nullable=True), _FIELDS[-1])
        ),
        "field name was",
    ),
    "another rule of a check": (
        lambda made: replace(made, checks=(Check("rank_is_small", F.rank < 99),)),
        "check",
    ),
    "a check less": (lambda made: replace(made, checks=()), "check"),
    "another unique key": (lambda made: replace(made, uniques=()), "unique key ("),
    "a subclass": (
        lambda made: replace(
            made, fields=(*_FIELDS, Field("level", _NUMBER, nullable=True)), entity="Admin"
        ),
        "field level is new",
    ),
}


def _row(collection: Collection, number: int) -> Document:
    """Return a document of any of these definitions."""
    values: Document = {"id": identity(number), "version": 1, "name": f"n{number}"}
    return {each.name: values.get(each.name) for each in collection.fields}


def _requests(collection: Collection, number: int) -> Iterator[Op[object]]:
    """Yield one operation of each kind on a collection."""
    row, stored = _row(collection, number), identity(1)
    yield Get(collection, (stored,))
    yield Find(collection)
    yield CountDocuments(collection)
    yield Aggregate(collection, (Count(),))
    yield Insert(collection, (row,))
    yield Replace(collection, (_row(collection, 1),))
    yield Patch(collection, (stored,), sets=(("name", "changed"),))
    yield Delete(collection, (stored,))


class _Counting(Layer):
    """Counts the reads of the catalog."""

    rank: ClassVar[int] = 98

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.reads = 0

    async def execute(self, op: Op[R]) -> R:
        self.reads += getattr(op, "collection", None) is CATALOG
        return await self.inner.execute(op)


def _worker(backend: Backend) -> Backend:
    """Return a store as another process uses it, which has not initialized anything."""
    return GuardLayer(CatalogLayer(backend))


async def _refused(error: type[HealthstoreError], asked: Awaitable[object]) -> HealthstoreError:
    with pytest.raises(error) as caught:
        await asked
    assert type(caught.value) is error
    assert caught.value.message
    assert caught.value.hint
    assert caught.value.outcome is Outcome.NOT_APPLIED
    return caught.value


async def _stored(backend: Backend, collection: Collection) -> tuple[Document, ...]:
    return await GuardLayer(backend).execute(Find(collection))


async def _until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await done():  # noqa: ASYNC110 - what a check found shows in the next answer
            await asyncio.sleep(0.01)


class TestCatalog(Contract):
    """The first operation of a definition on a store compares it with the stored one."""

    @pytest.mark.parametrize("difference", sorted(_OTHERS))
    async def test_another_definition_is_refused_before_anything_is_done(
        self, backend: Backend, difference: str
    ) -> None:
        """Every operation is refused in words, nothing is written, and the stored one serves."""
        made = _made()
        await backend.execute(Ensure((made,)))
        row = _row(made, 1)
        await backend.execute(Insert(made, (row,)))
        change, words = _OTHERS[difference]
        other = change(made)
        worker = _worker(backend)
        for op in (*_requests(other, 2), Ensure((other,))):
            error = await _refused(SchemaMismatchError, worker.execute(op))
            assert words in error.message
            assert made.name in error.message
            assert (error.entity, error.backend) == (other.entity, backend.name)
        assert await _stored(backend, made) == (row,)
        assert await worker.execute(Get(made, (identity(1),))) == (row,)

    async def test_the_order_of_its_parts_is_no_part_of_a_definition(
        self, backend: Backend
    ) -> None:
        """Who lists the same fields and keys in another order reads and writes the same values."""
        made = replace(_made(), indexes=(Index("rank"), Index("-name", "rank")))
        turned = replace(made, fields=made.fields[::-1], indexes=made.indexes[::-1])
        await backend.execute(Ensure((made,)))
        worker = _worker(backend)
        assert (await worker.execute(Ensure((turned,)))).present == (made.name,)
        for number, each in enumerate((made, turned, made), 1):
            rows = tuple(_row(each, 10 * number + place) for place in range(3))
            for row in rows:
                await worker.execute(Insert(each, (row,)))
            await worker.execute(Replace(each, ({**rows[0], "rank": number},)))
            await worker.execute(Patch(each, (identity(10 * number + 1),), sets=(("rank", 7),)))
        wanted = [
            {"id": identity(10 * number + place), "version": 1, "name": name, "rank": rank}
            for number in (1, 2, 3)
            for place, name, rank in (
                (0, f"n{10 * number}", number),
                (1, f"n{10 * number + 1}", 7),
                (2, f"n{10 * number + 2}", None),
            )
        ]
        for each in (made, turned):
            assert list(await worker.execute(Find(each, order=parse_order(["id"])))) == wanted

    async def test_an_equal_definition_needs_no_initialize(self, backend: Backend) -> None:
        """A worker whose definition is the stored one reads and writes at once."""
        made = _made()
        await backend.execute(Ensure((made,)))
        worker, again = _worker(backend), _made(made.name)
        await worker.execute(Insert(again, (_row(again, 1),)))
        assert await worker.execute(CountDocuments(made)) == 1

    async def test_a_collection_that_is_not_there_is_named_alike(self, backend: Backend) -> None:
        """In an empty store, and beside other collections, there is one answer."""
        missing, worker = _made(), _worker(backend)
        for _ in range(2):
            for op in _requests(missing, 1):
                error = await _refused(ConfigurationError, worker.execute(op))
                assert error.message == f"there is no collection {missing.name!r}"
                assert "initialize()" in error.hint
                assert (error.entity, error.backend) == ("Worker", backend.name)
            await backend.execute(Ensure((_made(),)))
        await worker.execute(Ensure((missing,)))
        assert await worker.execute(CountDocuments(missing)) == 0

    async def test_the_comparison_is_remembered(self, backend: Backend) -> None:
        """After the first operation of a definition none reads the catalog."""
        made = _made()
        await backend.execute(Ensure((made,)))
        counting = _Counting(backend)
        worker = _worker(counting)
        await worker.execute(Insert(made, (_row(made, 1),)))
        assert counting.reads == 1
        for op in _requests(made, 2):
            await worker.execute(op)
        assert counting.reads == 1

    @needs_transactions
    async def test_a_unit_is_refused_what_a_store_is(self, store: Backend) -> None:
        """In a unit, and in a batch, another definition is refused; nothing of it is kept."""
        made = _made()
        await store.execute(Ensure((made,)))
        other = _OTHERS["one more field"][0](made)
        inner = store.inner if isinstance(store, Layer) else store
        worker = _worker(inner)
        unit = await worker.begin()
        try:
            await unit.execute(Insert(made, (_row(made, 1),)))
            await _refused(SchemaMismatchError, unit.execute(Insert(other, (_row(other, 2),))))
        finally:
            await unit.rollback()
        batch = Batch((Insert(made, (_row(made, 3),)), Insert(other, (_row(other, 4),))))
        await _refused(SchemaMismatchError, worker.execute(batch))
        assert await _stored(store, made) == ()
        unit = await _worker(inner).begin()
        try:
            await unit.execute(Insert(made, (_row(made, 5),)))
            await unit.commit()
        finally:
            await unit.rollback()
        assert len(await _stored(store, made)) == 1

    async def test_a_store_that_was_changed_is_noticed_by_the_checks(
        self, backend: Backend
    ) -> None:
        """What another process made of a store, or dropped, is seen after the next check."""
        made = _made()
        other = _OTHERS["a field that may be null"][0](made)
        await backend.execute(Ensure((made,)))
        layer = CatalogLayer(backend)
        worker, prober = GuardLayer(layer), layer.prober()
        await worker.execute(Insert(made, (_row(made, 1),)))

        async def refused(error: type[HealthstoreError]) -> bool:
            await prober.check()
            try:
                await worker.execute(CountDocuments(made))
            except HealthstoreError as found:
                return type(found) is error
            return False

        await prober.connect()
        try:
            await prober.check()
            assert await worker.execute(CountDocuments(made)) == 1
            await backend.execute(Replace(CATALOG, (to_document(other),)))
            await _until(lambda: refused(SchemaMismatchError))
            await backend.execute(Replace(CATALOG, (to_document(made),)))
            assert await worker.execute(CountDocuments(made)) == 1
            await backend.execute(Delete(CATALOG, (catalog_id(made.name),)))
            await _until(lambda: refused(ConfigurationError))
        finally:
            await prober.close()

    async def test_a_store_that_is_being_filled_serves_nobody(self, backend: Backend) -> None:
        """While a transfer's mark is there, all is refused, with what to do; checks tell of it."""
        made, mark = _made(), Filling.begun("migrate", "elsewhere", ("users",))
        await backend.execute(Ensure((made,)))
        layer = CatalogLayer(backend)
        known, prober = GuardLayer(layer), layer.prober()
        await known.execute(Insert(made, (_row(made, 1),)))
        await backend.execute(Insert(CATALOG, (mark.as_row(),)))
        new = _worker(backend)
        for asked in (
            *(new.execute(op) for op in _requests(made, 2)),
            new.execute(Ensure((made,))),
            new.ping(),
        ):
            error = await _refused(IncompleteStoreError, asked)
            assert error.condition is Condition.INCOMPLETE
            assert "migrate from elsewhere" in error.message
            assert "replace=True" in error.hint
            assert error.backend == backend.name

        async def marked() -> bool:
            return (await prober.check()).filling == mark

        await prober.connect()
        try:
            await _until(marked)
            await _refused(IncompleteStoreError, known.execute(CountDocuments(made)))
            await backend.execute(Delete(CATALOG, (FILLING_ID,)))
            assert await known.execute(CountDocuments(made)) == 1
            assert await new.execute(CountDocuments(made)) == 1
            await new.ping()
            await _until(lambda: _whole(prober.check()))
        finally:
            await prober.close()

    @proves("C10")
    async def test_a_store_holds_the_fields_of_its_definition_only(self, backend: Backend) -> None:
        """Whoever goes around the comparison cannot store what nobody would read back."""
        made = _made()
        await backend.execute(Ensure((made,)))
        row = _row(made, 1)
        await backend.execute(Insert(made, (row,)))
        other = _OTHERS["one more field"][0](made)
        extra: Value = "lost"
        for op in (
            Insert(other, ({**_row(other, 2), "extra": extra},)),
            Replace(other, ({**row, "extra": extra},)),
            Patch(other, (identity(1),), sets=(("extra", extra),)),
        ):
            with pytest.raises(HealthstoreError):
                await backend.execute(op)
        assert await _stored(backend, made) == (row,)


async def _whole(checked: Awaitable[object]) -> bool:
    return getattr(await checked, "filling", None) is None

"""Nothing: what None is to orders, keys, groups and increments, and that each field has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Annotated, cast
from uuid import uuid4

import pytest

from healthstore.abc import Backend
from healthstore.entity import Entity, MaxLength, collection_of
from healthstore.errors import DuplicateKeyError, InvalidRequestError, NotNullError, Outcome
from healthstore.model.ops import (
    Aggregate,
    Count,
    CountDocuments,
    Ensure,
    Find,
    Insert,
    Min,
    Patch,
    Patches,
    Replace,
    Sum,
)
from healthstore.model.query import ALL, F, Nulls, Order, asc, desc, parse_order
from healthstore.model.schema import Collection, Index, Unique
from healthstore.model.values import Document, Value
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, needs_transactions, proves
from healthstore.testing.contract._samples import (
    EDGES,
    EVERYTHING,
    KEYED,
    READINGS,
    add,
    everything,
    exact,
    identity,
    ids,
    one,
    reading,
    stored,
)

__all__ = ("TestNothing",)

# Two fields of an order, of all kinds that have one.
_PAIRS = (
    ("label", "number"),
    ("moment", "price"),
    ("flag", "owner"),
    ("day", "span"),
    ("level", "ratio"),
    ("amount", "clock"),
    ("moment_ms", "text"),
)
_NULLS: tuple[Nulls | None, ...] = (None, "first", "last")
_NUMBERS = ("number", "ratio", "price", "amount", "span")
_KEYS = [name for name in KEYED.names if name in EDGES]


class _Counted(Entity, collection="contract_counted"):
    name: Annotated[str, MaxLength(20), Unique()] | None = None
    count: int | None = None
    other: int = 0


def _rows(first: str, second: str) -> list[Document]:
    """Return documents with every pair of None and two values, each twice."""
    values = [(None, *EDGES[name][:2]) for name in (first, second)]
    pairs = [*product(*values), *product(*values)]
    return [
        everything(id=identity(at * 5 % 19), **{first: one_, second: other})
        for at, (one_, other) in enumerate(pairs)
    ]


def _orders(first: str, second: str) -> Iterator[tuple[Order, ...]]:
    makers: list[tuple[Callable[..., Order], Nulls | None]] = [
        (make, nulls) for make in (asc, desc) for nulls in _NULLS
    ]
    for (make, nulls), (other, others) in product(makers, makers):
        yield parse_order([make(first, nulls=nulls), other(second, nulls=others)])


def _in_order(rows: Sequence[Document], order: Sequence[Order]) -> list[Document]:
    """Sort by Python's own order of values, key by key from the last one on."""
    sorted_rows = list(rows)
    for key in reversed(order):
        nothing = [row for row in sorted_rows if row[key.field] is None]
        values = [row for row in sorted_rows if row[key.field] is not None]
        # A stable sort in the other direction: equal ones stay as they are.
        values.sort(key=lambda row: cast(int, row[key.field]), reverse=key.descending)
        first = key.nulls == "first" if key.nulls else not key.descending
        sorted_rows = [*nothing, *values] if first else [*values, *nothing]
    return sorted_rows


async def _pages(
    store: Backend, collection: Collection, order: tuple[Order, ...], size: int
) -> list[Document]:
    found: list[Document] = []
    position: tuple[Value, ...] | None = None
    while True:
        page = await store.execute(Find(collection, ALL, order, size, position))
        found.extend(page)
        if len(page) < size:
            return found
        position = tuple(page[-1][key.field] for key in order)


class TestNothing(Contract):
    """None is a value of every field that may be None, and the same one everywhere."""

    # --- orders ----------------------------------------------------------------------------

    @proves("C7", "W13")
    @pytest.mark.parametrize(("first", "second"), _PAIRS)
    async def test_none_is_placed_in_every_key_of_an_order(
        self, store: Backend, first: str, second: str
    ) -> None:
        """Smallest, first or last, each way, in two keys at once, with an index and without."""
        rows = _rows(first, second)
        indexed = Collection(
            f"made_{uuid4().hex[:12]}",
            EVERYTHING.fields,
            indexes=(Index(first, f"-{second}"),) if second != "text" else (Index(first),),
            entity="Everything",
        )
        for collection in (EVERYTHING, indexed):
            await add(store, collection, *rows)
        for order in _orders(first, second):
            wanted = ids(_in_order(rows, order))
            for collection in (EVERYTHING, indexed):
                found = await store.execute(Find(collection, order=order))
                assert ids(found) == wanted, order
            assert ids(await _pages(store, indexed, order, 5)) == wanted, order

    # --- keys ------------------------------------------------------------------------------

    @proves("C11")
    @pytest.mark.parametrize("field", _KEYS)
    async def test_any_number_of_documents_has_none_in_a_key(
        self, store: Backend, field: str
    ) -> None:
        """Alone or beside a value, of each kind: added, replaced or emptied; then it counts."""
        partner = "number" if field != "number" else "flag"
        third = "day" if field != "day" else "price"
        values = EDGES[field][:2]
        things = Collection(
            f"made_{uuid4().hex[:12]}",
            EVERYTHING.fields,
            uniques=(Unique(field), Unique(partner, third)),
            entity="Everything",
        )
        taken = [everything(**{field: value}) for value in values]
        empty = [everything(**{partner: EDGES[partner][0]}) for _ in range(3)]
        await add(store, things, *taken, *empty, everything(), everything())
        for row in taken:  # emptied, by both ways to write
            await store.execute(Replace(things, ({**row, field: None},)))
        again = [everything(**{field: value}) for value in values]
        await add(store, things, *again)
        for row in again:
            await store.execute(Patch(things, ids([row]), sets=((field, None),)))
        assert await store.execute(CountDocuments(things, F[field].is_null())) == 9
        (first, second, *_) = ids(taken)
        await store.execute(Patch(things, (first,), sets=((field, values[0]),)))
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Patch(things, (second,), sets=((field, values[0]),)))
        assert error.value.fields == (field,)
        whole = everything(**{partner: EDGES[partner][0], third: EDGES[third][0]})
        await store.execute(Insert(things, (whole,)))
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Patch(things, ids(empty[:1]), sets=((third, EDGES[third][0]),)))
        assert error.value.fields == (partner, third)

    @proves("C11", "W3")
    async def test_an_upsert_looks_for_no_key_with_none_in_it(self, store: Backend) -> None:
        """It would never find one: it is refused, and says so."""
        await store.execute(Ensure((collection_of(_Counted),)))
        counted = Repository(_Counted, store)
        await counted.add(_Counted())
        with pytest.raises(InvalidRequestError) as error:
            await counted.upsert(_Counted(), on="name")
        assert (error.value.field, bool(error.value.hint)) == ("name", True)
        assert await counted.count() == 1

    # --- increments ------------------------------------------------------------------------

    @proves("A2")
    async def test_an_increment_of_none_does_nothing_else_either(self, store: Backend) -> None:
        """By an entity's method and with other changes; once there is a number it counts."""
        await store.execute(Ensure((collection_of(_Counted),)))
        counted = Repository(_Counted, store)
        kept = await counted.add(_Counted(name="a"))
        with pytest.raises(NotNullError) as error:
            await counted.increment(kept.id, "count")
        assert (error.value.entity, error.value.field) == ("_Counted", "count")
        assert (error.value.outcome, bool(error.value.hint)) == (Outcome.NOT_APPLIED, True)
        both = Patch(collection_of(_Counted), (kept.id,), increments=(("other", 1), ("count", 1)))
        with pytest.raises(NotNullError):
            await store.execute(both)
        assert await counted.get(kept.id) == kept
        await counted.update(kept.id, {"count": 0})
        (after,) = await store.execute(both)
        assert after is not None
        assert (after["other"], after["count"]) == (1, 1)

    @proves("A2", "W6")
    @needs_transactions
    @pytest.mark.parametrize("field", _NUMBERS)
    async def test_one_none_refuses_the_increment_of_many(self, store: Backend, field: str) -> None:
        """Wherever it stands among them, in a request and in a unit."""
        edge = EDGES[field][1]
        rows = [everything(id=identity(at), **{field: edge}) for at in range(6)]
        rows[4][field] = None
        await add(store, EVERYTHING, *rows)
        step = Patch(EVERYTHING, ids(rows), (("text", "x"),), ((field, edge),))
        with pytest.raises(NotNullError) as error:
            await store.execute(step)
        assert error.value.field == field
        assert await stored(store, EVERYTHING) == rows
        unit = await store.begin()
        try:
            with pytest.raises(NotNullError):
                await unit.execute(step)
        finally:
            await unit.rollback()
        assert await stored(store, EVERYTHING) == rows
        alone = tuple(Patch(EVERYTHING, (each,), (), ((field, edge),)) for each in ids(rows))
        results = await store.execute(Patches(EVERYTHING, alone))
        assert [each is None for each in results] == [False] * 4 + [True, False]
        assert await one(store, EVERYTHING, rows[4]) == rows[4]

    # --- groups ----------------------------------------------------------------------------

    @proves("A13", "C7")
    async def test_none_is_one_group_in_each_key_of_several(self, store: Backend) -> None:
        """With values beside it and without: no two groups have equal keys, None comes first."""
        fields = ("place", "steps", "valid", "day", "device", "dose", "taken")
        edges = {"place": "text", "steps": "number", "valid": "flag", "day": "day"}
        edges |= {"device": "owner", "taken": "moment"}
        rows = [
            reading(**{first: None, second: value}, pulse=1.0)
            for first, second in product(fields, fields)
            if first != second
            for value in (None, *EDGES[edges.get(second, "number")][:1])
            if second != "dose"
        ]
        await add(store, READINGS, *rows)
        for first, second in product(fields, fields):
            if first == second:
                continue
            op = Aggregate(READINGS, (Count(), Sum("pulse"), Min("steps")), group=(first, second))
            groups = await store.execute(op)
            keys = [row.key for row in groups]
            assert len(keys) == len(set(keys))
            assert keys[0] == (None, None)
            for row in groups:
                alike = [each for each in rows if (each[first], each[second]) == row.key]
                assert row.values[:2] == (len(alike), float(len(alike)))

    # --- every field is there ----------------------------------------------------------------

    @proves("C10")
    @needs_transactions
    async def test_what_no_write_gave_a_value_is_none_to_every_question(
        self, store: Backend
    ) -> None:
        """Added, replaced, emptied by patches or loaded: found, sorted, grouped and read alike."""
        full: dict[str, object] = {name: EDGES[name][1] for name in EDGES}
        names = tuple(EDGES)
        rows = [everything(id=identity(at)) for at in range(5)]
        await store.execute(Ensure((EVERYTHING,)))
        await store.execute(Insert(EVERYTHING, (rows[0],)))
        await store.execute(Insert(EVERYTHING, (rows[1],), atomic=False))
        for row in rows[2:]:
            await store.execute(Insert(EVERYTHING, ({**everything(**full), "id": row["id"]},)))
        await store.execute(Replace(EVERYTHING, (rows[2],)))
        nulls = tuple((name, None) for name in names)
        await store.execute(Patch(EVERYTHING, ids(rows[3:4]), sets=nulls))
        await store.execute(Patches(EVERYTHING, (Patch(EVERYTHING, ids(rows[4:]), sets=nulls),)))
        assert list(map(exact, await stored(store, EVERYTHING))) == list(map(exact, rows))
        for name in names:
            where = F[name].is_null()
            assert ids(await stored(store, EVERYTHING, where)) == ids(rows)
            assert await store.execute(CountDocuments(EVERYTHING, ~where)) == 0
            if EVERYTHING.field(name).type.ordered:
                found = await store.execute(Find(EVERYTHING, order=parse_order([f"-{name}"])))
                assert ids(found) == ids(rows)
                op = Aggregate(EVERYTHING, (Count(), Count(name)), group=(name,))
                (group,) = await store.execute(op)
                assert (group.key, group.values) == ((None,), (5, 0))

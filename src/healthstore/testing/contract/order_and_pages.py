"""Order and pages: every order is total, and pages of any size make up the whole."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import Backend, Executor
from healthstore.errors import InvalidRequestError, RefusedValueError, UnknownFieldError
from healthstore.layers.guard import MAX_LIMIT
from healthstore.model.ops import CountDocuments, Ensure, Find, Found, Origin
from healthstore.model.query import ALL, F, Filter, Order, asc, desc, parse_order
from healthstore.model.values import Document, Value
from healthstore.testing.contract._promises import Contract, laws, proves
from healthstore.testing.contract._samples import (
    EDGES,
    EVERYTHING,
    PEOPLE,
    add,
    every_row,
    everything,
    identity,
    ids,
    person,
    selected,
)
from healthstore.testing.strategies import filters, orders

__all__ = ("TestOrderAndPages",)

ROWS = every_row(30)
ORDERED = [name for name in EDGES if EVERYTHING.field(name).type.ordered]


async def _filled(store: Backend) -> Backend:
    await store.execute(Ensure((EVERYTHING,)))
    if not await store.execute(CountDocuments(EVERYTHING)):
        await add(store, EVERYTHING, *ROWS)
    return store


async def _pages(
    store: Backend, where: Filter, order: tuple[Order, ...], size: int
) -> list[Document]:
    """Return what all pages of a size hold together."""
    found: list[Document] = []
    position: tuple[Value, ...] | None = None
    while True:
        page = await store.execute(Find(EVERYTHING, where, order, size, position))
        assert len(page) <= size
        found.extend(page)
        if len(page) < size:
            return found
        position = tuple(page[-1][key.field] for key in order)


class TestOrderAndPages(Contract):
    """Documents come in exactly the order asked for, in pages that never overlap."""

    @proves("V18", "C3", "C7")
    @pytest.mark.parametrize("field", ORDERED)
    async def test_each_kind_is_sorted_as_python_sorts_it(self, store: Backend, field: str) -> None:
        """Every kind sorts by value, text by code point, UUIDs by bytes; None is smallest."""
        await _filled(store)
        for key in (field, f"-{field}"):
            order = parse_order([key])
            found = await store.execute(Find(EVERYTHING, order=order))
            assert ids(found) == ids(selected(ROWS, ALL, order)), key

    @proves("C2", "C3")
    async def test_text_is_sorted_by_code_point(self, store: Backend) -> None:
        """Upper case before lower, accents after, the first plane before the others."""
        texts = ("", " ", "B", "Z", "a", "a ", "aa", "b", "é", "\uffee", "\U0001f600")
        rows = [everything(text=text, label=text) for text in texts]
        await add(store, EVERYTHING, *reversed(rows))
        for field in ("text", "label"):
            up = await store.execute(Find(EVERYTHING, order=parse_order([field])))
            assert [row[field] for row in up] == list(texts)
            down = await store.execute(Find(EVERYTHING, order=parse_order([f"-{field}"])))
            assert [row[field] for row in down] == list(reversed(texts))

    @proves("C7")
    async def test_none_comes_first_or_last(self, store: Backend) -> None:
        """None is before every value in ascending order and after it in descending order."""
        rows = [person(1, name=""), person(2), person(3, name="a"), person(4)]
        await add(store, PEOPLE, *rows)
        up = await store.execute(Find(PEOPLE, order=parse_order(["name"])))
        assert [row["name"] for row in up] == [None, None, "", "a"]
        down = await store.execute(Find(PEOPLE, order=parse_order(["-name"])))
        assert [row["name"] for row in down] == ["a", "", None, None]

    @proves("C7")
    async def test_none_comes_where_the_order_says(self, store: Backend) -> None:
        """Nulls first or last, each way, before and among other keys; the values keep their order."""
        names = (None, "b", None, "a", "")
        rows = [person(at, id=identity(at), name=name) for at, name in enumerate(names)]
        await add(store, PEOPLE, *rows)
        wanted: tuple[tuple[Order, list[str | None]], ...] = (
            (asc("name", nulls="first"), [None, None, "", "a", "b"]),
            (asc("name", nulls="last"), ["", "a", "b", None, None]),
            (desc("name", nulls="first"), [None, None, "b", "a", ""]),
            (desc("name", nulls="last"), ["b", "a", "", None, None]),
            (asc("id", nulls="last"), [*names]),
        )
        for key, values in wanted:
            found = await store.execute(Find(PEOPLE, order=parse_order([key])))
            assert [row["name"] for row in found] == values, key
        second = parse_order(["visits", asc("name", nulls="last"), "-id"])
        found = await store.execute(Find(PEOPLE, order=second))
        assert list(found) == selected(rows, ALL, second)

    @proves("C7")
    async def test_a_block_of_nulls_is_longer_than_a_page(self, store: Backend) -> None:
        """A page that ends at a null goes on at the next one, wherever nulls stand."""
        rows = [everything(id=identity(at), label="x" if at % 9 == 4 else None) for at in range(20)]
        await add(store, EVERYTHING, *rows)
        for key in (asc("label", nulls="last"), desc("label", nulls="first"), asc("label")):
            order = parse_order([key])
            whole = ids(selected(rows, ALL, order))
            assert ids(await _pages(store, ALL, order, 3)) == whole

    @proves("W13")
    async def test_equal_keys_are_ordered_by_id(self, store: Backend) -> None:
        """Documents that the keys do not separate come by id, so the order is total."""
        rows = [person(at, id=identity(at), name="same", visits=at % 2) for at in range(20)]
        await add(store, PEOPLE, *reversed(rows))
        for keys in (["name"], ["-name"], ["visits"], ["-visits", "name"], []):
            order = parse_order(keys)
            found = await store.execute(Find(PEOPLE, order=order))
            assert list(found) == selected(rows, ALL, order)
        without_id = await store.execute(Find(PEOPLE, order=(Order("name"),)))
        assert list(without_id) == rows

    @proves("C7", "W13")
    @laws
    @given(filters(EVERYTHING, ROWS), orders(EVERYTHING), st.integers(1, 12))
    async def test_pages_of_any_size_make_up_the_whole(
        self, store: Backend, where: Filter, order: tuple[Order, ...], size: int
    ) -> None:
        """Page by page, in any order with nulls and ties, each document comes exactly once."""
        await _filled(store)
        whole = selected(ROWS, where, order)
        assert ids(await _pages(store, where, order, size)) == ids(whole)

    @proves("C7", "W13")
    @pytest.mark.parametrize("field", ORDERED)
    async def test_pages_cross_nulls_and_ties_of_each_kind(
        self, store: Backend, field: str
    ) -> None:
        """Pages of one, two and seven documents by one key make up the whole, each way."""
        await _filled(store)
        for key in (field, f"-{field}", asc(field, nulls="last"), desc(field, nulls="first")):
            order = parse_order([key])
            whole = ids(selected(ROWS, ALL, order))
            for size in (1, 7):
                assert ids(await _pages(store, ALL, order, size)) == whole, (key, size)

    async def test_a_page_holds_at_most_its_limit(self, store: Backend) -> None:
        """The limit is exact, whether more or fewer documents are there."""
        rows = [person(at, id=identity(at)) for at in range(5)]
        await add(store, PEOPLE, *rows)
        for limit in (1, 4, 5, 6, 1_000):
            assert list(await store.execute(Find(PEOPLE, limit=limit))) == rows[:limit]
        assert await store.execute(Find(PEOPLE, F.visits > 0)) == ()

    @proves("W15")
    async def test_a_count_is_exact(self, store: Backend) -> None:
        """The number of documents is known to the last one, right after each write."""
        await store.execute(Ensure((PEOPLE,)))
        assert await store.execute(CountDocuments(PEOPLE)) == 0
        for at in range(5):
            await add(store, PEOPLE, person(at))
            assert await store.execute(CountDocuments(PEOPLE)) == at + 1

    async def test_a_page_goes_on_where_it_began(self, store: Backend) -> None:
        """The next page is asked of the member that gave the one before, alone and in a unit."""
        rows = [person(at, id=identity(at)) for at in range(4)]
        await add(store, PEOPLE, *rows)

        async def pages(executor: Executor) -> list[Document]:
            first = await executor.execute(Find(PEOPLE, limit=2))
            here = first.origin if isinstance(first, Found) else Origin(executor.name)
            assert here == Origin(store.name), "nobody stands in for another one"
            position = (first[-1]["id"],)
            return [*first, *await executor.execute(Find(PEOPLE, after=position, origin=here))]

        assert await pages(store) == rows
        if store.capabilities.transactions:
            unit = await store.begin()
            assert await pages(unit) == rows
            await unit.rollback()

    async def test_a_wrong_page_is_refused(self, store: Backend) -> None:
        """Limits out of range, unknown or unordered keys and foreign positions are errors."""
        await store.execute(Ensure((EVERYTHING,)))
        order = parse_order(["number"])
        wrong: tuple[tuple[Find, type[InvalidRequestError]], ...] = (
            (Find(EVERYTHING, limit=0), InvalidRequestError),
            (Find(EVERYTHING, limit=-1), InvalidRequestError),
            (Find(EVERYTHING, limit=MAX_LIMIT + 1), InvalidRequestError),
            (Find(EVERYTHING, limit=cast(int, 1.5)), InvalidRequestError),
            (Find(EVERYTHING, order=parse_order(["numbr"])), UnknownFieldError),
            (Find(EVERYTHING, order=parse_order(["data"])), InvalidRequestError),
            (Find(EVERYTHING, order=parse_order(["day", "-day"])), InvalidRequestError),
            (Find(EVERYTHING, order=order, after=(1,)), InvalidRequestError),
            (Find(EVERYTHING, order=order, after=("1", identity(1))), RefusedValueError),
        )
        for op, kind in wrong:
            with pytest.raises(kind) as error:
                await store.execute(op)
            assert error.value.entity == "Everything"

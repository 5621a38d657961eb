"""Pages of a repository: forth and back, each entity once, wherever nulls and ties stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import Backend
from healthstore.entity import Entity, MaxLength, Ref, collection_of, reader_of
from healthstore.errors import InvalidRequestError
from healthstore.model.ops import CountDocuments, Ensure
from healthstore.model.query import ALL, F, Filter, Nulls, Order, asc, desc, parse_order
from healthstore.repository import Page, Repository
from healthstore.repository.cursors import Query
from healthstore.repository.pages import read_all
from healthstore.testing.contract._promises import Contract, laws, needs_references, proves
from healthstore.testing.contract._samples import add_entities

__all__ = ("TestPages",)


class _Leaf(Entity, collection="contract_leaves"):
    name: Annotated[str, MaxLength(20)] | None = None
    number: int = 0


LEAVES = [
    _Leaf(name=name, number=number)
    for number, name in enumerate((None, "b", "a", None, "b", "", None, "ä", "a", None, "B"))
]
_NULLS: tuple[Nulls | None, ...] = (None, "first", "last")


class _Tree(Entity, collection="contract_trees"):
    name: Annotated[str, MaxLength(20)]


class _Branch(Entity, collection="contract_branches"):
    number: int
    tree_id: Annotated[UUID, Ref(_Tree, "cascade")]
    grafted_from: Annotated[UUID | None, Ref(_Tree, "set_null")] = None
    parent_id: Annotated[UUID | None, Ref("self", "set_null")] = None
    named: Annotated[UUID | None, Ref("contract_trees", "set_null")] = None


async def _leaves(store: Backend) -> Repository[_Leaf]:
    leaves = Repository(_Leaf, store)
    await store.execute(Ensure((collection_of(_Leaf),)))
    if not await store.execute(CountDocuments(leaves.collection)):
        await add_entities(leaves, store, LEAVES)
    return leaves


async def _forth(leaves: Repository[_Leaf], order: list[Order], size: int) -> list[Page[_Leaf]]:
    pages = [await leaves.find(order=order, limit=size)]
    while (after := pages[-1].next) is not None:
        pages.append(await leaves.find(order=order, limit=size, after=after))
    return pages


class TestPages(Contract):
    """A page knows its neighbours, and a position only its own query."""

    @proves("C7", "W13", "W14")
    @laws
    @given(st.booleans(), st.sampled_from(_NULLS), st.booleans(), st.integers(1, 12))
    async def test_pages_lead_back_as_they_came(
        self,
        store: Backend,
        down: bool,  # noqa: FBT001 - Hypothesis gives it
        nulls: Nulls | None,
        tie: bool,  # noqa: FBT001 - as above
        size: int,
    ) -> None:
        """All pages forth are the whole list; back from the last one, they are the same pages."""
        leaves = await _leaves(store)
        order = [(desc if down else asc)("name", nulls=nulls), (asc if tie else desc)("number")]
        pages = await _forth(leaves, order, size)
        whole = [each.number for page in pages for each in page]
        assert sorted(whole) == list(range(len(LEAVES)))
        assert [each.number async for each in leaves.stream(order=order)] == whole
        assert pages[0].previous is None
        before, back = pages[-1].previous, list[int]()
        while before is not None:
            page = await leaves.find(order=order, limit=size, after=before)
            assert page.next is not None
            back = [*(each.number for each in page), *back]
            before = page.previous
        assert back == whole[: len(whole) - len(pages[-1])]

    async def test_a_page_back_leads_forth_again(self, store: Backend) -> None:
        """The next page of the one before is the page itself."""
        leaves = await _leaves(store)
        first, second, *_ = await _forth(leaves, [asc("number")], 3)
        assert second.previous is not None
        back = await leaves.find(order=["number"], limit=3, after=second.previous)
        assert (back.items, back.previous) == (first.items, None)
        again = await leaves.find(order=["number"], limit=3, after=back.next)
        assert again.items == second.items

    async def test_a_page_that_is_gone_leads_to_its_neighbours(self, store: Backend) -> None:
        """Everything behind a page was deleted: from nothing one comes back to that page."""
        leaves = await _leaves(store)
        first = await leaves.find(order=["number"], limit=4)
        await _remove(leaves, [each for each in LEAVES if each.number >= 4])
        empty = await leaves.find(order=["number"], limit=4, after=first.next)
        assert (len(empty), empty.next) == (0, None)
        back = await leaves.find(order=["number"], limit=4, after=empty.previous)
        assert back.items == first.items
        assert back.previous is None
        assert [each.number for each in await leaves.find(limit=4)] == [0, 1, 2, 3]

    async def test_first_and_last_are_the_ends(self, store: Backend) -> None:
        """The last one is the first of the opposite order, nulls and ids included."""
        leaves = await _leaves(store)
        whole = [each async for each in leaves.stream(order=["name"])]
        assert await leaves.first(order=["name"]) == whole[0]
        assert await leaves.last(order=["name"]) == whole[-1]
        nulls_last = await leaves.last(order=[asc("name", nulls="last")])
        assert nulls_last is not None
        assert nulls_last.name is None
        assert await leaves.last(F.number < 4, order=["number"]) == LEAVES[3]
        assert await leaves.last(F.number < 0) is None

    @proves("W14")
    async def test_all_are_read_without_a_limit(self, store: Backend) -> None:
        """One page holds all; a stream ends at its limit."""
        leaves = await _leaves(store)
        page = await leaves.find(F.number >= 2, order=["-number"], limit=None)
        assert [each.number for each in page] == list(range(len(LEAVES) - 1, 1, -1))
        assert (page.next, page.previous, len(page)) == (None, None, len(LEAVES) - 2)
        for limit in (1, 4, 5, 100):
            numbers = [
                each.number
                async for each in leaves.stream(order=["number"], limit=limit, page_size=4)
            ]
            assert numbers == list(range(min(limit, len(LEAVES))))

    @laws
    @given(st.integers(1, 7), st.integers(0, len(LEAVES) + 1), st.booleans())
    async def test_all_are_read_in_pages_and_refused_beyond_a_bound(
        self,
        store: Backend,
        size: int,
        most: int,
        back: bool,  # noqa: FBT001 - Hypothesis gives it
    ) -> None:
        """However large the pages are, they are one list forth and back; more than the bound is refused."""
        leaves = await _leaves(store)
        query = Query(leaves.collection, ALL, parse_order(["name"]))
        whole = [each.id async for each in leaves.stream(order=["name"])]
        first = await leaves.find(order=["name"], limit=1)
        token = first.next
        if back:
            second = await leaves.find(order=["name"], limit=4, after=token)
            token = (await leaves.find(order=["name"], after=second.next)).previous
        expected = whole[:5] if back else whole[1:]
        read = partial(read_all, store, query, reader_of(_Leaf), token=token, size=size)
        page = await read(most=len(expected))
        assert [each.id for each in page] == expected
        assert (page.next is None, page.previous is None) == (not back, back)
        if most and most < len(expected):
            with pytest.raises(InvalidRequestError, match=f"more than {most}") as error:
                await read(most=most)
            assert "stream()" in (error.value.hint or "")

    @needs_references
    async def test_a_page_brings_what_it_refers_to(self, store: Backend) -> None:
        """Each class is read once, by id; nulls lead nowhere, and only what was asked for is there."""
        trees, branches = Repository(_Tree, store), Repository(_Branch, store)
        await store.execute(Ensure((trees.collection, branches.collection)))
        oak, elm, ash = _Tree(name="oak"), _Tree(name="elm"), _Tree(name="ash")
        await trees.add_many([oak, elm, ash])
        first = _Branch(number=1, tree_id=oak.id, grafted_from=elm.id)
        await branches.add_many(
            [first, _Branch(number=2, tree_id=oak.id, parent_id=first.id, named=ash.id)]
        )
        order = ["number"]
        page = await branches.find(order=order, include=["tree_id", "grafted_from", "parent_id"])
        assert page.related(_Tree) == {oak.id: oak, elm.id: elm}
        assert page.related(_Branch) == {first.id: first}
        named = await branches.find(order=order, include={"named": _Tree})
        assert named.related(_Tree) == {ash.id: ash}
        nothing = await branches.find(F.number > 9, include=["tree_id"])
        assert nothing.related(_Tree) == {}
        with pytest.raises(InvalidRequestError) as error:
            named.related(_Branch)
        assert error.value.hint
        unnamed: tuple[tuple[object, ...], ...] = (
            *(("named",), (None,), (F.named,), ([_Tree],), (_Tree, F.named), (_Tree, ["named"])),
        )
        for named_by in unnamed:
            with pytest.raises(InvalidRequestError, match="is named by a"):
                cast("Callable[..., object]", named.related)(*named_by)
        odd: tuple[object, ...] = (
            *(["number"], ["named"], ["tree"], {"tree_id": _Branch}, "tree_id"),
            *({"tree_id": False}, {"tree_id": ""}),
        )
        for wrong in cast("tuple[list[str], ...]", odd):
            with pytest.raises(InvalidRequestError) as error:
                await branches.find(include=wrong)
            assert error.value.hint

    async def test_a_position_of_another_query_is_refused(self, store: Backend) -> None:
        """Another order, another filter, a damaged text; other values in the filter go on."""
        leaves = await _leaves(store)
        page = await leaves.find(F.number < 9, order=["number"], limit=2)
        assert page.next is not None
        rest = await leaves.find(F.number < 4, order=["number"], after=page.next)
        assert [each.number for each in rest] == [2, 3]
        damaged = f"{page.next[:20]}{'B' if page.next[20] != 'B' else 'C'}{page.next[21:]}"
        same, way = (F.number < 9,), ["number"]
        wrong: tuple[tuple[tuple[Filter, ...], Sequence[str | Order], str], ...] = (
            (same, ["-number"], page.next),
            (same, [asc("number", nulls="last")], page.next),
            ((F.name < "x",), way, page.next),
            ((F.number > 9,), way, page.next),
            ((), way, page.next),
            (same, way, damaged),
            (same, way, f"{page.next}\n"),
            (same, way, cast(str, page.next.encode())),
            (same, way, "x"),
            (same, way, ""),
        )
        for filters, order, after in wrong:
            with pytest.raises(InvalidRequestError, match="does not belong") as error:
                await leaves.find(*filters, order=order, after=after)
            assert error.value.entity == "_Leaf"

    async def test_a_list_may_grow_from_page_to_page(self, store: Backend) -> None:
        """A list of more, fewer or no values is one of other values: of a field and of a query's."""
        leaves = await _leaves(store)
        query = leaves.query
        page = await leaves.find(F.number.in_([0, 1, 5]), order=["number"], limit=2)
        for numbers, left in (([1, 4], [4]), ([3, 4, 5, 6], [3, 4, 5, 6]), ([], []), ([9], [9])):
            rest = await leaves.find(F.number.in_(numbers), order=["number"], after=page.next)
            assert [each.number for each in rest] == left
        inner = query(F.number.not_in([7])).field("number")
        page = await leaves.find(F.number.in_(inner), order=["number"], limit=2)
        inner = query(F.number.not_in([2, 3, 4])).field("number")
        rest = await leaves.find(F.number.in_(inner), order=["number"], limit=2, after=page.next)
        assert [each.number for each in rest] == [5, 6]
        with pytest.raises(InvalidRequestError, match="does not belong"):
            await leaves.find(F.number == 3, order=["number"], after=page.next)


async def _remove(leaves: Repository[_Leaf], gone: list[_Leaf]) -> None:
    for each in gone:
        assert await leaves.delete(each.id)

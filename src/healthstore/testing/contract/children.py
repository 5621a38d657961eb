"""Children: what refers to the results of a page, and the first documents of each group."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import Backend, Capabilities, Executor, UnitOptions
from healthstore.entity import Entity, MaxLength, Ref, collection_of
from healthstore.errors import InvalidRequestError, UnknownFieldError
from healthstore.layers.catalog import CatalogLayer
from healthstore.layers.guard import GuardLayer
from healthstore.model.change import ChangeEffect
from healthstore.model.ops import Alter, CountDocuments, Ensure, Leading, Op
from healthstore.model.query import ALL, F, Filter, Order, asc, desc, parse_order
from healthstore.model.schema import Field
from healthstore.model.values import FieldType, Kind
from healthstore.repository import Children, Repository, children
from healthstore.testing.contract._altered import NAME, NUMBER, prepare, row_of, things
from healthstore.testing.contract._paired import PAIRS, ROWS
from healthstore.testing.contract._promises import (
    Contract,
    laws,
    needs_alterations,
    needs_references,
    needs_transactions,
)
from healthstore.testing.contract._samples import add, ids, selected
from healthstore.testing.strategies import filters, orders

__all__ = ("TestChildren",)

R = TypeVar("R")

_PER = (
    "first",
    "number_one",
    "owner_other",
    "level_one",
    "day_one",
    "flag_other",
    "dose_one",
    "id",
)


async def _filled(store: Backend) -> Backend:
    """Add the rows; an example of a law may find them already there."""
    await store.execute(Ensure((PAIRS,)))
    if not await store.execute(CountDocuments(PAIRS)):
        await add(store, PAIRS, *ROWS)
    return store


def _leading(per: str, first: int, where: Filter, order: tuple[Order, ...]) -> tuple[UUID, ...]:
    """Return the ids of the first documents of each group, beside the evaluator."""
    rows = selected(ROWS, where, order)
    # Sorts are stable: in each group they are as they were.
    rows.sort(key=lambda row: cast(Any, (0,) if row[per] is None else (1, row[per])))
    grouped = groupby(rows, key=lambda row: row[per])
    return ids(row for _, group in grouped for row in islice(group, first))


class _Post(Entity, collection="contract_posts"):
    title: Annotated[str, MaxLength(20)]
    answered: Annotated[UUID | None, Ref("self", "set_null")] = None


class _Comment(Entity, collection="contract_comments"):
    post_id: Annotated[UUID, Ref(_Post, "cascade")]
    moved_from: Annotated[UUID | None, Ref(_Post, "set_null")] = None
    named: Annotated[UUID | None, Ref("contract_posts", "set_null")] = None
    number: int
    text: str | None = None


class _Likes(Entity, collection="contract_likes"):
    post_id: Annotated[UUID, Ref(_Post, "cascade")]
    count: int


async def _blog(store: Backend) -> tuple[Repository[_Post], list[_Post], list[_Comment]]:
    """Return a repository with posts that have five, three and no comments."""
    entities: tuple[type[Entity], ...] = (_Post, _Comment, _Likes)
    await store.execute(Ensure(tuple(map(collection_of, entities))))
    posts = Repository(_Post, store)
    a, b, c = _Post(title="a"), _Post(title="b"), _Post(title="c")
    a.answered = c.id
    await posts.add_many([a, b, c])
    texts = ("z", None, "x" * 2_000 + "b", "x" * 2_000 + "a", "é")
    comments = [
        _Comment(post_id=post.id, number=at, text=texts[at], moved_from=c.id if at == 2 else None)
        for post, count in ((a, 5), (b, 3))
        for at in range(count)
    ]
    comments[0].named = b.id
    await Repository(_Comment, store).add_many(comments)
    await Repository(_Likes, store).add(_Likes(post_id=b.id, count=7))
    return posts, [a, b, c], comments


class _Counting:
    """An executor that counts the requests that pass."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self.asked: list[str] = []

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    def execute(self, op: Op[R]) -> Coroutine[Any, Any, R]:
        self.asked.append(type(op).__name__)
        return self._inner.execute(op)


class TestChildren(Contract):
    """A page brings what refers to its results, as many of each as were asked for."""

    @laws
    @given(st.sampled_from(_PER), st.integers(1, 4), filters(PAIRS, ROWS), orders(PAIRS))
    async def test_the_first_of_each_group_are_those_of_python(
        self, store: Backend, per: str, first: int, where: Filter, order: tuple[Order, ...]
    ) -> None:
        """Any field that groups, any filter, any order with nulls first or last; null is a group of its own."""
        await _filled(store)
        found = await store.execute(Leading(PAIRS, (per,), first, where, order, limit=1_000))
        assert ids(found) == _leading(per, first, where, order)
        few = await store.execute(Leading(PAIRS, (per,), first, where, order, limit=2))
        assert ids(few) == ids(found[:2])
        by_id = {row["id"]: row for row in ROWS}
        assert list(found) == [by_id[row["id"]] for row in found]

    @pytest.mark.parametrize(
        ("op", "field"),
        [
            (Leading(PAIRS, (), 1), None),
            (Leading(PAIRS, ("first", "first"), 1), "first"),
            (Leading(PAIRS, ("blob_one",), 1), "blob_one"),
            (Leading(PAIRS, ("third",), 1), None),
            (Leading(PAIRS, ("first",), 1, order=(Order("blob_one"),)), "blob_one"),
            (Leading(PAIRS, ("first",), 1, F.third == 1), None),
            (Leading(PAIRS, ("first",), 0), None),
            (Leading(PAIRS, ("first",), cast(int, 1.0)), None),
            (Leading(PAIRS, ("first",), 1, limit=0), None),
        ],
    )
    async def test_groups_that_are_none_are_refused(
        self, store: Backend, op: Leading, field: str | None
    ) -> None:
        """By nothing, a field twice, bytes, what is no field, and none of each: before any I/O."""
        with pytest.raises(InvalidRequestError) as refused:
            await store.execute(op)
        assert refused.value.field == field
        assert refused.value.hint
        assert (refused.value.entity, refused.value.backend) == ("Pair", store.name)

    @needs_alterations
    async def test_the_first_of_each_group_are_shown_as_they_are_known(
        self, store: Backend
    ) -> None:
        """A program of an earlier definition sees its own fields."""
        before = things(NAME, Field("rank", NUMBER))
        rows = [row_of(at, name=f"n{at}", rank=at % 2) for at in range(4)]
        await prepare(store, before, *rows)
        note = Field("note", FieldType(Kind.TEXT, max_length=9), nullable=True)
        after = replace(before, fields=(*before.fields, note))
        await store.execute(Alter(before, after, ChangeEffect.ADDITIVE))
        program = GuardLayer(CatalogLayer(store))
        found = await program.execute(Leading(before, ("rank",), 1, ALL, parse_order(["-name"])))
        assert found == (rows[2], rows[3])

    @needs_references
    async def test_a_page_brings_the_children_of_its_results(self, store: Backend) -> None:
        """All of them in order, or the first of each; an empty list where there is none."""
        posts, (a, b, c), comments = await _blog(store)
        of_a, of_b = comments[:5], comments[5:]
        keys: list[Sequence[str | Order]] = [
            *(["-number"], ["text"], ["-text"], ["text", "-number"]),
            [asc("text", nulls="last")],
            [desc("text", nulls="first"), "number"],
        ]
        for order in keys:
            whole = Children(_Comment, "post_id", order=order)
            page = await posts.find(order=["title"], include=[whole])
            found = page.related(whole)
            assert found.keys() == {a.id, b.id, c.id}
            assert found[c.id] == []
            for post, expected in ((a, of_a), (b, of_b)):
                documents = [each.model_dump() for each in expected]
                ordered = selected(documents, ALL, parse_order(order))
                assert [each.id for each in found[post.id]] == [each["id"] for each in ordered]
            for limit in (1, 2, 4, 10_000):
                some = Children(_Comment, F.post_id, order=order, limit=limit)
                page = await posts.find(order=["title"], include=[some])
                first = {id_: each[:limit] for id_, each in found.items()}
                assert page.related(some) == first
                assert page.related(_Comment, "post_id") == first
                without_name: Mapping[UUID, object] = page.related(_Comment)
                assert without_name == first

    @needs_references
    async def test_relations_are_read_by_one_request_each(self, store: Backend) -> None:
        """Both ways at once, several of a class, to its own class; pages without results ask none."""
        _, (a, b, c), comments = await _blog(store)
        counting = _Counting(store)
        posts = Repository(_Post, counting)
        include: list[str | Children[Entity]] = [
            "answered",
            Children(_Comment, _Comment.post_id, order=["number"], limit=2),
            Children(_Comment, "moved_from"),
            Children(_Comment, "named"),
            Children(_Likes, "post_id"),
        ]
        page = await posts.find(order=["title"], include=include)
        assert counting.asked == ["Find", "Get", "Leading", "Find", "Find", "Find"]
        assert page.related(_Post) == page.related(_Post, "answered") == {c.id: c}
        newest = {a.id: comments[:2], b.id: comments[5:7], c.id: []}
        assert page.related(_Comment, "post_id") == newest
        moved = page.related(_Comment, "moved_from")
        assert (moved[a.id], moved[b.id]) == ([], [])
        assert {each.id for each in moved[c.id]} == {comments[2].id, comments[7].id}
        assert page.related(_Comment, "named")[b.id] == comments[:1]
        assert [each.count for each in page.related(_Likes, "post_id")[b.id]] == [7]
        own = await posts.find(include=[Children(_Post, "answered")])
        assert own.related(_Post, "answered") == {a.id: [], b.id: [], c.id: [a]}
        counting.asked.clear()
        nothing = await posts.find(F.title == "z", include=include)
        assert (counting.asked, nothing.related(_Comment, "post_id")) == (["Find"], {})
        assert nothing.related(_Post, "answered") == {}

    @needs_references
    async def test_what_was_not_read_is_told(self, store: Backend) -> None:
        """Another class, another field, and a class of which several relations were read."""
        posts, _, _ = await _blog(store)
        one, other = Children(_Comment, "post_id"), Children(_Comment, "moved_from")
        page = await posts.find(include=[one, other])
        for asked in (
            lambda: page.related(_Likes),
            lambda: page.related(_Comment, "named"),
            lambda: page.related(_Post),
            lambda: page.related(_Comment),
            lambda: page.related(Children(_Likes, "post_id")),
        ):
            with pytest.raises(InvalidRequestError) as refused:
                asked()
            assert refused.value.hint
        both = await posts.find(include=["answered", Children(_Comment, "post_id")])
        assert both.related(_Comment).keys() == {each.id for each in both}

    async def test_wrong_children_are_refused_before_any_request(self, store: Backend) -> None:
        """No reference, one that leads elsewhere, no limit, an unknown order, one relation twice."""
        posts = Repository(_Post, store)
        wrong: tuple[list[str | Children[Entity]], ...] = (
            [Children(_Comment, "number")],
            [Children(_Likes, "post_id"), Children(_Likes, "post_id", limit=1)],
            ["answered", "answered"],
            ["answered", Children(_Post, "answered")],
        )
        for include in wrong:
            with pytest.raises(InvalidRequestError) as refused:
                await posts.find(include=include)
            assert refused.value.hint
        with pytest.raises(InvalidRequestError, match="has another one"):
            await Repository(_Likes, store).find(include=[Children(_Comment, "post_id")])
        for limit in (0, -1, 10_001, True, 1.0):
            with pytest.raises(InvalidRequestError, match="limit of children"):
                Children(_Comment, "post_id", limit=cast(int, limit))
        with pytest.raises(InvalidRequestError, match="no entity"):
            Children(cast("type[Entity]", "comments"), "post_id")
        with pytest.raises(UnknownFieldError, match="numbr"):
            Children(_Comment, "post_id", order=["numbr"])
        with pytest.raises(UnknownFieldError, match="post"):
            Children(_Comment, "post")
        with pytest.raises(InvalidRequestError, match="another entity"):
            Children(_Comment, _Likes.post_id)

    @needs_references
    async def test_children_beyond_the_most_are_refused(
        self, store: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the way out: a smaller page, or a limit."""
        posts, (_, b, _), _ = await _blog(store)
        monkeypatch.setattr(children, "MAX_CHILDREN", 7)
        for each in (Children(_Comment, "post_id"), Children(_Comment, "post_id", limit=5)):
            with pytest.raises(InvalidRequestError, match="more than 7") as refused:
                await posts.find(include=[each])
            assert (refused.value.entity, refused.value.field) == ("_Comment", "post_id")
            assert refused.value.hint
            page = await posts.find(F.title == "b", include=[each])
            assert len(page.related(each)[b.id]) == 3
        four = await posts.find(include=[Children(_Comment, "post_id", limit=4)])
        assert sum(map(len, four.related(_Comment, "post_id").values())) == 7

    @needs_transactions
    @needs_references
    async def test_a_unit_sees_the_children_that_it_wrote(self, store: Backend) -> None:
        """With a limit and without, and nobody else does."""
        posts, (a, _, c), _ = await _blog(store)
        asked = [
            Children(_Comment, "post_id", order=["-number"], limit=limit) for limit in (1, None)
        ]
        for each in asked:
            unit = await store.begin(UnitOptions())
            try:
                new = _Comment(post_id=c.id, number=9)
                await Repository(_Comment, unit).add(new)
                page = await Repository(_Post, unit).find(include=[each])
                assert page.related(each)[c.id] == [new]
                assert page.related(each)[a.id][0].number == 4
            finally:
                await unit.rollback()
            page = await posts.find(include=[each])
            assert page.related(each)[c.id] == []

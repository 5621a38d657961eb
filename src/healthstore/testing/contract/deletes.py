"""Deletes: what follows from one is planned above the databases, and the same on all of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthstore.abc import Backend
from healthstore.errors import (
    ConflictError,
    ForeignKeyError,
    LifecycleError,
    Outcome,
    StaleVersionError,
)
from healthstore.model.ops import Batch, CountDocuments, Delete, Ensure, Insert, Patch
from healthstore.model.schema import Collection, Field, OnDelete, Reference
from healthstore.model.values import Document, FieldType, Kind
from healthstore.testing.contract._promises import Contract, laws, needs_references, proves
from healthstore.testing.contract._samples import add, family, identity, ids, member, stored

__all__ = ("TestDeletes",)

_KEYS = (Field("id", FieldType(Kind.UUID)), Field("version", FieldType(Kind.INTEGER)))


def _linked(
    name: str, *links: tuple[str, str, OnDelete], required: Sequence[str] = ()
) -> Collection:
    """Return a collection with references: field, collection, on_delete."""
    fields = (Field(field, FieldType(Kind.UUID), field not in required) for field, _, _ in links)
    references = tuple(
        Reference(field, f"contract_{target}", on_delete) for field, target, on_delete in links
    )
    return Collection(f"contract_{name}", (*_KEYS, *fields), references=references, entity=name)


def _row(collection: Collection, number: int, **links: UUID | None) -> Document:
    empty = dict.fromkeys(each.field for each in collection.references)
    return {"id": identity(number), "version": 1, **empty, **links}


# Every kind of reference, within a collection and between two and three, and circles of them.
_GRAPH = (
    _linked(
        "graph_a",
        ("up", "graph_a", "cascade"),
        ("held", "graph_a", "restrict"),
        ("seen", "graph_a", "set_null"),
        ("c_cascade", "graph_c", "cascade"),
        ("c_restrict", "graph_c", "restrict"),
        ("c_null", "graph_c", "set_null"),
    ),
    _linked(
        "graph_b",
        ("a_cascade", "graph_a", "cascade"),
        ("a_restrict", "graph_a", "restrict"),
        ("a_null", "graph_a", "set_null"),
        ("up", "graph_b", "cascade"),
    ),
    _linked(
        "graph_c",
        ("a_cascade", "graph_a", "cascade"),
        ("b_cascade", "graph_b", "cascade"),
        ("b_restrict", "graph_b", "restrict"),
        ("b_null", "graph_b", "set_null"),
        ("seen", "graph_c", "set_null"),
    ),
)
_BY_NAME = {each.name: each for each in _GRAPH}
_THREAD = _linked("thread", ("parent", "thread", "cascade"), ("reply_to", "thread", "set_null"))
_RING = _linked("ring", ("next", "ring", "restrict"))
_RANK = _linked("rank", ("boss", "rank", "restrict"), required=("boss",))
_BOUND = _linked(
    "bound",
    ("boss", "bound", "cascade"),
    ("deputy", "bound", "restrict"),
    ("mentor", "bound", "cascade"),
    required=("boss",),
)
_OFFICE = _linked("office", ("head", "staff", "set_null"))
_STAFF = _linked("staff", ("office", "office", "cascade"), required=("office",))
_TWICE = (
    _linked("twice_first", ("one", "twice", "restrict"), ("two", "twice", "cascade")),
    _linked("twice_second", ("one", "twice", "cascade"), ("two", "twice", "restrict")),
)
_TWICE_PARENT = _linked("twice")
_TOP, _LEFT, _RIGHT = (
    _linked("top"),
    _linked("left", ("top", "top", "cascade")),
    _linked("right", ("top", "top", "cascade")),
)
_BOTTOM = _linked("bottom", ("left", "left", "cascade"), ("right", "right", "restrict"))

Key = tuple[str, UUID]
Rows = dict[Key, Document]


def _expected(rows: Rows, named: set[Key]) -> Rows | None:
    """Return what a delete leaves, by the rules and nothing else; None if it is refused."""
    links = [
        (key, each, (each.collection, cast(UUID, row[each.field])))
        for key, row in rows.items()
        for each in _BY_NAME[key[0]].references
        if row[each.field] is not None
    ]
    gone = named & rows.keys()
    while (
        more := {
            key for key, each, target in links if each.on_delete == "cascade" and target in gone
        }
        - gone
    ):
        gone |= more
    left = {key: dict(row) for key, row in rows.items() if key not in gone}
    emptied: defaultdict[Key, set[str]] = defaultdict(set)
    for key, each, target in links:
        if key in left and target in gone:
            if each.on_delete == "restrict":
                return None
            emptied[key].add(each.field)
    for key, fields in emptied.items():
        version = cast(int, left[key]["version"])
        left[key].update(dict.fromkeys(fields), version=version + 1)
    return left


_NUMBERS = st.integers(0, 4)


@st.composite
def _programs(draw: st.DrawFn) -> tuple[Rows, list[tuple[str, list[UUID]]]]:
    """Return a few documents that refer to each other anyhow, and deletes of some of them."""
    keys = draw(
        st.lists(st.tuples(st.sampled_from(sorted(_BY_NAME)), _NUMBERS), min_size=2, unique=True)
    )
    there = [(name, identity(number + 1)) for name, number in keys]
    rows: Rows = {}
    for name, own in there:
        collection = _BY_NAME[name]
        row = _row(collection, 0, id=own)
        for each in collection.references:
            targets = [target for kind, target in there if kind == each.collection]
            row[each.field] = draw(st.sampled_from([None, None, *targets]))
        rows[name, own] = row
    deletes = draw(
        st.lists(
            st.tuples(
                st.sampled_from(sorted(_BY_NAME)),
                st.lists(_NUMBERS.map(lambda each: identity(each + 1)), min_size=1, unique=True),
            ),
            min_size=1,
            max_size=3,
        )
    )
    return rows, deletes


async def _everything(store: Backend) -> Rows:
    """Return what is stored of the graph."""
    return {
        (each.name, cast(UUID, row["id"])): row
        for each in _GRAPH
        for row in await stored(store, each)
    }


async def _fill(store: Backend, rows: Rows) -> None:
    """Store documents that refer to each other anyhow: first without, then with references."""
    await store.execute(Ensure(_GRAPH))
    await _drain(store)
    for collection in _GRAPH:
        mine = tuple(row for (name, _), row in rows.items() if name == collection.name)
        within = {
            each.field for each in collection.references if each.collection == collection.name
        }
        outside = {each.field for each in collection.references} - within
        if mine:  # references within one collection come along
            bare = tuple({**row, **dict.fromkeys(outside)} for row in mine)
            await store.execute(Insert(collection, cast("tuple[Document, ...]", bare)))
    for (name, own), row in rows.items():
        sets = tuple((each.field, row[each.field]) for each in _BY_NAME[name].references)
        await store.execute(Patch(_BY_NAME[name], (own,), sets))


async def _drain(store: Backend) -> None:
    """Remove everything of the graph."""
    for name, own in await _everything(store):
        sets = tuple((each.field, None) for each in _BY_NAME[name].references)
        await store.execute(Patch(_BY_NAME[name], (own,), sets))
    for name, own in await _everything(store):
        await store.execute(Delete(_BY_NAME[name], (own,)))


async def _refused(store: Backend, op: Delete) -> None:
    with pytest.raises(ForeignKeyError) as error:
        await store.execute(op)
    assert (error.value.entity, error.value.field) == (op.collection.entity, None)
    assert error.value.outcome is Outcome.NOT_APPLIED
    assert error.value.hint


class TestDeletes(Contract):
    """What goes with a document, what forbids that, and what loses a reference."""

    @proves("T16")
    @settings(laws, max_examples=25)
    @given(_programs())
    @needs_references
    async def test_a_delete_follows_the_rules_on_any_graph(
        self, store: Backend, program: tuple[Rows, list[tuple[str, list[UUID]]]]
    ) -> None:
        """Whatever refers to whatever, answers and documents are those that the rules give."""
        rows, deletes = program
        await _fill(store, rows)
        for name, named in deletes:
            expected = _expected(rows, {(name, each) for each in named})
            op = Delete(_BY_NAME[name], tuple(named))
            if expected is None:
                await _refused(store, op)
            else:
                there = tuple((name, each) in rows for each in named)
                assert await store.execute(op) == there
                rows = expected
            assert await _everything(store) == rows

    @needs_references
    async def test_a_chain_of_any_depth_goes_with_its_root(self, store: Backend) -> None:
        """A cascade through 1,200 generations ends, and another tree stays."""
        await store.execute(Ensure((_THREAD,)))
        chain = [_row(_THREAD, 1)]
        chain.extend(_row(_THREAD, at, parent=identity(at - 1)) for at in range(2, 1_201))
        other = _row(_THREAD, 5_000)
        await store.execute(Insert(_THREAD, (*reversed(chain), other)))
        assert await store.execute(CountDocuments(_THREAD)) == 1_201
        assert await store.execute(Delete(_THREAD, (identity(1),))) == (True,)
        assert await stored(store, _THREAD) == [other]

    @needs_references
    async def test_a_thread_goes_with_its_replies(self, store: Backend) -> None:
        """Comments below one go with it; replies to them from elsewhere stay, without the reply."""
        first, second = _row(_THREAD, 1), _row(_THREAD, 2)
        below = _row(_THREAD, 3, parent=identity(1), reply_to=identity(1))
        lower = _row(_THREAD, 4, parent=identity(3), reply_to=identity(2))
        reply = _row(_THREAD, 5, parent=identity(2), reply_to=identity(4))
        await add(store, _THREAD, first, second, below, lower, reply)
        assert await store.execute(Delete(_THREAD, ids([first]))) == (True,)
        assert await stored(store, _THREAD) == [second, {**reply, "reply_to": None, "version": 2}]

    @needs_references
    async def test_two_references_to_one_parent_have_one_answer(self, store: Backend) -> None:
        """A document that must go may also restrict, whichever of the two is declared first."""
        for children in _TWICE:
            parent, other = _row(_TWICE_PARENT, 1), _row(_TWICE_PARENT, 2)
            await store.execute(Ensure((_TWICE_PARENT, children)))
            await add(store, _TWICE_PARENT, parent, other)
            cascade = next(
                each.field for each in children.references if each.on_delete == "cascade"
            )
            restrict = "two" if cascade == "one" else "one"
            both = _row(children, 1, one=identity(1), two=identity(1))
            held = _row(children, 2, **{cascade: identity(1), restrict: identity(2)})
            await add(store, children, both, held)
            await _refused(store, Delete(_TWICE_PARENT, ids([other])))
            assert await store.execute(Delete(_TWICE_PARENT, ids([parent]))) == (True,)
            assert await stored(store, children) == []
            assert await store.execute(Delete(_TWICE_PARENT, ids([other]))) == (True,)

    @needs_references
    async def test_a_diamond_goes_as_a_whole(self, store: Backend) -> None:
        """A restrict between two documents that one cascade removes is in nobody's way."""
        await store.execute(Ensure((_TOP, _LEFT, _RIGHT, _BOTTOM)))
        await add(store, _TOP, _row(_TOP, 1))
        await add(store, _LEFT, _row(_LEFT, 1, top=identity(1)))
        await add(store, _RIGHT, _row(_RIGHT, 1, top=identity(1)))
        await add(store, _BOTTOM, _row(_BOTTOM, 1, left=identity(1), right=identity(1)))
        await _refused(store, Delete(_RIGHT, (identity(1),)))
        assert await store.execute(Delete(_TOP, (identity(1),))) == (True,)
        for each in (_TOP, _LEFT, _RIGHT, _BOTTOM):
            assert await store.execute(CountDocuments(each)) == 0

    @needs_references
    @pytest.mark.parametrize("collection", [_RING, _RANK], ids=["optional", "required"])
    async def test_a_document_may_refer_to_itself(
        self, store: Backend, collection: Collection
    ) -> None:
        """Its own reference does not keep it, though another document's does."""
        (link,) = (each.field for each in collection.references)
        await store.execute(Ensure((collection,)))
        own = _row(collection, 1, **{link: identity(1)})
        child = _row(collection, 2, **{link: identity(1)})
        await add(store, collection, own)
        await add(store, collection, child)
        await _refused(store, Delete(collection, ids([own])))
        await _refused(store, Delete(collection, ids([own]), (1,)))
        assert await stored(store, collection) == [own, child]
        assert await store.execute(Delete(collection, ids([child]))) == (True,)
        assert await store.execute(Delete(collection, ids([own]))) == (True,)

    @needs_references
    async def test_a_document_may_refer_to_itself_in_several_ways(self, store: Backend) -> None:
        """One reference is required and the others are not: it goes, and so does its circle."""
        await store.execute(Ensure((_BOUND,)))
        links = ("boss", "deputy", "mentor")
        alone = _row(_BOUND, 1, **dict.fromkeys(links, identity(1)))
        pair = (
            _row(_BOUND, 2, **dict.fromkeys(links, identity(2))),
            _row(_BOUND, 3, **dict.fromkeys(links, identity(2))),
        )
        await add(store, _BOUND, alone, *pair)
        assert await store.execute(Delete(_BOUND, ids([alone]))) == (True,)
        assert await store.execute(Delete(_BOUND, ids(pair[:1]))) == (True,)
        assert await store.execute(CountDocuments(_BOUND)) == 0

    @needs_references
    @pytest.mark.parametrize("collection", [_RING, _RANK], ids=["optional", "required"])
    async def test_a_circle_of_documents_goes_together(
        self, store: Backend, collection: Collection
    ) -> None:
        """Documents that restrict each other go by one request, and by less than all do not."""
        (link,) = (each.field for each in collection.references)
        await store.execute(Ensure((collection,)))
        size = 30
        for number in range(size):
            await add(store, collection, _row(collection, number, **{link: identity(number)}))
        for number in range(size):
            to = (link, identity((number + 1) % size))
            await store.execute(Patch(collection, (identity(number),), (to,)))
        everybody = tuple(identity(number) for number in range(size))
        await _refused(store, Delete(collection, everybody[1:]))
        assert await store.execute(CountDocuments(collection)) == size
        assert await store.execute(Delete(collection, everybody)) == (True,) * size

    @needs_references
    async def test_a_request_may_add_a_circle(self, store: Backend) -> None:
        """Documents that refer to each other are added as given, if a reference may be None."""
        await store.execute(Ensure((_RING, _THREAD)))
        ring = [_row(_RING, at, next=identity(at % 3 + 1)) for at in (1, 2, 3)]
        tail = [_row(_RING, 4, next=identity(1)), _row(_RING, 5, next=identity(4))]
        assert await store.execute(Insert(_RING, (*reversed(tail), *ring))) == 5
        assert await stored(store, _RING) == [*ring, *tail]
        pair = (
            _row(_THREAD, 1, parent=identity(2)),
            _row(_THREAD, 2, reply_to=identity(1)),
        )
        assert await store.execute(Batch((Insert(_THREAD, pair),))) == (2,)
        assert await stored(store, _THREAD) == list(pair)

    @needs_references
    async def test_a_circle_of_required_references_is_refused(self, store: Backend) -> None:
        """None of its documents can be the first, and nothing is added."""
        await store.execute(Ensure((_RANK,)))
        rows = [_row(_RANK, at, boss=identity(at % 3 + 1)) for at in (1, 2, 3)]
        with pytest.raises(ForeignKeyError) as error:
            await store.execute(Insert(_RANK, (_row(_RANK, 4, boss=identity(4)), *rows)))
        assert (error.value.entity, error.value.field) == ("rank", "boss")
        assert error.value.outcome is Outcome.NOT_APPLIED
        assert error.value.hint
        assert await stored(store, _RANK) == []
        line = (_row(_RANK, 2, boss=identity(1)), _row(_RANK, 1, boss=identity(1)))
        assert await store.execute(Insert(_RANK, line)) == 2

    @needs_references
    async def test_collections_may_refer_to_each_other(self, store: Backend) -> None:
        """An office has a head of its staff, and the staff an office: both are checked."""
        assert (await store.execute(Ensure((_STAFF, _OFFICE)))).created in {
            (_STAFF.name, _OFFICE.name),
            (),
        }
        await store.execute(Ensure((_OFFICE,)))
        office, other = _row(_OFFICE, 1), _row(_OFFICE, 2)
        head = _row(_STAFF, 1, office=identity(1))
        await add(store, _OFFICE, office, other)
        await add(store, _STAFF, head)
        for collection, sets in (
            (_OFFICE, (("head", identity(9)),)),
            (_STAFF, (("office", identity(9)),)),
        ):
            with pytest.raises(ForeignKeyError):
                await store.execute(Patch(collection, (identity(1),), sets))
        await store.execute(Patch(_OFFICE, ids([office, other]), (("head", identity(1)),)))
        assert await store.execute(Delete(_STAFF, (identity(1),))) == (True,)
        assert await stored(store, _OFFICE) == [{**each, "version": 2} for each in (office, other)]
        await add(store, _STAFF, head)
        await store.execute(Patch(_OFFICE, ids([office, other]), (("head", identity(1)),)))
        assert await store.execute(Delete(_OFFICE, (identity(1),))) == (True,)
        assert await stored(store, _OFFICE) == [{**other, "version": 3}]
        assert await stored(store, _STAFF) == []

    @needs_references
    async def test_versions_of_a_delete_are_checked_first(self, store: Backend) -> None:
        """An unexpected version of a document that was named refuses all of it."""
        parents, children, _ = family("cascade")
        await store.execute(Ensure((parents, children)))
        first, second = member(parents), member(parents)
        await add(store, parents, first, second)
        child = member(children, first["id"])
        await add(store, children, child)
        with pytest.raises(StaleVersionError):
            await store.execute(Delete(parents, ids([first, second]), (1, 2)))
        assert await stored(store, children) == [child]
        assert await store.execute(CountDocuments(parents)) == 2
        absent = member(parents)
        named = Delete(parents, ids([absent, first, second]), (7, 1, 1))
        assert await store.execute(named) == (False, True, True)
        assert await stored(store, children) == []

    @needs_references
    async def test_a_delete_is_a_part_of_its_unit(self, store: Backend) -> None:
        """What follows from a delete goes and comes back with the unit; a refusal ends it."""
        parents, children, _ = family("cascade")
        await store.execute(Ensure((parents, children)))
        parent = member(parents)
        child = member(children, parent["id"])
        await add(store, parents, parent)
        await add(store, children, child)
        unit = await store.begin()
        assert await unit.execute(Delete(parents, ids([parent]))) == (True,)
        assert await unit.execute(CountDocuments(children)) == 0
        await unit.rollback()
        assert await stored(store, children) == [child]
        unit = await store.begin()
        with pytest.raises(StaleVersionError):
            await unit.execute(Delete(parents, ids([parent]), (2,)))
        with pytest.raises(LifecycleError):
            await unit.commit()
        await unit.rollback()
        assert await stored(store, parents) == [parent]

    @needs_references
    async def test_a_wide_cascade_is_whole(self, store: Backend) -> None:
        """Thousands of children go, more than one page or one request holds."""
        parents, children, grandchildren = family("cascade")
        await store.execute(Ensure((parents, children, grandchildren)))
        parent, other = member(parents), member(parents)
        await add(store, parents, parent, other)
        rows = [member(children, parent["id"]) for _ in range(6_000)]
        kept = member(children, other["id"])
        await add(store, children, *rows, kept)
        await add(store, grandchildren, member(grandchildren, rows[-1]["id"]))
        assert await store.execute(Delete(parents, ids([parent]))) == (True,)
        assert await stored(store, children) == [kept]
        assert await store.execute(CountDocuments(grandchildren)) == 0

    @needs_references
    async def test_cascades_that_are_too_many_wait(self, store: Backend) -> None:
        """Of a hundred that begin at once, each a unit of its own, none is told of an outage."""
        parents, children, _ = family("cascade")
        await store.execute(Ensure((parents, children)))
        people = [member(parents) for _ in range(100)]
        await add(store, parents, *people)
        await add(store, children, *(member(children, each["id"]) for each in people))

        async def remove(parent: Document) -> None:
            for _ in range(20):
                try:
                    assert await store.execute(Delete(parents, ids([parent]))) == (True,)
                except ConflictError:
                    continue
                return
            pytest.fail("a delete gave way twenty times in a row")

        await asyncio.gather(*map(remove, people))
        for each in (parents, children):
            assert await store.execute(CountDocuments(each)) == 0

    @needs_references
    async def test_what_refers_later_is_known(self, store: Backend) -> None:
        """A collection that is made after a delete counts for the next one."""
        parents, children, _ = family("cascade")
        await store.execute(Ensure((parents,)))
        first, second = member(parents), member(parents)
        await add(store, parents, first, second)
        assert await store.execute(Delete(parents, ids([first]))) == (True,)
        # As another process would: the layers of this store do not see it.
        await _below(store).execute(Ensure((children,)))
        await _below(store).execute(Insert(children, (member(children, second["id"]),)))
        assert await store.execute(Delete(parents, ids([second]))) == (True,)
        assert await stored(store, children) == []


def _below(store: Backend) -> Backend:
    """Return the author's backend, which lies below the layers of the contract."""
    below: Any = store
    return cast(Backend, below.inner.inner)

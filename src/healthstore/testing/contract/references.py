"""References: a child has its parent, and a parent's removal does what was declared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Annotated
from uuid import UUID, uuid4

import pytest

from healthstore.abc import Backend
from healthstore.entity import Entity, MaxLength, Ref, collection_of
from healthstore.errors import DuplicateKeyError, ForeignKeyError, Outcome
from healthstore.model.ops import Batch, CountDocuments, Delete, Ensure, Get, Insert, Patch, Replace
from healthstore.model.query import F
from healthstore.model.schema import Collection, Field, Index, Reference, Unique
from healthstore.model.values import Document, FieldType, Kind, Value
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, needs_references, proves
from healthstore.testing.contract._samples import add, family, identity, ids, member, person, stored

__all__ = ("TestReferences",)

TREE = Collection(
    "contract_tree",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("name", FieldType(Kind.TEXT)),
        Field("parent", FieldType(Kind.UUID), nullable=True),
    ),
    references=(Reference("parent", "contract_tree", "cascade"),),
    entity="Node",
)

CHAIN = replace(TREE, name="contract_chain", references=(Reference("parent", "contract_chain"),))

_KEYED_FIELDS = (
    *TREE.fields[:2],
    Field("parent", FieldType(Kind.UUID), nullable=True),
    Field("other", FieldType(Kind.UUID), nullable=True),
    Field("number", FieldType(Kind.INTEGER), nullable=True),
)
# Every place that a reference can have in a key: some databases look a parent up by such a key.
KEYED: Mapping[str, tuple[Unique | Index, ...]] = {
    "unique_first": (Unique("parent", "number"),),
    "unique_last": (Unique("number", "parent"),),
    "unique_alone": (Unique("parent"), Unique("parent", "number")),
    "unique_two": (Unique("parent", "other"),),
    "index_first": (Index("parent", "-number"),),
    "index_alone": (Index("parent", "number"), Index("parent")),
    "index_two": (Index("parent", "other"), Index("other", "parent"), Unique("other", "number")),
}


def _keyed(name: str) -> tuple[Collection, Collection]:
    """Return a collection of parents and one whose references are in keys of :data:`KEYED`."""
    parents = Collection(f"contract_keyed_{name}_parents", _KEYED_FIELDS[:2])
    children = Collection(
        f"contract_keyed_{name}",
        _KEYED_FIELDS,
        uniques=tuple(each for each in KEYED[name] if isinstance(each, Unique)),
        indexes=tuple(each for each in KEYED[name] if isinstance(each, Index)),
        references=(Reference("parent", parents.name), Reference("other", parents.name)),
    )
    return parents, children


class _Doctor(Entity, collection="contract_doctors"):
    pass


class _Clinic(Entity, collection="contract_clinics"):
    pass


class _Visit(Entity, collection="contract_visits"):
    """Two references to one collection, one to another and one to its own, none in order of names."""

    number: Annotated[str, Unique(), MaxLength(40)]
    seen_by: Annotated[UUID, Ref(_Doctor)]
    sent_by: Annotated[UUID | None, Ref(_Doctor)] = None
    clinic: Annotated[UUID | None, Ref(_Clinic)] = None
    earlier: Annotated[UUID | None, Ref("self")] = None
    note: str = ""


# How a document that refers to nothing may come to be written; the document before is stored.
_Write = Callable[[Repository[_Visit], _Visit, str], Awaitable[object]]


def _another(visit: _Visit, **changes: object) -> _Visit:
    """Return a visit like this one, with an id and a number of its own."""
    own = {"id": uuid4(), "number": f"{uuid4()}"}
    return _Visit.model_validate({**visit.model_dump(), **own, **changes})


async def _add_many(visits: Repository[_Visit], visit: _Visit, field: str) -> None:
    own = uuid4()
    wrong = _another(visit, id=own, **{"earlier": own, field: uuid4()})
    await visits.add_many([_another(visit), wrong, _another(visit, earlier=own)])


WRITES: Mapping[str, _Write] = {
    "add": lambda visits, visit, field: visits.add(_another(visit, **{field: uuid4()})),
    "add_many": _add_many,
    "update": lambda visits, visit, field: visits.update(visit.id, {field: uuid4()}),
    "upsert new": lambda visits, visit, field: visits.upsert(
        _another(visit, **{field: uuid4()}), on="number"
    ),
    "upsert stored": lambda visits, visit, field: visits.upsert(
        _another(visit, **{"number": visit.number, field: uuid4()}), on="number"
    ),
}


class TestReferences(Contract):
    """A reference leads to a document, whatever is written and removed."""

    @pytest.mark.parametrize("name", KEYED)
    @needs_references
    async def test_a_reference_is_checked_whatever_key_it_is_in(
        self, store: Backend, name: str
    ) -> None:
        """A null in another field of its key does not let a reference pass, nor a key be lost."""
        parents, children = _keyed(name)
        await store.execute(Ensure((parents, children)))
        parent, absent = identity(1), identity(2)
        await add(store, parents, {"id": parent, "version": 1})
        empty: Document = dict.fromkeys(children.names)
        empty.update(id=identity(3), version=1)
        wrong: tuple[Document, ...] = (
            {"parent": absent},
            {"other": absent},
            {"parent": absent, "number": 1},
        )
        for values in wrong:
            with pytest.raises(ForeignKeyError):
                await store.execute(Insert(children, ({**empty, **values},)))
        child: Document = {**empty, "parent": parent}
        await add(store, children, child)
        with pytest.raises(ForeignKeyError):
            await store.execute(Patch(children, ids([child]), sets=(("other", absent),)))
        with pytest.raises(ForeignKeyError):
            await store.execute(Delete(parents, (parent,)))
        full: Document = {**child, "other": parent, "number": 5}
        assert await store.execute(Replace(children, (full,))) == (True,)
        for unique in children.uniques:
            twin = {**empty, "id": identity(4), **{each: full[each] for each in unique.fields}}
            with pytest.raises(DuplicateKeyError) as error:
                await store.execute(Insert(children, (twin,)))
            assert error.value.fields in {each.fields for each in children.uniques}
        assert await stored(store, children) == [full]

    @proves("T8", "T15")
    @needs_references
    async def test_a_child_needs_its_parent(self, store: Backend) -> None:
        """No write may leave a reference to a document that is not there; None is allowed."""
        parents, children, _ = family("restrict")
        parent, absent = member(parents), person()["id"]
        await store.execute(Ensure((children, parents)))
        await add(store, parents, parent)
        child = member(children, parent["id"])
        await add(store, children, child, member(children))
        before = await stored(store, children)
        for op in (
            Insert(children, (member(children, absent),)),
            Insert(children, (member(children, parent["id"]), member(children, absent))),
            Replace(children, ({**child, "parent": absent},)),
            Patch(children, ids([child]), sets=(("parent", absent),)),
        ):
            with pytest.raises(ForeignKeyError) as error:
                await store.execute(op)
            assert (error.value.entity, error.value.field) == ("Child", "parent")
            assert error.value.hint
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert await stored(store, children) == before

    @proves("T15")
    @pytest.mark.parametrize("write", WRITES)
    @needs_references
    async def test_the_broken_reference_is_named(self, store: Backend, write: str) -> None:
        """Of several references, the error of each way to write names the one to nothing."""
        entities: tuple[type[Entity], ...] = (_Doctor, _Clinic, _Visit)
        await store.execute(Ensure(tuple(map(collection_of, entities))))
        doctor = await Repository(_Doctor, store).add(_Doctor())
        clinic = await Repository(_Clinic, store).add(_Clinic())
        visits = Repository(_Visit, store)
        visit = _Visit(number=f"{uuid4()}", seen_by=doctor.id, sent_by=doctor.id, clinic=clinic.id)
        visit = await visits.add(visit.model_copy(update={"earlier": visit.id}))
        before = await visits.count()
        parents = {
            "seen_by": "contract_doctors",
            "sent_by": "contract_doctors",
            "clinic": "contract_clinics",
            "earlier": "contract_visits",
        }
        for field, parent in parents.items():
            for inside in (False, True):
                with pytest.raises(ForeignKeyError) as error:
                    await self._written(store, WRITES[write], visit, field, inside=inside)
                assert (error.value.entity, error.value.field) == ("_Visit", field)
                assert parent in error.value.message
                assert error.value.outcome is Outcome.NOT_APPLIED
                assert error.value.hint
        assert await visits.get(visit.id) == visit
        assert await visits.count() == before

    async def _written(
        self, store: Backend, write: _Write, visit: _Visit, field: str, *, inside: bool
    ) -> None:
        if not inside:
            await write(Repository(_Visit, store), visit, field)
            return
        unit = await store.begin()
        try:
            await write(Repository(_Visit, unit), visit, field)
        finally:
            await unit.rollback()

    @proves("T8")
    @needs_references
    async def test_a_document_that_is_referred_to_stays(self, store: Backend) -> None:
        """Restrict keeps a parent while a child refers to it, and lets it go afterwards."""
        parents, children, _ = family("restrict")
        parent, other = member(parents), member(parents)
        await store.execute(Ensure((parents, children)))
        await add(store, parents, parent, other)
        child = member(children, parent["id"])
        await add(store, children, child)
        for wanted in ([parent], [other, parent]):
            with pytest.raises(ForeignKeyError) as error:
                await store.execute(Delete(parents, ids(wanted)))
            assert error.value.hint
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert await store.execute(CountDocuments(parents)) == 2
        assert await store.execute(Delete(parents, ids([other]))) == (True,)
        assert await store.execute(Delete(children, ids([child]))) == (True,)
        assert await store.execute(Delete(parents, ids([parent]))) == (True,)

    @proves("T16")
    @needs_references
    async def test_a_cascade_removes_every_generation(self, store: Backend) -> None:
        """Cascade removes the referring documents, and those that refer to them."""
        parents, children, grandchildren = family("cascade")
        await store.execute(Ensure((grandchildren, children, parents)))
        first, second = member(parents), member(parents)
        kept = member(children, second["id"])
        gone = [member(children, first["id"]) for _ in range(3)]
        await add(store, parents, first, second)
        await add(store, children, kept, *gone, member(children))
        await add(store, grandchildren, *(member(grandchildren, each["id"]) for each in gone))
        last = member(grandchildren, kept["id"])
        await add(store, grandchildren, last)
        assert await store.execute(Delete(parents, ids([first]))) == (True,)
        assert await store.execute(CountDocuments(parents)) == 1
        left = [row["parent"] for row in await stored(store, children, F.parent != None)]  # noqa: E711 - a filter
        assert left == [second["id"]]
        assert await store.execute(CountDocuments(children)) == 2
        assert await stored(store, grandchildren) == [last]

    @needs_references
    async def test_set_null_empties_the_reference(self, store: Backend) -> None:
        """Set null keeps the referring documents, without their parent and as a new version."""
        parents, children, _ = family("set_null")
        await store.execute(Ensure((parents, children)))
        first, second = member(parents), member(parents)
        orphan, other = member(children, first["id"]), member(children, second["id"])
        await add(store, parents, first, second)
        await add(store, children, orphan, other)
        assert await store.execute(Delete(parents, ids([first]))) == (True,)
        left = await store.execute(Get(children, ids([orphan, other])))
        assert left == ({**orphan, "parent": None, "version": 2}, other)

    @needs_references
    async def test_parents_may_come_in_the_same_batch(self, store: Backend) -> None:
        """A batch may add a parent and then its child, and remove the child and then the parent."""
        parents, children, _ = family("restrict")
        await store.execute(Ensure((parents, children)))
        parent = member(parents)
        child = member(children, parent["id"])
        added = Batch((Insert(parents, (parent,)), Insert(children, (child,))))
        assert await store.execute(added) == (1, 1)
        removed = Batch((Delete(children, ids([child])), Delete(parents, ids([parent]))))
        assert await store.execute(removed) == ((True,), (True,))

    @needs_references
    async def test_a_batch_that_breaks_a_reference_leaves_nothing(self, store: Backend) -> None:
        """When the last operation of a batch has no parent, the first ones are not kept."""
        parents, children, _ = family("restrict")
        await store.execute(Ensure((parents, children)))
        parent = member(parents)
        good, bad = member(children, parent["id"]), member(children, person()["id"])
        batch = Batch((Insert(parents, (parent,)), Insert(children, (good, bad))))
        with pytest.raises(ForeignKeyError):
            await store.execute(batch)
        assert await stored(store, parents) == []
        assert await stored(store, children) == []

    @needs_references
    async def test_documents_of_one_request_may_refer_to_each_other(self, store: Backend) -> None:
        """A tree is added by one request, parents first, and removed with its root."""
        await store.execute(Ensure((TREE,)))
        root = member(TREE)
        branch = member(TREE, root["id"])
        leaves = [member(TREE, branch["id"]) for _ in range(3)]
        other = member(TREE)
        await store.execute(Insert(TREE, (root, branch, *leaves, other)))
        with pytest.raises(ForeignKeyError):
            await store.execute(Insert(TREE, (member(TREE, person()["id"]),)))
        assert await store.execute(Delete(TREE, ids([root]))) == (True,)
        assert await stored(store, TREE) == [other]

    @needs_references
    async def test_documents_that_refer_to_each_other_go_together(self, store: Backend) -> None:
        """What forbids a removal may be removed by the same request, in any order of its ids."""
        await store.execute(Ensure((CHAIN,)))
        row: dict[str, Value] = {"version": 1, "name": "n"}
        first, second, third = (person(number)["id"] for number in range(3))
        rows = (
            {**row, "id": first, "parent": None},
            {**row, "id": second, "parent": first},
            {**row, "id": third, "parent": second},
        )
        await store.execute(Insert(CHAIN, rows))
        with pytest.raises(ForeignKeyError):
            await store.execute(Delete(CHAIN, ids(rows[:2])))
        assert await store.execute(CountDocuments(CHAIN)) == 3
        assert await store.execute(Delete(CHAIN, ids(rows))) == (True, True, True)
        assert await store.execute(CountDocuments(CHAIN)) == 0

    @needs_references
    async def test_a_parent_may_be_written_again(self, store: Backend) -> None:
        """Replacing or patching a parent leaves its children alone."""
        parents, children, _ = family("cascade")
        await store.execute(Ensure((parents, children)))
        parent = member(parents)
        await add(store, parents, parent)
        child = member(children, parent["id"])
        await add(store, children, child)
        await store.execute(Replace(parents, ({**parent, "name": "new", "version": 2},)))
        await store.execute(Patch(parents, ids([parent]), sets=(("name", "newer"),)))
        assert await stored(store, children) == [child]

    @needs_references
    async def test_a_trusted_load_keeps_references(self, store: Backend) -> None:
        """A load that answers for its references itself keeps children of stored parents."""
        parents, children, _ = family("restrict")
        await store.execute(Ensure((parents, children)))
        parent = member(parents)
        rows = [member(children, parent["id"]) for _ in range(300)]
        await add(store, parents, parent)
        load = Insert(children, tuple(rows), checked_references=False)
        assert await store.execute(load) == 300
        assert await store.execute(CountDocuments(children)) == 300

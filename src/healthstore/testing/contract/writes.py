"""Writes: add, replace and delete do what they say, whole or not at all."""

from __future__ import annotations

from contextlib import suppress
from uuid import uuid4

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    DuplicateKeyError,
    ForeignKeyError,
    IntegrityError,
    InvalidRequestError,
    Outcome,
    SchemaMismatchError,
    StaleVersionError,
)
from healthstore.model.ops import (
    Batch,
    CountDocuments,
    Delete,
    Ensure,
    Get,
    Insert,
    Patch,
    Replace,
)
from healthstore.model.query import F
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Document, FieldType, Kind
from healthstore.testing.contract._promises import (
    Contract,
    needs_references,
    needs_transactions,
    proves,
)
from healthstore.testing.contract._samples import (
    CHECKED,
    PEOPLE,
    add,
    checked,
    family,
    identity,
    ids,
    member,
    one,
    person,
    stored,
)

__all__ = ("TestWrites",)

_OLDER = (
    Field("id", FieldType(Kind.UUID)),
    Field("version", FieldType(Kind.INTEGER)),
    Field("text", FieldType(Kind.TEXT, max_length=50)),
)
_NEWER = (
    *_OLDER,
    Field("mood", FieldType(Kind.INTEGER), nullable=True),
    Field("data", FieldType(Kind.JSON), nullable=True),
)
OLDER, NEWER = (
    Collection("contract_releases", fields, entity="Release") for fields in (_OLDER, _NEWER)
)


class TestWrites(Contract):
    """Documents are added, read by id, replaced and removed."""

    async def test_get_answers_in_the_order_of_the_ids(self, store: Backend) -> None:
        """Documents come back in the order asked for; None stands for a missing one."""
        people = [person(number) for number in range(5)]
        await add(store, PEOPLE, *people)
        absent = uuid4()
        first, second, third, fourth, fifth = ids(people)
        asked = (fourth, absent, first, fifth, fourth, third, second)
        got = await store.execute(Get(PEOPLE, asked))
        wanted = [people[3], None, people[0], people[4], people[3], people[2], people[1]]
        assert list(got) == wanted

    async def test_an_empty_request_does_nothing(self, store: Backend) -> None:
        """A request for no document succeeds and changes nothing."""
        await add(store, PEOPLE, person())
        before = await stored(store, PEOPLE)
        assert await store.execute(Get(PEOPLE, ())) == ()
        assert await store.execute(Insert(PEOPLE, ())) == 0
        assert await store.execute(Replace(PEOPLE, ())) == ()
        assert await store.execute(Patch(PEOPLE, (), sets=(("visits", 1),))) == ()
        assert await store.execute(Delete(PEOPLE, ())) == ()
        assert await stored(store, PEOPLE) == before

    async def test_insert_counts_what_it_added(self, store: Backend) -> None:
        """An insert returns the number of documents added."""
        await store.execute(Ensure((PEOPLE,)))
        assert await store.execute(Insert(PEOPLE, (person(1),))) == 1
        many = Insert(PEOPLE, (person(2), person(3), person(4)), atomic=False)
        assert await store.execute(many) == 3
        assert await store.execute(CountDocuments(PEOPLE)) == 4

    @proves("T15")
    async def test_an_id_is_taken_once(self, store: Backend) -> None:
        """A second document with a stored id is refused, and the first one stays as it is."""
        row = person(1)
        await add(store, PEOPLE, row)
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Insert(PEOPLE, ({**person(2), "id": row["id"]},)))
        assert error.value.fields == ("id",)
        assert error.value.outcome is Outcome.NOT_APPLIED
        assert await stored(store, PEOPLE) == [row]

    @proves("W5")
    async def test_one_request_cannot_name_an_id_twice(self, store: Backend) -> None:
        """Two documents or changes for one id in a request are refused before any I/O."""
        row = person(1)
        await add(store, PEOPLE, row)
        twice = ids([row, row])
        for op in (
            Insert(PEOPLE, (person(2), {**person(3), "id": row["id"]}, {**row, "email": "x"})),
            Replace(PEOPLE, (row, {**row, "email": "x"})),
            Patch(PEOPLE, twice, sets=(("visits", 1),)),
            Delete(PEOPLE, twice),
        ):
            with pytest.raises(InvalidRequestError):
                await store.execute(op)
        assert await stored(store, PEOPLE) == [row]

    @proves("W6")
    @needs_transactions
    async def test_an_atomic_insert_leaves_nothing_when_it_fails(self, store: Backend) -> None:
        """When one document of many is refused by the data, none of them is kept."""
        row = person(5)
        await add(store, PEOPLE, row)
        for position in (0, 700, 1_499):
            batch = [person(number) for number in range(100, 1_600)]
            batch[position] = person(5)
            with pytest.raises(DuplicateKeyError) as error:
                await store.execute(Insert(PEOPLE, tuple(batch)))
            assert error.value.fields == ("email",)
            assert await stored(store, PEOPLE) == [row]

    @proves("W6", "T15")
    @needs_transactions
    async def test_an_insert_tells_which_document_the_data_refuses(self, store: Backend) -> None:
        """For a key that is taken, or given twice, a check and a reference: its index, from 0."""
        await add(store, PEOPLE, person(5))
        await store.execute(Ensure((CHECKED,)))
        people = [person(number) for number in range(100, 350)]
        taken = [*people[:210], person(5), *people[210:]]
        twice = [*people[:30], person(110), *people[30:]]
        adults = [checked(age=20 + number) for number in range(100)]
        unborn = [*adults[:70], checked(age=-1), *adults[70:]]
        cases = (PEOPLE, taken, 210), (PEOPLE, twice, 30), (CHECKED, unborn, 70)
        for collection, documents, index in cases:
            with pytest.raises(IntegrityError) as error:
                await store.execute(Insert(collection, tuple(documents)))
            assert error.value.index == index
            assert f"[{index}]" in str(error.value)
            assert error.value.outcome is Outcome.NOT_APPLIED

    @needs_references
    async def test_an_insert_tells_which_document_refers_to_nothing(self, store: Backend) -> None:
        """Of many children the one whose parent is not there, also among others of its kind."""
        parents, children, _ = family("restrict")
        parent = member(parents)
        await add(store, parents, parent)
        await store.execute(Ensure((children,)))
        rows = [member(children, parent["id"]) for _ in range(150)]
        rows[120] = member(children, uuid4())
        with pytest.raises(ForeignKeyError) as error:
            await store.execute(Insert(children, tuple(rows)))
        assert error.value.index == 120
        assert await stored(store, children) == []

    @proves("W6")
    async def test_an_insert_that_is_not_atomic_names_its_failure(self, store: Backend) -> None:
        """The conflicting document is not kept, the stored one stays, and the error says so."""
        row = person(5)
        await add(store, PEOPLE, row)
        clash = person(5, name="clash")
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Insert(PEOPLE, (person(1), clash, person(2)), atomic=False))
        assert error.value.fields == ("email",)
        assert await one(store, PEOPLE, clash) is None
        assert await one(store, PEOPLE, row) == row

    @proves("W6")
    async def test_a_large_insert_that_is_not_atomic_adds_each_once(self, store: Backend) -> None:
        """2,501 documents are added; of as many others, one of which clashes, none is changed."""
        people = [person(number, id=identity(number)) for number in range(5_002)]
        await store.execute(Ensure((PEOPLE,)))
        assert await store.execute(Insert(PEOPLE, tuple(people[:2_501]), atomic=False)) == 2_501
        assert await stored(store, PEOPLE) == people[:2_501]
        clash = {**people[4_000], "id": people[0]["id"]}
        with pytest.raises(DuplicateKeyError):
            batch = (*people[2_501:4_000], clash, *people[4_001:])
            await store.execute(Insert(PEOPLE, batch, atomic=False))
        kept = await stored(store, PEOPLE)
        assert kept[:2_501] == people[:2_501]
        names = set(ids(kept))
        assert kept == [row for row in people if row["id"] in names]

    async def test_replace_writes_the_whole_document(self, store: Backend) -> None:
        """Every field takes the new value, None included; a missing id gives False."""
        row = person(1, name="Ann", team="a", number=1, profile={"a": 1})
        await add(store, PEOPLE, row)
        new = person(2, id=row["id"], version=2, weight=None, profile=[2])
        assert await store.execute(Replace(PEOPLE, (new,))) == (True,)
        assert await stored(store, PEOPLE) == [new]
        assert await store.execute(Replace(PEOPLE, (person(3),))) == (False,)
        assert await stored(store, PEOPLE) == [new]

    @proves("W1")
    async def test_replacing_a_document_by_itself_finds_it(self, store: Backend) -> None:
        """A replacement that changes nothing still reports that the document was there."""
        row = person(1)
        await add(store, PEOPLE, row)
        assert await store.execute(Replace(PEOPLE, (row,))) == (True,)
        assert await store.execute(Replace(PEOPLE, (row,), (1,))) == (True,)

    async def test_a_stale_version_changes_nothing(self, store: Backend) -> None:
        """A write that expects another version than the stored one is refused."""
        row = person(1, version=3)
        await add(store, PEOPLE, row)
        new = {**row, "version": 4, "name": "Ann"}
        for op in (
            Replace(PEOPLE, (new,), (2,)),
            Replace(PEOPLE, (new,), (4,)),
            Patch(PEOPLE, ids([row]), sets=(("name", "Ann"),), versions=(2,)),
            Delete(PEOPLE, ids([row]), (4,)),
        ):
            with pytest.raises(StaleVersionError) as error:
                await store.execute(op)
            assert error.value.entity == "Person"
            assert error.value.hint
        assert await stored(store, PEOPLE) == [row]

    async def test_the_expected_version_lets_a_write_pass(self, store: Backend) -> None:
        """A write that expects the stored version is applied; a missing id is no conflict."""
        row = person(1, version=3)
        await add(store, PEOPLE, row)
        new = {**row, "version": 4, "name": "Ann"}
        assert await store.execute(Replace(PEOPLE, (new,), (3,))) == (True,)
        changed = Patch(PEOPLE, ids([row]), (("name", "Bob"),), (("version", 1),), (4,))
        assert await store.execute(changed) == ({**new, "version": 5, "name": "Bob"},)
        assert await store.execute(Replace(PEOPLE, (person(2),), (1,))) == (False,)
        patch = Patch(PEOPLE, (uuid4(),), sets=(("name", "x"),), versions=(1,))
        assert await store.execute(patch) == (None,)
        assert await store.execute(Delete(PEOPLE, (uuid4(),), (1,))) == (False,)
        assert await store.execute(Delete(PEOPLE, ids([row]), (5,))) == (True,)

    @proves("W6")
    @needs_transactions
    async def test_one_stale_version_refuses_the_whole_request(self, store: Backend) -> None:
        """When one of many documents has another version, none is replaced or removed."""
        people = [person(number, id=identity(number)) for number in range(4)]
        await add(store, PEOPLE, *people)
        versions = (1, 1, 2, 1)
        new = tuple({**row, "version": 2} for row in people)
        for op in (
            Replace(PEOPLE, new, versions),
            Patch(PEOPLE, ids(people), sets=(("name", "x"),), versions=versions),
            Delete(PEOPLE, ids(people), versions),
        ):
            with pytest.raises(StaleVersionError):
                await store.execute(op)
            assert await stored(store, PEOPLE) == people

    @proves("W1")
    async def test_delete_says_what_was_there(self, store: Backend) -> None:
        """A removed document is gone at once; a missing one gives False."""
        row, other = person(1), person(2)
        await add(store, PEOPLE, row, other)
        assert await store.execute(Delete(PEOPLE, ids([row]))) == (True,)
        assert await store.execute(Delete(PEOPLE, ids([row]))) == (False,)
        assert await stored(store, PEOPLE) == [other]

    @proves("W7")
    @needs_transactions
    async def test_many_documents_travel_in_one_request(self, store: Backend) -> None:
        """2,500 documents are added, replaced and removed by one request each."""
        people = [person(number, id=identity(number)) for number in range(2_500)]
        await store.execute(Ensure((PEOPLE,)))
        assert await store.execute(Insert(PEOPLE, tuple(people))) == 2_500
        assert await stored(store, PEOPLE) == people
        new = [{**row, "name": "new", "version": 2} for row in people]
        absent = person(9_999)
        replaced = await store.execute(Replace(PEOPLE, (*new, absent), (1,) * 2_501))
        assert replaced == (True,) * 2_500 + (False,)
        assert await stored(store, PEOPLE) == new
        removed = await store.execute(Delete(PEOPLE, (*ids(new), *ids([absent]))))
        assert removed == (True,) * 2_500 + (False,)
        assert await store.execute(CountDocuments(PEOPLE)) == 0

    @proves("W7")
    async def test_a_bulk_load_takes_thousands_of_documents(self, store: Backend) -> None:
        """2,500 documents are added without atomicity on any backend, and none is lost."""
        people = [person(number, id=identity(number), name="é") for number in range(2_500)]
        await store.execute(Ensure((PEOPLE,)))
        assert await store.execute(Insert(PEOPLE, tuple(people), atomic=False)) == 2_500
        assert await stored(store, PEOPLE) == people

    @proves("W7")
    async def test_thousands_of_ids_are_read_at_once(self, store: Backend) -> None:
        """3,000 ids, most of them missing, are answered in their order."""
        people = [person(number, id=identity(number * 7)) for number in range(200)]
        await add(store, PEOPLE, *people)
        asked = tuple(identity(number) for number in reversed(range(3_000)))
        got = await store.execute(Get(PEOPLE, asked))
        by_id = {row["id"]: row for row in people}
        assert list(got) == [by_id.get(each) for each in asked]

    @needs_transactions
    async def test_a_batch_gives_every_result(self, store: Backend) -> None:
        """The operations of a batch see those before them; their results come in order."""
        row, other = person(1), person(2)
        await store.execute(Ensure((PEOPLE,)))
        batch = Batch(
            (
                Insert(PEOPLE, (row, other)),
                Patch(PEOPLE, ids([row]), increments=(("visits", 2),)),
                Get(PEOPLE, ids([row])),
                CountDocuments(PEOPLE, F.visits == 2),
                Delete(PEOPLE, ids([other])),
                CountDocuments(PEOPLE),
            )
        )
        after = {**row, "visits": 2}
        assert await store.execute(batch) == (2, (after,), (after,), 1, (True,), 1)
        assert await stored(store, PEOPLE) == [after]

    @proves("T1")
    @needs_transactions
    async def test_a_batch_is_kept_whole_or_not_at_all(self, store: Backend) -> None:
        """When one operation of a batch fails, nothing of the others is kept."""
        row, other = person(1), person(2)
        await add(store, PEOPLE, row, other)
        before = await stored(store, PEOPLE)
        batch = Batch(
            (
                Insert(PEOPLE, (person(3), person(4))),
                Patch(PEOPLE, ids([row]), sets=(("name", "Ann"),)),
                Delete(PEOPLE, ids([other])),
                Insert(PEOPLE, (person(1),)),
            )
        )
        with pytest.raises(DuplicateKeyError):
            await store.execute(batch)
        assert await stored(store, PEOPLE) == before

    @needs_transactions
    async def test_a_batch_holds_reads_and_writes_only(self, store: Backend) -> None:
        """An empty batch, a batch in a batch and a change of the schema are refused."""
        await store.execute(Ensure((PEOPLE,)))
        read = Get(PEOPLE, ())
        for wrong in (Batch(()), Batch((read, Ensure((PEOPLE,)))), Batch((Batch((read,)),))):
            with pytest.raises(InvalidRequestError):
                await store.execute(wrong)

    @pytest.mark.parametrize("count", [1, 3])
    async def test_an_older_class_erases_no_field_of_a_newer_one(
        self, store: Backend, count: int
    ) -> None:
        """Its replacements and patches write the fields that it knows; they may be refused."""
        rows: list[Document] = [
            {"id": uuid4(), "version": 1, "text": "new", "mood": at, "data": {"at": at}}
            for at in range(count)
        ]
        await add(store, NEWER, *rows)
        olds: tuple[Document, ...] = tuple(
            {"id": row["id"], "version": 2, "text": "old"} for row in rows
        )
        whole = store.capabilities.transactions
        for part in (olds,) if whole else ((each,) for each in olds):
            with suppress(SchemaMismatchError):
                await store.execute(Replace(OLDER, part))
                await store.execute(Patch(OLDER, ids(part), increments=(("version", 1),)))
        for row in rows:
            kept = await one(store, NEWER, row)
            assert kept is not None
            assert (kept["mood"], kept["data"]) == (row["mood"], row["data"])
            assert (kept["text"], kept["version"]) in {("old", 3), ("new", 1)}

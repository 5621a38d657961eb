"""Writes of many: by a condition, whole or in batches, and each by its own values."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Self, cast
from uuid import UUID, uuid4

import pytest
from pydantic import Field, JsonValue, model_validator

from healthstore.abc import Backend
from healthstore.build import build_guard
from healthstore.entity import Entity, MaxLength, collection_of
from healthstore.errors import (
    CheckError,
    ConflictError,
    DuplicateKeyError,
    ForeignKeyError,
    InvalidRequestError,
    NotFoundError,
    NotNullError,
    Outcome,
    OutOfRangeError,
    RefusedValueError,
    UnknownFieldError,
)
from healthstore.model.operators import Add, Append, AtLeast
from healthstore.model.ops import (
    Batch,
    CountDocuments,
    DeleteWhere,
    Ensure,
    Insert,
    Op,
    PatchWhere,
)
from healthstore.model.query import ALL, F, FieldPart, Filter
from healthstore.repository import Repository
from healthstore.testing.contract._promises import (
    Contract,
    needs_references,
    needs_transactions,
    partly_needs,
    proves,
    refuses,
)
from healthstore.testing.contract._samples import (
    CHECKED,
    EVERYTHING,
    PEOPLE,
    add,
    add_entities,
    checked,
    every_row,
    everything,
    exact,
    family,
    identity,
    ids,
    member,
    person,
    selected,
    stored,
)

__all__ = ("TestBulkWrites",)

_RAISED = (("version", 1),)
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class _Mood(Entity, collection="contract_bulk_moods"):
    owner: Annotated[str, MaxLength(20)]
    score: int
    context: Annotated[str, MaxLength(40)] | None = None
    data: dict[str, JsonValue] = Field(default={})


class _Goal(Entity, collection="contract_bulk_goals"):
    low: int
    high: int

    @model_validator(mode="after")
    def ordered(self) -> Self:
        """Refuse a goal that nothing reaches."""
        if self.low > self.high:
            raise ValueError("the low end is above the high one")
        return self


async def _moods(store: Backend, count: int, **values: Any) -> Repository[_Mood]:
    await store.execute(Ensure((collection_of(_Mood),)))
    moods = Repository(_Mood, store)
    given = [
        _Mood(id=identity(at), owner=f"o{at % 3}", score=at, created_at=_LONG_AGO, **values)
        for at in range(count)
    ]
    await add_entities(moods, store, given)
    return moods


async def _until_free(moods: Repository[_Mood], owner: str) -> None:
    """Change one of many documents, as soon as nobody else is changing them."""
    for _ in range(200):
        try:
            await moods.update(identity(0), {"owner": owner})
        except ConflictError:
            await asyncio.sleep(0.02)
        else:
            return


def _batch(store: Backend, size: int) -> int | None:
    """Return no batch where a call is kept whole, and else one."""
    return None if store.capabilities.transactions else size


def _atomic(store: Backend) -> bool:
    return store.capabilities.transactions


class TestBulkWrites(Contract):
    """What one request changes or deletes of many is what single ones would, all at once."""

    # --- by a condition ----------------------------------------------------------------------

    @proves("W1", "A3")
    async def test_a_change_by_a_condition_says_how_many_it_found(self, store: Backend) -> None:
        """Those that satisfy the filter are changed as by a patch, whether anything differs or not."""
        people = [person(at, id=identity(at), visits=at % 4, number=at) for at in range(40)]
        await add(store, PEOPLE, *people)
        where = (F.visits == 2) | (F.visits == 3)
        op = PatchWhere(
            PEOPLE, where, (("name", "x"),), (("visits", 2), *_RAISED), atomic=_atomic(store)
        )
        assert await store.execute(op) == 20
        wanted = [
            {**row, "name": "x", "visits": cast(int, row["visits"]) + 2, "version": 2}
            if cast(int, row["visits"]) >= 2
            else row
            for row in people
        ]
        assert await stored(store, PEOPLE) == wanted
        same = PatchWhere(PEOPLE, F.name == "x", (("name", "x"),), atomic=_atomic(store))
        assert await store.execute(same) == 20
        nobody = PatchWhere(PEOPLE, F.visits == 9, (("name", "y"),), atomic=_atomic(store))
        assert await store.execute(nobody) == 0
        assert await stored(store, PEOPLE) == wanted

    @proves("W1", "C8")
    async def test_a_write_finds_what_a_read_finds(self, store: Backend) -> None:
        """Of every kind of test, and of its negation: the two share out all documents."""
        filters: tuple[Filter, ...] = (
            F.text == "a",
            F.number > 0,
            F.ratio.in_([0.1, None]),
            F.amount <= Decimal(0),
            F.moment >= _LONG_AGO,
            F.flag == True,  # noqa: E712 - a filter
            F.data["a"] == 1,
            F.data["a"].is_missing(),
            F.label.contains("a"),
            F.label.matches("[a-z]*"),
            F.number < F.number,
        )
        for place, where in enumerate(filters):
            rows = every_row(40)
            for at, row in enumerate(rows):  # shallow, so that each backend reads a part of it
                row["data"] = cast(Any, (None, {"a": 1}, {"a": "1"}, {"b": 1}, [1])[at % 5])
            await store.execute(Ensure((EVERYTHING,)))
            every = DeleteWhere(EVERYTHING, ALL, everything=True, atomic=_atomic(store))
            await store.execute(every)
            await store.execute(Insert(EVERYTHING, tuple(rows), atomic=_atomic(store)))
            found = selected(rows, where)
            mark = f"found by {place}"
            op = PatchWhere(EVERYTHING, where, (("text", mark),), atomic=_atomic(store))
            assert await store.execute(op) == len(found)
            there = await stored(store, EVERYTHING)
            chosen = set(ids(found))
            for row, now in zip(rows, there, strict=True):
                expected = {**row, "text": mark} if row["id"] in chosen else row
                assert exact(now) == exact(expected)
            rest = [each for each in there if each not in selected(there, where)]
            others = DeleteWhere(EVERYTHING, ~where, atomic=_atomic(store))
            assert await store.execute(others) == len(rest)
            left = [each for each in there if each not in rest]
            assert await stored(store, EVERYTHING) == left

    @proves("W1")
    async def test_a_delete_by_a_condition_says_how_many_it_found(self, store: Backend) -> None:
        """Those that satisfy the filter are gone, the others stay as they are."""
        people = [person(at, id=identity(at), visits=at % 4) for at in range(40)]
        await add(store, PEOPLE, *people)
        op = DeleteWhere(PEOPLE, F.visits >= 2, atomic=_atomic(store))
        assert await store.execute(op) == 20
        assert await store.execute(op) == 0
        assert await stored(store, PEOPLE) == [
            row for row in people if cast(int, row["visits"]) < 2
        ]

    async def test_a_write_of_everything_says_so(self, store: Backend) -> None:
        """A filter that holds for every document, also by folding, is refused without a word of it."""
        people = [person(at, id=identity(at)) for at in range(3)]
        await add(store, PEOPLE, *people)
        whole: tuple[Filter, ...] = (
            ALL,
            (F.visits == 1) | ~(F.visits == 1) | ALL,
            ~F.email.in_([]),
            F.visits != None,  # noqa: E711 - a filter
            ~(F.visits < None),
        )
        for where in whole:
            for op in (
                PatchWhere(PEOPLE, where, (("name", "x"),), atomic=_atomic(store)),
                DeleteWhere(PEOPLE, where, atomic=_atomic(store)),
            ):
                with pytest.raises(InvalidRequestError) as error:
                    await store.execute(op)
                assert "everything" in error.value.hint
                assert error.value.entity == "Person"
        assert await stored(store, PEOPLE) == people
        atomic = _atomic(store)
        named = (("name", "x"),)
        assert (
            await store.execute(PatchWhere(PEOPLE, ALL, named, everything=True, atomic=atomic)) == 3
        )
        assert [row["name"] for row in await stored(store, PEOPLE)] == ["x"] * 3
        assert await store.execute(DeleteWhere(PEOPLE, ALL, everything=True, atomic=atomic)) == 3
        assert await stored(store, PEOPLE) == []

    @proves("W12")
    async def test_a_unique_field_is_not_counted_up_in_many(self, store: Backend) -> None:
        """One would change first, to a key that another one still has: it is refused before any I/O."""
        op = PatchWhere(PEOPLE, F.visits == 0, (), (("number", 1),), atomic=_atomic(store))
        with pytest.raises(InvalidRequestError) as error:
            await store.execute(op)
        assert (error.value.entity, error.value.field) == ("Person", "number")
        assert "unique" in error.value.message

    @proves("W12", "W6")
    @needs_transactions
    async def test_a_key_is_not_given_to_two(self, store: Backend) -> None:
        """The clash is the error that a single write would raise, and nothing is changed."""
        people = [person(at, id=identity(at), team="a", number=at) for at in range(4)]
        await add(store, PEOPLE, *people)
        for sets, fields in (
            ((("email", "same@example.org"),), ("email",)),
            ((("number", 9),), ("team", "number")),
        ):
            with pytest.raises(DuplicateKeyError) as error:
                await store.execute(PatchWhere(PEOPLE, F.visits == 0, sets, _RAISED))
            assert error.value.fields == fields
            assert error.value.entity == "Person"
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert await stored(store, PEOPLE) == people
        one = PatchWhere(PEOPLE, F.number == 2, (("email", "new@example.org"),))
        assert await store.execute(one) == 1

    @proves("A1", "A2", "W6", "T15")
    @needs_transactions
    async def test_what_one_document_forbids_changes_none(self, store: Backend) -> None:
        """A sum out of range, nothing to add to, a check: the error of a single write, and no change."""
        rows = [everything(id=identity(at), number=at, ratio=1.0, text="a") for at in range(6)]
        rows[3]["number"] = 2**63 - 1
        rows[4]["ratio"] = None
        await add(store, EVERYTHING, *rows)
        text = (("text", "changed"),)
        for field, step, kind in (("number", 1, OutOfRangeError), ("ratio", 0.5, NotNullError)):
            op = PatchWhere(EVERYTHING, F.text == "a", text, ((field, step), *_RAISED))
            with pytest.raises(kind) as error:
                await store.execute(op)
            assert (error.value.entity, error.value.field) == ("Everything", field)
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert await stored(store, EVERYTHING) == rows
        some = [checked(id=identity(at), age=20 + at, state="open") for at in range(4)]
        some[2]["age"] = 12
        await add(store, CHECKED, *some)
        closed = PatchWhere(CHECKED, F.state == "open", (("state", "closed"),), _RAISED)
        with pytest.raises(CheckError) as broken:
            await store.execute(closed)
        assert "children_are_open" in broken.value.message
        assert broken.value.entity == "Checked"
        assert await stored(store, CHECKED) == some
        with pytest.raises(NotNullError):
            await store.execute(PatchWhere(CHECKED, F.state == "open", (("note", None),)))

    @proves("V6", "V7")
    async def test_sums_of_many_are_exact(self, store: Backend) -> None:
        """Each is what a patch of one makes of it, in every type that has sums."""
        rows = [
            everything(
                id=identity(at),
                number=at,
                ratio=0.1 * at,
                price=Decimal(at) / 4,
                amount=Decimal("0.0000000001") * at,
            )
            for at in range(20)
        ]
        await add(store, EVERYTHING, *rows)
        steps = (
            ("number", 3),
            ("ratio", 0.2),
            ("price", Decimal("-0.1")),
            ("amount", Decimal("0.0000000001")),
            *_RAISED,
        )
        op = PatchWhere(EVERYTHING, F.number >= 5, (), steps, atomic=_atomic(store))
        assert await store.execute(op) == 15
        for row, now in zip(rows, await stored(store, EVERYTHING), strict=True):
            if cast(int, row["number"]) >= 5:
                row = {**row, "version": 2}  # noqa: PLW2901 - what is expected of it
                for name, step in steps[:-1]:
                    row[name] = cast(Any, row[name]) + step
            assert now == row

    async def test_a_write_by_a_condition_without_meaning_is_refused(self, store: Backend) -> None:
        """As a patch is: an unknown field, a value of another type, a field twice, nothing at all."""
        await add(store, PEOPLE, person(1))
        before = await stored(store, PEOPLE)
        atomic = _atomic(store)
        some = F.visits == 0
        for wrong, kind in (
            (PatchWhere(PEOPLE, some, atomic=atomic), InvalidRequestError),
            (PatchWhere(PEOPLE, some, (("id", uuid4()),), atomic=atomic), InvalidRequestError),
            (
                PatchWhere(PEOPLE, some, (("visits", 1),), (("visits", 1),), atomic=atomic),
                InvalidRequestError,
            ),
            (PatchWhere(PEOPLE, some, (), (("name", 1),), atomic=atomic), InvalidRequestError),
            (PatchWhere(PEOPLE, some, (("visits", "1"),), atomic=atomic), RefusedValueError),
            (PatchWhere(PEOPLE, F.visit == 0, (("visits", 1),), atomic=atomic), UnknownFieldError),
            (DeleteWhere(PEOPLE, F.visits == "0", atomic=atomic), RefusedValueError),
            (DeleteWhere(PEOPLE, cast(Any, None), atomic=atomic), InvalidRequestError),
        ):
            with pytest.raises(kind):
                await store.execute(cast("Op[int]", wrong))
        assert await stored(store, PEOPLE) == before

    @needs_transactions
    async def test_a_condition_may_look_into_what_is_changed(self, store: Backend) -> None:
        """A query inside the filter sees the documents as they were before any of them changed."""
        await _moods(store, 9)
        moods = Repository(_Mood, store)
        top = moods.query(F.score >= 6).field("owner")
        assert await moods.update_where(F.owner.in_(top), {"owner": "o1"}) == 9
        assert await moods.count(F.owner == "o1") == 9
        low = moods.query(F.score < 3).field("score")
        assert await moods.delete_where(F.score.in_(low)) == 3
        assert await moods.count() == 6

    @proves("T1", "W6")
    @needs_transactions
    async def test_writes_by_a_condition_are_parts_of_units_and_batches(
        self, store: Backend
    ) -> None:
        """A unit that is rolled back leaves nothing of them; a batch is whole or not at all."""
        people = [person(at, id=identity(at), visits=at) for at in range(6)]
        await add(store, PEOPLE, *people)
        named = PatchWhere(PEOPLE, F.visits < 3, (("name", "x"),), _RAISED)
        gone = DeleteWhere(PEOPLE, F.visits >= 3)
        unit = await store.begin()
        assert await unit.execute(named) == 3
        assert await unit.execute(gone) == 3
        assert await unit.execute(CountDocuments(PEOPLE, F.name == "x")) == 3
        await unit.rollback()
        assert await stored(store, PEOPLE) == people
        clash = Insert(PEOPLE, ({**person(9), "email": people[0]["email"]},))
        with pytest.raises(DuplicateKeyError):
            await store.execute(Batch((named, gone, clash)))
        assert await stored(store, PEOPLE) == people
        assert await store.execute(Batch((named, gone))) == (3, 3)
        unit = await store.begin()
        await unit.execute(PatchWhere(PEOPLE, F.name == "x", (("name", "y"),), _RAISED))
        await unit.execute(DeleteWhere(PEOPLE, F.visits == 0))
        await unit.commit()
        assert [(row["name"], row["version"]) for row in await stored(store, PEOPLE)] == [
            ("y", 3)
        ] * 2

    # --- references ----------------------------------------------------------------------------

    @proves("T8", "T15")
    @needs_references
    async def test_a_reference_that_many_get_is_checked(self, store: Backend) -> None:
        """A parent that is not there is the error of a single write; nothing is changed."""
        parents, children, _ = family("restrict")
        await store.execute(Ensure((parents, children)))
        one, other = member(parents), member(parents)
        await add(store, parents, one, other)
        rows = [member(children, one["id"], id=identity(at)) for at in range(5)]
        await add(store, children, *rows)
        where = F.parent == one["id"]
        with pytest.raises(ForeignKeyError) as error:
            await store.execute(PatchWhere(children, where, (("parent", uuid4()),), _RAISED))
        assert (error.value.entity, error.value.field) == ("Child", "parent")
        assert await stored(store, children) == rows
        moved = PatchWhere(children, where, (("parent", other["id"]),), _RAISED)
        assert await store.execute(moved) == 5
        assert await store.execute(DeleteWhere(parents, F.id == one["id"])) == 1
        with pytest.raises(ForeignKeyError):
            await store.execute(DeleteWhere(parents, F.id == other["id"]))

    @proves("T16", "W1")
    @needs_references
    async def test_what_refers_to_many_goes_as_it_declares(self, store: Backend) -> None:
        """A cascade takes all below along, a reference is emptied, a restriction keeps everything."""
        for rule in ("cascade", "set_null", "restrict"):
            parents, children, grandchildren = family(cast(Any, rule))
            await store.execute(Ensure((parents, children, grandchildren)))
            old = [member(parents, id=identity(at), name="old") for at in range(4)]
            new = member(parents, id=identity(9), name="new")
            await add(store, parents, *old, new)
            rows = [
                member(children, each["id"], id=identity(20 + at))
                for at, each in enumerate([*old, new])
            ]
            await add(store, children, *rows)
            last = [
                member(grandchildren, each["id"], id=identity(40 + at))
                for at, each in enumerate(rows)
            ]
            await add(store, grandchildren, *last)
            gone = DeleteWhere(parents, F.name == "old")
            if rule == "restrict":
                with pytest.raises(ForeignKeyError):
                    await store.execute(gone)
                assert len(await stored(store, parents)) == 5
                continue
            assert await store.execute(gone) == 4
            assert await stored(store, parents) == [new]
            if rule == "cascade":
                assert await stored(store, children) == rows[4:]
                assert await stored(store, grandchildren) == last[4:]
            else:
                emptied = [{**row, "parent": None, "version": 2} for row in rows[:4]]
                assert await stored(store, children) == [*emptied, rows[4]]

    # --- the repository --------------------------------------------------------------------------

    @proves("W1", "A12")
    async def test_entities_are_changed_by_a_condition(self, store: Backend) -> None:
        """Versions and times rise in each that is found; the others are as they were."""
        moods = await _moods(store, 12, context="work")
        before = {each.id: each for each in (await moods.find()).items}
        changed = await moods.update_where(
            F.owner == "o1", {"context": None, "score": 7}, batch=_batch(store, 5)
        )
        assert changed == 4
        for each in (await moods.find()).items:
            if each.owner == "o1":
                assert (each.context, each.score, each.version) == (None, 7, 2)
                assert each.updated_at > before[each.id].updated_at
                assert each.created_at == _LONG_AGO
            else:
                assert each == before[each.id]
        assert await moods.delete_where(F.owner != "o1", batch=_batch(store, 5)) == 8
        assert await moods.count() == 4

    async def test_everything_is_meant_only_where_it_is_said(self, store: Backend) -> None:
        """None, and a filter that holds for all, are refused, in batches too."""
        moods = await _moods(store, 3)
        whole: tuple[Filter | None, ...] = (None, ALL, F.score != None)  # noqa: E711 - a filter
        for where in whole:
            for batch in {_batch(store, 2), 2}:
                for asked in (
                    moods.update_where(where, {"score": 1}, batch=batch),
                    moods.update_where(where, {F.data["a"]: 1}, batch=batch),
                    moods.delete_where(where, batch=batch),
                ):
                    with pytest.raises(InvalidRequestError) as error:
                        await asked
                    assert "everything" in error.value.hint
        assert await moods.count(F.version == 1) == 3
        batch = _batch(store, 2)
        assert await moods.update_where(None, {"score": 1}, batch=batch, everything=True) == 3
        assert await moods.delete_where(None, batch=2, everything=True) == 3
        assert await moods.count() == 0

    @proves("W6", "W7")
    @partly_needs("transactions")
    async def test_batches_change_each_document_once(self, store: Backend) -> None:
        """Of any size they are the same as one request, also where a change ends no condition."""
        for size in (1, 3, 7, 50):
            moods = await _moods(store, 20)
            where = F.score >= 4
            assert await moods.update_where(where, {"score": 100}, batch=size) == 16
            assert await moods.count((F.score == 100) & (F.version == 2)) == 16
            assert await moods.count((F.score < 4) & (F.version == 1)) == 4
            assert await moods.update_where(F.score == 100, {"owner": "x"}, batch=size) == 16
            assert await moods.delete_where(F.owner == "x", batch=size) == 16
            assert await moods.delete_where(F.score < 100, batch=size) == 4
            assert await moods.count() == 0
        for wrong in (0, -1, 10_001, True, cast(Any, "5")):
            with pytest.raises(InvalidRequestError, match="batch"):
                await moods.delete_where(F.score == 1, batch=wrong)

    async def test_parts_of_json_are_set_in_many(self, store: Backend) -> None:
        """The rest of each document's JSON stays, and so does what is not found."""
        moods = await _moods(store, 9, data={"kept": [1]})
        asked: dict[str | FieldPart, object] = {F.data["place"]["city"]: "Bonn", "context": "home"}
        for batch in (_batch(store, 2), 2):
            assert await moods.update_where(F.owner == "o1", asked, batch=batch) == 3
        for each in (await moods.find()).items:
            if each.owner == "o1":
                assert each.data == {"kept": [1], "place": {"city": "Bonn"}}
                assert (each.context, each.version) == ("home", 3)
            else:
                assert (each.data, each.version) == ({"kept": [1]}, 1)

    @proves("A3")
    async def test_operators_work_in_many(self, store: Backend) -> None:
        """Each document is counted, held against a bound and added to by what is in itself."""
        moods = await _moods(store, 6, data={"tags": ["a"]})
        batch = _batch(store, 4)
        asked = {"score": Add(10), "context": "x"}
        assert await moods.update_where(F.score >= 2, asked, batch=batch) == 4
        assert await moods.update_where(F.score < 13, {"score": AtLeast(5)}, batch=batch) == 3
        tags: dict[str | FieldPart, object] = {F.data["tags"]: Append("b"), "score": Add(1)}
        assert await moods.update_where(F.score == 5, tags, batch=batch) == 2
        found = (await moods.find(order=["id"])).items
        assert [each.score for each in found] == [6, 6, 12, 13, 14, 15]
        assert [each.version for each in found] == [3, 3, 3, 2, 2, 2]
        assert [each.data["tags"] for each in found] == [["a", "b"]] * 2 + [["a"]] * 4

    async def test_validators_see_each_entity_whole(self, store: Backend) -> None:
        """What one of them refuses changes none; in batches, none of its batch."""
        await store.execute(Ensure((collection_of(_Goal),)))
        goals = Repository(_Goal, store)
        given = [_Goal(id=identity(at), low=at, high=at + 10) for at in range(6)]
        await add_entities(goals, store, given)
        batch = _batch(store, 3)
        assert await goals.update_where(F.low < 3, {"low": 10}, batch=batch) == 3
        assert await goals.count((F.low == 10) & (F.version == 2)) == 3
        with pytest.raises(RefusedValueError) as error:
            await goals.update_where(F.low != 10, {"high": 4}, batch=batch)
        assert error.value.entity == "_Goal"
        assert await goals.count(F.high == 4) == (0 if batch is None else 2)

    @proves("W6")
    @needs_transactions
    async def test_each_is_changed_in_its_own_way_or_none_is(self, store: Backend) -> None:
        """Fields may differ; an id that is missing is named, the first of them."""
        moods = await _moods(store, 6, data={"kept": 1})
        first, second, third = (identity(at) for at in range(3))
        part: dict[str | FieldPart, object] = {F.data["a"]: 1}
        changes: dict[UUID, Any] = {
            first: {"score": 50},
            second: {"context": "x", "owner": "y"},
            third: part,
        }
        assert await moods.update_many(changes) == 3
        found = (await moods.find(order=["id"])).items
        assert (found[0].score, found[0].version) == (50, 2)
        assert (found[1].context, found[1].owner, found[1].version) == ("x", "y", 2)
        assert found[2].data == {"kept": 1, "a": 1}
        assert [each.version for each in found[3:]] == [1, 1, 1]
        lost, other = uuid4(), uuid4()
        wrong = {first: {"score": 1}, lost: {"score": 1}, other: {"score": 1}}
        with pytest.raises(NotFoundError) as error:
            await moods.update_many(wrong)
        assert str(lost) in error.value.message
        with pytest.raises(RefusedValueError):
            await moods.update_many({first: {"score": 1}, second: {"score": None}})
        with pytest.raises(InvalidRequestError):
            await moods.update_many({first: {"score": 1}, second: {}})
        assert (await moods.find(order=["id"])).items == found
        assert await moods.update_many({}) == 0

    @proves("W6", "W7")
    @needs_transactions
    async def test_thousands_are_changed_and_deleted_by_their_ids(self, store: Backend) -> None:
        """All or none, however many requests it takes."""
        moods = await _moods(store, 6_000)
        every = [identity(at) for at in range(6_000)]
        assert (
            await moods.update_many({each: {"score": at * 2} for at, each in enumerate(every)})
            == 6_000
        )
        assert await moods.count((F.version == 2) & (F.score >= 6_000)) == 3_000
        many = [*every, *(uuid4() for _ in range(6_000))]
        assert await moods.delete_many(many) == 6_000
        assert await moods.delete_many(many) == 0
        with pytest.raises(InvalidRequestError):
            await moods.delete_many([*many, many[0]])
        assert await moods.delete_many([]) == 0

    @proves("W6")
    @partly_needs("transactions")
    async def test_a_backend_without_units_takes_batches_only(self, store: Backend) -> None:
        """What would be kept whole is refused before any I/O, with a way out; batches are not."""
        moods = await _moods(store, 4)
        if store.capabilities.transactions:
            assert await moods.update_where(F.score < 2, {"owner": "x"}) == 2
            return
        for asked in (
            moods.update_where(F.score < 2, {"owner": "x"}),
            moods.update_where(F.score < 2, {F.data["a"]: 1}),
            moods.delete_where(F.score < 2),
            moods.update_many({identity(0): {"score": 1}, identity(1): {"score": 1}}),
            moods.delete_many([identity(0), identity(1)]),
        ):
            await refuses(store, cast("Awaitable[int]", asked))
        assert await moods.count(F.version == 1) == 4
        assert await moods.update_where(F.score < 2, {"owner": "x"}, batch=2) == 2
        assert await moods.update_many({identity(0): {"score": 9}}) == 1
        assert await moods.delete_many([identity(0)]) == 1

    # --- rivals ----------------------------------------------------------------------------------

    @proves("T5")
    @needs_transactions
    async def test_counting_up_by_a_condition_loses_no_update(self, store: Backend) -> None:
        """Rivals that count the same documents up leave the sum of what each was told it did."""
        people = [person(at, id=identity(at)) for at in range(8)]
        await add(store, PEOPLE, *people)
        rivals = build_guard(store)
        op = PatchWhere(PEOPLE, F.visits >= 0, (), (("visits", 1), *_RAISED))
        ended = await asyncio.gather(
            *(rivals.execute(op) for _ in range(6)), return_exceptions=True
        )
        done = sum(each == 8 for each in ended)
        assert done
        rows = await stored(store, PEOPLE)
        assert [row["visits"] for row in rows] == [done] * 8
        assert [row["version"] for row in rows] == [done + 1] * 8

    @proves("D2")
    @needs_transactions
    async def test_a_cancelled_change_leaves_nothing_half_written(self, store: Backend) -> None:
        """Wherever it was cancelled, all of one request is changed or none, and it is over."""
        moods = await _moods(store, 600)
        for pause in range(12):
            task = asyncio.ensure_future(moods.update_where(F.score >= 0, {"context": f"{pause}"}))
            for _ in range(pause):
                await asyncio.sleep(0.001 * pause)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await _until_free(moods, f"{pause}")
            changed = await moods.count(F.context == f"{pause}")
            assert changed in {0, 600}
            if store.capabilities.stops_cancelled:
                await asyncio.sleep(0.01)
                assert await moods.count(F.context == f"{pause}") == changed

"""The schema: collections are made once, remembered, and never altered in silence."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import cast
from uuid import uuid4

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    ConfigurationError,
    DuplicateKeyError,
    InvalidRequestError,
    SchemaMismatchError,
)
from healthstore.model.catalog import CATALOG, catalog_id, from_definition, to_document
from healthstore.model.change import (
    AddField,
    AddIndex,
    AddUnique,
    ChangeEffect,
    ChangeField,
    CreateCollection,
    DropField,
    FieldForm,
)
from healthstore.model.ops import CountDocuments, Delete, Ensure, Find, Get, Insert
from healthstore.model.query import F, parse_order
from healthstore.model.schema import Check, Collection, Field, Index, Reference, Unique
from healthstore.model.values import Document, FieldType, Kind
from healthstore.schema import plan
from healthstore.testing.contract._promises import (
    Contract,
    needs_references,
    needs_transactions,
    proves,
)
from healthstore.testing.contract._samples import PEOPLE, identity

__all__ = ("TestSchema",)

_ID = Field("id", FieldType(Kind.UUID))
_VERSION = Field("version", FieldType(Kind.INTEGER))
_LABEL = FieldType(Kind.TEXT, max_length=40)


def _text(length: int) -> FieldType:
    return FieldType(Kind.TEXT, max_length=length)


def _decimal(digits: int, places: int) -> FieldType:
    return FieldType(Kind.DECIMAL, digits=digits, places=places)


def _fresh(name: str = "made") -> str:
    """Return a collection's name that no store has."""
    return f"{name}_{uuid4().hex[:12]}"


def _things(
    name: str,
    *fields: Field,
    uniques: tuple[Unique, ...] = (),
    indexes: tuple[Index, ...] = (),
) -> Collection:
    return Collection(name, (_ID, _VERSION, *fields), uniques, indexes, entity="Thing")


class TestSchema(Contract):
    """A store knows from which definitions its collections were made."""

    async def test_what_is_missing_is_made_and_what_is_there_is_kept(self, store: Backend) -> None:
        """The first call creates, the next ones change nothing; documents stay."""
        first, second = _things(_fresh()), _things(_fresh())
        done = await store.execute(Ensure((first,)))
        assert (done.created, done.present) == ((first.name,), ())
        row: Document = {"id": identity(1), "version": 1}
        await store.execute(Insert(first, (row,)))
        done = await store.execute(Ensure((first, second)))
        assert (done.created, done.present) == ((second.name,), (first.name,))
        done = await store.execute(Ensure((second, first)))
        assert (done.created, done.present) == ((), (second.name, first.name))
        assert await store.execute(Get(first, (identity(1),))) == (row,)

    async def test_another_definition_is_refused_in_words(self, store: Backend) -> None:
        """The error names each difference; nothing is altered and nothing new is made."""
        name = _fresh()
        stored = _things(name, Field("a", _LABEL), Field("b", FieldType(Kind.INTEGER)))
        await store.execute(Ensure((stored,)))
        changed = (
            (_things(name, Field("a", _LABEL)), "field b is gone"),
            (_things(name, *stored.fields[2:], Field("c", _LABEL)), "field c is new"),
            (
                _things(name, Field("a", _LABEL, nullable=True), stored.fields[3]),
                "field a was",
            ),
            (
                _things(name, *stored.fields[2:], uniques=(Unique("a"),)),
                "unique key (a) is new",
            ),
            # An index alone is refused by nobody who serves other programs.
            (_things(name, *stored.fields[2:3], indexes=(Index("-a"),)), "index (-a) is new"),
        )
        for wanted, words in changed:
            other = _things(_fresh())
            with pytest.raises(SchemaMismatchError) as error:
                await store.execute(Ensure((wanted, other)))
            assert words in error.value.message
            assert name in error.value.message
            assert error.value.hint
            assert (error.value.entity, error.value.backend) == ("Thing", store.name)
        row: Document = {"id": identity(1), "version": 1, "a": "x", "b": 1}
        await store.execute(Insert(stored, (row,)))
        done = await store.execute(Ensure((stored,)))
        assert done.present == (name,)

    async def test_a_plan_says_what_a_store_needs_and_changes_nothing(self, store: Backend) -> None:
        """Each change comes with its effect and the rows that are there; the store stays as it is."""
        stored = _things(_fresh(), Field("a", _LABEL), Field("b", FieldType(Kind.INTEGER)))
        new = _things(_fresh("new"))
        await store.execute(Ensure((stored,)))
        for number in (1, 2):
            row: Document = {"id": identity(number), "version": 1, "a": f"x{number}", "b": 7}
            await store.execute(Insert(stored, (row,)))
        wanted = _things(
            stored.name,
            Field("c", _LABEL, nullable=True),
            Field("d", _LABEL),
            Field("a", replace(_LABEL, max_length=60)),
            uniques=(Unique("a"),),
            indexes=(Index("-a"),),
        )
        made = await plan(store, (new, wanted))
        assert [(each.operation, each.rows) for each in made.operations] == [
            (DropField(stored.name, "b"), 2),
            (ChangeField(stored.name, "a", FieldForm(wanted.field("a").type)), 2),
            (AddField(stored.name, "c", FieldForm(_LABEL, nullable=True)), 2),
            (AddField(stored.name, "d", FieldForm(_LABEL)), 2),
            (AddUnique(stored.name, Unique("a")), 2),
            (AddIndex(stored.name, Index("-a")), 2),
            (CreateCollection(new), 0),
        ]
        assert [each.effect for each in made.operations] == [
            ChangeEffect.LOSES_DATA,
            ChangeEffect.ADDITIVE,
            ChangeEffect.ADDITIVE,
            ChangeEffect.NEEDS_DATA,
            ChangeEffect.NEEDS_DATA,
            ChangeEffect.ADDITIVE,
            ChangeEffect.ADDITIVE,
        ]
        assert [each.against for each in made.operations] == [2, 0, 0, 2, 0, 0, 0]
        assert (made.store, made.effect, bool(made)) == (
            store.name,
            ChangeEffect.LOSES_DATA,
            True,
        )
        assert not await plan(store, (stored,))
        assert await store.execute(CountDocuments(stored)) == 2
        assert (await store.execute(Ensure((stored,)))).present == (stored.name,)

    async def test_a_plan_counts_the_documents_that_stand_against_a_change(
        self, store: Backend
    ) -> None:
        """Nulls, members, digits, checks and values that go are counted, by the store itself."""
        money = FieldType(Kind.DECIMAL, digits=6, places=2)
        state = FieldType(Kind.ENUM, choices=("NEW", "OPEN", "SHUT"))
        stored = _things(
            _fresh(),
            Field("a", _LABEL, nullable=True),
            Field("m", money, nullable=True),
            Field("s", state),
            Field("gone", _LABEL, nullable=True),
        )
        await store.execute(Ensure((stored,)))
        rows: tuple[tuple[str | None, str | None, str, str | None], ...] = (
            ("x", "999.99", "NEW", None),
            (None, "1000.00", "OPEN", "y"),
            ("", "-1000.00", "SHUT", ""),
            (None, None, "SHUT", None),
            (None, "-999.99", "NEW", None),
        )
        for number, (a, m, s, gone) in enumerate(rows, 1):
            document: Document = {"id": identity(number), "version": 1, "a": a, "s": s}
            document |= {"m": None if m is None else Decimal(m), "gone": gone}
            await store.execute(Insert(stored, (document,)))
        wanted = replace(
            _things(
                stored.name,
                Field("a", _LABEL),
                Field("m", replace(money, digits=5), nullable=True),
                Field("s", replace(state, choices=("NEW", "LATE"))),
            ),
            checks=(Check("small", F.m < Decimal(999)), Check("named", F.a != "x")),
        )
        made = await plan(store, (wanted,))
        assert {
            str(each.operation).partition(":")[0]: each.against for each in made.operations
        } == {
            "drop the field gone": 2,
            "change the field a": 3,
            "change the field m": 2,
            "change the field s": 3,
            "add the check small": 2,
            "add the check named": 1,
        }

    async def test_a_plan_counts_what_no_filter_can_tell(self, store: Backend) -> None:
        """Long texts, equal keys, other types and places, and checks of what is to come."""
        count = 1_050  # more than a page
        stored = _things(
            _fresh(),
            Field("a", _LABEL, nullable=True),
            Field("k", FieldType(Kind.INTEGER)),
            Field("m", FieldType(Kind.DECIMAL, digits=8, places=2)),
        )
        await store.execute(Ensure((stored,)))
        rows: tuple[Document, ...] = tuple(
            {
                "id": identity(number),
                "version": 1,
                "a": None if number % 5 == 0 else "ä" * (number % 11),
                "k": number // 3,
                "m": Decimal(number).scaleb(-2),
            }
            for number in range(count)
        )
        await store.execute(Insert(stored, rows, atomic=False))
        a, k, m = stored.fields[2:]
        new = Field("n", FieldType(Kind.INTEGER), default=4)
        texts = [str(each["a"]) for each in rows if each["a"] is not None]
        for wanted, change, against in (
            ((Field("a", _text(9), nullable=True), k, m), "a", sum(len(t) > 9 for t in texts)),
            ((Field("a", _text(9)), k, m), "a", sum(len(t) > 9 for t in texts) + count // 5),
            ((a, Field("k", _LABEL), m), "k", count),
            ((a, k, Field("m", _decimal(8, 1))), "m", sum(n % 10 > 0 for n in range(count))),
            ((a, k, Field("m", _decimal(8, 4))), "m", 0),
        ):
            (planned,) = (await plan(store, (_things(stored.name, *wanted),))).operations
            assert change in str(planned.operation)
            assert (planned.against, planned.rows) == (against, count)
        fields = (*stored.fields[2:], new)
        for unique, against in (
            (Unique("a"), len(texts) - len(set(texts))),
            (Unique("k"), count - len({cast(int, each["k"]) for each in rows})),
            (
                Unique("a", "k"),
                len(texts)
                - len({(str(r["a"]), cast(int, r["k"])) for r in rows if r["a"] is not None}),
            ),
            (Unique("n"), count - 1),
            (Unique("n", "k"), count - len({cast(int, each["k"]) for each in rows})),
            (Unique("m"), 0),
        ):
            wanted_ = _things(stored.name, *fields, uniques=(unique,))
            planned = (await plan(store, (wanted_,))).operations[-1]
            assert (planned.operation, planned.against) == (AddUnique(stored.name, unique), against)
        for check, against in (
            (Check("known", F.n < 4), count),
            (Check("known", F.n >= 4), 0),
            (Check("known", (F.n > 4) | (F.k < 10)), count - 30),
        ):
            checked = replace(_things(stored.name, *fields), checks=(check,))
            planned = (await plan(store, (checked,))).operations[-1]
            assert (str(planned.operation)[:13], planned.against) == ("add the check", against)

    @needs_references
    async def test_a_plan_counts_references_to_nothing(self, store: Backend) -> None:
        """A document counts if what it refers to is not there; null refers to nothing."""
        parents = _things(_fresh(), Field("a", _LABEL))
        children = _things(_fresh(), Field("parent", FieldType(Kind.UUID), nullable=True))
        await store.execute(Ensure((parents, children)))
        for number in (1, 2):
            row: Document = {"id": identity(number), "version": 1, "a": "x"}
            await store.execute(Insert(parents, (row,)))
        led = (None, identity(1), identity(2), identity(2), identity(7), identity(8), identity(8))
        for number, parent in enumerate(led, 10):
            row = {"id": identity(number), "version": 1, "parent": parent}
            await store.execute(Insert(children, (row,)))
        for target, against in ((parents.name, 3), (children.name, 6)):
            wanted = replace(children, references=(Reference("parent", target),))
            (planned,) = (await plan(store, (wanted,))).operations
            assert (planned.against, planned.rows) == (against, len(led))

    async def test_a_default_is_remembered_and_makes_no_other_definition(
        self, store: Backend
    ) -> None:
        """What a store was made with is read back; another default is a change that adds."""
        name = _fresh()
        made = _things(name, Field("a", _LABEL, default="x"), Field("b", _LABEL))
        other = _things(name, Field("a", _LABEL), Field("b", _LABEL, default="y"))
        await store.execute(Ensure((made,)))
        (row,) = await store.execute(Get(CATALOG, (catalog_id(name),)))
        assert row is not None
        read = from_definition(row["definition"])
        assert [each.default for each in read.fields[2:]] == ["x", None]
        assert read == other
        assert read.fingerprint == other.fingerprint
        assert (await store.execute(Ensure((other,)))).present == (name,)
        wanted = await plan(store, (other,))
        assert [str(each.operation) for each in wanted.operations] == [
            "change the field a: text, max_length 40",
            "change the field b: text, max_length 40, with a default",
        ]
        assert wanted.effect is ChangeEffect.ADDITIVE

    async def test_a_collection_of_somebody_else_is_left_alone(self, store: Backend) -> None:
        """A collection that the catalog does not know is refused, never taken over."""
        things = _things(_fresh())
        await store.execute(Ensure((things,)))
        await store.execute(Insert(things, ({"id": identity(1), "version": 1},)))
        await store.execute(Delete(CATALOG, (catalog_id(things.name),)))
        with pytest.raises(SchemaMismatchError) as error:
            await store.execute(Ensure((things,)))
        assert things.name in error.value.message
        assert error.value.hint
        assert await store.execute(CountDocuments(things)) == 1

    @proves("T9")
    async def test_a_collection_that_was_left_half_made_is_completed(self, store: Backend) -> None:
        """A catalog row without its collection, as a crash leaves it, is no obstacle."""
        await store.execute(Ensure((_things(_fresh()),)))
        things = _things(_fresh(), Field("a", _LABEL), uniques=(Unique("a"),))
        await store.execute(Insert(CATALOG, (to_document(things),)))
        done = await store.execute(Ensure((things,)))
        assert done.created == (things.name,)
        row: Document = {"id": identity(1), "version": 1, "a": "x"}
        await store.execute(Insert(things, (row,)))
        with pytest.raises(DuplicateKeyError):
            await store.execute(Insert(things, ({**row, "id": identity(2)},)))

    async def test_the_catalog_describes_every_collection(self, store: Backend) -> None:
        """Each definition can be read back from the store, equal to what made it."""
        rich = Collection(
            _fresh(),
            (_ID, _VERSION, Field("a", _LABEL), Field("n", FieldType(Kind.INTEGER), nullable=True)),
            (Unique("a", "n"),),
            (Index("-n", "a"),),
            checks=(Check("n_is_small", ~(F.n > 2**53) | F.a.in_(["é", "x"])),),
        )
        await store.execute(Ensure((rich, PEOPLE)))
        names = F.name.in_([rich.name, PEOPLE.name])
        rows = await store.execute(Find(CATALOG, names, parse_order(["name"])))
        found = [from_definition(row["definition"]) for row in rows]
        assert found == [PEOPLE, rich]
        assert [row["fingerprint"] for row in rows] == [PEOPLE.fingerprint, rich.fingerprint]

    @proves("W10")
    async def test_any_name_that_is_allowed_can_be_used(self, store: Backend) -> None:
        """Words that a database reserves, and names of full length, name collections and fields."""
        words = ("select", "order", "from", "group", "user", "index", "key", "values", "table")
        fields = (*(Field(word, _LABEL) for word in words), Field("f" * 48, _LABEL))
        long_name = _fresh("a" * 35)
        things = Collection(
            long_name,
            (_ID, _VERSION, *fields),
            (Unique("order", "select"), Unique("f" * 48)),
            (Index("order"), Index("-order"), Index("f" * 48, "-from"), Index("f" * 48, "group")),
        )
        await store.execute(Ensure((things,)))
        row: Document = {"id": identity(1), "version": 1, **{each.name: "x" for each in fields}}
        await store.execute(Insert(things, (row,)))
        found = await store.execute(Find(things, F.select == "x", parse_order(["-order"])))
        assert found == (row,)
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Insert(things, ({**row, "id": identity(2), "f" * 48: "y"},)))
        assert error.value.fields == ("order", "select")

    @proves("W10")
    async def test_equal_keys_of_two_collections_are_apart(self, store: Backend) -> None:
        """Collections with the same indexes and checks do not get in each other's way."""
        first, second = (
            Collection(
                _fresh(),
                (_ID, _VERSION, Field("a", _LABEL)),
                (Unique("a"),),
                (Index("-a"),),
                checks=(Check("a_is_short", F.a != "long"),),
            )
            for _ in range(2)
        )
        await store.execute(Ensure((first, second)))
        row: Document = {"id": identity(1), "version": 1, "a": "x"}
        for things in (first, second):
            await store.execute(Insert(things, (row,)))
            with pytest.raises(DuplicateKeyError) as error:
                await store.execute(Insert(things, ({**row, "id": identity(2)},)))
            assert error.value.fields == ("a",)

    @needs_references
    async def test_parents_are_made_before_their_children(self, store: Backend) -> None:
        """Collections may be named in any order; the answer keeps that order."""
        parents = _things(_fresh("zz_parents"))
        children = Collection(
            _fresh("aa_children"),
            (_ID, _VERSION, Field("parent", FieldType(Kind.UUID))),
            references=(Reference("parent", parents.name),),
        )
        done = await store.execute(Ensure((children, parents)))
        assert done.created == (children.name, parents.name)

    async def test_a_circle_of_references_is_refused(self, store: Backend) -> None:
        """Collections whose documents need each other to exist first cannot be made."""
        names = [_fresh(), _fresh()]
        first, second = (
            Collection(
                name,
                (_ID, _VERSION, Field("other", FieldType(Kind.UUID))),
                references=(Reference("other", other),),
            )
            for name, other in (names, reversed(names))
        )
        with pytest.raises(ConfigurationError) as error:
            await store.execute(Ensure((first, second)))
        assert names[0] in str(error.value)
        assert error.value.hint

    async def test_a_collection_that_was_not_made_is_reported(self, store: Backend) -> None:
        """Reading or writing a collection that the store does not have is an error."""
        things = _things(_fresh())
        row: Document = {"id": identity(1), "version": 1}
        for op in (Get(things, (identity(1),)), Insert(things, (row,)), Find(things)):
            with pytest.raises(ConfigurationError) as error:
                await store.execute(op)
            assert type(error.value) is ConfigurationError
            assert (error.value.entity, error.value.backend) == ("Thing", store.name)
            assert error.value.hint

    async def test_naming_a_collection_twice_is_refused(self, store: Backend) -> None:
        """One request names each collection once."""
        with pytest.raises(InvalidRequestError):
            await store.execute(Ensure((PEOPLE, PEOPLE)))

    @needs_transactions
    async def test_ensuring_nothing_does_nothing(self, store: Backend) -> None:
        """A request for no collection succeeds."""
        done = await store.execute(Ensure(()))
        assert (done.created, done.present) == ((), ())

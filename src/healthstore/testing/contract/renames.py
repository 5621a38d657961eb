"""Renames: what is stored stays what it is, and everything that names it follows."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    CheckError,
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    InvalidRequestError,
    SchemaMismatchError,
)
from healthstore.model.change import Change, RenameCollection, RenameField, changed
from healthstore.model.ops import Delete, Ensure, Find, Insert, Rename
from healthstore.model.query import F, parse_order
from healthstore.model.schema import Check, Collection, Field, Index, Reference, Unique
from healthstore.model.values import FieldType, Kind
from healthstore.testing.contract._altered import (
    KEY,
    LABEL,
    NAME,
    NUMBER,
    definition_of,
    enum_of,
    prepare,
    row_of,
    things,
)
from healthstore.testing.contract._promises import (
    Contract,
    needs_alterations,
    needs_references,
)
from healthstore.testing.contract._samples import EVERYTHING, every_row, exact, identity, stored

__all__ = ("TestRenames",)


def _renamed(before: Collection, *renames: Change) -> Collection:
    """Return a definition after renames."""
    (after,) = changed({before.name: before}, renames).values()
    return after


def _fresh() -> str:
    return f"made_{uuid4().hex[:12]}"


class TestRenames(Contract):
    """A name is no value: nothing that is stored changes by another one."""

    @needs_alterations
    async def test_a_field_of_every_kind_keeps_its_values(self, store: Backend) -> None:
        """Under its new name it holds what it held, to the last digit, and null where it had none."""
        before = Collection(_fresh(), EVERYTHING.fields, entity="Thing")
        rows = every_row(6)
        await prepare(store, before, *rows)
        names = [each for each in before.names if each not in {"id", "version"}]
        after = before
        for name in names:
            last, after = after, _renamed(after, RenameField(before.name, name, f"{name}_now"))
            assert await store.execute(Rename(last, after))
        wanted = [
            {f"{name}_now" if name in names else name: value for name, value in row.items()}
            for row in sorted(rows, key=lambda row: str(row["id"]))
        ]
        assert list(map(exact, await stored(store, after))) == list(map(exact, wanted))
        assert await definition_of(store, before.name) == after

    @needs_alterations
    async def test_keys_and_checks_follow(self, store: Backend) -> None:
        """They hold as before, and an error of theirs speaks of the new name."""
        before = things(
            NAME,
            Field("team", LABEL, nullable=True),
            Field("rank", NUMBER),
            Field("mood", enum_of("bad", "good"), nullable=True),
            uniques=(Unique("name"), Unique("team", "rank")),
            indexes=(Index("-rank", "name"), Index("rank")),
            checks=(Check("small", (F.rank < 10) | (F.team == "x")), Check("named", F.name != "")),
        )
        rows = [
            row_of(1, name="a", team="x", rank=3, mood="good"),
            row_of(2, name="b", team=None, rank=1, mood=None),
        ]
        await prepare(store, before, *rows)
        after = before
        for old, new in (("rank", "place"), ("team", "group"), ("mood", "rank"), ("name", "team")):
            last, after = after, _renamed(after, RenameField(before.name, old, new))
            assert await store.execute(Rename(last, after))
        first = row_of(1, team="a", group="x", place=3, rank="good")
        second = row_of(2, team="b", group=None, place=1, rank=None)
        assert await stored(store, after) == [first, second]
        for fields, row in {
            ("team",): row_of(3, team="a", group="y", place=1, rank=None),
            ("group", "place"): row_of(3, team="c", group="x", place=3, rank=None),
        }.items():
            with pytest.raises(DuplicateKeyError) as duplicate:
                await store.execute(Insert(after, (row,)))
            assert duplicate.value.fields == fields
        with pytest.raises(CheckError):
            await store.execute(
                Insert(after, (row_of(3, team="c", group="y", place=10, rank=None),))
            )
        with pytest.raises(CheckError):
            await store.execute(Insert(after, (row_of(3, team="", group="y", place=1, rank=None),)))
        await store.execute(Insert(after, (row_of(4, team="d", group=None, place=1, rank="bad"),)))
        found = await store.execute(Find(after, order=parse_order(["-place", "team"])))
        assert [each["team"] for each in found] == ["a", "b", "d"]

    @needs_alterations
    @needs_references
    async def test_a_reference_follows(self, store: Backend) -> None:
        """It leads where it led, and is kept to it, also under a key that may hide it."""
        parents = things(NAME)
        before = things(
            Field("parent", FieldType(Kind.UUID), nullable=True),
            Field("number", NUMBER, nullable=True),
            uniques=(Unique("parent", "number"),),
            indexes=(Index("parent", "-number"),),
            references=(Reference("parent", parents.name, "cascade"),),
        )
        await prepare(store, parents, row_of(1, name="p"))
        await prepare(store, before, row_of(2, parent=identity(1), number=1))
        after = before
        for old, new in (("parent", "owner"), ("number", "parent")):
            last, after = after, _renamed(after, RenameField(before.name, old, new))
            assert await store.execute(Rename(last, after))
        with pytest.raises(ForeignKeyError):
            await store.execute(Insert(after, (row_of(3, owner=identity(8), parent=1),)))
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Insert(after, (row_of(3, owner=identity(1), parent=1),)))
        assert error.value.fields == ("owner", "parent")
        await store.execute(Insert(after, (row_of(3, owner=identity(1), parent=None),)))
        assert await store.execute(Delete(parents, (identity(1),))) == (True,)
        assert await stored(store, after) == []

    @needs_alterations
    async def test_a_collection_keeps_its_documents(self, store: Backend) -> None:
        """They are found under its new name, kept to its keys; and the old name is free again."""
        before = things(
            NAME,
            Field("rank", NUMBER),
            Field("mood", enum_of("bad", "good"), nullable=True),
            uniques=(Unique("name"),),
            indexes=(Index("-rank"),),
            checks=(Check("small", F.rank < 10),),
        )
        await prepare(store, before, row_of(1, name="a", rank=1, mood="good"))
        to = _fresh()
        after = _renamed(before, RenameCollection(before.name, to))
        assert await store.execute(Rename(before, after))
        assert not await store.execute(Rename(before, after))
        assert await stored(store, after) == [row_of(1, name="a", rank=1, mood="good")]
        await prepare(store, before, row_of(1, name="a", rank=2, mood=None))
        for each in (before, after):
            with pytest.raises(DuplicateKeyError) as duplicate:
                await store.execute(Insert(each, (row_of(2, name="a", rank=1, mood=None),)))
            assert duplicate.value.fields == ("name",)
            with pytest.raises(CheckError):
                await store.execute(Insert(each, (row_of(2, name="b", rank=10, mood=None),)))
        assert [each["rank"] for each in await stored(store, before)] == [2]
        with pytest.raises(SchemaMismatchError, match="there is a collection"):
            await store.execute(Rename(before, after))
        assert [each["rank"] for each in await stored(store, after)] == [1]

    @needs_alterations
    @needs_references
    async def test_references_lead_to_the_new_name(self, store: Backend) -> None:
        """Those of other collections and its own: what they forbade is forbidden, and goes along."""
        name, to = _fresh(), _fresh()
        boss = Field("boss", FieldType(Kind.UUID), nullable=True)
        before = things(NAME, boss, name=name, references=(Reference("boss", name, "restrict"),))
        children = things(
            Field("parent", FieldType(Kind.UUID)),
            references=(Reference("parent", name, "cascade"),),
        )
        first, second = row_of(1, name="a", boss=None), row_of(2, name="b", boss=identity(1))
        await prepare(store, before, first, second)
        await prepare(store, children, row_of(3, parent=identity(2)))
        state = changed({name: before, children.name: children}, [RenameCollection(name, to)])
        after, led = state[to], state[children.name]
        assert await store.execute(Rename(before, after))
        assert await definition_of(store, children.name) == led
        await store.execute(Ensure((after, led)))
        assert await stored(store, after) == [first, second]
        assert await stored(store, led) == [row_of(3, parent=identity(2))]
        with pytest.raises(ForeignKeyError):
            await store.execute(Insert(led, (row_of(4, parent=identity(7)),)))
        with pytest.raises(ForeignKeyError):
            await store.execute(Insert(after, (row_of(5, name="c", boss=identity(7)),)))
        with pytest.raises(ForeignKeyError):
            await store.execute(Delete(after, (identity(1),)))
        assert await store.execute(Delete(after, (identity(2),))) == (True,)
        assert await stored(store, led) == []

    @needs_alterations
    async def test_what_is_done_is_done(self, store: Backend) -> None:
        """Asked again it is nothing to do; another definition than the one named is refused."""
        before = things(NAME, Field("rank", NUMBER))
        await prepare(store, before, row_of(1, name="a", rank=1))
        after = _renamed(before, RenameField(before.name, "rank", "place"))
        assert await store.execute(Rename(before, after))
        assert not await store.execute(Rename(before, after))
        other = _renamed(before, RenameField(before.name, "name", "label"))
        with pytest.raises(SchemaMismatchError):
            await store.execute(Rename(before, other))
        with pytest.raises(SchemaMismatchError):
            await store.execute(Ensure((before,)))
        assert await stored(store, after) == [row_of(1, name="a", place=1)]
        back = await store.execute(Rename(after, before))
        assert back
        assert await stored(store, before) == [row_of(1, name="a", rank=1)]

    @needs_alterations
    async def test_only_names_are_changed(self, store: Backend) -> None:
        """Anything else beside them is refused, and what is not there, before anything is done."""
        before = things(NAME, Field("rank", NUMBER))
        await prepare(store, before)
        fields = (*KEY, replace(NAME, name="label"), Field("rank", NUMBER, nullable=True))
        for after in (replace(before, fields=fields), replace(before, fields=fields[:3])):
            with pytest.raises(InvalidRequestError, match="more than names"):
                await store.execute(Rename(before, after))
        absent = replace(before, name=_fresh())
        with pytest.raises(HealthstoreError, match="there is no collection"):
            await store.execute(
                Rename(absent, _renamed(absent, RenameField(absent.name, "rank", "r")))
            )
        assert await definition_of(store, before.name) == before

"""Alterations: a stored definition becomes another one, and what is stored stays what it was."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import cast
from uuid import UUID, uuid4

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    CheckError,
    DuplicateKeyError,
    ForeignKeyError,
)
from healthstore.model.ops import (
    Alter,
    CountDocuments,
    Delete,
    Find,
    Insert,
    Patch,
    Replace,
)
from healthstore.model.query import F, parse_order
from healthstore.model.schema import (
    Check,
    Field,
    Index,
    Reference,
    Unique,
)
from healthstore.model.values import FieldType, Kind, Value
from healthstore.testing.contract._altered import (
    KEY,
    LABEL,
    NAME,
    NUMBER,
    decimal_of,
    enum_of,
    extreme,
    prepare,
    row_of,
    text_of,
    things,
)
from healthstore.testing.contract._promises import (
    Contract,
    needs_alterations,
    needs_references,
)
from healthstore.testing.contract._samples import (
    EDGES,
    EVERYTHING,
    exact,
    identity,
    one,
    stored,
)

__all__ = ("TestAlterations",)

# What a field was, what it becomes, values that were stored, and one that only the new form takes.
_WIDER: dict[str, tuple[FieldType, FieldType, tuple[Value, ...], Value]] = {
    "a longer text": (text_of(10), text_of(100), ("", "a" * 10, "ä" * 10), "😀" * 100),
    "a text beyond 63": (text_of(60), text_of(64), ("x" * 60,), "y" * 64),
    "a text beyond 255": (text_of(255), text_of(256), ("x" * 255,), "😀" * 256),
    "a text without end": (text_of(640), text_of(None), ("x" * 640, " "), "z" * 70_000),
    "more digits": (
        decimal_of(12),
        decimal_of(16),
        extreme(decimal_of(12)),
        Decimal("123456789012.3400"),
    ),
    "eighteen digits": (
        decimal_of(17),
        decimal_of(18),
        extreme(decimal_of(17)),
        10 ** Decimal(13) * 1,
    ),
    "nineteen digits": (
        decimal_of(18),
        decimal_of(19),
        extreme(decimal_of(18)),
        10 ** Decimal(14) * 1,
    ),
    "digits beyond": (
        decimal_of(3, 2),
        decimal_of(28, 2),
        extreme(decimal_of(3, 2)),
        Decimal(10**20),
    ),
    "more long digits": (
        decimal_of(20),
        decimal_of(22),
        extreme(decimal_of(20)),
        10 ** Decimal(17) * 1,
    ),
    "another member": (enum_of("a", "b"), enum_of("a", "b", "longer"), ("a", "b"), "longer"),
}


class TestAlterations(Contract):
    """A definition is changed where it is, by changes that no document stands against."""

    # --- new fields ------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", sorted(EDGES))
    @needs_alterations
    async def test_a_new_field_has_its_default_in_every_row(
        self, store: Backend, kind: str
    ) -> None:
        """Rows that were there read, find, sort, change and are replaced as if written with it."""
        before = things(NAME)
        rows = [row_of(number, name=f"n{number}") for number in range(1, 4)]
        await prepare(store, before, *rows)
        edges = EDGES[kind][:60]
        form = EVERYTHING.field(kind).type
        new = [
            Field(f"f{place}", form, nullable=place % 3 == 0, default=value)
            for place, value in enumerate(edges)
        ]
        after = replace(before, fields=(*before.fields, *new))
        assert await store.execute(Alter(before, after))
        given = {each.name: each.default for each in new}
        wanted = [{**row, **given} for row in rows]
        assert list(map(exact, await stored(store, after))) == list(map(exact, wanted))
        if form.kind is not Kind.JSON:
            for each in new:
                where = F[each.name] == each.default
                assert await store.execute(CountDocuments(after, where)) == len(rows)
        first = cast(UUID, rows[0]["id"])
        (patched,) = await store.execute(Patch(after, (first,), sets=(("name", "changed"),)))
        assert exact(patched) == exact({**wanted[0], "name": "changed"})
        replaced = {**wanted[1], "name": "replaced", "version": 2}
        assert await store.execute(Replace(after, (replaced,), (1,))) == (True,)
        assert exact(await one(store, after, replaced)) == exact(replaced)
        added = {**wanted[2], "id": identity(9), "f0": None}
        await store.execute(Insert(after, (added,)))
        assert exact(await one(store, after, added)) == exact(added)
        assert await store.execute(Delete(after, (first,))) == (True,)

    @needs_alterations
    async def test_a_new_field_has_null_where_it_has_no_default(self, store: Backend) -> None:
        """A null of a new field is found, sorted and counted as one that was written."""
        before = things(NAME)
        rows = [row_of(number, name=f"n{number}") for number in range(1, 4)]
        await prepare(store, before, *rows)
        kinds = {each.name: each.type for each in EVERYTHING.fields[2:]}
        new = [Field(f"new_{name}", kind, nullable=True) for name, kind in kinds.items()]
        after = replace(before, fields=(*before.fields, *new))
        assert await store.execute(Alter(before, after))
        names = [each.name for each in new]
        assert await stored(store, after) == [{**row, **dict.fromkeys(names)} for row in rows]
        for name in names:
            assert await store.execute(CountDocuments(after, F[name].is_null())) == 3
        written = row_of(4, name="n4", **{f"new_{name}": EDGES[name][1] for name in kinds})
        await store.execute(Insert(after, (written,)))
        assert exact(await one(store, after, written)) == exact(written)
        found = await store.execute(Find(after, order=parse_order(["-new_number"]), limit=1))
        assert [each["id"] for each in found] == [written["id"]]

    # --- wider fields ----------------------------------------------------------------------

    @pytest.mark.parametrize("indexed", [False, True], ids=["plain", "indexed"])
    @pytest.mark.parametrize("how", sorted(_WIDER))
    @needs_alterations
    async def test_a_field_becomes_wider(self, store: Backend, how: str, indexed: bool) -> None:  # noqa: FBT001 - a parameter of the test
        """Stored values keep their place in every order and filter, and wider ones join them."""
        was, now, values, wider = _WIDER[how]
        if indexed and (now.max_length is None) is (now.kind is Kind.TEXT):
            now, was = text_of(500), text_of(300)
            values, wider = ("x" * 300,), "😀" * 500
        if now.kind is Kind.DECIMAL:
            wider = cast(Decimal, wider).quantize(Decimal(1).scaleb(-now.places))
        keys = (Index("value", "-name"),) if indexed else ()
        before = things(NAME, Field("value", was), indexes=keys)
        rows = [row_of(at, name=f"n{at}", value=value) for at, value in enumerate(values, 1)]
        await prepare(store, before, *rows)
        after = replace(before, fields=(*before.fields[:3], Field("value", now)))
        assert await store.execute(Alter(before, after))
        assert list(map(exact, await stored(store, after))) == list(map(exact, rows))
        added = row_of(99, name="z", value=wider)
        await store.execute(Insert(after, (added,)))
        for row in (*rows, added):
            where = F["value"] == row["value"]
            assert (await store.execute(Find(after, where)))[0]["id"] == row["id"]
        found = await store.execute(Find(after, order=parse_order(["value"])))
        ordered = [each["value"] for each in found]
        assert ordered == sorted(ordered, key=lambda value: cast("str | Decimal", value))
        if now.kind is Kind.DECIMAL:
            for one_, next_ in pairwise(ordered):
                where = F["value"] > one_
                assert await store.execute(CountDocuments(after, where)) == len(ordered) - (
                    ordered.index(next_)
                )

    @pytest.mark.parametrize("key", ["none", "index", "unique"])
    @needs_alterations
    async def test_a_required_field_becomes_nullable(self, store: Backend, key: str) -> None:
        """Nulls are taken, also several under a unique key, and other values collide as before."""
        indexes = (Index("name"), Index("-name")) if key == "index" else ()
        uniques = (Unique("name"), Unique("team", "name")) if key == "unique" else ()
        team = Field("team", LABEL)
        before = things(NAME, team, indexes=indexes, uniques=uniques)
        rows = [row_of(at, name=f"n{at}", team="t") for at in (1, 2)]
        await prepare(store, before, *rows)
        after = replace(before, fields=(*KEY, replace(NAME, nullable=True), team))
        assert await store.execute(Alter(before, after))
        nulls = [row_of(at, name=None, team="t") for at in (3, 4)]
        for row in nulls:
            await store.execute(Insert(after, (row,)))
        assert await stored(store, after) == [*rows, *nulls]
        found = await store.execute(Find(after, order=parse_order(["name"])))
        assert [each["name"] for each in found] == [None, None, "n1", "n2"]
        again = row_of(5, name="n1", team="t")
        if key == "unique":
            with pytest.raises(DuplicateKeyError) as error:
                await store.execute(Insert(after, (again,)))
            assert "name" in error.value.fields
        else:
            await store.execute(Insert(after, (again,)))

    # --- keys ------------------------------------------------------------------------------

    @needs_alterations
    async def test_keys_come_and_go(self, store: Backend) -> None:
        """Indexes are added; indexes, unique keys and checks that are gone refuse nothing more."""
        fields = (NAME, Field("team", LABEL, nullable=True), Field("rank", NUMBER))
        before = things(
            *fields,
            uniques=(Unique("name"), Unique("team", "rank")),
            indexes=(Index("rank"), Index("-name", "rank")),
            checks=(Check("small", F.rank < 10), Check("positive", F.rank >= 0)),
        )
        await prepare(store, before, row_of(1, name="a", team="x", rank=1))
        after = replace(
            before,
            uniques=(Unique("name"),),
            indexes=(Index("team", "-rank"), Index("rank")),
            checks=(Check("positive", F.rank >= 0),),
        )
        assert await store.execute(Alter(before, after))
        await store.execute(Insert(after, (row_of(2, name="b", team="x", rank=1),)))
        await store.execute(Insert(after, (row_of(3, name="c", team=None, rank=11),)))
        with pytest.raises(DuplicateKeyError) as duplicate:
            await store.execute(Insert(after, (row_of(4, name="a", team="y", rank=3),)))
        assert duplicate.value.fields == ("name",)
        with pytest.raises(CheckError):
            await store.execute(Insert(after, (row_of(5, name="e", team="y", rank=-1),)))
        order = parse_order(["team", "-rank"])
        found = await store.execute(Find(after, order=order))
        assert [each["name"] for each in found] == ["c", "a", "b"]

    @needs_alterations
    @needs_references
    async def test_an_index_that_serves_a_reference_goes_alone(self, store: Backend) -> None:
        """The reference holds without it; dropped in its turn, it holds no more."""
        parents = things(NAME)
        children = things(
            Field("parent", FieldType(Kind.UUID)),
            NAME,
            uniques=(Unique("parent", "name"),),
            indexes=(Index("parent"), Index("parent", "-name")),
            references=(Reference("parent", parents.name, "cascade"),),
        )
        await prepare(store, parents, row_of(1, name="p"))
        await prepare(store, children, row_of(2, name="c", parent=identity(1)))
        bare = replace(children, uniques=(), indexes=())
        assert await store.execute(Alter(children, bare))
        with pytest.raises(ForeignKeyError):
            await store.execute(Insert(bare, (row_of(3, name="d", parent=identity(8)),)))
        free = replace(bare, references=())
        assert await store.execute(Alter(bare, free))
        await store.execute(Insert(free, (row_of(3, name="d", parent=identity(8)),)))
        await store.execute(Delete(parents, (identity(1),)))
        assert await store.execute(CountDocuments(free)) == 2

    @needs_alterations
    @needs_references
    async def test_what_refers_to_altered_rows_stays(self, store: Backend) -> None:
        """Rows of other collections, and of the same one, keep their references and are kept to them."""
        boss = Field("boss", FieldType(Kind.UUID), nullable=True)
        name = f"made_{uuid4().hex[:12]}"
        parents = things(NAME, boss, name=name, references=(Reference("boss", name, "restrict"),))
        children = things(
            Field("parent", FieldType(Kind.UUID)),
            references=(Reference("parent", name, "cascade"),),
        )
        first, second = row_of(1, name="a", boss=None), row_of(2, name="b", boss=identity(1))
        await prepare(store, parents, first, second)
        await prepare(store, children, row_of(3, parent=identity(2)))
        wider = replace(parents, fields=(*KEY, Field("name", text_of(60), nullable=True), boss))
        assert await store.execute(Alter(parents, wider))
        assert await stored(store, children) == [row_of(3, parent=identity(2))]
        with pytest.raises(ForeignKeyError):
            await store.execute(Insert(children, (row_of(4, parent=identity(7)),)))
        with pytest.raises(ForeignKeyError):
            await store.execute(Insert(wider, (row_of(5, name=None, boss=identity(7)),)))
        with pytest.raises(ForeignKeyError):
            await store.execute(Delete(wider, (identity(1),)))
        assert await store.execute(Delete(wider, (identity(2),))) == (True,)
        assert await stored(store, children) == []

"""Alterations: a stored definition becomes another one, and what is stored stays what it was."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import cast
from uuid import UUID, uuid4

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    CheckError,
    ConfigurationError,
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    InvalidRequestError,
    Outcome,
    SchemaChangeError,
    SchemaMismatchError,
    SerializationError,
)
from healthstore.layers.catalog import CatalogLayer
from healthstore.layers.guard import GuardLayer
from healthstore.model.catalog import CATALOG, catalog_id, from_definition
from healthstore.model.change import ChangeEffect, changes_between
from healthstore.model.ops import (
    Alter,
    Batch,
    CountDocuments,
    Delete,
    Drop,
    Ensure,
    Find,
    Get,
    Insert,
    Patch,
    Replace,
)
from healthstore.model.query import F, parse_order
from healthstore.model.schema import (
    Check,
    Collection,
    Field,
    Index,
    Reference,
    Unique,
)
from healthstore.model.values import Document, FieldType, Kind, Value, canonicaliser
from healthstore.testing.contract._promises import (
    Contract,
    needs_alterations,
    needs_references,
    needs_transactions,
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

_KEY = (Field("id", FieldType(Kind.UUID)), Field("version", FieldType(Kind.INTEGER)))
_LABEL = FieldType(Kind.TEXT, max_length=40)
_NUMBER = FieldType(Kind.INTEGER)
_NAME = Field("name", _LABEL)


def _text(length: int | None) -> FieldType:
    return FieldType(Kind.TEXT, max_length=length)


def _decimal(digits: int, places: int = 4) -> FieldType:
    return FieldType(Kind.DECIMAL, digits=digits, places=places)


def _enum(*choices: str) -> FieldType:
    return FieldType(Kind.ENUM, choices=choices)


def _extreme(kind: FieldType) -> tuple[Decimal, ...]:
    """Return the numbers at the ends of a type, and some between."""
    most = Decimal(10**kind.digits - 1).scaleb(-kind.places)
    step = Decimal(1).scaleb(-kind.places)
    return (-most, -most + step, -step, Decimal(0).scaleb(-kind.places), step, most - step, most)


# What a field was, what it becomes, values that were stored, and one that only the new form takes.
_WIDER: dict[str, tuple[FieldType, FieldType, tuple[Value, ...], Value]] = {
    "a longer text": (_text(10), _text(100), ("", "a" * 10, "ä" * 10), "😀" * 100),
    "a text beyond 63": (_text(60), _text(64), ("x" * 60,), "y" * 64),
    "a text beyond 255": (_text(255), _text(256), ("x" * 255,), "😀" * 256),
    "a text without end": (_text(640), _text(None), ("x" * 640, " "), "z" * 70_000),
    "more digits": (
        _decimal(12),
        _decimal(16),
        _extreme(_decimal(12)),
        Decimal("123456789012.3400"),
    ),
    "eighteen digits": (_decimal(17), _decimal(18), _extreme(_decimal(17)), 10 ** Decimal(13) * 1),
    "nineteen digits": (_decimal(18), _decimal(19), _extreme(_decimal(18)), 10 ** Decimal(14) * 1),
    "digits beyond": (_decimal(3, 2), _decimal(28, 2), _extreme(_decimal(3, 2)), Decimal(10**20)),
    "more long digits": (_decimal(20), _decimal(22), _extreme(_decimal(20)), 10 ** Decimal(17) * 1),
    "another member": (_enum("a", "b"), _enum("a", "b", "longer"), ("a", "b"), "longer"),
}


# What a field was, what it becomes, values that fit both, and one that only the old form takes.
_NARROWER: dict[str, tuple[Field, Field, tuple[Value, ...], Value]] = {
    "a shorter text": (
        Field("value", _text(300)),
        Field("value", _text(10)),
        ("", "a" * 10, "😀" * 10, " "),
        "a" * 11,
    ),
    "a text of some length": (
        Field("value", _text(None)),
        Field("value", _text(100)),
        ("", "ä" * 100),
        "a" * 101,
    ),
    "no null": (
        Field("value", _text(40), nullable=True),
        Field("value", _text(40)),
        ("a", "b"),
        None,
    ),
    "a member less": (
        Field("value", _enum("a", "b", "longest")),
        Field("value", _enum("a", "b")),
        ("a", "b"),
        "longest",
    ),
    "fewer digits": (
        Field("value", _decimal(16)),
        Field("value", _decimal(12)),
        _extreme(_decimal(12)),
        Decimal("123456789.0000"),
    ),
    "fewer long digits": (
        Field("value", _decimal(24)),
        Field("value", _decimal(20)),
        _extreme(_decimal(20)),
        10 ** Decimal(18) * 1,
    ),
    "digits below nineteen": (
        Field("value", _decimal(24)),
        Field("value", _decimal(15)),
        _extreme(_decimal(15)),
        10 ** Decimal(14) * 1,
    ),
    "fewer places": (
        Field("value", _decimal(12, 4)),
        Field("value", _decimal(12, 2)),
        tuple(each.quantize(Decimal("0.0001")) for each in _extreme(_decimal(10, 2))),
        Decimal("0.001"),
    ),
    "more places": (
        Field("value", _decimal(12, 2), nullable=True),
        Field("value", _decimal(14, 4), nullable=True),
        (*_extreme(_decimal(12, 2)), None),
        Decimal("0.00001"),
    ),
    "more places of many digits": (
        Field("value", _decimal(18, 2)),
        Field("value", _decimal(22, 6)),
        _extreme(_decimal(18, 2)),
        Decimal("0.0000001"),
    ),
    "fewer places of many digits": (
        Field("value", _decimal(22, 6)),
        Field("value", _decimal(18, 2)),
        tuple(each.quantize(Decimal("0.000001")) for each in _extreme(_decimal(18, 2))),
        Decimal("0.001"),
    ),
    "another type of nulls": (
        Field("value", _text(40), nullable=True),
        Field("value", _NUMBER, nullable=True),
        (None, None),
        "a",
    ),
}
_NEEDS, _LOSES = ChangeEffect.NEEDS_DATA, ChangeEffect.LOSES_DATA


def _things(
    *fields: Field,
    name: str = "",
    uniques: tuple[Unique, ...] = (),
    indexes: tuple[Index, ...] = (),
    references: tuple[Reference, ...] = (),
    checks: tuple[Check, ...] = (),
) -> Collection:
    fresh = name or f"made_{uuid4().hex[:12]}"
    parts = (uniques, indexes, references, checks)
    return Collection(fresh, (*_KEY, *fields), *parts, entity="Thing")


def _row(number: int, **values: Value) -> Document:
    return {"id": identity(number), "version": 1, **values}


async def _made(store: Backend, collection: Collection, *rows: Document) -> None:
    await store.execute(Ensure((collection,)))
    for row in rows:
        await store.execute(Insert(collection, (row,)))


async def _definition(store: Backend, name: str) -> Collection:
    (row,) = await store.execute(Get(CATALOG, (catalog_id(name),)))
    assert row is not None
    return from_definition(row["definition"])


class TestAlterations(Contract):
    """A definition is changed where it is, by changes that no document stands against."""

    # --- new fields ------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", sorted(EDGES))
    @needs_alterations
    async def test_a_new_field_has_its_default_in_every_row(
        self, store: Backend, kind: str
    ) -> None:
        """Rows that were there read, find, sort, change and are replaced as if written with it."""
        before = _things(_NAME)
        rows = [_row(number, name=f"n{number}") for number in range(1, 4)]
        await _made(store, before, *rows)
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
        before = _things(_NAME)
        rows = [_row(number, name=f"n{number}") for number in range(1, 4)]
        await _made(store, before, *rows)
        kinds = {each.name: each.type for each in EVERYTHING.fields[2:]}
        new = [Field(f"new_{name}", kind, nullable=True) for name, kind in kinds.items()]
        after = replace(before, fields=(*before.fields, *new))
        assert await store.execute(Alter(before, after))
        names = [each.name for each in new]
        assert await stored(store, after) == [{**row, **dict.fromkeys(names)} for row in rows]
        for name in names:
            assert await store.execute(CountDocuments(after, F[name].is_null())) == 3
        written = _row(4, name="n4", **{f"new_{name}": EDGES[name][1] for name in kinds})
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
            now, was = _text(500), _text(300)
            values, wider = ("x" * 300,), "😀" * 500
        if now.kind is Kind.DECIMAL:
            wider = cast(Decimal, wider).quantize(Decimal(1).scaleb(-now.places))
        keys = (Index("value", "-name"),) if indexed else ()
        before = _things(_NAME, Field("value", was), indexes=keys)
        rows = [_row(at, name=f"n{at}", value=value) for at, value in enumerate(values, 1)]
        await _made(store, before, *rows)
        after = replace(before, fields=(*before.fields[:3], Field("value", now)))
        assert await store.execute(Alter(before, after))
        assert list(map(exact, await stored(store, after))) == list(map(exact, rows))
        added = _row(99, name="z", value=wider)
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
        team = Field("team", _LABEL)
        before = _things(_NAME, team, indexes=indexes, uniques=uniques)
        rows = [_row(at, name=f"n{at}", team="t") for at in (1, 2)]
        await _made(store, before, *rows)
        after = replace(before, fields=(*_KEY, replace(_NAME, nullable=True), team))
        assert await store.execute(Alter(before, after))
        nulls = [_row(at, name=None, team="t") for at in (3, 4)]
        for row in nulls:
            await store.execute(Insert(after, (row,)))
        assert await stored(store, after) == [*rows, *nulls]
        found = await store.execute(Find(after, order=parse_order(["name"])))
        assert [each["name"] for each in found] == [None, None, "n1", "n2"]
        again = _row(5, name="n1", team="t")
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
        fields = (_NAME, Field("team", _LABEL, nullable=True), Field("rank", _NUMBER))
        before = _things(
            *fields,
            uniques=(Unique("name"), Unique("team", "rank")),
            indexes=(Index("rank"), Index("-name", "rank")),
            checks=(Check("small", F.rank < 10), Check("positive", F.rank >= 0)),
        )
        await _made(store, before, _row(1, name="a", team="x", rank=1))
        after = replace(
            before,
            uniques=(Unique("name"),),
            indexes=(Index("team", "-rank"), Index("rank")),
            checks=(Check("positive", F.rank >= 0),),
        )
        assert await store.execute(Alter(before, after))
        await store.execute(Insert(after, (_row(2, name="b", team="x", rank=1),)))
        await store.execute(Insert(after, (_row(3, name="c", team=None, rank=11),)))
        with pytest.raises(DuplicateKeyError) as duplicate:
            await store.execute(Insert(after, (_row(4, name="a", team="y", rank=3),)))
        assert duplicate.value.fields == ("name",)
        with pytest.raises(CheckError):
            await store.execute(Insert(after, (_row(5, name="e", team="y", rank=-1),)))
        order = parse_order(["team", "-rank"])
        found = await store.execute(Find(after, order=order))
        assert [each["name"] for each in found] == ["c", "a", "b"]

    @needs_alterations
    @needs_references
    async def test_an_index_that_serves_a_reference_goes_alone(self, store: Backend) -> None:
        """The reference holds without it; dropped in its turn, it holds no more."""
        parents = _things(_NAME)
        children = _things(
            Field("parent", FieldType(Kind.UUID)),
            _NAME,
            uniques=(Unique("parent", "name"),),
            indexes=(Index("parent"), Index("parent", "-name")),
            references=(Reference("parent", parents.name, "cascade"),),
        )
        await _made(store, parents, _row(1, name="p"))
        await _made(store, children, _row(2, name="c", parent=identity(1)))
        bare = replace(children, uniques=(), indexes=())
        assert await store.execute(Alter(children, bare))
        with pytest.raises(ForeignKeyError):
            await store.execute(Insert(bare, (_row(3, name="d", parent=identity(8)),)))
        free = replace(bare, references=())
        assert await store.execute(Alter(bare, free))
        await store.execute(Insert(free, (_row(3, name="d", parent=identity(8)),)))
        await store.execute(Delete(parents, (identity(1),)))
        assert await store.execute(CountDocuments(free)) == 2

    @needs_alterations
    @needs_references
    async def test_what_refers_to_altered_rows_stays(self, store: Backend) -> None:
        """Rows of other collections, and of the same one, keep their references and are kept to them."""
        boss = Field("boss", FieldType(Kind.UUID), nullable=True)
        name = f"made_{uuid4().hex[:12]}"
        parents = _things(_NAME, boss, name=name, references=(Reference("boss", name, "restrict"),))
        children = _things(
            Field("parent", FieldType(Kind.UUID)),
            references=(Reference("parent", name, "cascade"),),
        )
        first, second = _row(1, name="a", boss=None), _row(2, name="b", boss=identity(1))
        await _made(store, parents, first, second)
        await _made(store, children, _row(3, parent=identity(2)))
        wider = replace(parents, fields=(*_KEY, Field("name", _text(60), nullable=True), boss))
        assert await store.execute(Alter(parents, wider))
        assert await stored(store, children) == [_row(3, parent=identity(2))]
        with pytest.raises(ForeignKeyError):
            await store.execute(Insert(children, (_row(4, parent=identity(7)),)))
        with pytest.raises(ForeignKeyError):
            await store.execute(Insert(wider, (_row(5, name=None, boss=identity(7)),)))
        with pytest.raises(ForeignKeyError):
            await store.execute(Delete(wider, (identity(1),)))
        assert await store.execute(Delete(wider, (identity(2),))) == (True,)
        assert await stored(store, children) == []

    # --- more than additive changes --------------------------------------------------------

    @pytest.mark.parametrize("how", sorted(_NARROWER))
    @needs_alterations
    async def test_what_no_document_stands_against_is_applied(
        self, store: Backend, how: str
    ) -> None:
        """Stored values stay, in every order and filter, and what is forbidden now is refused."""
        was, now, values, refused = _NARROWER[how]
        before = _things(_NAME, Field("value", was.type, was.nullable))
        rows = [_row(at, name=f"n{at}", value=value) for at, value in enumerate(values, 1)]
        await _made(store, before, *rows)
        after = replace(before, fields=(*before.fields[:3], now))
        assert await store.execute(Alter(before, after, _LOSES))
        canonical = canonicaliser(now.type)
        wanted = [
            {**row, "value": None if row["value"] is None else canonical(row["value"])}
            for row in rows
        ]
        assert list(map(exact, await stored(store, after))) == list(map(exact, wanted))
        for row in wanted:
            if row["value"] is not None:
                found = await store.execute(Find(after, F["value"] == row["value"]))
                assert row["id"] in [each["id"] for each in found]
        ordered = [
            each["value"]
            for each in await store.execute(Find(after, order=parse_order(["value"])))
            if each["value"] is not None
        ]
        assert ordered == sorted(ordered, key=lambda value: cast("str | Decimal", value))
        with pytest.raises(HealthstoreError):
            await store.execute(Insert(after, (_row(99, name="z", value=refused),)))
        assert (await store.execute(Ensure((after,)))).present == (after.name,)

    @needs_alterations
    async def test_a_key_or_check_that_holds_is_added(self, store: Backend) -> None:
        """From then on what breaks it is refused."""
        before = _things(_NAME, Field("rank", _NUMBER, nullable=True))
        rows = [_row(at, name=f"n{at}", rank=at % 2 or None) for at in range(1, 5)]
        await _made(store, before, *rows)
        after = replace(
            before,
            uniques=(Unique("name"), Unique("rank", "name")),
            checks=(Check("low", F.rank < 3),),
        )
        assert await store.execute(Alter(before, after, _NEEDS))
        assert await stored(store, after) == rows
        with pytest.raises(DuplicateKeyError):
            await store.execute(Insert(after, (_row(8, name="n1", rank=2),)))
        with pytest.raises(CheckError):
            await store.execute(Insert(after, (_row(9, name="n9", rank=3),)))

    @needs_alterations
    @needs_references
    async def test_a_reference_that_holds_is_added(self, store: Backend) -> None:
        """From then on it is kept; another treatment of deletes is another reference."""
        parents = _things(_NAME)
        children = _things(Field("parent", FieldType(Kind.UUID), nullable=True))
        await _made(store, parents, _row(1, name="p"), _row(2, name="q"))
        await _made(store, children, _row(3, parent=identity(1)), _row(4, parent=None))
        led = replace(
            children,
            references=(Reference("parent", parents.name, "restrict"),),
            indexes=(Index("parent"),),
        )
        assert await store.execute(Alter(children, led, _NEEDS))
        with pytest.raises(ForeignKeyError):
            await store.execute(Insert(led, (_row(5, parent=identity(9)),)))
        with pytest.raises(ForeignKeyError):
            await store.execute(Delete(parents, (identity(1),)))
        loose = replace(led, references=(Reference("parent", parents.name, "cascade"),))
        assert await store.execute(Alter(led, loose, _NEEDS))
        assert await store.execute(Delete(parents, (identity(1),))) == (True,)
        assert await stored(store, loose) == [_row(4, parent=None)]

    @needs_alterations
    async def test_a_field_that_is_dropped_is_gone(self, store: Backend) -> None:
        """With its keys and checks; one of its name that is added later holds nothing of it."""
        extra = Field("extra", _LABEL, nullable=True)
        level = Field("level", _enum("a", "b"))
        before = _things(
            _NAME,
            extra,
            level,
            uniques=(Unique("extra", "name"),),
            indexes=(Index("extra"), Index("name", "-level")),
            checks=(Check("known", F.extra != "x"),),
        )
        await _made(store, before, _row(1, name="a", extra="b", level="a"))
        after = Collection(before.name, (*_KEY, _NAME), entity="Thing")
        with pytest.raises(SchemaChangeError):
            await store.execute(Alter(before, after, _NEEDS))
        assert await store.execute(Alter(before, after, _LOSES))
        assert await stored(store, after) == [_row(1, name="a")]
        await store.execute(Insert(after, (_row(2, name="a"),)))
        again = replace(after, fields=(*after.fields, replace(extra, type=_NUMBER)))
        assert await store.execute(Alter(after, again))
        assert await stored(store, again) == [
            _row(1, name="a", extra=None),
            _row(2, name="a", extra=None),
        ]

    @needs_alterations
    async def test_a_required_field_is_added_where_there_is_no_row(self, store: Backend) -> None:
        """It has no value to give, and needs none."""
        before = _things(_NAME)
        await _made(store, before)
        kinds = {each.name: each.type for each in EVERYTHING.fields[2:]}
        new = [Field(f"new_{name}", kind) for name, kind in kinds.items()]
        after = replace(before, fields=(*before.fields, *new))
        with pytest.raises(SchemaChangeError):
            await store.execute(Alter(before, after))
        assert await store.execute(Alter(before, after, _NEEDS))
        row = _row(1, name="a", **{f"new_{name}": EDGES[name][1] for name in kinds})
        await store.execute(Insert(after, (row,)))
        assert list(map(exact, await stored(store, after))) == [exact(row)]

    @needs_alterations
    async def test_a_collection_is_dropped_with_its_documents(self, store: Backend) -> None:
        """The second request finds nothing; one of its name that is made later is empty."""
        made, kept = _things(_NAME), _things(_NAME)
        await _made(store, made, _row(1, name="a"))
        await _made(store, kept, _row(1, name="a"))
        with pytest.raises(SchemaMismatchError):
            await store.execute(Drop(replace(made, fields=_KEY)))
        assert await store.execute(Drop(made))
        assert not await store.execute(Drop(made))
        with pytest.raises(ConfigurationError):
            await store.execute(Insert(made, (_row(2, name="b"),)))
        assert (await store.execute(Ensure((made,)))).created == (made.name,)
        assert await stored(store, made) == []
        assert await stored(store, kept) == [_row(1, name="a")]
        with pytest.raises(InvalidRequestError):
            await store.execute(Drop(CATALOG))

    @needs_alterations
    @needs_references
    async def test_a_collection_to_which_another_refers_is_not_dropped(
        self, store: Backend
    ) -> None:
        """The error names the other one; without it, or its reference, it goes."""
        parents = _things(_NAME)
        children = _things(
            Field("parent", FieldType(Kind.UUID)), references=(Reference("parent", parents.name),)
        )
        await _made(store, parents, _row(1, name="a"))
        await _made(store, children, _row(2, parent=identity(1)))
        with pytest.raises(ForeignKeyError) as error:
            await store.execute(Drop(parents))
        assert children.name in error.value.message
        assert await stored(store, children) == [_row(2, parent=identity(1))]
        assert await store.execute(Drop(children))
        assert await store.execute(Drop(parents))

    # --- how it is done --------------------------------------------------------------------

    @needs_alterations
    async def test_the_store_remembers_the_new_definition(self, store: Backend) -> None:
        """The catalog has it with its defaults, in a row of another version; it is ensured as it is."""
        before = _things(_NAME)
        await _made(store, before)
        after = replace(
            before,
            fields=(*before.fields, Field("count", _NUMBER, default=7)),
            indexes=(Index("count"),),
        )
        assert await store.execute(Alter(before, after))
        assert not changes_between(await _definition(store, after.name), after)
        (row,) = await store.execute(Get(CATALOG, (catalog_id(after.name),)))
        assert row is not None
        assert row["version"] in {2, 3}
        assert row["fingerprint"] == after.fingerprint
        assert (await store.execute(Ensure((after,)))).present == (after.name,)
        with pytest.raises(SchemaMismatchError):
            await store.execute(Ensure((before,)))
        other = replace(after, fields=(*before.fields, Field("count", _NUMBER, default=8)))
        assert await store.execute(Alter(after, other))
        assert (await _definition(store, after.name)).field("count").default == 8
        assert not await store.execute(Alter(after, other))

    @needs_alterations
    async def test_what_is_altered_already_is_left_alone(self, store: Backend) -> None:
        """The second request says that nothing was to be done; of two at once one does it."""
        before = _things(_NAME)
        await _made(store, before, _row(1, name="a"))
        after = replace(before, fields=(*before.fields, Field("count", _NUMBER, default=7)))
        done: list[bool] = []

        async def alter() -> None:
            while True:
                try:
                    done.append(await store.execute(Alter(before, after)))
                except SerializationError:  # the other one holds a lock
                    await asyncio.sleep(0.05)
                else:
                    return

        await asyncio.gather(alter(), alter(), alter())
        assert sorted(done) == [False, False, True]
        assert not await store.execute(Alter(before, after))
        assert await stored(store, after) == [_row(1, name="a", count=7)]

    @needs_alterations
    async def test_what_others_write_meanwhile_is_kept(self, store: Backend) -> None:
        """Increments and inserts of the old definition are there, each with what is new."""
        before = _things(_NAME, Field("count", _NUMBER))
        rows = [_row(at, name=f"n{at}", count=0) for at in range(1, 200)]
        await _made(store, before, *rows)
        new = (Field("a", _NUMBER, default=7), Field("b", _LABEL, default="x"))
        after = replace(before, fields=(*before.fields, *new))
        acknowledged: Counter[int] = Counter()
        added = 0
        altered = False

        async def increment() -> None:
            while not altered:
                at = random.randrange(1, 20)  # noqa: S311 - which row, of no matter
                with suppress(SchemaMismatchError, SerializationError):
                    op = Patch(before, (identity(at),), increments=(("count", 1),))
                    (found,) = await store.execute(op)
                    acknowledged[at] += found is not None
                await asyncio.sleep(0)

        async def add_more() -> None:
            nonlocal added
            while not altered:
                row = _row(1_000 + added, name="new", count=0)
                with suppress(SchemaMismatchError, SerializationError):
                    await store.execute(Insert(before, (row,)))
                    added += 1
                await asyncio.sleep(0)

        writers = [asyncio.create_task(each()) for each in (increment, increment, add_more)]
        await asyncio.sleep(0.05)
        await self._altered(store, Alter(before, after))
        altered = True
        await asyncio.gather(*writers)
        found = await stored(store, after)
        assert len(found) == len(rows) + added
        assert {(each["a"], each["b"]) for each in found} == {(7, "x")}
        counts = {each["id"]: each["count"] for each in found}
        assert {at: counts[identity(at)] for at in acknowledged} == dict(acknowledged)

    @needs_alterations
    async def test_another_aim_than_that_of_an_attempt_that_was_cut_short(
        self, store: Backend
    ) -> None:
        """What the attempt has left is taken for nothing else than it is."""
        before = _things(_NAME)
        row = _row(1, name="a")
        await _made(store, before, row)
        first = replace(
            before,
            fields=(
                *before.fields,
                Field("k", _NUMBER, default=7),
                Field("l", _LABEL, default="l"),
            ),
            indexes=(Index("k"),),
        )
        second = replace(before, fields=(*before.fields, Field("k", _LABEL, default="nine")))
        attempt = asyncio.create_task(store.execute(Alter(before, first)))
        for _ in range(random.randrange(60)):  # noqa: S311 - when it is cut short
            await asyncio.sleep(0)
        attempt.cancel()
        await asyncio.wait({attempt})
        with suppress(SchemaMismatchError):  # the attempt has come to its end
            await self._altered(store, Alter(before, second))
            assert await stored(store, second) == [{**row, "k": "nine"}]
            await store.execute(Insert(second, (_row(2, name="b", k="x"),)))

    @needs_alterations
    async def test_a_definition_of_before_is_refused_afterwards(self, store: Backend) -> None:
        """Who alters a store, and who looks at it later, knows the new definition only."""
        before = _things(_NAME)
        worker = GuardLayer(CatalogLayer(store))
        await _made(worker, before, _row(1, name="a"))
        after = replace(before, fields=(*before.fields, Field("count", _NUMBER, default=7)))
        assert await worker.execute(Alter(before, after))
        for asked in (Get(before, (identity(1),)), Insert(before, (_row(2, name="b"),))):
            with pytest.raises(SchemaMismatchError, match="field count"):
                await worker.execute(asked)
        assert await worker.execute(Get(after, (identity(1),))) == (_row(1, name="a", count=7),)
        assert await worker.execute(CountDocuments(after)) == 1

    @needs_alterations
    async def test_what_is_not_additive_is_refused_before_anything_is_done(
        self, store: Backend
    ) -> None:
        """The error names the change and its effect; the store serves as it did."""
        before = _things(
            _NAME,
            Field("rank", _NUMBER, nullable=True),
            Field("level", _enum("a", "b")),
            Field("price", _decimal(8)),
        )
        row = _row(1, name="a", rank=None, level="a", price=Decimal("1.0000"))
        await _made(store, before, row)
        name, rank, level, price = before.fields[2:]
        changes = {
            "add the field extra": (*before.fields, Field("extra", _NUMBER)),
            "drop the field rank": (*_KEY, name, level, price),
            "change the field name": (*_KEY, Field("name", _text(39)), rank, level, price),
            "change the field rank": (*_KEY, name, Field("rank", _NUMBER), level, price),
            "change the field level": (*_KEY, name, rank, Field("level", _enum("a")), price),
            "change the field price": (*_KEY, name, rank, level, Field("price", _decimal(8, 2))),
        }
        wanted = {words: replace(before, fields=fields) for words, fields in changes.items()}
        wanted["add the unique key (name)"] = replace(before, uniques=(Unique("name"),))
        wanted["add the check low"] = replace(before, checks=(Check("low", F.rank < 3),))
        for words, after in wanted.items():
            both = replace(after, fields=(*after.fields, Field("fine", _NUMBER, default=1)))
            for each in (after, both):
                with pytest.raises(SchemaChangeError) as error:
                    await store.execute(Alter(before, each))
                assert words in error.value.message
                assert "fine" not in error.value.message
                assert error.value.hint
                assert error.value.backend == store.name
                assert error.value.outcome is Outcome.NOT_APPLIED
        assert await stored(store, before) == [row]
        assert not changes_between(await _definition(store, before.name), before)
        with pytest.raises(InvalidRequestError):
            await store.execute(Alter(before, replace(before, name=f"made_{uuid4().hex[:12]}")))

    @needs_alterations
    async def test_only_the_definition_that_is_stored_is_altered(self, store: Backend) -> None:
        """Another one, a collection that is not there, and the catalog itself are refused."""
        made = _things(_NAME)
        after = replace(made, fields=(*made.fields, Field("count", _NUMBER, default=7)))
        with pytest.raises(ConfigurationError) as missing:
            await store.execute(Alter(made, after))
        assert "initialize()" in missing.value.hint
        await _made(store, made)
        other = replace(made, fields=(*_KEY, Field("name", _text(30))))
        wider = replace(other, fields=(*_KEY, Field("name", _text(50))))
        with pytest.raises(SchemaMismatchError) as error:
            await store.execute(Alter(other, wider))
        assert "field name was" in error.value.message
        assert error.value.hint
        for before, wanted in ((made, replace(after, name=CATALOG.name)), (CATALOG, CATALOG)):
            changed = replace(wanted, fields=(*wanted.fields, Field("own", _NUMBER, nullable=True)))
            with pytest.raises(HealthstoreError):
                await store.execute(Alter(replace(before, name=CATALOG.name), changed))
        assert (await store.execute(Ensure((made,)))).present == (made.name,)

    @needs_alterations
    @needs_transactions
    async def test_a_unit_that_is_open_meanwhile_is_whole_or_undone(self, store: Backend) -> None:
        """Its writes are kept, or it ends with an error and nothing of it is; reads fail clearly."""
        before = _things(_NAME)
        await _made(store, before, _row(1, name="a"))
        after = replace(before, fields=(*before.fields, Field("count", _NUMBER, default=7)))
        unit = await store.begin()
        kept = False
        try:
            await unit.execute(Insert(before, (_row(2, name="b"),)))
            altering = asyncio.create_task(self._altered(store, Alter(before, after)))
            await asyncio.sleep(0.05)
            with suppress(HealthstoreError):
                await unit.execute(Insert(before, (_row(3, name="c"),)))
                await unit.commit()
                kept = True
        finally:
            await unit.rollback()
        await altering
        rows = [_row(1, name="a", count=7)]
        if kept:
            rows += [_row(2, name="b", count=7), _row(3, name="c", count=7)]
        assert await stored(store, after) == rows

    async def _altered(self, store: Backend, op: Alter) -> None:
        while True:
            try:
                await store.execute(op)
            except SerializationError:  # the unit holds a lock
                await asyncio.sleep(0.05)
            else:
                return

    @needs_alterations
    @needs_transactions
    async def test_an_alteration_is_part_of_no_unit_and_no_batch(self, store: Backend) -> None:
        """Both refuse it before anything is done: not every database could take it back."""
        before = _things(_NAME)
        await _made(store, before)
        after = replace(before, fields=(*before.fields, Field("count", _NUMBER, default=7)))
        with pytest.raises(InvalidRequestError):
            await store.execute(Batch((Alter(before, after),)))
        unit = await store.begin()
        try:
            with pytest.raises(HealthstoreError) as error:
                await unit.execute(Alter(before, after))
            assert error.value.hint
        finally:
            await unit.rollback()
        assert (await store.execute(Ensure((before,)))).present == (before.name,)

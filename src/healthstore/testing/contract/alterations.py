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
from healthstore.model.catalog import CATALOG, catalog_id
from healthstore.model.change import changes_between
from healthstore.model.ops import (
    Alter,
    Batch,
    CountDocuments,
    Delete,
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
    definition_of,
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

    # --- how it is done --------------------------------------------------------------------

    @needs_alterations
    async def test_the_store_remembers_the_new_definition(self, store: Backend) -> None:
        """The catalog has it with its defaults, in a row of another version; it is ensured as it is."""
        before = things(NAME)
        await prepare(store, before)
        after = replace(
            before,
            fields=(*before.fields, Field("count", NUMBER, default=7)),
            indexes=(Index("count"),),
        )
        assert await store.execute(Alter(before, after))
        assert not changes_between(await definition_of(store, after.name), after)
        (row,) = await store.execute(Get(CATALOG, (catalog_id(after.name),)))
        assert row is not None
        assert row["version"] in {2, 3}
        assert row["fingerprint"] == after.fingerprint
        assert (await store.execute(Ensure((after,)))).present == (after.name,)
        with pytest.raises(SchemaMismatchError):
            await store.execute(Ensure((before,)))
        other = replace(after, fields=(*before.fields, Field("count", NUMBER, default=8)))
        assert await store.execute(Alter(after, other))
        assert (await definition_of(store, after.name)).field("count").default == 8
        assert not await store.execute(Alter(after, other))

    @needs_alterations
    async def test_what_is_altered_already_is_left_alone(self, store: Backend) -> None:
        """The second request says that nothing was to be done; of two at once one does it."""
        before = things(NAME)
        await prepare(store, before, row_of(1, name="a"))
        after = replace(before, fields=(*before.fields, Field("count", NUMBER, default=7)))
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
        assert await stored(store, after) == [row_of(1, name="a", count=7)]

    @needs_alterations
    async def test_what_others_write_meanwhile_is_kept(self, store: Backend) -> None:
        """Increments and inserts of the old definition are there, each with what is new."""
        before = things(NAME, Field("count", NUMBER))
        rows = [row_of(at, name=f"n{at}", count=0) for at in range(1, 200)]
        await prepare(store, before, *rows)
        new = (Field("a", NUMBER, default=7), Field("b", LABEL, default="x"))
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
                row = row_of(1_000 + added, name="new", count=0)
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
        before = things(NAME)
        row = row_of(1, name="a")
        await prepare(store, before, row)
        first = replace(
            before,
            fields=(
                *before.fields,
                Field("k", NUMBER, default=7),
                Field("l", LABEL, default="l"),
            ),
            indexes=(Index("k"),),
        )
        second = replace(before, fields=(*before.fields, Field("k", LABEL, default="nine")))
        attempt = asyncio.create_task(store.execute(Alter(before, first)))
        for _ in range(random.randrange(60)):  # noqa: S311 - when it is cut short
            await asyncio.sleep(0)
        attempt.cancel()
        await asyncio.wait({attempt})
        with suppress(SchemaMismatchError):  # the attempt has come to its end
            await self._altered(store, Alter(before, second))
            assert await stored(store, second) == [{**row, "k": "nine"}]
            await store.execute(Insert(second, (row_of(2, name="b", k="x"),)))

    @needs_alterations
    async def test_a_definition_that_cannot_be_read_is_refused_afterwards(
        self, store: Backend
    ) -> None:
        """Who alters a store, and who looks at it later, is told what differs."""
        before = things(NAME)
        worker = GuardLayer(CatalogLayer(store))
        await prepare(worker, before, row_of(1, name="a"))
        nullable = replace(NAME, nullable=True)
        after = replace(before, fields=(*KEY, nullable, Field("count", NUMBER, default=7)))
        assert await worker.execute(Alter(before, after))
        for asked in (Get(before, (identity(1),)), Insert(before, (row_of(2, name="b"),))):
            with pytest.raises(SchemaMismatchError, match=r"field count.*field name"):
                await worker.execute(asked)
        assert await worker.execute(Get(after, (identity(1),))) == (row_of(1, name="a", count=7),)
        assert await worker.execute(CountDocuments(after)) == 1

    @needs_alterations
    async def test_what_is_not_additive_is_refused_before_anything_is_done(
        self, store: Backend
    ) -> None:
        """The error names the change and its effect; the store serves as it did."""
        before = things(
            NAME,
            Field("rank", NUMBER, nullable=True),
            Field("level", enum_of("a", "b")),
            Field("price", decimal_of(8)),
        )
        row = row_of(1, name="a", rank=None, level="a", price=Decimal("1.0000"))
        await prepare(store, before, row)
        name, rank, level, price = before.fields[2:]
        changes = {
            "add the field extra": (*before.fields, Field("extra", NUMBER)),
            "drop the field rank": (*KEY, name, level, price),
            "change the field name": (*KEY, Field("name", text_of(39)), rank, level, price),
            "change the field rank": (*KEY, name, Field("rank", NUMBER), level, price),
            "change the field level": (*KEY, name, rank, Field("level", enum_of("a")), price),
            "change the field price": (*KEY, name, rank, level, Field("price", decimal_of(8, 2))),
        }
        wanted = {words: replace(before, fields=fields) for words, fields in changes.items()}
        wanted["add the unique key (name)"] = replace(before, uniques=(Unique("name"),))
        wanted["add the check low"] = replace(before, checks=(Check("low", F.rank < 3),))
        for words, after in wanted.items():
            both = replace(after, fields=(*after.fields, Field("fine", NUMBER, default=1)))
            for each in (after, both):
                with pytest.raises(SchemaChangeError) as error:
                    await store.execute(Alter(before, each))
                assert words in error.value.message
                assert "fine" not in error.value.message
                assert error.value.hint
                assert error.value.backend == store.name
                assert error.value.outcome is Outcome.NOT_APPLIED
        assert await stored(store, before) == [row]
        assert not changes_between(await definition_of(store, before.name), before)
        with pytest.raises(InvalidRequestError):
            await store.execute(Alter(before, replace(before, name=f"made_{uuid4().hex[:12]}")))

    @needs_alterations
    async def test_only_the_definition_that_is_stored_is_altered(self, store: Backend) -> None:
        """Another one, a collection that is not there, and the catalog itself are refused."""
        made = things(NAME)
        after = replace(made, fields=(*made.fields, Field("count", NUMBER, default=7)))
        with pytest.raises(ConfigurationError) as missing:
            await store.execute(Alter(made, after))
        assert "initialize()" in missing.value.hint
        await prepare(store, made)
        other = replace(made, fields=(*KEY, Field("name", text_of(30))))
        wider = replace(other, fields=(*KEY, Field("name", text_of(50))))
        with pytest.raises(SchemaMismatchError) as error:
            await store.execute(Alter(other, wider))
        assert "field name was" in error.value.message
        assert error.value.hint
        for before, wanted in ((made, replace(after, name=CATALOG.name)), (CATALOG, CATALOG)):
            changed = replace(wanted, fields=(*wanted.fields, Field("own", NUMBER, nullable=True)))
            with pytest.raises(HealthstoreError):
                await store.execute(Alter(replace(before, name=CATALOG.name), changed))
        assert (await store.execute(Ensure((made,)))).present == (made.name,)

    @needs_alterations
    @needs_transactions
    async def test_a_unit_that_is_open_meanwhile_is_whole_or_undone(self, store: Backend) -> None:
        """Its writes are kept, or it ends with an error and nothing of it is; reads fail clearly."""
        before = things(NAME)
        await prepare(store, before, row_of(1, name="a"))
        after = replace(before, fields=(*before.fields, Field("count", NUMBER, default=7)))
        unit = await store.begin()
        kept = False
        try:
            await unit.execute(Insert(before, (row_of(2, name="b"),)))
            altering = asyncio.create_task(self._altered(store, Alter(before, after)))
            await asyncio.sleep(0.05)
            with suppress(HealthstoreError):
                await unit.execute(Insert(before, (row_of(3, name="c"),)))
                await unit.commit()
                kept = True
        finally:
            await unit.rollback()
        await altering
        rows = [row_of(1, name="a", count=7)]
        if kept:
            rows += [row_of(2, name="b", count=7), row_of(3, name="c", count=7)]
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
        before = things(NAME)
        await prepare(store, before)
        after = replace(before, fields=(*before.fields, Field("count", NUMBER, default=7)))
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

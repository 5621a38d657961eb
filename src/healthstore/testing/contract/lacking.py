"""Documents that were there before a field that may be null: as if null had been written in them."""

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
    NotNullError,
)
from healthstore.layers.catalog import CatalogLayer
from healthstore.layers.guard import GuardLayer
from healthstore.model.change import AddField, ChangeEffect, FieldForm, RenameField, changed
from healthstore.model.evaluate import aggregate, finish_aggregate, plan_aggregate
from healthstore.model.ops import (
    Aggregate,
    Alter,
    Avg,
    Count,
    CountDocuments,
    Delete,
    Ensure,
    Explain,
    Find,
    Get,
    Insert,
    Max,
    Measure,
    Min,
    Patch,
    Patches,
    Rename,
    Replace,
    Sum,
)
from healthstore.model.query import ALL, And, F, Filter, Operator, Or, Order, Test, parse_order
from healthstore.model.schema import Check, Collection, Field, Index, OnDelete, Reference, Unique
from healthstore.model.values import SORTED_TEXT, Document, FieldType, Kind, Value
from healthstore.testing.contract._altered import (
    LABEL,
    NAME,
    NUMBER,
    definition_of,
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
    proves,
)
from healthstore.testing.contract._samples import (
    EDGES,
    EVERYTHING,
    READINGS,
    add,
    every_row,
    exact,
    identity,
    ids,
    one,
    selected,
    stored,
    typed,
)
from healthstore.testing.contract.aggregates import GROUPED, NUMBERS, RANKED
from healthstore.testing.contract.aggregates import ROWS as MEASURED
from healthstore.transfer.digest import Digester

__all__ = ("TestLacking",)

_LONG = "x" * SORTED_TEXT
_COMPARED = (Operator.LT, Operator.LE, Operator.GT, Operator.GE)
_LISTED = (Operator.IN, Operator.NOT_IN)
_SEARCHED = (Operator.CONTAINS, Operator.STARTS, Operator.ENDS)
_NEEDS = ChangeEffect.NEEDS_DATA
_FORMS = ("old", "null")  # of a row of _two(): there before the field, and written with null


async def _grown(
    store: Backend, wanted: Collection, rows: list[Document]
) -> tuple[Collection, list[Document]]:
    """Store rows of a definition, a third of them before it had its fields that may be null.

    In every other third those fields are written as null. Returns the definition, under a name of
    its own, and the rows.
    """
    bare = Collection(
        f"made_{uuid4().hex[:12]}",
        tuple(each for each in wanted.fields if not each.nullable),
        entity=wanted.entity,
    )
    after = replace(bare, fields=wanted.fields)
    nulls: Document = {each.name: None for each in wanted.fields if each.nullable}
    held = [row if at % 3 == 2 else {**row, **nulls} for at, row in enumerate(rows)]
    old = [{name: row[name] for name in bare.names} for row in held[::3]]
    await add(store, bare, *old)
    assert await store.execute(Alter(bare, after))
    await add(store, after, *(row for at, row in enumerate(held) if at % 3))
    return after, held


async def _two(store: Backend, *new: Field) -> tuple[Collection, Document, Document]:
    """Store a row before fields that are new, and one in which they are written as null."""
    before = things(NAME)
    old = row_of(1, name="old")
    await prepare(store, before, old)
    after = replace(before, fields=(*before.fields, *new))
    assert await store.execute(Alter(before, after))
    nulls: Document = {each.name: None for each in new}
    written = {**row_of(2, name="null"), **nulls}
    await store.execute(Insert(after, (written,)))
    return after, {**old, **nulls}, written


def _tests(name: str) -> list[Filter]:
    """Return tests of a field of :data:`EVERYTHING`, with and without null as an operand."""
    kind, edge = EVERYTHING.field(name).type, EDGES[name][1]
    tests: list[Filter] = [Test(name, Operator.IS_NULL), Test(name, Operator.NOT_NULL)]
    tests += [Test(name, operator, None) for operator in (Operator.EQ, Operator.NE)]
    if kind.kind is not Kind.JSON:
        tests += [Test(name, operator, edge) for operator in (Operator.EQ, Operator.NE)]
        for values in ((edge,), (None,), (edge, None)):
            tests += [Test(name, operator, values) for operator in _LISTED]
    if kind.ordered:
        tests += [Test(name, operator, edge) for operator in _COMPARED]
    if kind.kind is Kind.TEXT:
        tests += [Test(name, operator, part) for operator in _SEARCHED for part in ("a", "")]
    return tests


async def _pages(store: Backend, collection: Collection, keys: list[str]) -> list[Document]:
    found: list[Document] = []
    position: tuple[Value, ...] | None = None
    order = parse_order(keys)
    while True:
        page = await store.execute(Find(collection, ALL, order, 4, position))
        found.extend(page)
        if len(page) < 4:
            return found
        position = tuple(page[-1][key.field] for key in order)


class TestLacking(Contract):
    """No request tells a document that lacks a field from one that holds null in it."""

    # --- reading ---------------------------------------------------------------------------

    @proves("C10")
    @needs_alterations
    async def test_they_are_read_alike(self, store: Backend) -> None:
        """One by one and together, in the form in which a digest covers them."""
        after, rows = await _grown(store, EVERYTHING, every_row(24))
        found = await stored(store, after)
        assert list(map(exact, found)) == list(map(exact, rows))
        assert [exact(await one(store, after, row)) for row in rows] == list(map(exact, rows))
        got = await store.execute(Get(after, (*ids(rows), identity(99))))
        assert list(map(exact, got)) == [*map(exact, rows), None]
        digester = Digester(after)
        assert digester.page(found).digests == digester.page(rows).digests

    @proves("C8", "C10")
    @pytest.mark.parametrize("name", sorted(EDGES))
    @needs_alterations
    async def test_each_filter_takes_them_alike(self, store: Backend, name: str) -> None:
        """Tests of null and of values, lists with null in them, searches, and what denies them."""
        after, rows = await _grown(store, EVERYTHING, every_row(24))
        other = F.number.is_null()
        for test in _tests(name):
            for where in (test, ~test, And((test, ~other)), Or((~test, other)), ~Or((test, other))):
                found = await store.execute(Find(after, where))
                assert ids(found) == ids(selected(rows, where)), where
            assert await store.execute(CountDocuments(after, test)) == len(selected(rows, test))

    @proves("C7", "C10")
    @needs_alterations
    async def test_each_order_takes_them_alike(self, store: Backend) -> None:
        """They are the smallest, equal to each other, and by id among themselves, page by page."""
        rows = every_row(24)
        for at in (2, 5, 8):
            rows[at]["text"] = f"{_LONG}{9 - at}"
        after, rows = await _grown(store, EVERYTHING, rows)
        names = [name for name in EDGES if EVERYTHING.field(name).type.ordered]
        keys = [[sign + name] for name in names for sign in ("", "-")]
        for each in (*keys, ["text", "-number"], ["-number", "text"], ["flag", "-level"]):
            whole = selected(rows, ALL, parse_order(each))
            assert ids(await _pages(store, after, each)) == ids(whole), each

    @proves("C10", "A13")
    @needs_alterations
    async def test_each_selection_takes_them_alike(self, store: Backend) -> None:
        """They are null in each column, and one row with those that are null where rows are distinct."""
        after, rows = await _grown(store, EVERYTHING, every_row(24))
        for name in EDGES:
            part = await store.execute(Find(after, columns=(name,)))
            assert [*map(exact, part)] == [exact({name: row[name]}) for row in rows], name
        for name in ("number", "text", "flag"):
            op = Find(after, ALL, (Order(name),), columns=(name,), distinct=True)
            values = [row[name] for row in await store.execute(op)]
            whole = [row[name] for row in selected(rows, ALL, parse_order([name]))]
            assert values == [*dict.fromkeys(whole)], name

    @needs_alterations
    async def test_each_aggregate_takes_them_alike(self, store: Backend) -> None:
        """They are in one group, count for no field, and add nothing; so where there is no value."""
        after, rows = await _grown(store, READINGS, MEASURED)
        assert after.field("pulse").type.kind is Kind.FLOAT  # of which sums are made elsewhere
        exactly: tuple[Measure, ...] = (
            Count(),
            *map(Count, GROUPED),
            *(Sum(name) for name in NUMBERS if name != "pulse"),
            *map(Min, RANKED),
            *map(Max, RANKED),
        )
        nothing = F.id.in_(ids(rows[::3]))
        for group in ((), *((name,) for name in GROUPED), ("place", "device"), ("day", "valid")):
            for measures in (exactly, (Count("pulse"), Sum("pulse"), Avg("weight"))):
                for where in (ALL, nothing, nothing | F.place.is_null(), F.steps > 0):
                    op = Aggregate(after, measures, where, group)
                    wanted = finish_aggregate(
                        op, aggregate(plan_aggregate(op), selected(rows, where))
                    )
                    got = await store.execute(op)
                    assert [typed(each.key) for each in got] == [typed(each.key) for each in wanted]
                    assert [typed(each.values) for each in got] == [
                        typed(each.values) for each in wanted
                    ]

    # --- writing ---------------------------------------------------------------------------

    @proves("C10", "A2")
    @needs_alterations
    async def test_they_are_written_alike(self, store: Backend) -> None:
        """An increment of what is not there is refused, everything else is as it would be."""
        numbers = [each for each in EVERYTHING.fields if each.name in {"number", "ratio", "price"}]
        new = (*numbers, Field("note", LABEL, nullable=True))
        after, *rows = await _two(store, *new)
        for row in rows:
            mine = ids([row])
            for each in numbers:
                step = Patch(after, mine, (("name", "changed"),), ((each.name, 1),))
                with pytest.raises(NotNullError) as error:
                    await store.execute(step)
                assert (error.value.entity, error.value.field) == ("Thing", each.name)
            assert await one(store, after, row) == row
            (patched,) = await store.execute(
                Patch(after, mine, (("number", 5),), (("version", 1),), (1,))
            )
            assert exact(patched) == exact({**row, "number": 5, "version": 2})
            (patched,) = await store.execute(Patch(after, mine, (), (("number", 2),)))
            assert exact(patched) == exact({**row, "number": 7, "version": 2})
            replaced = {**row, "name": "replaced", "note": "x", "version": 3}
            assert await store.execute(Replace(after, (replaced,), (2,))) == (True,)
            assert exact(await one(store, after, row)) == exact(replaced)
            (patched,) = await store.execute(Patch(after, mine, (("note", None),)))
            assert exact(patched) == exact({**replaced, "note": None})
            assert await store.execute(Delete(after, mine, (3,))) == (True,)
        assert await stored(store, after) == []

    @needs_alterations
    @needs_transactions
    async def test_they_are_written_together(self, store: Backend) -> None:
        """All or nothing, and in a unit, too: what the one refuses, the other does."""
        after, old, written = await _two(
            store, Field("count", NUMBER, nullable=True), Field("note", LABEL, nullable=True)
        )
        both = ids([old, written])
        with pytest.raises(NotNullError):
            await store.execute(Patch(after, both, (("note", "x"),), (("count", 1),)))
        assert await stored(store, after) == [old, written]
        steps = tuple(Patch(after, (each,), (), (("count", 1),)) for each in both)
        assert await store.execute(Patches(after, steps)) == (None, None)
        sets = tuple(Patch(after, (each,), (("count", 1),)) for each in both)
        wanted = [{**old, "count": 1}, {**written, "count": 1}]
        results = await store.execute(Patches(after, sets))
        assert [each and each[0] for each in results] == wanted
        unit = await store.begin()
        try:
            assert list(await unit.execute(Find(after, F.note.is_null()))) == wanted
            changed_ = await unit.execute(Patch(after, both, (("note", "y"),), (("count", 1),)))
            await unit.commit()
        finally:
            await unit.rollback()
        wanted = [{**each, "count": 2, "note": "y"} for each in wanted]
        assert list(changed_) == wanted
        replaced = tuple({**each, "note": None} for each in wanted)
        assert await store.execute(Replace(after, replaced)) == (True, True)
        assert await stored(store, after) == list(replaced)

    # --- what is declared of the field afterwards --------------------------------------------

    @proves("C10", "C11")
    @needs_alterations
    async def test_they_stand_against_nothing_that_null_does_not(self, store: Backend) -> None:
        """Keys and checks on the field are added over them; a value that breaks one is refused."""
        new = (Field("team", LABEL, nullable=True), Field("rank", NUMBER, nullable=True))
        bare, *rows = await _two(store, *new)
        after = replace(
            bare,
            uniques=(Unique("team"), Unique("rank", "team")),
            indexes=(Index("-rank"),),
            checks=(
                Check("small", F.rank < 10),
                Check("known", F.team.not_in(["x", "y"])),
                Check("either", (F.rank >= 0) | (F.team == "a")),
                Check("no_z", ~F.team.startswith("z")),
            ),
        )
        assert await store.execute(Alter(bare, after, _NEEDS))
        assert await stored(store, after) == rows
        assert ids(await store.execute(Find(after, order=parse_order(["rank"])))) == ids(rows)
        for row in rows:
            mine = ids([row])
            (patched,) = await store.execute(Patch(after, mine, (("name", "changed"),)))
            assert patched == {**row, "name": "changed"}
            for wrong in (("rank", 10), ("team", "x"), ("team", "zz"), ("rank", -1)):
                whole = {**row, wrong[0]: wrong[1], "team": wrong[1] if wrong[0] == "team" else "b"}
                with pytest.raises(CheckError):
                    await store.execute(Replace(after, (whole,)))
            await store.execute(Patch(after, mine, (("team", row["name"]),)))
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Patch(after, ids(rows[:1]), (("team", "null"),)))
        assert error.value.fields == ("team",)

    @needs_alterations
    async def test_they_are_counted_where_null_is_to_go(self, store: Backend) -> None:
        """Each is null until it has a value; then null may be forbidden, and allowed again."""
        new = Field("rank", NUMBER, nullable=True)
        after, *rows = await _two(store, new)
        assert await store.execute(CountDocuments(after, F.rank.is_null())) == 2
        for at, row in enumerate(rows):
            await store.execute(Patch(after, ids([row]), (("rank", at),)))
        assert await store.execute(CountDocuments(after, F.rank.is_null())) == 0
        required = replace(after, fields=(*after.fields[:-1], replace(new, nullable=False)))
        assert await store.execute(Alter(after, required, _NEEDS))
        wanted = [{**row, "rank": at} for at, row in enumerate(rows)]
        assert await stored(store, required) == wanted
        with pytest.raises(HealthstoreError):
            await store.execute(Insert(required, (row_of(3, name="n", rank=None),)))
        assert await store.execute(Alter(required, after))
        await store.execute(Insert(after, (row_of(3, name="n", rank=None),)))
        assert await stored(store, after) == [*wanted, row_of(3, name="n", rank=None)]

    @needs_alterations
    async def test_they_are_altered_and_renamed_alike(self, store: Backend) -> None:
        """A longer text, another name, a field that goes and comes again of another type."""
        made, *rows = await _two(store, Field("note", LABEL, nullable=True))
        longer = replace(
            made, fields=(*made.fields[:-1], Field("note", text_of(100), nullable=True))
        )
        more = replace(longer, fields=(*longer.fields, Field("more", NUMBER, nullable=True)))
        assert await store.execute(Alter(made, longer))
        assert await store.execute(Alter(longer, more))
        wanted = [{**row, "more": None} for row in rows]
        assert await stored(store, more) == wanted
        for row in rows:
            await store.execute(Patch(more, ids([row]), (("name", "changed"),)))
        (renamed,) = changed({more.name: more}, [RenameField(more.name, "note", "remark")]).values()
        assert isinstance(renamed, Collection)
        assert await store.execute(Rename(more, renamed))
        wanted = [row_of(at, name="changed", remark=None, more=None) for at in (1, 2)]
        assert await stored(store, renamed) == wanted
        assert await store.execute(CountDocuments(renamed, F.remark.is_null())) == 2
        await store.execute(Patch(renamed, (identity(1),), (("remark", "r"),)))
        gone = replace(
            renamed, fields=tuple(renamed.field(n) for n in renamed.names if n != "remark")
        )
        assert await store.execute(Alter(renamed, gone, ChangeEffect.LOSES_DATA))
        again = replace(gone, fields=(*gone.fields, Field("remark", NUMBER, nullable=True)))
        assert await store.execute(Alter(gone, again))
        assert await stored(store, again) == [{**row, "remark": None} for row in wanted]
        await store.execute(Patch(again, (identity(1),), (("remark", 7),)))
        assert await store.execute(CountDocuments(again, F.remark == 7)) == 1

    @pytest.mark.parametrize("on_delete", ["restrict", "cascade", "set_null"])
    @needs_alterations
    @needs_references
    async def test_they_refer_to_nothing(self, store: Backend, on_delete: OnDelete) -> None:
        """Also when a reference is declared; one that is set then is kept, and goes as declared."""
        parents = things(NAME)
        await prepare(store, parents, row_of(1, name="p"), row_of(2, name="q"))
        bare, *rows = await _two(store, Field("parent", FieldType(Kind.UUID), nullable=True))
        after = replace(bare, references=(Reference("parent", parents.name, on_delete),))
        assert await store.execute(Alter(bare, after, _NEEDS))
        assert await store.execute(Delete(parents, (identity(2),))) == (True,)
        assert await stored(store, after) == rows
        for row in rows:
            with pytest.raises(ForeignKeyError):
                await store.execute(Patch(after, ids([row]), (("parent", identity(2)),)))
        await store.execute(Patch(after, ids(rows[:1]), (("parent", identity(1)),)))
        if on_delete == "restrict":
            with pytest.raises(ForeignKeyError):
                await store.execute(Delete(parents, (identity(1),)))
            return
        assert await store.execute(Delete(parents, (identity(1),))) == (True,)
        (kept, *others) = await store.execute(Get(after, ids(rows)))
        assert others == rows[1:]
        wanted = None if on_delete == "cascade" else {**rows[0], "version": 2}
        assert kept == wanted

    # --- defaults ----------------------------------------------------------------------------

    @needs_alterations
    async def test_a_default_is_no_null(self, store: Backend) -> None:
        """Who was there, or is added by a program that does not know the field, has the default."""
        before = things(NAME)
        old = GuardLayer(CatalogLayer(store))
        await prepare(old, before, row_of(1, name="a"))
        mood = Field("mood", LABEL, nullable=True, default="good")
        note = Field("note", LABEL, nullable=True)
        after = replace(before, fields=(*before.fields, mood, note))
        assert await store.execute(Alter(before, after))
        await old.execute(Insert(before, (row_of(2, name="b"),)))
        await store.execute(Insert(after, (row_of(3, name="c", mood=None, note=None),)))
        moods = [(each["mood"], each["note"]) for each in await stored(store, after)]
        assert moods == [("good", None), ("good", None), (None, None)]
        assert await store.execute(CountDocuments(after, F.mood == "good")) == 2

    @needs_alterations
    async def test_another_default_changes_no_document(self, store: Backend) -> None:
        """What is null stays null and can be changed, by who declares the default or evolved it."""
        note = Field("note", LABEL, nullable=True)
        made, *rows = await _two(store, note)
        given = replace(made, fields=(*made.fields[:-1], replace(note, default="x")))
        assert (await store.execute(Ensure((given,)))).present == (made.name,)
        for definition in (given, made):
            await store.execute(Patch(definition, ids(rows[:1]), (("name", "changed"),)))
        assert await store.execute(Alter(made, given))
        assert (await definition_of(store, made.name)).field("note").default == "x"
        more = replace(given, fields=(*given.fields, Field("rank", NUMBER, default=1)))
        assert await store.execute(Alter(given, more))
        for row in rows:
            await store.execute(Patch(more, ids([row]), (("name", "again"),)))
        assert await stored(store, more) == [{**row, "name": "again", "rank": 1} for row in rows]

    @needs_alterations
    async def test_nothing_is_written_again_for_null(self, store: Backend) -> None:
        """A text or number that may be null is added without a look at any row."""
        made = things(NAME)
        state = {made.name: made}
        for form in (LABEL, NUMBER):
            add_ = AddField(made.name, "more", FieldForm(form, nullable=True))
            after = changed(state, [add_])[made.name]
            told = await store.execute(Explain(Alter(made, after)))
            assert not told.rewrites

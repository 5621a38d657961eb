"""Two fields of one row, held against each other: in filters, and in checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import cast
from uuid import UUID, uuid4

import pytest
from hypothesis import given

from healthstore.abc import Backend
from healthstore.errors import (
    CheckError,
    ConfigurationError,
    InvalidRequestError,
    Outcome,
    UnknownFieldError,
)
from healthstore.model.change import (
    ChangeEffect,
    ChangeField,
    DropCheck,
    DropField,
    FieldForm,
    RenameField,
    changed,
)
from healthstore.model.ops import (
    Aggregate,
    Alter,
    CountDocuments,
    Ensure,
    Find,
    Function,
    Insert,
    Measure,
    Patch,
    Rename,
    Replace,
)
from healthstore.model.query import F, Filter, Not, Operator, OtherField, Test, parse_order
from healthstore.model.schema import Check, Field, Reference
from healthstore.model.values import Document, FieldType, Kind
from healthstore.testing.contract._altered import (
    NUMBER,
    decimal_of,
    definition_of,
    enum_of,
    prepare,
    row_of,
    things,
)
from healthstore.testing.contract._paired import (
    CHECKED_PAIRS,
    COMPARED,
    INSTANT,
    KINDS,
    MICROSECOND,
    PAIRS,
    ROWS,
    holds,
    pair_row,
)
from healthstore.testing.contract._promises import (
    Contract,
    laws,
    needs_alterations,
    needs_references,
    proves,
)
from healthstore.testing.contract._samples import add, identity, ids, selected, stored
from healthstore.testing.strategies import filters

__all__ = ("TestTwoFields",)


async def _filled(store: Backend) -> Backend:
    """Add the rows; an example of a law may find them already there."""
    await store.execute(Ensure((PAIRS,)))
    if not await store.execute(CountDocuments(PAIRS)):
        await add(store, PAIRS, *ROWS)
    return store


async def _divides(store: Backend, where: Filter, wanted: Iterable[UUID]) -> None:
    """Check which documents satisfy a filter, and that all others satisfy its negation."""
    expected = list(wanted)
    assert list(ids(await stored(store, PAIRS, where))) == expected, where
    rest = [each for each in ids(ROWS) if each not in expected]
    assert list(ids(await stored(store, PAIRS, Not(where)))) == rest, where


class TestTwoFields(Contract):
    """A field is compared with another one as with the value that the other one has."""

    @pytest.mark.parametrize("kind", KINDS)
    async def test_every_comparison_means_what_python_means(
        self, store: Backend, kind: str
    ) -> None:
        """Of values and nulls beside each other, either way round, with all others negated."""
        await _filled(store)
        names = f"{kind}_one", f"{kind}_other"
        ordered = KINDS[kind][0].ordered
        for one, other in (names, names[::-1]):
            for operator in COMPARED if ordered else (Operator.EQ, Operator.NE):
                wanted = ids(row for row in ROWS if holds(operator, row[one], row[other]))
                await _divides(store, Test(one, operator, OtherField(other)), wanted)

    async def test_fields_that_are_never_null_are_compared(self, store: Backend) -> None:
        """With one another, and with one that may be null."""
        await _filled(store)
        for one, other in (
            *(("first", "second"), ("first", "number_one"), ("number_one", "second")),
            *(("id", "owner_one"), ("owner_one", "id")),
        ):
            for operator in COMPARED:
                wanted = ids(row for row in ROWS if holds(operator, row[one], row[other]))
                await _divides(store, Test(one, operator, OtherField(other)), wanted)

    async def test_a_field_may_be_compared_with_itself(self, store: Backend) -> None:
        """It equals itself in each row, and is no less; only null is not at least itself."""
        await _filled(store)
        everywhere = ids(ROWS)
        given = ids(row for row in ROWS if row["number_one"] is not None)
        await _divides(store, F.number_one == F.number_one, everywhere)
        await _divides(store, F.number_one != F.number_one, ())
        await _divides(store, F.number_one < F.number_one, ())
        await _divides(store, F.number_one >= F.number_one, given)
        await _divides(store, F.id == F.id, everywhere)

    @proves("C8")
    @laws
    @given(filters(PAIRS, ROWS))
    async def test_any_filter_divides_the_documents(self, store: Backend, where: Filter) -> None:
        """Comparisons of two fields beside others, in any combination, as the evaluator says."""
        await _divides(await _filled(store), where, ids(selected(ROWS, where)))

    @needs_references
    async def test_references_are_compared(self, store: Backend) -> None:
        """With one another and with the id: who is their own parent, or has one parent twice."""
        name = f"made_{uuid4().hex[:12]}"
        people = things(
            *(Field(each, FieldType(Kind.UUID), nullable=True) for each in ("boss", "deputy")),
            name=name,
            references=(Reference("boss", name), Reference("deputy", name, "cascade")),
        )
        parents: tuple[tuple[int | None, int | None], ...] = (
            *((None, None), (1, 1), (1, 2), (None, 1), (5, 4)),
        )
        rows = [
            row_of(
                at,
                boss=None if boss is None else identity(boss),
                deputy=None if deputy is None else identity(deputy),
            )
            for at, (boss, deputy) in enumerate(parents, start=1)
        ]
        await prepare(store, people, *rows)
        for where, found in (
            (F.boss == F.deputy, (1, 2)),
            (F.boss != F.deputy, (3, 4, 5)),
            (F.id == F.boss, (5,)),
            (F.boss < F.deputy, (3,)),
            (F.id > F.boss, (2, 3)),
            (~(F.id > F.boss), (1, 4, 5)),
        ):
            assert ids(await stored(store, people, where)) == tuple(map(identity, found)), where

    async def test_it_stands_in_every_kind_of_question(self, store: Backend) -> None:
        """In a count, a page after a position, an aggregate, and beside other tests."""
        await _filled(store)
        where = (F.moment_other >= F.moment_one) & ~((F.first == F.second) | (F.flag_one == True))  # noqa: E712 - a filter
        wanted = selected(ROWS, where, parse_order(["-first", "second"]))
        assert 10 < len(wanted) < len(ROWS)
        assert await store.execute(CountDocuments(PAIRS, where)) == len(wanted)
        order = parse_order(["-first", "second"])
        page = await store.execute(Find(PAIRS, where, order, limit=7))
        position = tuple(page[-1][key.field] for key in order)
        rest = await store.execute(Find(PAIRS, where, order, limit=100, after=position))
        assert ids((*page, *rest)) == ids(wanted)
        measures = (Measure(Function.COUNT), Measure(Function.SUM, "second"))
        groups = await store.execute(Aggregate(PAIRS, measures, where, ("first",)))
        assert [(each.key, each.values) for each in groups] == [
            ((key,), (len(rows), sum(cast("list[int]", rows))))
            for key in (0, 1, 2)
            if (rows := [row["second"] for row in wanted if row["first"] == key])
        ]

    async def test_between_takes_fields(self, store: Backend) -> None:
        """A field lies between two others, or between a value and another one."""
        await _filled(store)
        for where in (
            F.first.between(F.second, F.number_one),
            F.number_one.between(0, F.number_other),
        ):
            await _divides(store, where, ids(selected(ROWS, where)))

    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_check_keeps_two_fields_in_order(self, store: Backend, kind: str) -> None:
        """A document is kept if they are, or one of both is null, and refused by name if not."""
        ordered = KINDS[kind][0].ordered
        names = f"{kind}_one", f"{kind}_other"
        await store.execute(Ensure((CHECKED_PAIRS,)))
        sound: list[Document] = []
        broken: list[Document] = []
        for row in ROWS:
            one, other = (row[name] for name in names)
            null = one is None or other is None
            good = null or holds(Operator.LE if ordered else Operator.EQ, one, other)
            made = pair_row(1_000, **dict(zip(names, (one, other), strict=True)))
            (sound if good else broken).append({**made, "id": row["id"]})
        await add(store, CHECKED_PAIRS, *sound)
        assert await store.execute(CountDocuments(CHECKED_PAIRS)) == len(sound)
        for row in broken[:6]:
            with pytest.raises(CheckError) as error:
                await store.execute(Insert(CHECKED_PAIRS, (row,)))
            assert f"{kind}_order" in error.value.message

    async def test_no_write_breaks_a_check_of_two_fields(self, store: Backend) -> None:
        """Adding, replacing, setting either side and incrementing: refused, and nothing changes."""
        stays = things(
            Field("started_at", FieldType(Kind.DATETIME)),
            Field("ended_at", FieldType(Kind.DATETIME), nullable=True),
            Field("used", NUMBER),
            Field("room", NUMBER, nullable=True),
            checks=(
                Check("order", F.ended_at >= F.started_at),
                Check("fits", ~(F.used > F.room)),
            ),
        )
        later, much_later = INSTANT + MICROSECOND, INSTANT + timedelta(days=1)
        row = row_of(1, started_at=INSTANT, ended_at=later, used=1, room=2)
        await prepare(store, stays, row)
        bad = {**row, "started_at": much_later}
        one = (identity(1),)
        for op, name in (
            (Insert(stays, ({**bad, "id": uuid4()},)), "order"),
            (Replace(stays, (bad,)), "order"),
            (Patch(stays, one, sets=(("started_at", much_later),)), "order"),
            (Patch(stays, one, sets=(("ended_at", INSTANT - MICROSECOND),)), "order"),
            (Patch(stays, one, increments=(("used", 2),)), "fits"),
            (Patch(stays, one, increments=(("room", -2),)), "fits"),
            (Patch(stays, one, increments=(("used", 1), ("room", -1))), "fits"),
        ):
            with pytest.raises(CheckError, match=name) as error:
                await store.execute(op)
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert await stored(store, stays) == [row]
        await store.execute(Patch(stays, one, increments=(("used", 1),)))
        both = (("started_at", much_later), ("ended_at", much_later))
        await store.execute(Patch(stays, one, sets=both))
        await store.execute(Patch(stays, one, sets=(("ended_at", None), ("room", None))))
        (open_now,) = await store.execute(
            Patch(stays, one, sets=(("started_at", later),), increments=(("used", 7),))
        )
        assert open_now is not None
        assert open_now["used"] == 9
        with pytest.raises(CheckError):
            await store.execute(Patch(stays, one, sets=(("ended_at", INSTANT),)))

    async def test_what_cannot_be_compared_is_refused(self, store: Backend) -> None:
        """By both names and before any I/O: another kind, other places, no order, JSON, a list."""
        absent = replace(
            PAIRS,
            name=f"made_{uuid4().hex[:12]}",
            fields=(
                *PAIRS.fields,
                Field("fine", decimal_of(12, 6)),
                Field("data", FieldType(Kind.JSON)),
                Field("extra", FieldType(Kind.JSON)),
                Field("mood", enum_of("low", "High")),
            ),
        )
        for where, *names in (
            (F.number_one == F.ratio_one, "number_one", "ratio_one"),
            (F.text_one < F.level_one, "text_one", "level_one"),
            (F.price_one >= F.fine, "price_one", "fine"),
            (F.moment_one > F.moment_ms_one, "moment_one", "moment_ms_one"),
            (F.moment_one > F.day_one, "moment_one", "day_one"),
            (F.level_one != F.mood, "level_one", "mood"),
            (F.blob_one < F.blob_other, "blob_one", "blob_other"),
            (F.data == F.extra, "data", "extra"),
            (F.number_one == F.price_one, "number_one", "price_one"),
            (Test("text_one", Operator.CONTAINS, OtherField("text_other")), "text_one"),
            (Test("text_one", Operator.IN, OtherField("text_other")), "text_one"),
        ):
            for asked in (where, ~where | (F.number_one == 1)):
                with pytest.raises(InvalidRequestError) as error:
                    await store.execute(CountDocuments(absent, asked))
                assert error.value.field == names[0]
                assert names[-1] in f"{error.value}"
                assert error.value.hint
            with pytest.raises(ConfigurationError, match=names[-1]):
                replace(absent, checks=(Check("order", where),))
        for where in (F.number_one == F.number_othr, F.number_othr == F.number_one):
            with pytest.raises(UnknownFieldError, match="number_othr"):
                await store.execute(CountDocuments(absent, where))

    @needs_alterations
    async def test_a_check_follows_its_fields_to_their_new_names(self, store: Backend) -> None:
        """Either side may be renamed, also to the name that the other side had."""
        before = things(
            Field("low", NUMBER, nullable=True),
            Field("high", NUMBER),
            checks=(Check("order", F.low <= F.high),),
        )
        await prepare(store, before, row_of(1, low=1, high=2), row_of(2, low=None, high=0))
        after = before
        for old, new in (("high", "most"), ("low", "high"), ("most", "low")):
            change = RenameField(before.name, old, new)
            last, (after,) = after, changed({before.name: after}, (change,)).values()
            assert await store.execute(Rename(last, after))
        assert after.checks == (Check("order", F.high <= F.low),)
        assert await definition_of(store, before.name) == after
        with pytest.raises(CheckError, match="order"):
            await store.execute(Insert(after, (row_of(3, high=2, low=1),)))
        await store.execute(Insert(after, (row_of(3, high=1, low=1),)))
        assert await stored(store, after, F.high == F.low) == [row_of(3, high=1, low=1)]

    @needs_alterations
    async def test_a_field_goes_with_the_check_of_which_it_is_the_other_side(
        self, store: Backend
    ) -> None:
        """Alone it is refused by the name of the check's field; with the check, rows stay."""
        before = things(
            Field("low", NUMBER),
            Field("high", NUMBER),
            checks=(Check("order", F.low <= F.high),),
        )
        await prepare(store, before, row_of(1, low=1, high=2))
        drop = DropField(before.name, "high")
        with pytest.raises(UnknownFieldError, match="high"):
            changed({before.name: before}, (drop,))
        (after,) = changed({before.name: before}, (DropCheck(before.name, "order"), drop)).values()
        assert await store.execute(Alter(before, after, ChangeEffect.LOSES_DATA))
        assert await stored(store, after) == [row_of(1, low=1)]
        await store.execute(Insert(after, (row_of(2, low=9),)))

    @needs_alterations
    async def test_a_check_holds_for_a_decimal_that_gets_more_digits(self, store: Backend) -> None:
        """Either side may be widened, also to where a backend keeps it in another form."""
        before = things(
            Field("low", decimal_of(6)),
            Field("high", decimal_of(6), nullable=True),
            checks=(Check("order", F.low <= F.high),),
        )
        after = before
        for number, (name, digits) in enumerate(
            (("low", 18), ("high", 28), ("low", 24), ("low", 28))
        ):
            if not number:
                await prepare(store, before, row_of(99, low=Decimal("-1.0000"), high=None))
            nullable = before.nullable(name)
            change = ChangeField(before.name, name, FieldForm(decimal_of(digits), nullable))
            last, (after,) = after, changed({before.name: after}, (change,)).values()
            assert await store.execute(Alter(last, after))
            five, six = Decimal("5.0000"), Decimal("-6.0000")
            with pytest.raises(CheckError, match="order"):
                await store.execute(Insert(after, (row_of(100, low=five, high=six),)))
            await store.execute(Insert(after, (row_of(number, low=six, high=five),)))
            assert await store.execute(CountDocuments(after, F.low < F.high)) == number + 1
            assert await store.execute(CountDocuments(after, ~(F.low < F.high))) == 1

    @needs_alterations
    async def test_a_field_that_came_later_is_null_in_both_places(self, store: Backend) -> None:
        """Rows that were there before it have null in it, to a comparison and to a check, too."""
        before = things(Field("low", NUMBER, nullable=True))
        await prepare(store, before, row_of(1, low=1), row_of(2, low=None))
        after = replace(
            before,
            fields=(
                *before.fields,
                *(Field(name, NUMBER, nullable=True) for name in ("high", "top")),
            ),
            checks=(Check("order", F.low <= F.high), Check("top", F.top > F.high)),
        )
        assert await store.execute(Alter(before, replace(after, checks=())))
        for where, count in (
            (F.low <= F.high, 0),
            (F.high >= F.low, 0),
            (F.high < F.low, 0),
            (F.high == F.top, 2),
            (F.high != F.top, 0),
            (F.high == F.low, 1),
            (F.high != F.low, 1),
            (~(F.high < F.top), 2),
            (F.top >= F.top, 0),
        ):
            assert await store.execute(CountDocuments(replace(after, checks=()), where)) == count
        await store.execute(Alter(replace(after, checks=()), after, ChangeEffect.NEEDS_DATA))
        with pytest.raises(CheckError, match="order"):
            await store.execute(Patch(after, (identity(1),), sets=(("high", 0),)))
        await store.execute(Patch(after, (identity(1),), sets=(("high", 1),)))
        await store.execute(Patch(after, (identity(2),), sets=(("top", 1),)))
        with pytest.raises(CheckError, match="top"):
            await store.execute(Patch(after, (identity(2),), sets=(("high", 1),)))

    async def test_the_store_remembers_a_check_of_two_fields(self, store: Backend) -> None:
        """The definition comes back equal, with the same fingerprint, and is ensured as it is."""
        made = things(
            *(Field(name, NUMBER, nullable=True) for name in ("low", "high")),
            checks=(
                Check("order", (F.low <= F.high) | (F.high == 0)),
                Check("apart", ~(F.low == F.high)),
            ),
        )
        await prepare(store, made)
        found = await definition_of(store, made.name)
        assert found == made
        assert found.fingerprint == made.fingerprint
        assert (await store.execute(Ensure((found,)))).present == (made.name,)

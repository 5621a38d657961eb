"""Which groups are rows, and in which order: what a database does of it is what Python makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest

from healthstore.abc import Backend
from healthstore.errors import InvalidRequestError, UnknownFieldError
from healthstore.model.evaluate import matches
from healthstore.model.json import INT64_MAX
from healthstore.model.ops import (
    Aggregate,
    Avg,
    Bucket,
    Count,
    CountDistinct,
    Ensure,
    Group,
    Last,
    Max,
    Min,
    Percentile,
    Sum,
)
from healthstore.model.query import ALL, NONE, F, Filter, Operator, Order, Test
from healthstore.model.schema import Collection, Field
from healthstore.model.values import SORTED_TEXT, Document, FieldType, Kind, Value
from healthstore.testing.contract._promises import Contract, proves
from healthstore.testing.contract._samples import (
    EVERYTHING,
    READINGS,
    add,
    every_row,
    everything,
    identity,
    reading,
    typed,
)

__all__ = ("TestTopGroups",)

SORTED = tuple(
    each.name for each in EVERYTHING.fields if each.type.ordered and each.name != "version"
)
EXTREMES = tuple(name for name in SORTED if name not in {"flag", "owner", "id"})
SUMS = Collection(
    "contract_sums",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("label", FieldType(Kind.TEXT, max_length=10)),
        Field("amount", FieldType(Kind.DECIMAL, digits=18, places=2)),
    ),
    entity="Sums",
)
EVENTS = Collection(
    "contract_events",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("at", FieldType(Kind.DATETIME)),
        Field("day", FieldType(Kind.DATE)),
    ),
    entity="Events",
)
COMPARED = (
    *(Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE),
    *(Operator.IN, Operator.NOT_IN),
)


def _rows(op: Aggregate, groups: Sequence[Group]) -> list[Document]:
    """Return groups as rows, of which each has its place under a name of its own."""
    names = [*(key.column if isinstance(key, Bucket) else key for key in op.group), *op.names]
    return [
        {**dict(zip(names, (*each.key, *each.values), strict=True)), "": at}
        for at, each in enumerate(groups)
    ]


def _sorted(rows: list[Document], order: Sequence[Order]) -> list[Document]:
    for each in reversed(order):
        null = (0,) if each.nulls_first is not each.descending else (2,)

        def rank(row: Document, name: str = each.field, null: Any = null) -> Any:
            value = row[name]
            if isinstance(value, str):
                value = value[:SORTED_TEXT]
            return null if value is None else (1, value)

        rows = sorted(rows, key=rank, reverse=each.descending)
    return rows


async def _holds(store: Backend, *asked: Aggregate) -> None:
    """Ask for some of the rows, and hold them against what Python makes of all of them."""
    everything = await store.execute(
        replace(asked[0], having=ALL, order=(), take=None, limit=10_000)
    )
    for op in asked:
        rows = [row for row in _rows(op, everything) if matches(op.having)(row)]
        wanted = [everything[cast(int, row[""])] for row in _sorted(rows, op.order)[: op.take]]
        found = await store.execute(op)
        told = [[*map(typed, (*each.key, *each.values))] for each in found]
        assert told == [[*map(typed, (*each.key, *each.values))] for each in wanted], op


def _given(value: Value, other: Value) -> list[Filter]:
    return [
        Test("x", each, (value, other) if each in {Operator.IN, Operator.NOT_IN} else value)
        for each in COMPARED
    ]


class TestTopGroups(Contract):
    """HAVING, ORDER BY and LIMIT are what a filter, a sort and a slice of all rows are."""

    @proves("C3", "C7", "A13")
    @pytest.mark.parametrize("field", SORTED)
    async def test_the_first_groups_are_those_of_any_key(self, store: Backend, field: str) -> None:
        """Of each kind, both ways, with None at either end: no row of another group comes in."""
        await add(store, EVERYTHING, *every_row(60))
        op = Aggregate(EVERYTHING, (Count(),), group=(field,), names=("n",), take=5)
        orders: tuple[tuple[Order, ...], ...] = (
            (),
            *((Order(field, down),) for down in (False, True)),
            *((Order(field, down, "first"),) for down in (False, True)),
            *((Order(field, down, "last"),) for down in (False, True)),
            (Order("n", descending=True),),
            (Order("n"), Order(field, descending=True)),
        )
        await _holds(store, *(replace(op, order=each) for each in orders))

    @proves("C1", "C8")
    @pytest.mark.parametrize("field", SORTED)
    async def test_keys_are_compared_as_fields_are(self, store: Backend, field: str) -> None:
        """Each comparison of a key finds the groups that Python finds; none of them is None."""
        rows = every_row(60)
        await add(store, EVERYTHING, *rows)
        values = [row[field] for row in rows if row[field] is not None]
        op = Aggregate(EVERYTHING, (Count(),), group=(field,), names=("n",), take=20)
        havings = [
            replace(each, field=field)
            for each in _given(values[0], values[-1])
            if isinstance(each, Test)
        ]
        null: list[Filter] = [F[field].is_null(), F[field].not_null(), NONE, ALL]
        await _holds(store, *(replace(op, having=each) for each in (*havings, *null)))

    async def test_a_number_of_documents_is_never_none(self, store: Backend) -> None:
        """Nor is a sum: asked for None, and among others, no row is found and none is lost."""
        await add(store, EVERYTHING, *every_row(20))
        op = Aggregate(
            EVERYTHING,
            (Count(), Count("label"), CountDistinct("label"), Sum("version")),
            group=("flag",),
            names=("n", "there", "different", "total"),
            take=5,
        )
        havings = [
            each
            for name in op.names
            for each in (
                *(F[name].is_null(), F[name].not_null(), F[name] == None, F[name] != None),  # noqa: E711 - a filter
                *(F[name].in_([None]), F[name].in_([None, 1, 5]), F[name].not_in([None, 1])),
            )
        ]
        await _holds(store, *(replace(op, having=each) for each in havings))

    @pytest.mark.parametrize("field", EXTREMES)
    async def test_extremes_of_any_kind_are_sorted_and_compared(
        self, store: Backend, field: str
    ) -> None:
        """The least and the greatest value of a group is a value as those of its field are."""
        rows = every_row(60)
        await add(store, EVERYTHING, *rows)
        values = [row[field] for row in rows if row[field] is not None]
        measures = (Max(field), Min(field), Count(field))
        op = Aggregate(EVERYTHING, measures, group=("label",), names=("x", "y", "n"))
        asked = [replace(op, having=each) for each in _given(values[0], values[-1])]
        asked += [
            replace(op, order=(Order(name, down, nulls), Order("n")), take=7)
            for name in ("x", "y")
            for down in (False, True)
            for nulls in (None, "first", "last")
        ]
        above = [F.x > values[0], F.y != values[0], F.x.is_null() | (F.y == values[-1])]
        asked += [replace(op, having=each, order=(Order("y"),), take=3) for each in above]
        await _holds(store, *asked)

    @proves("A4", "A5", "A7")
    async def test_sums_are_compared_exactly(self, store: Backend) -> None:
        """Up to 64 bits, of decimals beyond, with 0 for a sum of nothing."""
        ends = (INT64_MAX, INT64_MAX - 1, -INT64_MAX, 2**53, 2**53 + 1, 1, 0, None, -1)
        await add(
            store,
            EVERYTHING,
            *(everything(label=f"{at}", number=value) for at, value in enumerate(ends)),
            *(everything(label=f"{at}", number=-1) for at in (0, 3, 4)),
            *(
                everything(label=f"{at % 5}", price=Decimal(f"{'9' * at}.{at:04d}"), span=-at * day)
                for at, day in enumerate([timedelta(days=100_000)] * 9)
            ),
        )
        measures = (Sum("number"), Sum("price"), Sum("span"), Count())
        op = Aggregate(EVERYTHING, measures, group=("label",), names=("x", "p", "s", "n"))
        wanted = [
            *(F.x >= each for each in (INT64_MAX - 1, 2**53, 0, -1)),
            *(F.x == each for each in (2**53, 2**53 - 1, 0, INT64_MAX - 1)),
            *(F.p > Decimal(each) for each in ("0", "999.0003", "99999.0005", "99998999.9997")),
            *(F.s < timedelta(days=each) for each in (0, -500_000, -500_001)),
            F.x.in_([0, 1, 2**53]) & (F.n >= 2),
            ~(F.x == 0) | (F.p == 0),
            F.x.is_null(),
        ]
        asked = [replace(op, having=each) for each in wanted]
        asked += [
            replace(op, order=(Order(name, down),), take=4)
            for name in ("x", "p", "s", "n")
            for down in (False, True)
        ]
        await _holds(store, *asked)

    @proves("A5")
    async def test_sums_beyond_64_bits_of_units_are_sorted(self, store: Backend) -> None:
        """Decimals of 18 digits have sums that no 64 bits hold; they are sorted as all others."""
        most = Decimal(10**16) - Decimal("0.01")
        rows: list[Document] = [
            {"id": identity(at), "version": 1, "label": label, "amount": sign * (most - at)}
            for at, (label, sign) in enumerate(
                (*(("a", 1),) * 12, *(("b", 1),) * 9, *(("c", 1),) * 20, *(("d", -1),) * 15)
            )
        ]
        await add(store, SUMS, *rows, {**rows[0], "id": identity(99), "label": "e"})
        op = Aggregate(SUMS, (Sum("amount"),), group=("label",), names=("x",), take=3)
        await _holds(
            store,
            *(replace(op, order=(Order("x", down),)) for down in (False, True)),
            *(replace(op, having=each) for each in (F.x > most - 3, F.x < -most, F.x == most)),
        )

    async def test_the_top_of_many_groups_needs_no_look_at_them_all(self, store: Backend) -> None:
        """By counts, sums and extremes more groups than the limit are sorted; else it is refused."""
        rows = [
            reading(place=f"{at % 29:02d}", steps=at * 7 % 31, pulse=at / 8) for at in range(90)
        ]
        await add(store, READINGS, *rows)
        measures = (
            Count(),
            Sum("steps"),
            Avg("pulse"),
            CountDistinct("steps"),
            Percentile("steps", 0.5),
        )
        names = ("n", "total", "mean", "different", "median")
        op = Aggregate(READINGS, measures, group=("place",), names=names, limit=20, take=3)
        await _holds(
            store,
            op,
            *(
                replace(op, order=(Order(each, descending=True),))
                for each in ("n", "total", "different")
            ),
            replace(op, having=(F.total > 40) & (F.n > 2), order=(Order("total"),)),
            replace(op, having=F.total > 70, order=(Order("mean"),)),
        )
        for some in (
            replace(op, order=(Order("mean"),)),
            replace(op, order=(Order("median"),)),
            replace(op, having=F.mean > 1),
            replace(op, take=None),
        ):
            with pytest.raises(InvalidRequestError, match="more than 20 groups") as error:
                await store.execute(some)
            assert error.value.hint

    async def test_long_texts_are_sorted_by_their_heads_then_by_the_next_key(
        self, store: Backend
    ) -> None:
        """Texts that begin alike for 1,000 code points are on a level; as keys they are whole."""
        texts = ("b", *(f"{'x' * 1_500}{each}" for each in "cab"), "x" * 1_200, "y", None)
        rows = [
            everything(text=text, label=f"{at}", number=at)
            for text, count in zip(texts, (3, 1, 4, 2, 5, 1, 2), strict=True)
            for at in range(count)
        ]
        await add(store, EVERYTHING, *rows)
        op = Aggregate(EVERYTHING, (Count(),), group=("text",), names=("n",), take=4)
        orders = [(), (Order("text"),), (Order("text", descending=True), Order("n")), (Order("n"),)]
        measures = (Max("text"), Min("text"), Count())
        other = Aggregate(EVERYTHING, measures, group=("label",), names=("x", "y", "n"), take=3)
        await _holds(store, *(replace(op, order=each) for each in orders))
        await _holds(
            store,
            *(
                replace(other, order=(Order(name, down), Order("n", not down)))
                for name in ("x", "y")
                for down in (False, True)
            ),
        )
        await _holds(store, replace(op, having=F.text > f"{'x' * 1_500}a", order=(Order("n"),)))

    async def test_what_is_never_none_is_sorted_and_compared_as_what_may_be(
        self, store: Backend
    ) -> None:
        """Buckets and keys of fields that are never None, and counts, with a place for None."""
        first = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)
        moments = [first + timedelta(hours=at * at) for at in range(9)]
        rows: list[Document] = [
            {"id": identity(at), "version": 1, "at": moment, "day": moment.date()}
            for at, moment in enumerate(moments)
        ]
        await add(store, EVENTS, *rows)
        for key in (Bucket("at", "day", "Europe/Berlin"), Bucket("day", "week"), "day", "at"):
            name = key if isinstance(key, str) else key.field
            op = Aggregate(EVENTS, (Count(), Count("day")), group=(key,), names=("n", "m"), take=3)
            orders = [
                Order(each, down, nulls)
                for each in (name, "n", "m")
                for down in (False, True)
                for nulls in (None, "first", "last")
            ]
            havings = [F.n != 0, F.n != 1, F.m.not_in([1, 3]), F.n.is_null(), F.m.in_([2, None])]
            await _holds(store, *(replace(op, order=(each,)) for each in orders))
            await _holds(store, *(replace(op, having=each) for each in havings))

    @proves("A11")
    async def test_buckets_are_sorted_by_their_beginning(self, store: Backend) -> None:
        """The first and the last days, weeks and hours, also beside measures that number rows."""
        rows = every_row(60)
        moments = sorted(cast(datetime, row["moment"]) for row in rows if row["moment"] is not None)
        await add(store, EVERYTHING, *rows)
        between = (F.moment >= moments[len(moments) // 3]) & (F.moment <= moments[-3])
        for unit in ("minute", "hour", "day", "week", "month", "year"):
            of_date = (Bucket("day", unit),) if unit not in {"minute", "hour"} else ()
            for key in (Bucket("moment", unit, "Europe/Berlin"), *of_date):
                op = Aggregate(
                    *(EVERYTHING, (Count(), Last("label", by="number")), between, (key,)),
                    names=("n", "last"),
                    take=4,
                )
                orders = [
                    (Order(key.field, down, nulls),)
                    for down in (False, True)
                    for nulls in (None, "first", "last")
                ]
                await _holds(store, op, *(replace(op, order=each) for each in orders))

    async def test_rows_without_meaning_are_refused(self, store: Backend) -> None:
        """What is no column, values of another type, names that are not enough: before any I/O."""
        op = Aggregate(READINGS, (Count(), Min("day")), group=("place",), names=("n", "first"))
        wrong: tuple[tuple[Aggregate, type[InvalidRequestError]], ...] = (
            (replace(op, having=F.m > 1), UnknownFieldError),
            (replace(op, order=(Order("steps"),)), UnknownFieldError),
            (replace(op, order=(Order("n"), Order("n"))), InvalidRequestError),
            (replace(op, having=F.first > 1), InvalidRequestError),
            (replace(op, names=("n",)), InvalidRequestError),
            (replace(op, take=0), InvalidRequestError),
            (replace(op, take=11, limit=10), InvalidRequestError),
        )
        for each, kind in wrong:
            with pytest.raises(kind) as error:
                await store.execute(each)
            assert error.value.entity == "Reading"
            assert error.value.hint
        await store.execute(Ensure((READINGS,)))
        assert await store.execute(op) == ()

"""Options of aggregates: which groups are rows, in which order, how many, and of which class."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from healthstore.abc import Backend
from healthstore.entity import Digits, Entity, MaxLength
from healthstore.errors import InvalidRequestError, RefusedValueError, UnknownFieldError
from healthstore.model.measures import (
    Avg,
    Bucket,
    Count,
    CountDistinct,
    Last,
    Max,
    Measure,
    Percentile,
    Sum,
)
from healthstore.model.ops import Ensure
from healthstore.model.query import F, Filter, Order, asc, desc
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, laws
from healthstore.testing.contract._samples import add_entities

__all__ = ("TestGroupOptions",)

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)


class _Code(StrEnum):
    """What is logged."""

    READ = "read"
    WRITE = "write"


class _Log(Entity, collection="contract_logs"):
    endpoint: Annotated[str, MaxLength(20)] | None = None
    code: _Code = _Code.READ
    at: datetime
    ms: int | None = None
    cost: Annotated[Decimal, Digits(12, 2)] | None = None


class _Paid(Entity, collection="contract_paid"):
    by: Annotated[str, MaxLength(5)]
    sum: Annotated[Decimal, Digits(4, 2)]
    most: Annotated[Decimal, Digits(28, 10)] = Decimal(10**18) - Decimal("1e-10")


class _Missing(Entity, collection="contract_missing"):
    name: str
    size: int = 0


class _Model(BaseModel):
    code: _Code
    n: int
    mean: float | None = None


@dataclass(frozen=True)
class _Data:
    endpoint: str | None
    n: int


class _Tuple(NamedTuple):
    n: int


LOGS = [
    _Log(
        endpoint=(None, "a", "b", "B", "ä", "")[at * 7 % 6],
        code=(_Code.READ, _Code.WRITE)[at // 3 % 2],
        at=NOON + timedelta(hours=5 * at),
        ms=None if at % 5 == 4 else at * 37 % 11,
        cost=None if at % 4 == 3 else Decimal(at * 13 % 7).scaleb(-2),
    )
    for at in range(40)
]
MEASURES = {
    "n": Count(),
    "values": Count("ms"),
    "different": CountDistinct("cost"),
    "total": Sum("ms"),
    "spent": Sum("cost"),
    "mean": Avg("cost"),
    "rate": Avg("ms"),
    "most": Max("cost"),
    "median": Percentile("ms", 0.5),
    "last": Last("ms", by="at"),
}
DAY = Bucket("at", "day", tz="Europe/Berlin", name="day")
GROUPS: tuple[tuple[str | Bucket, ...], ...] = (
    ("endpoint",),
    ("code", "endpoint"),
    (DAY,),
    (DAY, "code"),
    (),
)
HAVING: tuple[tuple[Filter, Callable[[dict[str, Any]], bool]], ...] = (
    (F.n > 3, lambda row: row["n"] > 3),
    (F.median == None, lambda row: row["median"] is None),  # noqa: E711 - as a filter it is written so
    (F.last != 3, lambda row: row["last"] != 3),
    (F.mean >= Decimal("0.03"), lambda row: row["mean"] is not None and row["mean"] >= 0.03),
    (F.rate < 5, lambda row: row["rate"] is not None and row["rate"] < 5),
    (F.total <= F.n, lambda row: row["total"] <= row["n"]),
    (
        ~(F.spent > 0) | F.different.in_([2, 3]),
        lambda row: row["spent"] <= 0 or row["different"] in {2, 3},
    ),
)
_NAMES = ("n", "values", "different", "total", "spent", "mean", "rate", "most", "median", "last")


async def _logs(store: Backend) -> Repository[_Log]:
    logs = Repository(_Log, store)
    await store.execute(Ensure((logs.collection,)))
    if not await logs.count():
        await add_entities(logs, store, LOGS)
    return logs


def _measures(names: Sequence[str]) -> Any:
    return {name: MEASURES[name] for name in names}


def _sorted(rows: list[dict[str, Any]], order: Sequence[Order]) -> list[dict[str, Any]]:
    """Return the rows in an order as Python sorts them, which come in order of the key."""
    for each in reversed(order):
        first = each.nulls_first is not each.descending
        null = (0,) if first else (2,)

        def rank(row: dict[str, Any], name: str = each.field, null: Any = null) -> Any:
            return null if row[name] is None else (1, row[name])

        rows = sorted(rows, key=rank, reverse=each.descending)
    return rows


class TestGroupOptions(Contract):
    """What is asked of an aggregate is what Python makes of the list of all its groups."""

    @laws
    @given(
        st.sampled_from(GROUPS),
        st.sampled_from(HAVING),
        st.lists(
            st.builds(
                Order,
                st.sampled_from(_NAMES),
                st.booleans(),
                st.sampled_from([None, "first", "last"]),
            ),
            max_size=2,
            unique_by=lambda each: each.field,
        ),
        st.integers(1, 12) | st.none(),
    )
    async def test_options_are_what_python_makes_of_all_groups(
        self,
        store: Backend,
        group: tuple[str | Bucket, ...],
        having: tuple[Filter, Callable[[dict[str, Any]], bool]],
        order: list[Order],
        limit: int | None,
    ) -> None:
        """Filtered, sorted with the key as the last one, cut: for each measure, bucket and null."""
        logs = await _logs(store)
        everything = await logs.aggregate(group=group, **_measures(_NAMES))
        where, holds = having
        rows = await logs.aggregate(
            group=group, having=where, order=order, limit=limit, **_measures(_NAMES)
        )
        expected = _sorted([row for row in everything if holds(row)], order)[:limit]
        assert rows == expected
        assert [[*map(type, row.values())] for row in rows] == [
            [*map(type, row.values())] for row in expected
        ]

    async def test_keys_are_filtered_and_sorted_as_measures_are(self, store: Backend) -> None:
        """A bucket by an instant of any zone, an enum by its member, None where the order says."""
        logs = await _logs(store)
        days = await logs.aggregate(group=[DAY], n=Count())
        some = days[2]["day"]
        assert isinstance(some, datetime)
        found = await logs.aggregate(group=[DAY], n=Count(), having=F.day >= some.astimezone(UTC))
        assert found == days[2:]
        backwards = await logs.aggregate(group=[DAY], n=Count(), order=["-day"], limit=2)
        assert backwards == days[:-3:-1]
        codes = await logs.aggregate(group=["code"], n=Count(), having=F.code == _Code.WRITE)
        assert [row["code"] for row in codes] == ["write"]
        last = await logs.aggregate(
            group=["endpoint"], n=Count(), order=[asc("endpoint", nulls="last")]
        )
        assert [row["endpoint"] for row in last] == ["", "B", "a", "b", "ä", None]
        top = await logs.aggregate(group=["endpoint"], n=Count(), order=[desc("n")], limit=1)
        assert top == [max(last, key=lambda row: (row["n"], row["endpoint"] is None))]

    async def test_a_decimal_of_a_row_is_compared_as_large_as_it_may_be(
        self, store: Backend
    ) -> None:
        """A sum beyond the digits of its field, a mean with six more places: each by its own value."""
        paid = Repository(_Paid, store)
        await store.execute(Ensure((paid.collection,)))
        sums = {
            "a": ("99.99", "99.99", "99.98"),
            "b": ("99.99",),
            "c": ("0.01", "0.02"),
            "d": ("0",),
        }
        await add_entities(
            paid,
            store,
            [_Paid(by=by, sum=Decimal(each)) for by, several in sums.items() for each in several],
        )
        measures: Any = {"all": Sum("sum"), "mean": Avg("sum"), "most": Sum("most")}
        rows: list[dict[str, Any]] = await paid.aggregate(group=["by"], **measures)
        for name in ("all", "mean", "most"):
            for bound in [row[name] for row in rows]:
                column = getattr(F, name)
                for where, holds in (
                    (column >= bound, [row for row in rows if row[name] >= bound]),
                    (column == bound, [row for row in rows if row[name] == bound]),
                    (column.in_([bound]), [row for row in rows if row[name] == bound]),
                    (~(column < bound), [row for row in rows if row[name] >= bound]),
                ):
                    assert await paid.aggregate(group=["by"], having=where, **measures) == holds
        assert await paid.aggregate(n=Count(), mean=Avg("sum"), having=F.mean > 100) == []
        for wrong in (F.all > Decimal("0.001"), F.mean > Decimal("0.000000001")):
            with pytest.raises(RefusedValueError, match="does not fit"):
                await paid.aggregate(having=wrong, **measures)

    async def test_rows_of_groups_are_of_the_class_that_is_named(self, store: Backend) -> None:
        """A model makes members of texts; a dataclass and a NamedTuple take what there is."""
        logs = await _logs(store)
        plain = await logs.aggregate(group=["code"], n=Count(), mean=Avg("ms"))
        models = await logs.aggregate(group=["code"], n=Count(), mean=Avg("ms"), into=_Model)
        assert models == [_Model.model_validate(row) for row in plain]
        assert [each.code for each in models] == [_Code.READ, _Code.WRITE]
        data = await logs.aggregate(
            group=["endpoint"], n=Count(), order=["-n"], limit=2, into=_Data
        )
        assert len(data) == 2
        assert isinstance(data[0], _Data)
        assert await logs.aggregate(n=Count(), into=_Tuple) == [_Tuple(len(LOGS))]

    async def test_options_without_meaning_are_refused(self, store: Backend) -> None:
        """Names that a row has not, values of another type, measures named as options: before any I/O."""
        missing = Repository(_Missing, store)  # its collection is not there: who asked would say so
        ask = cast("Callable[..., Coroutine[Any, Any, Any]]", missing.aggregate)
        wrong: tuple[tuple[dict[str, Any], type[InvalidRequestError], str], ...] = (
            ({"group": [5]}, InvalidRequestError, "of the type int"),
            ({"group": [Bucket(cast(str, 5), "day")]}, InvalidRequestError, "of the type int"),
            ({"group": {"name"}}, InvalidRequestError, "is a set, and no list"),
            ({"order": {"n": -1}}, InvalidRequestError, "is a dict, and no list"),
            ({"having": F.m > 1}, UnknownFieldError, "no field 'm'"),
            ({"having": F.size > 1}, UnknownFieldError, "no field 'size'"),
            ({"having": F.n > "a"}, RefusedValueError, "expects int"),
            ({"having": "n > 1"}, InvalidRequestError, "a filter is"),
            ({"order": ["m"]}, UnknownFieldError, "no field 'm'"),
            ({"order": ["n", "-n"]}, InvalidRequestError, "named twice"),
            ({"limit": 0}, InvalidRequestError, "from 1 to 10000"),
            ({"limit": True}, InvalidRequestError, "from 1 to 10000"),
            ({"into": dict}, InvalidRequestError, "cannot be made into dict"),
            ({"into": _Data}, InvalidRequestError, "_Data needs 'endpoint'"),
            *(
                ({name: Count()}, InvalidRequestError, "the name of an option")
                for name in ("having", "order", "limit", "into", "unwind", "group")
            ),
        )
        for options, kind, message in wrong:
            with pytest.raises(kind, match=message) as error:
                await ask(**{"n": Count(), **options})
            assert error.value.hint, message
            assert error.value.entity == ("_Missing" if "no list" not in message else None)
        with pytest.raises(InvalidRequestError, match="the order is no list"):
            await ask(n=Count(), order="n")
        measure: object = Measure
        with pytest.raises(InvalidRequestError, match="is no measure"):
            await ask(n=measure)

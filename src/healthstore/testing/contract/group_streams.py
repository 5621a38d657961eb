"""Streams of groups: all of them in order of their keys, page by page, however many they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, TypeVar, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import Backend, Capabilities, Executor
from healthstore.entity import Digits, Entity, MaxLength
from healthstore.errors import InvalidRequestError, UnknownFieldError
from healthstore.model.ops import Avg, Bucket, Count, Ensure, Max, Op, Sum
from healthstore.model.query import ALL, F, Filter
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, laws, proves
from healthstore.testing.contract._samples import add_entities

__all__ = ("TestGroupStreams",)

R = TypeVar("R")


class _Seen(Entity, collection="contract_seen"):
    place: Annotated[str, MaxLength(20)] | None = None
    number: int | None = None
    price: Annotated[Decimal, Digits(12, 2)] | None = None
    rate: float = 0.0
    flag: bool | None = None
    day: date | None = None
    at: datetime | None = None
    by: UUID | None = None
    note: str | None = None


class _Row(NamedTuple):
    place: str | None
    n: int


class _Counting:
    """An executor that counts the requests that pass."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self.asked = 0

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    def execute(self, op: Op[R]) -> Coroutine[Any, Any, R]:
        self.asked += 1
        return self._inner.execute(op)


# Clocks went back over midnight in St. John's, and by half an hour on Lord Howe.
SHIFTS = (
    datetime(2010, 11, 7, 2, 31, tzinfo=UTC),
    datetime(2011, 4, 2, 15, tzinfo=UTC),
    datetime(2026, 3, 29, 1, tzinfo=UTC),
)
LONG = "x" * 1_500
ROWS = [
    _Seen(
        place=(None, "a", "B", "", "ä", "b", "a ")[at * 5 % 7],
        number=None if at % 6 == 5 else (at * 11 % 13 - 6) * 10 ** (at % 4 * 5),
        price=None if at % 5 == 4 else Decimal(at * 13 % 9 - 4).scaleb(-2),
        rate=at * 7 % 11 / 8,
        flag=(None, True, False)[at % 3],
        day=None if at % 7 == 6 else date(2026, 2, 20) + timedelta(days=at * 9 % 25),
        at=None if at % 8 == 7 else SHIFTS[at % 3] + timedelta(minutes=25 * (at - 24)),
        by=None if at % 4 == 3 else UUID(int=at * 37 % 5 << 120 | at % 2),
        note=(None, "", "x", f"{LONG}b", f"{LONG}a", LONG, f"{LONG}ab", "y")[at * 3 % 8],
    )
    for at in range(48)
]
ST_JOHNS, LORD_HOWE = "America/St_Johns", "Australia/Lord_Howe"
GROUPS: tuple[tuple[str | Bucket, ...], ...] = (
    *((name,) for name in ("place", "number", "price", "rate", "flag", "day", "at", "by", "note")),
    *(("place", "flag"), ("flag", "number", "place"), ("note", "flag"), ("flag", "note")),
    *((Bucket("at", unit, ST_JOHNS),) for unit in ("minute", "hour", "day", "week", "month")),
    *((Bucket("at", unit, LORD_HOWE),) for unit in ("hour", "day")),
    (Bucket("at", "day", "Europe/Berlin"), "place"),
    ("flag", Bucket("at", "hour", LORD_HOWE, name="hour"), Bucket("day", "week", week_start=6)),
    *((Bucket("day", unit), "flag") for unit in ("day", "month")),
    (),
)
HAVING: tuple[Filter, ...] = (
    ALL,
    F.n > 1,
    F.mean > 0.5,
    (F.total != 0) & (F.n >= 1),
    (F.most.is_null()) | (F.mean < 1) & (F.n == 2),
    F.n > 1_000,
)
MEASURES: Any = {"n": Count(), "total": Sum("number"), "mean": Avg("rate"), "most": Max("price")}


async def _seen(store: Backend) -> Repository[_Seen]:
    seen = Repository(_Seen, store)
    await store.execute(Ensure((seen.collection,)))
    if not await seen.count():
        await add_entities(seen, store, ROWS)
    return seen


class TestGroupStreams(Contract):
    """A stream of groups is the list of them all, whatever the size of its pages."""

    @proves("C3", "C7", "A11", "A13")
    @laws
    @given(st.sampled_from(GROUPS), st.sampled_from(HAVING), st.integers(1, 9))
    async def test_pages_of_any_size_are_the_list_of_all_groups(
        self, store: Backend, group: Sequence[str | Bucket], having: Filter, size: int
    ) -> None:
        """Of keys and buckets with None, filtered by what a database sorts and by what it does not."""
        seen = await _seen(store)
        whole = await seen.aggregate(group=group, having=having, **MEASURES)
        rows = seen.aggregate_stream(group=group, having=having, page_size=size, **MEASURES)
        found = [row async for row in rows]
        assert found == whole
        assert [[*map(type, row.values())] for row in found] == [
            [*map(type, row.values())] for row in whole
        ]

    async def test_each_page_is_one_request(self, store: Backend) -> None:
        """With a bucket of instants one comes before; a filter of the documents stays one."""
        await _seen(store)
        counting = _Counting(store)
        seen = Repository(_Seen, counting)
        rows = [row async for row in seen.aggregate_stream(group=["place"], page_size=3, n=Count())]
        assert (len(rows), counting.asked) == (7, 3)
        counting.asked = 0
        day = Bucket("at", "day", "Europe/Berlin")
        stream = seen.aggregate_stream(F.flag == True, group=[day], page_size=2, n=Count())  # noqa: E712 - as a filter it is written so
        rows = [row async for row in stream]
        assert counting.asked == 1 + len(rows) // 2 + 1
        assert rows == await seen.aggregate(F.flag == True, group=[day], n=Count())  # noqa: E712 - as above

    async def test_no_number_of_groups_is_too_many(self, store: Backend) -> None:
        """More groups than an aggregate returns: the first ones by a count, and all in a stream."""
        seen = Repository(_Seen, store)
        await store.execute(Ensure((seen.collection,)))
        many = [_Seen(number=at, rate=float(at % 7)) for at in range(10_010)]
        twice = [_Seen(number=at * 1_000, rate=1.0) for at in range(10)]
        await add_entities(seen, store, [*many, *twice])
        with pytest.raises(InvalidRequestError, match="more than 10000 groups"):
            await seen.aggregate(group=["number"], n=Count())
        top = await seen.aggregate(group=["number"], order=["-n"], limit=3, n=Count())
        assert top == [{"number": at, "n": 2} for at in (0, 1_000, 2_000)]
        found = await seen.aggregate(group=["number"], having=F.n > 1, n=Count(), mean=Avg("rate"))
        assert [row["number"] for row in found] == [at * 1_000 for at in range(10)]
        stream = seen.aggregate_stream(group=["number"], n=Count(), mean=Avg("rate"))
        rows = [row async for row in stream]
        assert [row["number"] for row in rows] == [*range(10_010)]
        assert sum(cast(int, row["n"]) for row in rows) == 10_020

    async def test_who_has_enough_stops(self, store: Backend) -> None:
        """What is closed early asks for no further page, and the next request is served."""
        await _seen(store)
        counting = _Counting(store)
        seen = Repository(_Seen, counting)
        stream = seen.aggregate_stream(group=["number"], page_size=2, into=_Number, n=Count())
        async with aclosing(cast("AsyncGenerator[_Number]", stream)) as rows:
            first = [await anext(rows) for _ in range(3)]
        assert first == [_Number(row["number"], row["n"]) for row in (await _of(seen))[:3]]
        assert counting.asked == 2 + 1

    async def test_streams_without_meaning_are_refused(self, store: Backend) -> None:
        """An order, a limit, and what no aggregate takes, before any I/O."""
        missing = Repository(_Seen, store)  # its collection is not there: who asked would say so
        ask = cast("Callable[..., AsyncGenerator[Any]]", missing.aggregate_stream)
        berlin = Bucket("at", "day", "Europe/Berlin")
        wrong: tuple[tuple[dict[str, Any], type[InvalidRequestError], str], ...] = (
            ({"order": ["-n"]}, InvalidRequestError, "takes no order"),
            ({"limit": 10}, InvalidRequestError, "takes no limit"),
            ({"page_size": 0}, InvalidRequestError, "from 1 to 10000"),
            ({"page_size": True}, InvalidRequestError, "from 1 to 10000"),
            ({"group": ["at", berlin]}, InvalidRequestError, "named twice"),
            ({"group": [Bucket("at", "day", "Europe/Bern")]}, InvalidRequestError, "time zone"),
            ({"group": ["plce"]}, UnknownFieldError, "no field"),
            ({"group": [berlin], "having": F.m > 1}, UnknownFieldError, "no field"),
            ({"group": [berlin], "most": Max("flag")}, InvalidRequestError, "no meaning"),
            ({"group": [berlin], "into": _Row}, InvalidRequestError, "_Row has no field 'at'"),
            ({"page_size": Count()}, InvalidRequestError, "the page size|name of an option"),
        )
        for options, kind, message in wrong:
            with pytest.raises(kind, match=message) as error:
                await anext(ask(**{"n": Count(), **options}))
            assert error.value.hint, message
            assert error.value.entity == "_Seen"


class _Number(NamedTuple):
    number: int | None
    n: int


async def _of(seen: Repository[_Seen]) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", await seen.aggregate(group=["number"], n=Count()))

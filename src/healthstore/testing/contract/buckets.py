"""Buckets of time: each database groups instants and dates as Python and its zones do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import pairwise, product
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import Backend
from healthstore.errors import InvalidRequestError, RefusedValueError, UnknownFieldError
from healthstore.model.evaluate import aggregate, finish_aggregate, matches, plan_aggregate
from healthstore.model.ops import (
    Aggregate,
    Avg,
    Bucket,
    Count,
    CountDistinct,
    CountDocuments,
    Ensure,
    Group,
    Max,
    Min,
    Sum,
)
from healthstore.model.query import ALL, F, Filter
from healthstore.model.values import Document, Value
from healthstore.model.zones import Unit, offsets
from healthstore.series import fill
from healthstore.testing.contract._promises import Contract, laws, proves
from healthstore.testing.contract._samples import (
    EVERYTHING,
    READINGS,
    add,
    everything,
    identity,
    reading,
    typed,
)
from healthstore.testing.strategies import filters

__all__ = ("TestBuckets",)

BERLIN = ZoneInfo("Europe/Berlin")
# Clocks that change at midnight, by half an hour, by a day, at odd seconds, and never.
ZONES = (
    *("Europe/Berlin", "America/St_Johns", "America/Havana", "America/Sao_Paulo"),
    *("Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Chatham", "Pacific/Apia"),
    *("Africa/Monrovia", "Europe/Amsterdam", "Africa/Casablanca", "UTC"),
)
DAYS = tuple(unit for unit in Unit if unit not in {Unit.MINUTE, Unit.HOUR})
TICK = timedelta(microseconds=1)
# From here to there Python knows the local time in each zone.
FAR = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC))


def _cut(instant: datetime, unit: Unit, zone: ZoneInfo, week_start: int = 0) -> datetime:
    """Return where a bucket begins, by nothing but ``zoneinfo``."""
    local = instant.astimezone(zone)
    if unit in {Unit.MINUTE, Unit.HOUR}:
        minute = local.minute if unit is Unit.MINUTE else 0
        begun = local.replace(minute=minute, second=0, microsecond=0, tzinfo=UTC)
        return begun - cast(timedelta, local.utcoffset())
    begin = datetime.combine(_cut_day(local.date(), unit, week_start), time(), zone)
    return begin.replace(tzinfo=timezone(cast(timedelta, begin.utcoffset())))


def _cut_day(day: date, unit: Unit, week_start: int = 0) -> date:
    """Return the first day of the bucket of a day."""
    if unit is Unit.WEEK:
        return day - timedelta((day.weekday() - week_start) % 7)
    month = {Unit.QUARTER: day.month - (day.month - 1) % 3, Unit.YEAR: 1}.get(unit, day.month)
    return day if unit is Unit.DAY else date(day.year, month, 1)


def _around_changes(first: int, last: int) -> Iterator[datetime]:
    """Yield instants within a microsecond of what changes the clocks of the zones."""
    for name in ZONES:
        begin, end = datetime(first, 1, 1, tzinfo=UTC), datetime(last, 1, 1, tzinfo=UTC)
        changes = [at for at, _ in offsets(begin, end, ZoneInfo(name))][1:]
        for at in changes[:: max(1, len(changes) // 12)]:
            yield from (at - TICK, at, at + timedelta(minutes=59, seconds=59, microseconds=999_999))


NEAR = sorted(set(_around_changes(1900, 2100)))
HOSTILE = (
    *FAR,
    datetime(1, 1, 8, 0, 0, 0, 1, tzinfo=UTC),
    datetime(1582, 10, 4, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1899, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2101, 1, 1, tzinfo=UTC),
    datetime(2255, 6, 5, 23, 47, 34, 740_993, tzinfo=UTC),
    datetime(2400, 2, 29, 23, 30, tzinfo=UTC),
    datetime(9999, 7, 1, 22, 30, tzinfo=UTC),
)


def _taken(instants: Iterable[datetime | None]) -> list[Document]:
    return [reading(id=identity(at), taken=each) for at, each in enumerate(instants)]


async def _counts(store: Backend, bucket: Bucket, where: Filter = ALL) -> dict[object, int]:
    rows = await store.execute(Aggregate(READINGS, (Count(),), where, (bucket,)))
    found = {row.key[0]: cast(int, row.values[0]) for row in rows}
    assert len(found) == len(rows)
    return cast("dict[object, int]", found)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


_NEARLY = ((F.taken >= NEAR[0]) & (F.taken <= NEAR[-1])) | F.taken.is_null()


def _size(begin: datetime, instants: Sequence[datetime], bucket: Bucket) -> int:
    """Return how many instants are in the bucket that begins then."""
    unit, zone = Unit(bucket.unit), ZoneInfo(str(bucket.tz))
    return sum(_cut(at, unit, zone, bucket.week_start) == begin for at in instants)


# --- what chance draws from ----------------------------------------------------------------------

_CHANCES = (
    *("2026-03-29T00:59:59.999999+00:00", "2026-03-29T01:00+00:00", "2026-10-25T00:30+00:00"),
    *("2026-10-25T01:30+00:00", "1969-12-31T23:59:59.999999+00:00", "1970-01-01T00:00+00:00"),
    *("2011-12-30T09:59:59+00:00", "2011-12-30T10:00+00:00", "1893-03-31T23:00+00:00"),
    *("2024-02-29T12:00+00:00", "2027-01-01T00:00+00:00", "2026-06-30T22:00:00.000001+00:00"),
)
ROWS = [
    reading(
        id=identity(at),
        place=(None, "a", "b")[at % 3],
        taken=None if at % 7 == 6 else _instant(_CHANCES[at % 12]) + timedelta(hours=at % 5),
        day=None if at % 5 == 4 else date(2024 + at % 3, 1 + at % 12, 1 + at * 5 % 28),
        steps=at % 4,
    )
    for at in range(60)
]
_STARTS = st.integers(0, 6)
_KEYS = st.lists(
    st.one_of(
        st.sampled_from(["place", "steps"]),
        st.builds(
            lambda unit, zone, start: Bucket("taken", unit, zone, week_start=start),
            st.sampled_from(Unit),
            st.sampled_from(ZONES),
            _STARTS,
        ),
        st.builds(
            lambda unit, start: Bucket("day", unit, week_start=start),
            st.sampled_from(DAYS),
            _STARTS,
        ),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda key: key.field if isinstance(key, Bucket) else key,
).map(tuple)
_MEASURES = (Count(), Count("taken"), CountDistinct("steps"), Sum("steps"), Min("taken"))


class TestBuckets(Contract):
    """A bucket is the local calendar's, by the zones of this process."""

    @proves("A11")
    @laws
    @given(_KEYS, filters(READINGS, ROWS))
    async def test_the_buckets_of_a_database_are_those_of_python(
        self, store: Backend, group: tuple[str | Bucket, ...], where: Filter
    ) -> None:
        """Any units in any zones, of any documents, alone or beside others, are the evaluator's."""
        await store.execute(Ensure((READINGS,)))
        if not await store.execute(CountDocuments(READINGS)):
            await add(store, READINGS, *ROWS)
        op = Aggregate(READINGS, _MEASURES, where, group)
        wanted = finish_aggregate(op, aggregate(plan_aggregate(op), filter(matches(where), ROWS)))
        got = await store.execute(op)
        assert [typed((row.key, row.values)) for row in got] == [
            typed((row.key, row.values)) for row in wanted
        ]

    @proves("A11")
    async def test_buckets_equal_python_in_12_zones(self, store: Backend) -> None:
        """At every kind of change of clocks, each unit begins where ``zoneinfo`` says."""
        await add(store, READINGS, *_taken(NEAR))
        for name, unit in product(ZONES, Unit):
            wanted = Counter(_cut(each, unit, ZoneInfo(name)) for each in NEAR)
            assert await _counts(store, Bucket("taken", unit, name)) == wanted, (name, unit)

    async def test_buckets_of_years_that_nobody_expects(self, store: Backend) -> None:
        """What lies before 1900 and after 2100, as far as time goes, is in its bucket, too."""
        await add(store, READINGS, *_taken((*HOSTILE, NEAR[0], NEAR[-1], None)))
        for name, unit in product(ZONES[::3], Unit):
            zone = ZoneInfo(name)
            wanted: Counter[object] = Counter([None])
            wanted.update(_cut(each, unit, zone) for each in (*HOSTILE, NEAR[0], NEAR[-1]))
            assert await _counts(store, Bucket("taken", unit, name)) == wanted, (name, unit)

    async def test_a_filter_says_which_years_there_are(self, store: Backend) -> None:
        """Bounds of all kinds, of one side or both, in parts and beside others, lose no bucket."""
        await add(store, READINGS, *_taken((*HOSTILE, *NEAR[::40], None)))
        bounds = (HOSTILE[3], NEAR[0], NEAR[-1], HOSTILE[6])
        day = Bucket("taken", "day", "Europe/Berlin")
        known = [*HOSTILE, *NEAR[::40]]
        for low, high in product(bounds, bounds):
            inside = (F.taken >= low) & (F.taken < high)
            either = (F.taken == low) | (F.taken > high)
            for where in (inside, either, F.taken <= high, F.taken > low, ~inside):
                holds = matches(where)
                chosen = [at for at in (*known, None) if holds({**reading(), "taken": at})]
                wanted = Counter(at and _cut(at, Unit.DAY, BERLIN) for at in chosen)
                assert await _counts(store, day, where) == wanted

    async def test_the_first_week_of_time(self, store: Backend) -> None:
        """A week that begins before the year 1 is refused, and the next one is there."""
        monday = datetime(1, 1, 8, 12, tzinfo=UTC)
        await add(store, READINGS, *_taken([FAR[0], monday, NEAR[0]]))
        for zone in ("Europe/Berlin", "UTC"):
            with pytest.raises(RefusedValueError) as error:
                await _counts(store, Bucket("taken", "week", zone, week_start=6))
            assert (error.value.entity, error.value.field) == ("Reading", "taken")
            assert (error.value.backend, bool(error.value.hint)) == (store.name, True)
            for start, where in ((0, ALL), (6, F.taken > FAR[0])):
                bucket = Bucket("taken", "week", zone, week_start=start)
                chosen = [FAR[0], monday, NEAR[0]][1 if start else 0 :]
                wanted = {_cut(at, Unit.WEEK, ZoneInfo(zone), start) for at in chosen}
                assert set(await _counts(store, bucket, where)) == wanted

    async def test_hour_buckets_keep_both(self, store: Backend) -> None:
        """The hour that clocks repeat is two buckets, told apart by their offsets."""
        hours = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]
        await add(store, READINGS, *_taken(hours))
        op = Aggregate(READINGS, (Count(),), group=(Bucket("taken", "hour", "Europe/Berlin"),))
        rows = await store.execute(op)
        assert [str(row.key[0]) for row in rows] == [
            "2026-10-25 02:00:00+02:00",
            "2026-10-25 02:00:00+01:00",
        ]

    @proves("A11")
    async def test_groups_are_held_against_where_buckets_begin(self, store: Backend) -> None:
        """Where one begins, a tick beside it, in a list, or by null: as Python holds the rows."""
        near = NEAR[:: len(NEAR) // 20]
        await add(store, READINGS, *_taken((*near, None)))
        units = (Unit.HOUR, Unit.DAY, Unit.WEEK, Unit.QUARTER)
        for name, unit in zip((*ZONES[:8:2], *ZONES[7:11]), (*units, *units), strict=True):
            bucket = Bucket("taken", unit, name, week_start=2, name="begin")
            asked = Aggregate(
                READINGS, (Count(),), _NEARLY, (bucket,), names=("n",), having=F.begin.not_null()
            )
            begun = [cast(datetime, row.key[0]) for row in await store.execute(asked)]
            nothing: Document = {"begin": None, "n": 1}
            sizes: list[Document] = [
                {"begin": each, "n": _size(each, near, bucket)} for each in begun
            ]
            every = [nothing, *sizes]
            assert begun == sorted({_cut(at, unit, ZoneInfo(name), 2) for at in near})
            middle = begun[len(begun) // 2]
            for at in (middle - TICK, middle.astimezone(UTC), middle + TICK):
                for having in (
                    *(F.begin == at, F.begin != at, F.begin < at, F.begin <= at),
                    *(F.begin > at, F.begin >= at, F.begin.in_([at, middle, None])),
                    *(~F.begin.in_([at, begun[0]]), (F.begin < at) | (F.n > 1)),
                ):
                    rows = await store.execute(replace(asked, having=having))
                    wanted = [*filter(matches(having), every)]
                    found = [{"begin": row.key[0], "n": row.values[0]} for row in rows]
                    assert found == wanted, (name, unit, str(having))
        of_date = Bucket("day", "week", name="begin")
        some = date(2024, 2, 5)
        await add(store, READINGS, *(reading(day=some + timedelta(at)) for at in range(-9, 9)))
        for of_days, first in (
            (Unit.DAY, some),
            (Unit.WEEK, some),
            (Unit.MONTH, some.replace(day=1)),
        ):
            cut = replace(of_date, unit=of_days)
            asked = Aggregate(READINGS, (Count(),), F.day.not_null(), (cut,), names=("n",))
            days = [cast(date, row.key[0]) for row in await store.execute(asked)]
            rows = await store.execute(replace(asked, having=F.begin >= first))
            assert [row.key[0] for row in rows] == [each for each in days if each >= first]

    @proves("A11")
    async def test_days_have_23_and_25_hours(self, store: Backend) -> None:
        """A local day is as long as its clocks make it."""
        begin = datetime(2026, 1, 1, tzinfo=UTC)
        await add(store, READINGS, *_taken(begin + timedelta(hours=at) for at in range(365 * 24)))
        found = await _counts(
            store, Bucket("taken", "day", "Europe/Berlin"), F.taken < begin + timedelta(days=364)
        )
        lengths = Counter(list(found.values())[1:-1])
        assert lengths == {23: 1, 24: 361, 25: 1}

    async def test_quarter_across_dst(self, store: Backend) -> None:
        """A quarter begins by the offset of its first day, not of the instant in it."""
        await add(store, READINGS, *_taken([_instant("2026-03-31T23:30+02:00")]))
        op = Aggregate(READINGS, (Count(),), group=(Bucket("taken", "quarter", "Europe/Berlin"),))
        (row,) = await store.execute(op)
        assert str(row.key[0]) == "2026-01-01 00:00:00+01:00"

    async def test_bucket_before_1970(self, store: Backend) -> None:
        """Instants before 1970 are cut towards the past, as others are."""
        at = _instant("1969-12-30T23:59:59.999999+00:00")
        await add(store, READINGS, *_taken([at]))
        for unit in Unit:
            assert await _counts(store, Bucket("taken", unit, "UTC")) == {
                _cut(at, unit, ZoneInfo("UTC")): 1
            }

    @proves("A11")
    async def test_week_of_a_sunday(self, store: Backend) -> None:
        """A Sunday is the last day of its week, unless weeks begin on another day."""
        sunday = datetime(2026, 11, 29, 12, tzinfo=UTC)
        await add(store, READINGS, reading(taken=sunday, day=sunday.date()))
        for start in range(7):
            first = date(2026, 11, 23 + start if start < 7 else 29)
            wanted = date(2026, 11, 29) - timedelta((6 - start) % 7)
            assert first >= wanted
            bucket = Bucket("taken", "week", "Europe/Berlin", week_start=start)
            (found,) = await _counts(store, bucket)
            assert cast(datetime, found).date() == wanted
            assert await _counts(store, Bucket("day", "week", week_start=start)) == {wanted: 1}

    async def test_bucket_of_59_999999(self, store: Backend) -> None:
        """The last microsecond of a minute is of that minute: nothing is rounded up."""
        at = _instant("2026-12-31T23:59:59.999999+01:00")
        await add(store, READINGS, *_taken([at]))
        await add(store, EVERYTHING, everything(moment_ms=at.replace(microsecond=999_000)))
        for unit in Unit:
            wanted = _cut(at, unit, BERLIN)
            assert await _counts(store, Bucket("taken", unit, "Europe/Berlin")) == {wanted: 1}
            op = Aggregate(
                EVERYTHING, (Count(),), group=(Bucket("moment_ms", unit, "Europe/Berlin"),)
            )
            (row,) = await store.execute(op)
            assert row.key == (wanted,)

    @proves("A11")
    async def test_bucket_ignores_session_zone(self, store: Backend) -> None:
        """One request after another, each in its own zone: none takes that of a session."""
        at = datetime(2026, 6, 30, 23, 30, tzinfo=UTC)
        await add(store, READINGS, *_taken([at]))
        for name in (*ZONES, *reversed(ZONES)):
            wanted = _cut(at, Unit.DAY, ZoneInfo(name))
            assert await _counts(store, Bucket("taken", "day", name)) == {wanted: 1}

    async def test_bucket_key_is_local_start(self, store: Backend) -> None:
        """A key is an aware datetime, written with the local time and offset at which it begins."""
        at = datetime(2026, 6, 30, 23, 30, tzinfo=UTC)
        await add(store, READINGS, *_taken([at]))
        written = {
            "minute": "2026-07-01 01:30:00+02:00",
            "hour": "2026-07-01 01:00:00+02:00",
            "day": "2026-07-01 00:00:00+02:00",
            "week": "2026-06-29 00:00:00+02:00",
            "month": "2026-07-01 00:00:00+02:00",
            "quarter": "2026-07-01 00:00:00+02:00",
            "year": "2026-01-01 00:00:00+01:00",
        }
        for unit, wanted in written.items():
            (found,) = await _counts(store, Bucket("taken", unit, "Europe/Berlin"))
            assert type(found) is datetime
            assert str(found) == wanted

    async def test_dates_have_buckets_without_a_zone(self, store: Backend) -> None:
        """Of dates the key is the first day, of each unit of a day and longer."""
        days = [date(1, 1, 2), date(9999, 12, 30), date(1969, 12, 31), date(2024, 2, 29)]
        days += [date(2026, 1, 1) + timedelta(at * 11) for at in range(60)]
        rows = [reading(day=day) for day in (*days, None)]
        await add(store, READINGS, *rows)
        for unit in DAYS:
            wanted: Counter[object] = Counter([None])
            wanted.update(_cut_day(day, unit) for day in days)
            assert await _counts(store, Bucket("day", unit)) == wanted
        with pytest.raises(RefusedValueError) as error:
            await _counts(store, Bucket("day", "week", week_start=6))
        assert (error.value.entity, error.value.field) == ("Reading", "day")
        sundays = await _counts(store, Bucket("day", "week", week_start=6), F.day > days[0])
        assert sundays == Counter(_cut_day(day, Unit.WEEK, 6) for day in days[1:])

    async def test_group_ignores_order(self, store: Backend) -> None:
        """However documents were added, rows come by their keys, None first, in order of time."""
        instants = [NEAR[at * 37 % len(NEAR)] for at in range(50)]
        await add(store, READINGS, *_taken((*instants, None)))
        op = Aggregate(READINGS, (Count(),), group=(Bucket("taken", "month", "Pacific/Apia"),))
        keys = [row.key[0] for row in await store.execute(op)]
        assert keys[0] is None
        later = cast("list[datetime]", keys[1:])
        assert all(one < other for one, other in pairwise(later))

    async def test_one_field_has_buckets_of_several_names(self, store: Backend) -> None:
        """Two buckets of one field stand side by side, each under its own name."""
        await add(store, READINGS, *_taken(NEAR[:30]))
        day = Bucket("taken", "day", "UTC", name="day")
        month = Bucket("taken", "month", "UTC", name="month")
        rows = await store.execute(Aggregate(READINGS, (Count(),), group=(month, day)))
        utc = ZoneInfo("UTC")
        wanted = {(_cut(at, Unit.MONTH, utc), _cut(at, Unit.DAY, utc)) for at in NEAR[:30]}
        assert {cast("tuple[datetime, datetime]", row.key) for row in rows} == wanted

    async def test_the_parts_of_an_aggregate_combine_to_the_whole(self, store: Backend) -> None:
        """Hours add up to days and days to the whole, wherever clocks change."""
        instants = [at for at in NEAR if at.year > 1970]
        await add(
            store,
            READINGS,
            *(reading(taken=at, steps=number) for number, at in enumerate(instants)),
        )
        measures = (Count(), Sum("steps"), Min("taken"), Max("steps"))
        (whole,) = await store.execute(Aggregate(READINGS, measures))
        for unit, zone in product(("hour", "week", "year"), ("Europe/Berlin", "Pacific/Apia")):
            op = Aggregate(READINGS, measures, group=(Bucket("taken", unit, zone),))
            assert _combined(await store.execute(op)) == whole.values

    async def test_series_take_what_a_database_gives(self, store: Backend) -> None:
        """Rows of days are filled with the days between them as they are."""
        week = [datetime(2026, 3, 27 + at, 12, tzinfo=UTC) for at in (0, 1, 4)]
        await add(store, READINGS, *_taken(week))
        op = Aggregate(READINGS, (Count(),), group=(Bucket("taken", "day", "Europe/Berlin"),))
        rows = [{"at": row.key[0], "n": row.values[0]} for row in await store.execute(op)]
        filled = fill(rows, at="at", every="day", tz="Europe/Berlin")
        assert [row["n"] for row in filled] == [1, 1, None, None, 1]

    async def test_a_bucket_without_meaning_is_refused(self, store: Backend) -> None:
        """What is no unit, zone or time is refused before any I/O, with its entity and field."""
        missing = replace(READINGS, name="contract_nowhere")
        wrong = (
            (Bucket("taken", "day", "Europe/Berlln"), "taken"),
            (Bucket("taken", "fortnight", "UTC"), "taken"),
            (Bucket("taken", "day"), "taken"),
            (Bucket("taken", "week", "UTC", week_start=7), "taken"),
            (Bucket("taken", "day", "UTC", name=""), "taken"),
            (Bucket("day", "hour"), "day"),
            (Bucket("day", "day", "Europe/Berlin"), "day"),
            (Bucket("place", "day", "UTC"), "place"),
            (Bucket("clock", "hour", "UTC"), "clock"),
            (Bucket("steps", "day"), "steps"),
        )
        for bucket, field in wrong:
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(Aggregate(missing, (Count(),), group=(bucket,)))
            assert type(error.value) is InvalidRequestError
            assert (error.value.entity, error.value.field) == ("Reading", field)
            assert (error.value.backend, bool(error.value.hint)) == (store.name, True)
        twice = (Bucket("taken", "day", "UTC"), Bucket("taken", "hour", "UTC"))
        with pytest.raises(InvalidRequestError) as error:
            await store.execute(Aggregate(missing, (Avg("steps"),), group=twice))
        assert error.value.field == "taken"
        with pytest.raises(UnknownFieldError):
            await store.execute(Aggregate(missing, (Count(),), group=(Bucket("at", "day"),)))


def _combined(rows: Sequence[Group]) -> tuple[Value, ...]:
    """Return what counts, sums, minima and maxima of groups are together."""
    counts, sums, least, most = zip(*(row.values for row in rows), strict=True)
    return (
        sum(cast("tuple[int, ...]", counts)),
        sum(cast("tuple[int, ...]", sums)),
        min(cast("tuple[datetime, ...]", least)),
        max(cast("tuple[int, ...]", most)),
    )

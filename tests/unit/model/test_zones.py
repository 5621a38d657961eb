"""Local time: where buckets begin, and which offsets a zone has."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from healthstore.errors import InvalidRequestError, RefusedValueError
from healthstore.model.zones import (
    Unit,
    bucket_of,
    buckets,
    first_day,
    first_days,
    is_start,
    local_start,
    next_bucket,
    next_first_day,
    offsets,
    unit_of,
    week_start_of,
    zone_of,
)

ZONES = [
    ZoneInfo(name)
    for name in (
        "Africa/Casablanca",
        "Africa/Monrovia",
        "America/Havana",
        "America/Sao_Paulo",
        "America/St_Johns",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Europe/Amsterdam",
        "Europe/Berlin",
        "Pacific/Apia",
        "Pacific/Chatham",
        "UTC",
    )
]
BERLIN = ZoneInfo("Europe/Berlin")
MICROSECOND = timedelta(microseconds=1)
FIRST, LAST = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)

zones = st.sampled_from(ZONES)
units = st.sampled_from(Unit)
days_of_week = st.integers(0, 6)
instants = st.datetimes(datetime(1, 1, 9), datetime(9990, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is beside it


@st.composite
def edges(draw: st.DrawFn) -> tuple[ZoneInfo, datetime]:
    """Draw a zone and an instant, often within two hours of a change, to the microsecond."""
    zone = draw(zones)
    year = draw(st.integers(1840, 2100))
    changes = offsets(datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC), zone)
    near = draw(
        st.sampled_from([-MICROSECOND, timedelta(0), MICROSECOND])
        | st.timedeltas(timedelta(hours=-2), timedelta(hours=2))
    )
    change = draw(st.sampled_from([at for at, _ in changes]))
    return zone, draw(st.just(change + near) | instants)


def touches(unit: Unit, zone: ZoneInfo, around: datetime) -> bool:
    """Tell whether all changes of these days are by whole units, and at the edge of one."""
    changes = offsets(around - timedelta(days=2), around + timedelta(days=2), zone)
    width = {Unit.MINUTE: 60, Unit.HOUR: 3_600}.get(unit)
    for (_, before), (at, after) in pairwise(changes):
        seconds = int(at.timestamp())
        if width is not None and ((after - before) % width or (seconds + after) % width):
            return False
        if width is None:
            old, new = seconds + before, seconds + after
            whole = max(old, new) // 86_400 * 86_400  # the midnight that may lie between
            if min(old, new) < whole < max(old, new):
                return False
    return True


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_offsets_are_those_of_zoneinfo_in_every_year(zone: ZoneInfo) -> None:
    """At each change, a microsecond before it, and in between, from the year 1 to 9999."""
    listed = offsets(FIRST, LAST, zone)
    begins = [at for at, _ in listed]
    steps = [FIRST + number * timedelta(days=97, microseconds=1) for number in range(37_000)]
    near = [at - MICROSECOND for at in begins[1:]]
    for at in (*steps, *begins, *near):
        there = at.astimezone(zone).utcoffset()
        assert there == timedelta(seconds=listed[bisect_right(begins, at) - 1][1])
    assert all(before[1] != after[1] for before, after in pairwise(listed))


@given(zones, instants, st.timedeltas(MICROSECOND, timedelta(days=9_000)))
def test_offsets_of_a_range_are_those_of_its_parts(
    zone: ZoneInfo, start: datetime, half: timedelta
) -> None:
    """The first one holds from the start on, and no change is at the end or after it."""
    middle, end = start + half, start + 2 * half
    whole, second = offsets(start, end, zone), offsets(middle, end, zone)
    assert whole[0][0] == start
    assert all(start < at < end for at, _ in whole[1:])
    parts = [*offsets(start, middle, zone), *second]
    if second[0] not in whole:  # nothing changes in the middle itself
        parts.remove(second[0])
    assert parts == list(whole)


def test_the_offsets_of_monrovia_have_seconds() -> None:
    """Liberia was 44 minutes and 30 seconds behind until 1972."""
    listed = offsets(
        datetime(1960, 1, 1, tzinfo=UTC),
        datetime(1980, 1, 1, tzinfo=UTC),
        zone_of("Africa/Monrovia"),
    )
    assert [by for _, by in listed] == [-2_670, 0]
    assert listed[1][0] == datetime(1972, 1, 7, 0, 44, 30, tzinfo=UTC)


@pytest.mark.parametrize("name", ["localtime", "posixrules", "Nowhere/City", "", "../etc/passwd"])
def test_no_zone_is_that_of_the_machine(name: str) -> None:
    """What a name means may not depend on where the program runs."""
    with pytest.raises(InvalidRequestError, match="no such time zone"):
        zone_of(name)


@given(edges(), units, days_of_week)
def test_a_bucket_is_the_local_time_cut_off(
    edge: tuple[ZoneInfo, datetime], unit: Unit, week_start: int
) -> None:
    """The key is what zoneinfo says of the local start: plainly computed, it is the same."""
    zone, instant = edge
    local = instant.astimezone(zone)
    key = bucket_of(instant, unit, zone, week_start)
    if unit in {Unit.MINUTE, Unit.HOUR}:
        cut = local.replace(tzinfo=None, second=0, microsecond=0)
        cut = cut if unit is Unit.MINUTE else cut.replace(minute=0)
        expected = cut.replace(tzinfo=UTC) - (local.utcoffset() or timedelta())
    else:
        day = first_day(local.date(), unit, week_start)
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
        expected = midnight.astimezone(UTC)
    assert key == expected
    assert key.utcoffset() == expected.astimezone(zone).utcoffset()
    assert is_start(key, unit, zone, week_start)


@given(edges(), units, days_of_week)
def test_buckets_partition_time(
    edge: tuple[ZoneInfo, datetime], unit: Unit, week_start: int
) -> None:
    """An instant is in its bucket, before the next; where one ends the next begins."""
    zone, instant = edge
    assume(touches(unit, zone, instant))
    key = bucket_of(instant, unit, zone, week_start)
    assume(touches(unit, zone, key))
    following = next_bucket(key, unit, zone, week_start)
    assume(touches(unit, zone, following))
    assert key <= instant < following
    assert bucket_of(key, unit, zone, week_start) == key
    assert bucket_of(following, unit, zone, week_start) == following
    assert bucket_of(following - MICROSECOND, unit, zone, week_start) == key


@given(edges(), units, st.integers(1, 40))
def test_buckets_are_one_after_the_other(
    edge: tuple[ZoneInfo, datetime], unit: Unit, hours: int
) -> None:
    """Each key of a range is the next one of the key before, whatever clocks do."""
    zone, instant = edge
    end = instant + timedelta(hours=hours / 20 if unit is Unit.MINUTE else hours)
    found = list(buckets(instant, end, unit, zone))
    assert found[0] in {bucket_of(instant, unit, zone), instant}
    assert all(is_start(each, unit, zone) for each in found)
    for before, after in pairwise(found):
        assert next_bucket(before, unit, zone) == after > before
    assert next_bucket(found[-1], unit, zone) >= end


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("America/St_Johns", datetime(2006, 10, 29, 2, 31, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2025, 4, 5, 15, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2025, 10, 4, 15, 30, tzinfo=UTC)),
        ("Europe/Athens", datetime(1916, 7, 27, 22, 26, 8, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2025, 10, 26, 1, tzinfo=UTC)),
    ],
)
def test_hours_are_those_of_all_instants(zone: str, change: datetime) -> None:
    """Also where clocks change by half an hour or by a minute; a range may begin with any key."""
    where = zone_of(zone)
    (_, (at, _)) = offsets(change - timedelta(hours=3), change + timedelta(hours=3), where)
    assert at == change
    steps = [change + number * timedelta(seconds=4) for number in range(-2_700, 2_700)]
    keys = sorted({bucket_of(each, Unit.HOUR, where) for each in steps})
    for number, key in enumerate(keys):
        assert list(buckets(key, steps[-1], Unit.HOUR, where)) == keys[number:]
        assert list(buckets(keys[0], key, Unit.HOUR, where)) == keys[:number]
        assert list(buckets(keys[0], key + MICROSECOND, Unit.HOUR, where)) == keys[: number + 1]


def hours_of(day: date, zone: str) -> float:
    """Return how many hours a local day has."""
    where = zone_of(zone)
    start = local_start(day, where)
    return (next_bucket(start, Unit.DAY, where) - start) / timedelta(hours=1)


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2025, 3, 29), "Europe/Berlin", 24),
        (date(2025, 3, 30), "Europe/Berlin", 23),
        (date(2025, 10, 26), "Europe/Berlin", 25),
        (date(2025, 10, 5), "Australia/Lord_Howe", 23.5),
        (date(2025, 4, 6), "Australia/Lord_Howe", 24.5),
        (date(2025, 11, 2), "America/Havana", 25),
        (date(2025, 3, 9), "America/Havana", 23),
        (date(2018, 11, 4), "America/Sao_Paulo", 23),
        (date(2018, 2, 17), "America/Sao_Paulo", 25),
        (date(2025, 3, 30), "Asia/Kathmandu", 24),
        (date(2011, 12, 29), "Pacific/Apia", 24),
    ],
)
def test_a_day_has_the_hours_that_its_zone_gives_it(day: date, zone: str, hours: float) -> None:
    """With summer time a day is shorter or longer, and it begins with its first moment."""
    assert hours_of(day, zone) == hours
    start = local_start(day, zone_of(zone))
    assert start.date() == day
    assert (start - MICROSECOND).astimezone(zone_of(zone)).date() < day


def test_the_repeated_hour_is_two_buckets() -> None:
    """Two keys that differ, though their local times are the same."""
    start = datetime(2025, 10, 26, 0, tzinfo=UTC)
    found = list(buckets(start, start + timedelta(hours=2), Unit.HOUR, BERLIN))
    assert [each.isoformat() for each in found] == [
        "2025-10-26T02:00:00+02:00",
        "2025-10-26T02:00:00+01:00",
    ]
    assert len(set(found)) == 2


def test_a_skipped_day_does_not_exist() -> None:
    """In Samoa the 29th of December 2011 was followed by the 31st."""
    apia = zone_of("Pacific/Apia")
    start, end = local_start(date(2011, 12, 28), apia), local_start(date(2012, 1, 2), apia)
    assert [each.day for each in buckets(start, end, Unit.DAY, apia)] == [28, 29, 31, 1]
    assert local_start(date(2011, 12, 30), apia) == local_start(date(2011, 12, 31), apia)
    (week,) = buckets(start, start + MICROSECOND, Unit.WEEK, apia, 2)
    assert next_bucket(week, Unit.WEEK, apia, 2).date() == date(2012, 1, 4)


def test_clocks_that_go_back_over_midnight_give_a_day_twice() -> None:
    """The key stays that of the local date, of which the first midnight counts."""
    johns = zone_of("America/St_Johns")
    first = datetime(2006, 10, 29, 2, 30, tzinfo=UTC)  # midnight; a minute later it is 23:01
    keys = [bucket_of(first + timedelta(minutes=m), Unit.DAY, johns) for m in (-1, 0, 1, 59, 60)]
    assert [each.day for each in keys] == [28, 29, 28, 28, 29]
    assert keys[1] == keys[4] == first


@given(st.dates(date(1, 1, 8)), st.sampled_from(list(Unit)[2:]), days_of_week)
def test_dates_have_buckets_without_a_zone(day: date, unit: Unit, week_start: int) -> None:
    """A bucket's first day is in it, and the next one begins where it ends."""
    first = first_day(day, unit, week_start)
    assert first <= day
    assert first_day(first, unit, week_start) == first
    following = next_first_day(first, unit)
    if following is not None:
        assert day < following
        assert list(first_days(day, following, unit, week_start)) == [first]
    if unit is Unit.WEEK:
        assert first.weekday() == week_start


def test_the_ends_of_time_are_refused_and_never_overflow() -> None:
    """What a datetime cannot hold is an error of ours, in every zone and unit."""
    far = [datetime.min.replace(tzinfo=timezone(timedelta(hours=by))) for by in (-14, 0, 14)] + [
        datetime.max.replace(tzinfo=timezone(timedelta(hours=by))) for by in (-14, 0, 14)
    ]
    for zone in (*ZONES, zone_of("America/New_York")):
        for instant in far:
            for unit in Unit:
                for ask in (bucket_of, next_bucket, is_start):
                    try:
                        ask(instant, unit, zone, 3)
                    except RefusedValueError as error:
                        assert "year" in str(error)  # noqa: PT017 - most of them succeed
    with pytest.raises(RefusedValueError, match="1 to 9999 in Europe/Berlin"):
        next_bucket(datetime(9999, 12, 31, tzinfo=BERLIN), Unit.DAY, BERLIN)
    with pytest.raises(RefusedValueError, match="1 to 9999 in UTC"):
        offsets(datetime.min.replace(tzinfo=BERLIN), LAST, BERLIN)


def test_the_first_day_of_all_has_a_bucket() -> None:
    """Also in a zone in which it begins before the year 1 of UTC."""
    key = bucket_of(datetime(1, 1, 1, tzinfo=UTC), Unit.YEAR, BERLIN)
    assert key.isoformat() == "0001-01-01T00:00:00+00:53:28"
    assert is_start(key, Unit.YEAR, BERLIN)
    last = list(
        buckets(datetime(9999, 12, 30, tzinfo=UTC), LAST.max.replace(tzinfo=UTC), Unit.DAY, BERLIN)
    )
    assert last[-1].date() == date.max


@pytest.mark.parametrize(
    "name",
    ["Nowhere/Else", "Europe", "", "/etc/passwd", "../UTC", "a\0b", "\ud800", "x" * 5_000, 5],
)
def test_an_unknown_zone_is_refused(name: str) -> None:
    """Whatever it looks like; the error does not repeat it."""
    with pytest.raises(InvalidRequestError, match="IANA") as caught:
        zone_of(name)
    assert caught.value.__cause__ is None
    assert not name or str(name) not in str(caught.value).replace("Europe/Berlin", "")


def test_what_is_no_unit_and_no_day_is_refused() -> None:
    """The hint says what there is."""
    with pytest.raises(InvalidRequestError, match="minute, hour, day, week, month, quarter, year"):
        unit_of("fortnight")
    with pytest.raises(InvalidRequestError, match="0 for Monday"):
        week_start_of(7)
    with pytest.raises(InvalidRequestError, match="longer"):
        first_day(date(2025, 1, 1), Unit.HOUR)
    with pytest.raises(RefusedValueError, match="naive"):
        bucket_of(datetime(2025, 1, 1), Unit.DAY, BERLIN)  # noqa: DTZ001 - on purpose

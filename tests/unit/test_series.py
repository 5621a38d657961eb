"""Rows over time: what is filled, averaged, missing and changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.errors import (
    HealthstoreError,
    InvalidRequestError,
    RefusedValueError,
    UnknownFieldError,
)
from healthstore.model.query import F
from healthstore.series import bucket_of, change, fill, gaps, rolling_mean
from healthstore.testing.contract.decimals import HOSTILE

BERLIN = "Europe/Berlin"
ZONES = ["America/Havana", "America/Sao_Paulo", "Asia/Kathmandu", BERLIN, "Pacific/Apia"]
UNITS = ["minute", "hour", "day", "week", "month", "quarter", "year"]
SECRET = "Ann-4711"
SPRING = date(2025, 3, 30)

Rows = list[dict[str, Any]]


def days(*numbers: int, first: date = SPRING) -> Rows:
    """Return a row for each of these days after the first, with its number as the mean."""
    return [{"day": first + timedelta(days=each), "mean": float(each)} for each in numbers]


@st.composite
def series_of(draw: st.DrawFn) -> tuple[Rows, dict[str, Any]]:
    """Draw the rows of some patients, and how their buckets are named."""
    tz = draw(st.none() | st.sampled_from(ZONES))
    every = draw(st.sampled_from(UNITS if tz else UNITS[2:]))
    near = draw(st.sampled_from([SPRING, date(2025, 10, 26), date(2011, 12, 30)]))
    width = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}.get(every)
    options: dict[str, Any] = {"every": every, "tz": tz, "week_start": draw(st.integers(0, 6))}
    rows: Rows = []
    for patient in draw(st.lists(st.integers(0, 9), unique=True, max_size=3)):
        starts = set()
        for step in draw(st.sets(st.integers(-40, 40), max_size=9)):
            value = (
                datetime(near.year, near.month, near.day, 1, tzinfo=UTC)
                + step * (width or timedelta(days=1))
                if tz
                else near + timedelta(days=step)
            )
            starts.add(bucket_of(value, **options))
        values = st.none() | st.integers(-9, 9)
        rows += [{"patient": patient, "at": at, "n": draw(values)} for at in sorted(starts)]
    return rows, {"at": "at", **options}


@given(series_of())
def test_fill_is_idempotent_and_keeps_every_row(case: tuple[Rows, dict[str, Any]]) -> None:
    """Filled again nothing changes, and what was given is there, in order, beside what is new."""
    given_rows, options = case
    before = [dict(row) for row in given_rows]
    filled = fill(given_rows, by="patient", **options)
    assert given_rows == before
    assert fill(filled, by="patient", **options) == filled
    assert [row for row in filled if row in given_rows] == given_rows
    others = [row for row in filled if row not in given_rows]
    assert all(row["n"] is None and row.keys() == {"patient", "at", "n"} for row in others)


@given(series_of())
def test_what_is_filled_is_what_was_missing(case: tuple[Rows, dict[str, Any]]) -> None:
    """The gaps of one series begin and end with rows that fill adds; afterwards there is none."""
    given_rows, options = case
    rows = [row for row in given_rows if row["patient"] == given_rows[0]["patient"]]
    filled = fill(rows, **options)
    there = [row["at"] for row in rows]
    starts = [row["at"] for row in filled]
    missing = [
        each
        for first, last in gaps(rows, **options)
        for each in starts[starts.index(first) : starts.index(last) + 1]
    ]
    assert [each for each in starts if each not in there] == missing
    assert gaps(filled, **options) == []


@given(st.lists(st.none() | st.integers(-(10**6), 10**6), max_size=40), st.integers(1, 9))
def test_a_rolling_mean_is_that_of_its_window(values: list[int | None], size: int) -> None:
    """Computed plainly for each row, it is the same, for integers, decimals and durations."""
    kinds: list[tuple[Callable[[int], Any], Callable[[Fraction], Any]]] = [
        (int, float),
        (lambda value: value / 8, lambda mean: float(mean / 8)),
        (lambda value: timedelta(microseconds=value), lambda mean: timedelta(0, 0, round(mean))),
        (
            lambda value: Decimal(value).scaleb(-2),
            lambda mean: Decimal(round(mean * 10**6)).scaleb(-8),
        ),
    ]
    for of, mean_of in kinds:
        rows = [
            {"day": SPRING + timedelta(days=at), "n": None if value is None else of(value)}
            for at, value in enumerate(values)
        ]
        means = [row[f"n_{size}d"] for row in rolling_mean(rows, "n", at="day", days=size)]
        for at, mean in enumerate(means):
            window = [each for each in values[max(0, at + 1 - size) : at + 1] if each is not None]
            expected = mean_of(Fraction(sum(window), len(window))) if window else None
            assert (repr(mean), type(mean)) == (repr(expected), type(expected))


def test_a_day_with_a_missing_and_a_repeated_hour_is_filled() -> None:
    """23 hours in spring, 25 in autumn, each written with its own offset."""
    for day, hours in ((SPRING, 23), (date(2025, 10, 26), 25)):
        end = day + timedelta(days=1)
        rows = fill([], at="hour", every="hour", tz=BERLIN, start=day, end=end)
        starts = [row["hour"] for row in rows]
        assert len(set(starts)) == len(starts) == hours
        assert {each.date() for each in starts if isinstance(each, datetime)} == {day}
    texts = [str(each)[11:] for each in starts]
    assert texts[2:4] == ["02:00:00+02:00", "02:00:00+01:00"]


@pytest.mark.parametrize(
    ("tz", "start", "end", "expected"),
    [
        ("Pacific/Apia", date(2011, 12, 29), date(2012, 1, 1), ["29 00:00", "31 00:00"]),
        (
            "America/Sao_Paulo",
            date(2018, 11, 3),
            date(2018, 11, 6),
            ["3 00:00", "4 01:00", "5 00:00"],
        ),
        ("America/Havana", date(2025, 11, 1), date(2025, 11, 4), ["1 00:00", "2 00:00", "3 00:00"]),
        ("Asia/Kathmandu", date(2025, 3, 30), date(2025, 4, 1), ["30 00:00", "31 00:00"]),
    ],
)
def test_days_are_those_of_the_zone(tz: str, start: date, end: date, expected: list[str]) -> None:
    """A skipped day is none, and a day whose midnight is skipped begins an hour later."""
    rows = fill([], at="day", every="day", tz=tz, start=start, end=end)
    assert [f"{row['day']:%-d %H:%M}" for row in rows] == expected


def test_rows_may_be_written_in_any_zone() -> None:
    """A start is an instant: in UTC, or with a ZoneInfo whose hour comes twice, it is the same."""
    zone = ZoneInfo(BERLIN)
    rows = [
        {"hour": datetime(2025, 10, 26, 0, tzinfo=UTC), "n": 1},
        {"hour": datetime(2025, 10, 26, 2, fold=1, tzinfo=zone), "n": 2},
        {"hour": datetime(2025, 10, 26, 4, tzinfo=zone), "n": 3},
    ]
    filled = fill(rows, at="hour", every="hour", tz=BERLIN)
    assert [(str(row["hour"])[11:], row["n"]) for row in filled] == [
        ("02:00:00+02:00", 1),
        ("02:00:00+01:00", 2),
        ("03:00:00+01:00", None),
        ("04:00:00+01:00", 3),
    ]


def test_each_series_has_all_buckets() -> None:
    """From the first row of all to the last of all, one series after the other."""
    rows = [{"who": "a", **row} for row in days(1, 2)] + [{"who": "b", **row} for row in days(0)]
    filled = fill(rows, at="day", every="day", by=["who"])
    assert [(row["who"], row["mean"]) for row in filled] == [
        ("a", None),
        ("a", 1.0),
        ("a", 2.0),
        ("b", 0.0),
        ("b", None),
        ("b", None),
    ]


def test_a_range_that_is_given_is_filled_to_its_end() -> None:
    """The end is excluded; a start within a bucket begins with it; no row, no other field."""
    month = {"at": "day", "every": "month", "start": date(2025, 1, 9), "end": date(2025, 3, 1)}
    assert fill([], **month) == [{"day": date(2025, 1, 1)}, {"day": date(2025, 2, 1)}]
    row = {"day": date(2025, 2, 1), "mean": 7}
    assert fill([row], **month) == [{"day": date(2025, 1, 1), "mean": None}, row]
    assert gaps([row], **month) == [(date(2025, 1, 1), date(2025, 1, 1))]
    assert fill([], at="day", every="day") == fill([], at="day", every="day", start=SPRING) == []
    assert fill([], **month, by="who") == []
    last = [{"day": date.max, "mean": 1}]
    assert fill(last, at="day", every="day") == last


def test_gaps_are_pairs_of_the_first_and_the_last() -> None:
    """In order; without rows in between a gap is one, and of one bucket both are the same."""
    rows = days(0, 2, 3, 7)
    assert gaps(rows, at="day", every="day") == [
        (date(2025, 3, 31), date(2025, 3, 31)),
        (date(2025, 4, 3), date(2025, 4, 5)),
    ]
    found = gaps(rows, at="day", every="day", start=date(2025, 3, 28), end=date(2025, 4, 10))
    assert [found[0], found[-1]] == [
        (date(2025, 3, 28), date(2025, 3, 29)),
        (date(2025, 4, 7), date(2025, 4, 9)),
    ]


def test_the_window_is_of_local_days() -> None:
    """Hours of a day of 25 hours are one day; of missing days nothing is made up."""
    hours = fill(
        [], at="at", every="hour", tz=BERLIN, start=date(2025, 10, 25), end=date(2025, 10, 28)
    )
    rows = [{**row, "n": index} for index, row in enumerate(hours)]
    means = [row["n_1d"] for row in rolling_mean(rows, "n", at="at", days=1, tz=BERLIN)]
    assert means[23:25] == [11.5, 24.0]
    assert means[48:50] == [36.0, 49.0]
    sparse = rolling_mean(days(0, 6, 7, 30), "mean", at="day")
    assert [row["mean_7d"] for row in sparse] == [0.0, 3.0, 6.5, 30.0]


def test_series_have_their_own_means_and_changes() -> None:
    """Rows that are ordered by day, then patient, stay in that order."""
    rows = [{"who": who, **row} for row in days(0, 1) for who in "ab"]
    rows[1]["mean"] = 10.0
    means = rolling_mean(rows, "mean", at="day", by="who", name="m")
    assert [row["m"] for row in means] == [0.0, 10.0, 0.5, 5.5]
    assert [row["mean_change"] for row in change(rows, "mean", by="who")] == [None, None, 1.0, -9.0]


def test_a_change_is_to_the_row_before() -> None:
    """None for the first, and beside None; it may have a name of its own."""
    rows = [{"n": value} for value in (3, 5, None, 4, 4)]
    assert [row["n_change"] for row in change(rows, "n")] == [None, 2, None, None, 0]
    assert change(rows, "n", name="by")[1] == {"n": 5, "by": 2}
    assert rows[1] == {"n": 5}


def test_decimals_are_exact_under_any_context() -> None:
    """A mean has six places more; the program's context changes nothing."""
    rows = [
        {"day": SPRING + timedelta(days=at), "kg": Decimal(text)}
        for at, text in enumerate(["70.10", "70.20", "12345678901234567890123456.79"])
    ]
    with localcontext(HOSTILE):
        changes = [row["kg_change"] for row in change(rows, "kg")]
        means = [row["kg_7d"] for row in rolling_mean(rows, "kg", at="day")]
    assert list(map(str, changes)) == ["None", "0.10", "12345678901234567890123386.59"]
    assert list(map(str, means)) == [
        "70.10000000",
        "70.15000000",
        "4115226300411522630041199.03000000",
    ]


def at_fault(ask: Callable[[], object]) -> tuple[type[HealthstoreError], int | None, str | None]:
    """Return the class and place of an error that quotes no value."""
    with pytest.raises(HealthstoreError) as caught:
        ask()
    error = caught.value
    assert SECRET not in str(error) + repr(error.__cause__) + repr(error.__context__)
    assert error.hint
    return type(error), error.index, error.field


@pytest.mark.parametrize(
    ("rows", "refused", "index"),
    [
        (days(0, 2, 1), InvalidRequestError, 2),
        (days(0, 0), InvalidRequestError, 1),
        ([*days(0), {"day": SECRET, "mean": 1.0}], RefusedValueError, 1),
        ([*days(0), {"day": datetime(2025, 4, 1, tzinfo=UTC), "mean": 1}], RefusedValueError, 1),
        ([*days(0), {"day": None, "mean": 1}], RefusedValueError, 1),
        ([*days(0), {"mean": 1.0}], UnknownFieldError, 1),
        (days(-1, 0), RefusedValueError, 0),
        (days(9, 10), RefusedValueError, 1),
    ],
)
def test_rows_are_refused_with_their_place(rows: Rows, refused: type, index: int) -> None:
    """Not in order, twice, no date, an instant, no such field, outside of the range."""
    end = SPRING + timedelta(days=10)
    ask = lambda: fill(rows, at="day", every="day", start=SPRING, end=end)  # noqa: E731 - one of many
    assert at_fault(ask) == (refused, index, "day")


@pytest.mark.parametrize("every", ["week", "month", "quarter", "year"])
def test_what_is_no_start_of_a_bucket_is_refused(every: str) -> None:
    """A Wednesday begins no week; a midnight of UTC begins no day in Berlin."""
    rows = [{"day": date(2025, 1, 1) + timedelta(days=7 * 5 + 28)}]
    assert at_fault(lambda: gaps(rows, at="day", every=every)) == (RefusedValueError, 0, "day")
    noon = [{"day": datetime(2025, 3, 30, tzinfo=UTC)}]
    ask = lambda: fill(noon, at="day", every="day", tz=BERLIN)  # noqa: E731 - one of many
    assert at_fault(ask) == (RefusedValueError, 0, "day")
    first = [{"day": date.min}]
    ask = lambda: fill(first, at="day", every="week", week_start=6)  # noqa: E731 - one of many
    assert at_fault(ask) == (RefusedValueError, 0, "day")


def test_rows_have_the_same_fields() -> None:
    """A field that one row lacks or has alone is named, with the index of that row."""
    rows: Rows = days(0, 1)
    rows[1]["low"] = 1
    assert at_fault(lambda: fill(rows, at="day", every="day")) == (UnknownFieldError, 1, "low")
    assert at_fault(lambda: change(rows, "low")) == (UnknownFieldError, 0, "low")
    assert at_fault(lambda: change(rows, "mean", by="who")) == (UnknownFieldError, 0, "who")
    assert at_fault(lambda: change(rows, "mean", name="day")) == (InvalidRequestError, 0, "day")


@pytest.mark.parametrize(
    "value",
    [True, SECRET, float("nan"), float("inf"), Decimal("NaN"), Decimal("1E+2000"), Decimal(1)],
)
def test_what_has_no_mean_is_refused(value: object) -> None:
    """A bool, a text, what is not finite, and a Decimal among floats."""
    rows = [*days(0, 1), {"day": SPRING + timedelta(days=2), "mean": value}]
    place = (RefusedValueError, 2, "mean")
    assert at_fault(lambda: change(rows, "mean")) == place
    assert at_fault(lambda: rolling_mean(rows, "mean", at="day")) == place


@pytest.mark.parametrize(
    ("old", "new"), [(-1e308, 1e308), (10**400, 1.0), (timedelta.min, timedelta.max)]
)
def test_a_change_that_no_number_holds_is_refused(old: object, new: object) -> None:
    """It is neither infinite nor an error of Python's."""
    ask = lambda: change([{"n": old}, {"n": new}], "n")  # noqa: E731 - one of many
    assert at_fault(ask) == (RefusedValueError, 1, "n")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"tz": "Nowhere/Else"}, "IANA"),
        ({"every": "fortnight"}, "quarter"),
        ({"every": "hour"}, "time of day"),
        ({"week_start": 7}, "Monday"),
        ({"start": SPRING, "end": SPRING - timedelta(days=1)}, "before the start"),
        ({"start": datetime(2025, 3, 30), "tz": BERLIN}, "naive"),  # noqa: DTZ001 - on purpose
        ({"start": SPRING, "end": date.max, "every": "minute", "tz": BERLIN}, "more than 999999"),
        ({"by": 5}, "no list"),
    ],
)
def test_a_question_without_a_meaning_is_refused(options: Mapping[str, Any], word: str) -> None:
    """Whether there are rows or not."""
    with pytest.raises(InvalidRequestError, match=word):
        fill([], **{"at": "day", "every": "day", **options})


def test_what_is_no_list_of_rows_is_refused() -> None:
    """A text, a row by itself, and a window of no day."""
    for rows in (SECRET, {"day": SPRING}, [SECRET]):
        wrong: Any = rows
        assert at_fault(lambda: gaps(wrong, at="day", every="day"))[0] is InvalidRequestError  # noqa: B023 - called at once
    with pytest.raises(InvalidRequestError, match="1 or more"):
        rolling_mean(days(0), "mean", at="day", days=0)
    unhashable = [{"who": [SECRET], "n": 1}]
    assert at_fault(lambda: change(unhashable, "n", by="who")) == (RefusedValueError, 0, "who")


NAMELESS: list[object] = [1, b"day", ["day"], None, F.day]


@pytest.mark.parametrize("name", NAMELESS, ids=repr)
def test_a_field_is_named_by_a_text(name: object) -> None:
    """What is none is told by its type, in an error that can be read."""
    rows = [{"day": date(2025, 3, 29), "n": 1}]
    wrong = cast("str", name)
    asked: list[Callable[[], object]] = [
        lambda: fill(rows, at=wrong, every="day"),
        lambda: gaps(rows, at=wrong, every="day"),
        lambda: rolling_mean(rows, wrong, at="day"),
        lambda: rolling_mean(rows, "n", at=wrong),
        lambda: change(rows, wrong),
        lambda: fill(rows, at="day", every="day", by=[wrong]),
        lambda: change(rows, "n", by=[wrong]),
    ]
    if name is not None:
        asked.append(lambda: change(rows, "n", name=wrong))
    for ask in asked:
        with pytest.raises(InvalidRequestError, match="named by a text") as error:
            ask()
        assert type(name).__name__ in str(error.value)


def test_a_row_with_keys_that_are_no_texts_is_told() -> None:
    """The error for the row that lacks such a key can be read."""
    rows = cast(
        "list[dict[str, object]]", [{"day": date(2025, 3, 29), 1: 2}, {"day": date(2025, 3, 30)}]
    )
    with pytest.raises(UnknownFieldError) as error:
        fill(rows, at="day", every="day")
    assert "[1].1" in str(error.value)


def test_buckets_tell_no_series_apart() -> None:
    """Each row would be a series of its own, and fill would multiply them."""
    rows = [{"day": date(2025, 3, 29), "n": 1}, {"day": date(2025, 3, 31), "n": 2}]
    for by in ("day", ["n", "day"]):
        with pytest.raises(InvalidRequestError, match="a series of its own"):
            fill(rows, at="day", every="day", by=by)
        with pytest.raises(InvalidRequestError, match="a series of its own"):
            rolling_mean(rows, "n", at="day", by=by)

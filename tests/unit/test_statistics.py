"""Statistics: counts are exact, percentiles nearly, memory is fixed."""

from __future__ import annotations

import sys
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.statistics import (
    LONGEST,
    RELATIVE_ERROR,
    SHORTEST,
    OperationStatistics,
    Statistics,
)

SECONDS = st.floats(SHORTEST, LONGEST, exclude_max=True)


def of(times: list[float]) -> OperationStatistics:
    """Return the statistics of one operation with these times."""
    statistics = Statistics()
    for seconds in times:
        statistics.record("m", "find", seconds, None)
    (found,) = statistics.snapshot()
    return found


def exact(times: list[float], percent: int) -> float:
    """Return the smallest of the times that at least ``percent`` of them do not exceed."""
    return sorted(times)[-(-len(times) * percent // 100) - 1]


@given(st.lists(SECONDS, min_size=1, max_size=300))
def test_a_percentile_is_within_the_stated_error(times: list[float]) -> None:
    """Each percentile is near the one of the sorted list; count and maximum are exact."""
    found = of(times)
    for percent, value in ((50, found.p50), (95, found.p95), (99, found.p99)):
        assert value == pytest.approx(exact(times, percent), rel=RELATIVE_ERROR, abs=0)
    assert (found.count, found.maximum) == (len(times), max(times))
    assert found.p50 <= found.p95 <= found.p99 <= found.maximum


def test_the_stated_error_is_small() -> None:
    """A percentile can be trusted to about three per cent, from a microsecond to an hour."""
    assert RELATIVE_ERROR <= 0.06
    assert SHORTEST <= 1e-6
    assert LONGEST >= 3_600


@given(st.floats(0, SHORTEST))
def test_a_time_below_the_range_counts_as_short(seconds: float) -> None:
    """What the clock cannot tell from nothing is within the shortest time of the truth."""
    found = of([seconds])
    assert found.count == 1
    assert abs(found.p50 - seconds) <= SHORTEST


@given(st.floats(LONGEST, 1e12))
def test_a_time_above_the_range_is_the_maximum(seconds: float) -> None:
    """What took hours is still reported, and does not blur what was within the range."""
    found = of([seconds, 1.0, LONGEST * 0.999, seconds])
    assert (found.count, found.p99, found.maximum) == (4, seconds, seconds)
    assert found.p50 == pytest.approx(LONGEST, rel=0.05)


def test_errors_are_counted_with_their_times() -> None:
    """A failed attempt is an attempt: it is in the count and in the times."""
    statistics = Statistics()
    statistics.record("m", "find", 0.001, None)
    statistics.record("m", "find", 8.0, "HS-6001")
    statistics.record("m", "find", 4.0, "cancelled")
    (found,) = statistics.snapshot()
    assert (found.count, found.errors, found.maximum) == (3, 2, 8.0)


def test_members_and_operations_are_kept_apart() -> None:
    """There is one line for each operation on each member, sorted; none for what never ran."""
    statistics = Statistics()
    statistics.recorder("a", "never")
    for backend, operation in (("b", "find"), ("a", "insert"), ("a", "find"), ("a", "insert")):
        statistics.record(backend, operation, 0.1, None)
    assert [(each.backend, each.operation, each.count) for each in statistics.snapshot()] == [
        ("a", "find", 1),
        ("a", "insert", 2),
        ("b", "find", 1),
    ]


def test_a_recorder_is_the_same_as_recording() -> None:
    """A function that was looked up once counts into the same line."""
    statistics = Statistics()
    record = statistics.recorder("m", "get")
    record(0.5, None)
    statistics.record("m", "get", 0.5, "HS-6000")
    statistics.recorder("m", "get")(0.5, None)
    (found,) = statistics.snapshot()
    assert (found.count, found.errors) == (3, 1)


def test_memory_is_fixed() -> None:
    """Ten thousand different times take the room of one."""
    statistics = Statistics()
    record = statistics.recorder("m", "get")
    record(0.001, None)
    counts = statistics._histograms["m", "get"]._counts
    room, length = sys.getsizeof(counts), len(counts)
    for number in range(10_000):
        record(number * 0.0007, None)
    assert (sys.getsizeof(counts), len(counts)) == (room, length)
    assert room < 8_192


def test_a_snapshot_does_not_change() -> None:
    """What was returned stays as it is while recording goes on."""
    statistics = Statistics()
    statistics.record("m", "get", 0.5, None)
    before = statistics.snapshot()
    statistics.record("m", "get", 0.5, None)
    assert before[0].count == 1
    with pytest.raises(FrozenInstanceError):
        before[0].count = 2  # type: ignore[misc]  # that is what is tested

"""Statistics: how often, and how fast, each operation runs on each member, in fixed memory.

Times go into a log-linear histogram, as HdrHistogram's (https://hdrhistogram.org): each power of
two of seconds is divided into 16 buckets of equal width, and a percentile is the middle of its
bucket. A bucket is at most 1/16 of its lower bound wide, so a percentile is within
``RELATIVE_ERROR``, 1/32 or 3.125 %, of the exact one. That holds from ``SHORTEST`` (1 µs) to
``LONGEST`` (over an hour); a shorter time counts as ``SHORTEST``, a longer one as the maximum.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import frexp, ldexp
from typing import Protocol

__all__ = (
    "LONGEST",
    "RELATIVE_ERROR",
    "SHORTEST",
    "OperationStatistics",
    "Record",
    "Statistics",
)

_FIRST, _LAST = -19, 12  # exponents: frexp gives a mantissa of [0.5, 1)
_PARTS = 16  # buckets for each power of two
_ABOVE = (_LAST - _FIRST + 1) * _PARTS  # the last bucket holds what is longer than LONGEST

SHORTEST = ldexp(0.5, _FIRST)
"""Seconds: 2^-20, about 1 µs."""
LONGEST = ldexp(1.0, _LAST)
"""Seconds: 2^12, about 68 minutes."""
RELATIVE_ERROR = 1 / (2 * _PARTS)
"""How far a percentile may be from the exact one, as a part of the latter."""


@dataclass(frozen=True, slots=True)
class OperationStatistics:
    """The attempts of one operation on one member since the start; times are in seconds.

    ``errors`` of the ``count`` attempts failed or were cancelled; their times count, too. Half
    of the attempts took at most ``p50``; ``maximum`` is exact.
    """

    backend: str
    operation: str
    count: int
    errors: int
    p50: float
    p95: float
    p99: float
    maximum: float


class Record(Protocol):
    """Notes one attempt: how many seconds it took, and the code of its error or None."""

    def __call__(self, seconds: float, error: str | None) -> None:
        """Count the attempt."""
        ...


class Statistics:
    """Counts, errors and times of each operation on each member."""

    def __init__(self) -> None:
        self._histograms: dict[tuple[str, str], _Histogram] = {}

    def recorder(self, backend: str, operation: str) -> Record:
        """Return the function that records one operation on one member: look it up once."""
        key = (backend, operation)
        found = self._histograms.get(key)
        if found is None:
            found = self._histograms[key] = _Histogram()
        return found.record

    def record(self, backend: str, operation: str, seconds: float, error: str | None) -> None:
        """Record one attempt."""
        self.recorder(backend, operation)(seconds, error)

    def snapshot(self) -> tuple[OperationStatistics, ...]:
        """Return the statistics of all that was recorded, by member and operation."""
        return tuple(
            histogram.statistics(*key)
            for key, histogram in sorted(self._histograms.items(), key=lambda item: item[0])
            if histogram.used
        )


class _Histogram:
    __slots__ = ("_counts", "_errors", "_maximum")

    def __init__(self) -> None:
        self._counts = [0] * (_ABOVE + 1)
        self._errors = 0
        self._maximum = -1.0

    @property
    def used(self) -> bool:
        return self._maximum >= 0

    def record(self, seconds: float, error: str | None) -> None:
        # On the way of every operation: what can be computed later is computed later.
        if seconds > self._maximum:  # noqa: PLR1730 - max() takes as long as all the rest
            self._maximum = seconds
        if error is not None:
            self._errors += 1
        mantissa, exponent = frexp(seconds)
        if seconds < SHORTEST:
            self._counts[0] += 1
        elif exponent > _LAST:
            self._counts[_ABOVE] += 1
        else:
            # int(mantissa * 32) is 16 … 31.
            self._counts[(exponent - _FIRST - 1) * _PARTS + int(mantissa * (2 * _PARTS))] += 1

    def statistics(self, backend: str, operation: str) -> OperationStatistics:
        count = sum(self._counts)
        p50, p95, p99 = (self._percentile(count, part) for part in (50, 95, 99))
        return OperationStatistics(
            backend, operation, count, self._errors, p50, p95, p99, self._maximum
        )

    def _percentile(self, count: int, percent: int) -> float:
        """Return the smallest time that at least ``percent`` of all attempts did not exceed."""
        before = accumulate(self._counts)
        index = next(i for i, reached in enumerate(before) if reached * 100 >= count * percent)
        return self._maximum if index == _ABOVE else min(_middle(index), self._maximum)


def _middle(index: int) -> float:
    octave, part = divmod(index, _PARTS)
    return ldexp((_PARTS + part + 0.5) / (2 * _PARTS), octave + _FIRST)

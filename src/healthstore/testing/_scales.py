"""Numbers, and what can be counted like them: where their values usually lie, and between which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Any, cast

from healthstore.model.decimals import of_units
from healthstore.model.values import FieldType, Kind
from healthstore.testing._lifelike import FIRST_MOMENT, NOW

__all__ = ("CLOCKS", "Scale", "days", "decimals", "floats")


@dataclass(frozen=True)
class Scale:
    """A kind's values as whole numbers: where they usually lie, and between which limits."""

    usual: tuple[int, int]
    limits: tuple[int, int]
    number: Callable[[Any], Fraction]
    value: Callable[[int], object]


def decimals(usual: tuple[float, float], kind: FieldType) -> Scale:
    """Return the scale of a decimal's units."""
    most = 10**kind.digits - 1
    step = 10**kind.places
    low, high = max(-most, ceil(usual[0] * step)), min(most, floor(usual[1] * step))
    return Scale(
        (low, high) if low <= high else (0, most),
        (-most, most),
        lambda value: Fraction(value) * step,
        lambda number: of_units(number, kind.places),
    )


def floats(usual: tuple[float, float], notes: Sequence[object]) -> Scale:
    """Return the scale of a float; narrow limits make its steps smaller."""
    limits = [
        Fraction(cast(float, value))
        for note in notes
        for name in ("ge", "gt", "le", "lt")
        if (value := getattr(note, name, None)) is not None
    ]
    step = 100
    while len(limits) > 1 and (max(limits) - min(limits)) * step < 10 and step < 10**12:
        step *= 10
    return Scale(
        (ceil(usual[0] * step), floor(usual[1] * step)),
        (-(10**15), 10**15),
        lambda value: Fraction(value) * step,
        lambda number: number / step,
    )


def days(usual: tuple[date, date]) -> Scale:
    """Return the scale of a date."""
    return Scale(
        (usual[0].toordinal(), usual[1].toordinal()),
        (date(1, 1, 2).toordinal(), date(9999, 12, 30).toordinal()),
        lambda value: Fraction(value.toordinal()),
        date.fromordinal,
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _seconds(value: timedelta) -> Fraction:
    return Fraction(value // timedelta(microseconds=1), 1_000_000)


def _instant(moment: datetime) -> int:
    return int((moment.replace(tzinfo=UTC) - _EPOCH).total_seconds())


CLOCKS: Mapping[Kind, Scale] = {
    Kind.DATETIME: Scale(
        (_instant(FIRST_MOMENT), _instant(NOW) - 1),
        (-62_135_510_400, 253_402_127_999),
        lambda value: _seconds(value - _EPOCH),
        lambda number: _EPOCH + timedelta(seconds=number),
    ),
    Kind.TIME: Scale(
        (0, 86_399),
        (0, 86_399),
        lambda value: Fraction(value.hour * 3_600 + value.minute * 60 + value.second),
        lambda number: time(number // 3_600, number // 60 % 60, number % 60),
    ),
    Kind.DURATION: Scale(
        (60, 36_000),
        (-(10**12), 10**12),
        _seconds,
        lambda number: timedelta(seconds=number),
    ),
}

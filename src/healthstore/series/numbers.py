"""Means and differences of numbers, exact as far as their kind is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any, TypeAlias

from healthstore.errors import RefusedValueError

__all__ = ("Kind", "Number", "is_finite", "kind_of")

Number: TypeAlias = "int | float | Decimal | timedelta"
"""What has a mean and a change; a bool has none."""

_MICROSECOND = timedelta(microseconds=1)
_PLACES = 6  # a mean of decimals has as many more, as one of an aggregate has
_DIGITS = 1_000  # on either side of the point: far beyond what a field holds, and soon computed


@dataclass(frozen=True, slots=True)
class Kind:
    """How numbers of one kind are computed with; Any is one of them."""

    exact: Callable[[Any], Fraction]
    mean: Callable[[Fraction], Number]
    difference: Callable[[Any, Any], Number]


def is_finite(value: object) -> bool:
    """Tell whether a value is a number that can be computed with."""
    if isinstance(value, Decimal):
        return value.is_finite() and _places(value) <= _DIGITS and value.adjusted() < _DIGITS
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int | timedelta) and not isinstance(value, bool)


def kind_of(values: Sequence[Number | None], field: str) -> Kind:
    """Return the kind of all these values; raise RefusedValueError if there are several."""
    kinds: list[type] = [Decimal, timedelta]
    seen: set[type | None] = set()
    for index, value in enumerate(values):
        if value is None:
            continue
        seen.add(next((kind for kind in kinds if isinstance(value, kind)), None))
        if len(seen) > 1:
            raise RefusedValueError(
                "is a number of another kind than those before",
                hint="give only Decimals, only timedeltas, or ints and floats",
            ).at(index=index, field=field)
    if Decimal in seen:
        return _decimals(max(_places(each) for each in values if isinstance(each, Decimal)))
    return _DURATIONS if timedelta in seen else _NUMBERS


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _decimal(value: Fraction, places: int) -> Decimal:
    """Return the value with these places, whatever the program's decimal context is."""
    _, digits, _ = Decimal(units := round(value * 10**places)).as_tuple()
    return Decimal((int(units < 0), digits, -places))


def _decimals(places: int) -> Kind:
    return Kind(
        Fraction,
        lambda mean: _decimal(mean, places + _PLACES),
        lambda new, old: _decimal(Fraction(new) - Fraction(old), places),
    )


def _difference(new: float, old: float) -> float:
    difference = new - old
    if not isfinite(difference):
        raise OverflowError
    return difference


_NUMBERS = Kind(Fraction, float, _difference)
_DURATIONS = Kind(
    lambda value: Fraction(value // _MICROSECOND),
    lambda mean: timedelta(microseconds=round(mean)),
    lambda new, old: new - old,
)

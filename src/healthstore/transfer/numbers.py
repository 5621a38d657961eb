"""Numbers of a JSON file with a fraction or an exponent, digit by digit.

Each function takes a number as it is written; :func:`msgspec.json.Decoder` calls it.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

__all__ = ("InexactError", "exact_float", "exact_whole")

_SURE = 16
_DIGITS = 30  # no integer of 64 bits has more; a few characters can stand for a million


class InexactError(ArithmeticError):  # msgspec takes a ValueError for one of its own
    """A float cannot stand for a number: it would be another one."""

    def __init__(self) -> None:
        super().__init__("holds a number of more digits than a float keeps")


def exact_float(text: str) -> float:
    """Return the number as a float that is written with the same digits, whatever its places.

    Raises InexactError if there is none.
    """
    value = float(text)
    # A point and 15 digits at most: every float keeps so many.
    if len(text) <= _SURE and "e" not in text and "E" not in text:
        return value
    try:
        same = Decimal(repr(value)) == Decimal(text)
    except InvalidOperation:  # an exponent beyond all bounds
        same = False
    if not same:
        raise InexactError
    return value


def exact_whole(text: str) -> int | float:
    """Return a whole number as an int, exactly, and another one as a float."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return float(text)
    if value.adjusted() < _DIGITS and value == value.to_integral_value():
        return int(value)
    return float(text)

"""Decimal arithmetic under a context of the library's own.

A program may set its decimal context as it likes: fewer digits, traps, other limits. Whatever
depends on a context (arithmetic, ``scaleb``, ``quantize``, a minus sign, ``str``) is done here
or under :data:`EXACT`, so that no setting of a program changes what is stored or computed.
Comparing Decimals, and making them of integers and digits, depends on none.
"""

from __future__ import annotations

from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)

__all__ = ("EXACT", "UNROUNDED", "of_units", "text_of", "to_units")

# Every argument is stated: those left out come from DefaultContext, which a program may change.
EXACT = Context(
    prec=80,  # sums of 28-digit decimals stay exact, and so do all that Decimal128 can hold
    rounding=ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[InvalidOperation, DivisionByZero, Overflow],
)
UNROUNDED = EXACT.copy()
"""The same, except that rounding is an error."""
UNROUNDED.traps[Inexact] = True


def to_units(value: Decimal, places: int) -> int:
    """Return how many units of the last of these places a value has."""
    return int(value.scaleb(places, EXACT))


def of_units(units: int, places: int) -> Decimal:
    """Return the value of so many units of the last of these places."""
    return Decimal(units).scaleb(-places, EXACT)


def text_of(value: Decimal) -> str:
    """Return what ``str`` does by default."""
    return EXACT.to_sci_string(value)

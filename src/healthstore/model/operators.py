"""Operators: what a change asks of a field instead of giving it a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

__all__ = (
    "Add",
    "Append",
    "AtLeast",
    "AtMost",
    "Exclude",
    "Include",
    "Merge",
    "Now",
    "Operator",
    "PartOperator",
)


@dataclass(frozen=True, slots=True)
class Add:
    """Add to the number that is there: ``{"likes": Add(1)}``; less than 0 is taken away.

    Adding to None raises NotNullError, a sum that does not fit OutOfRangeError.
    """

    step: int | float | Decimal | timedelta


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Keep the larger one of what is there and this: ``{"best": AtLeast(9)}``.

    Of numbers, durations, dates and instants; instead of None it is this.
    """

    value: int | float | Decimal | timedelta | date | datetime


@dataclass(frozen=True, slots=True)
class AtMost:
    """Keep the smaller one of what is there and this: ``{"first_seen": AtMost(seen)}``.

    Of numbers, durations, dates and instants; instead of None it is this.
    """

    value: int | float | Decimal | timedelta | date | datetime


@dataclass(frozen=True, slots=True)
class Append:
    """Add an element at the end of a list: ``{"messages": Append(message)}``.

    None counts as an empty list; what is no list raises IntegrityError.
    """

    element: object


@dataclass(frozen=True, slots=True)
class Include:
    """Add an element at the end of a list unless one that equals it is there.

    Values of JSON are compared: 1 equals 1.0, and no bool equals a number.
    """

    element: object


@dataclass(frozen=True, slots=True)
class Exclude:
    """Take all elements out of a list that equal this one, as :class:`Include` compares."""

    element: object


@dataclass(frozen=True, slots=True)
class Merge:
    """Set keys of an object and leave the others: ``{"preferences": Merge({"theme": "dark"})}``.

    It is shallow: the value of a key is replaced as a whole, and None is stored as one. A field
    that is None counts as ``{}``; what is no object raises IntegrityError.
    """

    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Now:
    """Set an instant to the time of the write, which is the program's: ``{"seen_at": Now()}``."""


PartOperator: TypeAlias = Append | Include | Exclude | Merge
"""What is asked of JSON, as a whole or in part."""
Operator: TypeAlias = Add | AtLeast | AtMost | Append | Include | Exclude | Merge | Now

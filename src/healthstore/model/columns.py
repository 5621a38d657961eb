"""Values of many rows, converted in one go by functions that were chosen for each column once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from healthstore.model.values import uuid_of, uuids_of

__all__ = ("Converter", "at_places", "columns_of", "converted")

Converter: TypeAlias = Callable[[Any], Any]
"""From one form of a value, which is never None, to another."""

_Row: TypeAlias = Sequence[Any]
_Places: TypeAlias = "Iterable[tuple[int, Converter]]"

# As many rows take a third less time column by column than one after the other.
_MANY = 16
# Converters of whole columns, None included, that take less time than value by value.
_WHOLE: Mapping[Converter, Callable[[_Row], _Row]] = {uuid_of: uuids_of}


def at_places(converters: Iterable[Converter | None]) -> tuple[tuple[int, Converter], ...]:
    """Return the converters that there are, with the places of their columns."""
    listed = enumerate(converters)
    return tuple((place, convert) for place, convert in listed if convert is not None)


def converted(rows: Sequence[_Row], converters: _Places) -> Sequence[_Row]:
    """Return rows with their values converted; None stays."""
    if len(rows) >= _MANY:
        return list(zip(*columns_of(rows, converters), strict=True))
    found = [[*row] for row in rows]
    for row in found:
        for place, convert in converters:
            if (value := row[place]) is not None:
                row[place] = convert(value)
    return found


def columns_of(rows: Iterable[_Row], converters: _Places) -> list[_Row]:
    """Return the columns of rows, of which there is one at least, as :func:`converted`."""
    columns: list[_Row] = list(zip(*rows, strict=True))
    for place, convert in converters:
        values, whole = columns[place], _WHOLE.get(convert)
        columns[place] = (
            [None if each is None else convert(each) for each in values]
            if whole is None
            else whole(values)
        )
    return columns

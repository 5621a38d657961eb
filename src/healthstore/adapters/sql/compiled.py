"""A compiled statement, and the parts of statements that all of them have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, Integer, TextClause, bindparam, text

from healthstore.adapters.sql.dialect import Converter
from healthstore.model.schema import Collection
from healthstore.model.values import FieldType, Kind

__all__ = ("Compiled", "Lock", "converters_of", "limit", "parameter")

_INTEGER = Integer()


class Lock(Enum):
    """Which rows a read locks, where the dialect has locks of rows."""

    NONE = auto()
    ALL = auto()
    FREE = auto()
    """Those that nobody else holds; it leaves out the others."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement's text, and the places of its parameters in the list of values."""

    sql: str
    places: tuple[int, ...]

    def bind(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the parameters in the order of the placeholders."""
        return [values[place] for place in self.places]


def converters_of(
    collection: Collection, table: Mapping[Kind, Callable[[FieldType], Converter | None]]
) -> dict[str, Converter | None]:
    """Return what converts the values of each field, by its name."""
    return {each.name: table[each.type.kind](each.type) for each in collection.fields}


def limit(place: int) -> TextClause:
    """Return the clause that limits rows to the value at a place."""
    # Not `.limit()`: for SQLite it adds an OFFSET that nobody asked for.
    return text(f"LIMIT :{place}").bindparams(bindparam(str(place), type_=_INTEGER))


def parameter(place: int, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return what stands for the value at a place, of a column's type."""
    return bindparam(str(place), type_=column.type)

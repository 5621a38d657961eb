"""What an annotation says: the type of a field, whether it may be None, and its notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from healthstore.entity.declare import Digits, Entity, Milliseconds
from healthstore.errors import ConfigurationError
from healthstore.model.values import FieldType, Kind

__all__ = ("field_type", "unwrap")


def unwrap(annotation: object, notes: Iterable[object]) -> tuple[object, bool, list[object]]:
    """Return the annotation without None and Annotated, whether None is allowed, and the notes."""
    found = list(notes)
    nullable = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            found.extend(more)
            continue
        if origin in {Union, UnionType}:
            parts = get_args(annotation)
            rest = [part for part in parts if part is not NoneType]
            nullable = nullable or len(rest) < len(parts)
            if len(rest) == 1:
                annotation = rest[0]
                continue
        return annotation, nullable or _may_be_null(annotation), found


def _may_be_null(annotation: object) -> bool:
    """Tell whether an alias such as JsonValue, or Any, includes None."""
    if annotation is Any or annotation is object:
        return True
    value = getattr(annotation, "__value__", annotation)  # a named alias: pydantic's JsonValue
    return value is not annotation and NoneType in get_args(value)


_SCALARS: dict[object, Kind] = {
    bool: Kind.BOOLEAN,
    int: Kind.INTEGER,
    float: Kind.FLOAT,
    str: Kind.TEXT,
    Decimal: Kind.DECIMAL,
    datetime: Kind.DATETIME,
    AwareDatetime: Kind.DATETIME,
    date: Kind.DATE,
    time: Kind.TIME,
    timedelta: Kind.DURATION,
    UUID: Kind.UUID,
    bytes: Kind.BYTES,
}


def field_type(
    annotation: object, notes: Iterable[object], entity: type[Entity], name: str
) -> FieldType:
    """Return the type of an entity's field from its annotation, unwrapped, and its notes.

    Raises ConfigurationError for a type that not every backend can keep.
    """
    kind = _SCALARS.get(annotation)
    if kind is not None:
        return _scalar(kind, notes)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        values = [member.value for member in annotation]
        if all(isinstance(value, str) for value in values):
            return FieldType(Kind.ENUM, choices=tuple(values))
        if all(type(value) is int or isinstance(value, int) for value in values):
            return FieldType(Kind.INTEGER)
        raise _unkept(entity, name)
    if get_origin(annotation) is Literal:
        values = list(get_args(annotation))
        if all(isinstance(value, str) for value in values):
            return FieldType(Kind.ENUM, choices=tuple(values))
        if not all(isinstance(value, str | int | None) for value in values):
            raise _unkept(entity, name)
    if _is_json(annotation):
        return FieldType(Kind.JSON)
    raise _unkept(entity, name)


def _unkept(entity: type[Entity], name: str) -> ConfigurationError:
    return ConfigurationError(
        "has a type that not every backend can keep",
        hint="use a plain type (str, int, Decimal, datetime, …), an enum, or a JSON type "
        "(list, dict, a pydantic model)",
        entity=entity.__name__,
        field=name,
    )


def _scalar(kind: Kind, notes: Iterable[object]) -> FieldType:
    max_length: int | None = None
    digits = places = 0
    milliseconds = False
    for note in notes:
        if isinstance(note, Digits):
            digits, places = note.digits, note.places
        elif isinstance(note, Milliseconds):
            milliseconds = True
        elif kind is Kind.TEXT:
            max_length = getattr(note, "max_length", max_length)
        elif kind is Kind.DECIMAL:  # pydantic's own Field(max_digits=…, decimal_places=…)
            digits = getattr(note, "max_digits", digits)
            places = getattr(note, "decimal_places", places)
    return FieldType(kind, max_length, digits, places, milliseconds)


def _is_json(annotation: object) -> bool:
    origin = get_origin(annotation)
    if origin in {list, dict, tuple, set, frozenset, Mapping, Union, UnionType, Literal}:
        return True
    if origin is not None and isinstance(origin, type):
        return issubclass(origin, Iterable)
    if annotation in {list, dict, tuple, set, frozenset, Any, object}:
        return True
    if hasattr(annotation, "__value__"):  # a named alias, such as pydantic's JsonValue
        return True
    return isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or hasattr(annotation, "__annotations__")
    )

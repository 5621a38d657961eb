"""Whether a value came back as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

__all__ = ("same",)


def same(one: object, other: object) -> bool:
    """Tell whether two values hold the same data.

    They need not be equal to Python: a private attribute of a model is no data, and an instant
    at a local time that a clock shows twice is equal to no instant of another zone.
    """
    if one == other:
        return True
    if type(one) is not type(other):
        return False
    compare = next((_PARTS[each] for each in _PARTS if isinstance(one, each)), None)
    if compare is None and is_dataclass(one):
        compare = _same_attributes
    return compare is not None and compare(one, other)


def _same_instant(one: datetime, other: datetime) -> bool:
    if one.utcoffset() is None or other.utcoffset() is None:
        return False
    return one.astimezone(UTC) == other.astimezone(UTC)


def _same_items(one: Mapping[Any, object], other: Mapping[Any, object]) -> bool:
    return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())


def _same_members(one: Sequence[object], other: Sequence[object]) -> bool:
    return len(one) == len(other) and all(map(same, one, other))


def _same_data(one: Any, other: Any) -> bool:
    return _same_items(_data(one), _data(other))


def _data(model: BaseModel) -> dict[str, object]:
    names = type(model).model_fields
    kept = {name: value for name, value in model.__dict__.items() if name in names}
    return {**kept, **(model.__pydantic_extra__ or {})}


def _same_attributes(one: Any, other: Any) -> bool:
    names = [each.name for each in fields(one) if each.compare]
    return all(same(getattr(one, name, None), getattr(other, name, None)) for name in names)


_PARTS: Mapping[type, Callable[[Any, Any], bool]] = {
    datetime: _same_instant,
    BaseModel: _same_data,
    Mapping: _same_items,
    list: _same_members,
    tuple: _same_members,
}

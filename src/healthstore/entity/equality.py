"""Whether a value came back as it was."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from healthstore.model.json import MAX_DEPTH, in_itself, too_deep

__all__ = ("parts", "same")


def same(one: object, other: object, *, exact: bool = False) -> bool:
    """Tell whether two values hold the same data.

    They need not be equal to Python: a private attribute of a model is no data, and an instant
    at a local time that a clock shows twice is equal to no instant of another zone. Nor is it
    enough that a class says so: every field of a model and of a dataclass is compared. With
    ``exact``, a value of JSON has JSON's own type, and not one that is derived from it.
    """
    if exact and type(one) is not type(other) and _is_derived(one, other):
        return False
    if type(one) in _LEAVES:
        return one == other
    compare = _PARTS.get(type(one))
    if compare is None:  # slow to ask
        compare = next((_PARTS[each] for each in _PARTS if isinstance(one, each)), None)
    if compare is None and is_dataclass(one):
        compare = _same_attributes
    return one == other if compare is None else compare(one, other, exact)


def parts(value: object, above: tuple[int, ...] = ()) -> Iterator[object]:
    """Yield the values that a value holds, however deep, keys as well.

    Raises ValueError for one that holds itself, or is nested much deeper than what can be kept.
    """
    if isinstance(value, Mapping):
        held: Any = (*value.keys(), *value.values())
    elif isinstance(value, BaseModel):
        held = _data(value).values()
    elif is_dataclass(value) and not isinstance(value, type):
        held = _attributes(value).values()
    elif isinstance(value, list | tuple | deque | AbstractSet):
        held = value
    else:
        yield value
        return
    if id(value) in above:
        raise in_itself()
    if len(above) > 2 * MAX_DEPTH:
        raise too_deep()
    for each in held:
        yield from parts(each, (*above, id(value)))


_LEAVES = frozenset({str, int, float, bool, type(None)})


def _is_derived(one: object, other: object) -> bool:
    """Tell whether a value, an enum's member say, has another type than the JSON that it became."""
    return type(other) in {str, int, float, list, dict} and isinstance(one, type(other))


def _same_instant(one: datetime, other: object, _: bool) -> bool:  # noqa: FBT001 - as its siblings
    if one == other:
        return True
    if not isinstance(other, datetime) or None in {one.utcoffset(), other.utcoffset()}:
        return False
    return one.astimezone(UTC) == other.astimezone(UTC)


def _same_items(one: Mapping[Any, object], other: object, exact: bool) -> bool:  # noqa: FBT001 - as its siblings
    if not isinstance(other, Mapping) or one.keys() != other.keys():
        return False
    keys = {key: key for key in other} if exact else one
    return all(
        same(value, other[key], exact=exact) and (not exact or same(key, keys[key], exact=True))
        for key, value in one.items()
    )


def _same_members(one: Sequence[object], other: Any, exact: bool) -> bool:  # noqa: FBT001 - as its siblings
    family = next(each for each in (list, tuple, deque) if isinstance(one, each))
    if not isinstance(other, family) or len(one) != len(other):
        return False
    return all(same(each, its, exact=exact) for each, its in zip(one, other, strict=True))


def _same_elements(one: AbstractSet[object], other: object, exact: bool) -> bool:  # noqa: FBT001 - as its siblings
    if not isinstance(other, AbstractSet) or one != other:
        return False
    found = {each: each for each in other}
    return all(same(each, found[each], exact=exact) for each in one)


def _same_data(one: BaseModel, other: object, exact: bool) -> bool:  # noqa: FBT001 - as its siblings
    return type(one) is type(other) and _same_items(_data(one), _data(other), exact)


def _data(model: Any) -> dict[str, object]:
    names = type(model).model_fields
    kept = {name: value for name, value in model.__dict__.items() if name in names}
    return {**kept, **(model.__pydantic_extra__ or {})}


def _same_attributes(one: Any, other: object, exact: bool) -> bool:  # noqa: FBT001 - as its siblings
    return type(one) is type(other) and _same_items(_attributes(one), _attributes(other), exact)


def _attributes(one: Any) -> dict[str, object]:
    return {each.name: getattr(one, each.name, None) for each in fields(one)}


_PARTS: Mapping[type, Callable[[Any, Any, bool], bool]] = {
    datetime: _same_instant,
    dict: _same_items,
    BaseModel: _same_data,
    Mapping: _same_items,
    list: _same_members,
    tuple: _same_members,
    deque: _same_members,
    AbstractSet: _same_elements,
}

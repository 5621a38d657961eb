"""Operators of an update, drawn for the fields that it changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, cast

from healthstore.model.operators import (
    Add,
    Append,
    AtLeast,
    AtMost,
    Exclude,
    Include,
    Merge,
)
from healthstore.model.values import FieldType, Kind
from healthstore.testing.differential.schemas import Attribute

__all__ = ("draw_operators",)


def draw_operators(
    random: Random, attributes: Iterable[Attribute], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the changes, of which some are asked for by an operator with the value."""
    kinds = {each.name: each.type for each in attributes}
    return {
        name: value
        if value is None or random.random() < 0.6
        else _operator(random, kinds[name], value)
        for name, value in changes.items()
    }


def _operator(random: Random, kind: FieldType, value: Any) -> object:
    """Return an operator that has a meaning for the field; the value itself if none has."""
    if kind.kind is Kind.JSON:
        if random.random() < 0.3:
            return Merge(value if isinstance(value, dict) else {"k": value})
        listed = cast("list[object]", value) if isinstance(value, list) else []
        element = random.choice(listed) if listed else value
        return random.choice((Append, Include, Exclude))(element)
    if kind.numeric:
        return random.choice((Add, AtLeast, AtMost))(value)
    return random.choice((AtLeast, AtMost))(value) if kind.bounded else value

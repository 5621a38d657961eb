"""Of which type the elements of an entity's list are, by its annotation."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import get_args, get_origin

from healthstore.entity.annotations import field_type, unwrap
from healthstore.entity.declare import Entity
from healthstore.errors import ConfigurationError
from healthstore.model.values import FieldType

__all__ = ("element_type",)

_LISTS: frozenset[object] = frozenset({list, set, frozenset, deque, tuple, Sequence, AbstractSet})


def element_type(entity: type[Entity], name: str) -> FieldType | None:
    """Return the type of each element of a list; None of what is no list of one type."""
    info = entity.model_fields.get(name)
    if info is None:
        return None
    annotation, _, _ = unwrap(info.annotation, info.metadata)
    parts = get_args(annotation)
    if get_origin(annotation) is tuple:
        parts = parts[:1] if parts[1:] == (Ellipsis,) else ()
    if get_origin(annotation) not in _LISTS or len(parts) != 1:
        return None
    inner, nullable, notes = unwrap(parts[0], ())
    try:
        return None if nullable else field_type(inner, notes, entity, name)
    except ConfigurationError:
        return None

"""Changes of parts of JSON: ``{F.profile["address"]["city"]: "Bonn"}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, cast

from healthstore.entity import Entity, collection_of, stored_filter
from healthstore.errors import InvalidRequestError
from healthstore.model.parts import canonical_part_test
from healthstore.model.query import WHOLE, FieldPart, Operator, Test

__all__ = ("Changes", "changed_parts")

Changes: TypeAlias = Mapping[str, object] | Mapping[str | FieldPart, object]
"""What an update sets: fields by their names, and parts of JSON."""


def changed_parts(
    entity: type[Entity], changes: Changes
) -> tuple[dict[str, object], tuple[Test, ...]]:
    """Return the fields that are set, and for each part the test that holds afterwards.

    Raises InvalidRequestError for what is neither a name nor a path into JSON, for a field of
    another entity, and for a part that is set together with the field or another part around
    it; RefusedValueError for what is no value of JSON.
    """
    given = cast("Mapping[object, object]", changes)
    fields = {key: value for key, value in given.items() if isinstance(key, str)}
    parts = [_part(entity, key, value) for key, value in given.items() if not isinstance(key, str)]
    paths = [(each.field, (each.part or WHOLE).steps) for each in parts]
    for name, steps in paths:
        if name in fields:
            raise _both(entity, name)
        if sum(one == name and path[: len(steps)] == steps for one, path in paths) > 1:
            raise _both(entity, name)
    return fields, tuple(parts)


def _part(entity: type[Entity], key: object, value: object) -> Test:
    if not isinstance(key, FieldPart):
        raise InvalidRequestError(
            f"a change is of a field's name or a path into JSON, not of a {type(key).__name__}",
            hint='write {"name": "Ann"}, or {F.data["key"]: 1}',
            entity=entity.__name__,
        )
    test = key == value
    stored_filter(entity, test)
    return canonical_part_test(collection_of(entity), test, Operator.EQ)


def _both(entity: type[Entity], name: str) -> InvalidRequestError:
    return InvalidRequestError(
        "is set as a whole and in part",
        hint="set the whole, or parts of which none is inside another",
        entity=entity.__name__,
        field=name,
    )

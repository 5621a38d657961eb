"""What a part of a field's JSON that is set makes of the document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from healthstore.errors import IntegrityError
from healthstore.model.json import Json
from healthstore.model.query import WHOLE, Step, Test
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value

__all__ = ("with_parts",)


def with_parts(
    collection: Collection, document: Document, parts: Iterable[Test]
) -> dict[str, Value]:
    """Return the fields of a document whose parts become equal to what these tests name.

    Objects on the way that are not there, or are null, are made. Raises IntegrityError where a
    key leads into what is no object, or a place into what is no list that has it.
    """
    changed: dict[str, Value] = {}
    for each in parts:
        before = changed.get(each.field, document[each.field])
        steps = (each.part or WHOLE).steps
        try:
            made = _set(cast(Json, before), steps, cast(Json, each.operand))
        except ValueError as error:
            raise IntegrityError(
                f"cannot be set in part: {error}",
                hint="set the part that it leads through, or the field as a whole",
                entity=collection.entity,
                field=each.field,
            ) from None
        changed[each.field] = cast(Value, made)
    return changed


def _set(value: Json, steps: tuple[Step, ...], made: Json) -> Json:
    if not steps:
        return made
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        if not isinstance(value, list) or step >= len(value):
            raise ValueError("there is no list that has this place")
        return [*value[:step], _set(value[step], rest, made), *value[step + 1 :]]
    there: Json = {} if value is None else value
    if not isinstance(there, dict):
        raise ValueError("a key leads into what is no object")  # noqa: TRY004 - of the data
    return {**there, step: _set(there.get(step), rest, made)}

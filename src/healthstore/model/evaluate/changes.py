"""What operators make of values, and what a part of a field's JSON that is set makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from healthstore.errors import IntegrityError
from healthstore.model.evaluate.parts import equal_json
from healthstore.model.json import Json
from healthstore.model.operators import Append, Exclude, Include, Merge, PartOperator
from healthstore.model.query import Step
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value

__all__ = ("PartChange", "with_parts")


@dataclass(frozen=True, slots=True)
class PartChange:
    """A change of JSON: where it is, what is done there, and with which canonical value."""

    field: str
    steps: tuple[Step, ...]
    operand: Json
    operator: type[PartOperator] | None = None
    """None where the part is set."""


def with_parts(
    collection: Collection, document: Document, parts: Iterable[PartChange]
) -> dict[str, Value]:
    """Return the fields of a document of which parts are changed, as they are then.

    Objects on the way that are not there, or are null, are made; to an operator what is not there
    is an empty list or object. Raises IntegrityError where a key leads into what is no object, or
    a place into what is no list that has it, and where an operator finds neither list nor object.
    """
    changed: dict[str, Value] = {}
    for each in parts:
        before = changed.get(each.field, document[each.field])
        try:
            made = _changed(cast(Json, before), each.steps, each)
        except ValueError as error:
            raise IntegrityError(
                f"cannot be changed so: {error}",
                hint="set the part that is of another kind, or the field as a whole",
                entity=collection.entity,
                field=each.field,
            ) from None
        changed[each.field] = cast(Value, made)
    return changed


def _changed(value: Json, steps: tuple[Step, ...], change: PartChange) -> Json:
    if not steps:
        operator = change.operator
        return change.operand if operator is None else _MEANINGS[operator](value, change.operand)
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        if not isinstance(value, list) or step >= len(value):
            raise ValueError("there is no list that has this place")
        return [*value[:step], _changed(value[step], rest, change), *value[step + 1 :]]
    there = _object(value, "a key leads into what is no object")
    return {**there, step: _changed(there.get(step), rest, change)}


def _object(value: Json, otherwise: str) -> dict[str, Json]:
    there: Json = {} if value is None else value
    if not isinstance(there, dict):
        raise ValueError(otherwise)  # noqa: TRY004 - of the data
    return there


def _list(value: Json) -> list[Json]:
    there: Json = [] if value is None else value
    if not isinstance(there, list):
        raise ValueError("what is there is no list")  # noqa: TRY004 - of the data
    return there


def _append(value: Json, element: Json) -> Json:
    return [*_list(value), element]


def _include(value: Json, element: Json) -> Json:
    there = _list(value)
    return there if any(equal_json(each, element) for each in there) else [*there, element]


def _exclude(value: Json, element: Json) -> Json:
    return [each for each in _list(value) if not equal_json(each, element)]


def _merge(value: Json, values: Json) -> Json:
    return {**_object(value, "what is there is no object"), **cast("dict[str, Json]", values)}


_MEANINGS: Mapping[type[PartOperator], Callable[[Json, Json], Json]] = {
    Append: _append,
    Exclude: _exclude,
    Include: _include,
    Merge: _merge,
}

"""A mapping of changes, taken apart: ``{"likes": Add(1), F.profile["city"]: "Bonn"}``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, cast

from healthstore.entity import (
    Entity,
    canonical_value,
    collection_of,
    json_of,
    parse_fields,
    stored_filter,
)
from healthstore.errors import InvalidRequestError
from healthstore.model.evaluate import PartChange
from healthstore.model.filters import checked_operand
from healthstore.model.json import Json
from healthstore.model.operators import (
    Add,
    Append,
    AtLeast,
    AtMost,
    Exclude,
    Include,
    Merge,
    Now,
    Operator,
    PartOperator,
)
from healthstore.model.parts import canonical_part_test
from healthstore.model.query import WHOLE, FieldPart
from healthstore.model.query import Operator as Comparison
from healthstore.model.values import Kind, Value

__all__ = ("Change", "Changes", "parsed_changes", "truncated_instant")

Changes: TypeAlias = Mapping[str, object] | Mapping[str | FieldPart, object]
"""What an update sets: fields by their names, parts of JSON, and what operators ask of them."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is changed in a document, in canonical form."""

    sets: Mapping[str, Value] = field(default_factory=dict[str, Value])
    increments: Mapping[str, Value] = field(default_factory=dict[str, Value])
    at_least: Mapping[str, Value] = field(default_factory=dict[str, Value])
    at_most: Mapping[str, Value] = field(default_factory=dict[str, Value])
    instants: tuple[str, ...] = ()
    """The fields that are set to the time of the write."""
    parts: tuple[PartChange, ...] = ()
    """The changes of JSON, which are made of what is read."""

    @property
    def computed(self) -> tuple[str, ...]:
        """The fields whose new value depends on what is stored, or on the clock."""
        return (*self.increments, *self.at_least, *self.at_most, *self.instants)


def parsed_changes(entity: type[Entity], changes: Changes) -> Change:
    """Return what a mapping of changes asks of a document.

    Raises InvalidRequestError for what is neither a name nor a path into JSON, for a field of
    another entity, for a part that is changed together with the field or another part around it,
    and for an operator that has no meaning for its field; RefusedValueError for a value that the
    field does not take.
    """
    given = cast("Mapping[object, object]", changes)
    fields = {key: value for key, value in given.items() if isinstance(key, str)}
    parts = [_part(entity, key, value) for key, value in given.items() if not isinstance(key, str)]
    paths = [(each.field, each.steps) for each in parts]
    for name, steps in paths:
        if name in fields:
            raise _both(entity, name)
        if sum(one == name and path[: len(steps)] == steps for one, path in paths) > 1:
            raise _both(entity, name)
    collection = collection_of(entity)
    asked = {name: each for name, each in fields.items() if isinstance(each, Operator)}
    for name in asked:
        collection.field(name)
    wholes = [
        PartChange(name, (), _operand(entity, name, each), type(each))
        for name, each in asked.items()
        if isinstance(each, PartOperator) and _has_kind(entity, name, each, {Kind.JSON})
    ]
    return Change(
        parse_fields(entity, {name: each for name, each in fields.items() if name not in asked}),
        {
            name: _step(entity, name, each)
            for name, each in asked.items()
            if isinstance(each, Add) and _has_kind(entity, name, each, _NUMBERS)
        },
        _bounds(entity, asked, AtLeast),
        _bounds(entity, asked, AtMost),
        tuple(
            name
            for name, each in asked.items()
            if isinstance(each, Now) and _has_kind(entity, name, each, {Kind.DATETIME})
        ),
        (*parts, *wholes),
    )


def truncated_instant(entity: type[Entity], name: str, now: datetime) -> Value:
    """Return the time of a write as a field keeps it: of milliseconds, cut off below them."""
    if collection_of(entity).field(name).type.milliseconds:
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    return canonical_value(entity, name, now)


_NUMBERS = {Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL, Kind.DURATION}
_BOUNDED = _NUMBERS | {Kind.DATE, Kind.DATETIME}
_OTHERWISE: Mapping[type, str] = {
    Add: "it is for numbers and durations: set the field instead",
    AtLeast: "it is for numbers, durations, dates and instants: set the field instead",
    AtMost: "it is for numbers, durations, dates and instants: set the field instead",
    Append: "it is for lists, which are kept as JSON: set the field instead",
    Include: "it is for lists, which are kept as JSON: set the field instead",
    Exclude: "it is for lists, which are kept as JSON: set the field instead",
    Merge: "it is for objects, which are kept as JSON: set the field instead",
    Now: "it is for instants: set the field instead; which day it is depends on a zone",
}


def _has_kind(entity: type[Entity], name: str, operator: Operator, kinds: Iterable[Kind]) -> bool:
    """Return True; raise InvalidRequestError for a field that is of none of these kinds."""
    if collection_of(entity).field(name).type.kind in kinds:
        return True
    raise InvalidRequestError(
        f"{type(operator).__name__} has no meaning for this field",
        hint=_OTHERWISE[type(operator)],
        entity=entity.__name__,
        field=name,
    )


def _step(entity: type[Entity], name: str, operator: Add) -> Value:
    if cast(object, operator.step) is None:
        raise _nothing(entity, name, operator)
    collection = collection_of(entity)
    return checked_operand(collection, collection.field(name), operator.step)


def _bounds(
    entity: type[Entity], asked: Mapping[str, Operator], kind: type[AtLeast | AtMost]
) -> Mapping[str, Value]:
    found: dict[str, Value] = {}
    for name, each in asked.items():
        if isinstance(each, kind) and _has_kind(entity, name, each, _BOUNDED):
            if cast(object, each.value) is None:
                raise _nothing(entity, name, each)
            # As a value of the field: what its constraints refuse may be stored by this.
            parsed = parse_fields(entity, {name: each.value})[name]
            found[name] = canonical_value(entity, name, parsed)
    return found


def _nothing(entity: type[Entity], name: str, operator: Operator) -> InvalidRequestError:
    return InvalidRequestError(
        f"{type(operator).__name__} has no value",
        hint="give it one, or leave the change out",
        entity=entity.__name__,
        field=name,
    )


def _operand(entity: type[Entity], name: str, operator: PartOperator) -> Json:
    """Return the operand of an operator on JSON, as it is stored."""
    if not isinstance(operator, Merge):
        return json_of(entity, name, operator.element)
    values: object = operator.values
    if not isinstance(values, Mapping) or not all(isinstance(each, str) for each in values):
        raise InvalidRequestError(
            "Merge takes a mapping of keys to values",
            hint='write Merge({"theme": "dark"})',
            entity=entity.__name__,
            field=name,
        )
    return json_of(entity, name, dict(values))


def _part(entity: type[Entity], key: object, value: object) -> PartChange:
    if not isinstance(key, FieldPart):
        raise InvalidRequestError(
            f"a change is of a field's name or a path into JSON, not of a {type(key).__name__}",
            hint='write {"name": "Ann"}, or {F.data["key"]: 1}',
            entity=entity.__name__,
        )
    operator: type[PartOperator] | None = None
    if isinstance(value, Add | AtLeast | AtMost | Now):
        raise InvalidRequestError(
            f"{type(value).__name__} has no meaning for a part of JSON",
            hint="keep the number or the instant in a field of its own, or set the part",
            entity=entity.__name__,
            field=key.name,
        )
    if isinstance(value, PartOperator):
        operator, value = type(value), _operand(entity, key.name, value)
    test = key == value
    stored_filter(entity, test)
    checked = canonical_part_test(collection_of(entity), test, Comparison.EQ)
    return PartChange(
        checked.field, (checked.part or WHOLE).steps, cast(Json, checked.operand), operator
    )


def _both(entity: type[Entity], name: str) -> InvalidRequestError:
    return InvalidRequestError(
        "is set as a whole and in part",
        hint="set the whole, or parts of which none is inside another",
        entity=entity.__name__,
        field=name,
    )

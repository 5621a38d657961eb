"""Entities as data: what a program declares, and the class that a service would have written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    JsonValue,
    StringConstraints,
    create_model,
    model_validator,
)

from healthstore.entity import Digits, Entity, MaxLength, Milliseconds, Ref, Search, Searchable
from healthstore.model.query import And, Filter, Not, Operator, Or, Test
from healthstore.model.schema import Check, Index, OnDelete, Unique
from healthstore.model.values import FieldType, Kind

__all__ = (
    "Attribute",
    "Looked",
    "Member",
    "Rule",
    "Schema",
    "Span",
    "altered",
    "declare",
    "spelled",
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One field of an entity.

    ``form`` chooses among several ways to annotate one kind: a JSON field is a ``list`` or a
    ``dict``, an enum a class or a ``literal``; a text is ``lower`` by a validator, ``strip`` by
    a constraint, or often ``long``.
    """

    name: str
    type: FieldType
    nullable: bool = False
    form: str = ""
    refers: str | None = None
    on_delete: OnDelete = "restrict"


@dataclass(frozen=True, slots=True)
class Member:
    """An operand that is spelled as a member of the field's enum, not as its value."""

    value: str


@dataclass(frozen=True, slots=True)
class Span:
    """A long list of operands: the integers from ``first`` on."""

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A check: its operands are as somebody would write them."""

    name: str
    where: Filter


@dataclass(frozen=True, slots=True)
class Looked:
    """The values of an attribute in what a filter finds, as the operand of a test."""

    schema: str
    where: Filter
    field: str


@dataclass(frozen=True, slots=True)
class Schema:
    """One entity.

    ``total`` names three numbers: a validator of the model makes the first the sum of the others.
    """

    name: str
    attributes: tuple[Attribute, ...]
    uniques: tuple[tuple[str, ...], ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    checks: tuple[Rule, ...] = ()
    total: tuple[str, ...] = ()
    ignoring: tuple[tuple[str, ...], ...] = ()
    """The unique keys that ignore case."""

    @property
    def searched(self) -> tuple[str, ...]:
        """The names of the texts in which a search looks for words."""
        return tuple(each.name for each in self.attributes if each.type.words)

    def attribute(self, name: str) -> Attribute | None:
        """Return an attribute by its name."""
        return next((each for each in self.attributes if each.name == name), None)


def altered(schema: Schema, change: str) -> Schema:
    """Return a schema with a field more or less than a store was made for, or with another check."""
    extra = Attribute("added_later", FieldType(Kind.TEXT, 40), nullable=True)
    if change == "more":
        return replace(schema, attributes=(*schema.attributes, extra))
    if change == "less":
        return Schema(schema.name, schema.attributes[:-1])
    rule = Rule("added_later", Test("version", Operator.GT, 0))
    return replace(schema, checks=(*schema.checks, rule))


def declare(schema: Schema) -> type[Entity]:
    """Return a new class of the entity; raise ConfigurationError as the class statement would.

    Each call gives a class of its own: a program that starts again has new ones, too.
    """
    fields = {each.name: _annotation(each) for each in schema.attributes}
    arguments = {
        "collection": schema.name,
        "indexes": [
            *(Unique(*names) for names in schema.uniques),
            *(Unique(*names, ignore_case=True) for names in schema.ignoring),
            *(Index(*keys) for keys in schema.indexes),
            *([Search(*schema.searched)] if schema.searched else []),
        ],
        "checks": [Check(each.name, spelled(each.where, fields)) for each in schema.checks],
    }
    make = cast(Callable[..., type[Entity]], create_model)  # its overloads know no extra arguments
    return make(
        schema.name.title().replace("_", ""),
        __base__=Entity,
        __cls_kwargs__=arguments,
        __validators__={"_add_up": _adding_up(*schema.total)} if schema.total else None,
        **fields,
    )


def _adding_up(total: str, one: str, other: str) -> Any:
    def add_up(entity: Any) -> Any:
        values = entity.__dict__
        if values[one] is not None and values[other] is not None:
            values[total] = values[one] + values[other]
        return entity

    return model_validator(mode="after")(add_up)


def spelled(where: Filter, annotations: Mapping[str, object]) -> Filter:
    """Return a filter whose members of enums are those of a field's own class."""
    if isinstance(where, Not):
        return Not(spelled(where.item, annotations))
    if isinstance(where, And | Or):
        return type(where)(tuple(spelled(each, annotations) for each in where.items))
    operand: Any = where.operand
    if isinstance(operand, Span):
        return where.held(
            where.operator, tuple(range(operand.first, operand.first + operand.count))
        )
    annotation = annotations.get(where.field)
    if isinstance(operand, tuple):
        operand = tuple(_spelled(each, annotation) for each in operand)
    return where.held(where.operator, _spelled(operand, annotation))


def _spelled(operand: Any, annotation: Any) -> Any:
    if not isinstance(operand, Member):
        return operand
    kind = next((each for each in _parts(annotation) if isinstance(each, type)), None)
    if kind is not None and issubclass(kind, StrEnum):
        return kind(operand.value)
    return operand.value


def _parts(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *getattr(annotation, "__args__", ()))


_PLAIN: Mapping[Kind, Any] = {
    Kind.TEXT: str,
    Kind.INTEGER: int,
    Kind.BOOLEAN: bool,
    Kind.FLOAT: float,
    Kind.DECIMAL: Decimal,
    Kind.DATETIME: AwareDatetime,
    Kind.DATE: date,
    Kind.TIME: time,
    Kind.DURATION: timedelta,
    Kind.UUID: UUID,
    Kind.BYTES: bytes,
}
_JSON: Mapping[str, Any] = {
    "": JsonValue,
    "list": list[JsonValue],
    "dict": dict[str, JsonValue],
}


def _annotation(each: Attribute) -> Any:
    kind = each.type
    annotation = _bare(each)
    if each.nullable and annotation is not JsonValue:  # which holds None already
        annotation = annotation | None
    notes: list[Any] = []
    if kind.max_length is not None:
        notes.append(MaxLength(kind.max_length))
    if kind.kind is Kind.DECIMAL:
        notes.append(Digits(kind.digits, kind.places))
    if kind.milliseconds:
        notes.append(Milliseconds())
    if kind.searchable:
        notes.append(Searchable())
    if each.refers is not None:
        notes.append(Ref(each.refers, each.on_delete))
    if each.form == "lower":
        notes.append(AfterValidator(_lower))
    if each.form == "strip":
        notes.append(StringConstraints(strip_whitespace=True, max_length=kind.max_length))
    return Annotated[(annotation, *notes)] if notes else annotation


def _bare(each: Attribute) -> Any:
    kind = each.type
    if kind.kind is Kind.JSON:
        return _JSON[each.form]
    if kind.kind is not Kind.ENUM:
        return _PLAIN[kind.kind]
    if each.form == "literal":
        return Literal[kind.choices]
    members = {f"M{at}": text for at, text in enumerate(kind.choices)}
    return StrEnum(each.name.title(), members)


def _lower(value: str | None) -> str | None:
    return None if value is None else value.lower()

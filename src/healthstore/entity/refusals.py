"""What an entity may not declare, because the store could not give it back, and what to use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import (
    Callable,
    Generator,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import is_dataclass
from enum import Enum
from re import Pattern
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    ByteSize,
    EmailStr,
    FutureDate,
    FutureDatetime,
    ImportString,
    NaiveDatetime,
    PlainSerializer,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    WrapSerializer,
)
from pydantic.types import PathType

from healthstore.entity.annotations import SCALARS, is_typed_dict, members, unwrap
from healthstore.entity.declare import Entity
from healthstore.entity.fields import extra, nodes
from healthstore.errors import ConfigurationError
from healthstore.model.values import FieldType, Kind

__all__ = ("REFUSED", "require_class", "require_kept", "require_plain")

_SEALED = "use str with Field(repr=False), which keeps it out of logs and messages"
_LIST = "use list[X], or tuple[X, ...]: JSON does not tell which of them it was"
_INSTANT = "use AwareDatetime: what lies ahead today could not be read tomorrow"
_CODE = "keep its name in a str"

REFUSED: Mapping[object, str] = {
    SecretStr: _SEALED,
    SecretBytes: "use bytes with Field(repr=False), which keeps it out of logs and messages",
    Secret: _SEALED,
    NaiveDatetime: "use AwareDatetime: an instant without a zone is none",
    FutureDatetime: _INSTANT,
    FutureDate: "use date: what lies ahead today could not be read tomorrow",
    OrderedDict: "use list[tuple[str, X]]: the keys of a JSON object have no order",
    Sequence: _LIST,
    Iterable: "use list[X]: it can be read more than once",
    Generator: "use list[X]: it can be read more than once",
    Callable: _CODE,
    ImportString: _CODE,
    PathType: "use Path: whether a file is there may have changed when the value is read",
    Pattern: "keep the pattern in a str: JSON does not hold its flags",
    type: _CODE,
    Hashable: "use a type that says what the value is",
    Literal: "use the enum itself, or a literal of its values",
    complex: "use two fields of type float",
}
"""The types that are refused, wherever they stand in an annotation, and what to use instead."""

_SERIALIZERS = (
    "the store keeps the value itself: convert it before, or in a computed_field for output"
)


def require_class(entity: type[Entity]) -> None:
    """Raise ConfigurationError for a configuration or a serializer that the store would ignore."""
    if entity.model_config.get("extra") == "allow":
        raise ConfigurationError(
            'extra="allow" takes values that have no field to be kept in',
            hint='declare a field for them, for example details: dict[str, JsonValue] = {}, or "forbid" them',
            entity=entity.__name__,
        )
    found = entity.__pydantic_decorators__
    if found.model_serializers or entity.model_config.get("json_encoders"):
        raise ConfigurationError(
            "has a serializer, which the store would ignore",
            hint=_SERIALIZERS,
            entity=entity.__name__,
        )
    for each in found.field_serializers.values():
        raise _ignored(entity, each.info.fields[0])


def require_kept(entity: type[Entity], name: str) -> None:
    """Raise ConfigurationError for a type whose values could not come back as they were."""
    info = entity.model_fields[name]
    for found in _types(info.annotation, info.metadata, set()):
        if found in REFUSED:
            called = getattr(found, "__name__", "a type")
            raise ConfigurationError(
                f"uses {called}, which does not come back as it was",
                hint=REFUSED[found],
                entity=entity.__name__,
                field=name,
            )


def require_plain(
    entity: type[Entity], name: str, kind: FieldType, adapter: TypeAdapter[Any]
) -> None:
    """Raise ConfigurationError for what would be ignored when it is written or read.

    A serializer of a value that is kept as it is (what is kept as JSON passes through its own,
    and must come back from them), and a dataclass's field that pydantic does not take.
    """
    if kind.kind is not Kind.JSON:
        if _serializes(adapter.core_schema, entity, name):
            raise _ignored(entity, name)
        return
    for mute in filter(None, map(_never_read, nodes(adapter.core_schema))):
        raise ConfigurationError(
            f"holds a dataclass whose field {mute!r} has init=False, and could not be read back",
            hint="let __init__ take the field, or make it a property",
            entity=entity.__name__,
            field=name,
        )


def _never_read(node: dict[str, Any]) -> str | None:
    """Return the field of a dataclass that is written, and refused when it is read."""
    if node.get("type") != "dataclass" or "forbid" not in extra(node):
        return None
    own = next(each for each in nodes(node["schema"]) if each["type"] == "dataclass-args")
    return next((str(each["name"]) for each in own["fields"] if each.get("init") is False), None)


def _serializes(schema: Any, entity: type[Entity], name: str) -> bool:
    info = entity.model_fields[name]
    annotation, _, notes = unwrap(info.annotation, info.metadata)
    if any(isinstance(note, PlainSerializer | WrapSerializer) for note in notes):
        return True
    while annotation in _PLAIN and isinstance(schema, dict):  # else the type has its own
        if str(schema.get("serialization", {}).get("type", "")).startswith("function"):
            return True
        schema = schema.get("schema")
    return False


_PLAIN: frozenset[object] = frozenset(SCALARS) - {ByteSize, EmailStr}


def _types(annotation: object, notes: Iterable[object], seen: set[object]) -> Iterator[object]:
    """Yield every type that an annotation names, and those that the fields of its models name."""
    annotation, _, found = unwrap(annotation, notes)
    yield from (PathType for note in found if isinstance(note, PathType))
    origin: object = get_origin(annotation)
    if _is_known(annotation, seen):
        return
    inside = bool(seen)
    seen.add(annotation)
    if origin is Literal:
        # Of such a member, pydantic takes no value; the entity's own fields are looked up here.
        mute = any(
            isinstance(each, Enum) and not isinstance(each, str | int)
            for each in members(annotation)
        )
        yield from (Literal,) if inside and mute else ()
        return
    yield origin or annotation
    for each in get_args(annotation):
        yield from _types(each, (), seen)
    for each in _fields(origin or annotation):
        yield from _types(each, (), seen)


def _is_known(annotation: object, seen: set[object]) -> bool:
    try:
        return annotation in seen
    except TypeError:
        return True  # a list of arguments, as in Callable[[int], str], is no type


def _fields(model: object) -> Iterable[object]:
    """Return the annotations of a model's or a dataclass's fields."""
    if not isinstance(model, type):
        return ()
    if issubclass(model, BaseModel):
        return [
            Annotated[(each.annotation, *each.metadata, None)]
            for each in model.model_fields.values()
        ]
    if is_dataclass(model) or is_typed_dict(model) or hasattr(model, "_fields"):
        try:
            return get_type_hints(model, include_extras=True).values()
        except NameError:
            return ()  # known where it was written only: its values are looked at instead
    return ()


def _ignored(entity: type[Entity], name: str) -> ConfigurationError:
    return ConfigurationError(
        "has a serializer, which the store would ignore",
        hint=_SERIALIZERS,
        entity=entity.__name__,
        field=name,
    )

"""The values of one field: parsed as the entity parses them, and written as JSON's types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from datetime import datetime, time
from types import NoneType
from typing import Annotated, Any, NewType, TypeAlias, cast, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PydanticSchemaGenerationError,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticSerializationError

from healthstore.entity.annotations import is_typed_dict
from healthstore.entity.declare import Entity
from healthstore.entity.equality import parts, same
from healthstore.errors import ConfigurationError
from healthstore.model.advice import AdvisedError
from healthstore.model.json import canonical_json, exact_json, exact_jsons
from healthstore.model.values import Canonicaliser, ColumnCanonicaliser, Value

__all__ = ("Writer", "extra", "nodes", "own_columns", "own_types", "parser_of", "writer_of")

# From a value to what is stored for it; raises AdvisedError if that would come back changed.
Writer: TypeAlias = Callable[[Any], object]


_ADVICE = "keep JSON's own types, or give the field a type that says what its parts are"
_renamed: Any = NewType  # checkers let it have literal names only


def parser_of(entity: type[Entity], name: str) -> TypeAdapter[Any]:
    """Return what parses the values of one field, exactly as the entity does.

    The entity's configuration is that of the dataclasses inside, too: its ``extra="forbid"``
    decides whether one of them can be read.
    """
    info = entity.model_fields[name]
    inner: Any = info.annotation
    notes: list[object] = list(info.metadata)
    if info.discriminator is not None:
        notes.append(Field(discriminator=info.discriminator))
    annotated: Any = Annotated[(inner, *notes)] if notes else inner
    try:
        if _has_configuration(inner):
            # Under another name it takes a configuration; a model goes on using its own.
            annotated = _renamed(name, annotated)
        own = ConfigDict(hide_input_in_errors=True, ser_json_inf_nan="constants", defer_build=False)
        config = cast(ConfigDict, {**entity.model_config, **own})
        return TypeAdapter(annotated, config=config)
    except PydanticSchemaGenerationError:
        raise ConfigurationError(
            "names a type that pydantic cannot validate by itself",
            hint="use a pydantic model or a dataclass",
            entity=entity.__name__,
            field=name,
        ) from None


def _has_configuration(inner: Any) -> bool:
    """Tell whether it is a model or a dataclass, which have a configuration of their own."""
    plain = get_origin(inner) or inner
    return isinstance(plain, type) and (
        issubclass(plain, BaseModel) or is_dataclass(plain) or is_typed_dict(plain)
    )


def nodes(schema: object) -> Iterator[dict[str, Any]]:
    """Yield every part of pydantic's schema that says what a value is."""
    if isinstance(schema, dict):
        skipped: AbstractSet[object] = frozenset()
        if isinstance(schema.get("type"), str):  # else it lists fields by their names
            yield schema
            skipped = _BESIDE
        schema = [each for key, each in schema.items() if key not in skipped]
    if isinstance(schema, list | tuple):
        for each in schema:
            yield from nodes(each)


_BESIDE = frozenset({"default", "metadata", "serialization"})


def writer_of(adapter: TypeAdapter[Any]) -> Writer:
    """Return what writes a value as JSON's types, under the names of its own fields."""
    found = list(nodes(adapter.core_schema))
    kinds = {each.get("type") for each in found}
    exact = "any" in kinds or any("allow" in extra(each) for each in found)
    # What has no fields of its own is equal as Python says, and that is said fast.
    plain = not exact and kinds.isdisjoint({"model", "dataclass"})
    timed = not kinds.isdisjoint({"datetime", "time"})

    def write(value: object) -> object:
        if timed:
            _require_zones(value)
        try:
            written: object = adapter.dump_python(
                value, mode="json", by_alias=False, round_trip=True, warnings="none"
            )
        except (PydanticSerializationError, ValueError, TypeError, RecursionError):
            # `from None`: the message of the cause may quote the value.
            raise _unfit(value, "cannot be written as JSON") from None
        # JSON has no tuple, no Decimal and no datetime: only the field's type brings them back.
        try:
            back: object = adapter.validate_python(
                written, strict=False, by_alias=False, by_name=True
            )
            alike = (plain and value == back) or same(value, back, exact=exact)
        except (ValidationError, RecursionError):
            raise _unfit(value, "cannot be read back from what is stored") from None
        if not alike:
            raise _unfit(value, "would come back from the store as another value")
        return written

    return write


def own_types(family: type) -> Canonicaliser:
    """Return what makes a dict or a list canonical that holds values of JSON's own types."""

    def canonical(value: object) -> Value:
        if not isinstance(value, family):
            raise AdvisedError(f"expects {family.__name__}, not {type(value).__name__}", _ADVICE)
        try:
            return exact_json(value)
        except TypeError as error:
            raise AdvisedError(str(error), _ADVICE) from None

    return canonical


def own_columns(family: type) -> ColumnCanonicaliser:
    """Return what makes many such values, or None, canonical: see :func:`own_types`."""
    one = own_types(family)
    plain = {family, NoneType}

    def canonical(values: list[object]) -> Sequence[Value]:
        if family is object or plain.issuperset(map(type, values)):
            return exact_jsons(values)
        return [None if value is None else one(value) for value in values]

    return canonical


def extra(node: dict[str, Any]) -> tuple[object, object]:
    """Return what a model, or what stands for one, says about fields that it does not know."""
    config = node.get("config")
    said = config.get("extra_fields_behavior") if isinstance(config, dict) else None
    return node.get("extra_behavior"), said


def _unfit(value: object, otherwise: str) -> ValueError:
    """Return the error for a value that could not be kept: what is wrong with a part of it, if known."""
    try:
        for each in parts(value):
            if isinstance(each, str | float):
                canonical_json(each)
    except ValueError as error:
        return error
    return AdvisedError(otherwise, _ADVICE)


def _require_zones(value: object) -> None:
    for each in parts(value):
        if isinstance(each, datetime) and each.utcoffset() is None:
            raise AdvisedError(
                "holds a naive datetime; give it a time zone, for example tzinfo=UTC"
            )
        if isinstance(each, time) and each.tzinfo is not None:
            raise AdvisedError("holds a time with a zone; keep an aware datetime instead")

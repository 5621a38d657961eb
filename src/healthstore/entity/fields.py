"""The values of one field: parsed as the entity parses them, and written as JSON's types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Annotated, Any, TypeAlias, cast, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PydanticSchemaGenerationError,
    TypeAdapter,
)

from healthstore.entity.annotations import is_typed_dict
from healthstore.entity.declare import Entity
from healthstore.entity.equality import same
from healthstore.entity.validators import CONFIGURED
from healthstore.errors import ConfigurationError

__all__ = ("NotEqualError", "Writer", "parser_of", "writer_of")

# From a value to what is stored for it; raises ValueError if that would come back changed.
Writer: TypeAlias = Callable[[Any], object]


class NotEqualError(ValueError):
    """A value would come back from the store as another one."""


# What the configuration of an entity says about single values.
_PARSING = (
    "strict",
    "coerce_numbers_to_str",
    "use_enum_values",
    "allow_inf_nan",
    "regex_engine",
    "arbitrary_types_allowed",
    *CONFIGURED,
)


def parser_of(entity: type[Entity], name: str) -> TypeAdapter[Any]:
    """Return what parses the values of one field."""
    info = entity.model_fields[name]
    inner: Any = info.annotation
    notes: list[object] = list(info.metadata)
    if info.discriminator is not None:
        notes.append(Field(discriminator=info.discriminator))
    annotated: Any = Annotated[(inner, *notes)] if notes else inner
    try:
        if _has_configuration(inner):
            return TypeAdapter(annotated)
        given = {key: value for key, value in entity.model_config.items() if key in _PARSING}
        own = ConfigDict(hide_input_in_errors=True, ser_json_inf_nan="constants")
        config = cast(ConfigDict, {**given, **own})
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


def writer_of(adapter: TypeAdapter[Any]) -> Writer:
    """Return what writes a value as JSON's types, under the names of its own fields."""

    def write(value: object) -> object:
        written: object = adapter.dump_python(
            value, mode="json", by_alias=False, round_trip=True, warnings="none"
        )
        # JSON has no tuple, no Decimal and no datetime: only the field's type brings them back.
        back: object = adapter.validate_python(written, strict=False, by_alias=False, by_name=True)
        if not same(back, value):
            raise NotEqualError
        return written

    return write

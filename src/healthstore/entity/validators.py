"""What an entity's own validators and constraints speak about."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    PlainValidator,
    WrapValidator,
)

from healthstore.entity.annotations import unwrap
from healthstore.entity.computed import Computed
from healthstore.entity.declare import Digits, Entity, MaxLength, Milliseconds, Ref, Searchable
from healthstore.model.schema import Collection, Index, Unique
from healthstore.model.values import Kind

__all__ = ("ALWAYS", "CONFIGURED", "constrained", "has_validators", "prepared")

ALWAYS = frozenset({"version"})
# The types that say nothing about a value but its kind.
_FREE = frozenset(
    {bool, int, float, str, Decimal, datetime, AwareDatetime, date, time, timedelta, UUID, bytes}
)
_NOTES = (Computed, Digits, Milliseconds, Ref, Searchable, Unique, Index, MaxLength)
CONFIGURED = (
    "str_max_length",
    "str_min_length",
    "str_strip_whitespace",
    "str_to_lower",
    "str_to_upper",
)
_VALIDATORS = (AfterValidator, BeforeValidator, PlainValidator, WrapValidator)


def has_validators(entity: type[Entity]) -> bool:
    """Tell whether what an entity is made of may become something else, or be refused."""
    found = entity.__pydantic_decorators__
    decorated = found.validators or found.field_validators or found.model_validators
    configured = any(entity.model_config.get(name) for name in CONFIGURED)
    annotated = any(
        isinstance(note, _VALIDATORS)
        for info in entity.model_fields.values()
        for note in unwrap(info.annotation, info.metadata)[2]
    )
    after = entity.model_post_init
    made = entity.__init__ is not Entity.__init__ or (
        # Of pydantic itself: what sets private attributes, which are no data.
        after is not Entity.model_post_init and after.__name__ != "init_private_attributes"
    )
    return bool(decorated or found.root_validators or annotated or configured or made)


def prepared(entity: type[Entity]) -> frozenset[str]:
    """Return the fields whose validators take values that the type alone does not."""
    found = entity.__pydantic_decorators__.field_validators.values()
    names = {name for each in found if each.info.mode != "after" for name in each.info.fields}
    return frozenset(entity.model_fields if "*" in names else names)


def constrained(entity: type[Entity], collection: Collection) -> frozenset[str]:
    """Return the fields that are not free to hold each value of their kind."""
    found: set[str] = set()
    for name, info in entity.model_fields.items():
        annotation, _, notes = unwrap(info.annotation, info.metadata)
        kind = collection.field(name).type.kind
        if kind is Kind.JSON:
            continue  # its writer looks at each value
        free = annotation in _FREE or kind is Kind.ENUM
        if not free or any(not isinstance(note, _NOTES) for note in notes):
            found.add(name)
    return frozenset(found)

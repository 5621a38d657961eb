"""What a program says about an entity's fields: changes of them, and filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from healthstore.entity.declare import Entity
from healthstore.entity.derive import Derivation, derive
from healthstore.entity.filters import require_own, spelled
from healthstore.entity.reading import reason
from healthstore.errors import RefusedValueError
from healthstore.model.json import Json, canonical_json
from healthstore.model.query import Filter
from healthstore.model.refusals import refused
from healthstore.model.values import Value

__all__ = ("canonical_value", "is_validated", "json_of", "parse_fields", "stored_filter")


def is_validated(entity: type[Entity], fields: Iterable[str]) -> bool:
    """Tell whether the entity's class speaks about a change of these fields.

    Its validators and constraints do, and the functions that compute fields of others.
    """
    derived = derive(entity)
    return (
        derived.validated
        or bool(derived.computed)
        or any(name in derived.constrained for name in fields)
    )


def stored_filter(entity: type[Entity], where: Filter) -> Filter:
    """Return the filter with values of the entity written as the store compares them.

    Raises InvalidRequestError for a field that another entity's class names.
    """
    require_own(entity, where)
    return spelled(derive(entity).texts, where)


def parse_fields(entity: type[Entity], changes: Mapping[str, object]) -> dict[str, Value]:
    """Return validated and canonical values for some of an entity's fields.

    What a validator of the entity may take in another form is returned as it is, for
    :func:`require_valid`, and so is None. Raises UnknownFieldError or RefusedValueError.
    """
    derived = derive(entity)
    parsed: dict[str, object] = {}
    for name, value in changes.items():
        derived.collection.field(name)
        parsed[name] = value
        if name not in derived.prepared:
            made = _parsed(derived, name, value)
            parsed[name] = None if made is None else canonical_value(entity, name, made)
    return cast("dict[str, Value]", parsed)


def canonical_value(entity: type[Entity], name: str, value: object) -> Value:
    """Return what is stored for a value, not None, of a field; raise RefusedValueError."""
    derived = derive(entity)
    try:
        return derived.values[name](value)
    except (TypeError, ValueError) as error:
        raise refused(derived.collection, name, error) from None


def json_of(entity: type[Entity], name: str, value: object) -> Json:
    """Return a value as JSON that becomes a part of a field; raise RefusedValueError.

    A model, an instant and what else is no value of JSON is written as pydantic writes it.
    """
    try:
        return canonical_json(value)
    except ValueError as error:
        raise refused(derive(entity).collection, name, error) from None
    except TypeError as error:
        otherwise = error
    try:
        return canonical_json(to_jsonable_python(value, by_alias=False, round_trip=True))
    except (PydanticSerializationError, RecursionError, TypeError, ValueError):
        # The message of the cause may quote the value.
        raise refused(derive(entity).collection, name, otherwise) from None


def _parsed(derived: Derivation, name: str, value: object) -> object:
    try:
        return derived.parsers[name].validate_python(value)
    except ValidationError as error:
        said = reason(error)
    raise RefusedValueError(said, entity=derived.collection.entity, field=name)

"""From an entity to its document, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cached_property
from typing import TypeVar, cast, get_args

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError
from pydantic_core.core_schema import ErrorType

from healthstore.entity.declare import Entity
from healthstore.entity.derive import Derivation, derive
from healthstore.entity.equality import same
from healthstore.entity.fields import NotEqualError, Writer, ZoneError
from healthstore.entity.filters import spelled
from healthstore.errors import InvalidRequestError, RefusedValueError, SchemaMismatchError
from healthstore.model.query import Filter
from healthstore.model.values import Document, Value

__all__ = (
    "as_stored",
    "from_document",
    "from_written",
    "is_validated",
    "parse_fields",
    "require_valid",
    "stored_filter",
    "to_document",
)

M = TypeVar("M", bound=Entity)


def to_document(entity: Entity) -> Document:
    """Return the entity's document; its values become canonical in the guard.

    Raises InvalidRequestError if it lacks a field or has one that is not declared, and
    RefusedValueError for a value that would come back changed.
    """
    derived = derive(type(entity))
    values = entity.__dict__
    if set(values) != derived.names or entity.__pydantic_extra__:
        _require_fields(entity, derived)
    document: dict[str, object] = {}
    for name, write in derived.writers:
        value = values[name]
        document[name] = _written(derived, name, write, value)
    if derived.rechecked:
        _require_stable(entity, document)
    elif type(entity.version) is not int or entity.version < 1:
        raise RefusedValueError(
            "is not 1 or more",
            hint="leave it to the library",
            entity=derived.collection.entity,
            field="version",
        )
    # The guard turns each value into a canonical one, or refuses it.
    return cast(Document, document)


def _require_fields(entity: Entity, derived: Derivation) -> None:
    """Refuse an entity that lacks fields, or that holds a value which no field keeps."""
    given = {**entity.__dict__, **(entity.__pydantic_extra__ or {})}
    missing = [name for name, _ in derived.writers if name not in given]
    if missing:
        raise InvalidRequestError(
            f"has no value for {', '.join(missing)}",
            hint="give each field a value; model_construct() gives none",
            entity=derived.collection.entity,
            field=missing[0],
        )
    for name in given:
        if not isinstance(getattr(type(entity), name, None), cached_property):
            derived.collection.field(name)  # raises for the one that is not known


def _written(derived: Derivation, name: str, write: Writer | None, value: object) -> object:
    """Return a field's value as it is stored, or refuse what would come back changed."""
    if write is None or value is None:
        return value
    hint = "keep JSON's own types, or give the field a type that says what its parts are"
    try:
        return write(value)
    except ZoneError as error:
        reason, hint = str(error), ""  # our own words, without the value
    except NotEqualError:
        reason = "would come back from the store as another value"
    except ValidationError:
        reason = "cannot be read back from what is stored"
    except (PydanticSerializationError, ValueError, TypeError, RecursionError):
        reason = "cannot be written as JSON"  # the message of the cause may quote the value
    raise RefusedValueError(
        reason,
        hint=hint,
        entity=derived.collection.entity,
        field=name,
    )


def _require_stable(entity: Entity, document: Mapping[str, object]) -> None:
    """Refuse an entity whose validators would make something else of it when it is read."""
    if not same(require_valid(type(entity), document), entity):
        raise RefusedValueError(
            "the entity's validators change it when it is read again",
            hint="let validators accept their own result unchanged",
            entity=type(entity).__name__,
        )


def require_valid(entity: type[M], document: Mapping[str, object]) -> M:
    """Return the entity of a document; raise RefusedValueError if its own validators refuse it."""
    try:
        return _read(entity, document)
    except ValidationError as error:
        reason, field = _reason(error), _place(error)
    raise RefusedValueError(
        reason,
        hint="change the other fields that it depends on, too",
        entity=entity.__name__,
        field=field,
    )


def _read(entity: type[M], document: Mapping[str, object]) -> M:
    """Return the entity of a document, whose fields have their own names, not their aliases."""
    listed = derive(entity).members
    if listed:
        found = {name: _member(each, document.get(name)) for name, each in listed.items()}
        document = {**document, **found}
    return entity.model_validate(document, strict=False, by_alias=False, by_name=True)


def _member(by_value: Mapping[object, Enum], stored: object) -> object:
    return by_value.get(stored, stored) if isinstance(stored, str | int) else stored


def is_validated(entity: type[Entity], fields: Iterable[str]) -> bool:
    """Tell whether validators or constraints of the entity speak about a change of these fields."""
    derived = derive(entity)
    return derived.validated or any(name in derived.constrained for name in fields)


def from_document(entity: type[M], document: Document) -> M:
    """Return the entity for a stored document.

    Raises SchemaMismatchError if the document does not satisfy the entity's own validators.
    """
    try:
        return _read(entity, document)
    except ValidationError as error:
        problems, field = error.error_count(), _place(error)
    raise SchemaMismatchError(
        f"a stored document does not fit the entity ({problems} problems)",
        hint="the entity's validators are stricter than the data that was stored",
        entity=entity.__name__,
        field=field,
    )


def as_stored(entity: M, document: Document) -> M:
    """Return the entity as it is read after its document was written; itself, if it looks the same."""
    for name, canonical in derive(type(entity)).varied:
        value = document[name]
        if value is None:
            continue
        if canonical is None:  # JSON's own types are written as they are
            changed = value != entity.__dict__[name]
        else:
            kept = canonical(value)
            changed = kept is not value and repr(kept) != repr(value)
        if changed:
            return from_written(type(entity), document)
    return entity


def from_written(entity: type[M], document: Document) -> M:
    """Return the entity as it is read after this document was written."""
    kept: Document = {
        name: None if document[name] is None else canonical(document[name])
        for name, canonical, _ in derive(entity).collection.canonicalisers
    }
    return from_document(entity, kept)


def stored_filter(entity: type[Entity], where: Filter) -> Filter:
    """Return the filter with values of the entity written as the store compares them."""
    return spelled(derive(entity).texts, where)


def parse_fields(entity: type[Entity], changes: Mapping[str, object]) -> dict[str, Value]:
    """Return validated values for some of an entity's fields, ready for the guard.

    What a validator of the entity may take in another form is returned as it is, for
    :func:`require_valid`. Raises UnknownFieldError or RefusedValueError.
    """
    derived = derive(entity)
    writers = dict(derived.writers)
    parsed: dict[str, object] = {}
    for name, value in changes.items():
        derived.collection.field(name)
        parsed[name] = value
        if name not in derived.prepared:
            parsed[name] = _written(derived, name, writers[name], _parsed(derived, name, value))
    return cast("dict[str, Value]", parsed)


def _parsed(derived: Derivation, name: str, value: object) -> object:
    try:
        return derived.parsers[name].validate_python(value)
    except ValidationError as error:
        reason = _reason(error)
    raise RefusedValueError(reason, entity=derived.collection.entity, field=name)


_KNOWN = frozenset(get_args(ErrorType))
_FROM_VALIDATORS = frozenset({"value_error", "assertion_error"})
# What pydantic takes from the value into its message.
_QUOTED = ("error", "tag", "encoding_error", "tz_actual")


def _reason(error: ValidationError) -> str:
    """Return pydantic's reason without the value, and nothing of what a validator wrote."""
    first = error.errors(include_input=False, include_url=False)[0]
    if first["type"] in _FROM_VALIDATORS or first["type"] not in _KNOWN:
        return "is refused by the entity's validator"
    message, context = first["msg"], first.get("ctx", {})
    for name in _QUOTED:
        if name in context:
            message = message.partition(str(context[name]))[0].rstrip(" ,:'")
    return message


def _place(error: ValidationError) -> str | None:
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    return str(first["loc"][0]) if first["loc"] else None

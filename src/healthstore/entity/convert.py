"""From an entity to its document, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from healthstore.entity.declare import Entity
from healthstore.entity.derive import Derivation, derive
from healthstore.errors import RefusedValueError, SchemaMismatchError
from healthstore.model.values import Document, Value

__all__ = (
    "from_document",
    "is_validated",
    "parse_fields",
    "require_valid",
    "to_document",
)

M = TypeVar("M", bound=Entity)


def to_document(entity: Entity) -> Document:
    """Return the entity's document; its values become canonical in the guard."""
    derived = derive(type(entity))
    values = entity.__dict__
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


def _written(
    derived: Derivation, name: str, write: Callable[[Any], object] | None, value: object
) -> object:
    """Return a field's value as it is stored, or refuse what would come back changed."""
    if write is None or value is None:
        return value
    try:
        return write(value)
    except (PydanticSerializationError, UnicodeDecodeError):
        reason = "cannot be written as JSON"
    except ValidationError:
        reason = "cannot be read back from JSON"
    except ValueError as error:
        reason = str(error)
    raise RefusedValueError(
        reason,
        hint="keep JSON's own types, or give the field a type that says what its parts are",
        entity=derived.collection.entity,
        field=name,
    )


def _require_stable(entity: Entity, document: Mapping[str, object]) -> None:
    """Refuse an entity whose validators would make something else of it when it is read."""
    if require_valid(type(entity), document) != entity:
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
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        raise RefusedValueError(
            _reason(error),
            hint="change the other fields that it depends on, too",
            entity=entity.__name__,
            field=str(first["loc"][0]) if first["loc"] else None,
        ) from None


def _read(entity: type[M], document: Mapping[str, object]) -> M:
    """Return the entity of a document, whose fields have their own names, not their aliases."""
    return entity.model_validate(document, strict=False, by_alias=False, by_name=True)


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
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        raise SchemaMismatchError(
            f"a stored document does not fit the entity ({error.error_count()} problems)",
            hint="the entity's validators are stricter than the data that was stored",
            entity=entity.__name__,
            field=str(first["loc"][0]) if first["loc"] else None,
        ) from None


def parse_fields(entity: type[Entity], changes: Mapping[str, object]) -> dict[str, Value]:
    """Return validated values for some of an entity's fields, ready for the guard.

    Raises UnknownFieldError or RefusedValueError.
    """
    derived = derive(entity)
    writers = dict(derived.writers)
    parsed: dict[str, object] = {}
    for name, value in changes.items():
        derived.collection.field(name)
        try:
            valid = derived.parsers[name].validate_python(value)
        except ValidationError as error:
            raise RefusedValueError(
                _reason(error), entity=derived.collection.entity, field=name
            ) from None
        parsed[name] = _written(derived, name, writers[name], valid)
    return cast("dict[str, Value]", parsed)


def _reason(error: ValidationError) -> str:
    """Return pydantic's reason, unless a validator wrote it: that may quote the value."""
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    if first["type"] in {"value_error", "assertion_error"}:
        return "is refused by the entity's validator"
    # What follows the comma of a parser's message may quote a character of the value.
    return first["msg"].partition(",")[0] if "parsing" in first["type"] else first["msg"]

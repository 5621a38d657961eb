"""From a document to its entity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast, get_args

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

from healthstore.entity.computed import FAILED
from healthstore.entity.declare import Entity
from healthstore.entity.derive import derive
from healthstore.errors import RefusedValueError, SchemaMismatchError
from healthstore.model.documents import canonical_document
from healthstore.model.json import in_itself, too_deep
from healthstore.model.values import Document, Value

__all__ = (
    "as_stored",
    "column_reader",
    "from_document",
    "from_written",
    "place",
    "reader_of",
    "reason",
    "require_valid",
)

M = TypeVar("M", bound=Entity)


def from_document(entity: type[M], document: Document) -> M:
    """Return the entity for a stored document; see :func:`reader_of`."""
    return reader_of(entity)(document)


def reader_of(entity: type[M]) -> Callable[[Document], M]:
    """Return what makes an entity of a stored document.

    It raises SchemaMismatchError if the document does not satisfy the entity's own validators.
    What was stored is canonical. So pydantic is asked only about entities that have validators
    or constraints of their own; any other is made as it would make it, in a fifth of the time.
    """
    return cast("Callable[[Document], M]", _reader(entity))


# A cache of pure functions, by class: it holds nothing that a program could observe.
@cache
def _reader(entity: type[M]) -> Callable[[Document], M]:
    derived = derive(entity)

    def validated(document: Document) -> M:
        try:
            return _read(entity, document)
        except ValidationError as error:
            problems, field = error.error_count(), place(error)
        raise SchemaMismatchError(
            f"a stored document does not fit the entity ({problems} problems)",
            hint="the entity's validators are stricter than the data that was stored",
            entity=entity.__name__,
            field=field,
        )

    if not derived.trusted:
        return validated
    names, readers = derived.names, derived.readers
    count = len(names)
    new: Callable[[type[M]], M] = entity.__new__
    put = object.__setattr__  # an entity may be frozen

    def trusted(document: Document) -> M:
        values: dict[str, Any] = dict(document)
        if len(values) != count:
            return validated(document)
        try:
            for name, read in readers:
                if (value := values[name]) is not None:
                    values[name] = read(value)
        except (KeyError, ValidationError):
            return validated(document)
        made = new(entity)
        # As BaseModel.model_construct sets them.
        put(made, "__dict__", values)
        put(made, "__pydantic_fields_set__", set(names))
        put(made, "__pydantic_extra__", None)
        put(made, "__pydantic_private__", None)
        return made

    return trusted


def column_reader(entity: type[Entity], name: str) -> Callable[[Value], object] | None:
    """Return what makes of a field's stored value, not None, that of the attribute; None: it is that.

    It raises SchemaMismatchError for a value that the field's type does not read.
    """
    derived = derive(entity)
    read = dict(derived.readers).get(name)
    if read is None:
        return None
    if entity.model_config.get("use_enum_values"):
        listed: Mapping[object, Enum] = derived.members.get(name, {})
        parse = derived.parsers[name].validate_python

        def as_value(value: Value) -> object:
            return parse(_member(listed, value), strict=False, by_alias=False, by_name=True)

        read = as_value

    def reader(value: Value) -> object:
        try:
            return read(value)
        except ValidationError as error:
            problems = error.error_count()
        raise SchemaMismatchError(
            f"a stored value does not fit the entity ({problems} problems)",
            hint="the field's type is stricter than the data that was stored",
            entity=entity.__name__,
            field=name,
        )

    return reader


def _read(entity: type[M], document: Mapping[str, object]) -> M:
    """Return the entity of a document, whose fields have their own names, not their aliases."""
    listed = derive(entity).members
    if listed:
        found = {name: _member(each, document.get(name)) for name, each in listed.items()}
        document = {**document, **found}
    return entity.model_validate(document, strict=False, by_alias=False, by_name=True)


def _member(by_value: Mapping[object, Enum], stored: object) -> object:
    return by_value.get(stored, stored) if isinstance(stored, str | int) else stored


def require_valid(entity: type[M], document: Mapping[str, object]) -> M:
    """Return the entity of a document; raise RefusedValueError if its own validators refuse it."""
    try:
        return _read(entity, document)
    except ValidationError as error:
        said, field = reason(error), place(error)
    raise RefusedValueError(
        said,
        hint="change the other fields that it depends on, too",
        entity=entity.__name__,
        field=field,
    )


def as_stored(entity: M, document: Document) -> M:
    """Return the entity as it is read when its document is stored; itself, if it looks the same."""
    given = entity.__dict__
    for name, differs in derive(type(entity)).varied:
        kept, value = document[name], given[name]
        if kept is not value and differs(kept, value):
            return from_document(type(entity), document)
    return entity


def from_written(entity: type[M], document: Document) -> M:
    """Return the entity as it is read after this document was written."""
    return from_document(entity, canonical_document(derive(entity).collection, document))


_KNOWN = frozenset(get_args(ErrorType))
_FROM_VALIDATORS = frozenset({"value_error", "assertion_error"})
# What pydantic says in words of its own about values of values.
_RECURSIONS = {"recursion_loop": in_itself, "recursion_depth_exceeded": too_deep}
# What pydantic takes from the value into its message.
_QUOTED = ("error", "tag", "encoding_error", "tz_actual")


def reason(error: ValidationError) -> str:
    """Return pydantic's reason without the value, and nothing of what a validator wrote."""
    first = error.errors(include_input=False, include_url=False)[0]
    if first["type"] == FAILED:
        return first["msg"]
    if first["type"] in _FROM_VALIDATORS or first["type"] not in _KNOWN:
        return "is refused by the entity's validator"
    if first["type"] in _RECURSIONS:
        return str(_RECURSIONS[first["type"]]())
    message, context = first["msg"], first.get("ctx", {})
    for name in _QUOTED:
        if name in context:
            message = message.partition(str(context[name]))[0].rstrip(" ,:'")
    return message


def place(error: ValidationError) -> str | None:
    """Return the field of which pydantic's first error speaks."""
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    return str(first["loc"][0]) if first["loc"] else None

"""Entities: pydantic models that every backend can keep.

A subclass of :class:`Entity` is an ordinary pydantic model. Its definition as a
:class:`~healthstore.model.schema.Collection` is derived from its annotations::

    class User(Entity, collection="users"):
        email: Annotated[str, Unique(), MaxLength(255)]
        first_name: str | None = None
        profile: dict[str, JsonValue] = {}

``str``, ``int``, ``bool``, ``float``, ``datetime`` (aware), ``date``, ``time``, ``timedelta``,
``UUID``, ``bytes``, ``Decimal`` with :class:`Digits`, enums and literals of strings have columns
of their own. Everything else that pydantic can write as JSON (lists, mappings, models, unions)
is kept as JSON.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from os import urandom
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, cast, get_args, get_origin
from uuid import UUID

from annotated_types import MaxLen as MaxLength
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WrapValidator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError

from healthstore.errors import (
    ConfigurationError,
    RefusedValueError,
    SchemaMismatchError,
)
from healthstore.model.schema import Check, Collection, Index, OnDelete, Reference, Unique
from healthstore.model.schema import Field as SchemaField
from healthstore.model.values import Document, FieldType, Kind, Value

__all__ = (
    "Digits",
    "Entity",
    "MaxLength",
    "Milliseconds",
    "Ref",
    "collection_of",
    "from_document",
    "is_validated",
    "parse_fields",
    "require_valid",
    "to_document",
    "utc_now",
    "uuid7",
)

M = TypeVar("M", bound="Entity")


@dataclass(frozen=True, slots=True)
class Digits:
    """A Decimal's digits in all (at most 28) and its places after the point."""

    digits: int
    places: int


@dataclass(frozen=True, slots=True)
class Milliseconds:
    """An instant of whole milliseconds; MongoDB keeps it as a native date."""


@dataclass(frozen=True, init=False)
class Ref:
    """A UUID field that holds the id of another entity, or of a collection by its name.

    ``on_delete`` says what becomes of this document when the other one is deleted: it
    forbids that (``"restrict"``), goes with it (``"cascade"``) or loses the reference
    (``"set_null"``).
    """

    target: type[Entity] | str
    on_delete: OnDelete

    def __init__(self, target: type[Entity] | str, on_delete: OnDelete = "restrict") -> None:
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "on_delete", on_delete)


def utc_now() -> datetime:
    """Return the present instant in UTC."""
    return datetime.now(UTC)


def uuid7() -> UUID:
    """Return a new UUID version 7 (RFC 9562): 48 bits of milliseconds, 12 of their fraction."""
    nanoseconds = clock.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    tail = int.from_bytes(urandom(8), "big") & ((1 << 62) - 1)
    return UUID(int=(milliseconds << 80) | (7 << 76) | (fraction << 64) | (2 << 62) | tail)


class Entity(BaseModel):
    """A document with a key, two instants and a version.

    ``version`` starts at 1 and rises by one with each change; ``updated_at`` is the instant
    of the last one. Class arguments: ``collection``, the name under which it is stored;
    ``indexes``, of :class:`Index` and :class:`Unique`; ``checks``, of :class:`Check`.
    """

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,  # a message must not hold health data
        ser_json_inf_nan="constants",  # else NaN becomes null without a word
    )

    id: UUID = Field(default_factory=uuid7)
    created_at: AwareDatetime = Field(default_factory=utc_now)
    updated_at: AwareDatetime = Field(default_factory=lambda data: data["created_at"])
    version: int = Field(default=1, ge=1)

    __collection_name__: ClassVar[str | None] = None
    __indexes__: ClassVar[tuple[Index | Unique, ...]] = ()
    __checks__: ClassVar[tuple[Check, ...]] = ()

    def __init_subclass__(
        cls,
        *,
        collection: str | None = None,
        indexes: Iterable[Index | Unique] = (),
        checks: Iterable[Check] = (),
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        if collection is not None:
            cls.__collection_name__ = collection
        cls.__indexes__ = (*cls.__indexes__, *indexes)
        cls.__checks__ = (*cls.__checks__, *checks)


@dataclass(frozen=True, slots=True)
class _Mapping:
    """How an entity's class and its documents relate."""

    collection: Collection
    writers: tuple[tuple[str, Callable[[Any], object] | None], ...]
    parsers: Mapping[str, TypeAdapter[Any]]
    validated: bool
    """Whether the class has validators of its own."""
    constrained: frozenset[str]
    """The fields whose annotation holds more than our own notes."""


# A cache of pure derivations, by class: it holds nothing that a program could observe.
@cache
def _mapping(entity: type[Entity]) -> _Mapping:
    name = entity.__collection_name__
    if name is None:
        raise ConfigurationError(
            f"{entity.__name__} has no collection",
            hint=f'write: class {entity.__name__}(Entity, collection="…")',
            entity=entity.__name__,
        )
    fields: list[SchemaField] = []
    uniques: list[Unique] = []
    indexes: list[Index] = []
    references: list[Reference] = []
    writers: list[tuple[str, Callable[[Any], object] | None]] = []
    parsers: dict[str, TypeAdapter[Any]] = {}
    for field_name, info in entity.model_fields.items():
        annotation, nullable, notes = _unwrap(info.annotation, info.metadata)
        kind = _field_type(annotation, notes, entity, field_name)
        fields.append(SchemaField(field_name, kind, nullable=nullable))
        parsers[field_name] = _adapter(info)
        writers.append((field_name, _writer(kind, parsers[field_name])))
        for note in notes:
            if isinstance(note, Unique):
                uniques.append(Unique(*(note.fields or (field_name,))))
            elif isinstance(note, Index):
                indexes.append(Index(*(note.keys or (field_name,))))
            elif isinstance(note, Ref):
                references.append(Reference(field_name, _target(note, name), note.on_delete))
    for index in entity.__indexes__:
        (uniques if isinstance(index, Unique) else indexes).append(cast(Any, index))
    keys: tuple[Unique | Index, ...] = (*uniques, *indexes)
    indexed = {key.fields[:1] for key in keys}
    # A reference without an index makes each deletion of its target read the whole collection.
    indexes.extend(Index(each.field) for each in references if (each.field,) not in indexed)
    collection = Collection(
        name=name,
        fields=tuple(fields),
        uniques=tuple(dict.fromkeys(uniques)),
        indexes=tuple(dict.fromkeys(indexes)),
        references=tuple(references),
        checks=entity.__checks__,
        entity=entity.__name__,
    )
    return _Mapping(
        collection, tuple(writers), parsers, _has_validators(entity), _constrained(entity)
    )


_NOTES = (Digits, Milliseconds, Ref, Unique, Index, MaxLength)
_VALIDATORS = (AfterValidator, BeforeValidator, PlainValidator, WrapValidator)


def _has_validators(entity: type[Entity]) -> bool:
    found = entity.__pydantic_decorators__
    decorated = found.validators or found.field_validators or found.model_validators
    annotated = any(
        isinstance(note, _VALIDATORS)
        for info in entity.model_fields.values()
        for note in _unwrap(info.annotation, info.metadata)[2]
    )
    return bool(decorated or found.root_validators or annotated)


def _constrained(entity: type[Entity]) -> frozenset[str]:
    return frozenset(
        name
        for name, info in entity.model_fields.items()
        if any(not isinstance(note, _NOTES) for note in _unwrap(info.annotation, info.metadata)[2])
    )


def collection_of(entity: type[Entity]) -> Collection:
    """Return the definition of an entity's collection.

    Raises ConfigurationError for an annotation or a name that not every backend could keep.
    """
    return _mapping(entity).collection


def _target(note: Ref, own: str) -> str:
    if isinstance(note.target, str):
        return own if note.target == "self" else note.target
    target = note.target.__collection_name__
    if target is None:
        raise ConfigurationError(f"{note.target.__name__} has no collection to refer to")
    return target


def _unwrap(annotation: object, notes: Iterable[object]) -> tuple[object, bool, list[object]]:
    """Return the annotation without None and Annotated, whether None is allowed, and the notes."""
    found = list(notes)
    nullable = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            found.extend(more)
            continue
        if origin in {Union, UnionType}:
            parts = get_args(annotation)
            rest = [part for part in parts if part is not NoneType]
            nullable = nullable or len(rest) < len(parts)
            if len(rest) == 1:
                annotation = rest[0]
                continue
        return annotation, nullable or _may_be_null(annotation), found


def _may_be_null(annotation: object) -> bool:
    """Tell whether an alias such as JsonValue, or Any, includes None."""
    if annotation is Any or annotation is object:
        return True
    value = getattr(annotation, "__value__", annotation)  # a named alias: pydantic's JsonValue
    return value is not annotation and NoneType in get_args(value)


_SCALARS: dict[object, Kind] = {
    bool: Kind.BOOLEAN,
    int: Kind.INTEGER,
    float: Kind.FLOAT,
    str: Kind.TEXT,
    Decimal: Kind.DECIMAL,
    datetime: Kind.DATETIME,
    AwareDatetime: Kind.DATETIME,
    date: Kind.DATE,
    time: Kind.TIME,
    timedelta: Kind.DURATION,
    UUID: Kind.UUID,
    bytes: Kind.BYTES,
}


def _field_type(
    annotation: object, notes: Iterable[object], entity: type[Entity], name: str
) -> FieldType:
    kind = _SCALARS.get(annotation)
    if kind is not None:
        return _scalar(kind, notes)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        values = [member.value for member in annotation]
        if all(isinstance(value, str) for value in values):
            return FieldType(Kind.ENUM, choices=tuple(values))
        if all(type(value) is int or isinstance(value, int) for value in values):
            return FieldType(Kind.INTEGER)
        raise _unkept(entity, name)
    if get_origin(annotation) is Literal:
        values = list(get_args(annotation))
        if all(isinstance(value, str) for value in values):
            return FieldType(Kind.ENUM, choices=tuple(values))
        if not all(isinstance(value, str | int | None) for value in values):
            raise _unkept(entity, name)
    if _is_json(annotation):
        return FieldType(Kind.JSON)
    raise _unkept(entity, name)


def _unkept(entity: type[Entity], name: str) -> ConfigurationError:
    return ConfigurationError(
        "has a type that not every backend can keep",
        hint="use a plain type (str, int, Decimal, datetime, …), an enum, or a JSON type "
        "(list, dict, a pydantic model)",
        entity=entity.__name__,
        field=name,
    )


def _scalar(kind: Kind, notes: Iterable[object]) -> FieldType:
    max_length: int | None = None
    digits = places = 0
    milliseconds = False
    for note in notes:
        if isinstance(note, Digits):
            digits, places = note.digits, note.places
        elif isinstance(note, Milliseconds):
            milliseconds = True
        elif kind is Kind.TEXT:
            max_length = getattr(note, "max_length", max_length)
        elif kind is Kind.DECIMAL:  # pydantic's own Field(max_digits=…, decimal_places=…)
            digits = getattr(note, "max_digits", digits)
            places = getattr(note, "decimal_places", places)
    return FieldType(kind, max_length, digits, places, milliseconds)


def _is_json(annotation: object) -> bool:
    origin = get_origin(annotation)
    if origin in {list, dict, tuple, set, frozenset, Mapping, Union, UnionType, Literal}:
        return True
    if origin is not None and isinstance(origin, type):
        return issubclass(origin, Iterable)
    if annotation in {list, dict, tuple, set, frozenset, Any, object}:
        return True
    if hasattr(annotation, "__value__"):  # a named alias, such as pydantic's JsonValue
        return True
    return isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or hasattr(annotation, "__annotations__")
    )


def _adapter(info: FieldInfo) -> TypeAdapter[Any]:
    inner: Any = info.annotation
    annotated: Any = Annotated[(inner, *info.metadata)] if info.metadata else inner
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        return TypeAdapter(annotated)  # a model has a configuration of its own
    config = ConfigDict(hide_input_in_errors=True, ser_json_inf_nan="constants")
    return TypeAdapter(annotated, config=config)


def _writer(kind: FieldType, adapter: TypeAdapter[Any]) -> Callable[[Any], object] | None:
    if kind.kind is not Kind.JSON:
        return None  # enums and other scalars are made canonical by the guard

    def write(value: object) -> object:
        written: object = adapter.dump_python(value, mode="json")
        # JSON has no tuple, no Decimal and no datetime: only the field's type brings them back.
        if adapter.validate_python(written, by_alias=False, by_name=True) != value:
            raise ValueError("would come back from JSON as another value")
        return written

    return write


def to_document(entity: Entity) -> Document:
    """Return the entity's document; its values become canonical in the guard."""
    mapping = _mapping(type(entity))
    values = entity.__dict__
    document: dict[str, object] = {}
    for name, write in mapping.writers:
        value = values[name]
        document[name] = _written(mapping, name, write, value)
    if mapping.validated:
        _require_stable(entity, document)
    # The guard turns each value into a canonical one, or refuses it.
    return cast(Document, document)


def _written(
    mapping: _Mapping, name: str, write: Callable[[Any], object] | None, value: object
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
        entity=mapping.collection.entity,
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
    mapping = _mapping(entity)
    return mapping.validated or any(name in mapping.constrained for name in fields)


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
    mapping = _mapping(entity)
    writers = dict(mapping.writers)
    parsed: dict[str, object] = {}
    for name, value in changes.items():
        mapping.collection.field(name)
        try:
            valid = mapping.parsers[name].validate_python(value)
        except ValidationError as error:
            raise RefusedValueError(
                _reason(error), entity=mapping.collection.entity, field=name
            ) from None
        parsed[name] = _written(mapping, name, writers[name], valid)
    return cast("dict[str, Value]", parsed)


def _reason(error: ValidationError) -> str:
    """Return pydantic's reason, unless a validator wrote it: that may quote the value."""
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    if first["type"] in {"value_error", "assertion_error"}:
        return "is refused by the entity's validator"
    # What follows the comma of a parser's message may quote a character of the value.
    return first["msg"].partition(",")[0] if "parsing" in first["type"] else first["msg"]

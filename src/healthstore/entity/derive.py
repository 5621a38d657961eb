"""From an entity's class to its collection, and to what converts its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    TypeAdapter,
    WrapValidator,
)
from pydantic.fields import FieldInfo

from healthstore.entity.annotations import field_type, unwrap
from healthstore.entity.declare import Digits, Entity, MaxLength, Milliseconds, Ref
from healthstore.errors import ConfigurationError, InvalidRequestError
from healthstore.model.schema import Collection, Index, Reference, Unique
from healthstore.model.schema import Field as SchemaField
from healthstore.model.values import FieldType, Kind

__all__ = ("Derivation", "collection_of", "derive")


@dataclass(frozen=True, slots=True)
class Derivation:
    """How an entity's class and its documents relate."""

    collection: Collection
    writers: tuple[tuple[str, Callable[[Any], object] | None], ...]
    parsers: Mapping[str, TypeAdapter[Any]]
    validated: bool
    """Whether the class has validators of its own."""
    constrained: frozenset[str]
    """The fields that are not free to hold each value of their kind."""

    @property
    def rechecked(self) -> bool:
        """Whether an entity may have become one that could not be read back.

        pydantic checks a model when it is made, and neither an assignment nor ``model_copy``.
        """
        return self.validated or self.constrained != _ALWAYS


# A cache of pure derivations, by class: it holds nothing that a program could observe.
@cache
def derive(entity: type[Entity]) -> Derivation:
    """Return what follows from an entity's class; see :func:`collection_of`."""
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
        annotation, nullable, notes = unwrap(info.annotation, info.metadata)
        kind = field_type(annotation, notes, entity, field_name)
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
    return Derivation(
        collection, tuple(writers), parsers, _has_validators(entity), _constrained(entity)
    )


_ALWAYS = frozenset({"version"})
_NOTES = (Digits, Milliseconds, Ref, Unique, Index, MaxLength)
_CONFIGURED = (
    "str_max_length",
    "str_min_length",
    "str_strip_whitespace",
    "str_to_lower",
    "str_to_upper",
)
_VALIDATORS = (AfterValidator, BeforeValidator, PlainValidator, WrapValidator)


def _has_validators(entity: type[Entity]) -> bool:
    found = entity.__pydantic_decorators__
    decorated = found.validators or found.field_validators or found.model_validators
    configured = any(entity.model_config.get(name) for name in _CONFIGURED)
    annotated = any(
        isinstance(note, _VALIDATORS)
        for info in entity.model_fields.values()
        for note in unwrap(info.annotation, info.metadata)[2]
    )
    return bool(decorated or found.root_validators or annotated or configured)


def _constrained(entity: type[Entity]) -> frozenset[str]:
    found: set[str] = set()
    for name, info in entity.model_fields.items():
        annotation, _, notes = unwrap(info.annotation, info.metadata)
        if _is_numbers(annotation) or any(not isinstance(note, _NOTES) for note in notes):
            found.add(name)
    return frozenset(found)


def _is_numbers(annotation: object) -> bool:
    """Tell whether it is an enum whose members the collection's definition does not list."""
    if not (isinstance(annotation, type) and issubclass(annotation, Enum)):
        return False
    return any(not isinstance(member.value, str) for member in annotation)


def collection_of(entity: type[Entity]) -> Collection:
    """Return the definition of an entity's collection.

    Raises ConfigurationError for an annotation or a name that not every backend could keep, and
    InvalidRequestError for what is no class of an entity.
    """
    given: object = entity
    if not (isinstance(given, type) and issubclass(given, Entity)) or given is Entity:
        raise InvalidRequestError(
            "this is not the class of an entity", hint="pass the class itself, as in User"
        )
    return derive(entity).collection


def _target(note: Ref, own: str) -> str:
    if isinstance(note.target, str):
        return own if note.target == "self" else note.target
    target = note.target.__collection_name__
    if target is None:
        raise ConfigurationError(f"{note.target.__name__} has no collection to refer to")
    return target


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

"""From an entity's class to its collection, and to what converts its fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache, partial
from typing import Any, TypeAlias

from pydantic import PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter

from healthstore.entity.annotations import (
    SCALARS,
    Notes,
    field_type,
    members,
    untyped,
    unwrap,
)
from healthstore.entity.computed import Computed
from healthstore.entity.declare import Entity, Ref, Search
from healthstore.entity.fields import Writer, own_columns, own_types, parser_of, writer_of
from healthstore.entity.filters import spelled
from healthstore.entity.notes import require_arguments, require_notes
from healthstore.entity.refusals import require_class, require_kept, require_plain
from healthstore.entity.validators import ALWAYS, constrained, has_validators, prepared
from healthstore.errors import ConfigurationError, InvalidRequestError
from healthstore.model.definition import Column
from healthstore.model.json import may_hold_negative_zero
from healthstore.model.schema import Check, Collection, Field, Index, Reference, Unique
from healthstore.model.values import (
    Canonicaliser,
    ColumnCanonicaliser,
    Kind,
    Value,
    canonicaliser,
    column_canonicaliser,
)

__all__ = ("Derivation", "collection_of", "derive", "target_of")

# From the value that is kept and the one that was given.
Differs: TypeAlias = Callable[[Any, Any], bool]


@dataclass(frozen=True, slots=True)
class Derivation:
    """How an entity's class and its documents relate."""

    collection: Collection
    names: AbstractSet[str]
    columns: tuple[Column, ...]
    """For each field what makes the entity's values canonical."""
    values: Mapping[str, Canonicaliser]
    """For each field what makes the entity's value canonical."""
    readers: tuple[tuple[str, Callable[[Any], object]], ...]
    """The fields whose stored values are not those of the entity, and what reads them."""
    texts: Mapping[str, Writer]
    """The fields whose values are no texts, but are stored as such."""
    members: Mapping[str, Mapping[object, Enum]]
    """The fields that list members of an enum, which pydantic does not find by their values."""
    varied: tuple[tuple[str, Differs], ...]
    """The fields whose equal values may look different, and what tells whether two do."""
    parsers: Mapping[str, TypeAdapter[Any]]
    targets: Mapping[str, type[Entity] | None]
    """The fields that refer to an entity, and its class; None where only a collection is named."""
    prepared: frozenset[str]
    """The fields whose validators take what the type alone does not."""
    validated: bool
    """Whether the class has validators of its own."""
    constrained: frozenset[str]
    """The fields that are not free to hold each value of their kind."""
    computed: AbstractSet[str]
    """The fields that a function makes of others."""
    plain: bool
    """Whether an entity holds nothing beside its fields, and members of enums as such."""

    @property
    def rechecked(self) -> bool:
        """Whether an entity may have become one that could not be read back.

        pydantic checks a model when it is made, and neither an assignment nor ``model_copy``.
        """
        return self.validated or self.constrained != ALWAYS

    @property
    def trusted(self) -> bool:
        """Whether what was stored can be read field by field: pydantic would find nothing."""
        return not self.rechecked and self.plain


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
    _complete(entity)
    require_class(entity)
    require_arguments(entity)
    ignoring = _ignoring(entity)
    searched = _searched(entity)
    declared = tuple(
        _declared(entity, each, searchable=each in ignoring, words=each in searched)
        for each in entity.model_fields
    )
    texts = {
        each.field.name: each.writer
        for each in declared
        if each.writer is not None and each.field.type.kind is Kind.TEXT
    }
    collection = _collection(entity, name, declared, texts)
    for each in searched:
        collection.field(each)
    return Derivation(
        collection,
        names=frozenset(collection.names),
        columns=tuple(
            Column(each.field.name, each.canonical, each.field.nullable, each.together)
            for each in declared
        ),
        values={each.field.name: each.canonical for each in declared},
        readers=tuple((each.field.name, each.read) for each in declared if each.read is not None),
        texts=texts,
        members={each.field.name: each.members for each in declared if each.members},
        varied=tuple((each.field.name, each.differs) for each in declared if each.differs),
        parsers={each.field.name: each.parser for each in declared},
        targets={
            each.field.name: _target_class(note, entity)
            for each in declared
            for note in each.notes
            if isinstance(note, Ref)
        },
        prepared=prepared(entity),
        validated=has_validators(entity),
        constrained=constrained(entity, collection),
        computed=_computed(entity),
        plain=not entity.__private_attributes__ and not entity.model_config.get("use_enum_values"),
    )


@dataclass(frozen=True, slots=True)
class _Declared:
    """One field of an entity, and what its annotation says."""

    field: Field
    notes: Notes
    parser: TypeAdapter[Any]
    writer: Writer | None
    canonical: Canonicaliser
    together: ColumnCanonicaliser | None
    read: Callable[[Any], object] | None
    differs: Differs | None
    members: Mapping[object, Enum]


def _ignoring(entity: type[Entity]) -> AbstractSet[str]:
    """Return the names of the fields in unique keys that ignore case."""
    keys = [("", each) for each in entity.__indexes__]
    for name, info in entity.model_fields.items():
        _, _, notes = unwrap(info.annotation, info.metadata)
        keys += [(name, each) for each in notes if isinstance(each, Unique)]
    return {
        each
        for name, key in keys
        if isinstance(key, Unique) and key.ignore_case
        for each in key.fields or (name,)
    }


def _searched(entity: type[Entity]) -> tuple[str, ...]:
    """Return the names of the fields in which a search looks for words."""
    searches = [each for each in entity.__indexes__ if isinstance(each, Search)]
    if any(not each.fields for each in searches) or len(searches) > 1:
        raise ConfigurationError(
            "a class has one Search, which names its fields",
            hint='write indexes=[Search("name", "description")]',
            entity=entity.__name__,
        )
    return searches[0].fields if searches else ()


def _computed(entity: type[Entity]) -> AbstractSet[str]:
    """Return the names of the computed fields; refuse a note that pydantic holds behind one."""
    names: set[str] = set()
    for name, info in entity.model_fields.items():
        _, _, notes = unwrap(info.annotation, info.metadata)
        if any(isinstance(each, Computed) for each in notes):
            names.add(name)
            if not isinstance(info.metadata[-1] if info.metadata else None, Computed):
                raise ConfigurationError(
                    "has a Computed that is not the last note of its annotation",
                    hint="write Annotated[int, Field(ge=0), Computed(…)]",
                    entity=entity.__name__,
                    field=name,
                )
    return frozenset(names)


def _declared(entity: type[Entity], name: str, *, searchable: bool, words: bool) -> _Declared:
    info = entity.model_fields[name]
    require_kept(entity, name)
    annotation, nullable, notes = unwrap(info.annotation, info.metadata)
    require_notes(entity, name, notes)
    kind = field_type(annotation, notes, entity, name)
    if searchable and kind.kind is Kind.TEXT:
        kind = replace(kind, searchable=True)
    if words:
        kind = replace(kind, words=True)
    parser = parser_of(entity, name)
    require_plain(entity, name, kind, parser)
    by_value = {each.value: each for each in members(annotation) if isinstance(each, Enum)}
    writer, canonical, together = None, canonicaliser(kind), column_canonicaliser(kind)
    read: Callable[[Any], object] | None = None
    differs = _DIFFERS.get(kind.kind)
    parse = partial(parser.validate_python, strict=False, by_alias=False, by_name=True)
    # JsonValue is an alias with notes of pydantic's own: it is known by its name only.
    family = untyped(info.annotation if untyped(info.annotation) else annotation)
    noted = info.metadata if untyped(info.annotation) else notes
    if by_value:
        read = _lookup(by_value)
    elif kind.kind is Kind.JSON and family and not noted:
        canonical, together, differs = own_types(family), own_columns(family), _own_types_differ
        read = _seen(family, parse)
    elif kind.kind is Kind.JSON or (kind.kind is Kind.TEXT and annotation not in SCALARS):
        writer = writer_of(parser)
        canonical, together, read = _after(writer, canonical), None, parse
    # An enum's own class finds its members by their values; a literal of members does not.
    listed = {} if isinstance(annotation, type) else by_value
    field = Field(name, kind, nullable, _default(entity, name, parse, canonical))
    return _Declared(field, notes, parser, writer, canonical, together, read, differs, listed)


def _default(
    entity: type[Entity],
    name: str,
    parse: Callable[[object], object],
    canonical: Canonicaliser,
) -> Value:
    """Return the constant default of a field as it is stored; None if it has none.

    One that could not be stored, that the field itself refuses or would change, or that is too
    large for some server, is none: documents that are there could not be given it.
    """
    info = entity.model_fields[name]
    if name in Entity.model_fields or info.is_required() or info.default is None:
        return None
    if info.default_factory is not None:
        return None
    try:
        default = canonical(info.default)
        seen = canonical(_validated(entity, name, parse(info.default)))
    except Exception:  # noqa: BLE001 - a validator of the user's may fail in any way
        return None
    small = len(repr(default)) <= _LARGEST_DEFAULT
    return default if small and seen == default else None


_LARGEST_DEFAULT = 4_000  # characters; MariaDB keeps no longer ones beside a large row


def _validated(entity: type[Entity], name: str, value: object) -> object:
    """Return what the validators of one field that stand in the class make of a value."""
    decorators = entity.__pydantic_decorators__
    named = {each for one in decorators.field_validators.values() for each in one.info.fields}
    if not named & {name, "*"} or decorators.model_validators or decorators.root_validators:
        return value
    made = entity.model_construct()
    entity.__pydantic_validator__.validate_assignment(made, name, value)
    found: object = made.__dict__[name]
    return found


def _scalars_differ(kept: object, value: object) -> bool:
    """Tell whether equal values have another zone, fold, sign of zero or digits after the point."""
    return repr(kept) != repr(value)


def _json_differs(kept: object, value: object) -> bool:
    return kept != value or may_hold_negative_zero(value)


def _own_types_differ(kept: object, value: object) -> bool:
    del kept  # what is refused otherwise: it is equal, and of the same types
    return may_hold_negative_zero(value)


_DIFFERS: Mapping[Kind, Differs] = {
    Kind.DATETIME: _scalars_differ,
    Kind.DECIMAL: _scalars_differ,
    Kind.FLOAT: _scalars_differ,
    Kind.TIME: _scalars_differ,
    Kind.JSON: _json_differs,
}


def _after(write: Writer, canonical: Canonicaliser) -> Canonicaliser:
    return lambda value: canonical(write(value))


def _seen(family: type, parse: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda value: value if type(value) is family else parse(value)


def _spelled_index(texts: Mapping[str, Writer], index: Index) -> Index:
    where = index.where
    return index if where is None else Index(*index.keys, where=spelled(texts, where))


def _spelled_unique(texts: Mapping[str, Writer], unique: Unique) -> Unique:
    if unique.where is None:
        return unique
    where = spelled(texts, unique.where)
    return Unique(*unique.fields, ignore_case=unique.ignore_case, where=where)


def _lookup(by_value: Mapping[object, Enum]) -> Callable[[Any], object]:
    return lambda value: by_value.get(value, value)


def _collection(
    entity: type[Entity], name: str, declared: Iterable[_Declared], texts: Mapping[str, Writer]
) -> Collection:
    noted = [(each.field.name, note) for each in declared for note in each.notes]
    uniques = [
        Unique(*(note.fields or (at,)), ignore_case=note.ignore_case, where=note.where)
        for at, note in noted
        if isinstance(note, Unique)
    ]
    indexes = [
        Index(*(note.keys or (at,)), where=note.where)
        for at, note in noted
        if isinstance(note, Index)
    ]
    references = [
        Reference(at, _target(note, name), note.on_delete)
        for at, note in noted
        if isinstance(note, Ref)
    ]
    uniques.extend(each for each in entity.__indexes__ if isinstance(each, Unique))
    indexes.extend(each for each in entity.__indexes__ if isinstance(each, Index))
    keys: tuple[Unique | Index, ...] = (*uniques, *indexes)
    indexed = {key.fields[:1] for key in keys if key.where is None}
    # A reference without an index makes each deletion of its target read the whole collection.
    indexes.extend(Index(each.field) for each in references if (each.field,) not in indexed)
    return Collection(
        name=name,
        fields=tuple(each.field for each in declared),
        uniques=tuple(dict.fromkeys(_spelled_unique(texts, each) for each in uniques)),
        indexes=tuple(dict.fromkeys(_spelled_index(texts, each) for each in indexes)),
        references=tuple(references),
        checks=tuple(Check(each.name, spelled(texts, each.rule)) for each in entity.__checks__),
        entity=entity.__name__,
    )


def _complete(entity: type[Entity]) -> None:
    """Resolve annotations that name what was defined after the entity."""
    try:
        entity.model_rebuild()
    except PydanticUndefinedAnnotation as error:
        raise ConfigurationError(
            f"an annotation names {error.name!r}, which is not defined",
            hint=f"define it, and call {entity.__name__}.model_rebuild() where its name is known",
            entity=entity.__name__,
        ) from None
    except PydanticUserError:
        raise ConfigurationError(
            "pydantic cannot build the class",
            hint=f"{entity.__name__}.model_rebuild(), called by itself, says why",
            entity=entity.__name__,
        ) from None


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


def target_of(entity: type[Entity], name: str, given: type[Entity] | None) -> type[Entity]:
    """Return the class of the entity to which a field refers: the given one, or that of its Ref.

    Raises InvalidRequestError for a field that refers to nothing, or whose reference names a
    collection where no class is given, and for a class of another collection.
    """
    derived = derive(entity)
    derived.collection.field(name)
    if name not in derived.targets:
        known = ", ".join(derived.targets) or "none of its fields does"
        raise InvalidRequestError(
            "refers to no other entity",
            hint=f"name a field with a Ref: {known}",
            entity=entity.__name__,
            field=name,
        )
    target = derived.targets[name] if given is None else given
    if target is None:
        raise InvalidRequestError(
            "refers to a collection, by its name",
            hint=f'say which class its entities have: include={{"{name}": …}}',
            entity=entity.__name__,
            field=name,
        )
    (wanted,) = {each.collection for each in derived.collection.references if each.field == name}
    if collection_of(target).name != wanted:
        raise InvalidRequestError(
            f"refers to the collection {wanted!r}, and {target.__name__} has another one",
            hint="give the class of that collection",
            entity=entity.__name__,
            field=name,
        )
    return target


def _target_class(note: Ref, entity: type[Entity]) -> type[Entity] | None:
    if isinstance(note.target, str):
        return entity if note.target == "self" else None
    return note.target


def _target(note: Ref, own: str) -> str:
    if isinstance(note.target, str):
        return own if note.target == "self" else note.target
    target = note.target.__collection_name__
    if target is None:
        raise ConfigurationError(f"{note.target.__name__} has no collection to refer to")
    return target

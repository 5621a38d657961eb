"""From an entity to its document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import TypeVar, cast

from healthstore.entity.declare import Entity
from healthstore.entity.derive import Derivation, derive
from healthstore.entity.equality import same
from healthstore.entity.reading import require_valid
from healthstore.errors import HealthstoreError, InvalidRequestError, RefusedValueError
from healthstore.model.documents import canonical_document, canonical_documents
from healthstore.model.values import Document

__all__ = (
    "computed_anew",
    "computed_fields",
    "other_than_computed",
    "to_document",
    "to_documents",
)

M = TypeVar("M", bound=Entity)


def computed_fields(entity: type[Entity]) -> AbstractSet[str]:
    """Return the names of the fields that are computed of others."""
    return derive(entity).computed


def computed_anew(entity: type[M], document: Mapping[str, object]) -> M:
    """Return the entity of a document, with its computed fields as they are made of the others.

    Raises RefusedValueError if its validators refuse it, or a function makes no value that fits.
    """
    computed = derive(entity).computed
    if computed:
        document = {name: value for name, value in document.items() if name not in computed}
    return require_valid(entity, document)


def to_document(entity: Entity) -> Document:
    """Return the entity's document, in canonical form.

    Raises InvalidRequestError if it lacks a field or has one that is not declared, and
    RefusedValueError for a value that would come back changed, or not at all.
    """
    derived = derive(type(entity))
    values = entity.__dict__
    if values.keys() != derived.names or entity.__pydantic_extra__:
        values = _declared_fields(entity, derived)
    document = canonical_document(derived.collection, values, derived.columns)
    _require_readable(entity, document, derived)
    return document


def to_documents(entities: Sequence[Entity]) -> list[Document]:
    """Return the documents of entities of one class, or raise what :func:`to_document` raises.

    The error has the index of the first one that is refused.
    """
    if not entities:
        return []
    try:
        return _together(entities)
    except HealthstoreError:
        return _one_by_one(entities)


def _one_by_one(entities: Sequence[Entity]) -> list[Document]:
    """Return the documents of entities; an error says what is wrong, and with which one."""
    documents: list[Document] = []
    try:
        documents.extend(map(to_document, entities))  # keeps those before one that is refused
    except HealthstoreError as error:
        error.at(index=len(documents))
        raise
    return documents


def _together(entities: Sequence[Entity]) -> list[Document]:
    """Return the documents of entities, column by column; raise for what is no plain one."""
    derived = derive(type(entities[0]))
    if any(each.__pydantic_extra__ for each in entities):
        raise InvalidRequestError("has a value that is no field's")
    values = [each.__dict__ for each in entities]
    documents = canonical_documents(derived.collection, values, derived.columns)
    for entity, document in zip(entities, documents, strict=True):
        _require_readable(entity, document, derived)
    return documents


def _require_readable(entity: Entity, document: Document, derived: Derivation) -> None:
    """Refuse an entity that could not be made of its document again."""
    if derived.computed:
        _require_computed(entity, document, derived)
    if derived.rechecked:
        _require_stable(entity, document)
    elif cast(int, document["version"]) < 1:
        raise RefusedValueError(
            "is not 1 or more",
            hint="leave it to the library",
            entity=derived.collection.entity,
            field="version",
        )


def _require_computed(entity: Entity, document: Document, derived: Derivation) -> None:
    """Refuse another value than the one that is made of the other fields."""
    made = canonical_document(
        derived.collection, computed_anew(type(entity), document).__dict__, derived.columns
    )
    for name in derived.computed:
        if made[name] != document[name]:
            raise other_than_computed(type(entity), name)


def other_than_computed(entity: type[Entity], name: str) -> RefusedValueError:
    """Return the error for a value that is given to a computed field and is another one."""
    return RefusedValueError(
        "is computed of other fields, and given another value",
        hint="leave it out; of an entity that is there, make a new one or use update",
        entity=entity.__name__,
        field=name,
    )


def _declared_fields(entity: Entity, derived: Derivation) -> dict[str, object]:
    """Return the values of the fields; refuse a missing one, and a value that no field keeps."""
    given = {**entity.__dict__, **(entity.__pydantic_extra__ or {})}
    missing = [name for name in derived.collection.names if name not in given]
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
    return {name: given[name] for name in derived.collection.names}


def _require_stable(entity: Entity, document: Mapping[str, object]) -> None:
    """Refuse an entity whose validators would make something else of it when it is read."""
    if not same(require_valid(type(entity), document), entity):
        raise RefusedValueError(
            "the entity's validators change it when it is read again",
            hint="let validators accept their own result unchanged",
            entity=type(entity).__name__,
        )

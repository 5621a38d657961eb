"""What no database could keep is refused where it is defined, with the same numbers everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import get_args

from healthstore.errors import ConfigurationError
from healthstore.model.definition import Definition, Field, Index, OnDelete, Reference, Unique
from healthstore.model.values import MAX_DIGITS, FieldType, Kind, canonicaliser

__all__ = ("require_keepable",)

# PostgreSQL cuts names at 63 bytes without a word, MySQL refuses more than 64.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_RESERVED = "sqlite_"  # SQLite keeps such names for itself
# The least that any of the databases allows, with some room.
_MAX_FIELDS, _MAX_INDEXES, _MAX_INDEX_FIELDS = 500, 50, 16
# MySQL indexes at most 3072 bytes: 640 code points of utf8mb4 and a little room.
_MAX_INDEXED_TEXT = 640
_MAX_INDEX_BYTES = 2_560
_INDEX_BYTES: dict[Kind, int] = {Kind.UUID: 16, Kind.DECIMAL: 30, Kind.DATE: 10}
_NOT_INDEXED = frozenset({Kind.JSON, Kind.BYTES})


def require_keepable(collection: Definition) -> None:
    """Raise ConfigurationError where a database could not keep the definition.

    Raises UnknownFieldError where a part of it names a field that is not there.
    """
    _check_name(collection.name, "collection", collection)
    for each in collection.fields:
        _check_name(each.name, "field", collection)
        _check_type(each, collection)
    if len(collection.by_name) != len(collection.fields):
        raise ConfigurationError("two fields have the same name", entity=collection.entity)
    _check_key_fields(collection)
    _check_sizes(collection)
    keys: tuple[Unique | Index, ...] = (*collection.uniques, *collection.indexes)
    for key in keys:
        if not key.fields:
            raise ConfigurationError("an index names no field", entity=collection.entity)
        _check_indexable(key.fields, collection)
    for reference in collection.references:
        _check_reference(reference, collection)
    if len({check.name for check in collection.checks}) != len(collection.checks):
        raise ConfigurationError("two checks have the same name", entity=collection.entity)


def _check_sizes(collection: Definition) -> None:
    indexes = len(collection.uniques) + len(collection.indexes)
    if len(collection.fields) > _MAX_FIELDS or indexes > _MAX_INDEXES:
        raise ConfigurationError(
            f"more than {_MAX_FIELDS} fields or {_MAX_INDEXES} indexes",
            hint="keep some of them in a JSON field, or in another collection",
            entity=collection.entity,
        )


def _check_name(name: str, what: str, collection: Definition) -> None:
    if not _NAME.fullmatch(name) or name.startswith(_RESERVED):
        raise ConfigurationError(
            f"the name of {what} {name!r} does not fit every database",
            hint="use a letter, then letters, digits and _, all lower case, at most 48 in all",
            entity=collection.entity,
        )


def _check_type(each: Field, collection: Definition) -> None:
    kind = each.type
    if kind.kind is Kind.DECIMAL and not (
        1 <= kind.digits <= MAX_DIGITS and 0 <= kind.places <= kind.digits
    ):
        raise ConfigurationError(
            "a Decimal needs Digits(digits, places)",
            hint=f"annotate it, for example Annotated[Decimal, Digits(12, 4)]; digits <= {MAX_DIGITS}",
            entity=collection.entity,
            field=each.name,
        )
    if kind.kind is Kind.ENUM and not kind.choices:
        raise ConfigurationError(
            "an enum has no members", entity=collection.entity, field=each.name
        )
    for choice in kind.choices:
        try:
            canonicaliser(FieldType(Kind.TEXT))(choice)
        except ValueError as error:
            raise ConfigurationError(
                f"a member of the enum {error}", entity=collection.entity, field=each.name
            ) from None
    if kind.max_length is not None and kind.max_length < 1:
        raise ConfigurationError(
            "MaxLength must be at least 1", entity=collection.entity, field=each.name
        )


def _check_key_fields(collection: Definition) -> None:
    for name, kind in (("id", Kind.UUID), ("version", Kind.INTEGER)):
        found = collection.by_name.get(name)
        if found is None or found.type.kind is not kind or found.nullable:
            raise ConfigurationError(
                f"a collection needs a field {name!r} of kind {kind}", entity=collection.entity
            )


def _check_indexable(names: Iterable[str], collection: Definition) -> None:
    size = 0
    chosen = tuple(names)
    if len(set(chosen)) < len(chosen) or len(chosen) > _MAX_INDEX_FIELDS:
        raise ConfigurationError(
            f"an index names a field twice, or more than {_MAX_INDEX_FIELDS} fields",
            entity=collection.entity,
        )
    for name in chosen:
        kind = collection.field(name).type
        if kind.kind in _NOT_INDEXED:
            raise ConfigurationError(
                f"a field of kind {kind.kind} cannot be indexed",
                entity=collection.entity,
                field=name,
            )
        if kind.kind is Kind.TEXT:
            if kind.max_length is None or kind.max_length > _MAX_INDEXED_TEXT:
                raise ConfigurationError(
                    "indexed text needs a length that every database can index",
                    hint=f"annotate it with MaxLength(n), n <= {_MAX_INDEXED_TEXT}",
                    entity=collection.entity,
                    field=name,
                )
            size += 4 * kind.max_length
        elif kind.kind is Kind.ENUM:
            size += 4 * max(map(len, kind.choices))
        else:
            size += _INDEX_BYTES.get(kind.kind, 8)
    if size > _MAX_INDEX_BYTES:
        raise ConfigurationError(
            f"the fields of an index take up to {size} bytes; databases allow {_MAX_INDEX_BYTES}",
            hint="shorten MaxLength, or index fewer fields",
            entity=collection.entity,
        )


def _check_reference(reference: Reference, collection: Definition) -> None:
    referring = collection.field(reference.field)
    if referring.type.kind is not Kind.UUID:
        raise ConfigurationError(
            "a reference must be a UUID", entity=collection.entity, field=reference.field
        )
    if reference.on_delete not in get_args(OnDelete):
        raise ConfigurationError(
            f"on_delete is none of {', '.join(get_args(OnDelete))}",
            entity=collection.entity,
            field=reference.field,
        )
    if reference.on_delete == "set_null" and not referring.nullable:
        raise ConfigurationError(
            'on_delete="set_null" needs a field that may be None',
            entity=collection.entity,
            field=reference.field,
        )

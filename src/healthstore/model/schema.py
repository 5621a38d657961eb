"""A collection's definition: its fields, keys, indexes, references and checks.

A :class:`Collection` is a frozen value. It is made from an entity, or read back from a store's
catalog or a backup; each adapter compiles it to tables or collections of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import msgspec

from healthstore.errors import ConfigurationError, UnknownFieldError
from healthstore.model.query import (
    Filter,
    Operator,
    Or,
    Test,
    normalise,
    require_moderate,
    walk,
)
from healthstore.model.values import (
    MAX_DIGITS,
    Canonicaliser,
    FieldType,
    Kind,
    canonicaliser,
)

__all__ = (
    "Check",
    "Collection",
    "Field",
    "Index",
    "OnDelete",
    "Reference",
    "Unique",
    "parents_first",
)

OnDelete: TypeAlias = Literal["restrict", "cascade", "set_null"]

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


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name, logical type, and whether it may be null."""

    name: str
    type: FieldType
    nullable: bool = False


@dataclass(frozen=True, init=False)
class Unique:
    """No two documents have the same values in these fields; nulls never collide.

    As an annotation, ``Annotated[str, Unique()]``, it stands for the annotated field.
    """

    fields: tuple[str, ...]

    def __init__(self, *fields: str) -> None:
        object.__setattr__(self, "fields", fields)


@dataclass(frozen=True, init=False)
class Index:
    """An index over these fields, in this order; ``-name`` is descending."""

    keys: tuple[str, ...]

    def __init__(self, *keys: str) -> None:
        object.__setattr__(self, "keys", keys)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names without their direction."""
        return tuple(key.removeprefix("-") for key in self.keys)


@dataclass(frozen=True, slots=True)
class Check:
    """A named filter that every document satisfies, unless a field that it tests is null."""

    name: str
    rule: Filter


@dataclass(frozen=True, slots=True)
class Reference:
    """A field that holds the id of a document in another collection, or null."""

    field: str
    collection: str
    on_delete: OnDelete = "restrict"


@dataclass(frozen=True, eq=False)
class Collection:
    """The definition of one collection. Equal definitions compare equal.

    Every collection has the fields ``id`` (UUID, the key) and ``version`` (int).
    Raises ConfigurationError where a database could not keep the definition.
    """

    name: str
    fields: tuple[Field, ...]
    uniques: tuple[Unique, ...] = ()
    indexes: tuple[Index, ...] = ()
    references: tuple[Reference, ...] = ()
    checks: tuple[Check, ...] = ()
    entity: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.entity:
            object.__setattr__(self, "entity", self.name)
        _check_name(self.name, "collection", self)
        for each in self.fields:
            _check_name(each.name, "field", self)
            _check_type(each, self)
        if len(self.by_name) != len(self.fields):
            raise ConfigurationError("two fields have the same name", entity=self.entity)
        _check_key_fields(self)
        _check_sizes(self)
        for names in self._named_fields():
            for name in names:
                self.field(name)
        keys: tuple[Unique | Index, ...] = (*self.uniques, *self.indexes)
        for key in keys:
            _check_indexable(key.fields, self)
        for reference in self.references:
            _check_reference(reference, self)
        for check in self.checks:
            _check_operands(check, self)
        if len({check.name for check in self.checks}) != len(self.checks):
            raise ConfigurationError("two checks have the same name", entity=self.entity)

    def _named_fields(self) -> Iterator[tuple[str, ...]]:
        keys: tuple[Unique | Index, ...] = (*self.uniques, *self.indexes)
        for key in keys:
            if not key.fields:
                raise ConfigurationError("an index names no field", entity=self.entity)
            yield key.fields
        for reference in self.references:
            yield (reference.field,)
        for check in self.checks:
            require_moderate(check.rule)
            yield tuple(test.field for test in walk(check.rule))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Collection) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The fields by name."""
        return MappingProxyType({each.name: each for each in self.fields})

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the fields, in order of declaration."""
        return tuple(each.name for each in self.fields)

    @cached_property
    def canonicalisers(self) -> tuple[tuple[str, Canonicaliser, bool], ...]:
        """For each field its name, the function that makes a value canonical, and nullable."""
        return tuple((each.name, canonicaliser(each.type), each.nullable) for each in self.fields)

    @cached_property
    def operands(self) -> Mapping[str, Canonicaliser]:
        """For each field the function that makes a value canonical to compare with.

        Unlike a value that is stored, it may be text of any length.
        """
        return MappingProxyType(
            {each.name: canonicaliser(replace(each.type, max_length=None)) for each in self.fields}
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the definition; equal definitions give equal fingerprints."""
        from healthstore.model.catalog import definition  # noqa: PLC0415 - catalog needs Collection

        encoded = msgspec.json.encode(definition(self), order="deterministic")
        return hashlib.sha256(encoded).hexdigest()

    @cached_property
    def index_names(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the unique keys and indexes in a database, with their fields."""
        names = {self.index_name(unique): unique.fields for unique in self.uniques}
        names |= {self.index_name(index): index.fields for index in self.indexes}
        return MappingProxyType(names)

    def index_name(self, index: Unique | Index) -> str:
        """Return the database's name of a unique key or index: readable, and unique per schema."""
        keys = index.keys if isinstance(index, Index) else index.fields
        text = "__".join((self.name, *keys))
        digest = hashlib.sha256(f"{type(index).__name__}:{text}".encode()).hexdigest()[:8]
        return f"{text.replace('-', '')[:44]}__{digest}"

    @cached_property
    def reference_names(self) -> Mapping[str, Reference]:
        """The references by the names of their constraints in a database."""
        return MappingProxyType(
            {self.check_name(f"ref_{each.field}"): each for each in self.references}
        )

    @cached_property
    def check_names(self) -> Mapping[str, str]:
        """The declared checks by the names of their constraints in a database."""
        return MappingProxyType({self.check_name(each.name): each.name for each in self.checks})

    @cached_property
    def type_names(self) -> Mapping[str, Field]:
        """The fields by the names of the constraints that keep a column to its field's type."""
        return MappingProxyType(
            {self.check_name(f"type_{each.name}"): each for each in self.fields}
        )

    def check_name(self, name: str) -> str:
        """Return the database's name of a check."""
        digest = hashlib.sha256(f"{self.name}:{name}".encode()).hexdigest()[:8]
        return f"{self.name}__{name}"[:44] + f"__{digest}"

    @cached_property
    def rules(self) -> Mapping[str, Filter]:
        """The checks in normal form, by name; each one holds if a field that it tests is null."""
        rules: dict[str, Filter] = {}
        for check in self.checks:
            tested = sorted({test.field for test in walk(check.rule)})
            nulls = tuple(Test(name, Operator.IS_NULL) for name in tested)
            rules[check.name] = normalise(Or((*nulls, check.rule)), self.nullable)
        return MappingProxyType(rules)

    def field(self, name: str) -> Field:
        """Return the field of this name; raise UnknownFieldError with a suggestion otherwise."""
        found = self.by_name.get(name)
        if found is None:
            close = get_close_matches(str(name), self.names, n=1)
            known = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(self.names)}"
            raise UnknownFieldError(f"there is no field {name!r}", hint=known, entity=self.entity)
        return found

    def nullable(self, name: str) -> bool:
        """Return whether the field of this name may be null."""
        return self.field(name).nullable


def _check_sizes(collection: Collection) -> None:
    indexes = len(collection.uniques) + len(collection.indexes)
    if len(collection.fields) > _MAX_FIELDS or indexes > _MAX_INDEXES:
        raise ConfigurationError(
            f"more than {_MAX_FIELDS} fields or {_MAX_INDEXES} indexes",
            hint="keep some of them in a JSON field, or in another collection",
            entity=collection.entity,
        )


def _check_name(name: str, what: str, collection: Collection) -> None:
    if not _NAME.fullmatch(name) or name.startswith(_RESERVED):
        raise ConfigurationError(
            f"the name of {what} {name!r} does not fit every database",
            hint="use a letter, then letters, digits and _, all lower case, at most 48 in all",
            entity=collection.entity,
        )


def _check_type(each: Field, collection: Collection) -> None:
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


def _check_key_fields(collection: Collection) -> None:
    for name, kind in (("id", Kind.UUID), ("version", Kind.INTEGER)):
        found = collection.by_name.get(name)
        if found is None or found.type.kind is not kind or found.nullable:
            raise ConfigurationError(
                f"a collection needs a field {name!r} of kind {kind}", entity=collection.entity
            )


def _check_indexable(names: Iterable[str], collection: Collection) -> None:
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


def _check_operands(check: Check, collection: Collection) -> None:
    for test in walk(check.rule):
        values = test.operand if isinstance(test.operand, tuple) else (test.operand,)
        try:
            for value in values:
                if value is not None:
                    collection.operands[test.field](value)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"the check {check.name!r} compares with a value that {error}",
                entity=collection.entity,
                field=test.field,
            ) from None


def _check_reference(reference: Reference, collection: Collection) -> None:
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


def parents_first(collections: Iterable[Collection]) -> tuple[Collection, ...]:
    """Return the collections so that each one follows those that it refers to.

    A collection may refer to itself. Raises ConfigurationError for a longer cycle.
    """
    waiting = {each.name: each for each in collections}
    ordered: list[Collection] = []
    while waiting:
        ready = [
            each
            for each in waiting.values()
            if not any(
                reference.collection in waiting and reference.collection != each.name
                for reference in each.references
            )
        ]
        if not ready:
            names = ", ".join(sorted(waiting))
            raise ConfigurationError(f"these collections refer to each other in a circle: {names}")
        for each in sorted(ready, key=lambda one: one.name):
            ordered.append(each)
            del waiting[each.name]
    return tuple(ordered)

"""A definition as it is written down: fields, keys, indexes, references, checks, and their names.

What holds for every definition is decided in :mod:`healthstore.model.limits` and
:mod:`healthstore.model.filters`; :class:`~healthstore.model.schema.Collection` is a definition
of which all of that is true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cached_property
from types import MappingProxyType
from typing import Literal, NamedTuple, Self, TypeAlias

from healthstore.errors import ConfigurationError, InvalidRequestError, UnknownFieldError
from healthstore.model.query import FieldName, FieldPart, FieldTerm, Filter, Term, name_of
from healthstore.model.values import (
    Canonicaliser,
    ColumnCanonicaliser,
    FieldType,
    Kind,
    Value,
    canonicaliser,
    column_canonicaliser,
)

__all__ = (
    "Check",
    "Column",
    "Definition",
    "Field",
    "Index",
    "OnDelete",
    "Reference",
    "Unique",
    "hidden_name",
    "holds_words",
    "key_name",
    "words_name",
)

_TOLD = 100  # code points of a name that a message holds: a client may have chosen it

OnDelete: TypeAlias = Literal["restrict", "cascade", "set_null"]


_SIZED = frozenset({Kind.TEXT, Kind.BYTES, Kind.JSON})


def words_name(name: str) -> str:
    """Return the name under which a text's words are kept."""
    return f"_words_{name}"


def key_name(of: object, what: str) -> str:
    """Return the name of a field that a key, an index or a search names: a text, or ``F.name``.

    Raises ConfigurationError for anything else.
    """
    name = name_of(of)
    if name is None and isinstance(of, FieldPart):
        raise ConfigurationError(
            f"{what} names {of!r}, which may be of any type",
            hint=f"of an index write {of!r}.as_(float), or as_(int), as_(bool); "
            "else give the part a field of its own",
            field=of.name,
        )
    if name is None:
        raise ConfigurationError(
            f"{what} names a field by an object of the type {type(of).__name__}",
            hint='write its name, as in Index("user_id", "-recorded_at"), or F.user_id',
        )
    return name


def holds_words(name: str) -> bool:
    """Tell whether a field is a hidden one of words; no field may be called so."""
    return name.startswith(words_name(""))


def hidden_name(name: str) -> str:
    """Return the name under which a field's folded text is kept; no field may have one like it."""
    return f"_fold_{name}"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name, logical type, whether it may be null, and its default in the store.

    The default is what rows have that were there before the field; None stands for no default.
    Fields that differ in nothing else are equal.
    """

    name: str
    type: FieldType
    nullable: bool = False
    default: Value = field(default=None, compare=False)


class Column(NamedTuple):
    """What makes values of a field canonical: one that is not None, or all of many documents."""

    name: str
    canonical: Canonicaliser
    nullable: bool
    together: ColumnCanonicaliser | None = None
    """Takes less time than one by one, if there is such a way; None among them stays."""


@dataclass(frozen=True, init=False)
class Unique:
    """No two documents have the same values in these fields; nulls never collide.

    As an annotation, ``Annotated[str, Unique()]``, it stands for the annotated field. With
    ``ignore_case`` texts are the same that differ in case only, and its texts are searchable.
    With ``where`` the key binds the documents that satisfy it, and no others: each field of it is
    a value, one of several, null or not, or lies within a range, and ``&`` joins them.
    """

    fields: tuple[str, ...]
    ignore_case: bool = False
    where: Filter | None = None

    def __init__(
        self, *fields: str | FieldName, ignore_case: bool = False, where: Filter | None = None
    ) -> None:
        names = tuple(key_name(each, "a unique key") for each in fields)
        object.__setattr__(self, "fields", names)
        object.__setattr__(self, "ignore_case", ignore_case)
        object.__setattr__(self, "where", where)

    def __str__(self) -> str:
        kept = ", ignoring case" if self.ignore_case else ""
        return f"unique key ({', '.join(self.fields)}){kept}"


@dataclass(frozen=True, init=False)
class Index:
    """An index over these fields, in this order; ``-name`` is descending.

    Of one field that holds JSON it is an index of a list's elements: ``Index("tags")``. A key may
    be a part of JSON as a value of a type: ``Index("user_id", F.data["weight"].as_(float))``.
    ``where`` says which documents are worth it: what asks for others does not use the index.
    Where a database has no index of a part, or not of this one, it holds all documents.
    """

    keys: tuple[str | Term, ...]
    where: Filter | None = None

    def __init__(
        self, *keys: str | FieldName | FieldTerm | Term, where: Filter | None = None
    ) -> None:
        object.__setattr__(self, "keys", tuple(map(_index_key, keys)))
        object.__setattr__(self, "where", where)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names without their direction."""
        return tuple(
            key.field if isinstance(key, Term) else key.removeprefix("-") for key in self.keys
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """The keys as texts: ``-rank``, ``data.weight.as_(float)``."""
        return tuple(key.key if isinstance(key, Term) else key for key in self.keys)

    @property
    def terms(self) -> tuple[Term, ...]:
        """The keys that are parts of JSON."""
        return tuple(key for key in self.keys if isinstance(key, Term))


def _index_key(key: object) -> str | Term:
    if isinstance(key, FieldTerm):
        return key.term
    return key if isinstance(key, Term) else key_name(key, "an index")


@dataclass(frozen=True, slots=True)
class Check:
    """A named filter that every document satisfies, unless a field that it tests is null.

    ``Check("order", F.ended_at >= F.started_at)`` holds two fields against each other.
    """

    name: str
    rule: Filter


@dataclass(frozen=True, slots=True)
class Reference:
    """A field that holds the id of a document in another collection, or null."""

    field: str
    collection: str
    on_delete: OnDelete = "restrict"


@dataclass(frozen=True, eq=False)
class Definition:
    """The parts of a collection's definition, not checked yet."""

    name: str
    fields: tuple[Field, ...]
    uniques: tuple[Unique, ...] = ()
    indexes: tuple[Index, ...] = ()
    references: tuple[Reference, ...] = ()
    checks: tuple[Check, ...] = ()
    entity: str = field(default="", compare=False)

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        # What is computed on demand stays behind: functions, which cannot be pickled.
        return type(self), tuple(getattr(self, each.name) for each in fields(self))

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The fields by name."""
        return MappingProxyType({each.name: each for each in self.fields})

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the fields, in order of declaration."""
        return tuple(each.name for each in self.fields)

    @cached_property
    def hidden(self) -> Mapping[str, str]:
        """The names of the fields that hold folded texts and words, and of which fields they are.

        They are in no document: an adapter writes them whenever it writes the field.
        """
        searchable = (each.name for each in self.fields if each.type.searchable)
        found = {hidden_name(name): name for name in searchable}
        return MappingProxyType(found | {words_name(name): name for name in self.searched})

    @cached_property
    def searched(self) -> tuple[str, ...]:
        """The names of the fields whose words a search looks for."""
        return tuple(each.name for each in self.fields if each.type.words)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The names of the fields that may not be null."""
        return tuple(each.name for each in self.fields if not each.nullable)

    @cached_property
    def sized(self) -> tuple[str, ...]:
        """The names of the fields whose values may be large."""
        return tuple(each.name for each in self.fields if each.type.kind in _SIZED)

    @cached_property
    def mutable(self) -> tuple[str, ...]:
        """The names of the fields whose values can change in place."""
        return tuple(each.name for each in self.fields if each.type.kind is Kind.JSON)

    def of_elements(self, index: Index) -> bool:
        """Tell whether an index is one of the elements of lists."""
        return not index.terms and self.field(index.fields[0]).type.kind is Kind.JSON

    @cached_property
    def terms(self) -> frozenset[Term]:
        """The parts of JSON that indexes have as keys."""
        return frozenset(term for index in self.indexes for term in index.terms)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """For each field what makes its values canonical."""
        return tuple(
            Column(
                each.name, self.values[each.name], each.nullable, column_canonicaliser(each.type)
            )
            for each in self.fields
        )

    @cached_property
    def values(self) -> Mapping[str, Canonicaliser]:
        """For each field the function that makes a value canonical that is not null."""
        return MappingProxyType({each.name: canonicaliser(each.type) for each in self.fields})

    @cached_property
    def operands(self) -> Mapping[str, Canonicaliser]:
        """For each field the function that makes a value canonical to compare with.

        Unlike a value that is stored, it may be text of any length.
        """
        return MappingProxyType(
            {
                each.name: canonicaliser(
                    replace(each.type, max_length=None, searchable=False, words=False)
                )
                for each in self.fields
            }
        )

    def field(self, name: str) -> Field:
        """Return the field of this name; raise UnknownFieldError with a suggestion otherwise."""
        try:
            return self.by_name[name]
        except (KeyError, TypeError):
            raise self._unknown(name) from None

    def _unknown(self, name: object) -> InvalidRequestError:
        """Return the error for what names no field."""
        if not isinstance(name, str):
            return InvalidRequestError(
                f"a field is named by a text, not by a {type(name).__name__}",
                hint='write its name, as in "weight"',
                entity=self.entity,
            )
        close = get_close_matches(name, self.names, n=1)
        known = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(self.names)}"
        told = name if len(name) <= _TOLD else f"{name[:_TOLD]}…"
        return UnknownFieldError(f"there is no field {told!r}", hint=known, entity=self.entity)

    def nullable(self, name: str) -> bool:
        """Return whether the field of this name may be null."""
        return self.field(name).nullable

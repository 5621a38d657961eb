"""A collection's definition: its fields, keys, indexes, references and checks.

A :class:`Collection` is a frozen value. It is made from an entity, or read back from a store's
catalog or a backup; each adapter compiles it to tables or collections of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from healthstore.errors import ConfigurationError, InvalidRequestError, UnknownFieldError
from healthstore.model.conditions import joined_tests
from healthstore.model.definition import (
    Check,
    Definition,
    Field,
    Index,
    OnDelete,
    Reference,
    Unique,
)
from healthstore.model.description import essence, fingerprint, part_of
from healthstore.model.filters import canonical_filter
from healthstore.model.hidden import kept_parts
from healthstore.model.limits import require_keepable, require_short
from healthstore.model.parts import checked_term
from healthstore.model.query import (
    ALL,
    MATCHING,
    NONE,
    And,
    Filter,
    Not,
    Operator,
    Or,
    Term,
    Test,
    fields_in,
    lookups,
    normalise,
    walk,
)
from healthstore.model.refusals import invalid
from healthstore.model.values import Kind

__all__ = (
    "Check",
    "Collection",
    "Field",
    "Index",
    "OnDelete",
    "Reference",
    "Unique",
    "parents_first",
    "require_distinct",
)


_UNNAMED = re.compile(r"[^a-z0-9_]")  # what a path has, and no name of ours


@dataclass(frozen=True, eq=False)
class Collection(Definition):
    """The definition of one collection. Equal definitions compare equal.

    Every collection has the fields ``id`` (UUID, the key) and ``version`` (int). It is canonical:
    rules that differ only in how their values are spelled, listed or repeated are the same, and
    so are enums whose members, and definitions whose parts, come in another order. Raises
    ConfigurationError where a database could not keep the definition.
    """

    def __post_init__(self) -> None:
        if not self.entity:
            object.__setattr__(self, "entity", self.name)
        fields = tuple(map(_canonical_field, self.fields))
        object.__setattr__(self, "fields", _searched(fields, self.uniques))
        require_keepable(self)
        uniques = tuple(_canonical_unique(each, self) for each in self.uniques)
        object.__setattr__(self, "uniques", uniques)
        indexes = tuple(_canonical_index(each, self) for each in self.indexes)
        object.__setattr__(self, "indexes", indexes)
        checks = tuple(_canonical_check(check, self) for check in self.checks)
        object.__setattr__(self, "checks", checks)
        require_short(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Collection) and self._parts == other._parts

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _parts(self) -> tuple[object, ...]:
        parts = (self.fields, self.uniques, self.indexes, self.references, self.checks)
        return (self.name, *map(frozenset, parts))

    @cached_property
    def _hash(self) -> int:
        return hash(self._parts)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the definition; equal definitions give equal fingerprints."""
        return fingerprint(essence(self))

    @cached_property
    def stored(self) -> Collection:
        """The collection as a database keeps it, where hidden fields are fields as others are.

        A searchable field has a hidden one, with its folded text, which has an index; a unique key
        that ignores case is one of folded texts. Its keys stand in the order of these.
        """
        return _Kept.of(self) if self.hidden else self

    @cached_property
    def index_names(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the unique keys and indexes in a database, with their fields."""
        kept, hidden = self.stored, self.hidden
        keys: tuple[Unique | Index, ...] = (*kept.uniques, *kept.indexes)
        names = {
            kept.index_name(each): tuple([hidden.get(name, name) for name in each.fields])
            for each in keys
        }
        return MappingProxyType(names)

    def index_name(self, index: Unique | Index) -> str:
        """Return the database's name of a unique key or index: readable, and unique per schema."""
        keys = index.texts if isinstance(index, Index) else index.fields
        text = "__".join((self.name, *keys))
        of = f"{type(index).__name__}:{text}".encode()
        of += part_of(index, self)
        digest = hashlib.sha256(of).hexdigest()[:8]
        return f"{_UNNAMED.sub('_', text.replace('-', ''))[:44]}__{digest}"

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
            nulls = tuple(Test(name, Operator.IS_NULL) for name in sorted(fields_in(check.rule)))
            rules[check.name] = normalise(Or((*nulls, check.rule)), self.nullable)
        return MappingProxyType(rules)


class _Kept(Collection):
    """A definition with hidden fields; that it can be kept was seen where they were not yet."""

    def __post_init__(self) -> None:
        pass

    @classmethod
    def of(cls, given: Collection) -> Collection:
        shown, hidden, uniques, indexes = kept_parts(given)
        parts = (given.references, given.checks)
        return cls(given.name, (*shown, *hidden), uniques, indexes, *parts, entity=given.entity)


def _searched(fields: tuple[Field, ...], uniques: Iterable[Unique]) -> tuple[Field, ...]:
    """Return the fields, of which the texts in keys that ignore case are searchable."""
    names = {name for each in uniques if each.ignore_case for name in each.fields}
    return tuple(
        replace(each, type=replace(each.type, searchable=True))
        if each.name in names and each.type.kind is Kind.TEXT and not each.type.searchable
        else each
        for each in fields
    )


def _canonical_field(each: Field) -> Field:
    choices = tuple(sorted(set(each.type.choices)))
    return (
        each
        if choices == each.type.choices
        else replace(each, type=replace(each.type, choices=choices))
    )


def _canonical_unique(unique: Unique, collection: Definition) -> Unique:
    if unique.where is None:
        return unique
    what = f"the condition of a unique key of {', '.join(unique.fields)}"
    where = _kept_part(unique.where, what, collection)
    with _told(what, collection):
        joined_tests(where, collection)
    if sum(each.fields == unique.fields for each in collection.uniques) > 1:
        raise ConfigurationError(
            f"{what} is one of several keys of these fields, and an error could not tell which",
            hint="keep one of them, or put a field of its condition into the key",
            entity=collection.entity,
            field=unique.fields[0],
        )
    return Unique(*unique.fields, ignore_case=unique.ignore_case, where=where)


def _canonical_index(given: Index, collection: Definition) -> Index:
    index = _with_canonical_terms(given, collection)
    if index.where is None:
        return index
    what = f"the part that an index of {', '.join(index.fields)} holds"
    return Index(*index.keys, where=_kept_part(index.where, what, collection))


def _kept_part(where: Filter, what: str, collection: Definition) -> Filter:
    """Return the canonical filter of a part of the documents; raise ConfigurationError for none."""
    canonical = _kept_rule(where, what, collection)
    if normalise(canonical, collection.nullable) in {ALL, NONE}:
        raise ConfigurationError(
            f"{what} is everything, or nothing",
            hint="leave `where` out, or name a condition that some documents satisfy",
            entity=collection.entity,
        )
    return canonical


def _with_canonical_terms(index: Index, collection: Definition) -> Index:
    if not index.terms:
        return index
    try:
        keys = tuple(
            checked_term(collection, key) if isinstance(key, Term) else key for key in index.keys
        )
    except InvalidRequestError as error:
        raise ConfigurationError(
            error.message, hint=error.hint, entity=collection.entity, field=error.field
        ) from None
    return Index(*keys, where=index.where)


def _canonical_check(check: Check, collection: Definition) -> Check:
    return Check(check.name, _kept_rule(check.rule, f"the check {check.name!r}", collection))


def _kept_rule(rule: Filter, what: str, collection: Definition) -> Filter:
    """Return a filter of a definition in its canonical form; raise ConfigurationError for none."""
    with _told(what, collection):
        canonical = canonical_filter(collection, rule)
        for each in lookups(canonical):
            raise invalid(
                collection,
                f"looks something up in {each.collection.entity}",
                "test the fields of the document itself, or let one refer to the other: Ref",
            )
        _require_fields(canonical)
        _require_no_pattern(canonical)
        return _listed_in_order(canonical)


@contextmanager
def _told(what: str, collection: Definition) -> Generator[None]:
    """Tell of which part of a definition a filter is refused."""
    try:
        yield
    except UnknownFieldError:
        raise
    except InvalidRequestError as error:
        raise ConfigurationError(
            f"{what} cannot be kept: {f'{error.field} ' if error.field else ''}{error.message}",
            hint=error.hint,
            entity=collection.entity,
            field=error.field,
        ) from None


def _require_fields(rule: Filter) -> None:
    """Refuse a test of a part of JSON: not every database would keep it, and none alike.

    And one that ignores case: the database would be asked about what no document shows.
    """
    for test in walk(rule):
        if test.folded:
            raise InvalidRequestError(
                "is tested where case does not count, which no definition keeps",
                hint="compare it as it is, or check it in the entity",
                field=test.field,
            )
        if test.part is not None:
            raise InvalidRequestError(
                "is tested by a part of its JSON, which no definition keeps",
                hint="give the part a field of its own, or check it in the entity",
                field=test.field,
            )


def _require_no_pattern(rule: Filter) -> None:
    """Refuse a pattern: SQLite matches by a function of ours, which no other program has."""
    for test in walk(rule):
        if test.operator in MATCHING:
            raise InvalidRequestError(
                "is matched with a pattern, which not every database keeps in a definition",
                hint="let the entity's own type see to it: StringConstraints(pattern=…)",
                field=test.field,
            )


def _listed_in_order(node: Filter) -> Filter:
    """Return the filter with the values of each list in one order: None, then as they compare."""
    if isinstance(node, Not):
        return Not(_listed_in_order(node.item))
    if isinstance(node, And | Or):
        return type(node)(tuple(map(_listed_in_order, node.items)))
    if isinstance(node.operand, tuple):
        # One field's canonical values are of one type, and every type that is listed has an order.
        ordered = sorted(node.operand, key=lambda value: (value is not None, value))
        return replace(node, operand=tuple(ordered))
    return node


def require_distinct(collections: Iterable[Collection]) -> None:
    """Raise InvalidRequestError if two of the collections have one name."""
    names = [each.name for each in collections]
    for name in names:
        if names.count(name) > 1:
            raise InvalidRequestError(
                f"the collection {name!r} is named twice", hint="name it once"
            )


def parents_first(collections: Iterable[Collection]) -> tuple[Collection, ...]:
    """Return the collections so that each one follows those that it refers to.

    A collection may refer to itself. Of collections that refer to each other in a circle, one
    that may do without comes first: its references to later ones may be null. Raises
    ConfigurationError for a circle in which none may be.
    """
    waiting = {each.name: each for each in collections}
    ordered: list[Collection] = []
    while waiting:
        ready = [
            name for name, each in waiting.items() if not _targets(each) & waiting.keys() - {name}
        ]
        ordered.extend(waiting.pop(name) for name in sorted(ready or [_opening(waiting)]))
    return tuple(ordered)


def _targets(collection: Collection, *, required: bool = False) -> set[str]:
    return {
        each.collection
        for each in collection.references
        if not (required and collection.nullable(each.field))
    }


def _opening(waiting: Mapping[str, Collection]) -> str:
    """Return the collection that comes first in a circle; no circle waits for another one then."""
    reached: dict[str, set[str]] = {}
    for name in waiting:
        found, following = reached.setdefault(name, set()), [name]
        while following:
            more = (_targets(waiting[following.pop()]) & waiting.keys()) - found
            found |= more
            following.extend(more)
    alone = [name for name in waiting if all(name in reached[each] for each in reached[name])]
    able = [
        name
        for name in alone
        if not _targets(waiting[name], required=True) & waiting.keys() - {name}
    ]
    if not able:
        names = ", ".join(sorted(reached[alone[0]]))
        raise ConfigurationError(
            f"these collections refer to each other in a circle, and none can come first: {names}",
            hint="let one of the references be None: UUID | None",
        )
    return min(able)

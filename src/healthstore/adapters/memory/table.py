"""What the memory backend keeps of one collection: its documents, and two indexes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import cast
from uuid import UUID

from healthstore.model.evaluate import Key, duplicate_key, matches, term_value, unique_keyed
from healthstore.model.json import Json, packed_json, unpacked_json
from healthstore.model.query import (
    WORDS,
    And,
    FieldOrTerm,
    Filter,
    Operator,
    OtherField,
    Test,
    walk,
)
from healthstore.model.schema import Collection, Unique
from healthstore.model.values import Document, Value

__all__ = ("Table", "kept_value", "matcher", "packed", "unpacked")


@dataclass(slots=True, eq=False)
class Table:
    """A collection's documents by id, their JSON packed, and two indexes.

    ``taken`` holds for each unique key the id that has it; ``children`` for each reference, by
    the id to which it leads, the ids of the documents that have it.
    """

    collection: Collection
    rows: dict[UUID, Document] = field(default_factory=dict)
    taken: dict[Unique, dict[Key, UUID]] = field(default_factory=dict)
    children: dict[str, dict[UUID, set[UUID]]] = field(default_factory=dict)
    _keyed: dict[Unique, Callable[[Document], Key]] = field(default_factory=dict)
    _owned: set[tuple[str, UUID]] = field(default_factory=set[tuple[str, UUID]])
    _sorted: list[UUID] | None = None

    def __post_init__(self) -> None:
        for unique in self.collection.uniques:
            self.taken.setdefault(unique, {})
            self._keyed[unique] = unique_keyed(self.collection, unique)
        for reference in self.collection.references:
            self.children.setdefault(reference.field, {})

    def get(self, identity: UUID) -> Document | None:
        """Return a copy of a document."""
        row = self.rows.get(identity)
        return None if row is None else unpacked(self.collection, row)

    def reader(
        self, known: Collection, columns: tuple[FieldOrTerm, ...] | None = None
    ) -> Callable[[Document], Document]:
        """Return what makes of a document that is kept a copy, with the fields in known order.

        With ``columns`` the copy has these only.
        """
        if columns is not None:
            return partial(_part, columns, frozenset(self.collection.mutable))
        if known is self.collection:
            return partial(unpacked, known)
        names = known.names

        def read(row: Document) -> Document:
            document = unpacked(known, row)
            return {name: document[name] for name in names}

        return read

    def copy(self) -> Table:
        """Return a table that can be changed without this one; sets of children are shared."""
        taken = {unique: dict(holders) for unique, holders in self.taken.items()}
        children = {name: dict(parents) for name, parents in self.children.items()}
        return Table(self.collection, dict(self.rows), taken, children)

    def put(self, identity: UUID, document: Document | None) -> None:
        """Store, replace or remove a document; raise DuplicateKeyError and change nothing."""
        old = self.rows.get(identity)
        if document is not None:
            for unique, holders in self.taken.items():
                key = self._key(unique, document)
                if key is not None and holders.get(key, identity) != identity:
                    raise duplicate_key(self.collection, unique.fields)
        for unique, holders in self.taken.items():
            if old is not None and (key := self._key(unique, old)) is not None:
                del holders[key]
            if document is not None and (key := self._key(unique, document)) is not None:
                holders[key] = identity
        if self.children:
            self._adopt(identity, old, document)
        if (old is None) is not (document is None):
            self._sorted = None
        if document is None:
            self.rows.pop(identity, None)
        else:
            self.rows[identity] = document

    def _key(self, unique: Unique, document: Document) -> Key | None:
        """Return what a document has in a unique key; None if that may be repeated."""
        key = self._keyed[unique](document)
        return None if None in key else key

    def _adopt(self, identity: UUID, old: Document | None, document: Document | None) -> None:
        """Note where a document's references lead."""
        for name, parents in self.children.items():
            before = None if old is None else cast("UUID | None", old[name])
            after = None if document is None else cast("UUID | None", document[name])
            if before == after:
                continue
            if before is not None:
                self._own(name, before).discard(identity)
                if not parents[before]:
                    del parents[before]
            if after is not None:
                self._own(name, after).add(identity)

    def _own(self, name: str, parent: UUID) -> set[UUID]:
        """Return the set of children of a parent, which no other table shares."""
        parents = self.children[name]
        if parent not in parents or (name, parent) not in self._owned:
            parents[parent] = set(parents.get(parent, ()))
            self._owned.add((name, parent))
        return parents[parent]

    def referring(self, where: Filter, limit: int) -> list[Document] | None:
        """Return the documents that a test of a reference leaves, by id, if they are few."""
        found = self.by_reference(where, limit)
        return None if found is None else [self.rows[each] for each in sorted(found[1], key=_ID)]

    def by_reference(self, where: Filter, limit: int) -> tuple[str, list[UUID]] | None:
        """Return the reference by which few documents are found, and their ids in no order.

        Each page of many would have to sort them all: then it is cheaper to walk.
        """
        for test in where.items if isinstance(where, And) else (where,):
            if not isinstance(test, Test) or isinstance(test.operand, OtherField):
                continue
            if test.field in self.children:
                if test.operator is Operator.EQ:
                    wanted: Iterable[Value] = (cast(Value, test.operand),)
                elif test.operator is Operator.IN:
                    wanted = set(cast("tuple[Value, ...]", test.operand))
                else:
                    continue
                parents = self.children[test.field]
                groups = [
                    parents[each] for each in cast("Iterable[UUID]", wanted) if each in parents
                ]
                count = sum(map(len, groups))
                if count * (count // limit + 1) <= len(self.rows):
                    return test.field, [each for group in groups for each in group]
        return None

    def by_id(self, where: Filter) -> Iterator[Document]:
        """Yield the documents in order of id, from the first to the last that may satisfy a filter."""
        if self._sorted is None:
            self._sorted = sorted(self.rows, key=_ID)
        start, end = 0, None
        for test in where.items if isinstance(where, And) else (where,):
            if not isinstance(test, Test) or isinstance(test.operand, OtherField):
                continue
            if test.field == "id" and test.operator is Operator.GT:
                beyond = cast(UUID, test.operand)
                start = max(start, bisect_right(self._sorted, beyond.int, key=_ID))
            elif test.field == "id" and test.operator is Operator.LE:
                last = bisect_right(self._sorted, cast(UUID, test.operand).int, key=_ID)
                end = last if end is None else min(end, last)
        return map(self.rows.__getitem__, islice(self._sorted, start, end))


_ID = attrgetter("int")  # a UUID itself is compared in Python, many times slower


def matcher(where: Filter) -> Callable[[Document], bool]:
    """Return the function that tells whether a row satisfies a filter; it unpacks what it needs."""
    holds = matches(where)
    parts = (test for test in walk(where) if test.part not in {None, WORDS})
    names = sorted({test.field for test in parts})
    if not names:
        return holds

    def read(row: Document) -> bool:
        document = row.copy()
        for name in names:
            if (value := row[name]) is not None:
                document[name] = unpacked_json(cast(bytes, value))
        return holds(document)

    return read


def kept_value(row: Document, column: FieldOrTerm) -> Value:
    """Return the value of a column of what is kept: of a field as it is kept."""
    if isinstance(column, str):
        return row[column]
    value = row[column.field]
    found = None if value is None else unpacked_json(cast(bytes, value))
    return term_value({column.field: found}, column)


def _part(columns: tuple[FieldOrTerm, ...], mutable: frozenset[str], row: Document) -> Document:
    """Return a copy of columns of what is kept to give away."""
    part: Document = {}
    for name in columns:
        if not isinstance(name, str):
            part[name.key] = kept_value(row, name)
            continue
        value = row[name]
        if name in mutable and value is not None:
            value = unpacked_json(cast(bytes, value))
        part[name] = value
    return part


def packed(collection: Collection, document: Document) -> Document:
    """Return a copy of a document to keep, which takes less room than the values of its JSON."""
    row = document.copy()
    for name in collection.mutable:
        if (value := row[name]) is not None:
            row[name] = packed_json(cast(Json, value))
    return row


def unpacked(collection: Collection, row: Document) -> Document:
    """Return a copy of what is kept to give away."""
    document = row.copy()
    for name in collection.mutable:
        if (value := document[name]) is not None:
            document[name] = unpacked_json(cast(bytes, value))
    return document

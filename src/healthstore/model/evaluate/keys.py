"""What of a document stands in a unique key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from healthstore.model.query import And, Filter, Operator, Test
from healthstore.model.schema import Collection, Unique
from healthstore.model.text import folded
from healthstore.model.values import Document, Value

__all__ = ("Key", "key_test", "keyed", "unique_keyed")

Key: TypeAlias = tuple[Value, ...]


def unique_keyed(collection: Collection, unique: Unique) -> Callable[[Document], Key]:
    """Return what takes a unique key out of a document: of texts, if it ignores case, folded ones."""
    kinds = collection.by_name
    return _taken(
        [(name, unique.ignore_case and kinds[name].type.searchable) for name in unique.fields]
    )


def keyed(collection: Collection, fields: Sequence[str]) -> Callable[[Document], Key]:
    """Return the same for the unique key that an error is about, of which it tells the fields."""
    return _taken([(name, name in _ignoring(collection, fields)) for name in fields])


def key_test(collection: Collection, fields: Sequence[str], key: Key) -> Filter:
    """Return the canonical filter for the documents that have this key, which has no null."""
    folding = _ignoring(collection, fields)
    tests = tuple(
        Test(name, Operator.EQ, value, folded=name in folding)
        for name, value in zip(fields, key, strict=True)
    )
    return tests[0] if len(tests) == 1 else And(tests)


def _ignoring(collection: Collection, fields: Sequence[str]) -> frozenset[str]:
    """Return of which fields of a key the case does not count."""
    if not any(each.ignore_case and each.fields == tuple(fields) for each in collection.uniques):
        return frozenset()
    return frozenset(name for name in fields if collection.field(name).type.searchable)


def _taken(parts: Iterable[tuple[str, bool]]) -> Callable[[Document], Key]:
    listed = tuple(parts)

    def key(document: Document) -> Key:
        return tuple(
            [
                folded(value) if folding and isinstance(value, str) else value
                for value, folding in ((document[name], folding) for name, folding in listed)
            ]
        )

    return key

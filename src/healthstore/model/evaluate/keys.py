"""What of a document stands in a unique key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from healthstore.model.evaluate.filters import matches
from healthstore.model.query import And, Filter, Operator, Test
from healthstore.model.schema import Collection, Unique
from healthstore.model.text import folded
from healthstore.model.values import Document, Value

__all__ = ("Key", "key_test", "keyed", "unique_keyed")

Key: TypeAlias = tuple[Value, ...]


def unique_keyed(collection: Collection, unique: Unique) -> Callable[[Document], Key]:
    """Return what takes a unique key out of a document: of texts, if it ignores case, folded ones.

    A document that the key does not bind has none: each of its values is None.
    """
    kinds = collection.by_name
    return _bound(
        _taken(
            [(name, unique.ignore_case and kinds[name].type.searchable) for name in unique.fields]
        ),
        unique,
    )


def keyed(collection: Collection, fields: Sequence[str]) -> Callable[[Document], Key]:
    """Return the same for the unique key that an error is about, of which it tells the fields."""
    key = _taken([(name, name in _ignoring(collection, fields)) for name in fields])
    unique = _conditional(collection, fields)
    return key if unique is None else _bound(key, unique)


def key_test(collection: Collection, fields: Sequence[str], key: Key) -> Filter:
    """Return the canonical filter for the documents that hold this key, which has no null."""
    folding = _ignoring(collection, fields)
    tests = tuple(
        Test(name, Operator.EQ, value, folded=name in folding)
        for name, value in zip(fields, key, strict=True)
    )
    unique = _conditional(collection, fields)
    if unique is not None and unique.where is not None:
        return And((*tests, unique.where))
    return tests[0] if len(tests) == 1 else And(tests)


def _conditional(collection: Collection, fields: Sequence[str]) -> Unique | None:
    """Return the key of these fields if it has a condition: then it is the only one of them."""
    return next(
        (
            each
            for each in collection.uniques
            if each.where is not None and each.fields == tuple(fields)
        ),
        None,
    )


def _bound(key: Callable[[Document], Key], unique: Unique) -> Callable[[Document], Key]:
    if unique.where is None:
        return key
    binds, free = matches(unique.where), (None,) * len(unique.fields)
    return lambda document: key(document) if binds(document) else free


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

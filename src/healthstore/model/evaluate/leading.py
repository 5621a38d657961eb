"""The first documents of each group: those that share the values of fields, in an order."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from healthstore.model.evaluate.filters import Valued, sort_documents
from healthstore.model.evaluate.parts import column_value
from healthstore.model.ops import Leading
from healthstore.model.parts import column_type
from healthstore.model.values import SORTED_TEXT, Document, Value

__all__ = ("begin_alike", "leading")


def leading(
    op: Leading, documents: Iterable[Document], value_of: Valued = column_value
) -> tuple[Document, ...]:
    """Return what an operation asks for, of documents that satisfy its filter."""
    groups: dict[tuple[Value, ...], list[Document]] = {}
    for document in documents:
        key = tuple(value_of(document, each) for each in op.per)
        groups.setdefault(key, []).append(document)
    found = (
        each
        for key in sorted(groups, key=_rank)
        for each in sort_documents(groups[key], op.order, value_of)[: op.first]
    )
    return tuple(islice(found, op.limit))


def _rank(key: tuple[Value, ...]) -> tuple[tuple[Any, ...], ...]:
    return tuple((0,) if value is None else (1, value) for value in key)


def begin_alike(op: Leading, found: Iterable[Document]) -> bool:
    """Tell whether groups may differ in what a database that sorts by heads does not look at.

    Each group has one document at least among what is found, so that its text is seen.
    """
    columns = [each for each in op.per if column_type(op.collection, each).sorted_by_head]
    return any(
        isinstance(value := column_value(document, each), str) and len(value) >= SORTED_TEXT
        for each in columns
        for document in found
    )

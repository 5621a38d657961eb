"""What may be asked for in the place of whole documents: columns, and rows each of which is one."""

from __future__ import annotations

from healthstore.model.filters import plain_order
from healthstore.model.ops import Find
from healthstore.model.query import Order
from healthstore.model.refusals import invalid
from healthstore.model.schema import Collection
from healthstore.model.values import Kind

__all__ = ("MAX_DISTINCT", "checked_columns", "distinct_order")

MAX_DISTINCT = 100_001
"""The most rows that are told apart in one request, and one more: it tells whether there are others."""


def checked_columns(op: Find) -> tuple[str, ...] | None:
    """Return the columns of a find, each of which is a field and is named once."""
    collection, columns = op.collection, op.columns
    if type(op.distinct) is not bool:
        raise invalid(collection, "distinct is neither True nor False", "pass a bool")
    if columns is None:
        if op.distinct:
            raise invalid(collection, "whole documents are distinct", "name columns")
        return None
    if not columns:
        raise invalid(collection, "a selection names no column", 'name one: select("id")')
    for name in columns:
        collection.field(name)
        if columns.count(name) > 1:
            raise invalid(collection, "is selected twice", "name each column once", name)
    if op.distinct:
        _require_told_apart(collection, columns)
    return tuple(columns)


def _require_told_apart(collection: Collection, columns: tuple[str, ...]) -> None:
    for name in columns:
        kind = collection.field(name).type
        if not kind.ordered or kind.kind is Kind.FLOAT:
            raise invalid(
                collection,
                f"is {kind.kind}: equal values cannot be told from others alike everywhere",
                "leave it out, or select without distinct",
                name,
            )


def distinct_order(op: Find) -> tuple[Order, ...]:
    """Return the order of distinct rows: total, by each of the columns, and by nothing else."""
    collection, columns = op.collection, op.columns or ()
    if op.after is not None:
        raise invalid(
            collection, "distinct rows have no position", "narrow the filter by the last row"
        )
    order = plain_order(collection, op.order)
    named = [each.field for each in order]
    for name in named:
        if name not in columns:
            raise invalid(
                collection,
                "is no column of the distinct rows, which cannot be sorted by it",
                "select it, too, or sort by what is selected",
                name,
            )
    return (*order, *(Order(name) for name in columns if name not in named))

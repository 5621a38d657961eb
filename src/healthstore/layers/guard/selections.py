"""What may be asked for in the place of whole documents: columns, and rows each of which is one."""

from __future__ import annotations

from healthstore.model.filters import plain_order
from healthstore.model.ops import Find
from healthstore.model.parts import checked_column, column_type
from healthstore.model.query import FieldOrTerm, Order, Term
from healthstore.model.refusals import invalid
from healthstore.model.schema import Collection
from healthstore.model.values import Kind

__all__ = ("MAX_DISTINCT", "checked_columns", "distinct_order")

MAX_DISTINCT = 100_001
"""The most rows that are told apart in one request, and one more: it tells whether there are others."""


def checked_columns(op: Find) -> tuple[FieldOrTerm, ...] | None:
    """Return the columns of a find, each of which is a field or a term and is named once."""
    collection, columns = op.collection, op.columns
    if type(op.distinct) is not bool:
        raise invalid(collection, "distinct is neither True nor False", "pass a bool")
    if columns is None:
        if op.distinct:
            raise invalid(collection, "whole documents are distinct", "name columns")
        return None
    if not columns:
        raise invalid(collection, "a selection names no column", 'name one: select("id")')
    checked = tuple([checked_column(collection, each) for each in columns])
    for each in checked:
        if checked.count(each) > 1:
            raise invalid(collection, "is selected twice", "name each column once", _field_of(each))
    if op.distinct:
        _require_told_apart(collection, checked)
    return checked


def _field_of(column: FieldOrTerm) -> str:
    return column.field if isinstance(column, Term) else column


def _require_told_apart(collection: Collection, columns: tuple[FieldOrTerm, ...]) -> None:
    for each in columns:
        kind = column_type(collection, each)
        if not kind.ordered or kind.kind is Kind.FLOAT:
            raise invalid(
                collection,
                f"is {kind.kind}: equal values cannot be told from others alike everywhere",
                "leave it out, or select without distinct; of JSON select a part, as in "
                'F.data["unit"].as_(str)',
                _field_of(each),
            )


def distinct_order(op: Find, columns: tuple[FieldOrTerm, ...]) -> tuple[Order, ...]:
    """Return the order of distinct rows: total, by each of the columns, and by nothing else."""
    collection = op.collection
    if op.after is not None:
        raise invalid(
            collection, "distinct rows have no position", "narrow the filter by the last row"
        )
    order = plain_order(collection, op.order)
    sorted_by = [each.column for each in order]
    for each in sorted_by:
        if each not in columns:
            raise invalid(
                collection,
                "is no column of the distinct rows, which cannot be sorted by it",
                "select it, too, or sort by what is selected",
                _field_of(each),
            )
    return (*order, *(Order.by(each) for each in columns if each not in sorted_by))

"""The first documents of each group: those that share the value of a field, in an order."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, islice

from healthstore.model.evaluate.filters import sort_documents
from healthstore.model.ops import Leading
from healthstore.model.query import Order
from healthstore.model.values import Document

__all__ = ("leading",)


def leading(op: Leading, documents: Iterable[Document]) -> tuple[Document, ...]:
    """Return what an operation asks for, of documents that satisfy its filter."""
    ordered = sort_documents(documents, (Order(op.per), *op.order))
    groups = groupby(ordered, key=lambda each: each[op.per])
    found = (each for _, group in groups for each in islice(group, op.first))
    return tuple(islice(found, op.limit))

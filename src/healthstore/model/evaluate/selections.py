"""What a find returns of documents when it asks for columns of them, and each row once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from healthstore.model.evaluate.filters import sort_documents
from healthstore.model.evaluate.parts import column_value
from healthstore.model.ops import Find
from healthstore.model.query import column_key
from healthstore.model.values import Document, Value

__all__ = ("picked", "selected")


def picked(op: Find, documents: Iterable[Document]) -> tuple[Document, ...]:
    """Return the columns of documents, which stay in their order."""
    columns = [(column_key(each), each) for each in op.columns or ()]
    return tuple(
        [{key: column_value(each, column) for key, column in columns} for each in documents]
    )


def selected(op: Find, documents: Iterable[Document]) -> tuple[Document, ...]:
    """Return the columns of the documents that satisfy the filter, each row once, in order.

    What the order leaves open, for texts that begin alike, whole values decide.
    """
    rows = [*{tuple(each.values()): each for each in picked(op, documents)}.values()]
    rows.sort(key=lambda row: tuple(map(_rank, row.values())))
    return tuple(sort_documents(rows, op.order)[: op.limit])


def _rank(value: Value) -> tuple[Any, ...]:
    return (0,) if value is None else (1, value)

"""Documents in canonical form: each value is looked at once, where the document is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import is_, itemgetter
from typing import cast

from healthstore.errors import HealthstoreError
from healthstore.model.collector import collector_paused
from healthstore.model.definition import Column, Definition
from healthstore.model.json import Json, copied_json
from healthstore.model.refusals import invalid, missing_value, refused
from healthstore.model.values import Document, Value

__all__ = ("canonical_document", "canonical_documents", "copied_document")

# Documents whose columns are looked at together: more take no less time each, only memory.
_TOGETHER = 100


def canonical_document(
    collection: Definition, given: Mapping[str, object], columns: Sequence[Column] | None = None
) -> Document:
    """Return the document of canonical values: every field, and no other.

    ``columns`` are the collection's own where nothing else is said. Raises NotNullError,
    RefusedValueError, or InvalidRequestError for a field that is missing or not known.
    """
    document: Document = {}
    name = ""
    try:
        for name, canonical, nullable, _ in columns or collection.columns:
            value = given[name]
            if value is not None:
                document[name] = canonical(value)
            elif nullable:
                document[name] = None
            else:
                raise missing_value(collection, name)
    except KeyError:
        raise invalid(
            collection, "is missing", "a document has every field; use None", name
        ) from None
    except (TypeError, ValueError) as error:
        raise refused(collection, name, error) from None
    if len(given) != len(document):
        for each in given:
            collection.field(each)  # raises for the one that is not known
    return document


def canonical_documents(
    collection: Definition,
    given: Sequence[Mapping[str, object]],
    columns: Sequence[Column] | None = None,
) -> list[Document]:
    """Return what :func:`canonical_document` makes of each, in less time, or raise as it does.

    The error has the index of the first one that is refused.
    """
    columns = columns or collection.columns
    documents: list[Document] = []
    with collector_paused():
        for start in range(0, len(given), _TOGETHER):
            part = given[start : start + _TOGETHER]
            try:
                documents += _by_columns(part, columns)
            except (HealthstoreError, LookupError, TypeError, ValueError):
                # Of several that are refused the first document counts, not the first column.
                try:
                    for each in part:
                        documents.append(canonical_document(collection, each, columns))
                except HealthstoreError as error:
                    error.at(index=len(documents))
                    raise
    return documents


def _by_columns(given: Sequence[Mapping[str, object]], columns: Sequence[Column]) -> list[Document]:
    """Return canonical documents; raise any error where one of them is not plain to see."""
    names = [each.name for each in columns]
    if any(len(each) != len(names) for each in given):
        raise ValueError
    found: list[Sequence[Value]] = []
    for column, values in zip(
        columns, zip(*map(itemgetter(*names), given), strict=True), strict=True
    ):
        _, canonical, nullable, together = column
        if not nullable and any(map(is_, values, repeat(None))):
            raise ValueError
        found.append(
            together([*values])
            if together
            else [None if value is None else canonical(value) for value in values]
        )
    return [dict(zip(names, values, strict=True)) for values in zip(*found, strict=True)]


def copied_document(collection: Definition, document: Document) -> Document:
    """Return a copy that shares no mutable part with a canonical document."""
    copied = dict(document)
    for name in collection.mutable:
        copied[name] = copied_json(cast(Json, document[name]))
    return copied

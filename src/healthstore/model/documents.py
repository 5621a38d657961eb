"""Documents in canonical form: each value is looked at once, where the document is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias, cast

from healthstore.model.definition import Definition
from healthstore.model.json import Json, copied_json
from healthstore.model.refusals import invalid, missing_value, refused
from healthstore.model.values import Canonicaliser, Document

__all__ = ("Columns", "canonical_document", "copied_document")

Columns: TypeAlias = "Iterable[tuple[str, Canonicaliser, bool]]"
"""For each field its name, what makes a value canonical, and whether None is a value."""


def canonical_document(
    collection: Definition, given: Mapping[str, object], columns: Columns | None = None
) -> Document:
    """Return the document of canonical values: every field, and no other.

    ``columns`` are the collection's own where nothing else is said. Raises NotNullError,
    RefusedValueError, or InvalidRequestError for a field that is missing or not known.
    """
    document: Document = {}
    name = ""
    try:
        for name, canonical, nullable in columns or collection.canonicalisers:
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


def copied_document(collection: Definition, document: Document) -> Document:
    """Return a copy that shares no mutable part with a canonical document."""
    copied = dict(document)
    for name in collection.mutable:
        copied[name] = copied_json(cast(Json, document[name]))
    return copied

"""Documents in canonical form: each value is looked at once, where the document is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from healthstore.model.definition import Definition
from healthstore.model.refusals import invalid, missing_value, refused
from healthstore.model.values import Canonicaliser, Document, Value

__all__ = ("Columns", "canonical_document", "document_size")

Columns: TypeAlias = "Iterable[tuple[str, Canonicaliser, bool]]"
"""For each field its name, what makes a value canonical, and whether None is a value."""

# A document whose texts have fewer code points than this is small, whatever they are.
_SURELY_SMALL = 100_000
_encode_json = msgspec.json.Encoder().encode


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


def document_size(values: Iterable[Value]) -> int:
    """Return about how many bytes the texts, bytes and JSON of a document take; at most, if few."""
    length = 0
    large: list[str | bytes] = []
    for value in values:
        if isinstance(value, str | bytes):
            large.append(value)
            length += len(value)
        elif isinstance(value, dict | list):
            large.append(written := _encode_json(value))
            length += len(written)
    if 4 * length <= _SURELY_SMALL:
        return 4 * length
    return sum(len(each.encode()) if isinstance(each, str) else len(each) for each in large)

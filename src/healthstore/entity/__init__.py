"""Entities: pydantic models that every backend can keep.

A subclass of :class:`Entity` is an ordinary pydantic model. Its definition as a
:class:`~healthstore.model.schema.Collection` is derived from its annotations::

    class User(Entity, collection="users"):
        email: Annotated[str, Unique(), MaxLength(255)]
        first_name: str | None = None
        profile: dict[str, JsonValue] = {}

``str``, ``int``, ``bool``, ``float``, ``datetime`` (aware), ``date``, ``time``, ``timedelta``,
``UUID``, ``bytes``, ``Decimal`` with :class:`Digits`, enums, literals, addresses and paths have
columns of their own. Everything else that pydantic can write as JSON (lists, mappings, models,
unions) is kept as JSON. docs/reference/types.md lists every annotation.
"""

from __future__ import annotations

from healthstore.entity.computed import Computed
from healthstore.entity.convert import (
    canonical_value,
    is_validated,
    json_of,
    parse_fields,
    stored_filter,
)
from healthstore.entity.declare import (
    LEASED_UNTIL,
    Digits,
    Entity,
    MaxLength,
    Milliseconds,
    Ref,
    Search,
    Searchable,
    utc_now,
    uuid7,
)
from healthstore.entity.derive import collection_of, target_of
from healthstore.entity.elements import element_type
from healthstore.entity.filters import column_of, field_name, own_keys, own_order
from healthstore.entity.operands import parse_part_test, parse_test
from healthstore.entity.reading import (
    as_stored,
    column_reader,
    from_document,
    from_written,
    place,
    reader_of,
    reason,
    require_valid,
)
from healthstore.entity.writing import (
    computed_anew,
    computed_fields,
    other_than_computed,
    to_document,
    to_documents,
)

__all__ = (
    "LEASED_UNTIL",
    "Computed",
    "Digits",
    "Entity",
    "MaxLength",
    "Milliseconds",
    "Ref",
    "Search",
    "Searchable",
    "as_stored",
    "canonical_value",
    "collection_of",
    "column_of",
    "column_reader",
    "computed_anew",
    "computed_fields",
    "element_type",
    "field_name",
    "from_document",
    "from_written",
    "is_validated",
    "json_of",
    "other_than_computed",
    "own_keys",
    "own_order",
    "parse_fields",
    "parse_part_test",
    "parse_test",
    "place",
    "reader_of",
    "reason",
    "require_valid",
    "stored_filter",
    "target_of",
    "to_document",
    "to_documents",
    "utc_now",
    "uuid7",
)

"""What a query inside a filter means: a list of the values that it finds."""

from __future__ import annotations

from collections.abc import Callable, Collection

from healthstore.errors import InvalidRequestError
from healthstore.model.query import (
    ALL,
    MAX_OPERAND_BYTES,
    MAX_VALUES,
    NONE,
    Filter,
    Lookup,
    Operator,
    Test,
    lookups,
    normalise,
    substituted,
)
from healthstore.model.values import Value

__all__ = ("answered", "require_few")


def answered(
    where: Filter,
    values: Callable[[Lookup], Collection[Value]],
    nullable: Callable[[str], bool],
) -> Filter:
    """Return a filter in normal form with a list in the place of each query.

    ``values`` returns what a query finds.
    """

    def change(test: Test, lookup: Lookup) -> Filter:
        found = values(lookup)
        if lookup.nulls:
            return ALL if bool(found) is (test.operator is Operator.IN) else NONE
        return Test(test.field, test.operator, tuple(found))

    if next(lookups(where), None) is None:
        return where
    return normalise(substituted(where, change), nullable)


def require_few(lookup: Lookup, values: Collection[Value]) -> None:
    """Raise InvalidRequestError for more values than the list of one filter may have."""
    size = sum(
        len(each.encode() if isinstance(each, str) else each)
        for each in values
        if isinstance(each, str | bytes)
    )
    if len(values) > MAX_VALUES or size > MAX_OPERAND_BYTES:
        raise InvalidRequestError(
            f"a query inside the filter finds more than {MAX_VALUES} values, or more than "
            f"{MAX_OPERAND_BYTES} bytes of texts: this backend reads them first",
            hint="narrow that query, or ask in several requests, each with a part of it",
            entity=lookup.collection.entity,
            field=lookup.field,
        )

"""Filters held against what a backend can do."""

from __future__ import annotations

from collections.abc import Iterator

from healthstore.abc.backend import Executor
from healthstore.errors import CapabilityError
from healthstore.model.filters import checked_filter
from healthstore.model.query import Filter, Lookup, Test, walk
from healthstore.model.schema import Collection

__all__ = ("checked_where",)


def checked_where(collection: Collection, where: Filter, store: Executor) -> Filter:
    """Return the filter in normal form; raise CapabilityError for a key that is not found there."""
    checked = checked_filter(collection, where)
    if not store.capabilities.hyphen_keys:
        for test in _tests(checked):
            steps = () if test.part is None else test.part.steps
            if any(isinstance(step, str) and step.startswith("-") for step in steps):
                raise CapabilityError(
                    "this backend finds no key that begins with a hyphen: it does not have the "
                    "capability `hyphen_keys`",
                    hint="store the part under another key",
                    entity=collection.entity,
                    field=test.field,
                )
    return checked


def _tests(where: Filter) -> Iterator[Test]:
    """Yield the tests of a filter, and of the queries inside of it."""
    for test in walk(where):
        yield test
        if isinstance(test.operand, Lookup):
            yield from _tests(test.operand.where)

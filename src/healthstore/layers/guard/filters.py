"""The filters of requests, canonical; and what a store cannot find by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from healthstore.abc.backend import Executor
from healthstore.errors import CapabilityError
from healthstore.model.filters import checked_filter
from healthstore.model.query import FieldOrTerm, Filter, Lookup, Part, Term, Test, walk
from healthstore.model.schema import Collection

__all__ = ("checked_where", "require_found")


def checked_where(collection: Collection, where: Filter, store: Executor) -> Filter:
    """Return the filter in normal form, with canonical operands.

    Raises InvalidRequestError for one without a meaning, and CapabilityError for what the store
    cannot find.
    """
    checked = checked_filter(collection, where)
    if not store.capabilities.hyphen_keys:
        for test in _every_test(checked):
            _require_plain(collection, test.field, test.part)
    return checked


def require_found(collection: Collection, columns: Iterable[FieldOrTerm], store: Executor) -> None:
    """Raise CapabilityError for a term that the store cannot find."""
    if not store.capabilities.hyphen_keys:
        for each in columns:
            if isinstance(each, Term):
                _require_plain(collection, each.field, each.part)


def _require_plain(collection: Collection, field: str, part: Part | None) -> None:
    steps = () if part is None else part.steps
    if any(isinstance(step, str) and step.startswith("-") for step in steps):
        raise CapabilityError(
            "this backend finds no key that begins with a hyphen: it does not have the "
            "capability `hyphen_keys`",
            hint="store the part under another key",
            entity=collection.entity,
            field=field,
        )


def _every_test(where: Filter) -> Iterator[Test]:
    """Yield the tests of a filter, and of the queries inside of it."""
    for test in walk(where):
        yield test
        if isinstance(test.operand, Lookup):
            yield from _every_test(test.operand.where)

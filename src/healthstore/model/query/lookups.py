"""Queries inside a filter: those in whose results a field is looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from healthstore.model.query.tests import Filter, Lookup, Not, Test, below

__all__ = ("lookups", "parts_of", "substituted")


def lookups(filter_: Filter) -> Iterator[Lookup]:
    """Yield the queries in which tests of a filter look something up, but none inside of them."""
    left: list[Filter] = [filter_]  # no recursion: how deep it is may not have been looked at
    while left:
        node = left.pop()
        if isinstance(node, Test):
            if isinstance(node.operand, Lookup):
                yield node.operand
        else:
            left.extend(below(node))


def substituted(filter_: Filter, change: Callable[[Test, Lookup], Filter]) -> Filter:
    """Return a filter with something else in the place of each test that looks something up."""
    if isinstance(filter_, Test):
        operand = filter_.operand
        return change(filter_, operand) if isinstance(operand, Lookup) else filter_
    if isinstance(filter_, Not):
        return Not(substituted(filter_.item, change))
    return type(filter_)(tuple(substituted(item, change) for item in filter_.items))


def parts_of(node: Filter) -> tuple[Filter, ...]:
    """Return the filters of which a filter is made, that of a query inside of it among them."""
    if isinstance(node, Test) and isinstance(node.operand, Lookup):
        return (node.operand.where,)
    return below(node)

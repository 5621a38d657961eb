"""Queries inside a filter, in two steps: what they find is read first, and passed as lists."""

from __future__ import annotations

from collections.abc import Collection as Several
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from healthstore.model import evaluate
from healthstore.model.ops import Find, Op
from healthstore.model.query import Filter, Lookup, lookups
from healthstore.model.schema import Collection
from healthstore.model.values import Value

if TYPE_CHECKING:  # an adapter asks for the steps
    from healthstore.abc.adapter import Adapter

__all__ = ("answered", "looks_up")

R = TypeVar("R")


def looks_up(op: Op[Any]) -> bool:
    """Tell whether an operation's filter looks something up in another query."""
    where: Filter | None = getattr(op, "where", None)
    return where is not None and next(lookups(where), None) is not None


async def answered(adapter: Adapter[Any], session: Any, op: Op[R]) -> Op[R]:
    """Return an operation with lists in its filter, of what queries inside of it find.

    Raises InvalidRequestError where that is more than a list may hold.
    """
    asked = cast(Find, op)
    where = await _answered(adapter, session, asked.collection, asked.where)
    return cast("Op[R]", replace(asked, where=where))


async def _answered(
    adapter: Adapter[Any], session: Any, collection: Collection, where: Filter
) -> Filter:
    # By identity: what a part of JSON is compared with may have no hash.
    found = {id(each): await _found(adapter, session, each) for each in lookups(where)}
    return evaluate.answered(where, lambda each: found[id(each)], collection.nullable)


async def _found(adapter: Adapter[Any], session: Any, lookup: Lookup) -> Several[Value]:
    where = await _answered(adapter, session, lookup.collection, lookup.where)
    if lookup.nulls:
        rows = await adapter.find(session, Find(lookup.collection, where, limit=1))
        return [row[lookup.field] for row in rows]
    values = await adapter.looked_up(session, replace(lookup, where=where))
    evaluate.require_few(lookup, values)
    return values

"""Requests of a program that knows a collection by an earlier definition, as ones of the stored one.

What it adds gets what is new in the collection, what it replaces keeps it, and what it reads does
not show it. See :func:`healthstore.model.serve.serves`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from healthstore.abc.backend import Executor
from healthstore.errors import Outcome, StaleVersionError
from healthstore.model.ops import (
    Batch,
    Claim,
    ExplainFind,
    Find,
    Get,
    Insert,
    Leading,
    Op,
    Patch,
    Patches,
    Replace,
)
from healthstore.model.query import Filter, Lookup, Test, lookups, substituted
from healthstore.model.schema import Collection
from healthstore.model.values import Document

__all__ = ("Served", "execute_served", "served_by")

R = TypeVar("R")
_ATTEMPTS = 5
_PAUSE = 0.02  # seconds


@dataclass(frozen=True, slots=True)
class Served:
    """A definition that a program knows, and the one that the store has."""

    known: Collection
    stored: Collection

    def whole(self, document: Document, there: Document | None = None) -> Document:
        """Return a document of the program with what is stored beside it, or is new."""
        new = {each.name: each.default for each in self.stored.fields}
        return {**new, **(there or {}), **document}

    def shown(self, document: Document | None) -> Document | None:
        """Return a stored document as the program knows it."""
        if document is None:
            return None
        return {name: document[name] for name in self.known.names}


def served_by(served: Mapping[str, Sequence[Served]], collection: Collection) -> Served | None:
    """Return how a definition is served, of those of each name; None for one that is not."""
    for each in served.get(collection.name, ()):
        if each.known is collection or each.known == collection:
            return each
    return None


async def execute_served(inner: Executor, op: Op[R], served: Mapping[str, Sequence[Served]]) -> R:
    """Run an operation that names collections which serve by other definitions.

    The mapping stays as it is until the operation has ended.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        asked, unguarded = await _translated(inner, op, served)
        try:
            result = await inner.execute(asked)
        except StaleVersionError as error:
            # The program has not asked for a version: only what is beside its fields has one.
            if not unguarded or attempt == _ATTEMPTS or error.outcome is not Outcome.NOT_APPLIED:
                raise
            await asyncio.sleep(random.uniform(0, _PAUSE * attempt))  # noqa: S311 - no secret
        else:
            return cast(R, _shown(op, result, served))
    raise AssertionError("the last attempt returns or raises")


async def _translated(
    inner: Executor, op: Op[R], served: Mapping[str, Sequence[Served]]
) -> tuple[Op[R], bool]:
    """Return the operation on what is stored, and whether it guards versions of its own accord."""
    if isinstance(op, Batch):
        parts = [await _translated(inner, each, served) for each in op.operations]
        made = Batch(tuple(cast(Any, each) for each, _ in parts))
        return cast("Op[R]", made), any(unguarded for _, unguarded in parts)
    if isinstance(op, ExplainFind):
        asked, _ = await _translated(inner, op.find, served)
        return cast("Op[R]", ExplainFind(cast(Find, asked))), False
    where: Filter | None = getattr(op, "where", None)
    if where is not None and next(lookups(where), None) is not None:
        op = cast("Op[R]", replace(cast(Find, op), where=_looked_up(where, served)))
    collection: Collection | None = getattr(op, "collection", None)
    by = None if collection is None else served_by(served, collection)
    if by is None:
        return op, False
    if isinstance(op, Replace):
        return cast("tuple[Op[R], bool]", await _replacing(inner, op, by))
    changed: dict[str, object] = {}
    if isinstance(op, Insert):
        changed["documents"] = tuple(map(by.whole, op.documents))
    elif isinstance(op, Patches):
        changed["patches"] = tuple(replace(each, collection=by.stored) for each in op.patches)
    return cast("Op[R]", replace(cast(Any, op), collection=by.stored, **changed)), False


def _looked_up(where: Filter, served: Mapping[str, Sequence[Served]]) -> Filter:
    """Return a filter whose queries look into what is stored."""

    def change(test: Test, lookup: Lookup) -> Filter:
        by = served_by(served, lookup.collection)
        stored = lookup.collection if by is None else by.stored
        inner = _looked_up(lookup.where, served)
        return Test(test.field, test.operator, replace(lookup, collection=stored, where=inner))

    return substituted(where, change)


async def _replacing(inner: Executor, op: Replace, by: Served) -> tuple[Replace, bool]:
    """Return the replacement with what is stored beside it, guarded by the versions of that."""
    ids = tuple(each["id"] for each in op.documents)
    there = await inner.execute(Get(by.stored, cast(Any, ids)))
    whole = tuple(map(by.whole, op.documents, there))
    found = tuple(1 if each is None else cast(int, each["version"]) for each in there)
    guarded = replace(op, collection=by.stored, documents=whole, versions=op.versions or found)
    return guarded, op.versions is None


def _shown(op: Op[Any], result: Any, served: Mapping[str, Sequence[Served]]) -> object:
    """Return a result as the program knows it."""
    if isinstance(op, Batch):
        return tuple(
            _shown(each, one, served) for each, one in zip(op.operations, result, strict=True)
        )
    show = _SHOWN.get(type(op))
    if show is None or (isinstance(op, Find) and op.columns is not None):
        return result  # it holds nothing but what the program has named
    by = served_by(served, cast(Find, op).collection)
    return result if by is None else show(by, result)


def _each(by: Served, found: Sequence[Document | None]) -> tuple[Document | None, ...]:
    return tuple(map(by.shown, found))


def _each_patched(
    by: Served, found: Sequence[tuple[Document] | None]
) -> tuple[tuple[Document | None] | None, ...]:
    return tuple(None if each is None else (by.shown(each[0]),) for each in found)


_SHOWN: Mapping[type, Callable[[Served, Any], object]] = {
    Claim: _each,
    Find: _each,
    Get: _each,
    Leading: _each,
    Patch: _each,
    Patches: _each_patched,
}

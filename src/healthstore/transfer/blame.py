"""Which line of a file a store has refused, found afterwards.

A store refuses a page of rows as a whole. What stands in the way is looked for in the page, in
the rows before it, and in the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast
from uuid import UUID

from healthstore.abc.backend import Backend
from healthstore.errors import DuplicateKeyError, ForeignKeyError, HealthstoreError, IntegrityError
from healthstore.model.evaluate import Key, key_test, keyed
from healthstore.model.ops import Find, Get
from healthstore.model.query import Or
from healthstore.model.schema import Collection
from healthstore.transfer._offload import offload
from healthstore.transfer.rows import FilePage
from healthstore.transfer.selection import catalog

__all__ = ("blamed",)

_TOGETHER = 100


async def blamed(
    error: IntegrityError,
    refused: FilePage,
    before: Iterable[FilePage],
    collection: Collection,
    target: Backend,
) -> HealthstoreError:
    """Return an error of the same class that names the line; ``before`` are the pages before.

    The target must be as it was before the file; it is only read.
    """
    found: tuple[int, str] | None = None
    if isinstance(error, DuplicateKeyError):
        fields = error.fields or ("id",)
        # In a thread: it reads the file again.
        found = await offload(_twice, refused, before, collection, fields)
        found = found or await _stored(refused, fields, collection, target)
    elif isinstance(error, ForeignKeyError):
        found = await _orphan(refused, error.field, collection, target)
    where = f"lines {refused.lines[0]} to {refused.lines[-1]}"
    message = error.message
    if found is not None:
        where, message = f"line {found[0]}", found[1]
    named = type(error)(
        f"{where}: {message}",
        hint="correct that row; nothing of the file is stored",
        entity=collection.entity,
        field=error.field,
        backend=target.name,
    )
    if isinstance(named, DuplicateKeyError) and isinstance(error, DuplicateKeyError):
        named.fields = error.fields
    return named


def _keys(
    page: FilePage, collection: Collection, fields: Sequence[str]
) -> Iterator[tuple[int, Key]]:
    """Yield the line and the key of each document whose key is complete."""
    key_of = keyed(collection, fields)
    for line, row in zip(page.lines, page.rows, strict=True):
        key = key_of(row)
        if None not in key:
            yield line, key


def _twice(
    refused: FilePage, before: Iterable[FilePage], collection: Collection, fields: Sequence[str]
) -> tuple[int, str] | None:
    """Return the line whose key is on a line before."""
    names = ", ".join(fields)
    first: dict[Key, int] = {}
    for line, key in _keys(refused, collection, fields):
        earlier = first.setdefault(key, line)
        if earlier != line:
            return line, f"has the same {names} as line {earlier}"
    for page in before:
        for earlier, key in _keys(page, collection, fields):
            if key in first:
                return first[key], f"has the same {names} as line {earlier}"
    return None


async def _stored(
    refused: FilePage, fields: Sequence[str], collection: Collection, target: Backend
) -> tuple[int, str] | None:
    """Return the line whose key is stored already."""
    lines = {key: line for line, key in _keys(refused, collection, fields)}
    key_of = keyed(collection, fields)
    keys = list(lines)
    for start in range(0, len(keys), _TOGETHER):
        tests = [key_test(collection, fields, key) for key in keys[start : start + _TOGETHER]]
        where = tests[0] if len(tests) == 1 else Or(tuple(tests))
        for row in await target.execute(Find(collection, where, limit=1)):
            line = lines.get(key_of(row))
            if line is not None:
                return line, f"has the {', '.join(fields)} of a document that is stored already"
    return None


async def _orphan(
    refused: FilePage, field: str | None, collection: Collection, target: Backend
) -> tuple[int, str] | None:
    """Return the line that refers to what is not stored."""
    known = await catalog(target)
    for reference in collection.references:
        parents = known.get(reference.collection)
        if parents is None or reference.collection == collection.name:
            continue  # of its own collection: the rows before may hold the parent
        if field not in {None, reference.field}:
            continue
        lines: dict[UUID, int] = {}
        for line, (parent,) in _keys(refused, collection, (reference.field,)):
            lines.setdefault(cast(UUID, parent), line)
        wanted = list(lines)
        for start in range(0, len(wanted), _TOGETHER):
            ids = tuple(wanted[start : start + _TOGETHER])
            stored = await target.execute(Get(parents, ids))
            for identity, row in zip(ids, stored, strict=True):
                if row is None:
                    return lines[identity], (
                        f"its {reference.field} refers to a document of {reference.collection} "
                        "that is not stored"
                    )
    return None

"""Every reason to refuse a write: a write with several faults is refused for any one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, cast
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.entity import collection_of, parse_fields, to_document
from healthstore.errors import (
    CheckError,
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    NotNullError,
    OutOfRangeError,
    StaleVersionError,
)
from healthstore.model import ops
from healthstore.model.evaluate import Key, matches, patched, unique_keyed
from healthstore.model.query import ALL
from healthstore.model.schema import Collection
from healthstore.model.values import Document, canonicaliser
from healthstore.testing.differential import programs
from healthstore.testing.differential.declared import Declared
from healthstore.testing.differential.programs import Step

__all__ = ("REFUSALS", "Refusal", "refusals")

# The class of an error, and the fields of the key that is taken.
Refusal: TypeAlias = tuple[str, tuple[str, ...]]

# The errors that depend on what else is stored.
REFUSALS = frozenset(
    each.__name__
    for each in (
        *(CheckError, DuplicateKeyError, ForeignKeyError),
        *(NotNullError, OutOfRangeError, StaleVersionError),
    )
)


async def refusals(store: Executor, declared: Declared, step: Step) -> frozenset[Refusal] | None:
    """Return every reason that a store has to refuse a write; None: it cannot be told.

    ``store`` holds what it held before the write, which it refused.
    """
    if isinstance(step, programs.Add | programs.AddMany | programs.Replace):
        rows = (step.row,) if isinstance(step, programs.Add) else step.rows
        documents = [to_document(declared.entity(step.schema, row)) for row in rows]
        versions = step.versions if isinstance(step, programs.Replace) else None
        expected = _expected(map(_id, documents), versions)
        added = not isinstance(step, programs.Replace)
        return await _judged(store, declared, step.schema, documents, expected, added=added)
    if isinstance(step, programs.Patch):
        kind = declared.classes[step.schema]
        sets = tuple(parse_fields(kind, step.sets).items())
        op = ops.Patch(collection_of(kind), step.ids, sets, tuple(step.increments.items()))
        return await _judged_patch(store, declared, step, op)
    return None


async def _judged_patch(
    store: Executor, declared: Declared, step: programs.Patch, op: ops.Patch
) -> frozenset[Refusal]:
    found: set[Refusal] = set()
    documents: list[Document] = []
    for document in await store.execute(ops.Get(op.collection, op.ids)):
        if document is not None:
            try:
                documents.append(patched(op, document))
            except HealthstoreError as error:
                found.add((type(error).__name__, ()))
    expected = _expected(step.ids, step.versions)
    judged = await _judged(store, declared, step.schema, documents, expected, added=False)
    return judged | found


async def _judged(  # noqa: PLR0913 - a write has so many parts
    store: Executor,
    declared: Declared,
    name: str,
    documents: Sequence[Document],
    expected: Mapping[UUID, int],
    *,
    added: bool,
) -> frozenset[Refusal]:
    stored = {
        each: {_id(row): row for row in await _everything(store, collection_of(kind))}
        for each, kind in declared.classes.items()
    }
    collection = collection_of(declared.classes[name])
    given = [_canonical(collection, each) for each in documents]
    here = stored[name]
    if not added:
        given = [each for each in given if _id(each) in here]
    found: set[Refusal] = set()
    if added and any(_id(each) in here for each in given):
        found.add((DuplicateKeyError.__name__, ("id",)))
    for identity, version in expected.items():
        if identity in here and here[identity]["version"] != version:
            found.add((StaleVersionError.__name__, ()))
    found.update(_clashes(collection, given, here, added=added))
    after = {**here, **{_id(each): each for each in given}}
    for reference in collection.references:
        parents = after if reference.collection == name else stored[reference.collection]
        if any(each[reference.field] not in {None, *parents} for each in given):
            found.add((ForeignKeyError.__name__, ()))
    for rule in collection.rules.values():
        if not all(map(matches(rule), given)):
            found.add((CheckError.__name__, ()))
    return frozenset(found)


def _expected(ids: Iterable[UUID], versions: tuple[int, ...] | None) -> dict[UUID, int]:
    return {} if versions is None else dict(zip(ids, versions, strict=True))


def _clashes(
    collection: Collection,
    given: Sequence[Document],
    stored: Mapping[UUID, Document],
    *,
    added: bool,
) -> Iterator[Refusal]:
    """Yield the unique keys that two documents have, before the write or after it.

    Before it, too: databases look at a key when they write it, and one write may pass it on.
    """
    replaced = set[UUID]() if added else {_id(each) for each in given}
    kept = [row for identity, row in stored.items() if identity not in replaced]
    for unique in collection.uniques:
        values_of = unique_keyed(collection, unique)

        def key(document: Document, read: Callable[[Document], Key] = values_of) -> Key | None:
            values = read(document)
            return None if None in values else values

        full = [found for each in (*given, *kept) if (found := key(each)) is not None]
        before = {key(row): identity for identity, row in stored.items()}
        passed = any(
            key(each) is not None and before.get(key(each), _id(each)) != _id(each)
            for each in given
        )
        if passed or len(set(full)) < len(full):
            yield (DuplicateKeyError.__name__, unique.fields)


def _id(document: Document) -> UUID:
    return cast(UUID, document["id"])


def _canonical(collection: Collection, document: Document) -> Document:
    return {
        name: None if document[name] is None else canonicaliser(field.type)(document[name])
        for name, field in collection.by_name.items()
    }


async def _everything(store: Executor, collection: Collection) -> tuple[Document, ...]:
    return await store.execute(ops.Find(collection, ALL, limit=10_000))

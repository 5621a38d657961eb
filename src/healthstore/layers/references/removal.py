"""A delete as plain operations: planned level by level, then carried out, all in one unit."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar, cast
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.layers.references.relations import Referrer, Relations, own_references
from healthstore.model.evaluate import check_version, still_referenced
from healthstore.model.ops import Delete, DeleteWhere, Find, Get, Patch
from healthstore.model.precedence import children_first, circular
from healthstore.model.query import And, Filter, Operator, Test, normalise
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value

__all__ = ("Removal", "named_by")

T = TypeVar("T")
Parents: TypeAlias = dict[UUID, set[UUID]]

_IDS = 5_000  # ids in one operation
_PAGE = 2_500  # documents of one page: whole ones, which layers may look at
_MANY = 10_000  # documents that are put in order in a thread, so that the loop goes on


class Removal:
    """One delete with all that follows from it.

    The closure is what goes: the documents that were named, and what cascades reach from them.
    """

    def __init__(self, op: Delete, relations: Relations, executor: Executor) -> None:
        self._op = op
        self._relations = relations
        self._executor = executor
        self._collections: dict[str, Collection] = {op.collection.name: op.collection}
        # Collection -> id of what goes -> its references that matter for the order, by field.
        self._gone: defaultdict[str, dict[UUID, dict[str, UUID]]] = defaultdict(dict)
        # Collection -> id -> the fields that lose their reference, if it stays.
        self._losing: defaultdict[str, dict[UUID, set[str]]] = defaultdict(dict)
        # Collection -> ids that must go as well, or all stays.
        self._holding: defaultdict[str, set[UUID]] = defaultdict(set)

    # --- the plan --------------------------------------------------------------------------

    async def plan(self) -> None:
        """Find all that follows; nothing is written.

        Raises StaleVersionError for an unexpected version of a document that was named, and
        ForeignKeyError if a document that stays restricts the delete.
        """
        name = self._op.collection.name
        level = {name: await self._roots()}
        while level:
            found: defaultdict[str, list[UUID]] = defaultdict(list)
            for parents, ids in level.items():
                for referrer in self._relations.to(parents):
                    for chunk in _chunks(ids):
                        async for page in self._referring(referrer, chunk):
                            self._note(referrer, page, found)
            level = {name: ids for name, ids in found.items() if ids}
        for name, holding in self._holding.items():
            if not holding <= self._gone[name].keys():
                raise still_referenced(self._op.collection)

    async def _roots(self) -> Sequence[UUID]:
        """Take up the documents that were named, and return their ids."""
        op = self._op
        ordering, gone = self._ordering(op.collection), self._gone[op.collection.name]
        if op.versions is None and not ordering:
            gone.update((identity, {}) for identity in op.ids)
            return op.ids
        expected = dict(zip(op.ids, op.versions, strict=True)) if op.versions else {}
        ids: list[UUID] = []
        for chunk in _chunks(op.ids):
            for row in await self._executor.execute(Get(op.collection, tuple(chunk))):
                if row is not None:
                    identity = cast(UUID, row["id"])
                    check_version(op.collection, row, identity, expected.get(identity))
                    gone[identity] = _links(row, ordering)
                    ids.append(identity)
        return ids

    async def _referring(
        self, referrer: Referrer, parents: Sequence[UUID]
    ) -> AsyncGenerator[tuple[Document, ...], None]:
        """Yield the documents that refer to some parents, page by page."""
        among = Test(referrer.reference.field, Operator.IN, tuple(parents))
        where: Filter = among
        while True:
            page = await self._executor.execute(Find(referrer.collection, where, limit=_PAGE))
            yield page
            if len(page) < _PAGE:
                return
            where = And((among, Test("id", Operator.GT, page[-1]["id"])))

    def _note(
        self, referrer: Referrer, page: Iterable[Document], found: dict[str, list[UUID]]
    ) -> None:
        """Note what becomes of documents that refer to what goes."""
        collection, reference = referrer.collection, referrer.reference
        self._collections.setdefault(collection.name, collection)
        ordering, gone = self._ordering(collection), self._gone[collection.name]
        for row in page:
            identity = cast(UUID, row["id"])
            if reference.on_delete == "restrict":
                self._holding[collection.name].add(identity)
            elif reference.on_delete == "set_null":
                losing = self._losing[collection.name]
                losing.setdefault(identity, set()).add(reference.field)
            elif identity not in gone:
                gone[identity] = _links(row, ordering)
                found[collection.name].append(identity)

    def _ordering(self, collection: Collection) -> list[str]:
        """Return the fields that decide in which order documents can go."""
        references = (*own_references(collection), *self._relations.later(collection))
        return [each.field for each in references]

    # --- carrying it out -------------------------------------------------------------------

    async def carry_out(self) -> tuple[bool, ...]:
        """Do what was planned; return for each document that was named whether it was there."""
        for name, losing in self._losing.items():
            gone = self._gone[name]
            staying = {each: fields for each, fields in losing.items() if each not in gone}
            await self._empty(name, staying, raises_version=True)
        ordered = self._relations.children_first(self._collections[name] for name in self._gone)
        for collection in ordered:
            await self._open_circles(collection)
        there: dict[UUID, bool] = {}
        for collection in ordered:
            for chunk in _chunks(await self._in_order(collection)):
                done = await self._executor.execute(Delete(collection, tuple(chunk)))
                if collection.name == self._op.collection.name:
                    there.update(zip(chunk, done, strict=True))
        return tuple(there.get(identity, False) for identity in self._op.ids)

    async def _empty(
        self, name: str, fields: dict[UUID, set[str]], *, raises_version: bool
    ) -> None:
        """Set references to None, in as few operations as there are sets of fields."""
        together: defaultdict[tuple[str, ...], list[UUID]] = defaultdict(list)
        for identity, emptied in fields.items():
            together[tuple(sorted(emptied))].append(identity)
        raised: tuple[tuple[str, Value], ...] = (("version", 1),) if raises_version else ()
        for emptied_fields, ids in together.items():
            sets = tuple((field, None) for field in emptied_fields)
            for chunk in _chunks(ids):
                op = Patch(self._collections[name], tuple(chunk), sets, raised)
                await self._executor.execute(op)

    async def _open_circles(self, collection: Collection) -> None:
        """Take away the references because of which documents could not go one after the other.

        A document of a circle that must refer to one refers to itself for that moment.
        """
        if not self._ordering(collection):
            return
        gone = self._gone[collection.name]
        own = {each.field for each in own_references(collection)}
        later = {each.field: each.collection for each in self._relations.later(collection)}
        circles = await _circular(gone, own)
        emptied: dict[UUID, set[str]] = {}
        for identity, references in gone.items():
            opened = {
                field
                for field, parent in references.items()
                if (field in later and parent in self._gone[later[field]])
                or (field in own and (parent == identity or {identity, parent} <= circles))
            }
            optional = {field for field in opened if collection.nullable(field)}
            if optional:
                emptied[identity] = optional
            required = {each for each in opened - optional if references[each] != identity}
            if required:
                sets = tuple((field, identity) for field in sorted(required))
                await self._executor.execute(Patch(collection, (identity,), sets))
            for field in opened:
                del references[field]
        await self._empty(collection.name, emptied, raises_version=False)

    async def _in_order(self, collection: Collection) -> list[UUID]:
        """Return what goes of a collection, children first; no circle is left."""
        gone = self._gone[collection.name]
        own = {each.field for each in own_references(collection)}
        if not own:
            return list(gone)
        groups, _ = await _apart(children_first, _parents(gone, own))
        return [identity for group in groups for identity in group]


async def named_by(op: DeleteWhere, executor: Executor) -> Delete:
    """Return the delete of the documents that a filter finds now, by their ids."""
    collection, where = op.collection, op.where
    ids: list[UUID] = []
    while True:
        asked = Find(collection, where, limit=_IDS, columns=("id",))
        page = await executor.execute(asked)
        ids.extend(cast(UUID, each["id"]) for each in page)
        if len(page) < _IDS:
            return Delete(collection, tuple(ids))
        where = normalise(op.where & Test("id", Operator.GT, ids[-1]), collection.nullable)


def _links(row: Document, fields: Sequence[str]) -> dict[str, UUID]:
    return {name: cast(UUID, row[name]) for name in fields if row[name] is not None}


def _parents(gone: dict[UUID, dict[str, UUID]], own: set[str]) -> Parents:
    return {
        identity: {parent for field, parent in references.items() if field in own}
        for identity, references in gone.items()
    }


async def _apart(order: Callable[[Parents], T], parents: Parents) -> T:
    return await asyncio.to_thread(order, parents) if len(parents) > _MANY else order(parents)


async def _circular(gone: dict[UUID, dict[str, UUID]], own: set[str]) -> set[UUID]:
    return await _apart(circular, _parents(gone, own)) if own else set()


def _chunks(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(ids), _IDS):
        yield ids[start : start + _IDS]

"""Operations: every request to a backend is one of these frozen values.

Operations are plural: one document is a plural of one. ``Op[R]`` names the type of the result
of :meth:`healthstore.abc.Backend.execute`. An operation arrives at an adapter in checked form:
values are canonical, filters are in normal form (:func:`healthstore.model.query.normalise`),
orders are total, ``Find.after`` is folded into the filter and no measure is an average; the
guard layer sees to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self, TypeAlias
from uuid import UUID

from healthstore.model.defining import (
    Alter,
    Drop,
    Ensure,
    Ensured,
    Explain,
    Explained,
    Rename,
)
from healthstore.model.definition import Definition, Field
from healthstore.model.measures import (
    Avg,
    Bucket,
    Count,
    CountDistinct,
    First,
    Function,
    Group,
    Last,
    Max,
    Measure,
    Min,
    Percentile,
    Sum,
    Unwind,
)
from healthstore.model.op import Effect, Op
from healthstore.model.plans import QueryPlan
from healthstore.model.query import ALL, FieldOrTerm, Filter, Order, Term
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value
from healthstore.model.writing import (
    Claim,
    Delete,
    DeleteWhere,
    Insert,
    Patch,
    Patches,
    PatchWhere,
    Replace,
)

__all__ = (
    "Aggregate",
    "Alter",
    "Avg",
    "Batch",
    "Bucket",
    "Claim",
    "Count",
    "CountDistinct",
    "CountDocuments",
    "Delete",
    "DeleteWhere",
    "Drop",
    "Effect",
    "Ensure",
    "Ensured",
    "Explain",
    "ExplainFind",
    "Explained",
    "Find",
    "First",
    "Found",
    "Function",
    "Get",
    "Group",
    "Insert",
    "Last",
    "Leading",
    "Max",
    "Measure",
    "Min",
    "Op",
    "Origin",
    "Patch",
    "PatchWhere",
    "Patches",
    "Percentile",
    "RefreshStatistics",
    "Rename",
    "Replace",
    "Sum",
    "Unwind",
)


@dataclass(frozen=True, slots=True)
class Get(Op["tuple[Document | None, ...]"]):
    """Return the documents with these ids, in this order; None where there is none.

    With ``lock``, in a unit that may write, nobody else changes or removes them before its end: who
    tries waits, or raises SerializationError. One that was changed since the unit's snapshot raises
    SerializationError: what is returned is what is stored.
    """

    effect = Effect.READ
    collection: Collection
    ids: tuple[UUID, ...]
    lock: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """The member that answered a read; ``stale``: in place of the active one, which it may lag."""

    member: str
    stale: bool = False


class Found(tuple["Document", ...]):  # noqa: SLOT001 - a tuple cannot have slots
    """Documents, and which member of a group has returned them."""

    origin: Origin

    @classmethod
    def at(cls, documents: Iterable[Document], origin: Origin) -> Self:
        """Return documents that a member has returned."""
        found = cls(documents)
        found.origin = origin
        return found


@dataclass(frozen=True, slots=True)
class Find(Op["tuple[Document, ...]"]):
    """Return at most ``limit`` documents that satisfy a filter, in this order.

    ``after`` holds the values of the sort keys of the last document of the page before, and
    ``origin`` says who returned it: a group of stores answers from there or not at all, and
    returns :class:`Found`. A store by itself is the only origin, and need not look.

    With ``columns`` a document has these only, in this order, a term under its key. With ``distinct`` documents
    that are equal in them are one; then they are sorted by columns only, at last by each of
    them as a whole, and there is no ``after``.
    """

    effect = Effect.READ
    collection: Collection
    where: Filter = ALL
    order: tuple[Order, ...] = (Order("id"),)
    limit: int = 100
    after: tuple[Value, ...] | None = None
    origin: Origin | None = None
    columns: tuple[FieldOrTerm, ...] | None = None
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Leading(Op["tuple[Document, ...]"]):
    """Return the ``first`` documents of each group in an order, one group after the other.

    A group is what has the same values in the columns ``per``; null is one of its own. Groups come
    in order of these values, whole texts among them, and at most ``limit`` documents in all.
    """

    effect = Effect.READ
    collection: Collection
    per: tuple[FieldOrTerm, ...]
    first: int
    where: Filter = ALL
    order: tuple[Order, ...] = (Order("id"),)
    limit: int = 100


@dataclass(frozen=True, slots=True)
class ExplainFind(Op[QueryPlan]):
    """Return how the store would answer a request; nothing of the page is read.

    Where a page may take two statements it is the first one. What queries inside the filter find
    is read, by a backend that reads it first.
    """

    effect = Effect.READ
    find: Find

    @property
    def collection(self) -> Collection:
        """The collection that would be read."""
        return self.find.collection


@dataclass(frozen=True, slots=True)
class RefreshStatistics(Op[bool]):
    """Let the store's planner look again how many documents and values a collection has.

    Returns whether it has such statistics: memory and MongoDB have none, so that there is nothing
    to do. It is no part of a unit: to some databases it is a change of the schema.
    """

    effect = Effect.ADMIN
    collection: Collection


@dataclass(frozen=True, slots=True)
class CountDocuments(Op[int]):
    """Return the exact number of documents that satisfy a filter."""

    effect = Effect.READ
    collection: Collection
    where: Filter = ALL


@dataclass(frozen=True, slots=True)
class Aggregate(Op["tuple[Group, ...]"]):
    """Group the documents that satisfy a filter, and compute measures for each group.

    None is a group of its own. With no ``group`` there is exactly one row. ``having`` is a filter
    of rows and ``order`` sorts them, at last by the group's key: a row has the columns of the
    group, and the measures by their ``names``. At most ``take`` rows are returned, all of them
    without it; more than ``limit`` groups that the core has to look at raise InvalidRequestError.
    ``after`` holds the key of a row: only groups whose keys come after it are rows.

    Groups and measures know the parts of JSON in ``terms`` by their paths as text, as fields that
    may be null. With ``unwind`` each document is taken once for each element of a list, in which the field is
    the element: so groups and measures know it. The filter is of documents as they are.

    A ``planned`` one was made by ``healthstore.model.evaluate.plan_aggregate`` of a checked one:
    the guard does not look at it again, and whoever planned it completes its rows. Its columns
    are named by their places, ``k0`` and ``m0`` the first ones, its terms are ``_t0`` and so on,
    and a backend does what it says of having, order and take.
    """

    effect = Effect.READ
    collection: Collection
    measures: tuple[Measure, ...]
    where: Filter = ALL
    group: tuple[str | Bucket, ...] = ()
    limit: int = 10_000
    planned: bool = False
    names: tuple[str, ...] = ()
    having: Filter = ALL
    order: tuple[Order, ...] = ()
    take: int | None = None
    after: tuple[Value, ...] | None = None
    unwind: Unwind | None = None
    terms: tuple[Term, ...] = ()

    @property
    def rows(self) -> Definition:
        """The definition of what is grouped and measured."""
        if self.unwind is None and not self.terms:
            return self.collection
        return _rows(self.collection, self.unwind, self.named_terms)

    @property
    def named_terms(self) -> tuple[tuple[str, Term], ...]:
        """The terms by the names of their fields in what is grouped."""
        if self.planned:
            return tuple(zip(self.places.values(), self.terms, strict=True))
        return tuple((str(each), each) for each in self.terms)

    @property
    def places(self) -> Mapping[str, str]:
        """The names that terms have in a planned aggregate, by their paths as text."""
        return {str(each): f"_t{place}" for place, each in enumerate(self.terms)}

    def told(self, name: str | None) -> str | None:
        """Return what a field of what is grouped is called in a message."""
        return next((str(term) for own, term in self.named_terms if own == name), name)


@lru_cache(maxsize=256)
def _rows(
    collection: Collection, unwind: Unwind | None, terms: tuple[tuple[str, Term], ...]
) -> Definition:
    fields = tuple(
        Field(each.name, unwind.type) if unwind and each.name == unwind.field else each
        for each in collection.fields
    )
    fields += tuple(Field(name, each.type, nullable=True) for name, each in terms)
    return Definition(collection.name, fields, entity=collection.entity)


@dataclass(frozen=True, slots=True)
class Batch(Op[tuple[Any, ...]]):
    """Run several operations as one unit: all of them or none. Returns their results in order."""

    effect = Effect.WRITE
    operations: tuple[Operation, ...]


Operation: TypeAlias = (
    Ensure
    | Alter
    | Rename
    | Drop
    | Get
    | Insert
    | Replace
    | Patch
    | Patches
    | Claim
    | PatchWhere
    | Delete
    | DeleteWhere
    | Find
    | Leading
    | CountDocuments
    | Aggregate
    | Batch
)

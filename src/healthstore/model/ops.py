"""Operations: every request to a backend is one of these frozen values.

Operations are plural: one document is a plural of one. ``Op[R]`` names the type of the result
of :meth:`healthstore.abc.Backend.execute`. An operation arrives at an adapter in checked form:
values are canonical, filters are in normal form (:func:`healthstore.model.query.normalise`),
orders are total, ``Find.after`` is folded into the filter and no measure is an average; the
guard layer sees to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar
from uuid import UUID

from healthstore.model.definition import Definition, Field
from healthstore.model.effect import ChangeEffect
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
from healthstore.model.plans import QueryPlan
from healthstore.model.query import ALL, FieldOrTerm, Filter, Order, Term
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value

__all__ = (
    "Aggregate",
    "Alter",
    "Avg",
    "Batch",
    "Bucket",
    "Count",
    "CountDistinct",
    "CountDocuments",
    "Delete",
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
    "Patches",
    "Percentile",
    "RefreshStatistics",
    "Rename",
    "Replace",
    "Sum",
    "Unwind",
)

R_co = TypeVar("R_co", covariant=True)


class Effect(StrEnum):
    """Whether an operation reads, writes, or changes the schema."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Op(Generic[R_co]):
    """A request whose result is an ``R_co``."""

    effect: ClassVar[Effect]


@dataclass(frozen=True, slots=True)
class Ensured:
    """What :class:`Ensure` did: names of collections, in the order of the request."""

    created: tuple[str, ...]
    present: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ensure(Op[Ensured]):
    """Create the collections that are missing, with their indexes, references and checks.

    A collection that is there and was made from another definition raises SchemaMismatchError;
    nothing is altered. Parents come before children.
    """

    effect = Effect.ADMIN
    collections: tuple[Collection, ...]


@dataclass(frozen=True, slots=True)
class Alter(Op[bool]):
    """Make a collection of one definition into one of another; return whether it was to be done.

    No change between the two is worse than ``allowed``. Whoever allows more than additive ones has
    counted the documents that stand against them, and there is none; what a field holds that is
    dropped is lost. Documents that are there get the default of a field that is new, or null. What
    is stored may be ``after`` already: then nothing is done. Anything else than ``before`` raises
    SchemaMismatchError. Where the database can, all is done in one transaction; elsewhere what was
    begun and not ended is completed by asking again, and serves as ``before`` meanwhile, if what
    is dropped allows that.
    """

    effect = Effect.ADMIN
    before: Collection
    after: Collection
    allowed: ChangeEffect = ChangeEffect.ADDITIVE
    deadline: float = 3600.0
    """Seconds that it may take: a large collection may have to be copied."""

    @property
    def collection(self) -> Collection:
        """The definition that the collection is to have."""
        return self.after


@dataclass(frozen=True, slots=True)
class Rename(Op[bool]):
    """Give a collection, or fields of it, other names; return whether it was to be done.

    The two definitions differ by names only, and the fields are in one order. References of
    others lead to the collection's new name. No document is another one by it, and none is
    written by those who do not know of it: where the database cannot rename in one transaction,
    the collection serves nobody until asking again has completed what was begun. Anything else
    than ``before`` raises SchemaMismatchError, as a name that is in use does.
    """

    effect = Effect.ADMIN
    before: Collection
    after: Collection
    deadline: float = 3600.0
    """Seconds that it may take: some databases rename a field in each document."""

    @property
    def collection(self) -> Collection:
        """The definition that the collection is to have."""
        return self.after


@dataclass(frozen=True, slots=True)
class Drop(Op[bool]):
    """Remove a collection with all its documents; return whether it was there.

    Anything else than this definition raises SchemaMismatchError, and a reference of another
    collection to it ForeignKeyError. What was begun and not ended is completed by asking again.
    """

    effect = Effect.ADMIN
    collection: Collection


@dataclass(frozen=True, slots=True)
class Explained:
    """How a store would make a change of its definitions."""

    statements: tuple[str, ...] = ()
    """What it would run, in order, without the catalog's part; none where nothing is run.

    The constants of defaults and checks stand in them: they are for who makes the change, and
    no log has them. No document's value does.
    """
    rewrites: bool = False
    """Whether every row is written again: the table is copied, or each document changed."""
    around: tuple[tuple[str, ...], tuple[str, ...]] = field(default=((), ()))
    """What is to run before and after the statements, where they are run by hand."""
    noting: tuple[str, ...] = ()
    """What then lets the catalog know, by hand; none where no statement can say that."""
    seconds_per_row: float | None = None
    """An upper estimate of what each row that is there costs; 0 where none is looked at.

    None where the store does not say.
    """
    alone: int = 0
    """How many of the statements, from the first on, stand before what is around, each by itself.

    They take no part in a transaction: what is cut short after them may leave what they made.
    """


@dataclass(frozen=True, slots=True)
class Explain(Op[Explained]):
    """Return how the store would make a change; nothing is changed, and no document is read.

    What is stored is taken to be as the change's definitions say.
    """

    effect = Effect.READ
    change: Ensure | Alter | Rename | Drop


@dataclass(frozen=True, slots=True)
class Get(Op["tuple[Document | None, ...]"]):
    """Return the documents with these ids, in this order; None where there is none."""

    effect = Effect.READ
    collection: Collection
    ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Insert(Op[int]):
    """Add documents, each with a new id; return how many.

    With ``atomic``, all are added or none; a backend without transactions refuses that for more
    than one document. Without it, other documents than the failing one may
    stay: then the error's outcome is unknown.
    Documents of one request come after those of it to which they refer. With
    ``checked_references``, each referenced document must exist; without it, the caller
    answers for that (a transfer adds parents first, from a store that had checked them), and a
    backend that checks references itself may skip its own work.
    ``canonical`` documents were made by ``healthstore.entity.to_document``, or are as they
    were read: the guard does not look at each value again.
    """

    effect = Effect.WRITE
    collection: Collection
    documents: tuple[Document, ...]
    atomic: bool = True
    checked_references: bool = True
    canonical: bool = False


@dataclass(frozen=True, slots=True)
class Replace(Op["tuple[bool, ...]"]):
    """Replace whole documents, found by their ids; return for each whether it was there.

    ``versions``, one for each document, are the versions that must be stored; another one
    raises StaleVersionError and replaces nothing. All are replaced or none: a backend without
    transactions refuses that for more than one document. Without ``atomic``, which takes
    ``versions``, others than the failing one may be replaced there: then the error's outcome is
    unknown. ``canonical`` as in :class:`Insert`.

    ``same`` names fields that must be stored as the documents have them, besides the expected
    ``versions``; otherwise it is as with another version. So a document is told from another one
    that was added with its id and version after it was deleted: by ``created_at``.
    """

    effect = Effect.WRITE
    collection: Collection
    documents: tuple[Document, ...]
    versions: tuple[int, ...] | None = None
    atomic: bool = True
    canonical: bool = False
    same: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Patch(Op["tuple[Document | None, ...]"]):
    """Change fields of the documents with these ids; return them as they are afterwards.

    ``sets`` assigns values; ``increments`` adds to numbers, atomically. No field is in both.
    An increment of a null field raises NotNullError, one that leaves the range of the type
    OutOfRangeError. ``versions`` as in :class:`Replace`. A missing id gives None. All are
    changed or none. What a ``canonical`` patch sets and adds was made by ``healthstore.entity``:
    the guard does not look at each value again.
    """

    effect = Effect.WRITE
    collection: Collection
    ids: tuple[UUID, ...]
    sets: tuple[tuple[str, Value], ...] = ()
    increments: tuple[tuple[str, Value], ...] = ()
    versions: tuple[int, ...] | None = None
    canonical: bool = False


@dataclass(frozen=True, slots=True)
class Patches(Op["tuple[tuple[Document] | None, ...]"]):
    """Apply patches of one document each, every one as if it had come alone; return their results.

    None stands for one that changed nothing and must be asked by itself to say why: its document
    is missing or has another version, or somebody holds it. The others are stored. All change the
    same fields, in the same ways; those of one document are applied in their order. When this
    raises, none of them is stored, or of none it is known.
    """

    effect = Effect.WRITE
    collection: Collection
    patches: tuple[Patch, ...]


@dataclass(frozen=True, slots=True)
class Delete(Op["tuple[bool, ...]"]):
    """Remove the documents with these ids; return for each whether it was there.

    References to a removed document are treated as they declare: restrict raises
    ForeignKeyError, cascade removes the referring documents, set_null empties the field. The
    layer of references sees to that: to a store by itself a delete is plain, and raises
    ForeignKeyError where another document refers to one of these. ``versions`` as in
    :class:`Replace`. All are removed or none. Without ``checked_references`` the caller answers
    for it that nothing refers to them, as in :class:`Insert`.
    """

    effect = Effect.WRITE
    collection: Collection
    ids: tuple[UUID, ...]
    versions: tuple[int, ...] | None = None
    checked_references: bool = True


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
    | Delete
    | Find
    | Leading
    | CountDocuments
    | Aggregate
    | Batch
)

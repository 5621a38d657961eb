"""Operations that write documents; see :mod:`healthstore.model.ops`."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from healthstore.model.op import Effect, Op
from healthstore.model.query import ALL, Filter, Order
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value

__all__ = (
    "Claim",
    "Delete",
    "DeleteWhere",
    "Insert",
    "Patch",
    "PatchWhere",
    "Patches",
    "Replace",
)


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
    that was added with its id and version after it was deleted: by ``created_at``. With
    ``present`` a document of several that is not there is as one with another version.
    """

    effect = Effect.WRITE
    collection: Collection
    documents: tuple[Document, ...]
    versions: tuple[int, ...] | None = None
    atomic: bool = True
    canonical: bool = False
    same: tuple[str, ...] = ()
    present: bool = False


@dataclass(frozen=True, slots=True)
class Patch(Op["tuple[Document | None, ...]"]):
    """Change fields of the documents with these ids; return them as they are afterwards.

    ``sets`` assigns values; ``increments`` adds to numbers, ``at_least`` and ``at_most`` keep the
    larger and the smaller one of what is there and a value, atomically. Each field is in one.
    An increment of a null field raises NotNullError, one that leaves the range of the type
    OutOfRangeError; instead of a null it is the value that is held against it. ``versions`` as in :class:`Replace`. A missing id gives None. All are
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
    at_least: tuple[tuple[str, Value], ...] = ()
    at_most: tuple[tuple[str, Value], ...] = ()

    @property
    def changes(self) -> tuple[tuple[str, Value], ...]:
        """Each field that changes and the value for it, in the order of the parts."""
        return (*self.sets, *self.increments, *self.at_least, *self.at_most)

    @property
    def form(self) -> tuple[tuple[str, ...], ...]:
        """The fields of each part: what remains without the values."""
        parts = (self.sets, self.increments, self.at_least, self.at_most)
        return tuple([tuple([name for name, _ in part]) for part in parts])


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
class PatchWhere(Op[int]):
    """Change fields of the documents that satisfy a filter; return how many were found.

    In each of them what :class:`Patch` says of one; the filter is of documents as they were. A
    filter that holds for every document is refused without ``everything``, and so is arithmetic
    on a field of a unique key: keys are unique at each moment, and one document changes first.

    All are changed or none: a backend without transactions refuses that. Without ``atomic`` each
    document is changed by itself there: then others than the failing one may be changed, and the
    error's outcome is unknown.
    """

    effect = Effect.WRITE
    collection: Collection
    where: Filter
    sets: tuple[tuple[str, Value], ...] = ()
    increments: tuple[tuple[str, Value], ...] = ()
    everything: bool = False
    atomic: bool = True
    canonical: bool = False
    at_least: tuple[tuple[str, Value], ...] = ()
    at_most: tuple[tuple[str, Value], ...] = ()

    def as_patch(
        self, ids: tuple[UUID, ...] = (), versions: tuple[int, ...] | None = None
    ) -> Patch:
        """Return the same change of the documents with these ids."""
        return Patch(
            *(self.collection, ids, self.sets, self.increments, versions, self.canonical),
            at_least=self.at_least,
            at_most=self.at_most,
        )


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
class Claim(Op["tuple[Document, ...]"]):
    """Change the first documents, in an order, that satisfy a filter; return them as they are then.

    ``sets`` assigns values, and each version rises by one. Claims at the same time share the
    documents out: each is changed by one of them, where ``sets`` end what the filter asks. So one
    may get fewer than ``limit`` though there are more. The filter looks nothing up.
    """

    effect = Effect.WRITE
    collection: Collection
    sets: tuple[tuple[str, Value], ...]
    where: Filter = ALL
    order: tuple[Order, ...] = (Order("id"),)
    limit: int = 1

    @property
    def change(self) -> Patch:
        """What is done to each document; the ids are to be filled in."""
        return Patch(self.collection, (), self.sets, (("version", 1),), canonical=True)


@dataclass(frozen=True, slots=True)
class DeleteWhere(Op[int]):
    """Remove the documents that satisfy a filter; return how many were found.

    References to them are treated as by :class:`Delete`. A filter that holds for every document
    is refused without ``everything``. ``atomic`` as in :class:`PatchWhere`.
    """

    effect = Effect.WRITE
    collection: Collection
    where: Filter
    everything: bool = False
    atomic: bool = True
    checked_references: bool = True

"""Operations that make and change definitions; see :mod:`healthstore.model.ops`."""

from __future__ import annotations

from dataclasses import dataclass, field

from healthstore.model.effect import ChangeEffect
from healthstore.model.op import Effect, Op
from healthstore.model.schema import Collection

__all__ = ("Alter", "Drop", "Ensure", "Ensured", "Explain", "Explained", "Rename")


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

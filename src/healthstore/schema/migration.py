"""A migration: operations as values, and functions of documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

from healthstore.errors import ConfigurationError, HealthstoreError, MigrationError
from healthstore.model.change import (
    Change,
    FieldForm,
)
from healthstore.model.definition import Check, Index, Reference, Unique
from healthstore.model.schema import Collection
from healthstore.model.values import FieldType, Kind
from healthstore.schema.running import Documents

__all__ = (
    "Migration",
    "Row",
    "Run",
    "Transform",
    "collection",
    "refused",
)

Row: TypeAlias = dict[str, Any]
"""A document as a function of a migration gets it: values of Python by the names of fields."""


@dataclass(frozen=True, slots=True)
class Transform:
    """Give each document of a collection to a function, and keep what that returns.

    It gets the fields that the collection has at that place of the migration and returns as many,
    or None to delete the document. ``down`` takes it back. It may be called again for a document
    that it has changed where the store has no transactions: ``idempotent`` says that this does
    no harm.
    """

    collection: str
    up: Callable[[Row], Row | None]
    down: Callable[[Row], Row | None] | None = None
    idempotent: bool = False

    def __post_init__(self) -> None:
        functions: tuple[object, ...] = (self.up, self.down)
        for each in functions:
            if each is not None and (not callable(each) or iscoroutinefunction(each)):
                raise ConfigurationError(
                    "a function of a Transform is none, or is asynchronous",
                    hint="write def up(row): return row | {…}",
                )


@dataclass(frozen=True, slots=True)
class Run:
    """Call an asynchronous function with the documents of the store, in one unit.

    For what no single document tells: filling a new collection from others. ``up`` and ``down``
    get a :class:`~healthstore.schema.running.Documents`. Without transactions it is called again
    when it was cut short: ``idempotent`` says that this does no harm.
    """

    up: Callable[[Documents], Awaitable[object]]
    down: Callable[[Documents], Awaitable[object]] | None = None
    idempotent: bool = False

    def __post_init__(self) -> None:
        for each in (self.up, self.down):
            if each is not None and not iscoroutinefunction(each):
                raise ConfigurationError(
                    "a function of a Run is not asynchronous",
                    hint="write async def up(documents): …",
                )


@dataclass(frozen=True, slots=True)
class Migration:
    """What makes the definitions of one release into those of the next, in order.

    ``after`` is the id of the migration before, which is its file's name without ``.py``.
    ``replaces`` are those whose place it takes, in order: a store that has them all has it.
    """

    operations: Sequence[Change | Transform | Run] = field(default_factory=tuple)
    after: str | None = None
    replaces: Sequence[str] = ()


def collection(  # noqa: PLR0913 - the parts of a definition, each with a default
    name: str,
    fields: Mapping[str, FieldForm],
    *,
    uniques: Iterable[Unique] = (),
    indexes: Iterable[Index] = (),
    references: Iterable[Reference] = (),
    checks: Iterable[Check] = (),
) -> Collection:
    """Return a definition as migration files write it; ``id`` and ``version`` are there anyway."""
    own = {"id": FieldForm(FieldType(Kind.UUID)), "version": FieldForm(FieldType(Kind.INTEGER))}
    made = tuple(form.field(each) for each, form in {**own, **fields}.items())
    parts = (tuple(uniques), tuple(indexes), tuple(references), tuple(checks))
    return Collection(name, made, *parts)


def refused(identity: str, error: HealthstoreError) -> MigrationError:
    """Return the error of a migration that does not fit what comes before it."""
    return MigrationError(f"the migration {identity!r}: {error.message}", hint=error.hint)

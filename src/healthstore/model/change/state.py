"""What changes work on: a state, and the parts of the definitions in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from healthstore.errors import ConfigurationError, UnknownFieldError
from healthstore.model.definition import Definition
from healthstore.model.effect import ChangeEffect, worst
from healthstore.model.schema import Collection

__all__ = (
    "Change",
    "ChangeEffect",
    "State",
    "changed",
    "checked",
    "draft",
    "existing",
    "itself",
    "refused",
    "with_item",
    "without_item",
    "worst",
)

T = TypeVar("T")
State: TypeAlias = Mapping[str, Definition]
"""Definitions by the names of their collections, not checked yet."""


class Change(Protocol):
    """One change. As a text it says what it does, without any value."""

    @property
    def collection(self) -> str:
        """The name of the collection that it changes."""
        ...

    def after(self, state: State) -> State:
        """Return the state after this change of it.

        Raises ConfigurationError if what it changes is not there, or what it adds is.
        """
        ...

    def effect(self, state: State) -> ChangeEffect:
        """Return what it may do to rows of the state."""
        ...


def changed(state: Mapping[str, Collection], changes: Iterable[Change]) -> dict[str, Collection]:
    """Return the collections after these changes, one after the other.

    Raises ConfigurationError if one cannot be made or no database could keep the result, and
    UnknownFieldError if that names a field that is not there.
    """
    after: State = state
    for each in changes:
        after = each.after(after)
    return {
        name: each if isinstance(each, Collection) else _whole(each) for name, each in after.items()
    }


def _whole(given: Definition) -> Collection:
    try:
        return checked(given)
    except UnknownFieldError as error:
        error.message += f", which an index, a key, a check or a reference of {given.name!r} names"
        error.hint = "change what names it, too"
        raise


def checked(given: Definition) -> Collection:
    """Return the collection that a definition describes; raise ConfigurationError if it is none."""
    parts = (given.uniques, given.indexes, given.references, given.checks)
    return Collection(given.name, given.fields, *parts, entity=given.entity)


def draft(given: Definition) -> Definition:
    """Return a definition that may be changed in ways that do not hold on their own."""
    parts = (given.uniques, given.indexes, given.references, given.checks)
    return Definition(given.name, given.fields, *parts, entity=given.entity)


def itself(part: object) -> object:
    """Return what tells a part from others that has no name: the part."""
    return part


def existing(state: State, change: Change) -> Definition:
    """Return the definition that is to be changed; raise ConfigurationError if it is not there."""
    found = state.get(change.collection)
    if found is None:
        raise ConfigurationError(
            f"there is no collection {change.collection!r} to {change}",
            hint=f"known: {', '.join(sorted(state)) or 'none'}",
        )
    return found


def with_item(
    change: Change, state: State, part: str, item: T, key_of: Callable[[T], object]
) -> State:
    """Return the state with one more item in a part of a definition.

    Raises ConfigurationError if one of its key is there.
    """
    definition = existing(state, change)
    items: tuple[T, ...] = getattr(definition, part)
    if key_of(item) in map(key_of, items):
        raise refused(change, "is there")
    return {**state, change.collection: _replaced(definition, part, (*items, item))}


def without_item(
    change: Change, state: State, part: str, key: object, key_of: Callable[[Any], object]
) -> State:
    """Return the state with an item of a part of a definition less.

    Raises ConfigurationError if none of its key is there.
    """
    definition = existing(state, change)
    items: tuple[Any, ...] = getattr(definition, part)
    kept = tuple(each for each in items if key_of(each) != key)
    if len(kept) == len(items):
        raise refused(change, "is not there")
    return {**state, change.collection: _replaced(definition, part, kept)}


def _replaced(definition: Definition, part: str, items: tuple[Any, ...]) -> Definition:
    return replace(draft(definition), **cast("dict[str, Any]", {part: items}))


def refused(change: Change, why: str) -> ConfigurationError:
    """Return the error of a change that does not fit the state."""
    return ConfigurationError(
        f"cannot {change}: it {why}",
        hint="compare the definition with the store: healthstore schema diff",
        entity=change.collection,
    )

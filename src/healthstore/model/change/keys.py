"""Changes of what names a collection's fields: unique keys, indexes, references and checks."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter

from healthstore.model.change.state import ChangeEffect, State, itself, with_item, without_item
from healthstore.model.definition import Check, Index, Reference, Unique
from healthstore.model.shape import filter_shape, index_shape, unique_shape

__all__ = (
    "AddCheck",
    "AddIndex",
    "AddReference",
    "AddUnique",
    "DropCheck",
    "DropIndex",
    "DropReference",
    "DropUnique",
)


@dataclass(frozen=True, slots=True)
class AddIndex:
    """Add an index."""

    collection: str
    index: Index

    def after(self, state: State) -> State:
        """Return the state with the index; raise ConfigurationError if it is there."""
        return with_item(self, state, "indexes", self.index, itself)

    def effect(self, state: State) -> ChangeEffect:
        """Return that no row stands against it."""
        del state
        return ChangeEffect.ADDITIVE

    def __str__(self) -> str:
        return f"add the {index_shape(self.index)}"


@dataclass(frozen=True, slots=True)
class DropIndex:
    """Remove an index."""

    collection: str
    index: Index

    def after(self, state: State) -> State:
        """Return the state without it; raise ConfigurationError if it is not there."""
        return without_item(self, state, "indexes", self.index, itself)

    def effect(self, state: State) -> ChangeEffect:
        """Return that no row stands against it."""
        del state
        return ChangeEffect.ADDITIVE

    def __str__(self) -> str:
        return f"drop the {index_shape(self.index)}"


@dataclass(frozen=True, slots=True)
class AddUnique:
    """Add a unique key."""

    collection: str
    unique: Unique

    def after(self, state: State) -> State:
        """Return the state with the key; raise ConfigurationError if it is there."""
        return with_item(self, state, "uniques", self.unique, itself)

    def effect(self, state: State) -> ChangeEffect:
        """Return that rows may have equal values."""
        del state
        return ChangeEffect.NEEDS_DATA

    def __str__(self) -> str:
        return f"add the {unique_shape(self.unique)}"


@dataclass(frozen=True, slots=True)
class DropUnique:
    """Remove a unique key."""

    collection: str
    unique: Unique

    def after(self, state: State) -> State:
        """Return the state without it; raise ConfigurationError if it is not there."""
        return without_item(self, state, "uniques", self.unique, itself)

    def effect(self, state: State) -> ChangeEffect:
        """Return that no row stands against it."""
        del state
        return ChangeEffect.ADDITIVE

    def __str__(self) -> str:
        return f"drop the {unique_shape(self.unique)}"


@dataclass(frozen=True, slots=True)
class AddReference:
    """Let a field hold ids of another collection only."""

    collection: str
    reference: Reference

    def after(self, state: State) -> State:
        """Return the state with it; raise ConfigurationError if the field is a reference."""
        return with_item(self, state, "references", self.reference, attrgetter("field"))

    def effect(self, state: State) -> ChangeEffect:
        """Return that rows may refer to nothing."""
        del state
        return ChangeEffect.NEEDS_DATA

    def __str__(self) -> str:
        each = self.reference
        return f"add the reference {each.field} to {each.collection}, on_delete {each.on_delete}"


@dataclass(frozen=True, slots=True)
class DropReference:
    """Let a field hold any id."""

    collection: str
    field: str

    def after(self, state: State) -> State:
        """Return the state without it; raise ConfigurationError if it is not there."""
        return without_item(self, state, "references", self.field, attrgetter("field"))

    def effect(self, state: State) -> ChangeEffect:
        """Return that no row stands against it."""
        del state
        return ChangeEffect.ADDITIVE

    def __str__(self) -> str:
        return f"drop the reference {self.field}"


@dataclass(frozen=True, slots=True)
class AddCheck:
    """Add a check."""

    collection: str
    check: Check

    def after(self, state: State) -> State:
        """Return the state with it; raise ConfigurationError if one of its name is there."""
        return with_item(self, state, "checks", self.check, attrgetter("name"))

    def effect(self, state: State) -> ChangeEffect:
        """Return that rows may break it."""
        del state
        return ChangeEffect.NEEDS_DATA

    def __str__(self) -> str:
        return f"add the check {self.check.name}: {filter_shape(self.check.rule)}"


@dataclass(frozen=True, slots=True)
class DropCheck:
    """Remove a check."""

    collection: str
    name: str

    def after(self, state: State) -> State:
        """Return the state without it; raise ConfigurationError if it is not there."""
        return without_item(self, state, "checks", self.name, attrgetter("name"))

    def effect(self, state: State) -> ChangeEffect:
        """Return that no row stands against it."""
        del state
        return ChangeEffect.ADDITIVE

    def __str__(self) -> str:
        return f"drop the check {self.name}"

"""Changes of whole collections."""

from __future__ import annotations

from dataclasses import dataclass

from healthstore.model.change.state import ChangeEffect, State, existing, refused
from healthstore.model.schema import Collection
from healthstore.model.shape import counted

__all__ = ("CreateCollection", "DropCollection")


@dataclass(frozen=True, slots=True)
class CreateCollection:
    """Make a collection that is not there, with everything that belongs to it."""

    definition: Collection

    @property
    def collection(self) -> str:
        """The name of the collection."""
        return self.definition.name

    def after(self, state: State) -> State:
        """Return the state with the collection; raise ConfigurationError if it is there."""
        if self.collection in state:
            raise refused(self, "is there")
        return {**state, self.collection: self.definition}

    def effect(self, state: State) -> ChangeEffect:
        """Return that no row stands against it."""
        del state
        return ChangeEffect.ADDITIVE

    def __str__(self) -> str:
        return f"create the collection ({counted(len(self.definition.fields), 'field')})"


@dataclass(frozen=True, slots=True)
class DropCollection:
    """Remove a collection, with all its rows."""

    collection: str

    def after(self, state: State) -> State:
        """Return the state without it; raise ConfigurationError if it is not there."""
        existing(state, self)
        return {name: each for name, each in state.items() if name != self.collection}

    def effect(self, state: State) -> ChangeEffect:
        """Return that its rows go."""
        del state
        return ChangeEffect.LOSES_DATA

    def __str__(self) -> str:
        return "drop the collection"

"""The entities of a program, declared: their schemas, and their classes by the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from healthstore.entity import Entity
from healthstore.errors import ConfigurationError
from healthstore.model.query import Filter
from healthstore.testing.differential.programs import Row
from healthstore.testing.differential.schemas import Schema, declare, spelled

__all__ = ("Declared", "declare_all")

_FIXED = frozenset({"id", "created_at"})


@dataclass(frozen=True, slots=True)
class Declared:
    """A program's entities, by the names of their schemas."""

    schemas: Mapping[str, Schema]
    classes: Mapping[str, type[Entity]]

    def where(self, name: str, where: Filter) -> Filter:
        """Return a filter with the members of the entity's own enums."""
        annotations = {
            each: info.annotation for each, info in self.classes[name].model_fields.items()
        }
        return spelled(where, annotations)

    def entity(self, name: str, row: Row) -> Entity:
        """Return a new entity of a row; what the entity does not declare is left out."""
        kind = self.classes[name]
        if not row.keys() >= _FIXED:  # a default of these is another one on each store
            raise ConfigurationError("a row has no id, or no instant of its creation")
        return kind(**{each: value for each, value in row.items() if each in kind.model_fields})


def declare_all(schemas: Sequence[Schema]) -> Declared:
    """Return new classes of the entities."""
    return Declared(
        {each.name: each for each in schemas}, {each.name: declare(each) for each in schemas}
    )

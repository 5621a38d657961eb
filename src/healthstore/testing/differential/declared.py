"""The entities of a program, declared: their schemas, and their classes by the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from healthstore.entity import Entity, collection_of, stored_filter
from healthstore.errors import ConfigurationError
from healthstore.model.query import And, Filter, Lookup, Not, Or, Test
from healthstore.testing.differential.programs import Row
from healthstore.testing.differential.schemas import Looked, Schema, declare, spelled

__all__ = ("Declared", "declare_all")

_FIXED = frozenset({"id", "created_at"})


@dataclass(frozen=True, slots=True)
class Declared:
    """A program's entities, by the names of their schemas."""

    schemas: Mapping[str, Schema]
    classes: Mapping[str, type[Entity]]

    def where(self, name: str, where: Filter) -> Filter:
        """Return a filter with the members of the entity's own enums, and queries of the others."""
        annotations = {
            each: info.annotation for each, info in self.classes[name].model_fields.items()
        }
        return self._looked_up(spelled(where, annotations))

    def lookup(self, looked: Looked) -> Lookup:
        """Return the query of what a test of a program looks up in."""
        kind = self.classes[looked.schema]
        where = stored_filter(kind, self.where(looked.schema, looked.where))
        return Lookup(collection_of(kind), where, looked.field)

    def _looked_up(self, where: Filter) -> Filter:
        if isinstance(where, Not):
            return Not(self._looked_up(where.item))
        if isinstance(where, And | Or):
            return type(where)(tuple(map(self._looked_up, where.items)))
        operand: object = where.operand
        if not isinstance(operand, Looked):
            return where
        return Test(where.field, where.operator, self.lookup(operand))

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

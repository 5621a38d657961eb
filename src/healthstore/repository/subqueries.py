"""Queries that stand in the filters of others: the values of a field in what they find."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from healthstore.entity import Entity, collection_of, field_name
from healthstore.errors import InvalidRequestError
from healthstore.model.query import Filter, Lookup, lookups

__all__ = ("Subquery", "require_same_source")

M = TypeVar("M", bound=Entity)


@dataclass(frozen=True, slots=True)
class Subquery(Generic[M]):
    """The entities that satisfy some filters, of which nothing has been read.

    It is read where a filter looks something up in it: ``F.user_id.in_(links.field("user_id"))``.
    """

    entity: type[M]
    where: Filter
    source: object = field(repr=False)

    def field(self, of: object) -> Lookup:
        """Return the values of a field, by its name or as ``Link.user_id``, to be looked up in.

        Raises UnknownFieldError, and InvalidRequestError for a field of another entity.
        """
        collection = collection_of(self.entity)
        known = collection.field(field_name(self.entity, of))
        return Lookup(collection, self.where, known.name, source=self.source)


def require_same_source(entity: type[Entity], where: Filter, source: object) -> None:
    """Raise InvalidRequestError for a query of another manager: no database looks into two."""
    for each in lookups(where):
        if each.source is not None and each.source is not source:
            raise InvalidRequestError(
                f"the filter looks something up in {each.collection.entity}, of another manager",
                hint="take both repositories from one manager, or pass the values as a list",
                entity=entity.__name__,
            )

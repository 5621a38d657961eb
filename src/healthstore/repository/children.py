"""Children: what refers to the entities of a page, read by one request for each relation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.entity import Entity, collection_of, field_name, own_order, reader_of, target_of
from healthstore.errors import InvalidRequestError
from healthstore.model.filters import checked_order
from healthstore.model.ops import Find, Leading
from healthstore.model.query import Operator, Order, SortKey, Test

__all__ = ("MAX_CHILDREN", "Children", "read_children")

E = TypeVar("E", bound=Entity)
E_co = TypeVar("E_co", bound=Entity, covariant=True)

MAX_CHILDREN = 10_000
"""The most that are read with a page for one relation."""


@dataclass(frozen=True, slots=True, init=False)
class Children(Generic[E_co]):
    """The entities of a class whose field refers to those of a page, for ``include``.

    ``Children(Comment, "post_id", order=["-created_at"], limit=3)``: the newest three of each post.
    ``order`` is as in ``find``. Without a limit all are read, up to ``MAX_CHILDREN`` for a page.
    """

    entity: type[E_co]
    field: str
    order: tuple[Order, ...] = ()
    limit: int | None = None

    def __init__(
        self,
        entity: type[E_co],
        field: object,
        *,
        order: Iterable[SortKey] = (),
        limit: int | None = None,
    ) -> None:
        if not (isinstance(cast(object, entity), type) and issubclass(entity, Entity)):
            raise InvalidRequestError(
                "children are of no entity's class", hint='write Children(Comment, "post_id")'
            )
        collection = collection_of(entity)
        if limit is not None and (type(limit) is not int or not 1 <= limit <= MAX_CHILDREN):
            raise InvalidRequestError(
                f"the limit of children must be from 1 to {MAX_CHILDREN}, or None",
                hint="leave the relation out to have none",
                entity=collection.entity,
            )
        object.__setattr__(self, "entity", entity)
        object.__setattr__(self, "field", collection.field(field_name(entity, field)).name)
        object.__setattr__(self, "order", checked_order(collection, own_order(entity, order)))
        object.__setattr__(self, "limit", limit)

    def require_of(self, parent: type[Entity]) -> None:
        """Raise InvalidRequestError unless the field refers to entities of this class."""
        target_of(self.entity, self.field, parent)


async def read_children(
    executor: Executor, parents: Iterable[UUID], of: Children[E]
) -> Mapping[UUID, list[E]]:
    """Return the children of each parent, in order; an empty list where there is none.

    Raises InvalidRequestError where they are more than ``MAX_CHILDREN`` in all.
    """
    found: dict[UUID, list[E]] = {each: [] for each in parents}
    if not found:
        return found
    collection, read = collection_of(of.entity), reader_of(of.entity)
    where = Test(of.field, Operator.IN, tuple(found))
    most = MAX_CHILDREN + 1  # one more tells that they are too many
    if of.limit is None:
        documents = await executor.execute(Find(collection, where, of.order, most))
    else:
        leading = Leading(collection, (of.field,), of.limit, where, of.order, most)
        documents = await executor.execute(leading)
    if len(documents) == most:
        raise InvalidRequestError(
            f"more than {MAX_CHILDREN} refer to the entities of the page",
            hint="read a smaller page, or give Children a limit",
            entity=collection.entity,
            field=of.field,
        )
    for each in documents:
        found[cast(UUID, each[of.field])].append(read(each))
    return found

"""Related entities: those to which the references of a page lead, read by one request each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.entity import Entity, collection_of, reader_of, target_of
from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import listed
from healthstore.model.ops import Get

__all__ = ("Related", "not_included", "read_related", "relations")

Related: TypeAlias = Mapping[type[Entity], Mapping[UUID, Entity]]


def relations(
    entity: type[Entity], include: Iterable[str] | Mapping[str, type[Entity]]
) -> Mapping[str, type[Entity]]:
    """Return for each reference to follow the entity's class to which it leads.

    Raises InvalidRequestError for a field that refers to nothing, one whose reference names a
    collection only, and a class of another collection.
    """
    if isinstance(include, Mapping):
        return {name: target_of(entity, name, given) for name, given in include.items()}
    names = listed(include, "what is to be included", 'include=["user_id"]')
    return {name: target_of(entity, name, None) for name in names}


async def read_related(
    executor: Executor, page: Iterable[Entity], followed: Mapping[str, type[Entity]]
) -> Related:
    """Return the entities to which those of a page refer, by class and id.

    Each class is asked for once. What is gone meanwhile is left out.
    """
    wanted: dict[type[Entity], dict[UUID, None]] = {each: {} for each in followed.values()}
    for each in page:
        for name, target in followed.items():
            if (identity := getattr(each, name)) is not None:
                wanted[target][identity] = None
    found: dict[type[Entity], Mapping[UUID, Entity]] = {}
    for target, ids in wanted.items():
        read = reader_of(target)
        documents = await executor.execute(Get(collection_of(target), tuple(ids))) if ids else ()
        entities = [read(each) for each in documents if each is not None]
        found[target] = {each.id: each for each in entities}
    return found


def not_included(entity: type[Entity], included: Iterable[type[Entity]]) -> InvalidRequestError:
    """Return the error for a class that nobody asked for."""
    known = ", ".join(sorted(each.__name__ for each in included)) or "nothing"
    return InvalidRequestError(
        f"no {entity.__name__} was read with this page, but {known}",
        hint='name the reference: find(..., include=["user_id"])',
        entity=entity.__name__,
    )

"""Related entities: what a page refers to, and what refers to it, by one request each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import TypeAlias, cast
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.entity import Entity, collection_of, field_name, reader_of, target_of
from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import listed
from healthstore.model.ops import Get
from healthstore.model.query import FieldName
from healthstore.repository.children import Children, read_children

__all__ = ("Include", "Related", "Relations", "read_related", "relations")

Include: TypeAlias = "Iterable[str | FieldName | Children[Entity]] | Mapping[str, type[Entity]]"
"""Names of references, or with the class to which each leads; and children."""
_Relation: TypeAlias = tuple[type[Entity], str]
_Referred: TypeAlias = Mapping[UUID, Entity]
_Referring: TypeAlias = Mapping[UUID, list[Entity]]


@dataclass(frozen=True, slots=True)
class Relations:
    """What is to be read with a page: references by the class to which each leads, and children."""

    references: Mapping[str, type[Entity]]
    children: tuple[Children[Entity], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.references or self.children)


@dataclass(frozen=True, slots=True)
class Related:
    """What was read with a page, by the entities' class and the field that refers."""

    classes: Mapping[type[Entity], _Referred] = dataclass_field(default_factory=dict)
    """To what the page refers, by any of its fields."""
    references: Mapping[_Relation, _Referred] = dataclass_field(default_factory=dict)
    children: Mapping[_Relation, _Referring] = dataclass_field(default_factory=dict)

    def of(self, entity: type[Entity], name: str | None) -> _Referred | _Referring:
        """Return what was read for a relation; without a name, for the only one of a class.

        Raises InvalidRequestError for one that nobody asked for, and where there are several.
        """
        given: object = entity
        if not isinstance(given, type) or not isinstance(name, str | None):
            raise InvalidRequestError(
                f"a relation is named by a class and a text, not by a {type(given).__name__}"
                if not isinstance(given, type)
                else f"the field of a relation is named by a text, not by a {type(name).__name__}",
                hint='write page.related(User), or page.related(User, "user_id")',
            )
        if name is not None:
            if (entity, name) in self.children:
                return self.children[entity, name]
            if (entity, name) in self.references:
                return self.references[entity, name]
            raise self._not_included(entity)
        children = [each for each in self.children if each[0] is entity]
        if len(children) + (entity in self.classes) > 1:
            raise InvalidRequestError(
                f"several relations of {entity.__name__} were read with this page",
                hint=f"name one: page.related({entity.__name__}, {children[0][1]!r})",
                entity=entity.__name__,
            )
        if children:
            return self.children[children[0]]
        if entity not in self.classes:
            raise self._not_included(entity)
        return self.classes[entity]

    def _not_included(self, entity: type[Entity]) -> InvalidRequestError:
        relations = (*self.references, *self.children)
        known = ", ".join(sorted(f"{each.__name__} by {name}" for each, name in relations))
        return InvalidRequestError(
            f"no such {entity.__name__} was read with this page, but {known or 'nothing'}",
            hint='name the relation: find(..., include=["user_id", Children(Comment, "post_id")])',
            entity=entity.__name__,
        )


def relations(entity: type[Entity], include: Include) -> Relations:
    """Return what is to be read with a page of entities.

    Raises InvalidRequestError for a field that refers to nothing or elsewhere, one whose
    reference names a collection only, a class of another collection, and what is named twice.
    """
    if isinstance(include, Mapping):
        given = cast("Mapping[str, type[Entity]]", include)
        return Relations({name: target_of(entity, name, each) for name, each in given.items()})
    names = listed(include, "what is to be included", 'include=["user_id"]')
    children = tuple([each for each in names if isinstance(each, Children)])
    for each in children:
        each.require_of(entity)
    fields = [field_name(entity, each) for each in names if not isinstance(each, Children)]
    references = [(name, target_of(entity, name, None)) for name in fields]
    named = [(target, name) for name, target in references]
    _require_once(entity, [*named, *((each.entity, each.field) for each in children)])
    return Relations(dict(references), children)


def _require_once(entity: type[Entity], asked: list[_Relation]) -> None:
    for target, name in asked:
        if asked.count((target, name)) > 1:
            raise InvalidRequestError(
                f"the relation to {target.__name__} by {name} is included twice",
                hint="name it once; both sides of a reference to its own class take two finds",
                entity=entity.__name__,
                field=name,
            )


async def read_related(executor: Executor, page: Iterable[Entity], asked: Relations) -> Related:
    """Return the entities to which those of a page refer, and those that refer to them.

    Each class is asked for once, and each relation of children. What is gone meanwhile is left
    out.
    """
    entities = list(page)
    wanted: dict[type[Entity], dict[UUID, None]] = {each: {} for each in asked.references.values()}
    by_name: dict[_Relation, dict[UUID, None]] = {}
    for name, target in asked.references.items():
        ids = dict.fromkeys(id_ for each in entities if (id_ := getattr(each, name)) is not None)
        by_name[target, name] = ids
        wanted[target].update(ids)
    classes: dict[type[Entity], _Referred] = {}
    for target, ids in wanted.items():
        read = reader_of(target)
        documents = await executor.execute(Get(collection_of(target), tuple(ids))) if ids else ()
        found = [read(each) for each in documents if each is not None]
        classes[target] = {each.id: each for each in found}
    references = {
        (target, name): {id_: classes[target][id_] for id_ in ids if id_ in classes[target]}
        for (target, name), ids in by_name.items()
    }
    parents = [each.id for each in entities]
    children = {
        (each.entity, each.field): await read_children(executor, parents, each)
        for each in asked.children
    }
    return Related(classes, references, children)

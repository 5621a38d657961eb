"""The face of aggregates: rows of named columns, which of them, in which order, of which class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from healthstore.entity import Entity, collection_of, column_of, element_type, field_name, own_keys
from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import ordered
from healthstore.model.grouping import ELEMENTS
from healthstore.model.measures import GroupKey, columns_of
from healthstore.model.ops import Aggregate, Bucket, Group, Measure, Unwind
from healthstore.model.query import FieldName, FieldTerm, Filter, SortKey, Term
from healthstore.model.schema import Collection
from healthstore.model.values import Document
from healthstore.repository.rows import row_maker

__all__ = ("Asked", "asked_aggregate", "require_unsorted")

# What an aggregate may be asked for besides its measures, which are named by other words.
_OPTIONS = frozenset({"having", "order", "limit", "into", "unwind", "group", "page_size"})
_UNSORTED = ("order", "limit", "unwind")


@dataclass(frozen=True, slots=True)
class Asked:
    """An aggregate, and what is made of its groups."""

    op: Aggregate
    names: tuple[str, ...]
    make: Callable[[Document], object]

    def rows(self, groups: Iterable[Group]) -> list[object]:
        """Return the rows of the groups."""
        make, names = self.make, self.names
        return [make(dict(zip(names, (*each.key, *each.values), strict=True))) for each in groups]


def asked_aggregate(  # noqa: PLR0913 - each has a name where it is called
    entity: type[Entity],
    where: Filter,
    group: Sequence[GroupKey],
    measures: Mapping[str, Measure],
    *,
    having: Filter,
    order: Iterable[SortKey],
    limit: int | None,
    into: type[object] | None,
    unwind: object = "",
) -> Asked:
    """Return the aggregate that is asked for, and what is made of its groups.

    Raises InvalidRequestError for what is no measure or has the name of an option or of a column
    of the group.
    """
    collection = collection_of(entity)
    options: Mapping[str, object] = {
        "having": having,
        "order": order,
        "limit": limit,
        "into": into,
        "group": group,
        "unwind": unwind,
    }
    _require_free(collection, [name for name, each in options.items() if isinstance(each, Measure)])
    given = ordered(group, "the group", 'group=["user_id"]')
    parts = [each for each in given if isinstance(each, FieldTerm)]
    keys = tuple(_key(entity, each) for each in given)
    columns = columns_of(keys)
    _require_measures(collection, columns, measures)
    named = [each for measure in measures.values() for each in measure.given]
    parts += [each for each in named if isinstance(each, FieldTerm)]
    for each in named:
        column_of(entity, each)
    names = (*columns, *measures)
    make = (lambda row: row) if into is None else row_maker(into, names, collection.entity)
    return Asked(
        Aggregate(
            collection,
            tuple(replace(each, given=()) for each in measures.values()),
            where,
            keys,
            names=tuple(measures),
            having=having,
            order=own_keys(entity, order),
            take=limit,
            unwind=_unwound(entity, collection, unwind),
            terms=tuple(cast(Term, column_of(entity, each)) for each in parts),
        ),
        names,
        cast("Callable[[Document], object]", make),
    )


def _unwound(entity: type[Entity], collection: Collection, unwind: object) -> Unwind | None:
    """Return the list that is unwound, with the type of its elements; None for the empty text."""
    if isinstance(unwind, str) and not unwind:
        return None
    name = field_name(entity, unwind)
    field = collection.field(name)
    kind = element_type(entity, field.name)
    if kind is None or kind.kind not in ELEMENTS:
        raise InvalidRequestError(
            "is no list of texts, numbers or bools, all of one type",
            hint=f"unwind a list that says of what it is, as in {name}: list[str]",
            entity=collection.entity,
            field=name,
        )
    return Unwind(field.name, kind)


def require_unsorted(entity: type[Entity], measures: Mapping[str, object]) -> None:
    """Raise InvalidRequestError for what a stream does not take: its order is that of the keys."""
    for name in measures:
        if name in _UNSORTED and not isinstance(measures[name], Measure):
            raise InvalidRequestError(
                f"a stream of groups takes no {name}: all of them come, in order of their keys",
                hint="ask aggregate(), or stop when you have enough",
                entity=collection_of(entity).entity,
            )


def _key(entity: type[Entity], key: object) -> str | Bucket:
    """Return what is grouped by: a name, a bucket of one, or the path of a part of JSON."""
    if isinstance(key, FieldTerm):
        return str(key.term)
    if isinstance(key, Bucket) and isinstance(cast(object, key.field), str):
        if key.owner is None:
            return key
        field_name(entity, FieldName(key.field, key.owner))
        return replace(key, owner=None)
    if isinstance(key, FieldName):
        return field_name(entity, key)
    if isinstance(key, str):
        return key
    of = cast(object, key.field) if isinstance(key, Bucket) else key
    raise InvalidRequestError(
        f"what is grouped by is named by an object of the type {type(of).__name__}",
        hint='name a field, or give a bucket: group=["user_id", Bucket("at", "day", tz="UTC")]',
        entity=entity.__name__,
    )


def _require_free(collection: Collection, names: Iterable[str]) -> None:
    for name in names:
        raise InvalidRequestError(
            f"{name!r} is the name of an option of aggregates, not of a measure",
            hint=f"give the measure another name, such as {name}_=Count()",
            entity=collection.entity,
        )


def _require_measures(
    collection: Collection, columns: Sequence[str], measures: Mapping[str, object]
) -> None:
    _require_free(collection, [name for name in measures if name in _OPTIONS])
    for name, measure in measures.items():
        if name in columns or not isinstance(measure, Measure):
            raise InvalidRequestError(
                f"{name!r} is no measure, or also names a column of the group",
                hint=f"write {name}=Count(), or another name",
                entity=collection.entity,
            )

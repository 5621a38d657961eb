"""The face of aggregates: rows of named columns, which of them, in which order, of which class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from healthstore.entity import Entity, collection_of
from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import ordered
from healthstore.model.definition import Definition, Field
from healthstore.model.evaluate import matches, sort_documents
from healthstore.model.filters import checked_filter, plain_order
from healthstore.model.measures import columns_of, grouped_field
from healthstore.model.ops import Aggregate, Bucket, Function, Group, Measure
from healthstore.model.query import Filter, Order, lookups, parse_keys
from healthstore.model.schema import Collection
from healthstore.model.values import Document, FieldType, Kind
from healthstore.repository.rows import row_maker

__all__ = ("Asked", "asked_aggregate")

# What an aggregate may be asked for besides its measures, which are named by other words.
_OPTIONS = frozenset({"having", "order", "limit", "into", "unwind", "group"})
_MOST = 10_000
_AVERAGE_PLACES = 6
_TOTAL_DIGITS = 34  # of Decimal128: room for sums of the 28 digits of a field, and for its mean
_INTEGER, _FLOAT = FieldType(Kind.INTEGER), FieldType(Kind.FLOAT)


@dataclass(frozen=True, slots=True)
class Asked:
    """An aggregate, and what is made of its groups."""

    op: Aggregate
    names: tuple[str, ...]
    having: Filter
    order: tuple[Order, ...]
    limit: int | None
    make: Callable[[Document], object]

    def rows(self, groups: Iterable[Group]) -> list[object]:
        """Return the rows of the groups, which come in order of their keys.

        Sorts are stable, so that the key decides among equals.
        """
        rows: Sequence[Document] = [
            dict(zip(self.names, (*each.key, *each.values), strict=True)) for each in groups
        ]
        rows = sort_documents(filter(matches(self.having), rows), self.order)
        return [self.make(row) for row in rows[: self.limit]]


def asked_aggregate(  # noqa: PLR0913 - each has a name where it is called
    entity: type[Entity],
    where: Filter,
    group: Sequence[str | Bucket],
    measures: Mapping[str, Measure],
    *,
    having: Filter,
    order: Iterable[str | Order],
    limit: int | None,
    into: type[object] | None,
) -> Asked:
    """Return the aggregate that is asked for, and what is made of its groups.

    Raises InvalidRequestError for what is no measure or has the name of an option or of a column
    of the group, and for a ``having`` or an ``order`` of what is no column of a row.
    """
    collection = collection_of(entity)
    options: Mapping[str, object] = {
        "having": having,
        "order": order,
        "limit": limit,
        "into": into,
        "group": group,
    }
    _require_free(collection, [name for name, each in options.items() if isinstance(each, Measure)])
    keys = ordered(group, "the group", 'group=["user_id"]')
    _require_names(collection, keys)
    columns = columns_of(keys)
    _require_measures(collection, columns, measures)
    if limit is not None and (type(limit) is not int or not 1 <= limit <= _MOST):
        raise InvalidRequestError(
            f"the limit must be from 1 to {_MOST}, or None",
            hint="leave it out for all groups",
            entity=collection.entity,
        )
    names = (*columns, *measures)
    result = _result(collection, keys, measures)
    make = (lambda row: row) if into is None else row_maker(into, names, collection.entity)
    return Asked(
        Aggregate(collection, tuple(measures.values()), where, keys),
        names,
        _checked_having(result, having),
        plain_order(result, parse_keys(order)),
        limit,
        cast("Callable[[Document], object]", make),
    )


def _require_names(collection: Collection, keys: Iterable[object]) -> None:
    """Refuse a key that is neither a name nor a bucket of one: a field of F is not compared."""
    for key in keys:
        name = key.column if isinstance(key, Bucket) else key
        if not isinstance(name, str):
            raise InvalidRequestError(
                f"a group is by a {type(name).__name__}",
                hint='name a field, or give a bucket: group=["user_id", Bucket("at", "day", tz="UTC")]',
                entity=collection.entity,
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


def _checked_having(result: Definition, having: Filter) -> Filter:
    checked = checked_filter(result, having)
    if next(lookups(checked), None) is not None:
        raise InvalidRequestError(
            "a row of an aggregate is looked up in what another query finds",
            hint="look up in the filters of the aggregate",
            entity=result.entity,
        )
    return checked


def _result(
    collection: Collection, keys: Sequence[str | Bucket], measures: Mapping[str, Measure]
) -> Definition:
    """Return the definition of a row of the result: its columns, and what each may hold."""
    fields = [
        Field(column, _key_type(collection, key), nullable=True)
        for column, key in zip(columns_of(tuple(keys)), keys, strict=True)
    ]
    fields += [
        Field(name, _type_of(collection, each), nullable=True) for name, each in measures.items()
    ]
    return Definition(collection.name, tuple(fields), entity=collection.entity)


def _key_type(collection: Collection, key: str | Bucket) -> FieldType:
    kind = collection.field(grouped_field(key)).type
    # A bucket of instants begins at one with all of its digits.
    return FieldType(kind.kind) if isinstance(key, Bucket) else kind


def _type_of(collection: Collection, measure: Measure) -> FieldType:
    if measure.field is None or measure.function.counts:
        return _INTEGER
    kind = collection.field(measure.field).type
    averaged = measure.function is Function.AVG
    if kind.kind is Kind.DECIMAL and (averaged or measure.function is Function.SUM):
        places = kind.places + _AVERAGE_PLACES if averaged else kind.places
        return FieldType(Kind.DECIMAL, digits=_TOTAL_DIGITS, places=places)
    if not averaged:
        return kind
    return kind if kind.kind is Kind.DURATION else _FLOAT

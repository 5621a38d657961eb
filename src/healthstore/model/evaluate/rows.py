"""The rows of an aggregate: what they hold, which of them are asked for, and in which order.

A database filters, sorts and cuts groups where their columns sort and compare exactly as the
values do. :func:`pushed` says what that is; the core does the rest, over a bounded number of
groups. It is the same on each backend: one that cannot keep it exactly reads, and computes here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import cast

from healthstore.model.definition import Definition, Field
from healthstore.model.evaluate.buckets import is_kept_as_key, key_test, partial
from healthstore.model.evaluate.filters import matches, sort_documents
from healthstore.model.measures import Bucket, Function, Group, Measure, columns_of, grouped_field
from healthstore.model.ops import Aggregate
from healthstore.model.query import (
    ALL,
    ORDERED,
    PLURAL,
    And,
    Filter,
    Operator,
    Or,
    Order,
    OtherField,
    Test,
    walk,
)
from healthstore.model.values import SORTED_TEXT, Document, FieldType, Kind

__all__ = (
    "AVERAGE_PLACES",
    "begins_alike",
    "ordered",
    "parted",
    "pushed",
    "row_definition",
    "taken",
)

AVERAGE_PLACES = 6
"""How many places more than its field the average of a decimal has."""
_TOTAL_DIGITS = 34  # of Decimal128: room for sums of the 28 digits of a field, and for its mean
_INTEGER, _FLOAT = FieldType(Kind.INTEGER), FieldType(Kind.FLOAT)


def row_definition(op: Aggregate) -> Definition:
    """Return the definition of a row: its columns, and what each of them may hold."""
    collection = op.rows
    fields = [
        Field(column, _key_type(collection, key), nullable=True)
        for column, key in zip(columns_of(op.group), op.group, strict=True)
    ]
    fields += [
        Field(name, _type_of(collection, each), nullable=True)
        for name, each in zip(op.names, op.measures, strict=False)
    ]
    return Definition(collection.name, tuple(fields), entity=collection.entity)


def _key_type(collection: Definition, key: str | Bucket) -> FieldType:
    kind = collection.field(grouped_field(key)).type
    # A bucket of instants begins at one with all of its digits.
    return FieldType(kind.kind) if isinstance(key, Bucket) else kind


def _type_of(collection: Definition, measure: Measure) -> FieldType:
    if measure.field is None or measure.function.counts:
        return _INTEGER
    kind = collection.field(measure.field).type
    averaged = measure.function is Function.AVG
    if kind.kind is Kind.DECIMAL and (averaged or measure.function is Function.SUM):
        places = kind.places + AVERAGE_PLACES if averaged else kind.places
        return FieldType(Kind.DECIMAL, digits=_TOTAL_DIGITS, places=places)
    if not averaged:
        return kind
    return kind if kind.kind is Kind.DURATION else _FLOAT


def taken(
    rows: Iterable[Group],
    names: Sequence[str],
    having: Filter,
    order: Sequence[Order],
    take: int | None,
) -> list[Group]:
    """Return the rows that are asked for, in order, of those that come in order of their keys.

    Sorts are stable, so that the key decides among equals.
    """
    if having == ALL and not order:
        return list(rows)[:take]
    pairs: list[tuple[Document, Group]] = [
        (dict(zip(names, (*each.key, *each.values), strict=False)), each) for each in rows
    ]
    holds = matches(having)
    found = {id(row): (row, each) for row, each in pairs if holds(row)}
    ordered = sort_documents((row for row, _ in found.values()), order)
    return [found[id(row)][1] for row in ordered[:take]]


def ordered(op: Aggregate) -> tuple[Order, ...]:
    """Return the order of a planned aggregate that takes some rows, the key at last."""
    if op.take is None:
        return ()
    named = {each.field for each in op.order}
    keys = (f"k{place}" for place in range(len(op.group)))
    return (*op.order, *(Order(key) for key in keys if key not in named))


def begins_alike(op: Aggregate, rows: Iterable[Group]) -> bool:
    """Tell whether rows that a database took of a planned aggregate may be others than asked for.

    Long texts may begin alike, and then the next key decides, or the whole of a key that is the
    last one: that not every database sorts so. A text that is not long stands where it should,
    so that one of those that are would be among the rows.
    """
    long: list[int] = []
    for each in ordered(op):
        place, key = int(each.field[1:]), each.field[0] == "k"
        found = op.group[place] if key else op.measures[place]
        counted = isinstance(found, Measure) and (found.field is None or found.function.counts)
        name = found.field if isinstance(found, Measure) else grouped_field(found)
        if not counted and op.rows.field(cast(str, name)).type.sorted_by_head:
            long.append(place if key else len(op.group) + place)
    return any(
        isinstance(value := (*row.key, *row.values)[place], str) and len(value) >= SORTED_TEXT
        for row in rows
        for place in long
    )


# --- what a database does ------------------------------------------------------------------------


def parted(op: Aggregate) -> tuple[Filter, Filter]:
    """Return the part of a checked ``having`` that a database holds groups against, and the rest."""
    parts = op.having.items if isinstance(op.having, And) else (op.having,)
    compared, beyond = _compared(op), _beyond(op)
    native = tuple(
        each for each in parts if _compares(each, compared) and not any(map(beyond, walk(each)))
    )
    return And(native), And(tuple(each for each in parts if each not in native))


def pushed(op: Aggregate, planned: Aggregate) -> Aggregate:
    """Return the planned aggregate with what a database does of having, order and take.

    Nothing of it where a bucket may be null for what is not known: such a row must be seen.
    """
    buckets = [key for key in planned.group if isinstance(key, Bucket)]
    if not op.group or any(partial(op.collection, each) for each in buckets):
        return planned
    native, rest = parted(op)
    columns = _columns(op, planned)
    found = replace(planned, having=_renamed(native, columns, planned))
    if op.take is None or rest != ALL or not all(each.field in columns for each in op.order):
        return found
    order = tuple(replace(each, field=columns[each.field]) for each in op.order)
    return replace(found, order=order, take=op.take)


def _columns(op: Aggregate, planned: Aggregate) -> Mapping[str, str]:
    """Return the planned columns, by those of the row, that sort as these do.

    A float's sum may be computed in parts.
    """
    places = planned.places
    found = {name: f"k{place}" for place, name in enumerate(columns_of(op.group))}
    for name, measure in zip(op.names, op.measures, strict=False):
        if _sorts(op.rows, measure):
            found[name] = f"m{planned.measures.index(measure.renamed(places))}"
    return found


def _compared(op: Aggregate) -> frozenset[str]:
    """Return the columns of a row whose values a database compares with others."""
    measures = zip(op.names, op.measures, strict=False)
    return frozenset(
        (
            *columns_of(op.group),
            *(name for name, each in measures if _sorts(op.rows, each)),
        )
    )


def _beyond(op: Aggregate) -> Callable[[Test], bool]:
    """Return what tells whether a sum of decimals is held against more digits than its field has."""
    ends: dict[str, int] = {}
    for name, each in zip(op.names, op.measures, strict=False):
        if each.function is Function.SUM and each.field is not None:
            kind = op.rows.field(each.field).type
            if kind.kind is Kind.DECIMAL:
                ends[name] = 10 ** (kind.digits - kind.places)

    def beyond(test: Test) -> bool:
        given = test.operand if isinstance(test.operand, tuple) else (test.operand,)
        end = ends.get(test.field)
        return end is not None and any(
            isinstance(value, Decimal) and abs(value) >= end for value in given
        )

    return beyond


def _sorts(collection: Definition, measure: Measure) -> bool:
    if measure.field is None or measure.function.counts:
        return True
    kind = collection.field(measure.field).type
    if measure.function is Function.SUM:
        return kind.kind is not Kind.FLOAT
    return measure.function in _EXTREMES


_EXTREMES = frozenset({Function.MIN, Function.MAX})
_EQUALITY = frozenset({Operator.EQ, Operator.NE, Operator.IS_NULL, Operator.NOT_NULL})
_COMPARING = ORDERED | _EQUALITY | PLURAL


def _compares(having: Filter, columns: frozenset[str]) -> bool:
    """Tell whether a database holds a filter against these columns."""
    return all(
        test.field in columns and _is_plain(test) and is_kept_as_key(test) for test in walk(having)
    )


def _is_plain(test: Test) -> bool:
    """Tell whether a test compares with values, and with few of them."""
    if test.part is not None or test.folded or test.operator not in _COMPARING:
        return False
    if test.operator in PLURAL:
        return isinstance(test.operand, tuple) and len(test.operand) <= _FEW
    return not isinstance(test.operand, OtherField)


_FEW = 100


def _renamed(having: Filter, columns: Mapping[str, str], planned: Aggregate) -> Filter:
    """Return a filter in normal form of planned columns, in which a bucket is told by its key."""
    if isinstance(having, Test):
        name = columns[having.field]
        renamed = replace(having, field=name)
        key = planned.group[int(name[1:])] if name[0] == "k" else name
        return key_test(planned.rows, key, renamed) if isinstance(key, Bucket) else renamed
    assert isinstance(having, And | Or), "the normal form negates parts only"
    return type(having)(tuple(_renamed(item, columns, planned) for item in having.items))

"""What an aggregate computes: groups, their measures, and what is left for the core to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal, localcontext
from math import fsum, inf
from typing import Any, cast

from healthstore.errors import InvalidRequestError
from healthstore.model.decimals import EXACT, of_units
from healthstore.model.definition import Definition
from healthstore.model.evaluate.buckets import (
    Years,
    key_reader,
    key_writer,
    partial,
    planned_bucket,
)
from healthstore.model.evaluate.documents import out_of_range
from healthstore.model.evaluate.parts import term_value
from healthstore.model.evaluate.rows import AVERAGE_PLACES, pushed, taken
from healthstore.model.measures import columns_of, grouped_field, nearest_rank
from healthstore.model.ops import Aggregate, Bucket, Count, Function, Group, Measure
from healthstore.model.query import ALL
from healthstore.model.values import Document, FieldType, Kind, Value, canonicaliser

__all__ = (
    "aggregate",
    "aggregate_measure",
    "fields_of",
    "finish_aggregate",
    "group_order",
    "plan_aggregate",
)

_NO_YEARS: Mapping[str, Years] = {}
_FINEST = 2**1074  # every float is a multiple of 1 / _FINEST
_MICROSECOND = timedelta(microseconds=1)
# Beyond any stored duration: a sum of this size is reported as out of range.
_LONGEST = timedelta.max // _MICROSECOND


def plan_aggregate(op: Aggregate, years: Mapping[str, Years] = _NO_YEARS) -> Aggregate:
    """Return the aggregate as a backend computes it.

    Each average is replaced by a sum and a count of the field. Each bucket of instants has the
    offsets of its zone, and where not all may be known, the values of its field are counted, too:
    see :func:`unknown_buckets`. ``years`` are those in which there are rows, as far as known.
    """
    primitive: list[Measure] = []
    places = op.places
    for measure in [each.renamed(places) for each in op.measures]:
        parts = (
            (Measure(Function.SUM, measure.field), Measure(Function.COUNT, measure.field))
            if measure.function is Function.AVG
            else (measure,)
        )
        primitive.extend(part for part in parts if part not in primitive)
    group: list[str | Bucket] = []
    for key in op.group:
        if isinstance(key, Bucket):
            bucket = planned_bucket(op.collection, key, op.where, years)
            counted = Count(key.field)
            if partial(op.collection, bucket) and counted not in primitive:
                primitive.append(counted)
            group.append(bucket)
        else:
            group.append(places.get(key, key))
    planned = replace(
        op,
        measures=tuple(primitive),
        group=tuple(group),
        planned=True,
        names=(),
        having=ALL,
        order=(),
        take=None,
        after=None,
    )
    return pushed(op, planned)


def finish_aggregate(
    op: Aggregate, rows: Sequence[Group], planned: Aggregate | None = None
) -> tuple[Group, ...]:
    """Return the rows of the planned aggregate as the rows that ``op`` asked for.

    A sum of nothing becomes 0 (backends give null), averages are computed, buckets begin at an
    instant, rows are filtered, ordered and cut, whatever of that was done before.
    """
    planned = planned or plan_aggregate(op)
    computed, collection = planned.measures, planned.rows
    measures = [each.renamed(planned.places) for each in op.measures]
    if len(rows) > op.limit:
        raise InvalidRequestError(
            f"the aggregate has more than {op.limit} groups",
            hint="narrow the filter, group by fewer fields, or sort by counts, sums, minima or maxima "
            "and give a limit",
            entity=op.collection.entity,
        )
    writers = [key_writer(collection, key) for key in planned.group]
    finished = []
    for row in rows:
        known = dict(zip(computed, row.values, strict=True))
        for measure in computed:
            known[measure] = _checked(planned, collection, measure, known[measure])
        key = tuple([write(value) for write, value in zip(writers, row.key, strict=True)])
        values = tuple(_finish(collection, measure, known) for measure in measures)
        finished.append(Group(key, values))
    finished.sort(key=group_order)
    names = (*columns_of(op.group), *op.names)
    return tuple(taken(finished, names, op.having, op.order, op.take))


def group_order(row: Group) -> tuple[tuple[Any, ...], ...]:
    """Return the sort key of an aggregate's row: by its key, None smallest."""
    return tuple((0,) if value is None else (1, value) for value in row.key)


def _checked(planned: Aggregate, collection: Definition, measure: Measure, value: Value) -> Value:
    """Return a measure that is no average, if it is a value of its field's type."""
    if measure.field is None or measure.function.counts:
        return value
    kind = collection.field(measure.field).type
    summed = measure.function is Function.SUM
    if value is None:
        return _of_nothing(collection, measure)
    # Decimal sums may have more digits; extremes are stored values, and only floats can be odd.
    if kind.kind is Kind.FLOAT or (summed and kind.kind in {Kind.INTEGER, Kind.DURATION}):
        try:
            return canonicaliser(kind)(value)
        except ValueError:
            what = "a sum" if summed else f"a {measure.function}"
            raise out_of_range(collection, planned.told(measure.field), what) from None
    return value


_ZEROS: dict[Kind, Callable[[FieldType], Value]] = {
    Kind.INTEGER: lambda _: 0,
    Kind.FLOAT: lambda _: 0.0,
    Kind.DECIMAL: lambda kind: of_units(0, kind.places),
    Kind.DURATION: lambda _: timedelta(0),
}


def _finish(collection: Definition, measure: Measure, known: dict[Measure, Value]) -> Value:
    if measure.function is not Function.AVG:
        return known[measure]
    total = known[Measure(Function.SUM, measure.field)]
    count = cast(int, known[Measure(Function.COUNT, measure.field)])
    if not count:
        return None
    return _AVERAGES[type(total)](total, count, collection.field(cast(str, measure.field)).type)


def _average_decimal(total: Any, count: int, kind: FieldType) -> Value:
    step = of_units(1, kind.places + AVERAGE_PLACES)
    return EXACT.divide(total, count).quantize(step, context=EXACT)


_AVERAGES: dict[type, Callable[[Any, int, FieldType], Value]] = {
    int: lambda total, count, _: total / count,
    float: lambda total, count, _: total / count,
    timedelta: lambda total, count, _: total / count,  # timedelta divides half-even
    Decimal: _average_decimal,
}


def fields_of(op: Aggregate) -> tuple[str, ...]:
    """Return the names of the fields that an aggregate needs of a document."""
    measured = {name for each in op.measures for name in (each.field, each.by) if name is not None}
    own = {"id"} if any(each.by is not None for each in op.measures) else set[str]()
    own |= set[str]() if op.unwind is None else {op.unwind.field}
    made = dict(op.named_terms)
    own |= {each.field for each in op.terms}
    return tuple(sorted({*map(grouped_field, op.group), *measured, *own} - made.keys()))


def aggregate(op: Aggregate, documents: Iterable[Document]) -> tuple[Group, ...]:
    """Compute a planned aggregate over the documents that satisfy its filter."""
    groups: dict[tuple[Value, ...], list[Document]] = {} if op.group else {(): []}
    readers = [key_reader(op.rows, key) for key in op.group]
    for document in _unwound(op, documents):
        groups.setdefault(tuple([read(document) for read in readers]), []).append(document)
    found = [
        Group(key, tuple(aggregate_measure(measure, members) for measure in op.measures))
        for key, members in groups.items()
    ]
    return tuple(_asked(op, found))


def _unwound(op: Aggregate, documents: Iterable[Document]) -> Iterator[Document]:
    """Yield each document with its terms, once for each element of the list that is unwound."""
    if op.terms:
        named = op.named_terms
        documents = (
            {**document, **{name: term_value(document, term) for name, term in named}}
            for document in documents
        )
    if op.unwind is None:
        yield from documents
        return
    name, kinds = op.unwind.field, _PYTHON[op.unwind.type.kind]
    real = op.unwind.type.kind is Kind.FLOAT
    for document in documents:
        elements: Any = document[name]
        for each in elements if isinstance(elements, list) else ():
            if type(each) in kinds:
                yield {**document, name: float(each) if real else each}


# Python's types of the elements of a list; a bool is no number.
_PYTHON: Mapping[Kind, frozenset[type]] = {
    Kind.TEXT: frozenset({str}),
    Kind.ENUM: frozenset({str}),
    Kind.INTEGER: frozenset({int}),
    Kind.FLOAT: frozenset({int, float}),
    Kind.BOOLEAN: frozenset({bool}),
}


def _asked(op: Aggregate, groups: list[Group]) -> list[Group]:
    """Return the groups of a planned aggregate that are asked for; a sum of nothing counts as 0."""
    if op.having == ALL and op.take is None:
        return groups
    names = [f"k{place}" for place in range(len(op.group))]
    names += [f"m{place}" for place in range(len(op.measures))]
    nothing = [_of_nothing(op.rows, each) for each in op.measures]
    summed = (
        Group(
            each.key,
            tuple(
                zero if value is None else value
                for value, zero in zip(each.values, nothing, strict=True)
            ),
        )
        for each in groups
    )
    # By whole keys first: they decide at last, and of texts in an order only the heads count.
    return taken(sorted(summed, key=group_order), names, op.having, op.order, op.take)


def _of_nothing(collection: Definition, measure: Measure) -> Value:
    """Return what a measure is of no values at all."""
    if measure.function is not Function.SUM:
        return None
    kind = collection.field(cast(str, measure.field)).type
    return _ZEROS[kind.kind](kind)


def aggregate_measure(measure: Measure, documents: Sequence[Document]) -> Value:
    """Compute one measure, which is no average; a sum of nothing is None."""
    if measure.field is None:
        return len(documents)
    if measure.by is not None:
        return _picked(measure, measure.by, documents)
    values: list[Any] = [each[measure.field] for each in documents]
    values = [value for value in values if value is not None]
    if measure.function is Function.PERCENTILE:
        return sorted(values)[nearest_rank(measure.parts, len(values)) - 1] if values else None
    return _MEASURES[measure.function](values)


def _picked(measure: Measure, by: str, documents: Sequence[Document]) -> Value:
    """Return the field's value in the document that is first, or last, by another field."""

    def place(document: Document) -> Any:
        value = document[by]
        return value is not None, 0 if value is None else value, document["id"]

    pick = min if measure.function is Function.FIRST else max
    return pick(documents, key=place)[cast(str, measure.field)] if documents else None


def _sum(values: list[Any]) -> Value:
    if not values:
        return None
    if isinstance(values[0], float):
        return _float_sum(values)
    if isinstance(values[0], timedelta):
        # In integers: a partial sum may leave timedelta's own range.
        total = sum(value // _MICROSECOND for value in values)
        if abs(total) > _LONGEST:
            return timedelta.max if total > 0 else timedelta.min
        return timedelta(microseconds=total)
    with localcontext(EXACT):
        return cast(Value, sum(values[1:], start=values[0]))


def _float_sum(values: list[float]) -> float:
    """Return the exact sum, rounded once; infinity if it is beyond the range of a float."""
    try:
        return fsum(values)
    except (OverflowError, ValueError) as error:
        del error  # a part of the sum is beyond that range; the whole need not be
    try:
        parts = map(float.as_integer_ratio, values)
        return sum(number * (_FINEST // units) for number, units in parts) / _FINEST
    except (OverflowError, ValueError):
        return inf


_MEASURES: dict[Function, Callable[[list[Any]], Value]] = {
    Function.COUNT: len,
    Function.COUNT_DISTINCT: lambda values: len(set(values)),
    Function.SUM: _sum,
    Function.MIN: lambda values: min(values, default=None),
    Function.MAX: lambda values: max(values, default=None),
}

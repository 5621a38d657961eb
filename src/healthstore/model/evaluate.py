"""The reference meaning of operations, in plain Python over documents.

The memory adapter is made of these functions, other adapters fall back on them, and the
contract suite holds every backend against them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import timedelta
from decimal import Decimal, localcontext
from math import fsum, inf
from operator import ge, gt, le, lt
from typing import Any, TypeAlias, cast
from uuid import UUID

from healthstore.errors import (
    CheckError,
    DuplicateKeyError,
    ForeignKeyError,
    IntegrityError,
    InvalidRequestError,
    NotNullError,
    OutOfRangeError,
    StaleVersionError,
)
from healthstore.model.decimals import EXACT, of_units
from healthstore.model.ops import (
    Aggregate,
    Find,
    Function,
    Group,
    Measure,
    Patch,
    Patches,
)
from healthstore.model.query import And, Filter, Not, Operator, Order, OtherField, Test
from healthstore.model.schema import Collection, Reference
from healthstore.model.values import SORTED_TEXT, Document, FieldType, Kind, Value, canonicaliser

__all__ = (
    "aggregate",
    "aggregate_measure",
    "broken_check",
    "changed_by_id",
    "check_document",
    "check_version",
    "duplicate_key",
    "finish_aggregate",
    "group_order",
    "matches",
    "missing_parent",
    "out_of_range",
    "patched",
    "patched_each",
    "plan_aggregate",
    "sort_documents",
    "sorted_whole",
    "still_referenced",
)

Predicate: TypeAlias = Callable[[Document], bool]

_AVERAGE_PLACES = 6
_FINEST = 2**1074  # every float is a multiple of 1 / _FINEST
_MICROSECOND = timedelta(microseconds=1)
# Beyond any stored duration: a sum of this size is reported as out of range.
_LONGEST = timedelta.max // _MICROSECOND


def matches(filter_: Filter) -> Predicate:
    """Return the function that tells whether a document satisfies a filter in any form."""
    if isinstance(filter_, Test):
        return _TESTS[filter_.operator](filter_.field, filter_.operand)
    if isinstance(filter_, Not):
        inner = matches(filter_.item)
        return lambda document: not inner(document)
    parts = [matches(item) for item in filter_.items]
    if isinstance(filter_, And):
        return lambda document: all(part(document) for part in parts)
    return lambda document: any(part(document) for part in parts)


_Operand: TypeAlias = "Value | tuple[Value, ...] | OtherField"


def _equal(field: str, operand: _Operand) -> Predicate:
    if isinstance(operand, OtherField):
        other = operand.name
        return lambda document: document[field] == document[other]
    return lambda document: document[field] == operand


def _among(field: str, operand: _Operand) -> Predicate:
    values = frozenset(cast("tuple[Value, ...]", operand))
    return lambda document: document[field] in values


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[str, _Operand], Predicate]:
    def build(field: str, operand: _Operand) -> Predicate:
        if operand is None:
            return lambda _: False
        if isinstance(operand, OtherField):
            return _both(field, operand.name, compare)
        return lambda document: document[field] is not None and compare(document[field], operand)

    return build


def _both(one: str, other: str, compare: Callable[[Any, Any], bool]) -> Predicate:
    def holds(document: Document) -> bool:
        left, right = document[one], document[other]
        return left is not None and right is not None and compare(left, right)

    return holds


def _textual(holds: Callable[[str, str], bool]) -> Callable[[str, _Operand], Predicate]:
    def build(field: str, operand: _Operand) -> Predicate:
        return lambda document: (
            document[field] is not None and holds(cast(str, document[field]), cast(str, operand))
        )

    return build


def _negated(
    build: Callable[[str, _Operand], Predicate],
) -> Callable[[str, _Operand], Predicate]:
    def negated(field: str, operand: _Operand) -> Predicate:
        positive = build(field, operand)
        return lambda document: not positive(document)

    return negated


def _null(field: str, _: _Operand) -> Predicate:
    return lambda document: document[field] is None


_contains = _textual(lambda text, part: part in text)
_starts = _textual(str.startswith)
_ends = _textual(str.endswith)

_TESTS: dict[Operator, Callable[[str, _Operand], Predicate]] = {
    Operator.EQ: _equal,
    Operator.NE: _negated(_equal),
    Operator.LT: _ordered(lt),
    Operator.LE: _ordered(le),
    Operator.GT: _ordered(gt),
    Operator.GE: _ordered(ge),
    Operator.IN: _among,
    Operator.NOT_IN: _negated(_among),
    Operator.IS_NULL: _null,
    Operator.NOT_NULL: _negated(_null),
    Operator.CONTAINS: _contains,
    Operator.NOT_CONTAINS: _negated(_contains),
    Operator.STARTS: _starts,
    Operator.NOT_STARTS: _negated(_starts),
    Operator.ENDS: _ends,
    Operator.NOT_ENDS: _negated(_ends),
}


def sort_documents(documents: Iterable[Document], order: Sequence[Order]) -> list[Document]:
    """Return the documents in this order, where of a text its head counts."""
    ordered = list(documents)
    # Sorts are stable: sort by the last key first.
    for key in reversed(order):
        ordered.sort(key=_rank(key), reverse=key.descending)
    return ordered


def _rank(key: Order) -> Callable[[Document], tuple[Any, ...]]:
    null = (0,) if key.nulls_first is not key.descending else (2,)  # before it is reversed

    def rank(document: Document) -> tuple[Any, ...]:
        value = document[key.field]
        if isinstance(value, str):
            value = value[:SORTED_TEXT]
        return null if value is None else (1, value)

    return rank


def sorted_whole(op: Find, documents: Iterable[Document]) -> bool:
    """Tell whether what a database sorted by whole texts is in the order that was asked for.

    It is unless a text among the keys is longer than what counts: then texts that begin alike
    must be sorted by the next key. A text that is not stands where it stood in either order.
    """
    names = [key.field for key in op.order if op.collection.field(key.field).type.sorted_by_head]
    return not any(
        isinstance(value := document[name], str) and len(value) >= SORTED_TEXT
        for name in names
        for document in documents
    )


def check_version(
    collection: Collection, stored: Document, identity: UUID, expected: int | None
) -> None:
    """Raise StaleVersionError unless the stored document has the expected version."""
    if expected is not None and stored["version"] != expected:
        raise StaleVersionError(
            f"document {identity} has version {stored['version']!r}, not {expected}",
            hint="read it again, then decide",
            entity=collection.entity,
        )


def check_document(collection: Collection, document: Document) -> None:
    """Raise NotNullError or CheckError unless the document satisfies its definition."""
    for name in collection.required:
        if document[name] is None:
            raise NotNullError(
                "must have a value",
                hint="give it one, or declare that it may be None",
                entity=collection.entity,
                field=name,
            )
    for name, rule in collection.rules.items():
        if not matches(rule)(document):
            raise broken_check(collection, name)


def broken_check(collection: Collection, name: str) -> CheckError:
    """Return the error for a document that a declared check forbids."""
    return CheckError(
        f"the check {name!r} does not hold",
        hint="give values that the entity's check allows",
        entity=collection.entity,
    )


def missing_parent(collection: Collection, reference: Reference) -> ForeignKeyError:
    """Return the error for a document whose reference leads to nothing."""
    return ForeignKeyError(
        f"the document of {reference.collection} that it refers to does not exist",
        hint="add that one first",
        entity=collection.entity,
        field=reference.field,
    )


def duplicate_key(collection: Collection, fields: tuple[str, ...]) -> DuplicateKeyError:
    """Return the error for a unique key that is taken."""
    error = DuplicateKeyError(
        f"another document has the same {', '.join(fields) or 'unique key'}",
        hint="update that document, or choose another value",
        entity=collection.entity,
        field=fields[0] if len(fields) == 1 else None,
    )
    error.fields = fields
    return error


def still_referenced(collection: Collection | None) -> ForeignKeyError:
    """Return the error for a delete that a reference restricts; not every database says which."""
    return ForeignKeyError(
        "another document still refers to it",
        hint="delete the referring documents first",
        entity=collection.entity if collection else None,
    )


def patched(op: Patch, document: Document) -> Document:
    """Return a document as it is after a patch; raise if an increment is impossible."""
    after = {**document, **dict(op.sets)}
    for name, step in op.increments:
        value = document[name]
        if value is None:
            raise NotNullError(
                "cannot be incremented: it has no value",
                hint="set it first",
                entity=op.collection.entity,
                field=name,
            )
        # Making a context takes longer than all the rest, and only decimals need one.
        with localcontext(EXACT) if isinstance(value, Decimal) else nullcontext():
            total = cast(Any, value) + cast(Any, step)
        try:
            after[name] = op.collection.values[name](total)
        except ValueError:
            raise out_of_range(op.collection, name, "an increment") from None
    return after


def patched_each(
    op: Patches, stored: Mapping[UUID, Document]
) -> tuple[tuple[Document] | None, ...]:
    """Return what patches of one document each have as results, one after the other."""
    now = dict(stored)
    results: list[tuple[Document] | None] = []
    for each in op.patches:
        (identity,) = each.ids
        after = None
        if identity in now:
            version = each.versions[0] if each.versions else None
            with suppress(IntegrityError, StaleVersionError):  # asked by itself, it is raised
                check_version(op.collection, now[identity], identity, version)
                after = now[identity] = patched(each, now[identity])
        results.append(None if after is None else (after,))
    return tuple(results)


def changed_by_id(results: Iterable[tuple[Document] | None]) -> dict[UUID, Document]:
    """Return each document that :func:`patched_each` changed, as it is after all patches."""
    return {cast(UUID, each["id"]): each for result in results for each in result or ()}


def out_of_range(collection: Collection, field: str | None, what: str) -> OutOfRangeError:
    """Return the error for arithmetic that leaves the range of a field's type."""
    return OutOfRangeError(
        f"{what} leaves the range of the field's type",
        hint="use a smaller step or fewer documents, or a Decimal field with more digits",
        entity=collection.entity,
        field=field,
    )


def plan_aggregate(op: Aggregate) -> Aggregate:
    """Return the aggregate with each average replaced by a sum and a count of the field."""
    primitive: list[Measure] = []
    for measure in op.measures:
        parts = (
            (Measure(Function.SUM, measure.field), Measure(Function.COUNT, measure.field))
            if measure.function is Function.AVG
            else (measure,)
        )
        primitive.extend(part for part in parts if part not in primitive)
    return Aggregate(op.collection, tuple(primitive), op.where, op.group, op.limit)


def finish_aggregate(op: Aggregate, rows: Sequence[Group]) -> tuple[Group, ...]:
    """Return the rows of the planned aggregate as the rows that ``op`` asked for.

    A sum of nothing becomes 0 (backends give null), averages are computed, rows are ordered.
    """
    planned = plan_aggregate(op).measures
    if len(rows) > op.limit:
        raise InvalidRequestError(
            f"the aggregate has more than {op.limit} groups",
            hint="narrow the filter or group by fewer fields",
            entity=op.collection.entity,
        )
    finished = []
    for row in rows:
        known = dict(zip(planned, row.values, strict=True))
        for measure in planned:
            known[measure] = _checked(op.collection, measure, known[measure])
        values = tuple(_finish(op.collection, measure, known) for measure in op.measures)
        finished.append(Group(row.key, values))
    return tuple(sorted(finished, key=group_order))


def group_order(row: Group) -> tuple[tuple[Any, ...], ...]:
    """Return the sort key of an aggregate's row: by its key, None smallest."""
    return tuple((0,) if value is None else (1, value) for value in row.key)


def _checked(collection: Collection, measure: Measure, value: Value) -> Value:
    """Return a measure that is no average, if it is a value of its field's type."""
    if measure.field is None or measure.function is Function.COUNT:
        return value
    kind = collection.field(measure.field).type
    summed = measure.function is Function.SUM
    if value is None:
        return _ZEROS[kind.kind](kind) if summed else None
    # Decimal sums may have more digits; extremes are stored values, and only floats can be odd.
    if kind.kind is Kind.FLOAT or (summed and kind.kind in {Kind.INTEGER, Kind.DURATION}):
        try:
            return canonicaliser(kind)(value)
        except ValueError:
            what = "a sum" if summed else f"a {measure.function}"
            raise out_of_range(collection, measure.field, what) from None
    return value


_ZEROS: dict[Kind, Callable[[FieldType], Value]] = {
    Kind.INTEGER: lambda _: 0,
    Kind.FLOAT: lambda _: 0.0,
    Kind.DECIMAL: lambda kind: of_units(0, kind.places),
    Kind.DURATION: lambda _: timedelta(0),
}


def _finish(collection: Collection, measure: Measure, known: dict[Measure, Value]) -> Value:
    if measure.function is not Function.AVG:
        return known[measure]
    total = known[Measure(Function.SUM, measure.field)]
    count = cast(int, known[Measure(Function.COUNT, measure.field)])
    if not count:
        return None
    return _AVERAGES[type(total)](total, count, collection.field(cast(str, measure.field)).type)


def _average_decimal(total: Any, count: int, kind: FieldType) -> Value:
    step = of_units(1, kind.places + _AVERAGE_PLACES)
    return EXACT.divide(total, count).quantize(step, context=EXACT)


_AVERAGES: dict[type, Callable[[Any, int, FieldType], Value]] = {
    int: lambda total, count, _: total / count,
    float: lambda total, count, _: total / count,
    timedelta: lambda total, count, _: total / count,  # timedelta divides half-even
    Decimal: _average_decimal,
}


def aggregate(op: Aggregate, documents: Iterable[Document]) -> tuple[Group, ...]:
    """Compute a planned aggregate over the documents that satisfy its filter."""
    groups: dict[tuple[Value, ...], list[Document]] = {} if op.group else {(): []}
    for document in documents:
        groups.setdefault(tuple(document[name] for name in op.group), []).append(document)
    return tuple(
        Group(key, tuple(aggregate_measure(measure, members) for measure in op.measures))
        for key, members in groups.items()
    )


def aggregate_measure(measure: Measure, documents: Sequence[Document]) -> Value:
    """Compute one measure, which is no average; a sum of nothing is None."""
    if measure.field is None:
        return len(documents)
    values = [value for each in documents if (value := each[measure.field]) is not None]
    return _MEASURES[measure.function](values)


def _sum(values: list[Any]) -> Value:
    if not values:
        return None
    if isinstance(values[0], float):
        return _float_sum(values)
    if isinstance(values[0], timedelta):
        # In integers: a partial sum may leave timedelta's own range.
        total = sum(value // _MICROSECOND for value in values)
        return timedelta.max if abs(total) > _LONGEST else timedelta(microseconds=total)
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
    Function.SUM: _sum,
    Function.MIN: lambda values: min(values, default=None),
    Function.MAX: lambda values: max(values, default=None),
}

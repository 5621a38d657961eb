"""The check of an aggregate: its group and its measures."""

from __future__ import annotations

from dataclasses import replace

from healthstore.abc.backend import Executor
from healthstore.model.filters import checked_filter
from healthstore.model.ops import Aggregate, Function, Measure
from healthstore.model.refusals import invalid
from healthstore.model.schema import Collection
from healthstore.model.values import Kind

__all__ = ("check_aggregate",)


def check_aggregate(op: Aggregate, _: Executor) -> Aggregate:
    """Return the aggregate in canonical form; raise InvalidRequestError if it has no meaning."""
    collection = op.collection
    if not op.measures:
        raise invalid(collection, "an aggregate computes nothing", "name a measure: n=Count()")
    for name in op.group:
        if not collection.field(name).type.ordered or op.group.count(name) > 1:
            raise invalid(
                collection,
                "cannot be grouped by, or is named twice",
                "group by each field once, and by no JSON or bytes",
                name,
            )
    for measure in op.measures:
        _check_measure(collection, measure)
    return replace(op, where=checked_filter(collection, op.where))


def _check_measure(collection: Collection, measure: Measure) -> None:
    name, function = measure.field, measure.function
    if name is None:
        if function is not Function.COUNT:
            raise invalid(collection, f"{function} needs a field", "name the field to measure")
        return
    kind = collection.field(name).type
    meaningless = (
        (function in _SUMMING and not kind.numeric)
        or (function in _RANKING and kind.kind in _UNRANKED)
        or (function is Function.COUNT_DISTINCT and not kind.ordered)
    )
    if meaningless:
        raise invalid(
            collection, f"{function} has no meaning for {kind.kind}", "measure another field", name
        )


_SUMMING = frozenset({Function.SUM, Function.AVG})
_RANKING = frozenset({Function.MIN, Function.MAX})
# MySQL, PostgreSQL and MongoDB do not agree on the minimum of these.
_UNRANKED = frozenset({Kind.JSON, Kind.BYTES, Kind.BOOLEAN, Kind.UUID})

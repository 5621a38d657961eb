"""All groups of an aggregate, however many: page after page, each one request.

A page is a number of groups in order of their keys, and the next one has those that come after
the last key. What is kept meanwhile is one page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from healthstore.abc.backend import Executor
from healthstore.model.evaluate import parted, taken
from healthstore.model.grouping import checked_groups
from healthstore.model.measures import Bucket, Max, Min
from healthstore.model.ops import Aggregate
from healthstore.model.query import ALL, Filter, Operator, Test
from healthstore.model.refusals import invalid
from healthstore.model.values import Kind
from healthstore.repository.aggregates import Asked

__all__ = ("stream_groups",)


async def stream_groups(asked: Asked, store: Executor, size: int) -> AsyncIterator[object]:
    """Yield the rows of all groups in order of their keys.

    Raises InvalidRequestError, before any I/O, for what :func:`checked_groups` refuses.
    """
    most = asked.op.limit
    if type(size) is not int or not 1 <= size <= most:
        raise invalid(
            asked.op.collection, f"the page size must be from 1 to {most}", "leave it out"
        )
    op = checked_groups(asked.op)
    # What no database holds groups against would take the end of a page away.
    native, rest = parted(op)
    op = replace(op, having=native, take=size)
    op = replace(op, where=op.where & await _years(op, store))
    while True:
        groups = await store.execute(op)
        for row in asked.rows(taken(groups, asked.names, rest, (), None)):
            yield row
        if not op.group or len(groups) < size:
            return
        op = replace(op, after=groups[-1].key)
        del groups  # or two pages would be in memory


async def _years(op: Aggregate, store: Executor) -> Filter:
    """Return a filter that says between which instants the keys are of which there are buckets.

    So a database is told the offsets of all of them, and can sort buckets and cut pages.
    """
    names = [
        key.field
        for key in op.group
        if isinstance(key, Bucket) and op.collection.field(key.field).type.kind is Kind.DATETIME
    ]
    if not names:
        return ALL
    measures = tuple(measure(name) for name in names for measure in (Min, Max))
    (ends,) = await store.execute(Aggregate(op.collection, measures, op.where))
    found: Filter = ALL
    for name, first, last in zip(names, ends.values[::2], ends.values[1::2], strict=True):
        if first is not None:
            within = Test(name, Operator.GE, first) & Test(name, Operator.LE, last)
            found = found & (within | Test(name, Operator.IS_NULL))
    return found

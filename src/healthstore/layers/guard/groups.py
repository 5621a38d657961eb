"""An aggregate: the check of its group and its measures, and what the core completes of it."""

from __future__ import annotations

from dataclasses import replace

from healthstore.abc.backend import Executor
from healthstore.layers.guard.filters import checked_where, require_found
from healthstore.model.evaluate import (
    asked_years,
    beyond_time,
    finish_aggregate,
    groups_after,
    plan_aggregate,
    unknown_buckets,
    years_between,
)
from healthstore.model.evaluate.buckets import Years
from healthstore.model.grouping import checked_groups
from healthstore.model.ops import Aggregate, Group
from healthstore.model.query import And
from healthstore.model.values import Kind

__all__ = ("check_aggregate", "completed_aggregate")


async def completed_aggregate(op: Aggregate, store: Executor) -> tuple[Group, ...]:
    """Run a checked aggregate, and finish what adapters leave to the core.

    A bucket whose instants are not all in the years that were expected takes two requests more:
    for the years in which there are rows, and for the groups. Outside of a unit others may write
    in between; what they add in years that were not known is asked for once more.
    """
    years: dict[str, Years] = {}
    while True:
        planned = plan_aggregate(op, years)
        rows = await store.execute(planned)
        unknown = unknown_buckets(planned, rows)
        if not unknown:
            return finish_aggregate(op, rows, planned)
        for field in unknown:
            found = years_between(await store.execute(asked_years(op, field)))
            if op.collection.field(field).type.kind is Kind.DATE or found == years.get(field):
                raise beyond_time(op, field)
            years[field] = found


def check_aggregate(op: Aggregate, store: Executor) -> Aggregate:
    """Return the aggregate in canonical form.

    Raises InvalidRequestError if it has no meaning, and CapabilityError for what the store cannot
    find.
    """
    checked = checked_groups(op)
    require_found(op.collection, checked.terms, store)
    where = checked_where(op.collection, op.where, store)
    if op.after is not None:
        where = And(
            (where, groups_after(op.collection, checked.group, checked.after or (), checked.terms))
        )
    return replace(checked, where=where, after=None)

"""Plans of queries: what a database says of a statement, read without its values."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from healthstore.model.plans import PRIMARY, QueryPlan
from healthstore.model.schema import Collection

if TYPE_CHECKING:
    from healthstore.adapters.sql.dialect import Connection, Row

__all__ = ("Planner", "masked", "plan_of")

# A text with its prefix, or a number that is no part of a name; names may stand in quotes.
_LITERAL = re.compile(
    r"""(?P<name>"[^"]*"|`[^`]*`) | \b[EBXN]?'(?:[^'\\]|''|\\.)*' | '(?:[^'\\]|''|\\.)*'
    | (?<![\w.$])-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """How a database is asked for its plan of a statement, and how the answer is read."""

    prefix: str
    """What stands before a statement that is explained and not run."""
    read: Callable[[Sequence[Sequence[Any]], str], QueryPlan]
    """From the answer's rows and our statement."""
    primary: str
    """What the names of the indexes of primary keys look like; ours end otherwise."""
    columns: str = ""
    """The query for the columns of an index that the database has named; empty where we name all."""
    refresh: str
    """The statement that renews the statistics of a table; its place is for the quoted name."""


async def plan_of(
    planner: Planner, connection: Connection, collection: Collection, statement: str, values: Row
) -> QueryPlan:
    """Return the database's plan of a statement, with the index by the name that we give it."""
    plan = planner.read(await connection.fetch(planner.prefix + statement, values), statement)
    name = plan.index
    if name is None or name in collection.index_names:
        return plan
    if re.fullmatch(planner.primary, name):
        return replace(plan, index=PRIMARY)
    if planner.columns:
        columns = tuple(row[0] for row in await connection.fetch(planner.columns, (name,)))
        names = {fields: ours for ours, fields in collection.stored.index_names.items()}
        return replace(plan, index={**names, ("id",): PRIMARY}.get(columns, name))
    return plan


def masked(expression: str) -> str:
    """Return an expression of SQL with a ``?`` for each literal; names stay."""
    return _LITERAL.sub(lambda found: found["name"] or "?", expression)

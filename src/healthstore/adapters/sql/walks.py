"""Walks along an index: the first rows of each group, without a look at the others.

An index that begins with the fields of the groups, and goes on with what sorts them, has the first
rows of each group beside one another. A window reads all rows and sorts them; a walk asks for the
next group, and then for the first rows of each: a few probes a group, however many rows it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Table,
    and_,
    literal_column,
    select,
    true,
    tuple_,
    type_coerce,
)

from healthstore.model.ops import Leading
from healthstore.model.query import fields_in, lookups

__all__ = ("Asked", "Walk", "by_distinct", "by_recursion", "is_walked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a walk is asked for: the columns of the first rows of each group."""

    table: Table
    shown: tuple[str, ...]
    per: tuple[str, ...]
    """The fields of the groups, none of which may be null."""
    where: Callable[[FromClause], ColumnElement[bool]]
    """Which groups are wanted, by their fields alone."""
    order: Callable[[FromClause], Sequence[ColumnElement[Any]]]
    """What sorts the rows of a group."""
    first: ColumnElement[Any]
    """How many rows of each group; by its parameter."""
    limit: ColumnElement[Any]
    """How many rows at most, and so how many groups."""


@dataclass(frozen=True, slots=True)
class Walk:
    """How a database walks along an index."""

    statement: Callable[[Asked], tuple[Select[Any], FromClause]]
    """The statement, not sorted yet, and the rows that it shows."""
    most: int | None = None
    """How many rows of each group it finds; None for any number."""


def is_walked(op: Leading, walk: Walk | None) -> bool:
    """Tell whether an index serves an operation by a walk.

    It has the fields of the groups, which are never null, in the order in which they sort, then
    the one that sorts their rows, and holds all rows. The filter tells groups only: one that looks at their rows would make a walk
    read on and on.
    """
    if walk is None or (walk.most is not None and op.first > walk.most):
        return False
    by = op.order[0].column
    if not (isinstance(by, str) and all(isinstance(each, str) for each in op.per)):
        return False
    per = cast("tuple[str, ...]", op.per)
    if any(map(op.collection.nullable, per)) or not fields_in(op.where) <= {*per}:
        return False
    if next(lookups(op.where), None) is not None:
        return False
    return any(
        each.where is None and each.keys[: len(per) + 1] in {(*per, by), (*per, f"-{by}")}
        for each in op.collection.indexes
    )


def by_recursion(asked: Asked) -> tuple[Select[Any], FromClause]:
    """Walk from one group to the next by recursion, and to its rows by LATERAL."""
    one: ColumnElement[Any] = literal_column("1")

    def next_group(rows: FromClause, *clauses: ColumnElement[bool]) -> Select[Any]:
        columns = [rows.c[name] for name in asked.per]
        found = select(*columns).where(asked.where(rows), *clauses)
        return found.order_by(*columns).limit(one)

    start = next_group(asked.table.alias("_start")).subquery("_first")
    number = type_coerce(one, Integer()).label("_number")
    groups = select(*(start.c[name] for name in asked.per), number).cte("_groups", recursive=True)
    rows = asked.table.alias("_rows")
    beyond = tuple_(*(rows.c[name] for name in asked.per)) > tuple_(
        *(groups.c[name] for name in asked.per)
    )
    following = next_group(rows, beyond).lateral("_following")
    groups = groups.union_all(
        select(*(following.c[name] for name in asked.per), groups.c["_number"] + one)
        .select_from(groups.join(following, true()))
        .where(groups.c["_number"] < asked.limit)
    )
    rows = asked.table.alias("_of")
    own = and_(*(rows.c[name] == groups.c[name] for name in asked.per))
    found = select(*(rows.c[name] for name in asked.shown)).where(own)
    led = found.order_by(*asked.order(rows)).limit(asked.first).lateral("_led")
    columns = [led.c[name] for name in asked.shown]
    return cast("Select[Any]", select(*columns).select_from(groups.join(led, true()))), led


def by_distinct(asked: Asked) -> tuple[Select[Any], FromClause]:
    """Take the different groups, and of each the id of its first row."""
    rows = asked.table.alias("_rows")
    columns = [rows.c[name] for name in asked.per]
    distinct = select(*columns).where(asked.where(rows)).distinct()
    groups = distinct.order_by(*columns).limit(asked.limit).subquery("_groups")
    of = asked.table.alias("_of")
    own = and_(*(of.c[name] == groups.c[name] for name in asked.per))
    first = select(of.c.id).where(own).order_by(*asked.order(of)).limit(literal_column("1"))
    led = asked.table.alias("_led")
    same = led.c.id == first.scalar_subquery().correlate(groups)
    found = select(*(led.c[name] for name in asked.shown)).select_from(groups.join(led, same))
    return found, led

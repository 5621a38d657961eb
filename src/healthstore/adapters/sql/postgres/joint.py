"""Changes of many documents, each by its own values, as one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    ClauseElement,
    ColumnElement,
    Integer,
    Numeric,
    String,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    func,
    select,
    update,
)
from sqlalchemy.types import Double, TypeEngine

from healthstore.adapters.sql.changes import assigned
from healthstore.model.ops import Patch
from healthstore.model.schema import Collection

__all__ = ("element_of", "joint_patch", "joint_update")


def element_of(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type of an array's elements that are compared with, or put into, a column.

    It has no collation, length or places of its own: those of the column count, and a cast to
    others would cut a value without a word.
    """
    if isinstance(kind, String):
        return Text()
    if isinstance(kind, Numeric) and not isinstance(kind, Double):
        return Numeric()
    return kind


def _arrays(kinds: Sequence[TypeEngine[Any]]) -> list[ColumnElement[Any]]:
    return [
        cast(bindparam(str(place), type_=ARRAY(kind)), ARRAY(kind))
        for place, kind in enumerate(kinds)
    ]


def _rows_of(arrays: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    """Return the columns of a table that has a row for each place of the arrays."""
    named = [f"p{place}" for place in range(len(arrays))]
    wanted = func.unnest(*arrays).table_valued(*named).render_derived(name="wanted")
    return [wanted.c[each] for each in named]


def joint_update(table: Table, names: Sequence[str], found_by: Sequence[str]) -> ClauseElement:
    """Set columns of rows that are found by others, from an array for each of both, in order."""
    bound = [table.c[name] for name in (*names, *found_by)]
    given = _rows_of(_arrays([element_of(each.type) for each in bound]))
    found = [
        table.c[name] == value for name, value in zip(found_by, given[len(names) :], strict=True)
    ]
    return update(table).where(*found).values(dict(zip(names, given, strict=False)))


def joint_patch(table: Table, collection: Collection, patch: Patch) -> ClauseElement:
    """Set and increment documents by arrays: one for each value of ``patch``, as it binds them.

    A last array has a number for each document, which its row ends with. A document that is
    missing, that a guard keeps or that somebody else holds is left out. Rows are locked first,
    in order of their ids, so that nobody is waited for
    (https://www.postgresql.org/docs/current/sql-select.html#SQL-FOR-UPDATE-SHARE).
    """
    increments = [name for name, _ in patch.increments]
    changed = [name for name, _ in patch.changes]
    guarded = ["version"] if patch.versions is not None else []
    bound = [table.c[name] for name in (*changed, "id", *guarded)]
    kinds = [*(element_of(each.type) for each in bound), Integer()]
    arrays = _arrays(kinds)
    given = _rows_of(arrays)
    identity = len(changed)
    free = (
        select(table.c.id)
        .where(table.c.id == any_(arrays[identity]))
        .order_by(table.c.id)
        .with_for_update(key_share=True, skip_locked=True)
        .cte("free")
    )
    clauses: list[ColumnElement[bool]] = [
        table.c.id == free.c.id,
        table.c.id == given[identity],
        *(table.c[name] == given[identity + 1] for name in guarded),
        *(table.c[name].is_not(None) for name in increments if collection.nullable(name)),
    ]
    values = dict(assigned(table, patch, lambda place, _: given[place]))
    shown = [table.c[name] for name in collection.names]
    return update(table).where(*clauses).values(values).returning(*shown, given[-1])

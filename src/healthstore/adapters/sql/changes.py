"""Changes of rows by their own statements: what a patch assigns, and writes by a condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ClauseElement, ColumnElement, Table, case, delete, update

from healthstore.model.ops import DeleteWhere, Patch, PatchWhere
from healthstore.model.query import And, Filter, Lookup, Operator, Or, Test, lookups, normalise
from healthstore.model.schema import Collection

if TYPE_CHECKING:
    from healthstore.adapters.sql.compile import Statements
    from healthstore.adapters.sql.compiled import Compiled

__all__ = (
    "Assigning",
    "assigned",
    "delete_where",
    "looks_into_itself",
    "patch_where",
    "with_values",
)


Assigning: TypeAlias = Callable[[int, ColumnElement[Any]], ColumnElement[Any]]
"""From the place of a value among those of a write, and its column, to what stands for it."""


def assigned(table: Table, op: Patch, operand: Assigning) -> Mapping[str, ColumnElement[Any]]:
    """Return what an UPDATE sets for a patch: values, sums with what is there, the larger one.

    ``operand`` is asked for what stands for each value in the order of ``op.changes``. No column
    is named twice, so the order of the assignments says nothing.
    """
    values: dict[str, ColumnElement[Any]] = {}
    for name, _ in op.sets:
        values[name] = operand(len(values), table.c[name])
    for name, _ in op.increments:
        values[name] = table.c[name] + operand(len(values), table.c[name])
    for name, _ in op.at_least:
        column, least = table.c[name], operand(len(values), table.c[name])
        values[name] = case((column >= least, column), else_=least)  # null is not >=
    for name, _ in op.at_most:
        column, most = table.c[name], operand(len(values), table.c[name])
        values[name] = case((column <= most, column), else_=most)
    return values


def patch_where(statements: Statements, op: PatchWhere) -> tuple[Compiled, Sequence[Any]]:
    """Set and increment the documents that satisfy a filter."""
    change = statements.kept(op.as_patch())

    def build(table: Table, clause: ColumnElement[bool], operand: Assigning) -> ClauseElement:
        return update(table).where(clause).values(dict(assigned(table, change, operand)))

    values = [statements.encode(name, value) for name, value in change.changes]
    return statements.writing(("patch_where", change.form), op.where, values, build)


def delete_where(statements: Statements, op: DeleteWhere) -> tuple[Compiled, Sequence[Any]]:
    """Delete the documents that satisfy a filter."""
    return statements.writing(
        ("delete_where",), op.where, (), lambda table, clause, _: delete(table).where(clause)
    )


def with_values(op: PatchWhere) -> tuple[Filter | None, PatchWhere]:
    """Return the filter of documents that have nothing to add to, and the change of the others.

    The filter is None where there are none of them. What the change leaves as it is is found by
    the filter afterwards, too.
    """
    collection = op.collection
    nullable = [name for name, _ in op.increments if collection.nullable(name)]
    if not nullable:
        return None, op
    nulls = Or(tuple(Test(name, Operator.IS_NULL) for name in nullable))
    valued = And(tuple(Test(name, Operator.NOT_NULL) for name in nullable))
    changed = normalise(op.where & valued, collection.nullable)
    return normalise(op.where & nulls, collection.nullable), replace(op, where=changed)


def looks_into_itself(collection: Collection, where: Filter) -> bool:
    """Tell whether a filter asks a query of the same collection, which a write would change."""
    return any(_leads_to(collection, each) for each in lookups(where))


def _leads_to(collection: Collection, lookup: Lookup) -> bool:
    inner = lookup.collection
    return inner.name == collection.name or any(
        _leads_to(collection, each) for each in lookups(lookup.where)
    )

"""Changes of rows by their own statements: what a patch assigns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Table, case

from healthstore.model.ops import Patch

__all__ = ("Assigning", "assigned")


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

"""The rows that an aggregate groups: those of a table, or one for each element of a list in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import ColumnElement, FromClause, Table, select, true, type_coerce

from healthstore.adapters.sql.dialect import Converter, Dialect
from healthstore.model.measures import grouped_field
from healthstore.model.ops import Aggregate
from healthstore.model.values import FieldType, Kind

__all__ = ("converter", "source")


def source(
    op: Aggregate, table: Table, dialect: Dialect, clause: ColumnElement[bool]
) -> tuple[FromClause, ColumnElement[bool]]:
    """Return where the rows are, and the clause that they satisfy there."""
    if op.unwind is None:
        return table, clause
    name, kind = op.unwind.field, op.unwind.type
    elements, value, fits = dialect.paths.elements(table.c[name], kind.kind)
    measured = (name for each in op.measures for name in (each.field, each.by) if name is not None)
    names = {*map(grouped_field, op.group), *measured, "id"} - {name}
    columns = [table.c[each] for each in sorted(names)]
    element = type_coerce(value, dialect.column_type(kind, False)).label(name)  # noqa: FBT003 - it has no index
    rows = select(*columns, element).select_from(table, elements).where(clause, fits)
    return rows.subquery("_unwound"), true()


def converter(
    op: Aggregate,
    name: str,
    own: Converter | None,
    table: Mapping[Kind, Callable[[FieldType], Converter | None]],
) -> Converter | None:
    """Return what converts values of a field of the rows, which is the collection's own or not."""
    if op.unwind is None or op.unwind.field != name:
        return own
    return table[op.unwind.type.kind](op.unwind.type)

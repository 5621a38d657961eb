"""The rows that an aggregate groups: those of a table, with parts of JSON, unwound, or as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Table, and_, select, true, type_coerce

from healthstore.adapters.sql.dialect import Converter, Dialect
from healthstore.adapters.sql.paths import term_column
from healthstore.model.measures import grouped_field
from healthstore.model.ops import Aggregate
from healthstore.model.values import FieldType, Kind

__all__ = ("converters", "source")


def source(
    op: Aggregate, table: Table, dialect: Dialect, clause: ColumnElement[bool]
) -> tuple[FromClause, ColumnElement[bool]]:
    """Return where the rows are, and the clause that they satisfy there."""
    if op.unwind is None and not op.terms:
        return table, clause
    made = {
        name: (term_column(each, table.c[each.field], dialect.paths), each.type)
        for name, each in op.named_terms
    }
    sources: list[FromClause] = [table]
    if op.unwind is not None:
        name, kind = op.unwind.field, op.unwind.type
        elements, value, fits = dialect.paths.elements(table.c[name], kind.kind)
        made[name] = value, kind
        sources.append(elements)
        clause = and_(clause, fits)
    measured = (name for each in op.measures for name in (each.field, each.by) if name is not None)
    names = {*map(grouped_field, op.group), *measured, "id"} - made.keys()
    columns: list[ColumnElement[Any]] = [table.c[each] for each in sorted(names)]
    for name, (value, kind) in made.items():
        of_kind = dialect.column_type(kind, False)  # noqa: FBT003 - it has no index
        columns.append(type_coerce(value, of_kind).label(name))
    rows = select(*columns).select_from(*sources).where(clause)
    return rows.subquery("_source"), true()


def converters(
    op: Aggregate,
    own: Mapping[str, Converter | None],
    table: Mapping[Kind, Callable[[FieldType], Converter | None]],
) -> Mapping[str, Converter | None]:
    """Return what converts the values of each field of the rows: the collection's own, or others."""
    kinds = {name: each.type for name, each in op.named_terms}
    if op.unwind is not None:
        kinds[op.unwind.field] = op.unwind.type
    made = {name: table[kind.kind](kind) for name, kind in kinds.items()}
    return {**own, **made} if made else own

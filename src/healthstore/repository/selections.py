"""Selections: some columns of the documents of a filter, as rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from healthstore.abc.backend import Executor
from healthstore.entity import Entity, collection_of, column_of, column_reader
from healthstore.errors import InvalidRequestError
from healthstore.model.collector import collector_paused
from healthstore.model.ops import Find
from healthstore.model.parts import checked_column
from healthstore.model.query import FieldOrTerm, column_key
from healthstore.model.values import Document
from healthstore.repository.cursors import Query
from healthstore.repository.pages import MAX_ALL, MAX_PAGE, read_all, too_many
from healthstore.repository.rows import row_maker

__all__ = ("Selection", "select", "selection")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which columns of a document are asked for, and what makes a row of them."""

    columns: tuple[FieldOrTerm, ...]
    row: Callable[[Document], object]


def selection(
    entity: type[Entity],
    columns: Sequence[object],
    named: Mapping[str, object],
    into: type[object] | None,
) -> Selection:
    """Return the selection of fields and parts of JSON, each by its own name or by a given one.

    Raises UnknownFieldError for what is no field, and InvalidRequestError for no column, two of
    one name, a field of another entity, and rows that ``into`` cannot be made of.
    """
    wanted: dict[str, FieldOrTerm] = {}
    plain = [(None, each) for each in columns]
    for given, each in (*plain, *named.items()):
        column = checked_column(collection_of(entity), column_of(entity, each))
        name = given or str(column)
        if name in wanted:
            other = repr(column if isinstance(column, str) else each)
            raise InvalidRequestError(
                f"two columns of a row have the name {name!r}",
                hint=f"select it once, or give it another name: other={other}",
                entity=entity.__name__,
            )
        wanted[name] = column
    if not wanted:
        raise InvalidRequestError(
            "a selection names no column", hint='name one: select("id")', entity=entity.__name__
        )
    read = _rows(entity, wanted)
    distinct = tuple(dict.fromkeys(wanted.values()))
    if into is None:
        return Selection(distinct, read)
    make = row_maker(into, wanted, entity.__name__)
    return Selection(distinct, lambda document: make(read(document)))


def _rows(
    entity: type[Entity], wanted: Mapping[str, FieldOrTerm]
) -> Callable[[Document], dict[str, object]]:
    """Return what makes of a document a row of the attributes' values, and of those of parts."""
    readers = [
        (name, column_key(each), column_reader(entity, each) if isinstance(each, str) else None)
        for name, each in wanted.items()
    ]

    def read(document: Document) -> dict[str, object]:
        row: dict[str, object] = {}
        for name, key, convert in readers:
            value = document[key]
            row[name] = value if value is None or convert is None else convert(value)
        return row

    return read


async def select(
    executor: Executor,
    query: Query,
    chosen: Selection,
    *,
    limit: int | None,
    distinct: bool,
) -> list[object]:
    """Return the rows of a selection, ``limit`` at most, or all up to a bound.

    Raises InvalidRequestError when they are more than that.
    """
    if limit is not None and (type(limit) is not int or not 1 <= limit <= MAX_PAGE):
        raise InvalidRequestError(
            f"the limit must be from 1 to {MAX_PAGE}, or None",
            hint="use stream() for everything",
            entity=query.collection.entity,
        )
    if limit is None and not distinct:
        # A page begins behind the last one's keys: they are read with it.
        keys = (key.column for key in query.orders)
        columns = tuple(dict.fromkeys((*chosen.columns, *keys)))
        return [*await read_all(executor, replace(query, columns=columns), chosen.row)]
    size = MAX_ALL + 1 if limit is None else limit
    op = Find(
        query.collection,
        query.where,
        query.orders,
        size,
        columns=chosen.columns,
        distinct=distinct,
    )
    found = await executor.execute(op)
    if limit is None and len(found) > MAX_ALL:
        raise too_many(query.collection, MAX_ALL)
    with collector_paused():
        return [chosen.row(each) for each in found]

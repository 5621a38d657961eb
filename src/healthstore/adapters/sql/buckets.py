"""Buckets of time as columns: instants are cut by offsets that stand in the statement.

No database is asked for a zone: some have none, some have others than this process, and one takes
the later of two midnights. The core gives each bucket the offsets of its zone; they are a part of
the statement's shape, as names of columns are, and no value of a document is among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, case, literal_column, null
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import NULLTYPE

from healthstore.adapters.sql.dialect import Buckets
from healthstore.model.evaluate import first_covered_day, halfway
from healthstore.model.ops import Bucket
from healthstore.model.values import FieldType, Kind
from healthstore.model.zones import Unit

__all__ = ("bucket_column", "written")


class _Written(ColumnElement[Any]):
    """Text of a dialect with clauses in its places, each in parentheses of its own."""

    inherit_cache = False
    type = NULLTYPE

    def __init__(self, template: str, parts: Sequence[ColumnElement[Any]]) -> None:
        self.template = template
        self.parts = parts


@compiles(_Written)
def _write(written: _Written, compiler: Any, **options: Any) -> str:
    parts = [compiler.process(each, **options) for each in written.parts]
    return f"({written.template.format(*parts)})"


def written(template: str, *parts: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a clause of a dialect's own words; ``{0}`` is the first part.

    A percent sign is written as the driver takes it.
    """
    return _Written(template, parts)


def bucket_column(
    bucket: Bucket, column: ColumnElement[Any], kind: FieldType, buckets: Buckets
) -> ColumnElement[Any]:
    """Return the column of a planned bucket; ``read`` of the dialect makes its key of a value.

    It is null where the core has given no offset.
    """
    unit = Unit(bucket.unit)
    if kind.kind is Kind.DATE:
        found = buckets.of_date(column, unit, bucket.week_start)
        first = first_covered_day(bucket)
        if first == date.min:
            return found
        return case((column >= literal_column(buckets.day(first)), found))
    offset = _offset(bucket, column, buckets, 0, len(bucket.offsets))
    return buckets.of_instant(column, offset, unit, bucket.week_start)


def _offset(
    bucket: Bucket, column: ColumnElement[Any], buckets: Buckets, low: int, high: int
) -> ColumnElement[Any]:
    """Return the offset of an instant: a CASE by halves, of which it takes a few steps."""
    if high - low == 1:
        _, offset = bucket.offsets[low]
        return null() if offset is None else literal_column(buckets.offset(offset))
    middle = halfway(bucket.offsets, low, high)
    at, _ = bucket.offsets[middle]
    return case(
        (
            column < literal_column(buckets.instant(at)),
            _offset(bucket, column, buckets, low, middle),
        ),
        else_=_offset(bucket, column, buckets, middle, high),
    )

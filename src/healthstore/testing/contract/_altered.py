"""What the contract's tests of alterations share: definitions, types of fields and rows."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

from healthstore.abc import Backend
from healthstore.model.catalog import CATALOG, catalog_id, from_definition
from healthstore.model.ops import (
    Ensure,
    Get,
    Insert,
)
from healthstore.model.schema import (
    Check,
    Collection,
    Field,
    Index,
    Reference,
    Unique,
)
from healthstore.model.values import Document, FieldType, Kind, Value
from healthstore.testing.contract._samples import (
    identity,
)

__all__ = (
    "KEY",
    "LABEL",
    "NAME",
    "NUMBER",
    "decimal_of",
    "definition_of",
    "enum_of",
    "extreme",
    "prepare",
    "row_of",
    "text_of",
    "things",
)

KEY = (Field("id", FieldType(Kind.UUID)), Field("version", FieldType(Kind.INTEGER)))
LABEL = FieldType(Kind.TEXT, max_length=40)
NUMBER = FieldType(Kind.INTEGER)
NAME = Field("name", LABEL)


def text_of(length: int | None) -> FieldType:
    return FieldType(Kind.TEXT, max_length=length)


def decimal_of(digits: int, places: int = 4) -> FieldType:
    return FieldType(Kind.DECIMAL, digits=digits, places=places)


def enum_of(*choices: str) -> FieldType:
    return FieldType(Kind.ENUM, choices=choices)


def extreme(kind: FieldType) -> tuple[Decimal, ...]:
    """Return the numbers at the ends of a type, and some between."""
    most = Decimal(10**kind.digits - 1).scaleb(-kind.places)
    step = Decimal(1).scaleb(-kind.places)
    return (-most, -most + step, -step, Decimal(0).scaleb(-kind.places), step, most - step, most)


def things(
    *fields: Field,
    name: str = "",
    uniques: tuple[Unique, ...] = (),
    indexes: tuple[Index, ...] = (),
    references: tuple[Reference, ...] = (),
    checks: tuple[Check, ...] = (),
) -> Collection:
    fresh = name or f"made_{uuid4().hex[:12]}"
    parts = (uniques, indexes, references, checks)
    return Collection(fresh, (*KEY, *fields), *parts, entity="Thing")


def row_of(number: int, /, **values: Value) -> Document:
    return {"id": identity(number), "version": 1, **values}


async def prepare(store: Backend, collection: Collection, *rows: Document) -> None:
    await store.execute(Ensure((collection,)))
    for row in rows:
        await store.execute(Insert(collection, (row,)))


async def definition_of(store: Backend, name: str) -> Collection:
    (row,) = await store.execute(Get(CATALOG, (catalog_id(name),)))
    assert row is not None
    return from_definition(row["definition"])

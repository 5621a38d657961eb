"""Readings with a field of each kind, and filters of them as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import EmailStr, Field, JsonValue, TypeAdapter

from healthstore import Digits, Entity, Filter, MaxLength, Milliseconds
from healthstore.entity import collection_of, to_documents
from healthstore.errors import (
    InvalidRequestError,
)
from healthstore.filters import parse
from healthstore.model.query import And, Not, Operator, Or, OtherField, Test
from healthstore.model.values import Kind, Value
from healthstore.testing.edges import EDGES
from healthstore.testing.strategies import filters


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Grade(IntEnum):
    LOW = 1
    HIGH = 2


class Reading(Entity, collection="readings"):
    """A field of each kind, by the names of EDGES, and some of the entity's own."""

    text: str | None = None
    label: Annotated[str, MaxLength(100)] | None = None
    number: int | None = None
    flag: bool | None = None
    ratio: float | None = None
    amount: Annotated[Decimal, Digits(28, 10)] | None = None
    price: Annotated[Decimal, Digits(12, 4)] | None = None
    moment: datetime | None = None
    moment_ms: Annotated[datetime, Milliseconds()] | None = None
    day: date | None = None
    clock: time | None = None
    span: timedelta | None = None
    owner: UUID | None = None
    blob: bytes | None = None
    data: JsonValue = None
    level: Literal["low", "High", "mid", "äußerst"] | None = None
    colour: Colour | None = None
    grade: Grade | None = None
    address: IPv4Address | None = None
    email: EmailStr | None = None
    share: Annotated[int, Field(ge=0, le=100)] | None = None


COLLECTION = collection_of(Reading)
NAMES = COLLECTION.names


def _entities() -> Iterator[Reading]:
    """Yield readings that mix the edges of all kinds with nulls."""
    for at in range(30):
        row: dict[str, Any] = {
            name: None if (at * 7 + place * 3) % 5 == 0 else edges[(at + place) % len(edges)]
            for place, (name, edges) in enumerate(EDGES.items())
        }
        yield Reading(
            **row,
            id=UUID(int=at),
            colour=[Colour.RED, None][at % 2],
            grade=[Grade.HIGH, Grade.LOW, None][at % 3],
            address=IPv4Address(at),
        )


READINGS = tuple(_entities())
# The kinds that JSON has no type for, and how their values are written.
WRITTEN: dict[Kind, Callable[[Any], Any]] = {
    Kind.DECIMAL: str,
    Kind.UUID: str,
    Kind.DATETIME: datetime.isoformat,
    Kind.DATE: date.isoformat,
    Kind.TIME: time.isoformat,
    Kind.DURATION: lambda value: TypeAdapter(timedelta).dump_python(value, mode="json"),
    Kind.BYTES: bytes.decode,
}
NAMED = {
    **{each: each.value for each in (Operator.EQ, Operator.NE, Operator.LT, Operator.LE)},
    **{each: each.value for each in (Operator.GT, Operator.GE, Operator.IN)},
    Operator.NOT_IN: "not_in",
    Operator.IS_NULL: "is_null",
    Operator.NOT_NULL: "not_null",
    Operator.CONTAINS: "contains",
    Operator.STARTS: "startswith",
    Operator.ENDS: "endswith",
}
POSITIVE = {
    Operator.NOT_CONTAINS: Operator.CONTAINS,
    Operator.NOT_STARTS: Operator.STARTS,
    Operator.NOT_ENDS: Operator.ENDS,
}


def read(data: object, **options: Any) -> Filter:
    """Parse a filter of readings; every field is allowed."""
    return parse(data, Reading, allow=NAMES, **options)


def refusal(data: object) -> InvalidRequestError | None:
    """Return the error that refuses a filter, None if it is none."""
    try:
        read(data)
    except InvalidRequestError as error:
        return error
    return None


def a_test(field: str, op: str, value: object) -> dict[str, object]:
    """Return a test as JSON."""
    return {"field": field, "op": op, "value": value}


def written(where: Filter) -> Any:
    """Return a filter as JSON, from which it is parsed."""
    if isinstance(where, And | Or):
        return {type(where).__name__.lower(): [written(each) for each in where.items]}
    if isinstance(where, Not):
        return {"not": written(where.item)}
    found: dict[str, Any] = {"field": where.field, "op": NAMED[where.operator]}
    if where.operator in {Operator.IS_NULL, Operator.NOT_NULL}:
        return found
    write = WRITTEN.get(COLLECTION.field(where.field).type.kind, lambda value: value)

    def one(value: Value) -> Any:
        return None if value is None else write(value)

    operand = where.operand
    found["value"] = [*map(one, operand)] if isinstance(operand, tuple) else one(operand)
    return found


def positive(where: Filter) -> Filter:
    """Return a filter without the operators that JSON spells by ``not``, and without second fields."""
    if isinstance(where, And | Or):
        return type(where)(tuple(map(positive, where.items)))
    if isinstance(where, Not):
        return Not(positive(where.item))
    if isinstance(where.operand, OtherField):  # in JSON a field is held against a value
        return Test(where.field, Operator.NOT_NULL)
    if where.operator in POSITIVE:
        return Not(Test(where.field, POSITIVE[where.operator], where.operand))
    return where


ASKED = filters(COLLECTION, to_documents(READINGS), matched=False).map(positive)

"""Values of JSON to compare an entity's fields with, spelled as the entity reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, cast
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from healthstore.entity.declare import Entity
from healthstore.entity.derive import derive
from healthstore.entity.reading import reason
from healthstore.model.advice import AdvisedError
from healthstore.model.filters import canonical_filter
from healthstore.model.query import ELEMENTS, TEXTUAL, Operator, Part, Term, Test
from healthstore.model.refusals import refused
from healthstore.model.values import Kind, Value

__all__ = ("parse_part_test", "parse_test")

_SURE: Final = 15
"""Digits that every float keeps: a number that was written with so many is still that number."""
_MOST_BITS: Final = 100
"""No integer of a Decimal's 28 digits takes more, and a longer one takes time to convert."""


def parse_test(entity: type[Entity], name: str, operator: Operator, value: object) -> Test:
    """Return the test of a field, with a value as JSON holds it made canonical.

    The value of IN and NOT_IN is a tuple of them. A text stands for an instant, a date, a time, a
    duration, a UUID, a Decimal or bytes as where the entity is made of it; nothing else is
    converted, and no validator of the entity is asked: what a filter compares with need not be a
    value of the field. Raises UnknownFieldError, InvalidRequestError for a test that has no
    meaning for the field, and RefusedValueError for a value of another type.
    """
    collection = derive(entity).collection
    # An element of a list is a value of JSON, whatever the program reads numbers as.
    kind = Kind.FLOAT if operator in ELEMENTS else collection.field(name).type.kind
    read = _READERS.get(kind)
    operand = cast("Value | tuple[Value, ...]", value)
    try:
        # A search is for a part of a text, which need be no value; elsewhere it is refused.
        if read is not None and operator not in TEXTUAL:
            if isinstance(operand, tuple):
                operand = tuple(None if each is None else read(each) for each in operand)
            elif operand is not None:
                operand = read(operand)
    except (TypeError, ValueError) as error:
        raise refused(collection, name, error) from None
    return cast(Test, canonical_filter(collection, Test(name, operator, operand)))


def parse_part_test(entity: type[Entity], term: Term, operator: Operator, value: object) -> Test:
    """Return the test of a part of JSON, or of a term, as :func:`parse_test` does of a field."""
    collection = derive(entity).collection
    values = value if isinstance(value, tuple) else (value,)
    read = tuple(_read_float(each) for each in cast("tuple[object, ...]", values))
    operand = read if isinstance(value, tuple) else read[0]
    part = Part(term.steps) if term.kind is Kind.JSON else term.part
    return cast(Test, canonical_filter(collection, Test(term.field, operator, operand, None, part)))


def _of_text(kind: type, example: str) -> Callable[[object], Value]:
    """Return what reads a text as pydantic does where it makes an entity."""
    parser: TypeAdapter[object] = TypeAdapter(kind)

    def read(value: object) -> Value:
        if not isinstance(value, str):
            # A number might be seconds or milliseconds, and a list is no value.
            raise AdvisedError(f"expects a text, not {type(value).__name__}", f"write {example}")
        try:
            return cast(Value, parser.validate_python(value))
        except ValidationError as error:
            raise AdvisedError(reason(error), f"write {example}") from None

    return read


_decimal = _of_text(Decimal, '"72.5"')


def _read_decimal(value: object) -> Value:
    if isinstance(value, Decimal):
        return value
    if type(value) is int:
        if value.bit_length() > _MOST_BITS:
            raise ValueError("is an integer of more digits than a Decimal keeps")
        return value
    if type(value) is float:
        written = Decimal(repr(value))
        if len(written.as_tuple().digits) > _SURE:
            raise AdvisedError("has more digits than a float surely keeps", 'write "72.5", a text')
        return written
    return _decimal(value)


def _read_float(value: object) -> Value:
    # Of a program that reads numbers of JSON as Decimals, for the sake of other fields.
    return float(value) if isinstance(value, Decimal) else cast(Value, value)


_READERS: Mapping[Kind, Callable[[object], Value]] = {
    Kind.FLOAT: _read_float,
    Kind.DECIMAL: _read_decimal,
    Kind.DATETIME: _of_text(datetime, '"2026-01-31T07:30:00Z"'),
    Kind.DATE: _of_text(date, '"2026-01-31"'),
    Kind.TIME: _of_text(time, '"07:30:00"'),
    Kind.DURATION: _of_text(timedelta, '"PT1H30M"'),
    Kind.UUID: _of_text(UUID, '"01890000-0000-7000-8000-000000000000"'),
    Kind.BYTES: _of_text(bytes, "a text, whose bytes are those of UTF-8"),
}

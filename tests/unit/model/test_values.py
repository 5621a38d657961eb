"""Canonical values: idempotent, exact, and refused without quoting them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.model.json import canonical_json, sorted_json
from healthstore.model.values import (
    FieldType,
    Kind,
    Value,
    canonicaliser,
    from_microseconds,
    to_microseconds,
)
from healthstore.testing.strategies import json_values, values

TYPES = {
    Kind.TEXT: FieldType(Kind.TEXT, max_length=30),
    Kind.INTEGER: FieldType(Kind.INTEGER),
    Kind.BOOLEAN: FieldType(Kind.BOOLEAN),
    Kind.FLOAT: FieldType(Kind.FLOAT),
    Kind.DECIMAL: FieldType(Kind.DECIMAL, digits=12, places=4),
    Kind.DATETIME: FieldType(Kind.DATETIME),
    Kind.DATE: FieldType(Kind.DATE),
    Kind.TIME: FieldType(Kind.TIME),
    Kind.DURATION: FieldType(Kind.DURATION),
    Kind.UUID: FieldType(Kind.UUID),
    Kind.BYTES: FieldType(Kind.BYTES),
    Kind.JSON: FieldType(Kind.JSON),
    Kind.ENUM: FieldType(Kind.ENUM, choices=("a", "b")),
}
typed_values = st.one_of([st.tuples(st.just(field), values(field)) for field in TYPES.values()])


class Colour(StrEnum):
    A = "a"


class Plain(Enum):
    A = "a"
    OTHER = "other"


def test_every_kind_is_tested() -> None:
    """This module knows every kind of value."""
    assert set(TYPES) == set(Kind)


@given(typed_values)
def test_a_canonical_value_stays_as_it_is(case: tuple[FieldType, Value]) -> None:
    """Making a canonical value canonical changes neither the value nor its type."""
    field, value = case
    again = canonicaliser(field)(value)
    assert (type(again), repr(again)) == (type(value), repr(value))


@given(typed_values, st.sampled_from(list(TYPES.values())))
def test_a_value_of_another_kind_is_refused(
    case: tuple[FieldType, Value], other: FieldType
) -> None:
    """No value passes from one kind to another, except between texts and JSON, ints and numbers."""
    field, value = case
    texts = {Kind.TEXT, Kind.ENUM, Kind.JSON}
    numbers = {Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL}
    alike = field.kind is other.kind or Kind.JSON in {field.kind, other.kind}
    if alike or {field.kind, other.kind} <= texts or {field.kind, other.kind} <= numbers:
        return
    with pytest.raises(TypeError):
        canonicaliser(other)(value)


@given(values(TYPES[Kind.DATETIME]), st.integers(-1439, 1439))
def test_an_instant_moves_to_utc(instant: Value, minutes: int) -> None:
    """An aware datetime keeps its instant to the microsecond, whatever its zone and fold."""
    assert isinstance(instant, datetime)
    zone = timezone(timedelta(minutes=minutes))
    middle = min(max(instant, datetime(1, 1, 4, tzinfo=UTC)), datetime(9999, 12, 28, tzinfo=UTC))
    given_instant = middle.astimezone(zone).replace(fold=1)
    kept = canonicaliser(TYPES[Kind.DATETIME])(given_instant)
    assert isinstance(kept, datetime)
    assert kept == given_instant
    assert kept.tzinfo is UTC
    assert kept.fold == 0
    assert from_microseconds(to_microseconds(kept)) == kept


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_kept_exactly_or_refused(number: Decimal) -> None:
    """A Decimal takes the declared places only if that does not change its value."""
    try:
        kept = canonicaliser(TYPES[Kind.DECIMAL])(number)
    except ValueError:
        fits = number == number.quantize(Decimal("0.0001")) if abs(number) < 10**8 else False
        assert not fits
        return
    assert isinstance(kept, Decimal)
    assert kept == number
    assert kept.as_tuple().exponent == -4


@given(json_values())
def test_json_is_kept_with_sorted_keys(value: object) -> None:
    """A JSON value keeps its meaning and its types; objects lose the order of their keys."""
    kept = canonical_json(value)
    assert kept == value
    assert repr(sorted_json(kept)) == repr(kept)


def test_canonical_json_is_a_copy() -> None:
    """A change of the given object does not reach the canonical one."""
    inner = [1]
    kept = canonical_json({"a": inner})
    inner.append(2)
    assert kept == {"a": [1]}


CONVERTED: tuple[tuple[Kind, object, Value], ...] = (
    (Kind.TEXT, Colour.A.value, "a"),
    (Kind.FLOAT, 70, 70.0),
    (Kind.FLOAT, -0.0, 0.0),
    (Kind.DECIMAL, 5, Decimal("5.0000")),
    (Kind.DECIMAL, Decimal("-0.00"), Decimal("0.0000")),
    (Kind.DECIMAL, Decimal("1E+3"), Decimal("1000.0000")),
    (Kind.DATETIME, datetime(2026, 7, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")),
     datetime(2026, 7, 1, tzinfo=UTC)),
    (Kind.TIME, time(1, fold=1), time(1)),
    (Kind.BYTES, memoryview(b"ab"), b"ab"),
    (Kind.BYTES, bytearray(b"ab"), b"ab"),
    (Kind.JSON, (1, Plain.A, {"b": -0.0, "a": None}), [1, "a", {"a": None, "b": 0.0}]),
    (Kind.ENUM, Colour.A, "a"),
    (Kind.ENUM, Plain.A, "a"),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "kept"), CONVERTED)
def test_two_spellings_of_a_value_become_one(kind: Kind, value: object, kept: Value) -> None:
    """Where two spellings mean the same value, one of them is kept, in the plain type."""
    canonical = canonicaliser(TYPES[kind])(value)
    assert (type(canonical), repr(canonical)) == (type(kept), repr(kept))


CANARY = "secret-77231977"
NUMBER = 77_231_977
REFUSED: tuple[tuple[Kind, object], ...] = (
    (Kind.TEXT, f"{CANARY}\x00"), (Kind.TEXT, f"{CANARY}\ud800"), (Kind.TEXT, CANARY * 5),
    (Kind.TEXT, NUMBER), (Kind.TEXT, Colour.A),
    (Kind.INTEGER, NUMBER * 10**20), (Kind.INTEGER, True), (Kind.INTEGER, CANARY),
    (Kind.BOOLEAN, NUMBER), (Kind.FLOAT, float("nan")), (Kind.FLOAT, float("-inf")),
    (Kind.FLOAT, 2**53 + 1), (Kind.FLOAT, CANARY), (Kind.FLOAT, True),
    (Kind.DECIMAL, Decimal("77231977.00001")), (Kind.DECIMAL, Decimal("Infinity")),
    (Kind.DECIMAL, Decimal("sNaN")), (Kind.DECIMAL, 7.7231977), (Kind.DECIMAL, True),
    (Kind.DECIMAL, Decimal("1E+999999")), (Kind.DECIMAL, 10**8),
    (Kind.DATETIME, datetime(2026, 1, 1)),  # noqa: DTZ001 - a naive instant must be refused
    (Kind.DATETIME, date(2026, 1, 1)),
    (Kind.DATETIME, datetime(1, 1, 1, tzinfo=UTC)), (Kind.DATETIME, CANARY),
    (Kind.DATETIME, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=9)))),
    (Kind.DATETIME, datetime.max.replace(tzinfo=timezone(-timedelta(hours=9)))),
    (Kind.DATE, datetime(2026, 1, 1, tzinfo=UTC)), (Kind.DATE, date.min), (Kind.DATE, date.max),
    (Kind.TIME, time(1, tzinfo=UTC)), (Kind.TIME, CANARY),
    (Kind.DURATION, timedelta.max), (Kind.DURATION, NUMBER),
    (Kind.UUID, CANARY), (Kind.UUID, str(UUID(int=NUMBER))), (Kind.BYTES, CANARY),
    (Kind.JSON, {CANARY: {NUMBER}}), (Kind.JSON, [float("nan")]), (Kind.JSON, [2**63]),
    (Kind.JSON, {NUMBER: 1}), (Kind.JSON, {f"{CANARY}\x00": 1}), (Kind.JSON, [Decimal(NUMBER)]),
    (Kind.JSON, b"a"), (Kind.ENUM, CANARY), (Kind.ENUM, NUMBER), (Kind.ENUM, Plain.OTHER),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), REFUSED)
def test_a_refusal_never_quotes_the_value(kind: Kind, value: object) -> None:
    """A value that cannot be kept is a TypeError or ValueError in words, with no cause to log."""
    with pytest.raises((TypeError, ValueError)) as refused:
        canonicaliser(TYPES[kind])(value)
    error = refused.value
    assert type(error) in {TypeError, ValueError}
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    for secret in (CANARY, str(NUMBER)):
        assert secret not in str(error)


@pytest.mark.parametrize("levels", [63, 64])
def test_json_may_be_64_levels_deep(levels: int) -> None:
    """64 nested lists or objects are kept."""
    assert canonical_json(nested(levels)) == nested(levels)


@pytest.mark.parametrize("levels", [65, 5_000])
def test_deeper_json_is_refused(levels: int) -> None:
    """More levels are refused, however many, without exhausting the stack."""
    with pytest.raises(ValueError, match="64 levels"):
        canonical_json(nested(levels))


def test_a_circular_value_is_refused() -> None:
    """A list that contains itself is told so, and is no endless loop."""
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="holds itself"):
        canonical_json(circle)


def test_milliseconds_are_never_cut() -> None:
    """A field of milliseconds refuses an instant that has more, and keeps one that has not."""
    canonical = canonicaliser(FieldType(Kind.DATETIME, milliseconds=True))
    exact = datetime(2026, 1, 1, microsecond=5_000, tzinfo=UTC)
    assert canonical(exact) == exact
    with pytest.raises(ValueError, match="milliseconds"):
        canonical(exact.replace(microsecond=5_001))


def test_subclasses_become_plain_values() -> None:
    """A value of a subclass, as drivers and pydantic make them, is kept as the plain type."""

    class Id(UUID):
        pass

    class Day(date):
        pass

    class Number(int):
        pass

    class Text(str):
        __slots__ = ()

    for kind, value, plain in (
        (Kind.UUID, Id(int=5), UUID),
        (Kind.DATE, Day(2026, 1, 1), date),
        (Kind.INTEGER, Number(5), int),
        (Kind.TEXT, Text("a"), str),
    ):
        assert type(canonicaliser(TYPES[kind])(value)) is plain


def nested(levels: int) -> object:
    """Return a value with that many levels of lists and objects."""
    value: object = 1
    for level in range(levels):
        value = {"in": value} if level % 2 else [value]
    return value

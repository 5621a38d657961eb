"""What the tests of two fields compare: each kind of value beside each other one, and null."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from operator import eq, ge, gt, le, lt, ne
from typing import Any
from uuid import UUID

from healthstore.model.query import Operator, OtherField, Test
from healthstore.model.schema import Check, Collection, Field
from healthstore.model.values import Document, FieldType, Kind, Value
from healthstore.testing.contract._altered import (
    KEY,
    NUMBER,
    decimal_of,
    enum_of,
    row_of,
    text_of,
)

__all__ = (
    "CHECKED_PAIRS",
    "COMPARED",
    "INSTANT",
    "KINDS",
    "MICROSECOND",
    "PAIRS",
    "ROWS",
    "holds",
    "pair_row",
)


def _numbers(*texts: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(text).quantize(Decimal("0.0001")) for text in texts)


INSTANT = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
MICROSECOND, _MILLISECOND = timedelta(microseconds=1), timedelta(milliseconds=1)
_SHORT = _numbers("0", "0.0001", "-0.0001", "9", "10", "-10", "99999999.9999", "-99999999.9999")
_LONG = _numbers("0", "0.0001", "-0.0001", "9", "-9", "1E+15", "99999999.9999", "-1E+15")
_LONGER = (*_LONG[:-1], *_numbers("-999999999999999999999999.9999"))
# The types of the two fields, and at most eight values of each, in the order in which they compare
# or not. Pairs of neighbours are such as a collation or a conversion would take for equal.
KINDS: Mapping[str, tuple[FieldType, FieldType, Sequence[Value], Sequence[Value]]] = {
    name: (one, other, values, rest[0] if rest else values)
    for name, one, other, values, *rest in (
        ("text", text_of(None), text_of(100), ("", "a", "a ", "ä", "a\u0308", "Z", "\uffee", "😀")),
        (
            "label",
            text_of(40),
            text_of(2_000),
            ("", "A", "a", "ß", "ss", "😀", "😀 ", "\U0010ffff"),
        ),
        ("number", NUMBER, NUMBER, (0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 9)),
        ("flag", FieldType(Kind.BOOLEAN), FieldType(Kind.BOOLEAN), (False, True)),
        (
            *("ratio", FieldType(Kind.FLOAT), FieldType(Kind.FLOAT)),
            (0.0, -1.5, 0.1 + 0.2, 0.3, 1e300, 5e-324, 2.0**53 + 2, 2.0**53),
        ),
        ("price", decimal_of(12), decimal_of(12), _SHORT),
        ("dose", decimal_of(12), decimal_of(18), _SHORT),
        ("amount", decimal_of(12), decimal_of(28), _SHORT, _LONG),
        ("total", decimal_of(28), decimal_of(20), _LONGER, _LONG),
        (
            *("moment", FieldType(Kind.DATETIME), FieldType(Kind.DATETIME)),
            tuple(INSTANT + step * MICROSECOND for step in (0, 1, -1, 999_999, 10**17)),
        ),
        (
            "moment_ms",
            FieldType(Kind.DATETIME, milliseconds=True),
            FieldType(Kind.DATETIME, milliseconds=True),
            tuple(INSTANT + step * _MILLISECOND for step in (0, 1, -1, -(10**13))),
        ),
        (
            *("day", FieldType(Kind.DATE), FieldType(Kind.DATE)),
            (date(1, 1, 2), date(999, 12, 31), date(2024, 2, 29), date(9999, 12, 30)),
        ),
        (
            *("clock", FieldType(Kind.TIME), FieldType(Kind.TIME)),
            (time(), time(9), time(10), time(10, 0, 0, 1), time(23, 59, 59, 999_999)),
        ),
        (
            *("span", FieldType(Kind.DURATION), FieldType(Kind.DURATION)),
            (timedelta(), MICROSECOND, -MICROSECOND, timedelta(days=400)),
        ),
        (
            *("owner", FieldType(Kind.UUID), FieldType(Kind.UUID)),
            tuple(UUID(int=each) for each in (0, 1, 255, 1 << 120, 1 << 127, (1 << 128) - 1)),
        ),
        (
            *("level", enum_of("low", "High", "äußerst"), enum_of("äußerst", "low", "High")),
            ("low", "High", "äußerst"),
        ),
        ("blob", FieldType(Kind.BYTES), FieldType(Kind.BYTES), (b"", b"a", b"a ", b"b", b"a\x00")),
    )
}
COMPARED: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQ: eq,
    Operator.NE: ne,
    Operator.LT: lt,
    Operator.LE: le,
    Operator.GT: gt,
    Operator.GE: ge,
}
PAIRS = Collection(
    "contract_pairs",
    (
        *KEY,
        *(
            Field(f"{name}_{side}", kind, nullable=True)
            for name, (one, other, *_) in KINDS.items()
            for side, kind in (("one", one), ("other", other))
        ),
        *(Field(name, NUMBER) for name in ("first", "second")),
    ),
    entity="Pair",
)
CHECKED_PAIRS = Collection(
    "contract_checked_pairs",
    PAIRS.fields,
    checks=tuple(
        Check(
            f"{name}_order",
            Test(f"{name}_one", Operator.LE, OtherField(f"{name}_other"))
            if one.ordered
            else Test(f"{name}_one", Operator.EQ, OtherField(f"{name}_other")),
        )
        for name, (one, *_) in KINDS.items()
    ),
    entity="CheckedPair",
)


def pair_row(number: int, **values: Value) -> Document:
    return {**dict.fromkeys(PAIRS.names), "first": 0, "second": 0, **row_of(number, **values)}


def _rows() -> list[Document]:
    """Return documents that have each value of a field, and null, beside each of the other one."""
    found: list[Document] = []
    for number in range(81):
        values: dict[str, Value] = {"first": number % 3, "second": number // 3 % 3}
        for name, (_, _, left, right) in KINDS.items():
            one, other = (None, *left), (None, *right)
            values[f"{name}_one"] = one[number % len(one)]
            values[f"{name}_other"] = other[number // len(one) % len(other)]
        found.append(pair_row(number, **values))
    return found


ROWS = _rows()


def holds(operator: Operator, one: Value, other: Value) -> bool:
    """Tell what a comparison means, beside the evaluator."""
    if operator in {Operator.EQ, Operator.NE}:
        return COMPARED[operator](one, other)
    return one is not None and other is not None and COMPARED[operator](one, other)

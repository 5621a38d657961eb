"""Values at the edges of each kind, which a careless conversion or statement would change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from healthstore.model.values import Json, Value

__all__ = ("EDGES", "LARGE")


def _nested(levels: int) -> Json:
    value: Json = "deep"
    for level in range(levels):
        value = {"in": value} if level % 2 else [value]
    return value


_ODD_KEYS: dict[str, Json] = {
    "": 1, ".": 2, "a.b": 3, "$": 4, "$set": {"$inc": {"x": 1}}, "$date": "no date", "é": 5,
    "😀": 6, " ": 7, '"': 8, 'a"b': 9, "\\": 10, "'": 11, "__proto__": 12, "0": 13, "a.$.b": 14,
    "_id": 15, "\x01": 16, "\uffff": 17, "\U00010000": 18,
}  # fmt: skip

_JSON_EDGES: tuple[Json, ...] = (
    True, False, 0, 1, 1.0, -1, 0.0, 0.1, 0.1 + 0.2, 1e16, 1e22, 1e300, 5e-324,
    1.7976931348623157e308, 2**53 + 1, 2**63 - 1, -(2**63), "", "text", "1", "null", "😀",
    [], {}, [None], {"a": None}, [[]], [{}], [1, 1.0, True, "1", None], {"a": {"b": [1]}},
    {"$date": "2026-01-01T00:00:00Z"}, {"$numberLong": "5"}, {"$hsLiteral": {"$uuid": "x"}},
    dict(sorted(_ODD_KEYS.items())), _nested(60), [*range(1_000)],
    {"n": [0.1, 1e16, 1e300, 5e-324, 1.0, 1, 2**63 - 1]}, "\\u0041", "\x01\x7f\u2028",
)  # fmt: skip

# The smallest and largest of each kind, neighbours that a lossy conversion would merge, and
# what a careless statement would misread. Every value is canonical.
EDGES: Mapping[str, tuple[Value, ...]] = {
    "text": (
        *("", " ", "a", "A", "a ", " a", "á", "a\u0301", "é", "B", "b", "Z", "ss", "ß", "İ", "i"),
        *("\uffee", "\ufffd", "\U0001f600", "👩‍⚕️", "\t\r\n", "'", '"', "\\", "%", "_", "\\%"),
        *("x' OR 1=1 --", "\x7f", "\x01", "\ud7ff", "\ue000", "\uffff", "\U0010ffff", "null"),
        *("{}", "true", "0", "1.0", "$1", ":name", "?", "%s", "%(name)s", "${x}", "\u2028"),
    ),
    "label": ("", " ", "a", "A", "a ", "á", "é", "e\u0301", "ß", "\uffee", "😀" * 100, "0", "%s"),
    "number": (0, 1, -1, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)),
    "flag": (False, True),
    "ratio": (
        *(0.0, 1.0, -1.5, 0.1, 0.1 + 0.2, 1e16, 1e22, 1e300, -1e300, 5e-324, 1 / 3),
        *(1.7976931348623157e308, 2.2250738585072014e-308, 123456789.123456789, 2.0**53 + 2),
    ),
    "amount": tuple(
        Decimal(text).quantize(Decimal("1E-10"))
        for text in (
            *("0", "0.0000000001", "-0.0000000001", "1.1", "-1.1", "10", "0.1", "2.5"),
            *("999999999999999999.9999999999", "-999999999999999999.9999999999"),
            *("123456789012345678.0123456789", "123456789012345678.0123456788"),
        )
    ),
    "price": tuple(
        Decimal(text).quantize(Decimal("0.0001"))
        for text in ("0", "0.0001", "-0.0001", "72.5", "99999999.9999", "-99999999.9999", "9", "10")
    ),
    "moment": (
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
        datetime(2024, 2, 29, 12, 30, 0, 1, tzinfo=UTC),
        datetime(2024, 2, 29, 12, 30, 0, 999_999, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
        datetime(1582, 10, 10, tzinfo=UTC),
    ),
    "moment_ms": (
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(9999, 12, 30, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, 0, 1_000, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
    ),
    "day": (
        *(date(1, 1, 2), date(9999, 12, 30), date(1970, 1, 1), date(1582, 10, 10)),
        *(date(2024, 2, 29), date(1900, 2, 28), date(999, 12, 31), date(10, 1, 1)),
    ),
    "clock": (time(0), time(23, 59, 59, 999_999), time(12, 0, 0, 1), time(9, 30), time(10)),
    "span": (
        *(timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1)),
        *(timedelta(days=90), timedelta(hours=839), timedelta(microseconds=2**63 - 1)),
        *(timedelta(microseconds=-(2**63)), timedelta(microseconds=2**53 + 1)),
    ),
    "owner": (
        *(UUID(int=0), UUID(int=2**128 - 1), UUID("00000000-0000-0001-0000-000000000000")),
        *(UUID("01000000-0000-0000-0000-000000000000"), UUID("0f" * 16), UUID("f0" * 16)),
        UUID("123e4567-e89b-42d3-a456-426614174000"),
    ),
    "blob": (b"", b"\x00", b"\x00\x00", b"\xff", b"a", b"'\\\"%", bytes(range(256)), b"\xc3\x28"),
    "data": _JSON_EDGES,
    "level": ("low", "High", "mid", "äußerst"),
}

# Values that take more room than one page of any database.
LARGE: Mapping[str, Value] = {
    "text": "a😀é" * 200_000,
    "blob": bytes(range(256)) * 4_000,
    "data": {"rows": [{"n": number, "text": "x" * 50} for number in range(10_000)]},
}

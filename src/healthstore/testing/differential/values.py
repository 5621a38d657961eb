"""Values by chance: those at the edges, those that were used before, and any others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from random import Random
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from healthstore.model.json import INT64_MAX, INT64_MIN
from healthstore.model.values import (
    FIRST_DAY,
    FIRST_INSTANT,
    LAST_DAY,
    LAST_INSTANT,
    FieldType,
    Kind,
)
from healthstore.testing.differential.cases import draw_cased, draw_words
from healthstore.testing.differential.schemas import Attribute
from healthstore.testing.edges import EDGES

__all__ = (
    "draw_id",
    "draw_part",
    "draw_pattern",
    "draw_text",
    "draw_value",
    "draw_wrong",
    "respell",
)

_ALPHABET = (
    *"aAbBzZ019 _%\\'\"`.$-;:/?#{}[]()\t\n",
    *"áéßİıſẞœ\u0301\u200d\u2028\ufeff\ufffd\uffff\U0001f600\U0010ffff\x01\x7f",
)
_KEYS = ("a", "b", "", ".", "$", "a.b", "$set", "_id", "é", "'", '"', "0", "$date", "A", " ")
_QUOTES = (0x22, 0x27, 0x60, 0x5C, 0x25)
_LONG = 17_000  # some databases compare only the beginning of long texts
_EXACT = Context(prec=60)
_ZONES = (ZoneInfo("Europe/Berlin"), ZoneInfo("America/St_Johns"))
_MICROSECOND = timedelta(microseconds=1)


def draw_id(random: Random) -> UUID:
    """Return an id; many of them have bytes that are quotes in a database's message."""
    sixteen = bytearray(random.randbytes(16))
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        sixteen[random.randrange(16)] = random.choice(_QUOTES)
    return UUID(bytes=bytes(sixteen))


def draw_text(random: Random, longest: int | None) -> str:
    """Return a text of at most so many code points."""
    bound = 40 if longest is None else longest
    size = random.choice((0, 1, 2, 3, 8, bound)) if bound else 0
    return "".join(random.choices(_ALPHABET, k=min(size, bound)))


def draw_part(random: Random, text: str) -> str:
    """Return something to look for in a text: a part of it, or what a pattern would misread."""
    if not text or random.random() < 0.3:
        return random.choice(("", "%", "_", "\\", "'", "a", "A", ".", "*", "á", "\\%", "$"))
    start = random.randrange(len(text))
    return random.choice((text[start : start + 3], text[: start + 1][:50], text[start:][-50:]))


def draw_pattern(random: Random, text: str) -> str:
    """Return a pattern of the portable subset that may match a text, or others like it."""
    start = random.randrange(len(text)) if text else 0
    known = re.escape(text[start : start + 20])
    return random.choice(
        (
            *(known or "a?", f".*{known}.*", f"{known}.*", rf"[\s\S]*{known}", rf"{known}\W?"),
            *(r"\w+", r"[^\s]*", r"\S+ ?\S*", r"[a-z]+|[A-Z]+|\d{1,5}", r".{0,3}", r"(?:.|\n)?"),
            *(r"[\x01-\x7f]*", r"[^\x01-\x7f]+", r"[\U00010000-\U0010ffff]*.?", r"[%_\\*.$^]+"),
        )
    )


def draw_value(random: Random, each: Attribute) -> Any:
    """Return a value that a field may hold, never None."""
    if each.type.kind is Kind.JSON:
        return _draw_json(random, each.form)
    if each.form == "long" and random.random() < 0.5:
        return "\U0001f600" * random.choice((_LONG, 2 * _LONG)) + random.choice("abc")
    if each.type.words and random.random() < 0.8:
        return draw_words(random, each.type.max_length)
    if each.type.searchable and random.random() < 0.6:
        return draw_cased(random, each.type.max_length)
    if random.random() < 0.35 and (edges := _edges(each.type)):
        return random.choice(edges)
    return _DRAWN[each.type.kind](random, each.type)


def _edges(kind: FieldType) -> tuple[Any, ...]:
    edges = EDGES.get(_EDGES.get(kind.kind, ""), ())
    if kind.max_length is not None:
        return tuple(
            each for each in cast("tuple[str, ...]", edges) if len(each) <= kind.max_length
        )
    if kind.milliseconds:
        return EDGES["moment_ms"]
    return edges


_EDGES: Mapping[Kind, str] = {
    Kind.TEXT: "text",
    Kind.INTEGER: "number",
    Kind.FLOAT: "ratio",
    Kind.DATETIME: "moment",
    Kind.DATE: "day",
    Kind.TIME: "clock",
    Kind.DURATION: "span",
    Kind.UUID: "owner",
    Kind.BYTES: "blob",
}


def _draw_integer(random: Random, _: FieldType) -> Any:
    small = random.randrange(-5, 20)
    return random.choice((small, small, random.randint(INT64_MIN, INT64_MAX)))


def _draw_float(random: Random, _: FieldType) -> Any:
    tenths = random.randrange(-50, 200) / 10
    return random.choice((tenths, tenths, random.uniform(-1e6, 1e6), -0.0, random.random() * 1e-9))


def _draw_decimal(random: Random, kind: FieldType) -> Any:
    largest = 10**kind.digits - 1
    units = random.choice(
        (0, 1, -1, largest, -largest, random.randint(-largest, largest), random.randint(0, 99))
    )
    return Decimal(max(-largest, min(largest, units))).scaleb(-kind.places, context=_EXACT)


def _draw_datetime(random: Random, kind: FieldType) -> Any:
    seconds = random.choice(
        (
            random.randint(0, 2_000_000_000),
            random.randint(1_700_000_000, 1_700_000_100),
            random.randint(_seconds(FIRST_INSTANT), _seconds(LAST_INSTANT) - 1),
        )
    )
    step = 1_000 if kind.milliseconds else 1
    fraction = random.choice((0, 1, 999)) * step
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=fraction)


def _seconds(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


def _draw_date(random: Random, _: FieldType) -> Any:
    near = date(2026, 1, 1).toordinal() + random.randrange(5)
    return date.fromordinal(
        random.choice((near, near, random.randint(FIRST_DAY.toordinal(), LAST_DAY.toordinal())))
    )


def _draw_time(random: Random, _: FieldType) -> Any:
    return time(random.randrange(24), random.choice((0, 30, 59)), random.choice((0, 59)), 1)


def _draw_duration(random: Random, _: FieldType) -> Any:
    near = timedelta(minutes=random.randrange(-3, 100))
    return random.choice((near, near, random.randint(INT64_MIN, INT64_MAX) * _MICROSECOND))


_DRAWN: Mapping[Kind, Callable[[Random, FieldType], Any]] = {
    Kind.TEXT: lambda random, kind: draw_text(random, kind.max_length),
    Kind.INTEGER: _draw_integer,
    Kind.BOOLEAN: lambda random, _: random.random() < 0.5,
    Kind.FLOAT: _draw_float,
    Kind.DECIMAL: _draw_decimal,
    Kind.DATETIME: _draw_datetime,
    Kind.DATE: _draw_date,
    Kind.TIME: _draw_time,
    Kind.DURATION: _draw_duration,
    Kind.UUID: lambda random, _: draw_id(random),
    Kind.BYTES: lambda random, _: random.randbytes(random.choice((0, 1, 3, 50))),
    Kind.ENUM: lambda random, kind: random.choice(kind.choices),
}


def _draw_json(random: Random, form: str) -> Any:
    wanted = {"list": list, "dict": dict}.get(form)
    if random.random() < 0.4:
        edges = [each for each in EDGES["data"] if wanted is None or isinstance(each, wanted)]
        return _cut(random.choice(edges), _DEEPEST)
    if form == "list":
        return [_draw_any(random, 2) for _ in range(random.randrange(4))]
    if form == "dict":
        return {random.choice(_KEYS): _draw_any(random, 2) for _ in range(random.randrange(4))}
    drawn = _draw_any(random, 3)
    return 0 if drawn is None else drawn


# What a store without the capability `deep_json` reads a part of; the contract has the rest.
_DEEPEST = 31


def _cut(value: Any, levels: int) -> Any:
    """Return JSON without what is nested in more levels: a text stands there."""
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return "deep"
    if isinstance(value, list):
        return [_cut(each, levels - 1) for each in value]
    return {key: _cut(each, levels - 1) for key, each in value.items()}


def _draw_any(random: Random, levels: int) -> Any:
    if levels and random.random() < 0.4:
        if random.random() < 0.5:
            return [_draw_any(random, levels - 1) for _ in range(random.randrange(4))]
        return {
            random.choice(_KEYS): _draw_any(random, levels - 1) for _ in range(random.randrange(4))
        }
    return random.choice(
        (
            *(None, True, False, 0, 1, -1, 1.0, 0.1, -0.0, 5e-324, INT64_MIN, INT64_MAX),
            draw_text(random, 10),
        )
    )


def respell(random: Random, kind: FieldType, value: Any) -> Any:
    """Return another spelling of a value, as people write operands, if there is one."""
    if kind.kind is Kind.DECIMAL:
        whole = value == value.to_integral_value()
        return random.choice((int(value), value)) if whole else value.normalize(_EXACT)
    if kind.kind is Kind.FLOAT and isinstance(value, float):  # not the list of unwound ones
        if not value:
            return random.choice((0, -0.0))
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if kind.kind is Kind.DATETIME and FIRST_INSTANT.year < value.year < LAST_INSTANT.year:
        return value.astimezone(random.choice(_ZONES))
    if kind.kind is Kind.BYTES:
        return bytearray(value)
    return value


def draw_wrong(random: Random) -> Any:
    """Return what hardly any field may hold: it is refused before it reaches a store."""
    return random.choice(
        (
            *(float("nan"), float("inf"), "\x00", "\ud800", datetime(2026, 1, 1), True, 2**63),  # noqa: DTZ001 - naive on purpose
            *(Decimal("NaN"), Decimal("1E+40"), "", b"", [], {"\x00": 1}, {"a": (1, Decimal(2))}),
        )
    )

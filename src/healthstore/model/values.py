"""Canonical values: what a field may hold, and the one form in which it is kept.

A value is *portable* when each backend can store it, order it and give it back unchanged.
:func:`canonicaliser` returns, for a field's type, the function that turns a Python value into
its canonical form or refuses it; nothing is ever changed silently, except where two spellings
mean the same value: an instant moves to UTC, ``-0.0`` becomes ``0.0``, a Decimal takes the
declared number of places, the keys of a JSON object are sorted.

============ ======================= ====================================================
kind         canonical Python value  limits
============ ======================= ====================================================
``text``     ``str``                 no U+0000, no lone surrogate, ``max_length`` code points
``integer``  ``int``                 signed 64 bit
``boolean``  ``bool``                never an ``int``
``float``    ``float``               finite; ``-0.0`` is ``0.0``
``decimal``  ``Decimal``             ``digits`` (at most 28) in all, ``places`` after the point
``datetime`` aware ``datetime``, UTC microseconds; 0001-01-02 to 9999-12-30
``date``     ``date``                0001-01-02 to 9999-12-30
``time``     ``time`` without zone   microseconds
``duration`` ``timedelta``           microseconds in signed 64 bit
``uuid``     ``UUID``                ordered as 16 bytes
``bytes``    ``bytes``
``json``     JSON value              keys sorted, at most 64 levels, numbers as above
``enum``     ``str``                 one of ``choices``
============ ======================= ====================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, Inexact, InvalidOperation
from enum import Enum, StrEnum
from math import isfinite
from typing import TypeAlias, cast
from uuid import UUID, SafeUUID

import msgspec

from healthstore.model.decimals import UNROUNDED, of_units
from healthstore.model.json import INT64_MAX, INT64_MIN, Json, canonical_json, canonical_jsons
from healthstore.model.text import MAX_WORDS, folded, require_text, words_in

__all__ = (
    "MAX_FOLDED",
    "Canonicaliser",
    "ColumnCanonicaliser",
    "Document",
    "FieldType",
    "Json",
    "Kind",
    "Value",
    "canonicaliser",
    "column_canonicaliser",
    "from_microseconds",
    "to_microseconds",
    "uuid_of",
    "uuids_of",
)

Value: TypeAlias = "Json | bytes | Decimal | datetime | date | time | timedelta | UUID"
# One stored row: a value for every declared field, by name.
Document: TypeAlias = dict[str, Value]
Canonicaliser: TypeAlias = Callable[[object], Value]
ColumnCanonicaliser: TypeAlias = "Callable[[list[object]], Sequence[Value]]"

MAX_DIGITS = 28  # leaves 6 of Decimal128's 34 digits as head-room for exact sums on MongoDB
SORTED_TEXT = 1_000
"""The code points of a text that count when it is sorted; MariaDB and MySQL limit sort keys."""
MAX_FOLDED = 640
"""The most code points of a text and of its folded form that every database indexes."""
_FEW = MAX_WORDS // 8  # a text of so few letters has not too many words, whatever NFKC makes of it
_FOLDED_TIMES = 3  # a letter's case folds to so many at most; what NFKC makes of some is longer
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# asyncpg reads the ends of Python's range as infinity; one day inside is safe everywhere.
FIRST_INSTANT = datetime(1, 1, 2, tzinfo=UTC)
LAST_INSTANT = datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)
FIRST_DAY, LAST_DAY = date(1, 1, 2), date(9999, 12, 30)


class Kind(StrEnum):
    """The logical kinds of value; each adapter maps every one of them to a native type."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    FLOAT = "float"
    DECIMAL = "decimal"
    DATETIME = "datetime"
    DATE = "date"
    TIME = "time"
    DURATION = "duration"
    UUID = "uuid"
    BYTES = "bytes"
    JSON = "json"
    ENUM = "enum"


_NUMERIC = (Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL, Kind.DURATION)


@dataclass(frozen=True, slots=True)
class FieldType:
    """The logical type of a field: its kind and the limits that belong to it.

    ``max_length`` counts code points of text (None: no limit); ``digits`` and ``places`` belong
    to decimals; ``milliseconds`` says that an instant carries whole milliseconds only;
    ``choices`` are the values of an enum; ``searchable`` says that a text is kept folded, too, so
    that it is found whatever its case is, and ``words`` that its words are, which a search looks for.
    """

    kind: Kind
    max_length: int | None = None
    digits: int = 0
    places: int = 0
    milliseconds: bool = False
    choices: tuple[str, ...] = ()
    searchable: bool = False
    words: bool = False

    @property
    def longest_folded(self) -> int:
        """The most code points that the folded form of a searchable text may have."""
        longest = self.max_length
        return MAX_FOLDED if longest is None else min(_FOLDED_TIMES * longest, MAX_FOLDED)

    @property
    def ordered(self) -> bool:
        """Whether values can be compared with ``<`` and sorted alike on every backend.

        Bytes cannot: MongoDB sorts them by length first, MySQL by their first 1,024 only.
        """
        return self.kind not in {Kind.JSON, Kind.BYTES}

    def comparable_with(self, other: FieldType) -> bool:
        """Whether values of two fields can be held against each other alike on every backend.

        They are of one kind, decimals of the same places, instants both in milliseconds or both
        not, enums of the same members. JSON cannot. Lengths and digits may differ.
        """
        mine, theirs = (
            (each.kind, each.places, each.milliseconds, each.choices) for each in (self, other)
        )
        return mine == theirs and self.kind is not Kind.JSON

    @property
    def sorted_by_head(self) -> bool:
        """Whether values may be texts of which only the first SORTED_TEXT code points count."""
        longest = self.max_length
        return self.kind is Kind.TEXT and (longest is None or longest > SORTED_TEXT)

    @property
    def numeric(self) -> bool:
        """Whether values can be summed and averaged."""
        return self.kind in _NUMERIC

    @property
    def bounded(self) -> bool:
        """Whether a change may ask for the larger or the smaller one of two values."""
        return self.numeric or self.kind in {Kind.DATE, Kind.DATETIME}


def uuid_of(sixteen: bytes) -> UUID:
    """Return the UUID of 16 bytes, as ``UUID(bytes=…)`` does, in a fifth of its time."""
    made = _new_uuid(UUID)
    _set(made, "int", int.from_bytes(sixteen, "big"))
    _set(made, "is_safe", _UNKNOWN)
    return made


def uuids_of(column: Sequence[bytes | None]) -> Sequence[UUID | None]:
    """Return the UUIDs of 16 bytes each, in a quarter of the time of one by one."""
    return _read_uuids(_write_column(column))


_write_column = msgspec.msgpack.Encoder(enc_hook=bytes).encode  # a driver's own kind of bytes
_read_uuids = msgspec.msgpack.Decoder(list[UUID | None]).decode
_new_uuid: Callable[[type[UUID]], UUID] = object.__new__
_set = object.__setattr__  # a UUID refuses its own
_UNKNOWN = SafeUUID.unknown


def to_microseconds(instant: datetime) -> int:
    """Return the whole microseconds between 1970-01-01 UTC and an aware instant."""
    delta = instant - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_microseconds(microseconds: int) -> datetime:
    """Return the UTC instant at a number of microseconds after 1970-01-01 UTC."""
    return EPOCH + microseconds * _MICROSECOND  # a third of the time of timedelta(microseconds=…)


def _wrong(value: object, wanted: str) -> TypeError:
    return TypeError(f"expects {wanted}, not {type(value).__name__}")


def _text(field: FieldType) -> Canonicaliser:
    longest = field.max_length
    longest_folded = field.longest_folded if field.searchable else None
    counted = field.words

    def canonical(value: object) -> Value:
        if type(value) is not str:
            if not isinstance(value, str) or isinstance(value, Enum):
                raise _wrong(value, "str")
            value = str(value)
        require_text(value)
        if longest is not None and len(value) > longest:
            raise ValueError(f"holds {len(value)} characters; at most {longest} are allowed")
        if longest_folded is not None and not value.isascii():
            size = len(folded(value))
            if size > longest_folded:
                raise ValueError(
                    f"holds {size} characters where case does not count; "
                    f"at most {longest_folded} are kept"
                )
        if counted and len(value) > _FEW and (count := len(words_in(value))) > MAX_WORDS:
            raise ValueError(f"holds {count} words that differ; at most {MAX_WORDS} are kept")
        return value

    return canonical


def _texts(field: FieldType) -> ColumnCanonicaliser:
    longest, one = field.max_length, _text(field)

    def canonical(values: list[object]) -> Sequence[Value]:
        given = [each for each in values if each is not None]
        if _ONLY_TEXT.issuperset(map(type, given)):
            texts = cast("list[str]", given)
            together = "".join(texts)
            size = max(map(len, texts), default=0)
            short = (longest is None or size <= longest) and not (field.words and size > _FEW)
            if short and together.isascii() and "\x00" not in together:
                return cast("list[Value]", values)
        return [None if each is None else one(each) for each in values]

    return canonical


_ONLY_TEXT = frozenset({str})


def _integer(_: FieldType) -> Canonicaliser:
    def canonical(value: object) -> Value:
        if type(value) is not int:
            if isinstance(value, Enum):
                value = value.value
            if not isinstance(value, int) or isinstance(value, bool):
                raise _wrong(value, "int")
            value = int(value)
        if not INT64_MIN <= value <= INT64_MAX:
            raise ValueError("is beyond a signed 64-bit integer; use Decimal with Digits(n, 0)")
        return value

    return canonical


def _boolean(_: FieldType) -> Canonicaliser:
    def canonical(value: object) -> Value:
        if type(value) is not bool:
            raise _wrong(value, "bool")
        return value

    return canonical


def _float(_: FieldType) -> Canonicaliser:
    def canonical(value: object) -> Value:
        if type(value) is not float:
            if isinstance(value, float):
                value = float(value)
            elif type(value) is int and -(2**53) <= value <= 2**53:
                value = float(value)  # exact: an integer literal such as 70 is welcome
            else:
                raise _wrong(value, "float")
        if not isfinite(value):
            raise ValueError("is NaN or infinite; only finite numbers can be kept")
        return value or 0.0  # -0.0 is false

    return canonical


def _decimal(field: FieldType) -> Canonicaliser:
    digits, places = field.digits, field.places
    step, zero = of_units(1, places), of_units(0, places)
    bound = Decimal(10 ** (digits - places))
    lower = bound.copy_negate()

    def canonical(value: object) -> Value:
        if type(value) is not Decimal:
            if isinstance(value, Decimal) or type(value) is int:
                value = Decimal(value)
            else:
                raise _wrong(value, "Decimal")
        if not value.is_finite():
            raise ValueError("is NaN or infinite; only finite numbers can be kept")
        try:
            exact = value.quantize(step, context=UNROUNDED)
        except (Inexact, InvalidOperation):
            raise ValueError(f"does not fit Digits({digits}, {places}) exactly") from None
        if not lower < exact < bound:
            raise ValueError(f"does not fit Digits({digits}, {places}) exactly")
        return exact or zero  # Decimal("-0.00") is false

    return canonical


def _datetime(field: FieldType) -> Canonicaliser:
    milliseconds = field.milliseconds

    def canonical(value: object) -> Value:
        plain = type(value) is datetime and value.tzinfo is UTC and not value.fold
        instant = cast(datetime, value) if plain else _instant(value)
        if not FIRST_INSTANT <= instant <= LAST_INSTANT:
            raise ValueError("is outside 0001-01-02 to 9999-12-30 UTC")
        if milliseconds and instant.microsecond % 1000:
            raise ValueError("has microseconds, but the field keeps milliseconds")
        return instant

    return canonical


def _instant(value: object) -> datetime:
    """Return a plain datetime in UTC for an aware one."""
    if not isinstance(value, datetime):
        raise _wrong(value, "an aware datetime")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError("is a naive datetime; give it a time zone, for example tzinfo=UTC")
    try:
        if value.tzinfo is not UTC:
            value = value.astimezone(UTC)
        if type(value) is not datetime or value.fold:
            value = EPOCH + (value - EPOCH)
    except OverflowError:
        raise ValueError("is outside 0001-01-02 to 9999-12-30 UTC") from None
    return value


def _date(_: FieldType) -> Canonicaliser:
    def canonical(value: object) -> Value:
        if not isinstance(value, date) or isinstance(value, datetime):
            raise _wrong(value, "date")
        if not FIRST_DAY <= value <= LAST_DAY:
            raise ValueError("is outside 0001-01-02 to 9999-12-30")
        return value if type(value) is date else date(value.year, value.month, value.day)

    return canonical


def _time(_: FieldType) -> Canonicaliser:
    def canonical(value: object) -> Value:
        if not isinstance(value, time):
            raise _wrong(value, "time")
        if value.tzinfo is not None:
            raise ValueError("is a time with a zone; keep an aware datetime instead")
        return value if type(value) is time and not value.fold else value.replace(fold=0)

    return canonical


def _duration(_: FieldType) -> Canonicaliser:
    longest = timedelta(microseconds=INT64_MAX)
    shortest = timedelta(microseconds=INT64_MIN)

    def canonical(value: object) -> Value:
        if not isinstance(value, timedelta):
            raise _wrong(value, "timedelta")
        if not shortest <= value <= longest:
            raise ValueError("is beyond 64 bits of microseconds")
        if type(value) is timedelta:
            return value
        return timedelta(value.days, value.seconds, value.microseconds)

    return canonical


def _uuid(_: FieldType) -> Canonicaliser:
    def canonical(value: object) -> Value:
        if type(value) is UUID:
            return value
        if isinstance(value, UUID):  # asyncpg's UUID is a subclass
            return UUID(int=value.int)
        raise _wrong(value, "UUID")

    return canonical


def _bytes(_: FieldType) -> Canonicaliser:
    def canonical(value: object) -> Value:
        if type(value) is bytes:
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        raise _wrong(value, "bytes")

    return canonical


def _json(_: FieldType) -> Canonicaliser:
    return canonical_json


def _enum(field: FieldType) -> Canonicaliser:
    choices = frozenset(field.choices)

    def canonical(value: object) -> Value:
        if isinstance(value, Enum):
            value = value.value
        if not isinstance(value, str):
            raise _wrong(value, "str")
        if value not in choices:
            raise ValueError(f"is none of {', '.join(sorted(choices))}")
        return str(value)

    return canonical


_CANONICALISERS: dict[Kind, Callable[[FieldType], Canonicaliser]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.BOOLEAN: _boolean,
    Kind.FLOAT: _float,
    Kind.DECIMAL: _decimal,
    Kind.DATETIME: _datetime,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.DURATION: _duration,
    Kind.UUID: _uuid,
    Kind.BYTES: _bytes,
    Kind.JSON: _json,
    Kind.ENUM: _enum,
}


def canonicaliser(field: FieldType) -> Canonicaliser:
    """Return the function that makes a non-null value of this type canonical.

    The function raises ``TypeError`` for a value of another type and ``ValueError`` for one that
    not every backend could keep; the message never holds the value.
    """
    return _CANONICALISERS[field.kind](field)


def column_canonicaliser(field: FieldType) -> ColumnCanonicaliser | None:
    """Return the function that makes many values of this type canonical, None among them too.

    It gives what :func:`canonicaliser` gives one by one, in less time. For most kinds there is
    nothing to save, and none.
    """
    if field.kind is Kind.JSON:
        return canonical_jsons
    return _texts(field) if field.kind is Kind.TEXT else None

"""hs-ejson/1: canonical values as self-describing JSON, and as bytes for digests.

The tagged form extends MongoDB's Extended JSON v2, so that other tools can read most of it:

==================  ====================================================================
``text``, ``enum``  a JSON string
``boolean``         a JSON boolean
``integer``         a JSON number; ``{"$numberLong": "…"}`` beyond 2**53 - 1
``float``           a JSON number with a point or an exponent
``decimal``         ``{"$numberDecimal": "72.5000"}``
``datetime``        ``{"$date": "2026-01-01T00:00:00.123456Z"}``, always six digits, always Z
``date``            ``{"$hsDate": "2026-01-01"}``
``time``            ``{"$hsTime": "07:30:00.000000"}``
``duration``        ``{"$hsDuration": "1500000"}``, microseconds
``uuid``            ``{"$uuid": "0190…"}``
``bytes``           ``{"$binary": {"base64": "…", "subType": "00"}}``
``json``            the value itself; ``{"$hsLiteral": …}`` if it is an object with a ``$`` key
                    at the top, so that it is never taken for a tag
==================  ====================================================================
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias, cast
from uuid import UUID

from healthstore.model.decimals import text_of
from healthstore.model.values import FieldType, Json, Kind, Value, to_microseconds

__all__ = ("FORMAT", "digester", "from_tagged", "to_tagged")

FORMAT = "hs-ejson/1"
_EXACT_IN_JAVASCRIPT = 2**53 - 1
_MICROSECOND = timedelta(microseconds=1)

Tagger: TypeAlias = Callable[[Value], Json]
Reader: TypeAlias = Callable[[Json], object]


def _tag_integer(value: Value) -> Json:
    number = cast(int, value)
    if -_EXACT_IN_JAVASCRIPT <= number <= _EXACT_IN_JAVASCRIPT:
        return number
    return {"$numberLong": str(number)}


def _tag_datetime(value: Value) -> Json:
    instant = cast(datetime, value).replace(tzinfo=None)
    return {"$date": instant.isoformat(timespec="microseconds") + "Z"}


def _tag_bytes(value: Value) -> Json:
    text = base64.b64encode(cast(bytes, value)).decode("ascii")
    return {"$binary": {"base64": text, "subType": "00"}}


def _tag_json(value: Value) -> Json:
    if isinstance(value, dict) and any(key.startswith("$") for key in value):
        return {"$hsLiteral": value}
    return cast(Json, value)


def _plain(value: Value) -> Json:
    return cast(Json, value)


_TAGGERS: dict[Kind, Tagger] = {
    Kind.TEXT: _plain,
    Kind.ENUM: _plain,
    Kind.BOOLEAN: _plain,
    Kind.FLOAT: _plain,
    Kind.INTEGER: _tag_integer,
    Kind.DECIMAL: lambda value: {"$numberDecimal": text_of(cast(Decimal, value))},
    Kind.DATETIME: _tag_datetime,
    Kind.DATE: lambda value: {"$hsDate": cast(date, value).isoformat()},
    Kind.TIME: lambda value: {"$hsTime": cast(time, value).isoformat(timespec="microseconds")},
    Kind.DURATION: lambda value: {"$hsDuration": str(cast(timedelta, value) // _MICROSECOND)},
    Kind.UUID: lambda value: {"$uuid": str(value)},
    Kind.BYTES: _tag_bytes,
    Kind.JSON: _tag_json,
}


def to_tagged(field: FieldType) -> Tagger:
    """Return the function that writes a non-null canonical value of this type as tagged JSON."""
    return _TAGGERS[field.kind]


def _tag(tag: str, read: Callable[[str], object]) -> Reader:
    def reader(value: Json) -> object:
        if not isinstance(value, dict) or len(value) != 1 or not isinstance(value.get(tag), str):
            raise ValueError(f'is not of the form {{"{tag}": "…"}}')
        try:
            return read(cast(str, value[tag]))
        except (ValueError, ArithmeticError, InvalidOperation):
            # `from None`: the parser's message quotes the value.
            raise ValueError(f"holds a malformed {tag}") from None

    return reader


def _read_integer(value: Json) -> object:
    return _tag("$numberLong", int)(value) if isinstance(value, dict) else value


def _read_instant(text: str) -> datetime:
    if not text.endswith("Z"):
        raise ValueError("not UTC")
    return datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC)


def _read_bytes(value: Json) -> object:
    body = value.get("$binary") if isinstance(value, dict) else None
    text = body.get("base64") if isinstance(body, dict) else None
    if not isinstance(text, str):  # malformed data, not a caller's wrong type
        raise ValueError(  # noqa: TRY004 - as above
            'is not of the form {"$binary": {"base64": "…", "subType": "00"}}'
        )
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        # binascii.Error, or a UnicodeEncodeError that quotes the text.
        raise ValueError("holds malformed base64") from None


def _read_json(value: Json) -> object:
    if isinstance(value, dict) and len(value) == 1 and "$hsLiteral" in value:
        return value["$hsLiteral"]
    return value


def _unchanged(value: Json) -> object:
    return value


_READERS: dict[Kind, Reader] = {
    Kind.TEXT: _unchanged,
    Kind.ENUM: _unchanged,
    Kind.BOOLEAN: _unchanged,
    Kind.FLOAT: _unchanged,
    Kind.INTEGER: _read_integer,
    Kind.DECIMAL: _tag("$numberDecimal", Decimal),
    Kind.DATETIME: _tag("$date", _read_instant),
    Kind.DATE: _tag("$hsDate", date.fromisoformat),
    Kind.TIME: _tag("$hsTime", time.fromisoformat),
    Kind.DURATION: _tag("$hsDuration", lambda text: timedelta(microseconds=int(text))),
    Kind.UUID: _tag("$uuid", UUID),
    Kind.BYTES: _read_bytes,
    Kind.JSON: _read_json,
}


def from_tagged(field: FieldType) -> Reader:
    """Return the function that reads non-null tagged JSON; make its result canonical afterwards.

    The function raises ``ValueError``, without the value, for anything malformed.
    """
    return _READERS[field.kind]


def _digest_time(moment: time) -> object:
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return seconds * 1_000_000 + moment.microsecond


_DIGESTERS: dict[Kind, Callable[[Any], object] | None] = {
    Kind.TEXT: None,
    Kind.ENUM: None,
    Kind.BOOLEAN: None,
    Kind.FLOAT: None,
    Kind.INTEGER: None,
    Kind.BYTES: None,
    Kind.JSON: None,
    Kind.DECIMAL: text_of,
    Kind.DATETIME: to_microseconds,
    Kind.DATE: date.toordinal,
    Kind.TIME: _digest_time,
    Kind.DURATION: lambda value: value // _MICROSECOND,
    Kind.UUID: lambda value: value.bytes,
}


def digester(field: FieldType) -> Callable[[Any], object] | None:
    """Return the function that makes a non-null value of this type fit for MessagePack.

    None means that the value fits as it is. Equal values give equal bytes on every backend:
    instants are microseconds since 1970, decimals their text with the declared places, UUIDs
    16 bytes, the keys of JSON objects sorted.
    """
    return _DIGESTERS[field.kind]

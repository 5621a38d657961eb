"""Documents to BSON values and back, compiled once for each collection.

=============  =====================================================================
kind           stored as
=============  =====================================================================
``uuid``       binary of subtype 4; the field ``id`` is ``_id``
``integer``    int64
``datetime``   int64, microseconds since 1970; a Date if the field keeps milliseconds
``time``       int64, microseconds since midnight
``duration``   int64, microseconds
``date``       string, ``2026-01-31``
``decimal``    Decimal128 with the declared number of places
``json``       the value itself, keys sorted; see :func:`escape` for keys
others         string, double, bool, binary of subtype 0
=============  =====================================================================

A searchable text is written folded, too, under a key that no field can have; nobody reads that.

A null is written as null. A document may lack a field that may be null: it was there before the
field, and is read as if null had been written.

Decimals pass as bits: the driver's own conversion takes four times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from operator import itemgetter
from re import compile as pattern
from typing import Any, TypeAlias, cast

import msgspec
from bson import decode_all
from bson.codec_options import CodecOptions
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from healthstore.errors import SchemaMismatchError
from healthstore.model.collector import collector_paused
from healthstore.model.columns import Converter, at_places, converted
from healthstore.model.decimals import EXACT, of_units, to_units
from healthstore.model.hidden import hidden_maker, with_hidden
from healthstore.model.parts import column_type
from healthstore.model.query import FieldOrTerm, column_key
from healthstore.model.schema import Collection
from healthstore.model.values import (
    Document,
    FieldType,
    Kind,
    Value,
    from_microseconds,
    to_microseconds,
    uuid_of,
)

__all__ = ("Codec", "Stored", "escape", "escaped_key", "key_of", "keys_of", "unescape")

Stored: TypeAlias = dict[str, Any]

# UUIDs stay bytes: made of all of a column they take a quarter of the time.
_WITH_BINARIES: CodecOptions[Stored] = CodecOptions(tz_aware=True, tzinfo=UTC)

# IEEE 754-2008 decimal128, binary coefficient: sign 1 bit, exponent 14 bits, coefficient 113.
_COEFFICIENT_BITS = 113
_COEFFICIENT = (1 << _COEFFICIENT_BITS) - 1
_EXPONENT = (1 << 14) - 1
_SIGN = 1 << 127
_BIAS = 6176


def key_of(name: str) -> str:
    """Return the key under which a field is stored."""
    return "_id" if name == "id" else name


def keys_of(columns: Sequence[FieldOrTerm]) -> tuple[str, ...]:
    """Return the keys under which columns are read: a term has one by its place.

    No field's name begins so, and what a term is called is no name of a server.
    """
    return tuple(
        [
            key_of(each) if isinstance(each, str) else f"_t{place}"
            for place, each in enumerate(columns)
        ]
    )


def _write_decimal(field: FieldType) -> Converter:
    places = field.places
    high = (_BIAS - places) << _COEFFICIENT_BITS

    def write(value: Decimal) -> Decimal128:
        number = to_units(value, places)
        bits = high | number if number >= 0 else _SIGN | high | -number
        return Decimal128.from_bid(bits.to_bytes(16, "little"))

    return write


def _read_decimal(field: FieldType) -> Converter:
    places = field.places
    exponent = _BIAS - places
    step = of_units(1, places)

    def read(value: Decimal128 | int) -> Decimal:
        if isinstance(value, int):  # an empty sum
            return Decimal(value).quantize(step, context=EXACT)
        bits = int.from_bytes(value.bid, "little")
        if bits >> _COEFFICIENT_BITS & _EXPONENT != exponent:
            return value.to_decimal().quantize(step, context=EXACT)
        number = bits & _COEFFICIENT
        return of_units(-number if bits & _SIGN else number, places)

    return read


def _write_datetime(field: FieldType) -> Converter | None:
    return None if field.milliseconds else _instant_to_int


def _read_datetime(field: FieldType) -> Converter | None:
    return None if field.milliseconds else from_microseconds


def _instant_to_int(value: datetime) -> Int64:
    return Int64(to_microseconds(value))


def _time_to_int(value: time) -> Int64:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return Int64(seconds * 1_000_000 + value.microsecond)


def _int_to_time(value: int) -> time:
    seconds, microsecond = divmod(int(value), 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return time(hour, minute, second, microsecond)


def _duration_to_int(value: timedelta) -> Int64:
    return Int64((value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds)


def _int_to_duration(value: int) -> timedelta:
    return timedelta(microseconds=value)


_pack = msgspec.msgpack.Encoder().encode
_RISKY = pattern(r"[%.]|\A\$|\A\Z")
_ESCAPED = pattern(r"%(2E|24|25|00)")
_ESCAPES = {".": "%2E", "$": "%24", "%": "%25", "": "%00"}
_PLAIN = {"2E": ".", "24": "$", "25": "%", "00": ""}


def escape(value: Any) -> Any:
    """Return a JSON value with keys that can be part of a path; itself, if they can be.

    ``.`` becomes ``%2E``, a leading ``$`` ``%24``, ``%`` ``%25``, and the empty key ``%00``:
    otherwise a server takes them for paths and operators. :func:`unescape` takes it back.
    """
    return _rebuilt(value, _are_plain, escaped_key, None)


def unescape(value: Any) -> Any:
    """Return the JSON value that :func:`escape` was given, of plain Python types.

    It is the value itself if in binary form, which takes a seventh of the time, no byte could be
    a percent sign; ``Int64`` has no such form.
    """
    try:
        if b"%" not in _pack(value):
            return value
    except TypeError:
        pass
    return _rebuilt(value, _are_unescaped, _unescaped_key, Int64)


def _rebuilt(
    value: Any,
    pass_as_they_are: Callable[[Mapping[str, Any]], bool],
    rewrite: Callable[[str], str],
    number: type | None,
) -> Any:
    """Return a JSON value with its keys rewritten, and numbers of that type as plain ones.

    What need not change is not made anew: that is most of what is stored.
    """
    kind = type(value)
    if kind is dict:
        items: Iterable[tuple[Any, Any]] = value.items()
    elif kind is list:
        items = enumerate(value)
    else:
        return int(value) if kind is number else value
    changed: list[tuple[Any, Any]] = []
    for key, item in items:
        of = type(item)
        if of is dict or of is list or of is number:
            other = _rebuilt(item, pass_as_they_are, rewrite, number)
            if other is not item:
                changed.append((key, other))
    if changed:
        value = value.copy()
        for key, item in changed:
            value[key] = item
    if kind is dict and value and not pass_as_they_are(value):
        return {rewrite(key): item for key, item in value.items()}
    return value


def _are_plain(keys: Mapping[str, Any]) -> bool:
    # Together they are no identifier if one of them holds a dot, a dollar or a percent sign.
    return "".join(keys).isidentifier() and "" not in keys


def _are_unescaped(keys: Mapping[str, Any]) -> bool:
    return "%" not in "".join(keys)


def escaped_key(key: str) -> str:
    """Return the key under which :func:`escape` keeps what has this key."""
    return _RISKY.sub(lambda found: _ESCAPES[found[0]], key)


def _unescaped_key(key: str) -> str:
    return _ESCAPED.sub(lambda found: _PLAIN[found[1]], key)


# (to BSON, from BSON) for each kind; None where the driver does it.
_CONVERTERS: dict[Kind, tuple[Callable[[FieldType], Converter | None], ...]] = {
    Kind.INTEGER: (lambda _: Int64, lambda _: int),
    Kind.DECIMAL: (_write_decimal, _read_decimal),
    Kind.DATETIME: (_write_datetime, _read_datetime),
    Kind.DATE: (lambda _: date.isoformat, lambda _: date.fromisoformat),
    Kind.TIME: (lambda _: _time_to_int, lambda _: _int_to_time),
    Kind.DURATION: (lambda _: _duration_to_int, lambda _: _int_to_duration),
    Kind.JSON: (lambda _: escape, lambda _: unescape),
}


class Codec:
    """Writes and reads the documents of one collection, or some of their columns."""

    __slots__ = (
        "_keys",
        "_names",
        "_nulls",
        "_pick",
        "_pull",
        "_readers",
        "_reading",
        "_reading_binaries",
        "_writers",
        "_writing",
        "_written_keys",
        "collection",
    )

    def __init__(
        self, collection: Collection, columns: tuple[FieldOrTerm, ...] | None = None
    ) -> None:
        self.collection = collection
        chosen = collection.names if columns is None else columns
        self._names = tuple(map(column_key, chosen))
        self._keys = keys_of(chosen)
        self._pull: Callable[[Stored], tuple[Any, ...]] = _getter(self._keys)
        self._writers: dict[str, Converter | None] = {}
        self._readers: dict[str, Converter | None] = {}
        types = [column_type(collection, each) for each in chosen]
        for name, kind in zip(self._names, types, strict=True):
            write, read = _CONVERTERS.get(kind.kind, _AS_IS)
            self._writers[name] = write(kind)
            self._readers[name] = read(kind)
        # A codec of some columns only reads.
        hidden = collection.hidden if columns is None else {}
        self._written_keys = (*self._keys, *hidden)
        self._pick: Callable[[Document], tuple[Value, ...]] = _getter(
            (*self._names, *hidden.values())
        )
        self._writing = at_places((*self._writers.values(), *map(hidden_maker, hidden)))
        self._reading = at_places(self._readers.values())
        self._reading_binaries = at_places(
            uuid_of if kind.kind is Kind.UUID else self._readers[name]
            for name, kind in zip(self._names, types, strict=True)
        )
        fields = [collection.field(each) for each in chosen if isinstance(each, str)]
        self._nulls: Stored = {key_of(each.name): None for each in fields if each.nullable}

    def encode(self, document: Document) -> Stored:
        """Return a canonical document as it is stored."""
        return self.encode_all((document,))[0]

    def encode_all(self, documents: Iterable[Document]) -> list[Stored]:
        """Return canonical documents as they are stored."""
        keys = self._written_keys
        with collector_paused():
            rows = converted(list(map(self._pick, documents)), self._writing)
            return [dict(zip(keys, row, strict=True)) for row in rows]

    def decode(self, stored: Stored) -> Document:
        """Return the canonical document; raise SchemaMismatchError if it lacks a field."""
        return self.decode_all((stored,))[0]

    def decode_all(self, rows: Sequence[Stored]) -> tuple[Document, ...]:
        """Return the canonical documents; raise SchemaMismatchError if one lacks a field."""
        with collector_paused():
            return self._documents(rows, self._reading)

    def decode_batches(self, batches: Iterable[bytes]) -> tuple[Document, ...]:
        """Return the canonical documents of BSON as the server sent it, as :meth:`decode_all`.

        What is made on the way is gone before the collector looks again: it would take a
        document for two, and look twice as often.
        """
        with collector_paused():
            found = chain.from_iterable(decode_all(each, _WITH_BINARIES) for each in batches)
            return self._documents(list(found), self._reading_binaries)

    def _documents(
        self, rows: Sequence[Stored], reading: Iterable[tuple[int, Converter]]
    ) -> tuple[Document, ...]:
        names = self._names
        found = converted(self._pulled(rows), reading)
        return tuple([dict(zip(names, row, strict=True)) for row in found])

    def _pulled(self, rows: Sequence[Stored]) -> list[tuple[Any, ...]]:
        """Return the stored values of documents, in order of the fields."""
        pull = self._pull
        try:
            return list(map(pull, rows))
        except KeyError:
            pass  # most documents lack nothing: only now it is looked at
        nulls = self._nulls
        try:
            return [pull({**nulls, **row}) for row in rows]
        except KeyError as error:
            missing = next(name for name in self._names if key_of(name) == error.args[0])
            raise SchemaMismatchError(
                "a stored document lacks the field: healthstore did not write it",
                hint="complete it, or move the collection away",
                entity=self.collection.entity,
                field=missing,
            ) from None

    def part(self, stored: Stored, names: Iterable[str]) -> Document:
        """Return the canonical values of these fields, of what a projection to them gives."""
        read = self._readers
        found: Document = {}
        for name in names:
            value, convert = stored.get(key_of(name)), read[name]
            found[name] = value if value is None or convert is None else convert(value)
        return found

    def write(self, name: str, value: Value) -> Any:
        """Return one field's canonical value as it is stored."""
        write = self._writers[name]
        return value if value is None or write is None else write(value)

    def changes(self, pairs: tuple[tuple[str, Value], ...]) -> Stored:
        """Return what a change of these fields to canonical values sets."""
        hidden = self.collection.hidden
        return {
            key_of(name): value if name in hidden else self.write(name, value)
            for name, value in with_hidden(self.collection, pairs)
        }

    def read(self, name: str, stored: Any) -> Value:
        """Return the canonical value of one field, or of a sum, minimum or maximum of it."""
        read = self._readers[name]
        return cast(Value, stored if stored is None or read is None else read(stored))


def _getter(keys: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes the values of these keys; for one key `itemgetter` gives no tuple."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda row: tuple([row[key] for key in keys])


_AS_IS: tuple[Callable[[FieldType], Converter | None], ...] = (lambda _: None, lambda _: None)

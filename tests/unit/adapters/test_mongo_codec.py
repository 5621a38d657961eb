"""Documents survive BSON unchanged."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import pytest
from bson import decode, encode
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.decimal128 import Decimal128
from hypothesis import given
from hypothesis import strategies as st

from healthstore.adapters.mongo.codec import Codec, escape, unescape
from healthstore.errors import SchemaMismatchError
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Document, FieldType, Kind

OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD, tz_aware=True, tzinfo=UTC
)
WIDE = FieldType(Kind.DECIMAL, digits=28, places=10)
TYPES = {
    "id": FieldType(Kind.UUID),
    "other": FieldType(Kind.UUID),
    "version": FieldType(Kind.INTEGER),
    "text": FieldType(Kind.TEXT),
    "flag": FieldType(Kind.BOOLEAN),
    "ratio": FieldType(Kind.FLOAT),
    "amount": WIDE,
    "moment": FieldType(Kind.DATETIME),
    "moment_ms": FieldType(Kind.DATETIME, milliseconds=True),
    "day": FieldType(Kind.DATE),
    "clock": FieldType(Kind.TIME),
    "span": FieldType(Kind.DURATION),
    "blob": FieldType(Kind.BYTES),
    "data": FieldType(Kind.JSON),
    "level": FieldType(Kind.ENUM, choices=("low", "high")),
}
EVERYTHING = Collection(
    "everything",
    tuple(Field(name, kind, name not in {"id", "version"}) for name, kind in TYPES.items()),
)
EMPTY = {**dict.fromkeys(TYPES), "id": UUID(int=1), "version": 1}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: (
        st.lists(inner) | st.dictionaries(TEXT | st.sampled_from(["", "$", "%2E"]), inner)
    ),
    max_leaves=20,
)


def through_bson(**values: object) -> Document:
    """Return a document after it was written and read."""
    codec = Codec(EVERYTHING)
    document = cast(Document, {**EMPTY, **values})
    written = encode(codec.encode(document), codec_options=OPTIONS)
    (first, *others) = codec.decode_batches([written])
    # Many are read by columns.
    assert codec.decode_batches([written * 20, b"", written]) == (first,) * 21
    assert not others
    back = codec.decode(decode(written, codec_options=OPTIONS))
    assert [(each, type(value), value) for each, value in first.items()] == [
        (each, type(value), value) for each, value in back.items()
    ]
    return back


def test_every_kind_comes_back_as_it_was() -> None:
    """Each kind keeps value and type, microseconds and decimal places included."""
    document = {
        "id": UUID(int=2**127 + 5),
        "other": UUID(int=7),
        "version": 2**63 - 1,
        "text": "a😀\n",
        "flag": False,
        "ratio": 0.1 + 0.2,
        "amount": Decimal("-123456789012345678.0123456789"),
        "moment": datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        "moment_ms": datetime(9999, 12, 30, 23, 59, 59, 999_000, tzinfo=UTC),
        "day": date(10, 1, 1),
        "clock": time(23, 59, 59, 999_999),
        "span": timedelta(microseconds=-(2**63)),
        "blob": b"\x00\xff",
        "data": {"a.b": [1, 1.0, True, None, 2**63 - 1]},
        "level": "low",
    }
    back = through_bson(**document)
    assert back == document
    assert [type(value) for value in back.values()] == [type(each) for each in document.values()]
    assert list(back) == list(TYPES)


def test_null_is_kept_as_null() -> None:
    """A null is written: what is replaced holds nothing of what was there."""
    assert through_bson() == EMPTY
    assert set(Codec(EVERYTHING).encode(EMPTY)) == {"_id", *TYPES} - {"id"}


def test_what_a_document_lacks_is_null() -> None:
    """Where a field may be null, alone and among documents that have it, of every kind."""
    codec = Codec(EVERYTHING)
    whole = codec.encode({**EMPTY, "text": "a", "other": UUID(int=7)})
    lacking = [{"_id": UUID(int=2), "version": 2}, {"version": 3, "_id": UUID(int=3), "text": "b"}]
    batch = b"".join(encode(each, codec_options=OPTIONS) for each in (whole, *lacking))
    found = codec.decode_batches([batch])
    assert found == (
        {**EMPTY, "text": "a", "other": UUID(int=7)},
        {**EMPTY, "id": UUID(int=2), "version": 2},
        {**EMPTY, "id": UUID(int=3), "version": 3, "text": "b"},
    )
    assert tuple(map(codec.decode, [whole, *lacking])) == found
    assert list(codec.decode(lacking[1])) == list(TYPES)
    assert codec.part(lacking[1], ("text", "id")) == {"text": "b", "id": UUID(int=3)}
    assert codec.part(lacking[0], ("text", "amount")) == {"text": None, "amount": None}


@given(st.decimals(min_value=-(10**17), max_value=10**17, places=10))
def test_decimals_keep_value_and_places(value: Decimal) -> None:
    """The bits written for a Decimal are those that the driver itself would write."""
    value = value or Decimal("0E-10")  # a canonical value is no negative zero
    stored = Codec(EVERYTHING).write("amount", value)
    assert stored == Decimal128(value)
    assert str(Codec(EVERYTHING).read("amount", stored)) == str(value)


def test_a_decimal_with_other_places_is_read_in_the_declared_ones() -> None:
    """A number that a server or another tool normalised equals what was declared."""
    codec = Codec(EVERYTHING)
    for text in ("1E+3", "0", "-2.5", "1000.00"):
        read = codec.read("amount", Decimal128(text))
        assert str(read) == str(Decimal(text).quantize(Decimal("1E-10")))


@given(JSON)
def test_any_json_comes_back(value: object) -> None:
    """Keys with dots, dollars and percent signs, and the empty key, are reversible."""
    assert unescape(escape(value)) == value
    assert through_bson(data=value)["data"] == value


@given(st.dictionaries(TEXT, st.none()))
def test_no_escaped_key_reads_as_a_path(value: dict[str, None]) -> None:
    """What is stored has no dot, no leading dollar and no empty key, and keys stay distinct."""
    keys = list(escape(value))
    assert len(keys) == len(value) == len(set(keys))
    assert not any(key == "" or "." in key or key.startswith("$") for key in keys)


@given(JSON)
def test_json_is_never_changed_in_place(value: object) -> None:
    """What the caller holds stays as it is, whatever its keys."""
    before = deepcopy(value)
    escaped = escape(value)
    assert value == before
    stored = deepcopy(escaped)
    unescape(escaped)
    assert escaped == stored


def test_large_integers_in_json_are_plain() -> None:
    """An integer beyond 32 bits is an int, not a class of the driver's."""
    first, second = cast("list[Any]", through_bson(data=[2**40, {"a": 2**40}])["data"])
    assert type(first) is int
    assert type(second["a"]) is int


def test_a_document_of_another_program_is_reported() -> None:
    """A stored document without a field that every one has raises an error that names the field."""
    stored = Codec(EVERYTHING).encode(EMPTY)
    del stored["level"], stored["version"]
    with pytest.raises(SchemaMismatchError) as error:
        Codec(EVERYTHING).decode(stored)
    assert (error.value.entity, error.value.field) == ("everything", "version")
    with pytest.raises(SchemaMismatchError) as error:
        Codec(EVERYTHING).decode_batches([encode(stored, codec_options=OPTIONS)])
    assert (error.value.entity, error.value.field) == ("everything", "version")
